//! One request to an origin, from its sending to the verdict on its answer.
//!
//! `serve` gives jobs to the fetch thread, and `run` is the whole story of one. What must stay true:
//! what is committed is whole and passed every check; a disk that fails costs no client an answer;
//! nothing is asked for twice but the rest of a body that broke off.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::flights::Flight;
use super::growing::{Answer, End, Growing, Head, Unstored};
use crate::cache::Cache;
use crate::cache::fresh;
use crate::cache::key::{Key, Partition};
use crate::cache::meta::{Meta, Stored};
use crate::cache::partition;
use crate::cache::range;
use crate::cache::route::{Fetch, Kind, Route, Source, Verify};
use crate::cache::stats::Account;
use crate::cache::store::{Body, Draft, Found, Lock};
use crate::cache::upstream::{self, AnswerBody, Fault, Follow, RequestBody};

/// The most that a document may have which is held in memory, in bytes.
const LARGEST_DOCUMENT: usize = 64 << 20;
const MOST_REDIRECTS: u8 = 5;
/// How long another process is waited for.
const LOCK_TIME: Duration = Duration::from_secs(10);
/// How often a body is asked for from where it broke off.
const MOST_RESUMPTIONS: u32 = 5;

#[derive(Debug)]
pub struct Job {
    pub route: Route,
    pub method: Method,
    /// The client's own, which variants are chosen by.
    pub request: HeaderMap,
    pub upload: RequestBody,
    pub purpose: Purpose,
    pub account: Account,
    /// In ms since 1970.
    pub began: u64,
}

#[derive(Debug)]
pub enum Purpose {
    /// Into the store, if it may be; renewing what was found there. `alone`: what comes is for one
    /// client, and nobody waits for it.
    Fill { flight: Flight, found: Option<Found>, alone: bool },
    /// To one client only.
    Pass { found: Option<Found> },
}

/// An answer, before anything of its body was read.
struct Begun {
    status: StatusCode,
    headers: HeaderMap,
    length: Option<u64>,
    body: Incoming,
    /// Times of the request and the answer.
    times: (u64, u64),
}

enum Incoming {
    Origin(Box<AnswerBody>),
    Whole(Option<Bytes>),
    Made(mpsc::Receiver<Result<Bytes, String>>),
}

/// Why there is no whole body.
enum Failure {
    Origin(Fault),
    /// What the route's own code says of it.
    Wrong(String),
}

pub async fn run(cache: Arc<Cache>, job: Job, growing: Arc<Growing>) {
    let flight = match &job.purpose {
        Purpose::Fill { flight, .. } => Some(flight.clone()),
        Purpose::Pass { .. } => None,
    };
    if let Err(fault) = fly(&cache, job, &growing).await {
        growing.answer(Answer::Failed(Arc::new(fault)));
    }
    if let Some(flight) = flight {
        cache.flights.end(&flight, &growing);
    }
}

async fn fly(cache: &Cache, mut job: Job, growing: &Arc<Growing>) -> Result<(), Fault> {
    let lock = lock(cache, &job).await;
    if let Some(newer) = newer(cache, &job).await {
        growing.answer(Answer::Stored(Arc::new(newer)));
        return Ok(());
    }
    let begun = ask(cache, &mut job, growing).await?;
    let Begun { status, headers, .. } = &begun;
    if let Some(found) = job.found()
        && *status == StatusCode::NOT_MODIFIED
        && job.fills()
    {
        // It has come to a request without conditions.
        if !fresh::same(&found.meta, headers) {
            return Err(Fault::HeadInvalid("a 304 for something else".to_owned()));
        }
        let stored = confirmed(cache, found, headers, begun.times).await;
        growing.answer(Answer::Stored(Arc::new(stored)));
        return Ok(());
    }
    if job.method == Method::HEAD {
        learn(cache, &job, &begun).await;
    }
    forget(cache, &job, *status, headers).await;
    receive(cache, job, begun, growing, lock).await;
    Ok(())
}

impl Job {
    fn found(&self) -> Option<&Found> {
        match &self.purpose {
            Purpose::Fill { found, .. } | Purpose::Pass { found } => found.as_ref(),
        }
    }

    /// Whether what was found may answer in place of an error of the origin.
    fn may_use_stale(&self) -> bool {
        let reuse = self
            .found()
            .map(|found| fresh::reuse(&found.meta, &self.request, self.began, &self.route.rules));
        matches!(reuse, Some(fresh::Reuse::Stale { if_error: true, .. }))
    }

    fn fills(&self) -> bool {
        matches!(self.purpose, Purpose::Fill { .. })
    }
}

/// Between processes that share the store, one asks.
async fn lock(cache: &Cache, job: &Job) -> Option<Lock> {
    match &job.purpose {
        Purpose::Fill { flight, alone: false, .. } => {
            // Another process may be stuck: then both ask.
            let locked = timeout(LOCK_TIME, async { cache.store.lock(&flight.lock_key()).await });
            locked.await.ok()?.ok()
        }
        Purpose::Fill { .. } | Purpose::Pass { .. } => None,
    }
}

/// What another request, or another process, has stored since this one looked.
async fn newer(cache: &Cache, job: &Job) -> Option<Found> {
    let Purpose::Fill { flight, alone: false, .. } = &job.purpose else { return None };
    let variant = |names: &[http::HeaderName]| fresh::variant(names, &job.request);
    let found = cache.store.find(&flight.key, &variant).await.ok()??;
    let seen = job.found().map(|found| found.meta.response_time);
    let reuse = fresh::reuse(&found.meta, &job.request, cache.now(), &job.route.rules);
    let is_usable =
        matches!(reuse, fresh::Reuse::Fresh { .. } | fresh::Reuse::WhileRevalidating { .. });
    (seen != Some(found.meta.response_time) && is_usable).then_some(found)
}

/// Asks, and asks again without conditions if the origin means another answer than the stored one.
async fn ask(cache: &Cache, job: &mut Job, growing: &Arc<Growing>) -> Result<Begun, Fault> {
    let mut headers = job.request.clone();
    if job.fills() {
        fresh::strip_conditions(&mut headers);
        headers.remove(header::RANGE);
        only_shared(&mut headers);
    }
    let plain = headers.clone();
    if let (true, Some(found)) = (job.fills(), job.found()) {
        fresh::add_validators(&found.meta, &mut headers);
    }
    let begun = send(cache, job, headers, growing).await?;
    let is_other = job.fills()
        && begun.status == StatusCode::NOT_MODIFIED
        && job.found().is_some_and(|found| !fresh::same(&found.meta, &begun.headers));
    if is_other { send(cache, job, plain, growing).await } else { Ok(begun) }
}

/// Fields by which one client could choose what others get: they are in no key, and say nothing true of
/// a request that is for all.
fn only_shared(headers: &mut HeaderMap) {
    const UNKEYED: [&str; 12] = [
        "forwarded",
        "x-forwarded",
        "x-original",
        "x-rewrite-url",
        "x-http-method",
        "x-method-override",
        "x-host",
        "x-real-ip",
        "true-client-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-proxyuser-ip",
    ];
    let names: Vec<_> = headers.keys().cloned().collect();
    for name in names {
        if UNKEYED.iter().any(|unkeyed| name.as_str().starts_with(unkeyed)) {
            headers.remove(&name);
        }
    }
}

async fn send(
    cache: &Cache,
    job: &mut Job,
    headers: HeaderMap,
    growing: &Arc<Growing>,
) -> Result<Begun, Fault> {
    let sent = cache.now();
    let source = job.route.source.clone();
    match source {
        Source::Fetch(fetch) => {
            let follow = job.route.follow.then(|| follow(cache));
            let hears = Arc::clone(growing);
            let interim: upstream::Interim =
                Arc::new(move |status, headers| hears.interim(status, headers));
            let body = std::mem::take(&mut job.upload);
            let method = job.method.clone();
            job.account.asked();
            let answer = cache
                .upstream
                .send(&fetch, method, headers, body, follow.as_ref(), Some(interim))
                .await?;
            Ok(Begun {
                status: answer.status,
                headers: answer.headers,
                length: answer.length,
                body: Incoming::Origin(Box::new(answer.body)),
                times: (sent, cache.now()),
            })
        }
        Source::Compose(fetches, compose) => {
            let mut parts = Vec::with_capacity(fetches.len());
            for fetch in &fetches {
                parts.push(part(cache, job, fetch, headers.clone()).await?);
            }
            let (headers, body) = compose.compose(parts).map_err(Fault::BodyBroken)?;
            Ok(Begun {
                status: StatusCode::OK,
                headers,
                length: Some(body.len() as u64),
                body: Incoming::Whole(Some(body)),
                times: (sent, cache.now()),
            })
        }
        Source::Produce(produce) => {
            let (sender, pieces) = mpsc::channel(4);
            let (head, is_head) = tokio::sync::oneshot::channel();
            tokio::task::spawn_blocking(move || {
                let (headers, body) = produce.produce();
                if head.send(headers).is_err() {
                    return;
                }
                for piece in body {
                    if sender.blocking_send(piece).is_err() {
                        return;
                    }
                }
            });
            let broke = |_| Fault::BodyBroken("it could not be produced".to_owned());
            Ok(Begun {
                status: StatusCode::OK,
                headers: is_head.await.map_err(broke)?,
                length: None,
                body: Incoming::Made(pieces),
                times: (sent, cache.now()),
            })
        }
    }
}

fn follow(cache: &Cache) -> Follow {
    let settings = Arc::clone(&cache.settings);
    Follow {
        most: MOST_REDIRECTS,
        allowed: Arc::new(move |scheme, host| settings.serves(host, scheme)),
    }
}

/// One of the documents that another is made of.
async fn part(
    cache: &Cache,
    job: &Job,
    fetch: &Fetch,
    headers: HeaderMap,
) -> Result<(HeaderMap, Bytes), Fault> {
    job.account.asked();
    let follow = job.route.follow.then(|| follow(cache));
    let body = RequestBody::Empty;
    let answer =
        cache.upstream.send(fetch, Method::GET, headers, body, follow.as_ref(), None).await?;
    if answer.status != StatusCode::OK {
        return Err(Fault::BodyBroken(format!("a part of it came with status {}", answer.status)));
    }
    let headers = answer.headers;
    let mut incoming = Incoming::Origin(Box::new(answer.body));
    match whole(&mut incoming, &job.account).await {
        Ok(body) => Ok((headers, body)),
        Err(Failure::Origin(fault)) => Err(fault),
        Err(Failure::Wrong(why)) => Err(Fault::BodyBroken(why)),
    }
}

impl Incoming {
    async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        match self {
            Incoming::Origin(body) => Some(body.next().await?.map_err(Failure::Origin)),
            Incoming::Whole(bytes) => bytes.take().filter(|bytes| !bytes.is_empty()).map(Ok),
            Incoming::Made(pieces) => Some(pieces.recv().await?.map_err(Failure::Wrong)),
        }
    }
}

async fn whole(incoming: &mut Incoming, account: &Account) -> Result<Bytes, Failure> {
    let mut all = Vec::new();
    while let Some(piece) = incoming.next().await {
        let piece = piece?;
        account.fetched(piece.len() as u64);
        if all.len() + piece.len() > LARGEST_DOCUMENT {
            return Err(Failure::Wrong("the document is too large".to_owned()));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all.into())
}

/// The stored response is good again.
async fn confirmed(cache: &Cache, found: &Found, headers: &HeaderMap, times: (u64, u64)) -> Found {
    let meta = fresh::updated(&found.meta, headers, times.0, times.1);
    cache.hot.forget(&found.meta.key);
    match cache.store.refresh(found, meta.clone()).await {
        Ok(found) => found,
        Err(error) => {
            cache.disk_failed(&error);
            Found { meta: Arc::new(meta), ..found.clone() }
        }
    }
}

/// What an answer to HEAD says of the stored response (RFC 9111 §4.3.5).
async fn learn(cache: &Cache, job: &Job, begun: &Begun) {
    let Some(found) = job.found() else { return };
    match fresh::head_update(
        &found.meta,
        begun.status,
        &begun.headers,
        begun.times.0,
        begun.times.1,
    ) {
        fresh::HeadUpdate::Nothing => {}
        fresh::HeadUpdate::Refreshed(meta) => {
            cache.hot.forget(&found.meta.key);
            if let Err(error) = cache.store.refresh(found, *meta).await {
                cache.disk_failed(&error);
            }
        }
        fresh::HeadUpdate::Invalid => cache.forget(&found.meta.key).await,
    }
}

/// Drops what an unsafe request has made out of date (RFC 9111 §4.4).
async fn forget(cache: &Cache, job: &Job, status: StatusCode, headers: &HeaderMap) {
    if !fresh::invalidates(&job.method, status) {
        return;
    }
    cache.forget(&job.route.key).await;
    for url in fresh::invalidated_targets(&job.route.key, headers) {
        if let Some(key) = cache.key_of(&url) {
            cache.forget(&key).await;
        }
    }
}

/// Takes the answer in: head, body, verdict, commit.
async fn receive(
    cache: &Cache,
    job: Job,
    mut begun: Begun,
    growing: &Arc<Growing>,
    lock: Option<Lock>,
) {
    if let Some(rewrite) = &job.route.headers {
        rewrite.rewrite(&mut begun.headers);
    }
    let prepared = prepare(&job, &mut begun).await;
    let mut stored = match &prepared {
        Ok(()) => storable(&job, &begun),
        Err(_) => Err(Unstored::Wrong),
    };
    fresh::strip_forwarded(&mut begun.headers);
    fresh::repair_date(&mut begun.headers, begun.times.1);
    let meta = meta(&job, &begun, stored.is_ok());
    let mut draft = None;
    if stored.is_ok() {
        match cache.store.begin(&meta, begun.length) {
            Ok(begun) => draft = Some(begun),
            Err(error) => {
                cache.disk_failed(&error);
                stored = Err(Unstored::Disk);
            }
        }
    } else {
        drop(lock);
        if job.fills() && stored.is_err_and(is_of_the_url) {
            cache.passes.remember(&job.route.key, cache.now());
        }
    }
    if let Err(reason) = &stored {
        cache.stats.not_stored(&reason.to_string());
        growing.pass_from(0);
    }
    let head = Arc::new(Head {
        meta: meta.clone(),
        length: begun.length,
        stored,
        draft: draft.as_ref().map(|draft| (draft.file(), draft.start())),
    });
    growing.answer(Answer::New(head));
    let result = match prepared {
        Ok(()) => take_in(cache, &job, &mut begun, growing, &mut draft).await,
        Err(failure) => Err(failure),
    };
    match result {
        Ok((length, sha256)) => match draft {
            Some(draft) => {
                let meta = Meta { length, sha256, ..meta };
                let body = Body::File { file: draft.file(), start: draft.start() };
                growing.land(Found { meta: Arc::new(meta.clone()), id: 0, body });
                cache.hot.forget(&meta.key);
                growing.end(End::Whole);
                commit(cache, &job, growing, draft, meta).await;
            }
            None => growing.end(End::Whole),
        },
        Err(failure) => {
            match failure {
                Failure::Origin(fault) => {
                    tracing::warn!(url = %job.route.key, name = fault.name(), "an answer broke off: {fault}");
                }
                Failure::Wrong(why) => {
                    tracing::warn!(url = %job.route.key, "an answer was refused: {why}");
                }
            }
            growing.end(End::Broken);
        }
    }
}

/// Reads a document whole that is to be rewritten or checked as one.
async fn prepare(job: &Job, begun: &mut Begun) -> Result<(), Failure> {
    let check = match &job.route.verify {
        Some(Verify::Document(check)) => Some(check),
        _ => None,
    };
    if begun.status != StatusCode::OK || (check.is_none() && job.route.rewrite.is_none()) {
        return Ok(());
    }
    let mut body = whole(&mut begun.body, &job.account).await?;
    if let Some(check) = check {
        check.check(&body).map_err(Failure::Wrong)?;
    }
    if let Some(rewrite) = &job.route.rewrite {
        body = rewrite.rewrite(&mut begun.headers, body).map_err(Failure::Wrong)?;
    }
    begun.length = Some(body.len() as u64);
    begun.body = Incoming::Whole(Some(body));
    Ok(())
}

fn storable(job: &Job, begun: &Begun) -> Result<(), Unstored> {
    let Begun { status, headers, .. } = begun;
    let route = &job.route;
    let as_get = fresh::post_as_get(&route.key, &job.method, *status, headers, &route.rules);
    if route.kind == Kind::PassThrough || (!job.fills() && !as_get) {
        return Err(Unstored::PassThrough);
    }
    // What is stored is worth more than an error.
    if job.found().is_some() && matches!(status.as_u16(), 500 | 502..=504) && job.may_use_stale() {
        return Err(Unstored::Error);
    }
    fresh::may_store(&Method::GET, &job.request, *status, headers, &route.rules)
        .map_err(Unstored::Response)
}

/// Whether the next answer will hardly be stored either, whoever asks.
fn is_of_the_url(reason: Unstored) -> bool {
    use fresh::NotStored::{NoFreshness, NoStore, NoValidator, Private, VaryStar};
    matches!(
        reason,
        Unstored::PassThrough
            | Unstored::Response(NoFreshness | NoStore | NoValidator | Private | VaryStar)
    )
}

fn meta(job: &Job, begun: &Begun, stored: bool) -> Meta {
    let mut headers = begun.headers.clone();
    if stored {
        fresh::strip_stored(&mut headers);
        // A rule says that it may be kept, and the origin does not: whose cookie that is nobody knows.
        if !fresh::says_how_long(&headers, &job.route.rules) {
            headers.remove(header::SET_COOKIE);
        }
    }
    let shared = fresh::shareable(&job.request, &headers, &job.route.rules)
        && !partition::has_unusual_credentials(&job.request);
    let partition = if shared { Partition::Shared } else { job.route.key.partition };
    let kind = match (&job.route.kind, begun.status) {
        (Kind::Artifact, StatusCode::OK) => Stored::Artifact,
        _ => Stored::Metadata,
    };
    let names = fresh::vary_names(&headers);
    Meta {
        key: Key { partition, ..job.route.key.clone() },
        kind,
        status: begun.status,
        vary: fresh::variant(&names, &job.request),
        headers,
        request_time: begun.times.0,
        response_time: begun.times.1,
        length: begun.length.unwrap_or(0),
        sha256: [0; 32],
    }
}

/// Takes the body in; its length and digest when it is whole and right.
async fn take_in(
    cache: &Cache,
    job: &Job,
    begun: &mut Begun,
    growing: &Arc<Growing>,
    draft: &mut Option<Draft>,
) -> Result<(u64, [u8; 32]), Failure> {
    let mut hash = digest::Context::new(&digest::SHA256);
    let (mut length, mut resumed, mut resumptions) = (0, 0, 0);
    loop {
        // What nobody will ever read is not fetched to its end.
        let next = match draft {
            Some(_) => begun.body.next().await,
            None => tokio::select! {
                biased;
                next = begun.body.next() => next,
                () = growing.deserted() => return Err(Failure::Wrong("its client has left".to_owned())),
            },
        };
        match next {
            Some(Ok(piece)) => {
                length += piece.len() as u64;
                job.account.fetched(piece.len() as u64);
                hash.update(&piece);
                keep(cache, piece, length, growing, draft).await?;
            }
            Some(Err(Failure::Origin(fault))) => {
                let may = length > resumed && resumptions < MOST_RESUMPTIONS;
                let rest = if may { resume(cache, job, begun, length).await } else { None };
                let Some((body, end)) = rest else { return Err(Failure::Origin(fault)) };
                begun.body = body;
                begun.length = Some(end);
                (resumed, resumptions) = (length, resumptions + 1);
            }
            Some(Err(wrong)) => return Err(wrong),
            None => break,
        }
    }
    let sha256: [u8; 32] = hash.finish().as_ref().try_into().unwrap_or_default();
    if begun.length.is_some_and(|declared| declared != length) && job.method != Method::HEAD {
        return Err(Failure::Wrong(format!("its length is {length} and not what it says")));
    }
    // A compressed transfer of a file is not the file that the digest is of.
    let is_file =
        begun.status == StatusCode::OK && !begun.headers.contains_key(header::CONTENT_ENCODING);
    match &job.route.verify {
        Some(Verify::Sha256(expected)) if is_file && *expected != sha256 => {
            Err(Failure::Wrong("its SHA-256 is not the one that it must have".to_owned()))
        }
        _ => Ok((length, sha256)),
    }
}

/// Puts a piece where readers find it: into the draft, or, when the disk does not take it, past it.
async fn keep(
    cache: &Cache,
    piece: Bytes,
    length: u64,
    growing: &Arc<Growing>,
    draft: &mut Option<Draft>,
) -> Result<(), Failure> {
    if let Some(writing) = draft {
        match writing.append(&piece) {
            Ok(()) => {
                growing.written(length);
                return Ok(());
            }
            Err(error) => {
                cache.disk_failed(&error);
                growing.pass_from(length - piece.len() as u64);
                // Its file stays open for those who read it.
                *draft = None;
            }
        }
    }
    match growing.pass(piece).await {
        true => Ok(()),
        false => Err(Failure::Wrong("its client has left".to_owned())),
    }
}

/// The rest of a body that broke off, if it surely is the same one (RFC 9110 §13.1.5), and where the
/// whole ends.
async fn resume(cache: &Cache, job: &Job, begun: &Begun, from: u64) -> Option<(Incoming, u64)> {
    let Source::Fetch(fetch) = &job.route.source else { return None };
    let Incoming::Origin(_) = &begun.body else { return None };
    let etag = begun.headers.get(header::ETAG)?;
    if begun.status != StatusCode::OK
        || job.method != Method::GET
        || etag.as_bytes().starts_with(b"W/")
    {
        return None;
    }
    let mut headers = job.request.clone();
    fresh::strip_conditions(&mut headers);
    headers.insert(header::RANGE, range::rest(from));
    headers.insert(header::IF_RANGE, etag.clone());
    job.account.asked();
    let follow = job.route.follow.then(|| follow(cache));
    let answer = cache
        .upstream
        .send(fetch, Method::GET, headers, RequestBody::Empty, follow.as_ref(), None)
        .await
        .ok()?;
    let rest = range::content_range_of(&answer.headers)?;
    let end = begun.length.or(rest.complete)?;
    let is_rest = answer.status == StatusCode::PARTIAL_CONTENT
        && answer.headers.get(header::ETAG) == Some(etag)
        && rest.span.start == from
        && rest.span.end == end
        && rest.complete.is_none_or(|complete| complete == end);
    is_rest.then(|| (Incoming::Origin(Box::new(answer.body)), end))
}

async fn commit(cache: &Cache, job: &Job, growing: &Growing, draft: Draft, meta: Meta) {
    let (key, length) = (meta.key.clone(), meta.length);
    if growing.is_outdated() {
        return;
    }
    match cache.store.commit(draft, meta).await {
        Ok(Found { body: Body::File { .. } | Body::Remote(_), .. }) => {
            cache.passes.forget(&key);
            job.account.stored(length);
        }
        Err(error) => cache.disk_failed(&error),
    }
    cache.hot.forget(&key);
    // Meanwhile: then it was not found when what is stored was removed.
    if growing.is_outdated() {
        cache.remove(&key).await;
    }
}
