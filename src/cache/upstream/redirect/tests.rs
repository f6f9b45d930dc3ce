//! Where a `Location` leads, and what goes with a request there.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn fetch(url: &str) -> Fetch {
    let (scheme, rest) = url.split_once("://").unwrap();
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    let (host, path) = rest.split_once('/').unwrap();
    Fetch { scheme, host: host.to_owned(), target: format!("/{path}") }
}

fn url(fetch: &Fetch) -> String {
    format!("{}://{}{}", fetch.scheme.as_str(), fetch.host, fetch.target)
}

fn anywhere() -> Follow {
    Follow { most: 5, allowed: Arc::new(|_, _| true) }
}

fn head(locations: &[&str]) -> HeaderMap {
    locations.iter().map(|text| (LOCATION, HeaderValue::from_str(text).unwrap())).collect()
}

fn after(from: &str, location: &str) -> Option<Fetch> {
    next(&fetch(from), StatusCode::FOUND, &head(&[location]), &anywhere())
}

#[test]
fn references_are_resolved() {
    for (location, expected) in [
        ("https://b.example/x?y#z", "https://b.example/x?y"),
        ("HTTPS://B.Example:443", "https://b.example/"),
        ("https://b.example:8443?q", "https://b.example:8443/?q"),
        ("https://b.example:/x", "https://b.example/x"),
        ("//b.example/x", "https://b.example/x"),
        ("/x/../y/./z", "https://a.example/y/z"),
        ("x", "https://a.example/one/x"),
        ("../x", "https://a.example/x"),
        ("../../../x/..", "https://a.example/"),
        ("%2e%2E/x", "https://a.example/x"),
        (".", "https://a.example/one/"),
        ("?r=a/../b", "https://a.example/one/two?r=a/../b"),
        ("#top", "https://a.example/one/two?q"),
        ("x:y/z", ""),
        ("./x:y", "https://a.example/one/x:y"),
        ("/a b|c", "https://a.example/a%20b%7Cc"),
        ("https://[2001:DB8::1]:8443/", "https://[2001:db8::1]:8443/"),
    ] {
        match after("https://a.example/one/two?q", location) {
            Some(next) => assert_eq!(url(&next), expected, "{location}"),
            other => assert!(expected.is_empty(), "{location}: {other:?}"),
        }
    }
}

#[test]
fn what_is_no_place_to_go_is_the_answer() {
    for location in [
        "ftp://b.example/",
        "https:/b.example",
        "https://",
        "https://user@b.example/",
        "https://b.example:99999/",
        "https://b.example:0/",
        "https://b example/",
        "javascript:x",
    ] {
        let next = after("https://a.example/", location);
        assert_eq!(next, None, "{location}");
    }
    let from = fetch("https://a.example/");
    let two = head(&["/x", "/y"]);
    let next = next(&from, StatusCode::FOUND, &two, &anywhere());
    assert_eq!(next, None);
}

#[test]
fn tls_is_not_left_and_may_be_entered() {
    let next = after("https://a.example/", "http://a.example/");
    assert_eq!(next, None);
    assert!(after("http://a.example/", "https://a.example/").is_some());
}

#[test]
fn the_caller_allows_hosts() {
    let follow = Follow {
        most: 5,
        allowed: Arc::new(|scheme, host| scheme == Scheme::Https && host == "b.example:1"),
    };
    let from = fetch("http://a.example/");
    let next = |location| next(&from, StatusCode::SEE_OTHER, &head(&[location]), &follow);
    assert!(next("https://B.example:1/").is_some());
    assert_eq!(next("http://b.example:1/"), None);
    assert_eq!(next("https://b.example/"), None);
}

#[test]
fn only_redirects_lead_on() {
    let from = fetch("http://a.example/");
    for status in [200, 201, 300, 304, 305, 404] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(next(&from, status, &head(&["/x"]), &anywhere()), None);
    }
    assert_eq!(next(&from, StatusCode::FOUND, &HeaderMap::new(), &anywhere()), None);
}

#[test]
fn no_credential_of_any_name_crosses() {
    let mut headers = HeaderMap::new();
    for name in ["authorization", "cookie", "x-api-key", "private-token", "accept", "range"] {
        headers.append(name, HeaderValue::from_static("x"));
    }
    only_harmless(&mut headers);
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "range"]);
}

proptest! {
    /// Whatever an origin writes there.
    #[test]
    fn a_hop_is_a_url_without_dot_segments(location in "\\PC{0,40}|[/.?#:a%2e@\\[\\]]{0,30}") {
        let location = HeaderValue::from_bytes(location.as_bytes()).unwrap();
        let headers = HeaderMap::from_iter([(LOCATION, location)]);
        let from = fetch("http://a.example/one/two");
        if let Some(next) = next(&from, StatusCode::FOUND, &headers, &anywhere()) {
            let path = next.target.split('?').next().unwrap();
            prop_assert!(path.starts_with('/'));
            prop_assert!(!path.split('/').any(|segment| segment == "." || segment == ".."));
            prop_assert!(!next.host.contains(['/', '@', '?', '#']));
            prop_assert!(!next.host.is_empty());
        }
    }
}
