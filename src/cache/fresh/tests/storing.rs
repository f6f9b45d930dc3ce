//! What is kept (RFC 9111 §3), and for whom.

use std::time::Duration;

use http::Method;

use super::*;
use crate::cache::fresh::{may_store, shareable};

fn told(request: &str, status: u16, response: &str, rules: &FreshnessRules) -> &'static str {
    let status = StatusCode::from_u16(status).unwrap();
    match may_store(&Method::GET, &head(request), status, &head(response), rules) {
        Ok(()) => "stored",
        Err(reason) => reason.as_str(),
    }
}

const CHANGED: &str = "Last-Modified: Tue, 08 Feb 2033 18:05:06 GMT";

#[test]
fn each_answer_is_stored_or_there_is_a_reason() {
    for (request, status, response, expected) in [
        ("", 200, "Cache-Control: max-age=60", "stored"),
        ("", 200, "Expires: Wed, 09 Feb 2033 05:05:06 GMT", "stored"),
        ("", 200, "ETag: \"a\"", "stored"),
        ("", 200, CHANGED, "stored"),
        ("", 200, "Cache-Control: no-cache\nETag: \"a\"", "stored"),
        ("", 200, "Cache-Control: max-age=60, private=\"x-a\"", "stored"),
        ("", 200, "Cache-Control: max-age=0, stale-if-error=60", "stored"),
        ("", 200, "Cache-Control: max-age=60\nSet-Cookie: a=b", "stored"),
        ("", 200, "", "no-freshness"),
        ("", 200, "Cache-Control: public", "no-freshness"),
        ("", 200, "Cache-Control: max-age=0", "no-validator"),
        ("", 200, "Expires: 0", "no-validator"),
        ("", 200, "Cache-Control: max-age=60, no-cache", "no-validator"),
        ("", 200, "Cache-Control: max-age=60, No-Store", "no-store"),
        ("", 200, "Cache-Control: max-age=60, private", "private"),
        ("", 200, "Cache-Control: max-age=60\nVary: *", "vary-star"),
        ("", 200, "Cache-Control: max-age=60\nVary: a, b c", "vary-star"),
        ("", 200, "Cache-Control: max-age=60\nVary: a, b", "stored"),
        ("Cache-Control: no-store", 200, "Cache-Control: max-age=60", "request-no-store"),
        ("", 299, "Cache-Control: max-age=60", "stored"),
        ("", 302, "Cache-Control: max-age=60", "stored"),
        ("", 503, "Cache-Control: max-age=60", "stored"),
        ("", 599, "Cache-Control: max-age=60", "stored"),
        ("", 302, "", "status"),
        ("", 302, "ETag: \"a\"", "status"),
        ("", 404, "", "no-freshness"),
        ("", 404, "ETag: \"a\"", "no-freshness"),
        ("", 103, "Cache-Control: max-age=60", "status"),
        ("", 206, "Cache-Control: max-age=60", "partial"),
        ("", 304, "Cache-Control: max-age=60", "conditional"),
        ("", 412, "Cache-Control: max-age=60", "conditional"),
        ("", 416, "Cache-Control: max-age=60", "conditional"),
        ("", 407, "Cache-Control: max-age=60", "status"),
        ("", 200, "Cache-Control: max-age=60, no-store, must-understand", "stored"),
        ("", 599, "Cache-Control: max-age=60, must-understand", "status-not-understood"),
        ("", 206, "Cache-Control: max-age=60, must-understand", "partial"),
        ("", 200, "CDN-Cache-Control: max-age=60\nCache-Control: no-store", "stored"),
        ("", 200, "CDN-Cache-Control: no-store\nCache-Control: max-age=60", "no-store"),
        ("", 200, "CDN-Cache-Control: private\nCache-Control: max-age=60", "private"),
        ("", 200, "CDN-Cache-Control: max-age=60, (\nCache-Control: no-store", "no-store"),
    ] {
        assert_eq!(
            told(request, status, response, &FreshnessRules::default()),
            expected,
            "{status} {response}"
        );
    }
}

#[test]
fn only_answers_to_get_are() {
    let response = head("Cache-Control: max-age=60");
    for method in [Method::HEAD, Method::POST, Method::OPTIONS] {
        let answer =
            may_store(&method, &head(""), StatusCode::OK, &response, &FreshnessRules::default());
        assert_eq!(answer.unwrap_err().to_string(), "method");
    }
}

#[test]
fn rules_give_freshness_where_the_origin_gives_none() {
    let negative =
        FreshnessRules { negative: Some(Duration::from_secs(5)), ..FreshnessRules::default() };
    let ttl = FreshnessRules { ttl: Some(Duration::from_secs(5)), ..FreshnessRules::default() };
    let always = FreshnessRules { ttl: Some(Duration::ZERO), ..FreshnessRules::default() };
    let artifact = FreshnessRules { artifact: true, ..FreshnessRules::default() };
    for (rules, status, response, expected) in [
        (&heuristic(), 404, CHANGED, "stored"),
        (&heuristic(), 302, CHANGED, "status"),
        (&heuristic(), 599, "Cache-Control: public\nLast-Modified: x", "stored"),
        (&negative, 404, "", "stored"),
        (&negative, 410, "", "stored"),
        (&negative, 405, "", "no-freshness"),
        (&negative, 404, "Cache-Control: no-store", "no-store"),
        (&ttl, 200, "", "stored"),
        (&ttl, 200, "Cache-Control: no-cache", "stored"),
        (&ttl, 200, "Cache-Control: private", "private"),
        (&ttl, 500, "", "status"),
        (&always, 200, "Cache-Control: max-age=60", "no-validator"),
        (&always, 200, "ETag: \"a\"", "stored"),
        (&artifact, 200, "Cache-Control: no-cache, max-age=0", "stored"),
        (&artifact, 200, "Cache-Control: no-store", "no-store"),
        (&artifact, 404, "", "no-freshness"),
    ] {
        assert_eq!(told("", status, response, rules), expected, "{status} {response}");
    }
}

#[test]
fn answers_to_credentials_are_shared_only_where_rule_and_origin_allow_it() {
    let rfc = FreshnessRules { share_authorized: true, ..FreshnessRules::default() };
    let (authorized, cookie) = ("Authorization: Basic eDp5", "Cookie: a=b");
    for (request, response, by_default, by_rfc) in [
        ("", "Cache-Control: max-age=60", true, true),
        (authorized, "Cache-Control: max-age=60", false, false),
        (authorized, "Cache-Control: max-age=60, public", false, true),
        (authorized, "Cache-Control: max-age=60, must-revalidate", false, true),
        (authorized, "Cache-Control: s-maxage=60", false, true),
        (authorized, "Cache-Control: public\nCDN-Cache-Control: max-age=60", false, false),
        (authorized, "Cache-Control: public\nVary: Authorization", false, false),
        (cookie, "Cache-Control: max-age=60", false, false),
        (cookie, "Cache-Control: max-age=60, public", false, true),
        (cookie, "Cache-Control: public, max-age=60\nSet-Cookie: a=c", false, false),
        (cookie, "Cache-Control: public, max-age=60\nVary: cookie", false, false),
        ("Authorization: x\nCookie: a=b", "Cache-Control: max-age=60", false, false),
    ] {
        let told = |rules: &FreshnessRules| shareable(&head(request), &head(response), rules);
        assert_eq!(told(&FreshnessRules::default()), by_default, "{request} {response}");
        assert_eq!(told(&rfc), by_rfc, "{request} {response}");
    }
}
