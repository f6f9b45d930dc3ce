//! Answers out of what is stored, and out of what is coming.
//!
//! `serve` decides and calls here. What must stay true: preconditions and ranges are looked at for every
//! answer, wherever its body lies; only what is the same for everybody is kept ready in memory.

use std::collections::VecDeque;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::{Case, from_store, say, taken_in};
use crate::cache::fill::{Broken, Head, Reader};
use crate::cache::fresh::{self, CacheStatus, Forwarded, Precondition};
use crate::cache::front;
use crate::cache::hot::{self, Ready};
use crate::cache::meta::Meta;
use crate::cache::range::{self, Wanted};
use crate::cache::reply::{Body, Growth, Reply, ReplyPart};
use crate::cache::request::plain;
use crate::cache::stats::{Account, Outcome};
use crate::cache::store::{self, StoredResponse};

impl Case<'_> {
    pub(super) async fn hit(&self, found: &StoredResponse, ttl: i64, epoch: u64) -> Reply {
        self.cache.store.touch(found.id);
        let reply = self.stored(found, Outcome::Hit, from_store(ttl)).await;
        if let (StatusCode::OK, Body::Parts(parts)) = (reply.status, &reply.body) {
            self.warm(found, parts, epoch);
        }
        reply
    }

    /// Keeps a small object ready, if it is the same for everybody.
    fn warm(&self, found: &StoredResponse, parts: &VecDeque<ReplyPart>, epoch: u64) {
        let meta = &found.meta;
        let is_plain = meta.vary.is_empty()
            && meta.length <= hot::LARGEST
            && self.request.method == Method::GET
            // Who asks for this URL itself may be refused: nobody looks at that again there.
            && *self.route.key.host == *self.request.host
            && self.cache.settings.memory > 0;
        let Some(ReplyPart::File { file, at, length }) = parts.front().filter(|_| is_plain) else {
            return;
        };
        let mut body = vec![0; usize::try_from(*length).unwrap_or(0)];
        if *length != meta.length || file.read_exact_at(&mut body, *at).is_err() {
            return;
        }
        let mut headers = meta.headers.clone();
        headers.remove(header::AGE);
        headers.remove(header::CONTENT_LENGTH);
        self.cache.via(&mut headers);
        self.cache.lead_nowhere(&mut headers);
        let age = fresh::age(meta, self.now);
        let ready = Ready {
            head: front::head_of(meta.status, &headers, meta.length),
            body: body.into(),
            born: self.now.saturating_sub(age * 1000),
            fresh_until: fresh::fresh_until_ms(meta, &self.route.rules),
            found: self.now,
            id: found.id,
            domain: self.cache.stats.domain(&self.request.host),
        };
        self.cache.hot.put(epoch, &self.route.key, ready);
    }

    /// An answer out of the store.
    pub(super) async fn stored(
        &self,
        found: &StoredResponse,
        outcome: Outcome,
        status: CacheStatus,
    ) -> Reply {
        let meta = &found.meta;
        let mut headers = meta.headers.clone();
        headers.insert(header::AGE, HeaderValue::from(fresh::age(meta, self.now)));
        let account = self.account(outcome);
        let (method, request) = (&self.request.method, &self.request.headers);
        let mut reply = match fresh::precondition(method, request, meta.status, &meta.headers) {
            Precondition::NotModified => {
                headers = fresh::not_modified_headers(&headers);
                empty(StatusCode::NOT_MODIFIED, headers, account)
            }
            // `answer` has sent those conditions to the origin.
            Precondition::None | Precondition::Origin => match self.checked_while_sent(found) {
                Some(reader) => read_along(reader, found, headers, account),
                None => self.laid_out(meta, headers, |span| part(&found.body, span), account),
            },
        };
        self.cache.via(&mut reply.headers);
        say(&mut reply.headers, &status);
        reply
    }

    /// Whole, in part, or in parts.
    fn laid_out(
        &self,
        meta: &Meta,
        mut headers: HeaderMap,
        part: impl Fn(range::Span) -> ReplyPart,
        account: Account,
    ) -> Reply {
        let length = meta.length;
        let wanted = match meta.status {
            StatusCode::OK => {
                range::wanted(&self.request.method, &self.request.headers, &meta.headers, length)
            }
            _ => Wanted::Whole,
        };
        let layout = range::layout(&wanted, length, &mut headers, &self.cache.boundary());
        headers.remove(header::CONTENT_LENGTH);
        let status = if meta.status == StatusCode::OK { layout.status } else { meta.status };
        let parts = layout.pieces.into_iter().map(|piece| match piece {
            range::RangePart::Text(text) => ReplyPart::Bytes(text),
            range::RangePart::Body(span) => part(span),
        });
        let length = Some(layout.length);
        let body = Body::Parts(parts.collect());
        Reply {
            status,
            reason: None,
            headers,
            length,
            body,
            account,
            stored: Some(meta.key.clone()),
        }
    }

    /// An answer whose body is still coming.
    pub(super) async fn grown(
        &self,
        mut reader: Reader,
        head: &Arc<Head>,
        led: bool,
        fwd: Forwarded,
    ) -> Reply {
        let meta = &head.meta;
        let status = CacheStatus { collapsed: !led, ..taken_in(head, fwd) };
        let outcome = match (led, &head.draft) {
            (false, _) => Outcome::Collapsed,
            (true, Some(_)) => Outcome::Miss,
            (true, None) => Outcome::Passed,
        };
        let account = self.account(outcome);
        let (method, request) = (&self.request.method, &self.request.headers);
        let mut headers = if led { head.headers.clone() } else { meta.headers.clone() };
        if !led {
            headers.insert(header::AGE, HeaderValue::from(fresh::age(meta, self.cache.now())));
        }
        let mut reply = match fresh::precondition(method, request, meta.status, &meta.headers) {
            Precondition::NotModified => {
                empty(StatusCode::NOT_MODIFIED, fresh::not_modified_headers(&headers), account)
            }
            // `answer` has sent those conditions to the origin.
            Precondition::None | Precondition::Origin => {
                let wanted = match self.wanted(&mut reader, head).await {
                    Ok(wanted) => wanted,
                    Err(broken) => {
                        return plain(StatusCode::BAD_GATEWAY, &broken.to_string(), account);
                    }
                };
                let (plan, status, length) = match (wanted, head.length) {
                    (Wanted::Whole, length) | (_, length @ None) => (None, meta.status, length),
                    (wanted, Some(length)) => {
                        let layout =
                            range::layout(&wanted, length, &mut headers, &self.cache.boundary());
                        (Some(layout.pieces.into()), layout.status, Some(layout.length))
                    }
                };
                headers.remove(header::CONTENT_LENGTH);
                let draft = head.draft.clone();
                let body = Body::Growing(Growth { reader, draft, plan });
                Reply { status, reason: None, headers, length, body, account, stored: None }
            }
        };
        self.cache.via(&mut reply.headers);
        say(&mut reply.headers, &status);
        reply
    }

    /// What of a body that is coming this client is to have. A part of what is verified is right only if the whole
    /// is: it waits for the verdict.
    async fn wanted(&self, reader: &mut Reader, head: &Head) -> Result<Wanted, Broken> {
        let (method, request) = (&self.request.method, &self.request.headers);
        let wanted = match (head.length, head.meta.status) {
            (Some(length), StatusCode::OK) => {
                range::wanted(method, request, &head.meta.headers, length)
            }
            _ => Wanted::Whole,
        };
        // An empty one has no last byte that could be held back.
        let tells_at_once = matches!(wanted, Wanted::Whole) && head.length != Some(0);
        if tells_at_once || self.route.verify.is_none() || head.meta.status != StatusCode::OK {
            return Ok(wanted);
        }
        match reader.verdict().await {
            Some(verdict) => verdict.map(|()| wanted),
            None => Ok(Wanted::Whole),
        }
    }
}

fn empty(status: StatusCode, headers: HeaderMap, account: Account) -> Reply {
    let length = (status != StatusCode::NOT_MODIFIED).then_some(0);
    Reply { status, reason: None, headers, body: Body::Empty, length, account, stored: None }
}

/// All of what is stored, while it is looked at.
fn read_along(
    reader: Reader,
    found: &StoredResponse,
    mut headers: HeaderMap,
    account: Account,
) -> Reply {
    headers.remove(header::CONTENT_LENGTH);
    let draft = match &found.body {
        store::Body::File { file, start } => Some((Arc::clone(file), *start)),
        store::Body::Remote(_) => None,
    };
    let (status, length) = (found.meta.status, Some(found.meta.length));
    let body = Body::Growing(Growth { reader, draft, plan: None });
    Reply { status, reason: None, headers, length, body, account, stored: None }
}

fn part(body: &store::Body, span: range::Span) -> ReplyPart {
    let length = span.length();
    match body {
        store::Body::File { file, start } => {
            ReplyPart::File { file: Arc::clone(file), at: start + span.start, length }
        }
        store::Body::Remote(object) => {
            ReplyPart::Remote { object: Arc::clone(object), at: span.start, length }
        }
    }
}
