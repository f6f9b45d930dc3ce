//! Ranges: what is read of them, and that clients get what they ask for.

use proptest::prelude::*;

use super::*;

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers
            .append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
    }
    headers
}

fn asked(range: &str, length: u64) -> Wanted {
    wanted(&Method::GET, &headers(&[("range", range)]), &HeaderMap::new(), length)
}

fn span(start: u64, end: u64) -> Span {
    Span { start, end }
}

#[test]
fn ranges_are_read_as_rfc_9110_has_them() {
    for (range, wanted) in [
        ("bytes=0-0", Wanted::Parts(vec![span(0, 1)])),
        ("bytes=2-4", Wanted::Parts(vec![span(2, 5)])),
        ("BYTES = 2-4", Wanted::Parts(vec![span(2, 5)])),
        ("bytes=7-", Wanted::Parts(vec![span(7, 10)])),
        ("bytes=7-99999999999999999999999", Wanted::Parts(vec![span(7, 10)])),
        ("bytes=-3", Wanted::Parts(vec![span(7, 10)])),
        ("bytes=-30", Wanted::Parts(vec![span(0, 10)])),
        ("bytes= , 1-1 ,\t-1,", Wanted::Parts(vec![span(1, 2), span(9, 10)])),
        ("bytes=8-8,1-1", Wanted::Parts(vec![span(8, 9), span(1, 2)])),
        ("bytes=10-,1-1", Wanted::Parts(vec![span(1, 2)])),
        ("bytes=0-4,5-9", Wanted::Parts(vec![span(0, 5), span(5, 10)])),
        ("bytes=5-9,0-5,0-5", Wanted::Parts(vec![span(0, 10)])),
        ("bytes=10-", Wanted::Nothing),
        ("bytes=99999999999999999999999-", Wanted::Nothing),
        ("bytes=-0", Wanted::Nothing),
        ("bytes=", Wanted::Whole),
        ("bytes=,", Wanted::Whole),
        ("bytes=4-2", Wanted::Whole),
        ("bytes=4-2,1-1", Wanted::Whole),
        ("bytes=1", Wanted::Whole),
        ("bytes=-", Wanted::Whole),
        ("bytes=--1", Wanted::Whole),
        ("bytes=+1-2", Wanted::Whole),
        ("bytes=1 -2", Wanted::Whole),
        ("bytes=0x1-2", Wanted::Whole),
        ("bytes 1-2", Wanted::Whole),
        ("lines=1-2", Wanted::Whole),
    ] {
        assert_eq!(asked(range, 10), wanted, "{range}");
    }
    assert_eq!(asked("bytes=-1", 0), Wanted::Whole);
    assert_eq!(asked("bytes=0-", 0), Wanted::Nothing);
}

#[test]
fn only_a_single_field_of_a_get_counts() {
    let twice = headers(&[("range", "bytes=0-0"), ("range", "bytes=1-1")]);
    assert_eq!(wanted(&Method::GET, &twice, &HeaderMap::new(), 10), Wanted::Whole);
    let once = headers(&[("range", "bytes=0-0")]);
    assert_eq!(wanted(&Method::HEAD, &once, &HeaderMap::new(), 10), Wanted::Whole);
    assert_eq!(wanted(&Method::POST, &once, &HeaderMap::new(), 10), Wanted::Whole);
}

#[test]
fn more_ranges_than_any_honest_client_asks_for_are_the_whole() {
    let many = |count: usize| {
        let list: Vec<String> = (0..count).map(|at| format!("{0}-{0}", at * 2)).collect();
        asked(&format!("bytes={}", list.join(",")), 1 << 20)
    };
    assert!(matches!(many(MOST_RANGES), Wanted::Parts(parts) if parts.len() == MOST_RANGES));
    assert_eq!(many(MOST_RANGES + 1), Wanted::Whole);
}

#[test]
fn if_range_compares_strongly() {
    let last_week = "Sat, 14 Nov 2026 10:00:00 GMT";
    let response = [("etag", "\"a\""), ("last-modified", last_week)];
    let sent = |date| [&response[..], &[("date", date)]].concat();
    let next_second = sent("Sat, 14 Nov 2026 10:00:01 GMT");
    for (condition, response, holds) in [
        ("\"a\"", &next_second, true),
        ("\"b\"", &next_second, false),
        ("W/\"a\"", &next_second, false),
        (last_week, &next_second, true),
        ("Saturday, 14-Nov-26 10:00:00 GMT", &next_second, true),
        ("Sat, 14 Nov 2026 09:59:59 GMT", &next_second, false),
        ("Sat, 14 Nov 2026 10:00:01 GMT", &next_second, false),
        ("nonsense", &next_second, false),
        (last_week, &sent(last_week), false),
        (last_week, &response.to_vec(), false),
        ("W/\"a\"", &vec![("etag", "W/\"a\"")], false),
    ] {
        let request = headers(&[("range", "bytes=0-0"), ("if-range", condition)]);
        let response = headers(response);
        assert_eq!(if_range_holds(&request, &response), holds, "{condition} {response:?}");
        let wanted = wanted(&Method::GET, &request, &response, 10);
        assert_eq!(wanted != Wanted::Whole, holds, "{condition}");
    }
    let twice = headers(&[("if-range", "\"a\""), ("if-range", "\"a\"")]);
    assert!(!if_range_holds(&twice, &headers(&[("etag", "\"a\"")])));
}

#[test]
fn the_head_says_what_follows() {
    let stored = [("content-type", "a/b"), ("content-digest", "x"), ("etag", "\"e\"")];
    let laid = |range| {
        let mut head = headers(&stored);
        let layout = layout(&asked(range, 10), 10, &mut head, "B");
        (layout, head)
    };
    let (whole, head) = laid("bytes=x");
    assert_eq!((whole.status.as_u16(), whole.length), (200, 10));
    assert_eq!(head.get("content-digest").unwrap(), "x");
    let (one, head) = laid("bytes=2-4");
    assert_eq!((one.status.as_u16(), one.length, one.pieces.len()), (206, 3, 1));
    assert_eq!(head.get("content-range").unwrap(), "bytes 2-4/10");
    assert_eq!(head.get("content-length").unwrap(), "3");
    assert_eq!(head.get("content-type").unwrap(), "a/b");
    assert!(!head.contains_key("content-digest") && head.contains_key("etag"));
    let (two, head) = laid("bytes=0-0,9-9");
    assert_eq!(two.status.as_u16(), 206);
    assert_eq!(head.get("content-type").unwrap(), "multipart/byteranges; boundary=B");
    assert!(!head.contains_key("content-range"));
    let (none, head) = laid("bytes=10-");
    assert_eq!((none.status.as_u16(), none.length), (416, 0));
    assert_eq!(head.get("content-range").unwrap(), "bytes */10");
    let mut head = HeaderMap::new();
    let empty = layout(&Wanted::Whole, 0, &mut head, "B");
    assert!(empty.pieces.is_empty());
    assert_eq!(head.get("content-length").unwrap(), "0");
}

#[test]
fn what_an_origin_says_of_its_part_is_read_or_refused() {
    let read = |value| content_range_of(&headers(&[("content-range", value)]));
    let part = |start, end, complete| Some(ContentRange { span: span(start, end), complete });
    assert_eq!(read("bytes 5-9/10"), part(5, 10, Some(10)));
    assert_eq!(read("bytes 5-9/*"), part(5, 10, None));
    for bad in [
        "bytes */10",
        "bytes 5-9",
        "bytes 9-5/10",
        "bytes 5-10/10",
        "bytes -9/10",
        "bytes 5-/10",
        "bytes 5-9/",
        "lines 5-9/10",
        "bytes 5-99999999999999999999999/*",
        "bytes 0-18446744073709551615/*",
        "5-9/10",
    ] {
        assert_eq!(read(bad), None, "{bad}");
    }
    assert_eq!(content_range_of(&HeaderMap::new()), None);
}

/// A body in which every byte tells its place.
fn body(length: u64) -> Vec<u8> {
    (0..length).map(|at| b'a' + u8::try_from(at % 26).unwrap()).collect()
}

fn sent(layout: &Layout, body: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for piece in &layout.pieces {
        match piece {
            RangePart::Text(text) => all.extend(text),
            RangePart::Body(span) => {
                all.extend(
                    &body[usize::try_from(span.start).unwrap()..usize::try_from(span.end).unwrap()],
                );
            }
        }
    }
    all
}

/// A client's own reading: which place of the body holds which byte.
fn received(layout: &Layout, head: &HeaderMap, bytes: &[u8]) -> Vec<(u64, u8)> {
    let whole = String::from_utf8(bytes.to_vec()).unwrap();
    let put = |content_range: &str, part: &str| {
        let (range, _) = content_range.strip_prefix("bytes ").unwrap().split_once('/').unwrap();
        let (first, last) = range.split_once('-').unwrap();
        let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
        assert_eq!(part.len() as u64, last - first + 1);
        (first..=last).zip(part.bytes()).collect::<Vec<_>>()
    };
    if layout.status == StatusCode::OK {
        return (0..).zip(bytes.iter().copied()).collect();
    }
    if let Some(range) = head.get("content-range") {
        return put(range.to_str().unwrap(), &whole);
    }
    let kind = head.get("content-type").unwrap().to_str().unwrap();
    let boundary = kind.split_once("boundary=").unwrap().1;
    let inner = whole.strip_suffix(&format!("\r\n--{boundary}--\r\n")).unwrap();
    let inner = format!("\r\n{inner}");
    let delimiter = format!("\r\n--{boundary}\r\n");
    inner
        .split(&delimiter)
        .skip(1)
        .flat_map(|part| {
            let (head, part) = part.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("Content-Type: text/plain\r\n"), "{head}");
            put(head.split_once("Content-Range: ").unwrap().1, part)
        })
        .collect()
}

proptest! {
    /// Against the plainest reading: every range alone marks its bytes.
    #[test]
    fn a_client_gets_the_bytes_it_asked_for_and_each_once(
        length in 0u64..40,
        ranges in proptest::collection::vec((0u8..3, 0u64..50, 0u64..50), 1..8),
    ) {
        let mut bytes = vec![false; usize::try_from(length).unwrap()];
        let mut mark = |from: u64, to: u64| {
            (from..to.min(length)).for_each(|at| bytes[usize::try_from(at).unwrap()] = true);
        };
        let mut members = Vec::new();
        let mut is_suffix_of_nothing = false;
        for (kind, a, b) in ranges {
            let (low, high) = (a.min(b), a.max(b));
            members.push(match kind {
                0 => { mark(low, high + 1); format!("{low}-{high}") }
                1 => { mark(a, length); format!("{a}-") }
                _ => {
                    mark(length.saturating_sub(a), length);
                    is_suffix_of_nothing |= a > 0 && length == 0;
                    format!("-{a}")
                }
            });
        }
        let wanted = asked(&format!("bytes={}", members.join(", ")), length);
        let mut head = headers(&[("content-type", "text/plain")]);
        let layout = layout(&wanted, length, &mut head, "0123abcXYZ");
        let body = body(length);
        let answer = sent(&layout, &body);
        prop_assert_eq!(answer.len() as u64, layout.length);
        prop_assert_eq!(head.get("content-length").unwrap().to_str().unwrap(), answer.len().to_string());
        if layout.status == StatusCode::RANGE_NOT_SATISFIABLE {
            prop_assert!(!bytes.contains(&true) && !is_suffix_of_nothing);
        } else {
            let mut got = received(&layout, &head, &answer);
            got.sort_unstable();
            let marked: Vec<(u64, u8)> = (0..).zip(body).zip(&bytes).filter(|(_, is)| **is).map(|(one, _)| one).collect();
            prop_assert_eq!(got, marked);
        }
    }

    #[test]
    fn no_field_panics(range in "(bytes=)?[0-9,\\-= *x/\t]{0,60}", content_range in "(bytes )?[0-9,\\-= */x]{0,60}", length in any::<u64>()) {
        if let Wanted::Parts(parts) = asked(&range, length) {
            let total: u64 = parts.iter().map(|part| part.length()).sum();
            prop_assert!(total <= length && parts.iter().all(|part| part.start < part.end && part.end <= length));
        }
        let _ = content_range_of(&headers(&[("content-range", &content_range)]));
    }
}
