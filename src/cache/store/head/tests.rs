//! Tests of the store's `head`.

use proptest::prelude::*;

use super::*;
use crate::cache::key::Partition;

fn example() -> Meta {
    let mut headers = HeaderMap::new();
    headers.append("content-type", HeaderValue::from_static("text/plain"));
    headers.append("x-a", HeaderValue::from_static(""));
    headers.append("x-a", HeaderValue::from_bytes(b"\xff: two\t").unwrap());
    Meta {
        key: Key {
            partition: Partition::Own(7),
            scheme: Scheme::Https,
            host: "example.org:8443".into(),
            path: "/a/b c".into(),
            query: Some("".into()),
        },
        kind: Stored::Artifact,
        status: StatusCode::NOT_FOUND,
        headers,
        request_time: 1,
        response_time: 2,
        vary: vec![("accept".into(), Some("a: b".into())), ("accept-language".into(), None)],
        length: 12,
        sha256: [0xa5; 32],
    }
}

fn file(meta: &Meta) -> Vec<u8> {
    let text = text(meta).unwrap();
    let length = length_for(&text).unwrap();
    let mut file = first(length, &text).unwrap().unwrap();
    file.resize(length, 0);
    file
}

fn read_of(file: &[u8]) -> Option<Read> {
    read(file)
}

fn refreshed(file: &mut [u8], meta: &Meta) {
    let read = read_of(file).unwrap();
    let (at, bytes) = next(&read, &text(meta).unwrap()).unwrap().unwrap();
    let at = usize::try_from(at).unwrap();
    file[at..at + bytes.len()].copy_from_slice(&bytes);
}

#[test]
fn a_head_can_be_read_by_people() {
    let file = file(&example());
    let text = String::from_utf8_lossy(&file);
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    assert_eq!(lines[0], "dockgate object 1 head 00004096");
    assert!(lines[1].starts_with("slot 0000000001 text 00000"), "{}", lines[1]);
    assert_eq!(
        lines[2..6],
        ["partition own-0000000000000007", "scheme https", "host example.org:8443", "path /a/b c"]
    );
    assert!(lines.contains(&"header content-type: text/plain"), "{text}");
}

#[test]
fn the_newest_slot_holds_and_each_is_used_in_turn() {
    let mut meta = example();
    let mut file = file(&meta);
    for time in 10..15 {
        meta.response_time = time;
        refreshed(&mut file, &meta);
        assert_eq!(read_of(&file).unwrap().meta, meta);
    }
}

#[test]
fn a_half_written_slot_leaves_the_other() {
    let old = example();
    let new = Meta { response_time: 99, ..example() };
    let before = file(&old);
    let mut after = before.clone();
    refreshed(&mut after, &new);
    let slot = LINE + slot_size(before.len());
    let mut seen = [0, 0];
    for cut in 0..slot_size(before.len()) {
        let mut torn = before.clone();
        torn[slot..slot + cut].copy_from_slice(&after[slot..slot + cut]);
        let read = read_of(&torn).unwrap().meta;
        assert!(read == old || read == new);
        seen[usize::from(read == new)] += 1;
    }
    assert!(seen[0] > 100 && seen[1] > 100, "{seen:?}");
}

#[test]
fn a_longer_head_goes_where_it_fits() {
    let mut long = example();
    let mut file = file(&long);
    long.headers.insert("x-long", HeaderValue::from_bytes(&vec![b'x'; 3000]).unwrap());
    let read = read_of(&file).unwrap();
    assert!(next(&read, &text(&long).unwrap()).unwrap().is_none());
    file = self::file(&long);
    assert_eq!(file.len(), 12288);
    assert_eq!(read_of(&file).unwrap().meta, long);
    long.headers.insert("x-long", HeaderValue::from_bytes(&vec![b'x'; LONGEST]).unwrap());
    assert!(length_for(&text(&long).unwrap()).is_err());
}

#[test]
fn what_would_be_read_as_something_else_is_not_written() {
    let mut odd = example();
    odd.key.path = "/a\nhost b".into();
    assert!(text(&odd).is_err());
    odd = example();
    odd.vary = vec![("a: b".into(), Some("c".into()))];
    assert!(text(&odd).is_err());
    odd.vary = vec![("a".into(), Some("b\nheader c: d".into()))];
    assert!(text(&odd).is_err());
}

#[test]
fn any_flipped_bit_is_a_miss_or_changes_nothing() {
    let first = example();
    let second = Meta { response_time: 99, ..example() };
    let mut file = file(&first);
    refreshed(&mut file, &second);
    let mut misses = 0;
    for at in 0..file.len() {
        for bit in 0..8 {
            file[at] ^= 1 << bit;
            match read_of(&file) {
                None => misses += 1,
                Some(read) => assert!(read.meta == first || read.meta == second, "byte {at}"),
            }
            file[at] ^= 1 << bit;
        }
    }
    assert_eq!(misses, LINE * 8, "the first line counts for both slots");
}

fn metas() -> impl Strategy<Value = Meta> {
    let headers = prop::collection::vec(("[a-z][a-z-]{0,8}", "[ -~\t]{0,20}"), 0..12);
    let vary = prop::collection::vec(("[a-z-]{1,8}", prop::option::of("[ -~é:]{0,9}")), 0..3);
    let key =
        ("[a-z.:]{0,9}", "/[!-~]{0,20}", prop::option::of("[!-~]{0,9}"), any::<Option<u64>>());
    (key, headers, vary, 100..600u16, any::<(u64, u64, u64, [u8; 32], bool)>()).prop_map(
        |(
            (host, path, query, own),
            headers,
            vary,
            status,
            (asked, answered, length, sha256, kind),
        )| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                map.append(name, HeaderValue::from_str(&value).unwrap());
            }
            Meta {
                key: Key {
                    partition: own.map_or(Partition::Shared, Partition::Own),
                    scheme: if kind { Scheme::Http } else { Scheme::Https },
                    host: host.into(),
                    path: path.into(),
                    query: query.map(Into::into),
                },
                kind: if kind { Stored::Artifact } else { Stored::Metadata },
                status: StatusCode::from_u16(status).unwrap(),
                headers: map,
                request_time: asked,
                response_time: answered,
                vary,
                length,
                sha256,
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(meta in metas()) {
        prop_assert_eq!(read_of(&file(&meta)).unwrap().meta, meta);
    }

    #[test]
    fn what_is_written_over_anywhere_is_a_miss_or_as_it_was(
        meta in metas(),
        at in 0usize..4096,
        bytes in prop::collection::vec(any::<u8>(), 1..200),
    ) {
        let mut file = file(&meta);
        for (to, from) in file.iter_mut().skip(at).zip(bytes) {
            *to = from;
        }
        if let Some(read) = read_of(&file) {
            prop_assert_eq!(read.meta, meta);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut file = line(4096);
        file.extend(b"slot 0000000001 text 00000003 sha256 ");
        file.extend(bytes);
        file.resize(4096, 0);
        prop_assert!(read_of(&file).is_none());
    }
}
