//! The end of a connection whose client may still be sending.
//!
//! Whoever answers before all was read (`gateway`, `cache`, `listener`) ends with it. What must stay true:
//! it takes 2 seconds at the most.

use std::time::Duration;

use tokio::time::timeout;

use super::buffer::{BLOCK, Buffer};
use super::io::{Reader, Writer};

const LINGER: Duration = Duration::from_secs(2);

/// Reads on what a client still sends after it was answered, so that closing the socket does not reset
/// the answer before the client has read it (RFC 9112 §9.6).
pub async fn linger(reader: &mut Reader<'_>, writer: &mut Writer<'_>, buffer: &mut Buffer) {
    let reading = async {
        if writer.close_write().await.is_err() {
            return;
        }
        buffer.clear();
        while let Ok(1..) = buffer.fill(reader, BLOCK).await {
            buffer.clear();
        }
    };
    let _ = timeout(LINGER, reading).await;
}
