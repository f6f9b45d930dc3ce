//! Conditions of clients, and ours (RFC 9110 §13, RFC 9111 §4.3).

use http::Method;
use http::header::RANGE;

use super::*;
use crate::cache::fresh::{
    Precondition, add_validators, not_modified_headers, precondition, strip_conditions,
};

const BEFORE: &str = "Wed, 09 Feb 2033 04:00:00 GMT";
const CHANGED: &str = "Wed, 09 Feb 2033 04:01:00 GMT";
const AFTER: &str = "Wed, 09 Feb 2033 04:02:00 GMT";

fn told(request: &str, response: &str) -> Precondition {
    precondition(&Method::GET, &head(request), StatusCode::OK, &head(response))
}

#[test]
fn a_client_that_has_it_gets_a_304() {
    use Precondition::{None, NotModified};
    for (request, response, expected) in [
        ("", "ETag: \"a\"", None),
        ("If-None-Match: \"a\"", "ETag: \"a\"", NotModified),
        ("If-None-Match: W/\"a\"", "ETag: \"a\"", NotModified),
        ("If-None-Match: \"a\"", "ETag: W/\"a\"", NotModified),
        ("If-None-Match: \"x\", \"a\" , \"y\"", "ETag: \"a\"", NotModified),
        ("If-None-Match: \"x\"\nIf-None-Match: \"a\"", "ETag: \"a\"", NotModified),
        ("If-None-Match: \"x,a\"", "ETag: \"x,a\"", NotModified),
        ("If-None-Match: \"x,a\"", "ETag: \"x\"", None),
        ("If-None-Match: \"b\"", "ETag: \"a\"", None),
        ("If-None-Match: \"A\"", "ETag: \"a\"", None),
        ("If-None-Match: \"a\"", "", None),
        ("If-None-Match: ", "ETag: ", None),
        ("If-None-Match: *", "", NotModified),
    ] {
        assert_eq!(told(request, response), expected, "{request} / {response}");
    }
}

#[test]
fn dates_count_only_without_if_none_match() {
    use Precondition::{None, NotModified};
    let changed = format!("Last-Modified: {CHANGED}\nDate: {AFTER}\nETag: \"a\"");
    let since = |date| format!("If-Modified-Since: {date}");
    for (request, expected) in [
        (since(CHANGED), NotModified),
        (since(AFTER), NotModified),
        (since("Wednesday, 09-Feb-33 04:01:00 GMT"), NotModified),
        (since(BEFORE), None),
        (since("today"), None),
        (format!("{}\n{}", since(AFTER), since(AFTER)), None),
        (format!("{}\nIf-None-Match: \"b\"", since(AFTER)), None),
        (format!("{}\nIf-None-Match: \"a\"", since(BEFORE)), NotModified),
    ] {
        assert_eq!(told(&request, &changed), expected, "{request}");
    }
    let dated = format!("Date: {CHANGED}");
    assert_eq!(told(&since(CHANGED), &dated), NotModified);
    assert_eq!(told(&since(BEFORE), &dated), None);
    assert_eq!(told(&since(AFTER), "Last-Modified: x"), None);
}

#[test]
fn what_only_the_origin_can_judge_goes_there() {
    use Precondition::{None, NotModified, Origin};
    let response = format!("ETag: \"a\"\nLast-Modified: {CHANGED}");
    for (request, expected) in [
        ("If-Match: \"a\"".to_owned(), None),
        ("If-Match: *".to_owned(), None),
        ("If-Match: \"b\"".to_owned(), Origin),
        ("If-Match: W/\"a\"".to_owned(), Origin),
        ("If-Match: \"a\"\nIf-None-Match: \"a\"".to_owned(), NotModified),
        (format!("If-Match: \"a\"\nIf-Unmodified-Since: {BEFORE}"), None),
        (format!("If-Unmodified-Since: {BEFORE}"), Origin),
        (format!("If-Unmodified-Since: {AFTER}"), None),
    ] {
        assert_eq!(told(&request, &response), expected, "{request}");
    }
}

#[test]
fn conditions_are_for_answers_that_would_succeed() {
    let (request, response) = (head("If-None-Match: \"a\""), head("ETag: \"a\""));
    let told = |method, status| precondition(method, &request, status, &response);
    assert_eq!(told(&Method::HEAD, StatusCode::OK), Precondition::NotModified);
    assert_eq!(told(&Method::GET, StatusCode::NOT_FOUND), Precondition::None);
    assert_eq!(told(&Method::POST, StatusCode::OK), Precondition::None);
}

#[test]
fn a_validation_sends_the_stored_validators_as_they_came_and_no_others() {
    let client = "If-Match: \"x\"\nIf-None-Match: \"x\"\nIf-Modified-Since: x\nIf-Range: \"x\"\n\
                  If-Unmodified-Since: x\nRange: bytes=0-\nAccept: a";
    let mut request = head(client);
    add_validators(&stored(200, "ETag: w/x\nLast-Modified: once"), &mut request);
    assert_eq!(request, head("Accept: a\nIf-None-Match: w/x\nIf-Modified-Since: once"));
    let mut request = head(client);
    add_validators(&stored(404, "ETag: \"a\""), &mut request);
    assert_eq!(request, head("Accept: a"));
    let mut request = head(client);
    strip_conditions(&mut request);
    assert_eq!(request.remove(RANGE).unwrap(), "bytes=0-");
    assert_eq!(request, head("Accept: a"));
}

#[test]
fn a_304_has_what_a_cache_below_needs() {
    let kept = "Cache-Control: max-age=1\nContent-Location: /x\nDate: d\nETag: \"a\"\nExpires: e\n\
                Vary: a\nVary: b\nCDN-Cache-Control: max-age=2";
    let stored =
        head(&format!("{kept}\nContent-Length: 5\nContent-Type: t\nLast-Modified: l\nX-A: 1"));
    assert_eq!(not_modified_headers(&stored), head(kept));
    let untagged = head("Last-Modified: l\nX-A: 1");
    assert_eq!(not_modified_headers(&untagged), head("Last-Modified: l"));
}
