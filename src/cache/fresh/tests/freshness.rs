//! Lifetime and age (RFC 9111 §4.2).

use std::time::Duration;

use super::*;
use crate::cache::fresh::{age, fresh_until_ms};

/// For how many seconds it is fresh from when it came.
fn lifetime(meta: &Meta, rules: &FreshnessRules) -> u64 {
    fresh_until_ms(meta, rules).saturating_sub(NOW) / 1000
}

#[test]
fn the_lifetime_is_the_first_of_s_maxage_max_age_and_expires() {
    let date = "Date: Wed, 09 Feb 2033 04:05:06 GMT";
    let hour = "Expires: Wed, 09 Feb 2033 05:05:06 GMT";
    for (text, seconds) in [
        ("Cache-Control: max-age=60".to_owned(), 60),
        ("Cache-Control: max-age=60, s-maxage=90".to_owned(), 90),
        ("Cache-Control: s-maxage=9\nCache-Control: max-age=60".to_owned(), 9),
        (format!("Cache-Control: max-age=60\n{date}\n{hour}"), 60),
        (format!("Cache-Control: max-age=0\n{date}\n{hour}"), 0),
        (format!("Cache-Control: max-age=soon\n{date}\n{hour}"), 0),
        (format!("Cache-Control: public\n{date}\n{hour}"), 3600),
        (hour.to_owned(), 3600),
        (format!("Date: yesterday\n{hour}"), 3600),
        (format!("Date: Wed, 09 Feb 2033 04:45:06 GMT\n{hour}"), 1200),
        (format!("Date: Wed, 09 Feb 2033 06:05:06 GMT\n{hour}"), 0),
        (format!("{date}\nExpires: 0"), 0),
        (format!("{date}\n{hour}\nExpires: Wed, 09 Feb 2033 06:05:06 GMT"), 0),
        (format!("{date}\nLast-Modified: Wed, 09 Feb 2032 04:05:06 GMT"), 0),
        (String::new(), 0),
        (format!("CDN-Cache-Control: max-age=5\nCache-Control: max-age=60\n{date}\n{hour}"), 5),
        (format!("CDN-Cache-Control: public\nCache-Control: max-age=60\n{date}\n{hour}"), 0),
        (format!("CDN-Cache-Control: (\nCache-Control: max-age=60\n{date}\n{hour}"), 60),
    ] {
        assert_eq!(lifetime(&stored(200, &text), &FreshnessRules::default()), seconds, "{text}");
    }
}

#[test]
fn a_tenth_of_the_time_without_a_change_is_a_guess_where_rules_ask_for_one() {
    let hours = "Date: Wed, 09 Feb 2033 04:05:06 GMT\nLast-Modified: Tue, 08 Feb 2033 18:05:06 GMT";
    for (status, seconds) in
        [(200, 3600), (204, 3600), (404, 3600), (501, 3600), (201, 0), (302, 0), (503, 0), (599, 0)]
    {
        let meta = stored(status, hours);
        assert_eq!(lifetime(&meta, &heuristic()), seconds, "{status}");
        assert_eq!(lifetime(&meta, &FreshnessRules::default()), 0, "{status}");
    }
    let public = stored(599, &format!("{hours}\nCache-Control: public"));
    assert_eq!(lifetime(&public, &heuristic()), 3600);
    let old = stored(200, "Last-Modified: Sun, 09 Feb 2003 04:05:06 GMT");
    assert_eq!(lifetime(&old, &heuristic()), 24 * 60 * 60);
    let future = stored(200, "Last-Modified: Thu, 10 Feb 2033 04:05:06 GMT");
    assert_eq!(lifetime(&future, &heuristic()), 0);
    let explicit = stored(200, &format!("{hours}\nExpires: never"));
    assert_eq!(lifetime(&explicit, &heuristic()), 0);
    let no_cache = stored(200, &format!("{hours}\nCache-Control: no-cache"));
    assert_eq!(fresh_until_ms(&no_cache, &heuristic()), 0);
}

#[test]
fn the_age_is_the_largest_that_anybody_can_tell() {
    for (text, delay, seconds) in [
        ("", 0, 0),
        ("", 2_500, 2),
        ("Age: 30", 0, 30),
        ("Age: 30", 2_000, 32),
        ("Age: 30\nAge: 0", 0, 30),
        ("Age: 0, 30", 0, 0),
        ("Age: -30", 0, 0),
        ("Age: 30.0", 0, 0),
        ("Age: 30;x=1", 0, 0),
        ("Age: x", 0, 0),
        ("Date: Wed, 09 Feb 2033 04:04:06 GMT", 0, 60),
        ("Date: Wed, 09 Feb 2033 04:04:06 GMT\nAge: 30", 0, 60),
        ("Date: Wed, 09 Feb 2033 04:04:06 GMT\nAge: 90", 0, 90),
        ("Date: Wed, 09 Feb 2033 04:06:06 GMT", 0, 0),
    ] {
        let meta = Meta { request_time: NOW - delay, ..stored(200, text) };
        assert_eq!(age(&meta, NOW), seconds, "{text}");
        assert_eq!(age(&meta, NOW + 10_000), seconds + 10, "{text}, later");
        assert_eq!(age(&meta, NOW - 10_000), seconds, "{text}, the clock went back");
    }
    assert!(age(&stored(200, "Age: 2147483648"), NOW) >= 2_147_483_648);
    assert!(age(&stored(200, "Age: 99999999999999999999999"), u64::MAX) > 1 << 40);
}

#[test]
fn a_rule_s_ttl_counts_from_when_it_came() {
    let rules = FreshnessRules {
        ttl: Some(Duration::from_secs(60)),
        negative: Some(Duration::from_secs(5)),
        ..FreshnessRules::default()
    };
    for (status, text, seconds) in [
        (200, "Age: 900", 60),
        (200, "Cache-Control: max-age=900, no-cache", 60),
        (404, "", 5),
        (410, "Age: 900", 5),
        (404, "Cache-Control: max-age=900", 900),
        (302, "", 0),
        (503, "", 0),
    ] {
        assert_eq!(lifetime(&stored(status, text), &rules), seconds, "{status} {text}");
    }
}

#[test]
fn an_artifact_is_always_fresh_and_its_failures_are_not() {
    let artifact = |status, text| Meta { kind: Stored::Artifact, ..stored(status, text) };
    let rules = FreshnessRules::default();
    assert_eq!(fresh_until_ms(&artifact(200, "Cache-Control: no-cache"), &rules), u64::MAX);
    assert_eq!(fresh_until_ms(&artifact(404, ""), &rules), NOW);
}

#[test]
fn a_heuristic_is_bounded_and_may_do_without_a_date() {
    let rules = |most, undated| FreshnessRules {
        heuristic_most: Duration::from_secs(most),
        heuristic_undated: Duration::from_secs(undated),
        ..heuristic()
    };
    let dated = stored(200, "Last-Modified: Sun, 09 Feb 2003 04:05:06 GMT");
    assert_eq!(lifetime(&dated, &rules(300, 0)), 300);
    let undated = stored(200, "");
    assert_eq!(lifetime(&undated, &rules(3600, 0)), 0);
    assert_eq!(lifetime(&undated, &rules(7200, 3600)), 3600);
    let explicit = stored(200, "Cache-Control: max-age=1");
    assert_eq!(lifetime(&explicit, &rules(7200, 3600)), 1, "what the origin says holds");
}
