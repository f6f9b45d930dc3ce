//! Tokens of upstreams: asked for where a challenge says, for what a request needs, and kept while they hold.
//!
//! `upstream` asks before each request. What must stay true: a token is had at a site of the upstream's own domain or
//! at the one that the operator names, never in clear what is for TLS; one that was given to one name is used for no
//! other; an expired one is never sent; one request at a time asks for the same.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::ask::ask;
use super::turns::Turns;
use super::upstream::{RegistryUpstream, Whose};
use crate::cache::Cache;
use crate::cache::key::Scheme;
use crate::cache::route::Fetch;
use crate::cache::upstream::{Challenge, Fault, granted, resolve};

/// From here on, those that have expired are forgotten, or all.
const MANY: usize = 4096;

#[derive(Debug)]
pub(super) struct Tokens {
    /// Where they may be had, beside the upstream's own domain.
    realm: Option<(Scheme, String)>,
    scheme: Mutex<Option<AuthScheme>>,
    /// By whose and for what.
    kept: Mutex<HashMap<(String, String), Token>>,
    turns: Turns,
}

/// How the upstream wants to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
enum AuthScheme {
    Nothing,
    Basic,
    Bearer(Challenge),
}

#[derive(Debug)]
struct Token {
    value: HeaderValue,
    /// In ms since 1970.
    until: u64,
}

/// A 401, and what had gone with the request for it.
pub(super) struct Refused {
    pub headers: HeaderMap,
    pub sent: Option<HeaderValue>,
}

impl Tokens {
    pub(super) fn new(realm: Option<(Scheme, String)>) -> Tokens {
        let (scheme, kept) = (Mutex::default(), Mutex::default());
        Tokens { realm, scheme, kept, turns: Turns::default() }
    }

    pub(super) async fn authorization(
        &self,
        cache: &Arc<Cache>,
        upstream: &RegistryUpstream,
        (whose, login): (&Whose, Option<HeaderValue>),
        scope: &str,
        refused: Option<&Refused>,
    ) -> Result<Option<HeaderValue>, Fault> {
        if let Some(refused) = refused {
            self.learn(&refused.headers);
        }
        let scheme = match self.scheme() {
            Some(scheme) => scheme,
            None => self.ask_scheme(cache, upstream).await?,
        };
        let challenge = match scheme {
            AuthScheme::Nothing => return Ok(None),
            AuthScheme::Basic => return Ok(login),
            // One of the registry's own already.
            AuthScheme::Bearer(_) if login.as_ref().is_some_and(is_bearer) => return Ok(login),
            AuthScheme::Bearer(challenge) => challenge,
        };
        let key = (whose.turn(), scope.to_owned());
        let sent = refused.and_then(|refused| refused.sent.as_ref());
        let kept = || self.kept().find(&key, cache.now()).filter(|token| Some(token) != sent);
        if let Some(token) = kept() {
            return Ok(Some(token));
        }
        let _turn = self.turns.take(&format!("{} {scope}", key.0)).await;
        if let Some(token) = kept() {
            return Ok(Some(token));
        }
        let token = self.new_token(cache, upstream, &challenge, login, scope).await;
        let counts = &upstream.counts;
        let counted = if token.is_ok() { &counts.tokens } else { &counts.refused_tokens };
        counted.fetch_add(1, Ordering::Relaxed);
        let token = token?;
        let value = token.value.clone();
        self.kept().put(key, token, cache.now());
        Ok(Some(value))
    }

    /// What a 401 says of how to ask. One that says nothing changes nothing.
    fn learn(&self, headers: &HeaderMap) {
        let learned = match Challenge::bearer(headers) {
            Some(challenge) => AuthScheme::Bearer(challenge.without_scope()),
            None if has_basic(headers) => AuthScheme::Basic,
            None => return,
        };
        *self.scheme.lock().unwrap_or_else(PoisonError::into_inner) = Some(learned);
    }

    async fn ask_scheme(
        &self,
        cache: &Arc<Cache>,
        upstream: &RegistryUpstream,
    ) -> Result<AuthScheme, Fault> {
        let _turn = self.turns.take("/v2/").await;
        if let Some(scheme) = self.scheme() {
            return Ok(scheme);
        }
        let answer =
            ask(cache, upstream.fetch("/v2/"), Method::GET, HeaderMap::new(), None).await?;
        match answer.status {
            StatusCode::UNAUTHORIZED => self.learn(&answer.headers),
            status if status.is_success() => {
                *self.scheme.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(AuthScheme::Nothing);
            }
            // It may be no registry, or ill: nothing is learned of it.
            _ => {}
        }
        Ok(self.scheme().unwrap_or(AuthScheme::Nothing))
    }

    async fn new_token(
        &self,
        cache: &Arc<Cache>,
        upstream: &RegistryUpstream,
        challenge: &Challenge,
        login: Option<HeaderValue>,
        scope: &str,
    ) -> Result<Token, Fault> {
        let refused =
            |why: &str| Fault::Credentials { host: upstream.host.clone(), why: why.to_owned() };
        let asked = upstream.fetch("/v2/");
        let site = resolve(&asked, challenge.realm().as_bytes())
            .filter(|site| self.is_trusted(&asked, site))
            .ok_or_else(|| {
                refused(
                    "it sends for a token to a site of another domain, which is not its `realm`",
                )
            })?;
        let fetch = challenge
            .with_scope(scope)
            .token(&asked, &site)
            .map_err(|why| refused(&why.to_string()))?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(login) = login {
            headers.insert(AUTHORIZATION, login);
        }
        let answer = ask(cache, fetch, Method::GET, headers, None).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(Fault::Unauthorized { host: upstream.host.clone() });
            }
            status => {
                return Err(refused(&format!("{} to the request for a token", status.as_u16())));
            }
        }
        let (value, life) =
            granted(&answer.body).ok_or_else(|| refused("what it answers is no token"))?;
        let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
        Ok(Token { value, until: cache.now().saturating_add(life) })
    }

    fn is_trusted(&self, asked: &Fetch, site: &Fetch) -> bool {
        let is_named =
            |(scheme, host): &(Scheme, String)| *scheme == site.scheme && *host == site.host;
        if self.realm.as_ref().is_some_and(is_named) {
            return true;
        }
        let leaves_tls = asked.scheme == Scheme::Https && site.scheme == Scheme::Http;
        // At an address, or in a network's own names, each port may be somebody else's.
        let is_there = asked.host == site.host;
        !leaves_tls && (is_there || same_domain(name_of(&asked.host), name_of(&site.host)))
    }

    fn scheme(&self) -> Option<AuthScheme> {
        self.scheme.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn kept(&self) -> Kept<'_> {
        Kept(self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Kept<'k>(MutexGuard<'k, HashMap<(String, String), Token>>);

impl Kept<'_> {
    fn find(&self, key: &(String, String), now: u64) -> Option<HeaderValue> {
        self.0.get(key).filter(|token| token.until > now).map(|token| token.value.clone())
    }

    fn put(&mut self, key: (String, String), token: Token, now: u64) {
        if self.0.len() >= MANY {
            self.0.retain(|_, token| token.until > now);
        }
        if self.0.len() >= MANY {
            self.0.clear();
        }
        self.0.insert(key, token);
    }
}

fn is_bearer(login: &HeaderValue) -> bool {
    login.as_bytes().starts_with(b"Bearer ")
}

fn has_basic(headers: &HeaderMap) -> bool {
    let texts = headers.get_all(http::header::WWW_AUTHENTICATE).into_iter();
    texts.filter_map(|text| text.to_str().ok()).any(|text| {
        text.split(',').any(|one| {
            let scheme = one.split_whitespace().next().unwrap_or_default();
            scheme.eq_ignore_ascii_case("basic")
        })
    })
}

/// Without the port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The same registrable domain, by the public suffix list; addresses and local names have none.
fn same_domain(one: &str, other: &str) -> bool {
    let is_address = one.starts_with('[') || one.parse::<std::net::IpAddr>().is_ok();
    let domain =
        psl::domain(one.as_bytes()).filter(|domain| !is_address && domain.suffix().is_known());
    domain.is_some_and(|domain| psl::domain(other.as_bytes()).is_some_and(|other| other == domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_what_one_can_register() {
        assert!(same_domain("registry-1.docker.io", "auth.docker.io"));
        assert!(same_domain("ghcr.io", "ghcr.io"));
        for (one, other) in [
            ("a.co.uk", "b.co.uk"),
            ("a.github.io", "b.github.io"),
            ("docker.io", "docker.io.evil.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1", "127.0.0.2"),
            ("localhost", "localhost"),
            ("registry.internal", "auth.internal"),
            ("10.0.0.1", "11.0.0.1"),
            ("localhost", "evil.localhost"),
            ("[::1]", "[::2]"),
        ] {
            assert!(!same_domain(one, other), "{one} {other}");
        }
    }

    fn fetch(scheme: Scheme, host: &str) -> Fetch {
        Fetch { scheme, host: host.to_owned(), target: "/t".to_owned() }
    }

    #[test]
    fn a_token_is_not_had_in_clear_or_elsewhere() {
        let asked = fetch(Scheme::Https, "r.example.com");
        let plain = Tokens::new(None);
        assert!(plain.is_trusted(&asked, &fetch(Scheme::Https, "auth.example.com:8443")));
        assert!(!plain.is_trusted(&asked, &fetch(Scheme::Http, "auth.example.com")));
        assert!(!plain.is_trusted(&asked, &fetch(Scheme::Https, "auth.example.org")));
        let local = fetch(Scheme::Http, "127.0.0.1:5000");
        assert!(plain.is_trusted(&local, &local));
        assert!(!plain.is_trusted(&local, &fetch(Scheme::Http, "127.0.0.1:5001")), "another port");
        let named = Tokens::new(Some((Scheme::Https, "auth.example.org".to_owned())));
        assert!(named.is_trusted(&asked, &fetch(Scheme::Https, "auth.example.org")));
        assert!(!named.is_trusted(&asked, &fetch(Scheme::Http, "auth.example.org")));
    }

    #[test]
    fn what_was_given_to_one_is_no_others_and_ends() {
        let tokens = Tokens::new(None);
        let client = |text: &'static str| Whose::Client(HeaderValue::from_static(text));
        let key = |whose: Whose| (whose.turn(), "s".to_owned());
        let token = Token { value: HeaderValue::from_static("Bearer t"), until: 100 };
        tokens.kept().put(key(client("a")), token, 0);
        assert!(tokens.kept().find(&key(client("a")), 99).is_some());
        assert!(tokens.kept().find(&key(client("a")), 100).is_none());
        for other in [client("b"), Whose::Own, Whose::Nobody] {
            assert!(tokens.kept().find(&key(other), 0).is_none());
        }
    }

    #[test]
    fn a_challenge_for_basic_is_seen() {
        let of = |text: &'static str| {
            HeaderMap::from_iter([(http::header::WWW_AUTHENTICATE, HeaderValue::from_static(text))])
        };
        assert!(has_basic(&of("Basic realm=\"x\"")) && has_basic(&of("Negotiate, basic realm=x")));
        assert!(!has_basic(&of("Bearer realm=\"x\"")));
    }
}
