//! The request target: version prefix, path and raw query, decoded exactly once.
//!
//! `api::call` parses every request line through here. dockerd routes on the decoded path (gorilla/mux
//! without `UseEncodedPath`), so that `%2F` is a slash to it wherever it stands: docker-java writes
//! `/images/team%2Fapp/json`. It answers 301 to anything its `path.Clean` would change, even to a POST: so
//! does dockgate, and sends none of them on. What must stay true: what this returns, encoded again,
//! means the same to Go's router as to ours.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::endpoint::Minor;

/// What may stand in a path segment of ours unescaped; Go decodes all others.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b':')
    .remove(b'@')
    .remove(b'+')
    .remove(b',');
/// And what Go leaves as it is where it writes a path (`net/url` `shouldEscape`, of a path).
const LOCATION: &AsciiSet = &PATH.remove(b'$').remove(b'&').remove(b'=').remove(b';');

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    pub version: Option<Minor>,
    /// Decoded, without the version prefix; begins with `/`.
    pub path: Cow<'a, str>,
    pub query: &'a str,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    #[error("the request target is not a path")]
    Form,
    #[error("the path holds {0}")]
    Path(&'static str),
    #[error("invalid API version `{0}`")]
    Version(String),
    /// The path has an empty or a dot segment. Where the engine sends its client: a path of its own, and the
    /// query as it came.
    #[error("the path is written with empty or dot segments: it is `{0}`")]
    Moved(String),
}

/// Parses a request target by the strict rules that hold while a policy is active.
pub fn parse(target: &[u8]) -> Result<Target<'_>, BadTarget> {
    let target = std::str::from_utf8(target).map_err(|_| BadTarget::Path("bytes beyond ASCII"))?;
    if !target.starts_with('/') {
        return Err(BadTarget::Form);
    }
    let (raw, query) = target.split_once('?').unwrap_or((target, ""));
    let path = decode(raw)?;
    if let Some(clean) = cleaned(&path) {
        return Err(moved(&clean, target.get(raw.len()..).unwrap_or_default()));
    }
    let (version, path) = split_version(path)?;
    Ok(Target { version, path, query })
}

/// Finds the path without judging it: for the log line and the hijack of a pass-through, which
/// forwards what it got whatever this says.
pub fn recognise(target: &[u8]) -> String {
    let raw = target.split(|b| *b == b'?').next().unwrap_or_default();
    let path = percent_encoding::percent_decode(raw).decode_utf8_lossy().into_owned();
    let rest = path.strip_prefix("/v").and_then(|rest| {
        let (digits, tail) = rest.split_once('/')?;
        let is_version = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        (is_version && !digits.is_empty()).then(|| format!("/{tail}"))
    });
    rest.unwrap_or(path)
}

pub fn encode(path: &str, out: &mut String) {
    out.extend(utf8_percent_encode(path, PATH));
}

fn decode(raw: &str) -> Result<Cow<'_, str>, BadTarget> {
    if raw.bytes().any(|byte| !matches!(byte, 0x21..=0x7e) || byte == b'\\') {
        return Err(BadTarget::Path("a character that must be escaped"));
    }
    let path = if raw.contains('%') { Cow::Owned(unescape_all(raw)?) } else { Cow::Borrowed(raw) };
    if path.chars().any(char::is_control) {
        return Err(BadTarget::Path("a control character"));
    }
    Ok(path)
}

/// What gorilla/mux makes of a path (its `cleanPath`: Go's `path.Clean`, and a slash at the end stays); none
/// where that is the path itself.
fn cleaned(path: &str) -> Option<String> {
    let is_odd = |segment: &str| matches!(segment, "" | "." | "..");
    let inner = path.strip_prefix('/').unwrap_or(path);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if !inner.split('/').any(is_odd) || path == "/" {
        return None;
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let end = if path.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    Some(format!("/{}{end}", kept.join("/")))
}

/// Never to another host: a cleaned path begins with one slash, and holds no backslash.
fn moved(path: &str, query: &str) -> BadTarget {
    if !query.bytes().all(|byte| matches!(byte, 0x21..=0x7e)) {
        return BadTarget::Path("an empty or a dot segment");
    }
    let mut location = utf8_percent_encode(path, LOCATION).to_string();
    location.push_str(query);
    BadTarget::Moved(location)
}

fn unescape_all(raw: &str) -> Result<String, BadTarget> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut input = raw.bytes();
    while let Some(byte) = input.next() {
        bytes.push(match byte {
            b'%' => match unescape(input.next(), input.next()) {
                Some(b'\\') => return Err(BadTarget::Path("an encoded backslash")),
                Some(decoded) => decoded,
                None => return Err(BadTarget::Path("an invalid escape")),
            },
            _ => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| BadTarget::Path("invalid UTF-8"))
}

fn unescape(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// `^v1\.[1-9][0-9]*$`: dockerd also takes `v1.041` and `v1.41.0`, which no client sends.
fn split_version(path: Cow<'_, str>) -> Result<(Option<Minor>, Cow<'_, str>), BadTarget> {
    let Some(rest) = path.strip_prefix("/v") else { return Ok((None, path)) };
    let (version, tail) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // `/version` and `/volumes` begin with a `v` too.
    if !version.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Ok((None, path));
    }
    let minor = version
        .strip_prefix("1.")
        .filter(|digits| !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()));
    let Some(minor) = minor.and_then(|digits| digits.parse().ok()) else {
        return Err(BadTarget::Version(version.to_owned()));
    };
    if tail.is_empty() {
        return Ok((Some(minor), Cow::Borrowed("/")));
    }
    let cut = path.len() - tail.len();
    Ok((
        Some(minor),
        match path {
            Cow::Borrowed(path) => Cow::Borrowed(path.get(cut..).unwrap_or_default()),
            Cow::Owned(path) => Cow::Owned(path.get(cut..).unwrap_or_default().to_owned()),
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_version_is_an_integer_or_refused() {
        let ok = parse(b"/v1.41/containers/json?all=1").unwrap();
        assert_eq!((ok.version, &*ok.path, ok.query), (Some(41), "/containers/json", "all=1"));
        for plain in ["/_ping", "/version", "/volumes", "/volumes/v1.41"] {
            assert_eq!(parse(plain.as_bytes()).unwrap().version, None, "{plain}");
        }
        for bad in [
            "/v1.041/info",
            "/v1.41.0/info",
            "/v1./info",
            "/v01.41/info",
            "/v2.0/info",
            "/v1/info",
            "/v./info",
            "/v1.99999/info",
            "/v1.-1/info",
        ] {
            assert!(matches!(parse(bad.as_bytes()), Err(BadTarget::Version(_))), "{bad}");
        }
    }

    #[test]
    fn what_go_would_clean_or_read_otherwise_is_refused() {
        for bad in [
            "%2Finfo",
            "/v1.%3041/info",
            "//x%5cy",
            "//info%00",
            "//info?a=\u{e9}",
            "//a\u{e9}",
            "//%ff",
            "/x%5cy",
            "/info%00",
            "/a%0ab",
            "/a%7f",
            "/a%zz",
            "/a%4",
            "/a%",
            "/%ff",
            "http://x/info",
            "*",
            "info",
            "/a\u{e9}",
            "/a\\\tb",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_the_engine_cleans_is_moved_to_where_the_engine_says() {
        // As engines 20.10 and 28 answer.
        for (target, location) in [
            ("//containers/json?a=%2f&b=c;d", "/containers/json?a=%2f&b=c;d"),
            ("//v1.41//containers/./x/../json", "/v1.41/containers/json"),
            ("/containers//json", "/containers/json"),
            ("/images/a%2F%2Fb%20c%25$&;=+,%3f/./json/", "/images/a/b%20c%25$&;=+,%3F/json/"),
            ("/containers/%2Fx/json", "/containers/x/json"),
            ("/v1.41%2F%2Finfo", "/v1.41/info"),
            ("/nosuch/%2e%2e/info", "/info"),
            ("/..", "/"),
            ("//", "/"),
            ("/a/.", "/a"),
            ("/a/./", "/a/"),
            ("/../..//", "/"),
            (
                "//evil.com/%2f/(b)'!*[]\"<>^`{|}~",
                "/evil.com/%28b%29%27%21%2A%5B%5D%22%3C%3E%5E%60%7B%7C%7D~",
            ),
            ("///evil.com", "/evil.com"),
            ("//info?", "/info?"),
            ("//info#frag", "/info%23frag"),
            ("//v1.99/info", "/v1.99/info"),
        ] {
            assert_eq!(
                parse(target.as_bytes()),
                Err(BadTarget::Moved(location.to_owned())),
                "{target}"
            );
            let there = parse(location.as_bytes());
            assert!(!matches!(there, Err(BadTarget::Moved(_))), "{location}: {there:?}");
        }
        for stays in ["/", "/info/", "/a/...", "/a/.b", "/a/..b/c"] {
            assert!(parse(stays.as_bytes()).is_ok(), "{stays}");
        }
    }

    #[test]
    fn a_path_is_decoded_once_as_a_whole_as_dockerd_routes_it() {
        for (target, version, path) in [
            ("/in%66o", None, "/info"),
            ("/v1.41/images/team%2Fapp%3A1/json", Some(41), "/images/team/app:1/json"),
            ("/images/a%2fb%40sha256%3Ac/json", None, "/images/a/b@sha256:c/json"),
            ("/containers%2Fx/json", None, "/containers/x/json"),
            ("/containers/x%2fjson", None, "/containers/x/json"),
            ("/v1.41%2Finfo", Some(41), "/info"),
            ("/%76ersion", None, "/version"),
            ("/v%31.41/info", Some(41), "/info"),
            // Once: what is left is a part of a name.
            ("/images/a%252Fb/json", None, "/images/a%2Fb/json"),
        ] {
            let parsed = parse(target.as_bytes()).unwrap();
            assert_eq!((parsed.version, &*parsed.path), (version, path), "{target}");
            let mut encoded = String::new();
            encode(path, &mut encoded);
            assert_eq!(parse(encoded.as_bytes()).unwrap().path, path, "{encoded}");
        }
    }

    #[test]
    fn a_pass_through_recognises_what_dockerd_routes() {
        assert_eq!(recognise(b"/v1.41/containers%2Fx/attach?a=b"), "/containers/x/attach");
        assert_eq!(recognise(b"/v1.041/info"), "/info");
        assert_eq!(recognise(b"/volumes"), "/volumes");
    }

    proptest! {
        #[test]
        fn encoding_a_path_and_parsing_it_is_the_identity(segments in proptest::collection::vec("[^/\\\\\\p{Cc}]{1,12}", 1..5)) {
            prop_assume!(segments.iter().all(|s| s != "." && s != ".."));
            let path = format!("/x/{}", segments.join("/"));
            let mut encoded = String::new();
            encode(&path, &mut encoded);
            let parsed = parse(encoded.as_bytes()).unwrap();
            prop_assert_eq!(&*parsed.path, &*path);
        }

        #[test]
        fn a_moved_path_is_at_its_place_and_on_this_host(path in "(/|\\.|%2[eEfF]|[a-c]){0,24}") {
            if let Err(BadTarget::Moved(location)) = parse(format!("/{path}?q=1").as_bytes()) {
                prop_assert!(location.starts_with('/') && !location.starts_with("//"), "{}", location);
                prop_assert!(location.ends_with("?q=1"));
                prop_assert!(!matches!(parse(location.as_bytes()), Err(BadTarget::Moved(_))), "{}", location);
            }
        }

        #[test]
        fn no_target_panics(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = parse(&bytes);
            let _ = recognise(&bytes);
        }
    }
}
