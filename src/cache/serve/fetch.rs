//! A request that the store cannot answer: with others that ask the same, one question to the origin.
//!
//! `serve` comes here. What must stay true: nobody is given what came to another one's request unless it is
//! stored, or could be; and there is an end, however an origin contradicts itself.

use http::{HeaderMap, HeaderName, Method, StatusCode};
use tokio::time::timeout;

use super::{Case, forwarded, from_store};
use crate::cache::fill::{FlightAnswer, Interim, Purpose, Reader};
use crate::cache::fresh::{self, CacheStatus, Forwarded, Reuse};
use crate::cache::range::Ranges;
use crate::cache::reply::Reply;
use crate::cache::stats::Outcome;
use crate::cache::store::StoredResponse;

/// A range that begins so far behind what has come is asked for on its own.
const NEAR: u64 = 1 << 20;
/// How often an answer may turn out to be of another variant.
const MOST_ROUNDS: u32 = 4;

/// What the store had, and why that does not do.
struct Before {
    found: Option<StoredResponse>,
    judged: Option<Reuse>,
    fwd: Forwarded,
}

/// What a flight's answer is to one of those who waited for it.
enum Landing {
    Reply(Box<Reply>),
    /// It varies by these fields, and is for others.
    OfAnotherVariant(Vec<HeaderName>),
    /// It is for whom it came only.
    Anothers,
}

impl Case<'_> {
    pub(super) async fn fetch(
        &mut self,
        found: Option<StoredResponse>,
        judged: Option<Reuse>,
    ) -> Reply {
        let fwd = match (&found, &judged) {
            (Some(_), Some(Reuse::Stale { why, .. })) if why.is_wish() => Forwarded::Request,
            (Some(_), _) => Forwarded::Stale,
            (None, _) => Forwarded::UriMiss,
        };
        if self.request.method == Method::HEAD {
            return self.pass(found, fwd).await;
        }
        if found.is_none() && self.is_far() {
            self.fill_behind();
            return self.pass(None, Forwarded::Partial).await;
        }
        let mut vary = found.as_ref().map(|found| fresh::vary_names(&found.meta.headers));
        // One who wants nothing stored leads nobody.
        let mut alone = self.cache.passes.knows(&self.route.key, self.now)
            || fresh::wants_nothing_stored(&self.request.headers);
        let before = Before { found, judged, fwd };
        for round in 0.. {
            // An origin that varies by something else each time is asked for each client.
            alone |= round == MOST_ROUNDS;
            let (mut reader, led) = self.board(vary.as_deref(), &before.found, alone);
            let mut interim = match led {
                true => std::mem::take(&mut self.request.interim),
                false => Interim::default(),
            };
            let judged = before.judged.as_ref();
            let Some(answer) = self.in_time(&mut reader, &mut interim, judged).await else {
                return self.slow(before.found.as_ref()).await;
            };
            if let Some(refused) = self.must_not_have(&answer, led).await {
                return refused;
            }
            match self.landed(answer, reader, led, &before).await {
                Landing::Reply(reply) => return *reply,
                Landing::OfAnotherVariant(names) => vary = Some(names),
                // What one repository does not have others may wait for together.
                Landing::Anothers => alone = self.request.kept_for.is_none() || round > 0,
            }
        }
        self.unavailable("the origin's answers contradict each other")
    }

    /// What the flight's answer is to this client.
    async fn landed(
        &self,
        answer: FlightAnswer,
        reader: Reader,
        led: bool,
        before: &Before,
    ) -> Landing {
        let Before { found, judged, fwd } = before;
        let reply = match answer {
            FlightAnswer::Stored(stored, own) if self.is_mine(&stored.meta) => {
                self.confirmed(&stored, &own, led, *fwd).await
            }
            FlightAnswer::Found(stored) if self.is_mine(&stored.meta) => {
                let ttl = match self.judge(&stored) {
                    Reuse::Fresh { ttl, .. } | Reuse::WhileRevalidating { ttl, .. } => ttl,
                    Reuse::Stale { ttl, .. } => ttl,
                };
                self.stored(&stored, Outcome::Hit, from_store(ttl)).await
            }
            FlightAnswer::Stored(stored, _) | FlightAnswer::Found(stored) => {
                return Landing::OfAnotherVariant(fresh::vary_names(&stored.meta.headers));
            }
            FlightAnswer::New(head) if !led && head.is_shared && !self.is_mine(&head.meta) => {
                return Landing::OfAnotherVariant(fresh::vary_names(&head.meta.headers));
            }
            FlightAnswer::New(head) => {
                let status = head.meta.status;
                match self.instead(status, found.as_ref(), judged.as_ref()).await {
                    Some(reply) => reply,
                    // Somebody else's answer: it may be for that client only. What may be stored, and the
                    // disk does not take, is for all who have waited for it.
                    None if !led && !head.is_shared => return Landing::Anothers,
                    None => self.grown(reader, &head, led, *fwd).await,
                }
            }
            FlightAnswer::Failed(fault) => {
                self.fallen(&fault, found.as_ref(), judged.as_ref()).await
            }
        };
        Landing::Reply(Box::new(reply))
    }

    /// What was stored, after the origin has said that it is good.
    async fn confirmed(
        &self,
        stored: &StoredResponse,
        own: &HeaderMap,
        led: bool,
        fwd: Forwarded,
    ) -> Reply {
        let outcome = if led { Outcome::Revalidated } else { Outcome::Collapsed };
        let status = CacheStatus {
            forwarded_status: Some(StatusCode::NOT_MODIFIED),
            collapsed: !led,
            ..forwarded(fwd)
        };
        let mut reply = self.stored(stored, outcome, status).await;
        if led {
            // In place of what an earlier client was told.
            own.keys().for_each(|name| drop(reply.headers.remove(name)));
            for (name, value) in own.iter() {
                reply.headers.append(name, value.clone());
            }
        }
        reply
    }

    /// What came of it; none where something stale does and the origin lets wait for itself. Who asks for
    /// the origin's word (`max-age=0`, as apt does for its indexes) waits: RFC 9111 §4.2.4 lets a cache
    /// serve what is stale when it is disconnected, not when it would be quicker.
    pub(super) async fn in_time(
        &self,
        reader: &mut Reader,
        interim: &mut Interim,
        judged: Option<&Reuse>,
    ) -> Option<FlightAnswer> {
        let answer = reader.answer(interim);
        match judged {
            Some(Reuse::Stale { if_unreachable, if_error, why, .. })
                if (*if_unreachable || *if_error) && !why.is_wish() =>
            {
                timeout(self.cache.settings.patience, answer).await.ok()
            }
            _ => Some(answer.await),
        }
    }

    /// What is stale, while the origin is still being asked.
    pub(super) async fn slow(&self, found: Option<&StoredResponse>) -> Reply {
        let Some(found) = found else { return self.unavailable("the origin lets wait for itself") };
        let status = CacheStatus { detail: Some("origin-slow".to_owned()), ..from_store(0) };
        self.stored(found, Outcome::Stale, status).await
    }

    /// A place in the flight, and whether this request leads it.
    fn board(
        &self,
        vary: Option<&[HeaderName]>,
        found: &Option<StoredResponse>,
        alone: bool,
    ) -> (Reader, bool) {
        let (reader, started) = match alone {
            true => {
                let (reader, flight, in_flight) = self.cache.flights.alone(&self.route.key);
                (reader, Some((flight, in_flight)))
            }
            false => self.join(vary),
        };
        let led = started.is_some();
        if let Some((flight, in_flight)) = started {
            self.launch(Purpose::Fill { flight, found: found.clone(), alone }, in_flight);
        }
        (reader, led)
    }

    /// Whether the wanted range begins well behind what has come so far, and is a part of what the origin
    /// sends as it is. Of what is verified nobody gets a part that was not.
    fn is_far(&self) -> bool {
        let route = &self.route;
        let is_as_it_comes = route.verify.is_none() && route.rewrite.is_none();
        let Some(ranges) = Ranges::of(&self.request.method, &self.request.headers) else {
            return false;
        };
        let so_far = self.cache.flights.so_far(&route.key, |names| self.variant(names));
        is_as_it_comes && ranges.start().is_none_or(|start| start > so_far.unwrap_or(0) + NEAR)
    }

    /// Fetches the whole while a part of it is on its way.
    fn fill_behind(&self) {
        if self.cache.passes.knows(&self.route.key, self.now) {
            return;
        }
        let (_, started) = self.join(None);
        if let Some((flight, in_flight)) = started {
            self.launch(Purpose::Fill { flight, found: None, alone: false }, in_flight);
        }
    }
}
