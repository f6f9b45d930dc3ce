//! What is stored once and is for those callers only of whom the origin says so.
//!
//! `serve` comes here for `Kind::Restricted`. What must stay true: no byte that another one was given leaves before
//! the origin has said yes to this caller's own request; its word holds for this answer and is not remembered;
//! where it cannot be asked, nobody has anything.

use std::sync::Arc;

use http::{Method, StatusCode, header};

use super::{Case, from_store};
use crate::cache::fill::{self, FlightAnswer, InFlightBody, Interim, Purpose};
use crate::cache::fresh::{self, CacheStatus, Forwarded, Reuse};
use crate::cache::reply::Reply;
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
        let Some(found) = self.look_up().await else { return self.fetch(None, None).await };
        if let Some(refused) = self.refused().await {
            return refused;
        }
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
        let is_anothers = match answer {
            FlightAnswer::New(head) => !led && head.is_shared,
            FlightAnswer::Stored(..) => !led,
            FlightAnswer::Found(_) => true,
            FlightAnswer::Failed(_) => false,
        };
        match is_anothers && self.route.kind == Kind::Restricted {
            true => self.refused().await,
            false => None,
        }
    }

    /// Asks by HEAD, in the caller's name. None: they may have it; else what they are told: whatever the origin
    /// says to the request itself, for an answer to HEAD has no body.
    async fn refused(&mut self) -> Option<Reply> {
        let mut job = self.job(Purpose::Pass { found: None }, RequestBody::Empty);
        job.method = Method::HEAD;
        fresh::strip_conditions(&mut job.request);
        job.request.remove(header::RANGE);
        let (in_flight, mut reader) = InFlightBody::begin();
        self.cache.thread.run(fill::run(Arc::clone(self.cache), job, in_flight));
        match reader.answer(&mut Interim::default()).await {
            FlightAnswer::New(head) if head.meta.status == StatusCode::OK => None,
            FlightAnswer::Failed(fault) => Some(self.fallen(&fault, None, None).await),
            _ => Some(self.pass(None, Forwarded::UriMiss).await),
        }
    }
}
