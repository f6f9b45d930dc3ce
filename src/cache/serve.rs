//! The story of a request: route, look up, judge, fetch, answer.
//!
//! `front` calls `answer` for every request that was understood. What must stay true: what a client
//! gets is what it may have (its partition, its variant, its preconditions); one question to an origin
//! answers everybody who asks meanwhile; and every answer says in `Cache-Status` how it came about.

mod answers;
mod fetch;
mod restricted;
mod sound;

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::Cache;
use super::fill::{self, Flight, FlightAnswer, Head, InFlightBody, Job, Purpose, Reader};
use super::fresh::{self, CacheStatus, Forwarded, Reuse};
use super::key::{Key, Partition};
use super::meta::Meta;
use super::registry;
use super::reply::{Body, Growth, Reply};
use super::request::{Request, phrase, plain};
use super::route::{Kind, Route};
use super::stats::{Account, Outcome};
use super::store::StoredResponse;
use super::upstream::{Fault, RequestBody};

/// One request on its way through here.
struct Case<'c> {
    cache: &'c Arc<Cache>,
    request: Request,
    route: Route,
    /// Where an answer is that others may have, too.
    common: Partition,
    now: u64,
}

pub(super) async fn answer(cache: &Arc<Cache>, request: Request) -> Reply {
    let mut reply = match &cache.registry {
        Some(registry) => Box::pin(registry::answer(cache, registry, request)).await,
        None => object(cache, request).await,
    };
    cache.lead_nowhere(&mut reply.headers);
    reply
}

/// What an origin has, or the store.
pub(super) async fn object(cache: &Arc<Cache>, request: Request) -> Reply {
    // Before it joins a flight, which may be its own.
    if cache.upstream.is_loop(&request.headers) {
        let account = cache.stats.account(&request.host, &request.tenant, Outcome::Refused);
        let fault = cache.upstream.loop_of(request.scheme, &request.host);
        return failed(&fault, account);
    }
    let whose = cache.whose(&request.headers);
    let Some(route) = cache.route(&request, whose.own) else {
        let account = cache.stats.account(&request.host, &request.tenant, Outcome::Refused);
        return plain(StatusCode::NOT_FOUND, "nothing here answers for this URL", account);
    };
    let mut case = Case { cache, request, route, common: whose.common, now: cache.now() };
    if !case.reads() {
        return case.pass(None, Forwarded::Method).await;
    }
    if case.route.kind == Kind::PassThrough || case.only_the_origin_can_tell() {
        return case.pass(None, Forwarded::Bypass).await;
    }
    if case.route.kind == Kind::Restricted {
        return Box::pin(case.restricted()).await;
    }
    let epoch = cache.hot.epoch();
    let found = case.look_up().await;
    let judged = found.as_ref().map(|found| case.judge(found));
    match (found, judged) {
        (Some(found), Some(Reuse::Fresh { ttl, .. })) => case.hit(&found, ttl, epoch).await,
        (Some(found), Some(Reuse::WhileRevalidating { ttl, .. })) if !cache.settings.offline => {
            case.renew_behind(&found);
            case.stored(&found, Outcome::Stale, from_store(ttl)).await
        }
        (Some(found), Some(_)) if cache.settings.offline => {
            let status = CacheStatus { detail: Some("offline".to_owned()), ..from_store(0) };
            case.stored(&found, Outcome::Stale, status).await
        }
        (None, _) if cache.settings.offline => case.unavailable("offline, and it is not stored"),
        _ if fresh::only_if_cached(&case.request.headers) => {
            case.unavailable("it is not stored, and the request is for what is")
        }
        (found, judged) => Box::pin(case.fetch(found, judged)).await,
    }
}

/// What a client is told when the origin cannot be asked.
pub(super) fn failed(fault: &Fault, account: Account) -> Reply {
    let hint = fault.hint().map(|hint| format!(". hint: {hint}")).unwrap_or_default();
    let mut reply = plain(fault.status(), &format!("{fault}{hint}"), account);
    reply.reason = Some(phrase(&fault.short()));
    if let Some(pause) = fault.retry_after() {
        reply.headers.insert(header::RETRY_AFTER, HeaderValue::from(pause.as_secs()));
    }
    let status =
        CacheStatus { detail: Some(fault.name().to_owned()), ..forwarded(Forwarded::UriMiss) };
    say(&mut reply.headers, &status);
    reply
}

impl Case<'_> {
    fn reads(&self) -> bool {
        self.request.method == Method::GET || self.request.method == Method::HEAD
    }

    /// Conditions that may hold for what the origin has and not for what is stored; or a body, which
    /// some origins read, so that the URL does not say what is asked for.
    fn only_the_origin_can_tell(&self) -> bool {
        let headers = &self.request.headers;
        headers.contains_key(header::IF_MATCH)
            || headers.contains_key(header::IF_UNMODIFIED_SINCE)
            || !matches!(self.request.upload, RequestBody::Empty)
    }

    fn account(&self, outcome: Outcome) -> Account {
        self.cache.stats.account(&self.request.host, &self.request.tenant, outcome)
    }

    fn judge(&self, found: &StoredResponse) -> Reuse {
        fresh::reuse(&found.meta, &self.request.headers, self.now, &self.route.rules)
    }

    fn variant(&self, names: &[HeaderName]) -> Vec<(String, Option<String>)> {
        self.cache.variant(&self.route, names, &self.request.headers)
    }

    /// What is stored for this client, else for everybody where that may be.
    async fn look_up(&self) -> Option<StoredResponse> {
        let found = self.look_for().await?;
        self.sound(found).await
    }

    /// The same, whatever a disk has made of it.
    async fn look_for(&self) -> Option<StoredResponse> {
        let mine = self.find(&self.route.key).await;
        let is_own = self.route.key.partition != self.common;
        let shares = self.route.rules.share_authorized;
        if mine.is_some() || !is_own || !(shares || self.brings_only_cookies()) {
            return mine;
        }
        let common = self.find(&Key { partition: self.common, ..self.route.key.clone() }).await?;
        (shares || self.is_given_to_everybody(&common)).then_some(common)
    }

    fn brings_only_cookies(&self) -> bool {
        let headers = &self.request.headers;
        headers.contains_key(header::COOKIE) && !headers.contains_key(header::AUTHORIZATION)
    }

    /// Whether it was asked for without a cookie, and its origin has said for how long it is good: an origin
    /// that chooses by cookies says so by `Vary` (RFC 9110 §12.5.5). The other way round nothing is shared.
    fn is_given_to_everybody(&self, common: &StoredResponse) -> bool {
        let says = fresh::says_how_long(&common.meta.headers, &self.route.rules);
        says && matches!(self.judge(common), Reuse::Fresh { .. })
    }

    async fn find(&self, key: &Key) -> Option<StoredResponse> {
        // What is whole and on its way into the store is newer than what is there.
        let landed = self.cache.flights.landed(key, |meta| self.is_mine(meta));
        if landed.is_some() {
            return landed;
        }
        let found = self.cache.store.find(key, &|names| self.variant(names)).await;
        found.unwrap_or_else(|error| {
            self.cache.disk_failed(&error);
            None
        })
    }

    /// One request behind the scenes, whoever asks how often.
    fn renew_behind(&self, found: &StoredResponse) {
        let vary = fresh::vary_names(&found.meta.headers);
        let (_, started) = self.join(Some(&vary));
        if let Some((flight, in_flight)) = started {
            self.launch(
                Purpose::Fill { flight, found: Some(found.clone()), alone: false },
                in_flight,
            );
        }
    }

    fn join(&self, vary: Option<&[HeaderName]>) -> (Reader, Option<(Flight, Arc<InFlightBody>)>) {
        self.cache.flights.join(&self.route.key, vary, |names| self.variant(names))
    }

    fn job(&self, purpose: Purpose, upload: RequestBody) -> Box<Job> {
        let fills = matches!(purpose, Purpose::Fill { .. });
        Box::new(Job {
            route: self.route.clone(),
            method: if fills { Method::GET } else { self.request.method.clone() },
            request: self.request.headers.clone(),
            common: self.common,
            upload,
            purpose,
            account: self.account(if fills { Outcome::Miss } else { Outcome::Passed }),
            began: self.now,
        })
    }

    /// Starts a fill on the fetch thread.
    fn launch(&self, purpose: Purpose, in_flight: Arc<InFlightBody>) {
        let job = self.job(purpose, RequestBody::Empty);
        self.cache.thread.run(fill::run(Arc::clone(self.cache), job, in_flight));
    }

    /// Whether an answer to another request with this URL is one to this request.
    fn is_mine(&self, meta: &Meta) -> bool {
        self.variant(&fresh::vary_names(&meta.headers)) == meta.vary
    }

    /// What is stored, in place of an error of the origin.
    async fn instead(
        &self,
        status: StatusCode,
        found: Option<&StoredResponse>,
        judged: Option<&Reuse>,
    ) -> Option<Reply> {
        let (Some(found), Some(Reuse::Stale { if_error: true, .. })) = (found, judged) else {
            return None;
        };
        if !matches!(status.as_u16(), 500 | 502 | 503 | 504) {
            return None;
        }
        let status = CacheStatus {
            forwarded_status: Some(status),
            detail: Some("stale-if-error".to_owned()),
            ..from_store(0)
        };
        Some(self.stored(found, Outcome::Stale, status).await)
    }

    /// The origin could not be asked: what is stored may do.
    async fn fallen(
        &self,
        fault: &Fault,
        found: Option<&StoredResponse>,
        judged: Option<&Reuse>,
    ) -> Reply {
        self.cache.origin_failed(&self.request.host, fault);
        if let (Some(found), Some(Reuse::Stale { if_unreachable, if_error, .. })) = (found, judged)
            && (*if_unreachable || *if_error)
            && fault.is_origin()
        {
            let status = CacheStatus { detail: Some(fault.name().to_owned()), ..from_store(0) };
            return self.stored(found, Outcome::Stale, status).await;
        }
        let mut reply = failed(fault, self.account(Outcome::Failed));
        self.cache.via(&mut reply.headers);
        reply
    }

    fn unavailable(&self, why: &str) -> Reply {
        plain(StatusCode::GATEWAY_TIMEOUT, why, self.account(Outcome::Failed))
    }

    /// Through to the origin, for this client only.
    async fn pass(&mut self, found: Option<StoredResponse>, fwd: Forwarded) -> Reply {
        if self.cache.settings.offline {
            return self.unavailable("offline: no origin is asked");
        }
        let judged = found.as_ref().map(|found| self.judge(found));
        let seen = found.clone();
        let (in_flight, mut reader) = InFlightBody::begin();
        let upload = std::mem::take(&mut self.request.upload);
        let job = self.job(Purpose::Pass { found }, upload);
        self.cache.thread.run(fill::run(Arc::clone(self.cache), job, in_flight));
        let mut interim = std::mem::take(&mut self.request.interim);
        let Some(answer) = self.in_time(&mut reader, &mut interim, judged.as_ref()).await else {
            return self.slow(seen.as_ref()).await;
        };
        match answer {
            FlightAnswer::New(head) => {
                let mut headers = head.headers.clone();
                headers.remove(header::CONTENT_LENGTH);
                self.cache.via(&mut headers);
                say(&mut headers, &taken_in(&head, fwd));
                let draft = head.draft.clone();
                Reply {
                    status: head.meta.status,
                    reason: None,
                    headers,
                    length: head.length,
                    body: Body::Growing(Growth { reader, draft, plan: None }),
                    account: self.account(Outcome::Passed),
                    stored: None,
                }
            }
            FlightAnswer::Stored(found, _) | FlightAnswer::Found(found) => {
                self.stored(&found, Outcome::Revalidated, forwarded(fwd)).await
            }
            FlightAnswer::Failed(fault) => {
                self.fallen(&fault, seen.as_ref(), judged.as_ref()).await
            }
        }
    }
}

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

fn from_store(ttl: i64) -> CacheStatus {
    CacheStatus { hit: true, ttl: Some(ttl), ..CacheStatus::default() }
}

fn forwarded(why: Forwarded) -> CacheStatus {
    CacheStatus { forwarded: Some(why), ..CacheStatus::default() }
}

/// What became of an answer of the origin.
fn taken_in(head: &Head, why: Forwarded) -> CacheStatus {
    CacheStatus {
        forwarded_status: Some(head.meta.status),
        stored: head.draft.is_some(),
        detail: head.stored.err().map(|reason| reason.to_string()),
        ..forwarded(why)
    }
}

/// Adds what happened here to what caches before have said (RFC 9211 §2).
pub(super) fn say(headers: &mut HeaderMap, status: &CacheStatus) {
    if let Ok(value) = HeaderValue::try_from(status.to_string()) {
        headers.append(CACHE_STATUS, value);
    }
}
