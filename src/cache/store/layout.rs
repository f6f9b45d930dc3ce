//! Where an object is in the store: from its key to a path, such that nothing collides.
//!
//! Used by `disk` and `remote`; pure. What must stay true: two keys never have the same path, but for
//! segments that had to be cut, which are told apart by a SHA-256; no key leads out of the store.
//!
//! `objects/<shared|own-HASH>/<scheme>/<host>/<segments…>/<last segment>,o` is the response to a URL.
//! If its responses vary, `…,v/` has them: `names` says which fields they vary by, each response is
//! named by a hash of what the request had in them. A comma begins everything that is not of the URL:
//! `,q` is the `?`, `,e` an empty segment, `,2C` a byte that cannot be in a name as it is (here a comma).

use aws_lc_rs::digest::{SHA256, digest};

use crate::cache::key::{Key, Partition, Scheme};

/// The folder of all objects.
pub(super) const OBJECTS: &str = "objects";
/// In the folder of a URL whose responses vary: the sets of fields they vary by, one a line.
pub(super) const NAMES: &str = "names";

/// A response that varies by nothing, and the folder of those that vary.
pub(super) const OBJECT: &str = ",o";
pub(super) const VARIANTS: &str = ",v";

/// Begins the name of what is in its host's folder by a hash of its long path.
pub(super) const HASHED: &str = ",l";

/// File systems have 255; some room is left for what is put behind.
const LONGEST_SEGMENT: usize = 200;
const KEPT_OF_LONG: usize = 120;
/// Of the path and query. The system has 4096 for all; names are also kept in memory.
const LONGEST_PATH: usize = 1000;

/// The place of a key without its suffix, from the store's folder.
pub(super) fn place(key: &Key) -> String {
    let mut place = host_place(key.partition, key.scheme, &key.host);
    let prefix = place.len();
    path_and_query(key, &mut place);
    if place.len() - prefix > LONGEST_PATH {
        place.truncate(prefix);
        let mut hashed = key.path.as_bytes().to_vec();
        // No path has this byte in it.
        hashed.push(b'\n');
        hashed.extend(key.query.iter().flat_map(|query| query.bytes().chain([b'\n'])));
        place.push('/');
        place.push_str(HASHED);
        place.push_str(&hex(digest(&SHA256, &hashed).as_ref()));
    }
    place
}

/// What a variant's file is called in its folder.
pub(super) fn variant_name(vary: &[(String, Option<String>)]) -> String {
    let mut hashed = Vec::new();
    for (name, value) in vary {
        hashed.extend_from_slice(name.as_bytes());
        if let Some(value) = value {
            hashed.push(b':');
            hashed.extend_from_slice(value.as_bytes());
        }
        hashed.push(b'\n');
    }
    hex(digest(&SHA256, &hashed).as_ref().get(..8).unwrap_or_default())
}

/// The folder of a host.
fn host_place(partition: Partition, scheme: Scheme, host: &str) -> String {
    let mut place = String::with_capacity(160);
    place.push_str(OBJECTS);
    place.push('/');
    place.push_str(&partition_name(partition));
    place.push('/');
    place.push_str(scheme.as_str());
    place.push('/');
    push_folder(host, &mut place);
    place
}

/// Of a host, or of a segment that is not the last.
pub(super) fn folder_name(segment: &str) -> String {
    let mut name = String::new();
    push_folder(segment, &mut name);
    name
}

/// Of the lock on a key.
pub(super) fn lock_name(key: &Key) -> String {
    hex(digest(&SHA256, place(key).as_bytes()).as_ref().get(..16).unwrap_or_default())
}

/// Whether a file in this folder is an object: other files are not ours, or the names of variants.
pub(super) fn is_object(folder: &str, name: &str) -> bool {
    let is_variant = || name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.ends_with(OBJECT) || (folder.ends_with(VARIANTS) && is_variant())
}

pub(super) fn partition_name(partition: Partition) -> String {
    partition.to_string()
}

pub(super) fn partition_of(name: &str) -> Option<Partition> {
    name.parse().ok()
}

fn path_and_query(key: &Key, place: &mut String) {
    let path = key.path.strip_prefix('/').unwrap_or(&key.path);
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        place.push('/');
        match segments.peek() {
            Some(_) => push_folder(segment, place),
            None => push_segment(segment.as_bytes(), key.query.as_deref(), place),
        }
    }
}

fn push_folder(segment: &str, place: &mut String) {
    match segment {
        "" => place.push_str(",e"),
        segment => push_segment(segment.as_bytes(), None, place),
    }
}

fn push_segment(segment: &[u8], query: Option<&str>, place: &mut String) {
    let from = place.len();
    // `.` and `..` mean something else to a file system.
    if segment == b"." || segment == b".." {
        place.push_str(",2E");
        place.extend(segment.get(1..).unwrap_or_default().iter().map(|_| '.'));
    } else {
        push_bytes(segment, place);
    }
    if let Some(query) = query {
        place.push_str(",q");
        push_bytes(query.as_bytes(), place);
    }
    if place.len() - from > LONGEST_SEGMENT {
        let whole = place.split_off(from);
        // All of it is ASCII.
        place.push_str(whole.get(..KEPT_OF_LONG).unwrap_or_default());
        place.push_str(",h");
        place.push_str(&hex(digest(&SHA256, whole.as_bytes()).as_ref()));
    }
}

fn push_bytes(bytes: &[u8], place: &mut String) {
    for &byte in bytes {
        if byte.is_ascii_graphic() && !matches!(byte, b',' | b'/') {
            place.push(char::from(byte));
        } else {
            place.push(',');
            let [high, low] = digits(byte).map(|digit| char::from(digit.to_ascii_uppercase()));
            place.push(high);
            place.push(low);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| digits(*byte).map(char::from)).collect()
}

pub(super) fn push_hex(bytes: &[u8], to: &mut Vec<u8>) {
    to.extend(bytes.iter().flat_map(|byte| digits(*byte)));
}

fn digits(byte: u8) -> [u8; 2] {
    [byte >> 4, byte & 15].map(|digit| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(path: &str, query: Option<&str>) -> Key {
        Key {
            partition: Partition::Shared,
            scheme: Scheme::Https,
            host: "example.org".into(),
            path: path.into(),
            query: query.map(Into::into),
        }
    }

    fn of(path: &str, query: Option<&str>) -> String {
        place(&key(path, query))
            .strip_prefix("objects/shared/https/example.org")
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a_place_can_be_read() {
        assert_eq!(
            of("/pool/main/a/abc_1.2-3~x+y_amd64.deb", None),
            "/pool/main/a/abc_1.2-3~x+y_amd64.deb"
        );
        assert_eq!(of("/@scope%2fname", None), "/@scope%2fname");
        assert_eq!(of("/", None), "/");
        assert_eq!(of("/a/", None), "/a/");
        assert_eq!(of("//a", None), "/,e/a");
        assert_eq!(of("/a", Some("")), "/a,q");
        assert_eq!(of("/a", Some("b=c/d&e,f")), "/a,qb=c,2Fd&e,2Cf");
        assert_eq!(of("/a,qb", None), "/a,2Cqb");
    }

    #[test]
    fn no_key_leads_out_of_the_store() {
        assert_eq!(of("/../../etc/./passwd", None), "/,2E./,2E./etc/,2E/passwd");
        assert_eq!(of("/..", None), "/,2E.");
        let odd = Key { host: "..".into(), ..key("/\0\n", None) };
        assert_eq!(place(&odd), "objects/shared/https/,2E./,00,0A");
        let slash = Key { host: "a/../b".into(), ..key("/x", None) };
        assert_eq!(place(&slash), "objects/shared/https/a,2F..,2Fb/x");
    }

    #[test]
    fn long_ones_are_cut_and_stay_apart() {
        let long = "x".repeat(5000);
        let one = of(&format!("/a/{long}1"), None);
        assert!(one.len() < 300 && one != of(&format!("/a/{long}2"), None));
        let deep = "/abc".repeat(2000);
        assert!(of(&deep, None).len() < 100);
        assert_ne!(of(&deep, None), of(&deep, Some("")));
        assert_ne!(of(&deep, Some("q")), of(&deep, Some("r")));
    }

    #[test]
    fn partitions_have_names_that_lead_back() {
        for partition in [Partition::Shared, Partition::Own(0), Partition::Own(u64::MAX)] {
            assert_eq!(partition_of(&partition_name(partition)), Some(partition));
        }
        for name in ["own-1", "own-", "own-00000000000000zz", "tmp"] {
            assert_eq!(partition_of(name), None, "{name}");
        }
    }

    #[test]
    fn variants_are_told_apart_by_names_and_values() {
        let vary = |pairs: &[(&str, Option<&str>)]| {
            let owned =
                pairs.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)));
            variant_name(&owned.collect::<Vec<_>>())
        };
        let all = [
            vary(&[]),
            vary(&[("accept", None)]),
            vary(&[("accept", Some(""))]),
            vary(&[("accept", Some("a"))]),
            vary(&[("accept-encoding", Some("a"))]),
            vary(&[("accept", Some("a")), ("b", None)]),
        ];
        for (at, one) in all.iter().enumerate() {
            assert_eq!(one.len(), 16);
            assert!(!all[..at].contains(one));
        }
    }

    fn keys() -> impl Strategy<Value = Key> {
        let segments = prop::collection::vec("[a-c.,/ %éohqv]{0,3}|[ab]{150,260}", 0..5);
        let partition = prop_oneof![Just(Partition::Shared), (0u64..3).prop_map(Partition::Own)];
        let scheme = prop_oneof![Just(Scheme::Http), Just(Scheme::Https)];
        let query = prop::option::of("[a,oqv/?]{0,3}|[ab]{195,205}");
        (partition, scheme, "[ab,./e]{0,3}", segments, query).prop_map(
            |(partition, scheme, host, segments, query)| Key {
                partition,
                scheme,
                host: host.into(),
                path: format!("/{}", segments.join("/")).into(),
                query: query.map(Into::into),
            },
        )
    }

    proptest! {
        #[test]
        fn two_keys_never_share_a_place(one in keys(), other in keys()) {
            prop_assert_eq!(one == other, place(&one) == place(&other));
        }

        #[test]
        fn the_files_of_one_key_are_never_the_folder_of_another(one in keys(), other in keys()) {
            let (one, other) = (place(&one), place(&other));
            for suffix in [OBJECT, VARIANTS] {
                let file = format!("{one}{suffix}/");
                prop_assert!(!format!("{other},o").starts_with(&file), "{} {}", file, other);
            }
        }

        #[test]
        fn every_place_is_one_that_a_file_system_takes(key in keys()) {
            let place = place(&key);
            prop_assert!(place.len() < 2000);
            let mut segments = place.split('/').peekable();
            while let Some(segment) = segments.next() {
                prop_assert!(segment.len() + 2 <= 255 && segment != "." && segment != "..");
                prop_assert!(!segment.is_empty() || segments.peek().is_none());
            }
        }
    }
}
