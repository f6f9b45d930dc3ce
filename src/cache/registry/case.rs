//! One request for something of a repository, and how an upstream is asked for it.
//!
//! `serve` makes it, `pull` and `push` carry it out. What must stay true: the upstream is asked in the name of who asks us, or in
//! ours where the operator says so; of a client's own fields only those go along that say what is wanted; a body that
//! comes from the client while it is sent is sent once.

use std::sync::{Arc, OnceLock};

use http::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LOCATION, RANGE, SET_COOKIE, USER_AGENT, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::Registry;
use super::ask::{Answered, ask_as};
use super::by_digest::is_content;
use super::errors::{self, Code, denied, error};
use super::routes::Routed;
use super::tokens::Refused;
use super::upstream::{RegistryUpstream, Whose};
use crate::auth::Identity;
use crate::cache::reply::Reply;
use crate::cache::request::{KeptFor, Request};
use crate::cache::route::Fetch;
use crate::cache::stats::{Account, Outcome};
use crate::cache::upstream::{Fault, Follow, RequestBody};
use crate::cache::{Cache, serve};
use crate::config::Redirects;
use crate::policy::namespace::image::Repository;

pub(super) struct Case<'c> {
    pub cache: &'c Arc<Cache>,
    pub registry: &'c Registry,
    pub request: Request,
    pub who: Identity,
    /// As its client knows it, which is a namespace's user where an engine asks for them.
    pub name: String,
    /// As it stands in the paths of requests, where that is not the name.
    pub asked: Option<Repository>,
    pub routed: Routed,
    pub whose: Whose,
    /// Whether it is known that the repository has what is asked for by its digest.
    pub is_proven: bool,
    /// The push rule that has refused it, for the record.
    pub denied_by: Arc<OnceLock<String>>,
}

/// Of a client's request, what an upstream is told.
const TOLD: [HeaderName; 8] = [
    ACCEPT,
    CONTENT_RANGE,
    CONTENT_TYPE,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    RANGE,
    USER_AGENT,
];

const MOST_REDIRECTS: u8 = 5;
/// Of an answer to HEAD, where there should be no body.
pub(super) const LONGEST_HEAD: usize = 64 * 1024;

impl Case<'_> {
    pub(super) fn upstream(&self) -> &RegistryUpstream {
        &self.routed.upstream
    }

    /// Below the repository, as the upstream calls it.
    pub(super) fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.routed.repository)
    }

    /// What `absent` knows a path of the upstream by.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{} {}{path}", self.upstream().id, self.upstream().host)
    }

    /// What `access` knows the repository by.
    pub(super) fn repository(&self) -> String {
        let upstream = self.upstream();
        let (id, scheme) = (&upstream.id, upstream.scheme.as_str());
        format!("{id} {scheme}://{}/{}", upstream.host, self.routed.repository)
    }

    /// Below this an answer's `Location` is.
    pub(super) fn place(&self) -> String {
        self.asked.as_ref().map_or_else(|| self.name.clone(), Repository::to_string)
    }

    pub(super) fn scope(&self, actions: &str) -> String {
        format!("repository:{}:{actions}", self.routed.repository)
    }

    pub(super) fn account(&self, outcome: Outcome) -> Account {
        self.cache.stats.account(&self.upstream().host, &self.request.tenant, outcome)
    }

    pub(super) fn refuse(&self, code: Code, message: &str) -> Reply {
        error(code, message, self.account(Outcome::Refused))
    }

    pub(super) fn failed(&self, fault: &Fault) -> Reply {
        self.cache.origin_failed(&self.upstream().host, fault);
        errors::failed(fault, &self.name, self.account(Outcome::Failed))
    }

    /// Asks for the head of something that is pulled.
    pub(super) async fn head(&self, path: &str, follow: bool) -> Result<Answered, Fault> {
        let headers = told(&self.request.headers, &[ACCEPT, USER_AGENT]);
        if let Some(answer) = self.mirrored_head(path, &headers).await {
            return Ok(answer);
        }
        self.question(Method::HEAD, path, headers, follow, LONGEST_HEAD).await
    }

    pub(super) fn follow(&self) -> Follow {
        let settings = Arc::clone(&self.cache.settings);
        let allowed = Arc::new(move |scheme, host: &str| settings.follows(host, scheme));
        Follow { most: MOST_REDIRECTS, allowed }
    }

    /// A question of our own to the upstream, in the name of who asks and once more with another token where the first
    /// is refused, with an answer of at most so many bytes.
    pub(super) async fn question(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        follow: bool,
        most: usize,
    ) -> Result<Answered, Fault> {
        let follow = follow.then(|| self.follow());
        let (upstream, scope) = (self.upstream(), self.scope("pull"));
        let name = (upstream, &self.whose, scope.as_str());
        ask_as(self.cache, name, upstream.fetch(path), method, headers, follow, most).await
    }

    /// The client's request, to this URL of the upstream.
    pub(super) async fn send(&mut self, scope: &str, path: &str, query: Option<String>) -> Reply {
        let target = match query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        let fetch = self.upstream().fetch(&target);
        self.send_to(scope, &fetch).await
    }

    pub(super) async fn send_to(&mut self, scope: &str, fetch: &Fetch) -> Reply {
        let upstream = Arc::clone(&self.routed.upstream);
        let is_there = (fetch.scheme, &fetch.host) == (upstream.scheme, &upstream.host);
        let mut again = match &self.request.upload {
            RequestBody::Empty => Some(RequestBody::Empty),
            RequestBody::Whole(bytes) => Some(RequestBody::Whole(bytes.clone())),
            RequestBody::Stream { .. } => None,
        };
        let mut refused: Option<Refused> = None;
        loop {
            // Where an upload goes on elsewhere, the URL itself is the credential.
            let own = match is_there {
                true => {
                    upstream.authorization(self.cache, &self.whose, scope, refused.as_ref()).await
                }
                false => Ok(None),
            };
            let own = match own {
                Ok(own) => own,
                Err(fault) => return self.without_credentials(fetch, &fault).await,
            };
            let reply = serve::object(self.cache, self.inner(fetch, own.as_ref())).await;
            upstream.counts.note(&reply.headers);
            let is_first = refused.is_none() && is_there;
            if is_first
                && upstream.is_refused(reply.status, self.cache.now())
                && let Some(body) = again.take()
            {
                self.request.upload = body;
                refused = Some(Refused { headers: reply.headers, sent: own });
                continue;
            }
            return self.told_client(reply);
        }
    }

    /// What is stored needs none; nothing else is asked for.
    async fn without_credentials(&mut self, fetch: &Fetch, fault: &Fault) -> Reply {
        let reads = [Method::GET, Method::HEAD].contains(&self.request.method);
        let is_kept = self.registry.redirects == Redirects::Follow && is_content(&fetch.target);
        if reads && is_kept && fault.is_origin() {
            let mut inner = self.inner(fetch, None);
            inner.headers.insert(CACHE_CONTROL, HeaderValue::from_static("only-if-cached"));
            let reply = serve::object(self.cache, inner).await;
            if reply.status != StatusCode::GATEWAY_TIMEOUT {
                return self.told_client(reply);
            }
        }
        self.refused_or_failed(fault)
    }

    /// A request to the cache, in the upstream's words.
    pub(super) fn inner(&mut self, fetch: &Fetch, own: Option<&HeaderValue>) -> Request {
        let request = &mut self.request;
        let (path, query) = match fetch.target.split_once('?') {
            Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
            None => (fetch.target.clone(), None),
        };
        let mut headers = told(&request.headers, &TOLD);
        headers.extend(own.map(|own| (AUTHORIZATION, own.clone())));
        Request {
            method: request.method.clone(),
            scheme: fetch.scheme,
            host: fetch.host.clone(),
            path,
            query,
            is_ours: false,
            headers,
            upload: std::mem::take(&mut request.upload),
            tenant: Arc::clone(&request.tenant),
            interim: std::mem::take(&mut request.interim),
            caller: Arc::clone(&request.caller),
            kept_for: Some(KeptFor {
                whose: self.routed.upstream.id.as_str().into(),
                is_proven: self.is_proven,
                source: None,
            }),
        }
    }

    /// What an upstream, or the cache, says to a client.
    pub(super) fn told_client(&self, mut reply: Reply) -> Reply {
        reply.headers.remove(WWW_AUTHENTICATE);
        reply.headers.remove(SET_COOKIE);
        if reply.status == StatusCode::UNAUTHORIZED {
            return self.unauthorized();
        }
        // Of our own making: a line of text.
        if let Some(why) = reply.reason.take_if(|_| !reply.status.is_success()) {
            let message = format!("`{}`: {why}", self.name);
            let code = Code::Unavailable(reply.status);
            let mut error = error(code, &message, self.account(Outcome::Failed));
            for name in [http::header::RETRY_AFTER, CACHE_STATUS] {
                error.headers.extend(reply.headers.remove(&name).map(|value| (name, value)));
            }
            return error;
        }
        reply
    }

    pub(super) fn refused_or_failed(&self, fault: &Fault) -> Reply {
        match fault {
            Fault::Unauthorized { .. } => self.unauthorized(),
            fault => self.failed(fault),
        }
    }

    /// The upstream does not let in who asks.
    pub(super) fn unauthorized(&self) -> Reply {
        if self.upstream().is_ours() {
            return self.refuse(Code::Denied, &denied(&self.name));
        }
        let mut reply = self.refuse(Code::Unauthorized, &denied(&self.name));
        let host = &self.upstream().host;
        if let Ok(challenge) = HeaderValue::try_from(format!("Basic realm=\"{host}\"")) {
            reply.headers.insert(WWW_AUTHENTICATE, challenge);
        }
        reply
    }

    /// What an upstream's answer to a question of ours is to the client.
    pub(super) fn as_told(&self, status: StatusCode, code: Code) -> Reply {
        match status {
            StatusCode::UNAUTHORIZED => self.unauthorized(),
            StatusCode::FORBIDDEN => self.refuse(Code::Denied, &denied(&self.name)),
            StatusCode::NOT_FOUND => {
                self.refuse(code, &format!("`{}` does not have it", self.name))
            }
            StatusCode::TOO_MANY_REQUESTS => {
                let why = format!("the registry of `{}` wants to be asked less", self.name);
                self.refuse(Code::TooManyRequests, &why)
            }
            status => {
                let why = format!("the registry of `{}` answers {}", self.name, status.as_u16());
                let code = Code::Unavailable(StatusCode::BAD_GATEWAY);
                error(code, &why, self.account(Outcome::Failed))
            }
        }
    }

    /// Names of an answer that are URLs: below our own path, in the client's words.
    pub(super) fn without_location(reply: &mut Reply) -> Option<HeaderValue> {
        reply.headers.remove(LOCATION)
    }
}

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// These fields of a client's.
fn told(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let mut told = HeaderMap::new();
    for name in names {
        for value in headers.get_all(name) {
            told.append(name, value.clone());
        }
    }
    told
}
