//! A question to an origin, from its first call to the answer: the loop that carries out what `source` says.
//!
//! `fill` asks. What must stay true: the body of a request is sent once; what a caller has sent of its own goes
//! nowhere but to the origin that it is for; and of what an origin says to the cache itself, for whom it takes
//! it, nothing reaches a client: no session, no challenge.

use std::sync::Arc;

use http::header::{ACCEPT, AUTHORIZATION, HeaderName, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::credentials::{How, OriginCredentials, authorization};
use super::source::{SoFar, Source, Step};
use super::{Fault, Follow, Interim, OriginResponse, RequestBody, Shared, Upstream, redirect};
use crate::cache::route::Fetch;

/// Of what a token endpoint answers.
const TOKEN_BYTES: usize = 64 * 1024;

impl Upstream {
    /// Sends a request; `headers` without those that concern one connection only.
    pub async fn send(
        &self,
        fetch: &Fetch,
        method: Method,
        mut headers: HeaderMap,
        mut body: RequestBody,
        follow: Option<&Follow>,
        on_interim: Option<Interim>,
    ) -> Result<OriginResponse, Fault> {
        let shared = &self.shared;
        let only_reads = body.is_empty() && (method == Method::GET || method == Method::HEAD);
        shared.prepare(&mut headers)?;
        let has_own = headers.contains_key(AUTHORIZATION);
        let source = Source {
            follow: follow.filter(|_| only_reads),
            credentials: shared.credentials(fetch).filter(|_| only_reads && !has_own),
        };
        let (mut so_far, mut heads) = (SoFar::new(fetch), Vec::new());
        loop {
            if so_far.tokens == 0 {
                let own = source.credentials(&so_far);
                so_far.sent = own.and_then(|own| own.at_once(&method, &so_far.fetch));
            }
            let mut sent = headers.clone();
            for (name, value) in so_far.sent.iter().flatten() {
                sent.insert(name.clone(), value.clone());
            }
            let (once, hears) = (std::mem::take(&mut body), on_interim.clone());
            let mut answer = shared.once(&so_far.fetch, &method, sent, once, hears).await?;
            match (source.next(&so_far, answer.status, &answer.headers), source.credentials) {
                (Step::Fault(fault), _) => return Err(fault),
                (Step::Hop(next), _) => {
                    if !redirect::same_origin(&so_far.fetch, &next) {
                        redirect::only_harmless(&mut headers);
                    }
                    heads.push(answer.headers);
                    so_far.hop(next);
                    continue;
                }
                (Step::Token(request), Some(own)) => {
                    // Its host may be asked for the token, and by one at a time.
                    drop(answer);
                    let refused = so_far.sent.as_ref().and_then(|sent| sent.get(AUTHORIZATION));
                    let token = shared.token(own, &so_far.fetch, &request, refused).await?;
                    so_far.sent = Some(authorization(token));
                    so_far.tokens += 1;
                    continue;
                }
                (Step::Answer | Step::Token(_), _) => {}
            }
            if so_far.sent.is_some() {
                TO_US.iter().for_each(|name| drop(answer.headers.remove(name)));
            }
            // What is wanted elsewhere is nothing that is for who was asked.
            if so_far.is_away {
                answer.headers.remove(WWW_AUTHENTICATE);
            }
            answer.hops = heads;
            return Ok(answer);
        }
    }
}

/// What an origin says to whom it has recognised.
const TO_US: [HeaderName; 3] =
    [HeaderName::from_static("authentication-info"), SET_COOKIE, WWW_AUTHENTICATE];

impl Shared {
    fn credentials(&self, fetch: &Fetch) -> Option<&OriginCredentials> {
        let mut all = self.settings.credentials.iter();
        all.find(|own| own.are_for(fetch)).map(|own| &**own)
    }

    /// A token by this request, for what is asked for with `fetch`: one that is kept, if it is not the one that
    /// was just refused.
    async fn token(
        self: &Arc<Shared>,
        own: &OriginCredentials,
        fetch: &Fetch,
        request: &Fetch,
        refused: Option<&HeaderValue>,
    ) -> Result<HeaderValue, Fault> {
        let _turn = own.turn.lock().await;
        let kept = own.token(request).filter(|token| Some(token) != refused);
        let token = match kept {
            Some(token) => token,
            None => self.new_token(own, request).await?,
        };
        own.learn(fetch, request);
        Ok(token)
    }

    async fn new_token(
        self: &Arc<Shared>,
        own: &OriginCredentials,
        request: &Fetch,
    ) -> Result<HeaderValue, Fault> {
        let mut headers = HeaderMap::new();
        self.prepare(&mut headers)?;
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let How::Token { login: Some(login), .. } = &own.how {
            headers.insert(AUTHORIZATION, login.clone());
        }
        let refused = |why: String| Fault::Credentials { host: request.host.clone(), why };
        let empty = RequestBody::Empty;
        let mut answer = self.once(request, &Method::GET, headers, empty, None).await?;
        if answer.status != StatusCode::OK {
            let status = answer.status.as_u16();
            return Err(refused(format!("it answers {status} to the request for a token")));
        }
        let mut all = Vec::new();
        while let Some(piece) = answer.body.next().await {
            all.extend_from_slice(&piece?);
            if all.len() > TOKEN_BYTES {
                return Err(refused("what it answers is too long for a token".to_owned()));
            }
        }
        own.take(request, &all).ok_or_else(|| refused("what it answers is no token".to_owned()))
    }
}
