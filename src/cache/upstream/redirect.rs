//! Redirects that are followed here, so that the answer is kept under the first URL.
//!
//! Pure; `source` asks after each answer. What must stay true: TLS is not left, only hosts are
//! asked that the caller allows, and nothing that could be a credential goes to another origin. A
//! redirect that is not followed is the answer: the client may do as it likes.

use std::fmt;
use std::sync::Arc;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CACHE_CONTROL, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LOCATION, PRAGMA, RANGE, USER_AGENT, VIA,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use crate::cache::key::Scheme;
use crate::cache::route::Fetch;

/// Whether this host may be asked over this scheme.
pub type Allowed = Arc<dyn Fn(Scheme, &str) -> bool + Send + Sync>;

/// How far redirects of a GET or HEAD are followed.
#[derive(Clone)]
pub struct Follow {
    pub most: u8,
    /// By scheme and host, as in `Fetch`.
    pub allowed: Allowed,
}

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow").field("most", &self.most).finish_non_exhaustive()
    }
}

/// Where an answer leads on to, if it does and may.
pub(super) fn next(
    from: &Fetch,
    status: StatusCode,
    headers: &HeaderMap,
    follow: &Follow,
) -> Option<Fetch> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let mut locations = headers.get_all(LOCATION).into_iter();
    let next = match (locations.next(), locations.next()) {
        (Some(location), None) => resolve(from, location.as_bytes())?,
        (None, _) | (Some(_), Some(_)) => return None,
    };
    let leaves_tls = from.scheme == Scheme::Https && next.scheme == Scheme::Http;
    (!leaves_tls && (follow.allowed)(next.scheme, &next.host)).then_some(next)
}

pub(super) fn same_origin(one: &Fetch, other: &Fetch) -> bool {
    one.scheme == other.scheme && one.host == other.host
}

/// What may go to another origin. Credentials have too many names to be listed instead.
pub(super) fn only_harmless(headers: &mut HeaderMap) {
    let mut kept = HeaderMap::new();
    for name in &HARMLESS {
        for value in headers.get_all(name) {
            kept.append(name, value.clone());
        }
    }
    *headers = kept;
}

const HARMLESS: [HeaderName; 15] = [
    ACCEPT,
    ACCEPT_ENCODING,
    ACCEPT_LANGUAGE,
    CACHE_CONTROL,
    HeaderName::from_static("cdn-loop"),
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    PRAGMA,
    RANGE,
    USER_AGENT,
    VIA,
    HeaderName::from_static("x-request-id"),
];

/// A reference against the URL that it came from (RFC 3986 §5).
pub fn resolve(from: &Fetch, location: &[u8]) -> Option<Fetch> {
    let text = percent_encode(location.trim_ascii(), UNSAFE).to_string();
    let text = text.split('#').next().unwrap_or_default();
    let (base, _) = from.target.split_once('?').unwrap_or((&from.target, ""));
    let (scheme, rest) = match text.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => {
            let scheme = match scheme.to_ascii_lowercase().as_str() {
                "http" => Scheme::Http,
                "https" => Scheme::Https,
                _ => return None,
            };
            (scheme, rest.starts_with("//").then_some(rest)?)
        }
        _ => (from.scheme, text),
    };
    if let Some(rest) = rest.strip_prefix("//") {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end)?;
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        return Some(Fetch { scheme, host: host(authority, scheme)?, target: normal(&target) });
    }
    let target = match rest.bytes().next() {
        None => from.target.clone(),
        Some(b'/') => normal(rest),
        Some(b'?') => format!("{base}{rest}"),
        Some(_) => {
            let (folder, _) = base.rsplit_once('/')?;
            normal(&format!("{folder}/{rest}"))
        }
    };
    Some(Fetch { scheme, host: from.host.clone(), target })
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// As in `Key`: lower case, no port that is the scheme's own.
fn host(authority: &str, scheme: Scheme) -> Option<String> {
    let authority: Authority = authority.parse().ok()?;
    let host = authority.host().to_ascii_lowercase();
    if host.is_empty() || authority.as_str().contains('@') {
        return None;
    }
    let behind = authority.as_str().get(host.len()..)?;
    match (behind, authority.port_u16()) {
        ("" | ":", _) => Some(host),
        (_, Some(port)) if port == scheme.port() => Some(host),
        (_, Some(port)) if port > 0 => Some(format!("{host}:{port}")),
        _ => None,
    }
}

/// Without `.` and `..` segments (RFC 3986 §5.2.4), also percent-encoded ones.
fn normal(target: &str) -> String {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment.replace("%2e", ".").replace("%2E", ".").as_str() {
            "." => {}
            ".." => {
                kept.pop();
            }
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if last {
            kept.push("");
        }
    }
    let path = format!("/{}", kept.join("/"));
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}

/// What servers write into `Location` although no URL has it.
const UNSAFE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

#[cfg(test)]
mod tests;
