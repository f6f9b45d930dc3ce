//! A call on its way: who judges it, and what there is to tell of it.
//!
//! `call` makes one for each exchange; both of its directions ask it. What must stay true: whoever judges a call
//! hears of its end once, also where it is given up within a wait.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::Mutex;

use super::pump::{Fields, Judging};
use super::terminate::{CallEnd, Exchange, Judged};

/// A call on its way, whose judge is told of its end when it is dropped.
pub(super) struct Running {
    /// Both directions ask it.
    pub(super) exchange: Mutex<Box<dyn Exchange>>,
    pub(super) asked: AtomicU64,
    pub(super) answered: AtomicU64,
    pub(super) status: OnceLock<u8>,
    pub(super) is_reset: AtomicBool,
}

impl Running {
    pub(super) fn new(exchange: Box<dyn Exchange>) -> Running {
        Running {
            exchange: Mutex::new(exchange),
            asked: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            status: OnceLock::new(),
            is_reset: AtomicBool::new(false),
        }
    }

    pub(super) fn judge_request(&self, message: Bytes) -> Judging<'_> {
        Box::pin(async move {
            match self.exchange.lock().await.request(message).await? {
                Judged::Send(message) => Ok(Some(message)),
                Judged::Answer(reply) => Err(reply),
            }
        })
    }

    pub(super) fn judge_answer(&self, message: Bytes) -> Judging<'_> {
        Box::pin(async move { self.exchange.lock().await.answer(message).await })
    }

    /// The fields that end an answer, as they go on.
    pub(super) fn fields(&self, mut fields: HeaderMap) -> Fields<'_> {
        Box::pin(async move {
            self.exchange.lock().await.fields(&mut fields);
            fields
        })
    }

    pub(super) fn status_of(&self, fields: &HeaderMap) {
        let code = fields.get("grpc-status").and_then(|code| code.to_str().ok()?.parse().ok());
        if let Some(code) = code {
            let _ = self.status.set(code);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let how = CallEnd {
            status: self.status.get().copied(),
            asked_bytes: self.asked.load(Ordering::Relaxed),
            answered_bytes: self.answered.load(Ordering::Relaxed),
            is_reset: self.is_reset.load(Ordering::Relaxed),
        };
        self.exchange.get_mut().ended(how);
    }
}
