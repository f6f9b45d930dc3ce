//! A short question to an upstream: a head, a token.
//!
//! `tokens`, `case`, `uploads` and `ecr` ask. It runs on the fetch thread, where connections to upstreams are. What must stay true: of
//! an answer no more is read than a short one has, and for no longer than one takes.

use std::sync::Arc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::tokens::Refused;
use super::upstream::{RegistryUpstream, Whose};
use crate::cache::Cache;
use crate::cache::route::Fetch;
use crate::cache::upstream::{AnswerBody, Fault, Follow, RequestBody, Upstream};

/// Of what a token endpoint answers, or an error.
pub(super) const LONGEST: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Answered {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

pub(super) async fn ask(
    cache: &Arc<Cache>,
    fetch: Fetch,
    method: Method,
    headers: HeaderMap,
    follow: Option<Follow>,
) -> Result<Answered, Fault> {
    ask_within(cache, fetch, method, headers, follow, LONGEST).await
}

/// The same, for an answer of at most so many bytes.
async fn ask_within(
    cache: &Arc<Cache>,
    fetch: Fetch,
    method: Method,
    headers: HeaderMap,
    follow: Option<Follow>,
    most: usize,
) -> Result<Answered, Fault> {
    let (answer, answered) = oneshot::channel();
    let upstream = cache.upstream.clone();
    cache.thread.run(async move {
        let body = RequestBody::Empty;
        let once = once(&upstream, &fetch, method, headers, body, follow.as_ref(), most);
        let _ = answer.send(once.await);
    });
    // Only where the thread has ended.
    answered.await.unwrap_or_else(|_| Err(Fault::Closed("the process ends".to_owned())))
}

/// The same in somebody's name, for this scope: once more with another token where the first is refused.
pub(super) async fn ask_as(
    cache: &Arc<Cache>,
    (upstream, whose, scope): (&RegistryUpstream, &Whose, &str),
    fetch: Fetch,
    method: Method,
    headers: HeaderMap,
    follow: Option<Follow>,
    most: usize,
) -> Result<Answered, Fault> {
    let mut refused = None;
    loop {
        let own = upstream.authorization(cache, whose, scope, refused.as_ref()).await?;
        let mut headers = headers.clone();
        headers.extend(own.iter().map(|own| (AUTHORIZATION, own.clone())));
        let (fetch, method, follow) = (fetch.clone(), method.clone(), follow.clone());
        let answer = ask_within(cache, fetch, method, headers, follow, most).await?;
        upstream.counts.note(&answer.headers);
        if refused.is_some() || !upstream.is_refused(answer.status, cache.now()) {
            return Ok(answer);
        }
        refused = Some(Refused { headers: answer.headers, sent: own });
    }
}

/// For who is on the fetch thread.
pub(super) async fn once(
    upstream: &Upstream,
    fetch: &Fetch,
    method: Method,
    headers: HeaderMap,
    body: RequestBody,
    follow: Option<&Follow>,
    most: usize,
) -> Result<Answered, Fault> {
    let mut answer = upstream.send(fetch, method, headers, body, follow, None).await?;
    // Until its head each step has its own.
    let patience = upstream.patience();
    let body = match timeout(patience, whole(&mut answer.body, most)).await {
        Ok(body) => body?,
        Err(_) => return Err(Fault::BodyBroken(format!("it has not ended after {patience:?}"))),
    };
    Ok(Answered { status: answer.status, headers: answer.headers, body })
}

async fn whole(body: &mut AnswerBody, most: usize) -> Result<Bytes, Fault> {
    let mut all = Vec::new();
    while let Some(piece) = body.next().await {
        all.extend_from_slice(&piece?);
        if all.len() > most {
            return Err(Fault::BodyBroken("it is too long for an answer to this".to_owned()));
        }
    }
    Ok(all.into())
}
