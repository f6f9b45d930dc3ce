//! What one request may have (RFC 9111 §4, §5.2.1; RFC 5861; RFC 8246).

use std::time::Duration;

use super::*;
use crate::cache::fresh::{Reuse, StaleReason, only_if_cached, reuse};

/// In words: what a request may have so many seconds after it came.
fn told(meta: &Meta, request: &str, after: u64, rules: &FreshnessRules) -> String {
    match reuse(meta, &head(request), NOW + after * 1000, rules) {
        Reuse::Fresh { age, ttl } => format!("fresh {age} {ttl}"),
        Reuse::WhileRevalidating { age, ttl } => format!("while {age} {ttl}"),
        Reuse::Stale { ttl, if_error, if_unreachable, must_revalidate, why, .. } => {
            let marks = [
                (if_error, " error"),
                (if_unreachable, " unreachable"),
                (must_revalidate, " must"),
            ];
            let marks: String = marks.iter().filter(|it| it.0).map(|it| it.1).collect();
            format!("{} {ttl}{marks}", why.as_str())
        }
    }
}

#[test]
fn it_is_fresh_until_its_lifetime_is_over() {
    let meta = stored(200, "Cache-Control: max-age=60");
    let rules = FreshnessRules::default();
    assert_eq!(told(&meta, "", 0, &rules), "fresh 0 60");
    assert_eq!(told(&meta, "", 59, &rules), "fresh 59 1");
    assert_eq!(told(&meta, "", 60, &rules), "expired 0 unreachable");
    assert_eq!(told(&meta, "", 61, &rules), "expired -1 unreachable");
    let late = 60 + 24 * 60 * 60;
    assert_eq!(told(&meta, "", late, &rules), format!("expired -{} unreachable", late - 60));
    assert_eq!(told(&meta, "", late + 1, &rules), format!("expired -{}", late - 59));
}

#[test]
fn the_client_can_ask_for_more_and_for_less() {
    let meta = stored(200, "Cache-Control: max-age=60");
    for (request, after, expected) in [
        ("Cache-Control: no-cache", 1, "request-no-cache 59"),
        ("Cache-Control: max-age=0", 0, "request-max-age 60 unreachable"),
        ("Cache-Control: max-age=5", 5, "fresh 5 55"),
        ("Cache-Control: max-age=5", 6, "request-max-age 54 unreachable"),
        ("Cache-Control: min-fresh=30", 30, "fresh 30 30"),
        ("Cache-Control: min-fresh=30", 31, "request-min-fresh 29 unreachable"),
        ("Cache-Control: max-stale", 900, "fresh 900 -840"),
        ("Cache-Control: max-stale=10", 70, "fresh 70 -10"),
        ("Cache-Control: max-stale=10", 71, "expired -11 unreachable"),
        ("Cache-Control: max-stale=10, max-age=90", 70, "fresh 70 -10"),
        ("Cache-Control: max-stale=10, max-age=5", 61, "request-max-age -1 unreachable"),
        ("Cache-Control: max-stale=10, min-fresh=5", 61, "request-min-fresh -1 unreachable"),
        ("Cache-Control: something-else", 1, "fresh 1 59"),
        ("Pragma: no-cache", 1, "request-no-cache 59"),
        ("Pragma: x, No-Cache", 1, "request-no-cache 59"),
        ("Pragma: x", 1, "fresh 1 59"),
        ("Pragma: no-cache\nCache-Control: x", 1, "fresh 1 59"),
    ] {
        assert_eq!(
            told(&meta, request, after, &FreshnessRules::default()),
            expected,
            "{request} {after}"
        );
    }
}

#[test]
fn what_the_origin_forbids_to_use_stale_is_not_whoever_asks() {
    let lax = FreshnessRules {
        stale_if_error: Duration::from_secs(900),
        stale_while_revalidate: Duration::from_secs(900),
        ..FreshnessRules::default()
    };
    for directive in ["must-revalidate", "proxy-revalidate", "s-maxage=60"] {
        let meta =
            stored(200, &format!("Cache-Control: max-age=60, stale-if-error=900, {directive}"));
        assert_eq!(told(&meta, "", 59, &lax), "fresh 59 1", "{directive}");
        for request in ["", "Cache-Control: max-stale, stale-if-error=900"] {
            assert_eq!(told(&meta, request, 61, &lax), "expired -1 must", "{directive} {request}");
        }
    }
    let meta = stored(200, "Cache-Control: max-age=60, no-cache");
    assert_eq!(told(&meta, "Cache-Control: max-stale", 1, &lax), "no-cache 59 must");
}

#[test]
fn rfc_5861_opens_windows_that_the_origin_s_word_closes() {
    let rules = FreshnessRules {
        stale_if_error: Duration::from_secs(100),
        stale_while_revalidate: Duration::from_secs(10),
        ..FreshnessRules::default()
    };
    let silent = stored(200, "Cache-Control: max-age=60");
    assert_eq!(told(&silent, "", 70, &rules), "while 70 -10");
    assert_eq!(told(&silent, "", 71, &rules), "expired -11 error unreachable");
    assert_eq!(told(&silent, "", 161, &rules), "expired -101 unreachable");
    assert_eq!(told(&silent, "Cache-Control: stale-if-error=5", 71, &rules), "expired -11");
    let origin = "Cache-Control: max-age=60, stale-while-revalidate=5, stale-if-error=20";
    let spoken = stored(200, origin);
    assert_eq!(told(&spoken, "", 65, &rules), "while 65 -5");
    assert_eq!(told(&spoken, "", 66, &rules), "expired -6 error unreachable");
    assert_eq!(told(&spoken, "", 81, &rules), "expired -21");
    assert_eq!(
        told(&spoken, "Cache-Control: max-age=5", 64, &rules),
        "request-max-age -4 error unreachable"
    );
    assert_eq!(
        told(&spoken, "Cache-Control: min-fresh=5", 64, &rules),
        "request-min-fresh -4 error unreachable"
    );
    assert_eq!(told(&spoken, "Cache-Control: no-cache", 64, &rules), "request-no-cache -4");
    let closed =
        stored(200, "Cache-Control: max-age=60, stale-while-revalidate=0, stale-if-error=0");
    assert_eq!(told(&closed, "", 61, &rules), "expired -1");
}

#[test]
fn an_old_failure_is_served_to_nobody() {
    let meta = stored(503, "Cache-Control: max-age=60, stale-if-error=900");
    assert_eq!(told(&meta, "", 59, &FreshnessRules::default()), "fresh 59 1");
    assert_eq!(told(&meta, "", 61, &FreshnessRules::default()), "expired -1");
}

#[test]
fn a_reload_does_not_ask_about_what_does_not_change() {
    let meta = stored(200, "Cache-Control: max-age=60, immutable");
    let rules = FreshnessRules::default();
    assert_eq!(told(&meta, "Cache-Control: max-age=0", 1, &rules), "fresh 1 59");
    assert_eq!(told(&meta, "Cache-Control: no-cache", 1, &rules), "request-no-cache 59");
    assert_eq!(
        told(&meta, "Cache-Control: max-age=0", 61, &rules),
        "request-max-age -1 unreachable"
    );
    let artifact = Meta { kind: Stored::Artifact, ..stored(200, "Cache-Control: no-cache") };
    let Reuse::Fresh { ttl, .. } = reuse(&artifact, &head("Cache-Control: max-age=0"), NOW, &rules)
    else {
        panic!("an artifact is fresh");
    };
    assert!(ttl > 1 << 39);
    let Reuse::Stale { why, if_unreachable, .. } =
        reuse(&artifact, &head("Cache-Control: no-cache"), NOW, &rules)
    else {
        panic!("the client asks for the origin's word");
    };
    assert_eq!((why, if_unreachable), (StaleReason::RequestNoCache, false));
}

#[test]
fn a_rule_s_ttl_is_stronger_than_no_cache_but_not_than_must_revalidate() {
    let rules = FreshnessRules {
        ttl: Some(Duration::from_secs(60)),
        stale_while_revalidate: Duration::from_secs(60),
        ..FreshnessRules::default()
    };
    let meta = stored(200, "Age: 900\nCache-Control: max-age=0");
    assert_eq!(told(&meta, "", 59, &rules), "fresh 959 1");
    assert_eq!(told(&meta, "", 61, &rules), "while 961 -1");
    let meta = stored(200, "Cache-Control: no-cache, must-revalidate");
    assert_eq!(told(&meta, "", 59, &rules), "fresh 59 1");
    assert_eq!(told(&meta, "", 61, &rules), "expired -1 must");
}

#[test]
fn only_if_cached_is_read() {
    assert!(only_if_cached(&head("Cache-Control: x, Only-If-Cached")));
    assert!(!only_if_cached(&head("Cache-Control: x=\"only-if-cached\"")));
}

#[test]
fn what_came_in_the_future_is_stale() {
    let day = 24 * 60 * 60 * 1000;
    let rules = FreshnessRules {
        ttl: Some(std::time::Duration::from_secs(3600)),
        ..FreshnessRules::default()
    };
    for (text, rules) in [("Cache-Control: max-age=3600", FreshnessRules::default()), ("", rules)] {
        let meta = stored(200, text);
        let judged = |now| reuse(&meta, &HeaderMap::new(), now, &rules);
        assert!(matches!(judged(NOW - day), Reuse::Stale { if_unreachable: true, .. }), "{text}");
        assert!(
            matches!(judged(NOW - 1000), Reuse::Fresh { .. }),
            "clocks differ a little: {text}"
        );
    }
    let artifact = Meta { kind: Stored::Artifact, ..stored(200, "") };
    let judged = reuse(&artifact, &HeaderMap::new(), NOW - day, &FreshnessRules::default());
    assert!(matches!(judged, Reuse::Fresh { .. }), "it never changes");
}
