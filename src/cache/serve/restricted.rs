//! What is stored once and is for those callers only of whom the origin says so.
//!
//! `serve` comes here for `Kind::Restricted`. What must stay true: no byte that another one was given leaves before
//! the origin has said yes to this caller's own request; its word holds for this answer and is not remembered;
//! where it cannot be asked, nobody has anything.

use std::sync::Arc;

use http::{Method, StatusCode, header};

use super::{Case, from_store};
use crate::cache::fill::{self, FlightAnswer, Head, InFlightBody, Interim, Purpose};
use crate::cache::fresh::{self, CacheStatus, Forwarded, Reuse};
use crate::cache::reply::Reply;
use crate::cache::request::plain;
use crate::cache::route::Kind;
use crate::cache::stats::Outcome;
use crate::cache::upstream::RequestBody;

impl Case<'_> {
    pub(super) async fn restricted(&mut self) -> Reply {
        if self.cache.settings.offline {
            return self.unavailable("offline, and only the origin can say who may have it");
        }
        if fresh::only_if_cached(&self.request.headers) {
            return self.unavailable("only the origin can say who may have it");
        }
        if self.request.method == Method::HEAD {
            return self.pass(None, Forwarded::UriMiss).await;
        }
        let Some(found) = self.look_for().await else { return self.fetch(None, None).await };
        if let Some(refused) = self.refused(Some(found.meta.length)).await {
            return refused;
        }
        // Not before: how long that takes tells who may not have it that it is there.
        let Some(found) = self.sound(found).await else { return self.fetch(None, None).await };
        let (Reuse::Fresh { ttl, .. }
        | Reuse::WhileRevalidating { ttl, .. }
        | Reuse::Stale { ttl, .. }) = self.judge(&found);
        self.cache.store.touch(found.id);
        // For how long it is good no other one need know: the origin is asked each time.
        let detail = Some("permitted".to_owned());
        let status = CacheStatus { detail, ttl: None, ..from_store(ttl) };
        self.stored(&found, Outcome::Hit, status).await
    }

    /// What this caller gets in place of what came to another one's request, if it is not theirs.
    pub(super) async fn must_not_have(
        &mut self,
        answer: &FlightAnswer,
        led: bool,
    ) -> Option<Reply> {
        let (is_anothers, length) = match answer {
            FlightAnswer::New(head) => (!led && head.is_shared, head.length),
            FlightAnswer::Stored(stored, _) => (!led, Some(stored.meta.length)),
            FlightAnswer::Found(stored) => (true, Some(stored.meta.length)),
            FlightAnswer::Failed(_) => (false, None),
        };
        match is_anothers && self.route.kind == Kind::Restricted {
            true => self.refused(length).await,
            false => None,
        }
    }

    /// Asks by HEAD, in the caller's name, for what is this long. None: they may have it; else what they are told:
    /// whatever the origin says to the request itself, for an answer to HEAD has no body.
    async fn refused(&mut self, length: Option<u64>) -> Option<Reply> {
        let mut job = self.job(Purpose::Pass { found: None }, RequestBody::Empty);
        job.method = Method::HEAD;
        fresh::strip_conditions(&mut job.request);
        job.request.remove(header::RANGE);
        let (in_flight, mut reader) = InFlightBody::begin();
        self.cache.thread.run(fill::run(Arc::clone(self.cache), job, in_flight));
        match reader.answer(&mut Interim::default()).await {
            FlightAnswer::New(head) if is_yes(&head, length) => None,
            // A registry has words of its own for it, and says them as soon as for what nobody has.
            FlightAnswer::New(head)
                if head.meta.status == StatusCode::NOT_FOUND && self.request.kept_for.is_some() =>
            {
                let account = self.account(Outcome::Passed);
                Some(plain(StatusCode::NOT_FOUND, "the origin does not have it", account))
            }
            FlightAnswer::Failed(fault) => Some(self.fallen(&fault, None, None).await),
            _ => Some(self.pass(None, Forwarded::UriMiss).await),
        }
    }
}

/// Whether an answer to HEAD says that it is there, and is as long: a page where one logs in is not.
fn is_yes(head: &Head, length: Option<u64>) -> bool {
    let said = head.headers.get(header::CONTENT_LENGTH).and_then(|said| said.to_str().ok());
    let said = said.and_then(|said| said.parse::<u64>().ok());
    head.meta.status == StatusCode::OK && (said.is_none() || length.is_none() || said == length)
}
