//! What a 304 and the answer to a HEAD change (RFC 9111 §3.2, §4.3.4, §4.3.5).

use super::*;
use crate::cache::fresh::{HeadUpdate, age, head_update, same, updated};

#[test]
fn a_304_speaks_of_the_response_whose_validator_it_has() {
    let once = "Last-Modified: Wed, 09 Feb 2033 04:00:00 GMT";
    let both = format!("ETag: \"a\"\n{once}");
    for (stored_text, answer, expected) in [
        (both.as_str(), "", true),
        (&both, "ETag: \"a\"", true),
        (&both, "ETag: W/\"a\"", true),
        (&both, "ETag: \"b\"", false),
        (&both, "ETag: \"b\"\nLast-Modified: Wed, 09 Feb 2033 04:00:00 GMT", false),
        (&both, once, true),
        (&both, "Last-Modified: Wednesday, 09-Feb-33 04:00:00 GMT", true),
        (&both, "Last-Modified: Wed, 09 Feb 2033 04:00:01 GMT", false),
        (once, "ETag: \"a\"", false),
        ("ETag: \"a\"", once, true),
        ("Last-Modified: once", "Last-Modified: once", true),
        ("Last-Modified: once", "Last-Modified: twice", false),
    ] {
        assert_eq!(same(&stored(200, stored_text), &head(answer)), expected, "{answer}");
    }
}

#[test]
fn fields_are_replaced_but_those_that_say_what_the_bytes_are() {
    let old = stored(
        200,
        "Cache-Control: max-age=1\nX-A: 1\nX-A: 2\nX-B: 1\nETag: \"a\"\nContent-Length: 5\n\
         Content-Encoding: gzip\nContent-Range: r\nVary: a\nAge: 900\nDate: d\nWarning: 110 - x",
    );
    let new = head(
        "Cache-Control: max-age=9\nX-A: 3\nX-A: 4\nETag: W/\"a\"\nContent-Length: 0\n\
         Content-Encoding: br\nContent-Range: s\nVary: b\nConnection: X-C\nX-C: 1\nKeep-Alive: 1\n\
         Content-Type: t",
    );
    let meta = updated(&old, &new, NOW + 10_000, NOW + 11_000);
    assert_eq!(
        meta.headers,
        head(
            "Cache-Control: max-age=9\nX-A: 3\nX-A: 4\nX-B: 1\nETag: \"a\"\nContent-Length: 5\n\
             Content-Encoding: gzip\nContent-Range: r\nVary: a\nContent-Type: t\n\
             Date: Wed, 09 Feb 2033 04:05:17 GMT"
        )
    );
    assert_eq!((meta.request_time, meta.response_time), (NOW + 10_000, NOW + 11_000));
    assert_eq!(age(&meta, NOW + 11_000), 1, "the delay, and no `Age` from before");
    assert_eq!((meta.length, meta.status, meta.key), (old.length, old.status, old.key));
}

#[test]
fn a_304_s_own_age_and_date_count() {
    let old = stored(200, "Date: Wed, 09 Feb 2033 04:05:06 GMT\nETag: \"a\"");
    let new = head("Age: 30\nDate: Wed, 09 Feb 2033 04:10:00 GMT");
    let meta = updated(&old, &new, NOW + 300_000, NOW + 300_000);
    assert_eq!(age(&meta, NOW + 300_000), 30);
    assert_eq!(meta.headers["date"], "Wed, 09 Feb 2033 04:10:00 GMT");
}

#[test]
fn a_304_brings_back_no_field_that_is_withheld() {
    let old = stored(200, "Cache-Control: no-cache=\"x-a\"\nX-B: 1");
    let meta = updated(&old, &head("X-A: 1\nX-B: 2"), NOW, NOW);
    assert!(!meta.headers.contains_key("x-a"));
    let meta = updated(&old, &head("Cache-Control: private=\"x-b\""), NOW, NOW);
    assert!(!meta.headers.contains_key("x-b"));
}

#[test]
fn the_answer_to_a_head_renews_or_invalidates() {
    let meta = stored(200, "ETag: \"a\"\nCache-Control: max-age=1");
    let told = |status: u16, text: &str| {
        head_update(&meta, StatusCode::from_u16(status).unwrap(), &head(text), NOW, NOW)
    };
    let HeadUpdate::Refreshed(new) = told(200, "ETag: \"a\"\nContent-Length: 5\nX-A: 1") else {
        panic!("it is the same");
    };
    assert_eq!(new.headers["x-a"], "1");
    assert!(matches!(told(200, "X-A: 1"), HeadUpdate::Refreshed(_)));
    for text in ["ETag: \"b\"", "Content-Length: 6", "Last-Modified: x"] {
        assert_eq!(told(200, text), HeadUpdate::Invalid, "{text}");
    }
    assert_eq!(told(404, ""), HeadUpdate::Nothing);
    assert_eq!(told(304, ""), HeadUpdate::Nothing);
}
