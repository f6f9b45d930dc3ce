//! What the cache itself shows an origin to be let in, and the tokens that it was given for that.
//!
//! `settings` makes them of `[cache.NAME.credentials]`, `Upstream::send` has them go along. What must stay
//! true: they are for one origin; no secret is in a `Debug` or a fault; the number of tokens that are kept is
//! bounded, and none is used after its time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;
use tokio::time::Instant;

use super::aws::Signer;
use crate::api::json;
use crate::cache::key::Scheme;
use crate::cache::route::Fetch;

/// For one origin.
#[derive(Debug)]
pub struct OriginCredentials {
    scheme: Scheme,
    /// As in `Key`.
    host: String,
    pub(super) how: How,
    kept: Mutex<Kept>,
    /// Held by who asks for a token: others wait for what comes of it.
    pub(super) turn: tokio::sync::Mutex<()>,
}

/// How an origin recognises the cache.
#[derive(Debug)]
pub enum How {
    /// By an `Authorization` that goes with each request.
    Fixed(HeaderValue),
    /// By a signature of each request.
    Signed(Signer),
    /// By a token that is asked for where the origin's challenge says.
    Token {
        /// The `Authorization` of the request for it.
        login: Option<HeaderValue>,
        /// The one site that it is asked for at; else the origin itself.
        realm: Option<(Scheme, String)>,
    },
}

/// Tokens by the URL that they come from.
#[derive(Debug, Default)]
struct Kept {
    tokens: HashMap<String, Token>,
    /// What was the right token for something in the same folder.
    folders: HashMap<String, String>,
}

#[derive(Debug)]
struct Token {
    value: HeaderValue,
    until: Instant,
}

/// What a token endpoint answers; more is not read.
#[derive(Deserialize)]
struct Granted {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// From here on, those that have expired are forgotten, or all.
const MANY: usize = 1024;
/// The distribution project's token specification: "if omitted, this defaults to 60 seconds".
const LIFE: u64 = 60;
const LONGEST_LIFE: u64 = 24 * 60 * 60;

/// `Basic` (RFC 7617).
pub fn basic(username: &str, password: &str) -> Option<HeaderValue> {
    sensitive(&format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
}

/// `Bearer` (RFC 6750 §2.1).
pub fn bearer(token: &str) -> Option<HeaderValue> {
    let is_token = |byte: u8| byte.is_ascii_graphic();
    sensitive(&format!("Bearer {token}"))
        .filter(|_| !token.is_empty() && token.bytes().all(is_token))
}

/// What a token endpoint answers: the token as a request carries it, and for how long it is to be used.
pub fn granted(answer: &[u8]) -> Option<(HeaderValue, Duration)> {
    let granted: Granted = json::read(answer).ok()?;
    let value = bearer(&granted.token.or(granted.access_token)?)?;
    let life = granted.expires_in.unwrap_or(LIFE).min(LONGEST_LIFE);
    // It is on its way for a while.
    Some((value, Duration::from_secs(life) * 9 / 10))
}

/// As a request carries it.
pub(super) fn authorization(value: HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, value)])
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl OriginCredentials {
    pub fn new(scheme: Scheme, host: String, how: How) -> OriginCredentials {
        let (kept, turn) = (Mutex::default(), tokio::sync::Mutex::default());
        OriginCredentials { scheme, host, how, kept, turn }
    }

    pub(super) fn are_for(&self, fetch: &Fetch) -> bool {
        self.scheme == fetch.scheme && self.host == fetch.host
    }

    /// What goes with a request before the origin has said anything.
    pub(super) fn at_once(&self, method: &Method, fetch: &Fetch) -> Option<HeaderMap> {
        match &self.how {
            How::Fixed(value) => Some(authorization(value.clone())),
            How::Signed(signer) => signer.sign(method, fetch, SystemTime::now()),
            How::Token { .. } => {
                let kept = self.kept();
                kept.find(kept.folders.get(folder(fetch))?).map(authorization)
            }
        }
    }

    /// The token that `request` would give again.
    pub(super) fn token(&self, request: &Fetch) -> Option<HeaderValue> {
        self.kept().find(&url(request))
    }

    /// Reads what a token endpoint answers, and keeps it as long as it says.
    pub(super) fn take(&self, request: &Fetch, answer: &[u8]) -> Option<HeaderValue> {
        let (value, life) = granted(answer)?;
        let until = Instant::now() + life;
        let mut kept = self.kept();
        kept.make_room();
        kept.tokens.insert(url(request), Token { value: value.clone(), until });
        Some(value)
    }

    /// That the token of `request` is the right one for what is beside `fetch`.
    pub(super) fn learn(&self, fetch: &Fetch, request: &Fetch) {
        let mut kept = self.kept();
        if kept.folders.len() >= MANY {
            kept.folders.clear();
        }
        kept.folders.insert(folder(fetch).to_owned(), url(request));
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn find(&self, url: &str) -> Option<HeaderValue> {
        let token = self.tokens.get(url).filter(|token| token.until > Instant::now())?;
        Some(token.value.clone())
    }

    fn make_room(&mut self) {
        if self.tokens.len() >= MANY {
            let now = Instant::now();
            self.tokens.retain(|_, token| token.until > now);
        }
        if self.tokens.len() >= MANY {
            self.tokens.clear();
        }
    }
}

/// What is side by side is mostly of one scope: the blobs of a repository.
fn folder(fetch: &Fetch) -> &str {
    let path = fetch.target.split_once('?').map_or(fetch.target.as_str(), |(path, _)| path);
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn url(fetch: &Fetch) -> String {
    format!("{}://{}{}", fetch.scheme.as_str(), fetch.host, fetch.target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(target: &str) -> Fetch {
        Fetch { scheme: Scheme::Https, host: "a".to_owned(), target: target.to_owned() }
    }

    fn shown(own: &OriginCredentials, fetch: &Fetch) -> Option<HeaderValue> {
        own.at_once(&Method::GET, fetch)?.get(AUTHORIZATION).cloned()
    }

    fn own() -> OriginCredentials {
        let how = How::Token { login: basic("u", "secret"), realm: None };
        OriginCredentials::new(Scheme::Https, "a".to_owned(), how)
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_used_beside_what_it_was_given_for_until_it_expires() {
        let (own, request) = (own(), fetch("/t?scope=x"));
        assert_eq!(shown(&own, &fetch("/v2/x/blobs/1")), None);
        let token = own.take(&request, br#"{"token":"t1","expires_in":100,"more":[]}"#).unwrap();
        own.learn(&fetch("/v2/x/blobs/1"), &request);
        assert_eq!(token, "Bearer t1");
        assert_eq!(shown(&own, &fetch("/v2/x/blobs/2?q=/")), Some(token.clone()));
        assert_eq!(shown(&own, &fetch("/v2/y/blobs/1")), None, "it may be of another scope");
        assert_eq!(own.token(&request), Some(token));
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!((own.token(&request), shown(&own, &fetch("/v2/x/blobs/2"))), (None, None));
    }

    #[test]
    fn what_is_no_token_is_not_taken() {
        let own = own();
        let taken = |answer: &str| own.take(&fetch("/t"), answer.as_bytes()).is_some();
        assert!(taken(r#"{"access_token":"t","token_type":"Bearer"}"#));
        assert!(taken(r#"{"token":"t","expires_in":18446744073709551615}"#));
        let others =
            ["", "{}", "[]", r#"{"token":""}"#, r#"{"token":"a b"}"#, r#"{"token":"a\r\nB: c"}"#];
        for answer in others {
            assert!(!taken(answer), "{answer}");
        }
        assert_eq!(bearer("a\nb"), None);
        assert_eq!(basic("Aladdin", "open sesame").unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }

    #[test]
    fn no_secret_is_shown() {
        let own = own();
        own.take(&fetch("/t"), br#"{"token":"secret"}"#).unwrap();
        let shown = format!("{own:?}");
        assert!(!shown.contains("secret") && !shown.contains("dTpzZWNyZXQ"), "{shown}");
    }

    #[test]
    fn not_more_tokens_are_kept_than_many() {
        let own = own();
        for i in 0..3 * MANY {
            let (fetch, request) = (fetch(&format!("/{i}/x")), fetch(&format!("/t?{i}")));
            own.take(&request, br#"{"token":"t"}"#).unwrap();
            own.learn(&fetch, &request);
            assert!(shown(&own, &fetch).is_some());
        }
        let kept = own.kept();
        assert!(kept.tokens.len() <= MANY && kept.folders.len() <= MANY);
    }
}
