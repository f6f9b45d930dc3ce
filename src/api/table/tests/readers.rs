//! Which parameters moby's handlers read more than the first value of, against the table's `many`.
//!
//! `tests/data/readers.tsv` has each read of each handler with its place in moby's source
//! (`derive_readers.py`). The call's first value is what is judged and sent of all others.

use std::collections::{BTreeMap, BTreeSet};

use super::super::*;
use super::{find, lines};

pub(super) const READERS: &str = include_str!("../../../../tests/data/readers.tsv");

/// The newest API version of each release, in the order of the columns.
const RELEASES: [&str; 3] = ["20.10.27", "28.5.2", "29.7.2"];

#[test]
fn what_moby_reads_every_value_of_is_a_list_in_the_table_and_nothing_else_is() {
    let mut read: BTreeMap<(&str, &str), bool> = BTreeMap::new();
    let mut missing = BTreeSet::new();
    for line in lines(READERS) {
        let [method, path, name, ref cells @ ..] = line[..] else { panic!("bad line {line:?}") };
        assert_eq!(cells.len(), RELEASES.len(), "{line:?}");
        let row = find(method, path).unwrap_or_else(|| panic!("no row for {method} {path}"));
        let Some(param) = row.query.iter().find(|param| param.name == name) else {
            missing.insert((row.endpoint.id(), name));
            continue;
        };
        let mut is_list = false;
        for (cell, release) in cells.iter().zip(RELEASES).filter(|(cell, _)| **cell != "-") {
            let (how, place) = cell.split_once('=').unwrap();
            assert!(place.contains(".go:"), "{line:?}");
            is_list |= match how {
                "all" => true,
                "first" => false,
                _ => panic!("{release}: {line:?}"),
            };
        }
        assert!(!(is_list && param.ignored), "{} {name}", row.endpoint.id());
        assert_eq!(param.many, is_list, "{} {name}: {cells:?}", row.endpoint.id());
        read.insert((row.endpoint.id(), name), is_list);
    }
    // Of one image its name is in the path, and the handler looks no further.
    assert_eq!(missing, BTreeSet::from([("ImageGet", "names")]));
    let unread: BTreeSet<(&str, &str)> = TABLE
        .iter()
        .flat_map(|row| row.query.iter().map(|param| (row.endpoint.id(), param)))
        .filter(|(id, param)| !param.ignored && !read.contains_key(&(*id, param.name)))
        .map(|(id, param)| (id, param.name))
        .collect();
    let expected = BTreeSet::from([
        // sent by the CLI, read by no release of these three
        ("ContainerStart", "detachKeys"),
        // Go's `net/http/pprof`, whose handlers read by `FormValue`
        ("DebugPprofLookup", "debug"),
        ("DebugPprofLookup", "gc"),
        ("DebugPprofLookup", "seconds"),
        ("DebugPprofProfile", "debug"),
        ("DebugPprofProfile", "gc"),
        ("DebugPprofProfile", "seconds"),
        ("DebugPprofTrace", "debug"),
        ("DebugPprofTrace", "gc"),
        ("DebugPprofTrace", "seconds"),
    ]);
    assert_eq!(unread, expected);
}
