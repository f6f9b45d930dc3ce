//! Bytes both ways, whatever they are: of a `CONNECT`, and of what is not for the cache to read.
//!
//! `h1` and `intercept` have such a way made and come here. What must stay true: a half-close stays one; when
//! one direction has ended, the other one may be silent for a while only.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

pub(in crate::cache) use super::write::TAKES_NOTHING;
use crate::cache::stats::Account;
use crate::wire::buffer::{BLOCK, Buffer, give_block, take_block};
use crate::wire::io::{Reader, Writer};

/// Without a byte, where one side has said that it will say no more.
const HALF_CLOSED: Duration = Duration::from_secs(60);

/// Copies until both directions have ended, or one has failed; gives what was sent to the client. What `buffer`
/// holds was read from the client before.
pub(in crate::cache) async fn copy(
    reader: &mut Reader<'_>,
    writer: &mut Writer<'_>,
    buffer: &mut Buffer,
    through: impl AsyncRead + AsyncWrite + Unpin,
    account: &Account,
) -> u64 {
    let (mut far_reader, mut far_writer) = tokio::io::split(through);
    let (sent, moved) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut up = pin!(async {
        loop {
            far_writer.write_all(buffer.unread()).await?;
            moved.fetch_add(buffer.len() as u64, Relaxed);
            buffer.clear();
            if buffer.fill(reader, BLOCK).await? == 0 {
                return far_writer.shutdown().await;
            }
        }
    });
    let mut down = pin!(async {
        let mut block = take_block();
        let result = loop {
            let read = match far_reader.read(&mut block).await {
                Ok(0) => break writer.close_write().await,
                Ok(read) => read,
                Err(error) => break Err(error),
            };
            account.fetched(read as u64);
            let written = writer.write_all(block.get(..read).unwrap_or_default());
            if let Err(error) = written.await {
                break Err(error);
            }
            sent.fetch_add(read as u64, Relaxed);
            moved.fetch_add(read as u64, Relaxed);
        };
        give_block(block);
        result
    });
    // When one direction fails the other has nobody to speak to.
    tokio::select! {
        ended = &mut up => if ended.is_ok() {
            while_it_moves(down, &moved).await;
        },
        ended = &mut down => if ended.is_ok() {
            while_it_moves(up, &moved).await;
        },
    }
    sent.load(Relaxed)
}

async fn while_it_moves(mut rest: impl Future<Output = io::Result<()>> + Unpin, moved: &AtomicU64) {
    loop {
        let before = moved.load(Relaxed);
        if timeout(HALF_CLOSED, &mut rest).await.is_ok() || moved.load(Relaxed) == before {
            return;
        }
    }
}
