//! Whether a client of many streams takes or gives anything.
//!
//! `h2` asks before it gives up a stream. What must stay true: a stream waits as long as its client does anything
//! with any other one, because a slow client has one wire for all; and pings are nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::time::timeout;

use super::write::TAKES_NOTHING;

#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Pieces of bodies so far.
    moved: AtomicU64,
    /// The socket is waited for: whoever writes to it judges better.
    is_written_to: Arc<AtomicBool>,
}

impl Progress {
    pub(super) fn new(is_written_to: Arc<AtomicBool>) -> Progress {
        Progress { moved: AtomicU64::new(0), is_written_to }
    }

    /// Takes a step of one of the streams; none when the client does nothing at all.
    pub(super) async fn patiently<T>(&self, step: impl Future<Output = T>) -> Option<T> {
        let mut step = std::pin::pin!(step);
        loop {
            let before = self.moved.load(Ordering::Relaxed);
            match timeout(TAKES_NOTHING, step.as_mut()).await {
                Ok(done) => {
                    self.moved.fetch_add(1, Ordering::Relaxed);
                    return Some(done);
                }
                Err(_) if self.is_written_to.load(Ordering::Relaxed) => {}
                Err(_) if self.moved.load(Ordering::Relaxed) != before => {}
                Err(_) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::time::{Instant, sleep};

    #[tokio::test(start_paused = true)]
    async fn a_stream_waits_while_another_one_moves() {
        let client = Progress::default();
        let others = async {
            for _ in 0..20 {
                client.patiently(sleep(TAKES_NOTHING * 5 / 6)).await.unwrap();
            }
        };
        let (began, last) = (Instant::now(), TAKES_NOTHING * 5 / 6 * 20);
        let (given_up, ()) = tokio::join!(client.patiently(pending::<()>()), others);
        assert_eq!(given_up, None);
        assert!(began.elapsed() > last, "of the clock that the test turns");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_waits_while_the_socket_is_waited_for() {
        let client = Progress::default();
        client.is_written_to.store(true, Ordering::Relaxed);
        let long = client.patiently(sleep(TAKES_NOTHING * 20)).await;
        assert_eq!(long, Some(()));
    }
}
