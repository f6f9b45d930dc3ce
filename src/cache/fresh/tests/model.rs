//! Properties that hold for any response, request and time.

use std::time::Duration;

use http::Method;
use proptest::prelude::*;

use super::*;
use crate::cache::fresh::{
    Reuse, age, fresh_until_ms, may_store, reuse, same, strip_stored, updated, variant, vary_names,
};

fn directive() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "max-age=0", "max-age=5", "max-age=60", "max-age=x", "s-maxage=9", "no-cache", "no-store",
            "private", "public", "must-revalidate", "proxy-revalidate", "must-understand", "immutable",
            "stale-while-revalidate=30", "stale-if-error=30", "max-stale", "max-stale=5", "min-fresh=5",
            "no-cache=\"x-a\"", "private=\"vary\"", "x=\"y", "max-age=\"60\"", "", "only-if-cached",
        ]).prop_map(str::to_owned),
        1 => "[ -~]{0,12}",
    ]
}

fn control() -> impl Strategy<Value = String> {
    prop::collection::vec(directive(), 0..5)
        .prop_map(|list| format!("Cache-Control: {}\n", list.join(",")))
}

fn date() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (NOW / 1000 - 4000..NOW / 1000 + 4000).prop_map(|seconds| {
            httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(seconds))
        }),
        1 => "[ -~]{0,30}",
    ]
}

fn response() -> impl Strategy<Value = Meta> {
    let fields = prop::collection::vec(
        prop_oneof![
            3 => control(),
            1 => control().prop_map(|line| line.replace("Cache", "CDN-Cache")),
            1 => (0_u64..100).prop_map(|age| format!("Age: {age}\n")),
            1 => date().prop_map(|date| format!("Date: {date}\n")),
            1 => date().prop_map(|date| format!("Expires: {date}\n")),
            1 => date().prop_map(|date| format!("Last-Modified: {date}\n")),
            1 => "[a-z*, -]{0,9}".prop_map(|names| format!("Vary: {names}\n")),
            1 => Just("ETag: \"a\"\n".to_owned()),
        ],
        0..6,
    );
    let status = prop::sample::select(vec![200_u16, 203, 204, 302, 404, 410, 500, 503, 599]);
    (fields, status, 0_u64..5000).prop_map(|(fields, status, delay)| {
        let meta = stored(status, &fields.concat());
        Meta { request_time: NOW - delay, ..meta }
    })
}

fn rules() -> impl Strategy<Value = FreshnessRules> {
    (any::<bool>(), prop::option::of(0_u64..90), prop::option::of(0_u64..90), 0_u64..90, 0_u64..90)
        .prop_map(|(heuristic, ttl, negative, error, revalidate)| FreshnessRules {
            heuristic,
            ttl: ttl.map(Duration::from_secs),
            negative: negative.map(Duration::from_secs),
            stale_if_error: Duration::from_secs(error),
            stale_while_revalidate: Duration::from_secs(revalidate),
            ..FreshnessRules::default()
        })
}

proptest! {
    #[test]
    fn the_fast_path_and_the_full_judgement_agree(
        meta in response(), rules in rules(), after in 0_u64..200_000,
    ) {
        let now = NOW + after;
        let fresh = matches!(reuse(&meta, &HeaderMap::new(), now, &rules), Reuse::Fresh { .. });
        prop_assert_eq!(fresh, now < fresh_until_ms(&meta, &rules));
    }

    #[test]
    fn time_makes_nothing_fresh(meta in response(), rules in rules(), request in control(),
        earlier in 0_u64..100_000, later in 0_u64..100_000,
    ) {
        let rank = |after| match reuse(&meta, &head(&request), NOW + after, &rules) {
            Reuse::Fresh { .. } => 0,
            Reuse::WhileRevalidating { .. } => 1,
            Reuse::Stale { if_error: true, .. } => 2,
            Reuse::Stale { if_unreachable: true, .. } => 3,
            Reuse::Stale { .. } => 4,
        };
        prop_assert!(rank(earlier) <= rank(earlier + later));
        prop_assert!(age(&meta, NOW + earlier) <= age(&meta, NOW + earlier + later));
    }

    #[test]
    fn what_the_origin_forbids_to_use_stale_is_not(
        meta in response(), mut rules in rules(), request in control(), after in 0_u64..200_000,
    ) {
        let mut meta = meta;
        meta.headers.append("cache-control", HeaderValue::from_static("must-revalidate"));
        meta.headers.remove("cdn-cache-control");
        rules.ttl = None;
        match reuse(&meta, &head(&request), NOW + after, &rules) {
            Reuse::Fresh { ttl, .. } => prop_assert!(ttl >= 0),
            Reuse::WhileRevalidating { .. } => prop_assert!(false),
            Reuse::Stale { if_error, if_unreachable, must_revalidate, .. } => {
                prop_assert!(!if_error && !if_unreachable && must_revalidate);
            }
        }
    }

    #[test]
    fn a_client_s_no_cache_always_reaches_the_origin(
        meta in response(), rules in rules(), request in control(), after in 0_u64..200_000,
    ) {
        let mut request = head(&request);
        request.append("cache-control", HeaderValue::from_static("no-cache"));
        let answer = reuse(&meta, &request, NOW + after, &rules);
        let asked = matches!(answer, Reuse::Stale { if_error: false, if_unreachable: false, .. });
        prop_assert!(asked, "{:?}", answer);
    }

    #[test]
    fn no_store_and_private_are_obeyed_whatever_else_is_said(
        meta in response(), rules in rules(), word in prop::sample::select(vec!["no-store", "private"]),
    ) {
        let mut response = meta.headers;
        response.remove("cdn-cache-control");
        response.insert("cache-control", HeaderValue::from_static(word));
        let answer = may_store(&Method::GET, &HeaderMap::new(), meta.status, &response, &rules);
        prop_assert!(answer.is_err());
    }

    #[test]
    fn an_update_is_of_the_same_response_and_can_be_repeated(
        meta in response(), new in response(), after in 0_u64..200_000,
    ) {
        let mut meta = meta;
        strip_stored(&mut meta.headers);
        let once = updated(&meta, &new.headers, NOW + after, NOW + after);
        let twice = updated(&once, &new.headers, NOW + after, NOW + after);
        prop_assert_eq!(&once, &twice);
        prop_assert_eq!(once.headers.get("etag"), meta.headers.get("etag"));
        prop_assert!(vary_names(&once.headers) == vary_names(&meta.headers));
        prop_assert!(same(&once, &once.headers));
    }

    #[test]
    fn how_a_list_is_written_does_not_change_its_variant(
        members in prop::collection::vec("[a-z]{1,4}(;q=0\\.[1-9])?", 1..5), split in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let names = vary_names(&head("Vary: accept-language, x-list"));
        let line = members.join(",");
        let plain = head(&format!("Accept-Language: {line}\nX-List: {line}"));
        let spaced = members.join(if split { " ,\t" } else { ",  " });
        let mut shuffled = members.clone();
        let by = usize::try_from(seed % 5).unwrap() % members.len();
        shuffled.rotate_left(by);
        let languages = shuffled.join(", ").to_uppercase();
        let written = head(&format!("Accept-Language: {languages}\nX-List:  {spaced} "));
        prop_assert_eq!(variant(&names, &plain, &|_, _| None), variant(&names, &written, &|_, _| None));
    }
}
