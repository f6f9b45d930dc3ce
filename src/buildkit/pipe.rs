//! Between hyper, which speaks HTTP/2, and a connection of ours.
//!
//! `refusing` puts hyper at the other end. What must stay true: a client that reads nothing is given up.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::timeout;

use crate::wire::buffer::{Buffer, give_block, take_block};
use crate::wire::io::Stream;

/// What each direction may hold.
pub(super) const HELD: usize = 32 * 1024;
/// How long a piece may take to be written.
const PIECE_TIME: Duration = Duration::from_secs(10);

/// Carries bytes both ways, those first that were read already, until hyper has said its last word.
pub(super) async fn carry(stream: &mut Stream, read: Vec<u8>, pipe: DuplexStream) {
    let (mut from_hyper, mut to_hyper) = tokio::io::split(pipe);
    let (mut reader, mut writer) = stream.split();
    let up = async {
        let mut buffer = Buffer::new();
        if to_hyper.write_all(&read).await.is_err() {
            return;
        }
        while let Ok(1..) = buffer.fill(&mut reader, HELD).await {
            if to_hyper.write_all(buffer.unread()).await.is_err() {
                return;
            }
            buffer.clear();
        }
        let _ = to_hyper.shutdown().await;
    };
    let down = async {
        let mut block = take_block();
        while let Ok(read @ 1..) = from_hyper.read(&mut block).await {
            let bytes = block.get(..read).unwrap_or_default();
            if !matches!(timeout(PIECE_TIME, writer.write_all(bytes)).await, Ok(Ok(()))) {
                break;
            }
        }
        give_block(block);
        let _ = writer.close_write().await;
    };
    tokio::select! {
        () = down => {}
        () = async { up.await; std::future::pending().await } => {}
    }
}
