//! How an origin is asked, and what comes of it before its body is read.
//!
//! Called by `filler`. What must stay true: conditions, ranges and fields that say something of one
//! client only do not go with a request that is for all; the rest of a body is only asked for where it
//! surely is the rest of that body.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::in_flight::InFlightBody;
use super::job::Job;
use crate::cache::Cache;
use crate::cache::asker::Field;
use crate::cache::fresh;
use crate::cache::range;
use crate::cache::route::Kind;
use crate::cache::stats::Account;
use crate::cache::upstream::{self, AnswerBody, Fault, Follow, RequestBody};

/// The most that a document may have which is held in memory, in bytes.
const LARGEST_DOCUMENT: usize = 64 << 20;

const MOST_REDIRECTS: u8 = 5;

/// An answer, before anything of its body was read.
pub(super) struct ResponseStart {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub length: Option<u64>,
    pub body: Incoming,
    /// The heads of redirects that were followed.
    pub hops: Vec<HeaderMap>,
    /// Times of the request and the answer.
    pub times: (u64, u64),
}

pub(super) enum Incoming {
    Origin(Box<AnswerBody>),
    Whole(Option<Bytes>),
}

/// Why there is no whole body.
pub(super) enum Failure {
    Origin(Fault),
    /// What a check or the route's own code says of it.
    Wrong(String),
    /// It is not stored, and nobody reads it any more.
    Left,
}

/// Asks, and asks again without conditions if the origin means another answer than the stored one.
pub(super) async fn ask(
    cache: &Cache,
    job: &mut Job,
    in_flight: &Arc<InFlightBody>,
) -> Result<ResponseStart, Fault> {
    let plain = fields(job);
    let mut headers = plain.clone();
    if let (true, Some(found)) = (job.fills(), job.found()) {
        fresh::add_validators(&found.meta, &mut headers);
    }
    let begun = send(cache, job, headers, in_flight).await?;
    let is_other = job.fills()
        && begun.status == StatusCode::NOT_MODIFIED
        && job.found().is_some_and(|found| !fresh::same(&found.meta, &begun.headers));
    if is_other { send(cache, job, plain, in_flight).await } else { Ok(begun) }
}

/// The fields of every request for what may be kept or is a part of it: of the client's those that can
/// choose nothing for others, without conditions and range where the whole is fetched. What only passes
/// goes as it came.
fn fields(job: &Job) -> HeaderMap {
    let mut headers = job.request.clone();
    let is_of_one = job.route.kind == Kind::PassThrough
        || !matches!(job.method, Method::GET | Method::HEAD)
        || !matches!(job.upload, RequestBody::Empty);
    if is_of_one {
        return headers;
    }
    let behind: Vec<_> =
        headers.keys().filter(|name| Field::of(name) == Field::Hop).cloned().collect();
    for name in behind {
        headers.remove(name);
    }
    if job.fills() {
        fresh::strip_conditions(&mut headers);
        headers.remove(header::RANGE);
    }
    if job.route.verify.is_some() {
        // Of a part nobody can tell whether it is right.
        headers.remove(header::RANGE);
        headers.remove(header::IF_RANGE);
    }
    // What is read here is to come as it is.
    if job.route.verify.is_some() || job.route.rewrite.is_some() {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    headers
}

/// An answer to something that was not asked.
fn unasked(headers: &HeaderMap, status: StatusCode) -> Option<Fault> {
    let asks = |names: &[header::HeaderName]| names.iter().any(|name| headers.contains_key(name));
    let what = match status {
        StatusCode::SWITCHING_PROTOCOLS => "a 101 to a request that keeps its protocol",
        StatusCode::PARTIAL_CONTENT if !asks(&[header::RANGE]) => {
            "a 206 to a request for the whole"
        }
        StatusCode::NOT_MODIFIED if !asks(&[header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE]) => {
            "a 304 to a request without conditions"
        }
        _ => return None,
    };
    Some(Fault::HeadInvalid(what.to_owned()))
}

async fn send(
    cache: &Cache,
    job: &mut Job,
    headers: HeaderMap,
    in_flight: &Arc<InFlightBody>,
) -> Result<ResponseStart, Fault> {
    let sent = cache.now();
    let follow = job.route.follow.then(|| follow(cache));
    let hears = Arc::clone(in_flight);
    let interim: upstream::Interim =
        Arc::new(move |status, headers| hears.interim(status, headers));
    let body = std::mem::take(&mut job.upload);
    let method = job.method.clone();
    job.account.asked();
    let sent_fields = headers.clone();
    let answer = cache
        .upstream
        .send(&job.route.source, method, headers, body, follow.as_ref(), Some(interim))
        .await?;
    if let Some(fault) = unasked(&sent_fields, answer.status) {
        return Err(fault);
    }
    Ok(ResponseStart {
        status: answer.status,
        headers: answer.headers,
        length: answer.length,
        body: Incoming::Origin(Box::new(answer.body)),
        hops: answer.hops,
        times: (sent, cache.now()),
    })
}

fn follow(cache: &Cache) -> Follow {
    let settings = Arc::clone(&cache.settings);
    Follow {
        most: MOST_REDIRECTS,
        allowed: Arc::new(move |scheme, host| settings.follows(host, scheme)),
    }
}

impl Incoming {
    /// Lets others ask the host meanwhile.
    pub(super) fn release(&mut self) {
        if let Incoming::Origin(body) = self {
            body.release();
        }
    }

    /// Returns when others wait to ask the host.
    pub(super) async fn wanted(&self) {
        match self {
            Incoming::Origin(body) => body.wanted().await,
            Incoming::Whole(_) => std::future::pending().await,
        }
    }

    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        match self {
            Incoming::Origin(body) => Some(body.next().await?.map_err(Failure::Origin)),
            Incoming::Whole(bytes) => bytes.take().filter(|bytes| !bytes.is_empty()).map(Ok),
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

/// Reads a document whole that is to be rewritten.
pub(super) async fn prepare(job: &Job, begun: &mut ResponseStart) -> Result<(), Failure> {
    let Some(rewrite) = job.route.rewrite.as_ref().filter(|_| begun.status == StatusCode::OK)
    else {
        return Ok(());
    };
    let body = whole(&mut begun.body, &job.account).await?;
    let body = rewrite.rewrite(&mut begun.headers, body).map_err(Failure::Wrong)?;
    begun.length = Some(body.len() as u64);
    begun.body = Incoming::Whole(Some(body));
    Ok(())
}

/// The rest of a body that broke off, if it surely is the same one (RFC 9110 §13.1.5), and where the
/// whole ends. `said`: the head that it came with.
pub(super) async fn resume(
    cache: &Cache,
    job: &Job,
    begun: &ResponseStart,
    said: &HeaderMap,
    from: u64,
) -> Option<(Incoming, u64)> {
    let Incoming::Origin(_) = &begun.body else { return None };
    let etag = said.get(header::ETAG)?;
    if begun.status != StatusCode::OK
        || job.method != Method::GET
        || etag.as_bytes().starts_with(b"W/")
    {
        return None;
    }
    let mut headers = fields(job);
    fresh::strip_conditions(&mut headers);
    headers.insert(header::RANGE, range::rest(from));
    headers.insert(header::IF_RANGE, etag.clone());
    job.account.asked();
    let follow = job.route.follow.then(|| follow(cache));
    let answer = cache
        .upstream
        .send(&job.route.source, Method::GET, headers, RequestBody::Empty, follow.as_ref(), None)
        .await
        .ok()?;
    let rest = range::content_range_of(&answer.headers)?;
    let end = begun.length.or(rest.complete)?;
    let is_rest = answer.status == StatusCode::PARTIAL_CONTENT
        && answer.headers.get(header::ETAG) == Some(etag)
        && agrees(said, &answer.headers)
        && rest.span.start == from
        && rest.span.end == end
        && rest.complete.is_none_or(|complete| complete == end);
    is_rest.then(|| (Incoming::Origin(Box::new(answer.body)), end))
}

/// Whether what a part says of the whole is what the whole has said. It may say less (RFC 9110 §15.3.7).
fn agrees(whole: &HeaderMap, part: &HeaderMap) -> bool {
    [header::LAST_MODIFIED, header::CONTENT_TYPE, header::CONTENT_ENCODING]
        .iter()
        .all(|name| part.get(name).is_none_or(|said| whole.get(name) == Some(said)))
}
