//! A stream of JSON values on its way to the client, shown to the policies one by one.
//!
//! `answer` calls it where a policy reads items. What must stay true: a value goes out as soon as it is complete, as it
//! came unless a policy changed it; nothing more is read before it is written; what is no JSON, or longer than one value
//! may be, breaks the stream off.

use super::budget::Lease;
use super::{ListenerState, facts};
use crate::api::Typed;
use crate::api::endpoint::Versions;
use crate::auth::{Identity, PeerKey};
use crate::policy::Facts;
use crate::wire::framing::Framing;
use crate::wire::io::Writer;
use crate::wire::items::{Item, Items};
use crate::wire::pump::Inbox;

/// What is held without being counted: most values are shorter.
const FREE: usize = 64 * 1024;

/// What the values of a stream go through.
pub(super) struct ItemFilter<'a> {
    pub state: &'a ListenerState,
    pub identity: &'a Identity,
    pub call: &'a Typed,
    pub engine: Versions,
    /// Whether the client reads chunks; else the stream ends with the connection.
    pub is_chunked: bool,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamEnd {
    Complete,
    /// The engine broke it off, or sent what cannot be shown to policies.
    Cut,
    ClientLeft,
}

impl ItemFilter<'_> {
    /// Passes a stream on, behind its head, while it comes.
    pub(super) async fn pass(
        &self,
        head: Vec<u8>,
        from: &mut Inbox<'_>,
        framing: &mut Framing,
        to: &mut Writer<'_>,
        sent: &mut u64,
    ) -> StreamEnd {
        let (mut items, mut out) = (Items::default(), head);
        let mut lease = None;
        loop {
            let body = from.buffer.unread();
            let Ok(n) = framing.take_payload(body, |part| items.push(part)) else {
                return StreamEnd::Cut;
            };
            from.buffer.consume(n);
            let shown = self.show(&mut items, &mut out);
            let is_over = framing.is_done();
            let is_whole = match is_over {
                true => shown && self.finish(std::mem::take(&mut items), &mut out),
                false => shown,
            };
            *sent += out.len() as u64;
            if !out.is_empty() && to.write_all(&out).await.is_err() {
                return StreamEnd::ClientLeft;
            }
            out.clear();
            if !is_whole || !self.may_hold(&items, &mut lease) {
                return StreamEnd::Cut;
            }
            if is_over {
                return StreamEnd::Complete;
            }
            match from.more().await {
                Ok(true) => {}
                Ok(false) if framing.close() => {}
                Ok(false) | Err(_) => return StreamEnd::Cut,
            }
        }
    }

    /// Shows every value that is complete, and writes what becomes of it; false where one is none.
    fn show(&self, items: &mut Items, out: &mut Vec<u8>) -> bool {
        while let Ok(next) = items.take() {
            let Some(item) = next else { return true };
            if !self.show_one(item, out) {
                return false;
            }
        }
        false
    }

    fn show_one(&self, item: Item, out: &mut Vec<u8>) -> bool {
        let Ok(mut value) = crate::api::json::read::<serde_json::Value>(&item.json) else {
            return false;
        };
        let before = value.clone();
        let facts = Facts::default();
        let cx = facts::context(self.state, self.identity, self.engine, &facts);
        if self.state.chain.item(self.call, &mut value, &cx) == crate::policy::Item::Drop {
            return true;
        }
        let json = if value == before { item.json } else { value.to_string().into_bytes() };
        self.put(&[&item.before, &json, &item.behind], out);
        true
    }

    /// The end of the stream; false where it ends within a value.
    fn finish(&self, items: Items, out: &mut Vec<u8>) -> bool {
        let (last, rest) = items.end();
        let is_whole = last.is_none_or(|last| self.show_one(last, out));
        let is_white = rest.iter().all(|byte| byte.is_ascii_whitespace());
        if !is_whole || !is_white {
            return false;
        }
        if !rest.is_empty() {
            self.put(&[&rest], out);
        }
        if self.is_chunked {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        true
    }

    /// One chunk, as Go makes one of each value that is flushed.
    fn put(&self, parts: &[&[u8]], out: &mut Vec<u8>) {
        if self.is_chunked {
            let length: usize = parts.iter().map(|part| part.len()).sum();
            out.extend_from_slice(format!("{length:x}\r\n").as_bytes());
        }
        parts.iter().for_each(|part| out.extend_from_slice(part));
        if self.is_chunked {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Whether the listener has memory for what is held of a value that is not complete.
    fn may_hold(&self, items: &Items, lease: &mut Option<Lease>) -> bool {
        let source: PeerKey = self.identity.peer().source();
        items.held() <= FREE || self.state.budgets.bodies.cover(lease, source, items.held()).is_ok()
    }
}
