//! One request to an origin, from its sending to the verdict on its answer.
//!
//! `serve` gives jobs (`job`) to the fetch thread, and `run` is the whole story of one. What must stay true:
//! what is committed is whole and passed every check; a disk that fails costs no client an answer;
//! nothing is asked for again here but the rest of a body that broke off.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use tokio::time::timeout;

use super::ask::{Failure, Incoming, ResponseStart, ask, prepare, resume};
use super::in_flight::{End, FlightAnswer, Head, InFlightBody, Unstored};
use super::job::{Job, Purpose};
use super::judge::{is_plain_file, meta, storable};
use crate::cache::Cache;
use crate::cache::fresh;
use crate::cache::meta::Meta;
use crate::cache::store::{Body, Draft, Lock, StoredResponse};
use crate::cache::upstream::Fault;

/// A client that takes longer for a piece that passes by the disk is slow.
const SLOW: Duration = Duration::from_millis(100);
/// How long another process is waited for.
const LOCK_TIME: Duration = Duration::from_secs(10);
/// How often a body is asked for from where it broke off.
const MOST_RESUMPTIONS: u32 = 5;

/// The job is boxed because each of the steps below would keep a copy as long as it lasts.
pub async fn run(cache: Arc<Cache>, job: Box<Job>, in_flight: Arc<InFlightBody>) {
    let flight = match &job.purpose {
        Purpose::Fill { flight, .. } => Some(flight.clone()),
        Purpose::Pass { .. } => None,
    };
    if let Err(fault) = fly(&cache, job, &in_flight).await {
        in_flight.answer(FlightAnswer::Failed(Arc::new(fault)));
    }
    in_flight.hold(None);
    if let Some(flight) = flight {
        cache.flights.end(&flight.key, &in_flight);
    }
}

async fn fly(cache: &Cache, mut job: Box<Job>, in_flight: &Arc<InFlightBody>) -> Result<(), Fault> {
    in_flight.hold(lock(cache, &job).await);
    if let Some(newer) = newer(cache, &job).await {
        in_flight.answer(FlightAnswer::Found(Arc::new(newer)));
        return Ok(());
    }
    // Boxed, here and below: what lasts as long as a slow client is not to keep the room that the asking took.
    let begun = Box::pin(ask(cache, &mut job, in_flight)).await?;
    let ResponseStart { status, headers, .. } = &begun;
    if let Some(found) = job.found()
        && *status == StatusCode::NOT_MODIFIED
        && job.fills()
    {
        // It has come to a request without conditions.
        if !fresh::same(&found.meta, headers) {
            return Err(Fault::HeadInvalid("a 304 for something else".to_owned()));
        }
        let stored = confirmed(cache, &job, found, &begun).await;
        let own = fresh::for_one_client(&begun.headers);
        in_flight.answer(FlightAnswer::Stored(Arc::new(stored), Arc::new(own)));
        return Ok(());
    }
    if job.method == Method::HEAD {
        learn(cache, &job, &begun).await;
    }
    forget(cache, &job, *status, headers).await;
    receive(cache, job, begun, in_flight).await;
    Ok(())
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
async fn newer(cache: &Cache, job: &Job) -> Option<StoredResponse> {
    let Purpose::Fill { flight, alone: false, .. } = &job.purpose else { return None };
    let variant = |names: &[http::HeaderName]| cache.variant(&job.route, names, &job.request);
    // What has landed is looked for first: it is there until it can be found in the store.
    let is_mine = |meta: &Meta| variant(&fresh::vary_names(&meta.headers)) == meta.vary;
    let found = match cache.flights.landed(&flight.key, is_mine) {
        Some(landed) => landed,
        None => cache.store.find(&flight.key, &variant).await.ok()??,
    };
    let seen = job.found().map(|found| found.meta.response_time);
    let reuse = fresh::reuse(&found.meta, &job.request, cache.now(), &job.route.rules);
    let is_usable =
        matches!(reuse, fresh::Reuse::Fresh { .. } | fresh::Reuse::WhileRevalidating { .. });
    (seen != Some(found.meta.response_time) && is_usable).then_some(found)
}

/// The stored response is good again.
async fn confirmed(
    cache: &Cache,
    job: &Job,
    found: &StoredResponse,
    begun: &ResponseStart,
) -> StoredResponse {
    let meta = fresh::updated(&found.meta, &begun.headers, begun.times.0, begun.times.1);
    cache.hot.forget(&found.meta.key);
    let (status, rules) = (meta.status, &job.route.rules);
    // Whatever this client wishes.
    let nobody = HeaderMap::new();
    if fresh::may_store(&Method::GET, &nobody, status, &meta.headers, rules).is_err() {
        // The origin does not want it stored any more.
        cache.remove(&found.meta.key).await;
        return StoredResponse { meta: Arc::new(meta), ..found.clone() };
    }
    match cache.store.refresh(found, meta.clone()).await {
        Ok(found) => found,
        Err(error) => {
            cache.disk_failed(&error);
            StoredResponse { meta: Arc::new(meta), ..found.clone() }
        }
    }
}

/// What an answer to HEAD says of the stored response (RFC 9111 §4.3.5).
async fn learn(cache: &Cache, job: &Job, begun: &ResponseStart) {
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
    job: Box<Job>,
    mut begun: ResponseStart,
    in_flight: &Arc<InFlightBody>,
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
    let meta = meta(cache, &job, &begun, stored.is_ok());
    // Stored or storable: nothing else is anybody's but the client's that asked (RFC 9111 §4).
    let is_shared = stored.is_ok();
    let mut draft = None;
    if stored.is_ok() {
        match cache.store.begin(&meta, begun.length) {
            Ok(begun) => draft = Some(begun),
            Err(error) => stored = Err(not_taken(cache, &error)),
        }
    } else {
        in_flight.hold(None);
        if job.fills() && stored.is_err_and(Unstored::is_of_the_url) {
            cache.passes.remember(&job.route.key, cache.now());
        }
    }
    if let Err(reason) = &stored {
        cache.stats.not_stored(&reason.to_string());
        in_flight.pass_from(0);
    }
    if let (Purpose::Fill { flight, .. }, true) = (&job.purpose, is_shared) {
        cache.flights.varies(&flight.key, in_flight, &meta.vary);
    }
    let head = Arc::new(Head {
        meta,
        headers: std::mem::take(&mut begun.headers),
        is_shared,
        length: begun.length,
        stored,
        draft: draft.as_ref().map(|draft| (draft.file(), draft.start())),
    });
    in_flight.answer(FlightAnswer::New(Arc::clone(&head)));
    let result = match prepared {
        Ok(()) => take_in(cache, &job, &mut begun, &head, in_flight, &mut draft).await,
        Err(failure) => Err(failure),
    };
    match result {
        Ok((length, sha256)) => {
            let meta = Meta { length, sha256, ..head.meta.clone() };
            land(cache, &job, in_flight, draft, meta).await;
        }
        Err(failure) => {
            log(&job, &failure);
            if let (Some(failed), false) = (&job.route.failed, matches!(failure, Failure::Left)) {
                failed.store(cache.now(), Ordering::Relaxed);
            }
            in_flight.end(End::Broken);
        }
    }
}

/// The whole is there, and right.
async fn land(
    cache: &Cache,
    job: &Job,
    in_flight: &Arc<InFlightBody>,
    draft: Option<Draft>,
    meta: Meta,
) {
    let Some(draft) = draft else { return in_flight.end(End::Whole) };
    let body = Body::File { file: draft.file(), start: draft.start() };
    in_flight.land(StoredResponse { meta: Arc::new(meta.clone()), id: 0, body });
    cache.hot.forget(&meta.key);
    in_flight.end(End::Whole);
    commit(cache, job, in_flight, draft, meta).await;
}

fn log(job: &Job, failure: &Failure) {
    let url = job.route.key.without_query();
    match failure {
        Failure::Origin(fault) => {
            tracing::warn!(%url, name = fault.name(), "an answer broke off: {fault}");
        }
        Failure::Wrong(why) => tracing::warn!(%url, "an answer was refused: {why}"),
        Failure::Left => tracing::debug!(%url, "nobody reads an answer any more"),
    }
}

/// Takes the body in; its length and digest when it is whole and right.
async fn take_in(
    cache: &Cache,
    job: &Job,
    begun: &mut ResponseStart,
    head: &Head,
    in_flight: &Arc<InFlightBody>,
    draft: &mut Option<Draft>,
) -> Result<(u64, [u8; 32]), Failure> {
    let mut hash = digest::Context::new(&digest::SHA256);
    let (mut length, mut resumed, mut resumptions) = (0, 0, 0);
    loop {
        // What nobody will ever read is not fetched to its end.
        let next = match draft {
            Some(_) => begun.body.next().await,
            None => {
                has_room(in_flight, &mut begun.body).await?;
                tokio::select! {
                    biased;
                    next = begun.body.next() => next,
                    () = in_flight.deserted() => return Err(Failure::Left),
                }
            }
        };
        match next {
            Some(Ok(piece)) => {
                length += piece.len() as u64;
                job.account.fetched(piece.len() as u64);
                hash.update(&piece);
                keep(cache, piece, length, in_flight, draft);
            }
            Some(Err(Failure::Origin(fault))) => {
                let may = length > resumed && resumptions < MOST_RESUMPTIONS;
                let rest = match may {
                    true => Box::pin(resume(cache, job, begun, &head.headers, length)).await,
                    false => None,
                };
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
    match &job.route.verify {
        // An answer to HEAD has no body that could have one.
        Some(expected)
            if job.method != Method::HEAD
                && is_plain_file(begun.status, &head.headers)
                && *expected != sha256 =>
        {
            Err(Failure::Wrong("its SHA-256 is not the one that it must have".to_owned()))
        }
        _ => Ok((length, sha256)),
    }
}

/// Puts a piece where readers find it: into the draft, or, when the disk does not take it, past it.
fn keep(
    cache: &Cache,
    piece: Bytes,
    length: u64,
    in_flight: &InFlightBody,
    draft: &mut Option<Draft>,
) {
    if let Some(writing) = draft {
        match writing.append(&piece) {
            Ok(()) => return in_flight.written(length),
            Err(error) => {
                not_taken(cache, &error);
                in_flight.pass_from(length - piece.len() as u64);
                // Its file stays open for those who read it.
                *draft = None;
            }
        }
    }
    // hyper reads into blocks of 8 KiB: a small piece would keep the whole of one.
    match piece.len() {
        ..4096 => in_flight.pass(Bytes::copy_from_slice(&piece)),
        _ => in_flight.pass(piece),
    }
}

/// Waits until the next piece of what passes by the disk can be had: nothing lies in memory before that.
async fn has_room(in_flight: &InFlightBody, body: &mut Incoming) -> Result<(), Failure> {
    let mut room = std::pin::pin!(in_flight.room());
    let is_read = match timeout(SLOW, &mut room).await {
        Ok(is_read) => is_read,
        // A slow client is not to keep others from the host.
        Err(_) => tokio::select! {
            biased;
            is_read = &mut room => is_read,
            () = body.wanted() => {
                body.release();
                room.await
            }
        },
    };
    is_read.then_some(()).ok_or(Failure::Left)
}

/// Why the store does not take it.
fn not_taken(cache: &Cache, error: &std::io::Error) -> Unstored {
    if error.kind() == std::io::ErrorKind::FileTooLarge {
        return Unstored::TooLarge;
    }
    cache.disk_failed(error);
    Unstored::Disk
}

async fn commit(cache: &Cache, job: &Job, in_flight: &InFlightBody, draft: Draft, meta: Meta) {
    let (key, length) = (meta.key.clone(), meta.length);
    if in_flight.is_outdated() {
        return;
    }
    match cache.store.commit(draft, meta).await {
        Ok(StoredResponse { body, .. }) => {
            if let (Some(_), Body::File { file, .. }) = (&job.route.verify, &body) {
                cache.checks.note(file, cache.now());
            }
            cache.passes.forget(&key);
            job.account.stored(length);
        }
        Err(error) => cache.disk_failed(&error),
    }
    cache.hot.forget(&key);
    // Meanwhile: then it was not found when what is stored was removed.
    if in_flight.is_outdated() {
        cache.remove(&key).await;
    }
}
