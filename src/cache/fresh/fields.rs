//! Fields that end here: hop-by-hop ones (RFC 9110 §7.6.1) and those that must not be stored.
//!
//! `serve` strips every head that it sends on, `fill` every head that it stores. What must stay true:
//! `Connection` cannot take away what reuse is decided by.

use http::header::{self, HeaderMap, HeaderName};

use super::directives::Directives;

/// Takes away what is meant for this hop only.
pub fn strip_forwarded(headers: &mut HeaderMap) {
    for name in nominated(headers) {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Takes away what must not be stored (RFC 9111 §3.1): that, and what `no-cache="…"` or
/// `private="…"` name.
pub fn strip_stored(headers: &mut HeaderMap) {
    strip_forwarded(headers);
    for name in Directives::of(headers).withheld {
        headers.remove(name);
    }
}

/// What of an answer is for the client alone that asked: its cookies, and what `strip_stored` takes away.
pub fn for_one_client(headers: &HeaderMap) -> HeaderMap {
    let mut names = Directives::of(headers).withheld;
    names.push(header::SET_COOKIE);
    let mut own = HeaderMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| names.contains(name)) {
        own.append(name, value.clone());
    }
    strip_forwarded(&mut own);
    own
}

const HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What `Connection` names.
pub(super) fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(header::CONNECTION).iter();
    let members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let names = members.filter_map(|member| HeaderName::from_bytes(member.trim_ascii()).ok());
    names.filter(|name| !is_needed(name)).collect()
}

/// Whether a response without this field would be another one, or could be used where it must not.
pub(super) fn is_needed(name: &HeaderName) -> bool {
    NEEDED.contains(name)
        || name.as_str().starts_with("content-")
        || name.as_str().ends_with("cache-control")
}

const NEEDED: [HeaderName; 10] = [
    header::AGE,
    header::AUTHORIZATION,
    header::COOKIE,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::HOST,
    header::LAST_MODIFIED,
    header::RANGE,
    header::VARY,
];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .fold(HeaderMap::new(), |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            })
    }

    fn left(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn hop_by_hop_fields_and_those_that_connection_names_end_here() {
        let mut head = headers(&[
            ("connection", "close, X-Hop"),
            ("connection", " x-other ,,"),
            ("x-hop", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("proxy-authentication-info", "a"),
            ("proxy-authorization", "a"),
            ("proxy-connection", "a"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-end", "1"),
        ]);
        strip_forwarded(&mut head);
        assert_eq!(left(&head), ["x-end"]);
    }

    #[test]
    fn connection_cannot_name_what_reuse_is_decided_by() {
        let mut head = headers(&[
            ("connection", "cache-control, vary, cdn-cache-control, content-length, age"),
            ("cache-control", "no-cache"),
            ("cdn-cache-control", "no-cache"),
            ("vary", "a"),
            ("content-length", "1"),
            ("age", "1"),
        ]);
        strip_stored(&mut head);
        assert_eq!(
            left(&head),
            ["age", "cache-control", "cdn-cache-control", "content-length", "vary"]
        );
    }

    #[test]
    fn withheld_fields_are_passed_on_but_not_stored() {
        let mut head = headers(&[
            ("cache-control", "max-age=60, private=\"set-cookie, x-user\""),
            ("set-cookie", "a=b"),
            ("x-user", "1"),
            ("x-end", "1"),
        ]);
        strip_forwarded(&mut head);
        assert_eq!(left(&head), ["cache-control", "set-cookie", "x-end", "x-user"]);
        assert_eq!(left(&for_one_client(&head)), ["set-cookie", "x-user"]);
        strip_stored(&mut head);
        assert_eq!(left(&head), ["cache-control", "x-end"]);
        assert!(for_one_client(&head).is_empty());
    }
}
