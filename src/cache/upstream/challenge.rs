//! `WWW-Authenticate` as an origin sends it with a 401, and where it says that a token is to be had.
//!
//! `source` reads it. Pure. What must stay true: whatever an origin writes there, a login goes to a site that
//! the configuration names, or to the origin itself, and nowhere else.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::redirect;
use crate::cache::route::Fetch;

/// `Bearer` with its parameters (RFC 6750 §3, and the distribution project's token specification).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    realm: String,
    service: Option<String>,
    scope: Option<String>,
}

/// Why nobody is asked for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    #[error("it does not say where a token is to be had")]
    Challenge,
    #[error("it sends for a token to a host that is neither its own nor `realm`")]
    Elsewhere,
}

impl Challenge {
    /// The first one for a bearer token.
    pub fn bearer(headers: &HeaderMap) -> Option<Challenge> {
        let texts = headers.get_all(WWW_AUTHENTICATE).into_iter();
        texts.filter_map(|text| text.to_str().ok()).find_map(bearer)
    }

    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The same, for whatever is asked for.
    pub fn without_scope(self) -> Challenge {
        Challenge { scope: None, ..self }
    }

    /// The same, for this; empty: for nothing but to be recognised.
    pub fn with_scope(&self, scope: &str) -> Challenge {
        let scope = (!scope.is_empty()).then(|| scope.to_owned());
        Challenge { scope, ..self.clone() }
    }

    /// The request for the token, to `site` only.
    pub fn token(&self, asked: &Fetch, site: &Fetch) -> Result<Fetch, NoToken> {
        let mut fetch =
            redirect::resolve(asked, self.realm.as_bytes()).ok_or(NoToken::Challenge)?;
        if !redirect::same_origin(&fetch, site) {
            return Err(NoToken::Elsewhere);
        }
        let scopes = self.scope.iter().flat_map(|scope| scope.split(' '));
        let service = self.service.iter().map(|service| ("service", service.as_str()));
        for (name, value) in service.chain(scopes.map(|scope| ("scope", scope))) {
            fetch.target.push(if fetch.target.contains('?') { '&' } else { '?' });
            let value = utf8_percent_encode(value, ESCAPED);
            fetch.target.push_str(&format!("{name}={value}"));
        }
        Ok(fetch)
    }
}

/// All but what RFC 3986 §2.3 calls unreserved, and what stands in every scope.
const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'/');

/// `scheme name=value, name="value", scheme …` (RFC 9110 §11.6.1).
fn bearer(text: &str) -> Option<Challenge> {
    let (mut rest, mut is_bearer) = (text, false);
    let mut found = Challenge::default();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at_checked(end)?;
        let Some(value) = behind.trim_start().strip_prefix('=').filter(|_| end > 0) else {
            // Another scheme begins, or nothing that can be read.
            if is_bearer && !found.realm.is_empty() {
                return Some(found);
            }
            if end == 0 {
                return None;
            }
            (rest, is_bearer) = (behind, word.eq_ignore_ascii_case("bearer"));
            continue;
        };
        let (value, behind) = value_of(value.trim_start())?;
        rest = behind;
        match (is_bearer, word.to_ascii_lowercase().as_str()) {
            (true, "realm") => found.realm = value,
            (true, "service") => found.service = Some(value),
            (true, "scope") => found.scope = Some(value),
            _ => {}
        }
    }
}

/// A token or a quoted string, and what is behind it.
fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at_checked(text.find([',', ' ']).unwrap_or(text.len()))?;
        return Some((value.to_owned(), rest));
    };
    let mut value = String::new();
    loop {
        let (plain, behind) = rest.split_at_checked(rest.find(['"', '\\'])?)?;
        value.push_str(plain);
        let mut letters = behind.chars();
        if letters.next() == Some('"') {
            return Some((value, letters.as_str()));
        }
        value.push(letters.next()?);
        rest = letters.as_str();
    }
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::cache::key::Scheme;

    fn read(text: &str) -> Option<(String, Option<String>, Option<String>)> {
        let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, HeaderValue::from_str(text).ok()?)]);
        Challenge::bearer(&headers).map(|found| (found.realm, found.service, found.scope))
    }

    fn site(scheme: Scheme, host: &str) -> Fetch {
        Fetch { scheme, host: host.to_owned(), target: "/v2/".to_owned() }
    }

    #[test]
    fn the_bearer_challenge_is_found_among_others() {
        let full =
            Some(("https://a/t".into(), Some("s".into()), Some("repository:x/y:pull".into())));
        for text in [
            r#"Bearer realm="https://a/t",service="s",scope="repository:x/y:pull""#,
            r#"bearer  scope = "repository:x/y:pull" , service=s,realm="https://a/t", error="x""#,
            r#"Basic realm="b", Bearer realm="https:\/\/a/t",service="s",scope="repository:x/y:pull""#,
            r#"Negotiate, Bearer realm="https://a/t",service="s",scope="repository:x/y:pull", Basic realm="b""#,
        ] {
            assert_eq!(read(text), full, "{text}");
        }
        let other =
            [r#"Basic realm="b""#, "Bearer", r#"Bearer realm="x"#, "", "=", r#"Bearer error="x""#];
        for text in other {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_token_is_asked_for_at_one_site_only() {
        let (origin, other) = (site(Scheme::Https, "a"), site(Scheme::Https, "auth.a"));
        let challenge = |realm: &str| Challenge {
            realm: realm.to_owned(),
            service: Some("a b&c".to_owned()),
            scope: Some("repository:x:pull repository:y:pull".to_owned()),
        };
        let token = challenge("https://auth.a/token?x=1").token(&origin, &other).unwrap();
        let query = "service=a%20b%26c&scope=repository:x:pull&scope=repository:y:pull";
        assert_eq!((token.host.as_str(), token.target), ("auth.a", format!("/token?x=1&{query}")));
        let own = challenge("/token").token(&origin, &origin).unwrap();
        assert_eq!(own.target, format!("/token?{query}"));
        for realm in ["http://auth.a/t", "https://auth.a.evil/t", "https://auth.a:444/t", "/t"] {
            assert_eq!(challenge(realm).token(&origin, &other), Err(NoToken::Elsewhere), "{realm}");
        }
        for realm in ["https://u@auth.a/t", "ftp://auth.a/t"] {
            assert_eq!(challenge(realm).token(&origin, &other), Err(NoToken::Challenge), "{realm}");
        }
    }

    proptest! {
        #[test]
        fn whatever_it_says_is_read_to_its_end(text in "[ -~]{0,64}", tail in "\\PC{0,16}") {
            let _ = bearer(&format!("Bearer {text}{tail}"));
        }
    }
}
