//! The properties of the fuzz targets, on stable: every file of `fuzz/corpus` and every recorded
//! request of `tests/corpus`, whole and cut at many places.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

#[path = "../../fuzz/properties.rs"]
mod properties;

type Property = fn(&[u8]);

const TARGETS: &[(&str, Property)] = &[
    ("doc", properties::doc),
    ("target_path", properties::target_path),
    ("dockerfile", properties::dockerfile),
    ("protobuf", properties::protobuf),
    ("llb", properties::llb),
    ("grpc_framing", properties::grpc_framing),
    ("query", properties::query),
    ("call", properties::call),
    ("chunked", properties::chunked),
    ("frames", properties::frames),
    ("head", properties::head),
    ("authorization", properties::authorization),
    ("client_hello", properties::client_hello),
    ("freshness", properties::freshness),
    ("asked", properties::asked),
    ("ranges", properties::ranges),
    ("stored_head", properties::stored_head),
];

#[test]
fn every_file_of_the_fuzz_corpus_has_the_property_of_its_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, property) in TARGETS {
        let entries = fs::read_dir(root.join(name)).unwrap_or_else(|_| panic!("no seeds: {name}"));
        let mut count = 0;
        for entry in entries {
            let path = entry.unwrap().path();
            check(*property, &fs::read(&path).unwrap(), &path);
            count += 1;
        }
        assert!(count >= 5, "only {count} seeds for {name}");
    }
    let folders = fs::read_dir(&root).unwrap().count();
    assert_eq!(folders, TARGETS.len(), "a folder without a target");
}

#[test]
fn every_recorded_request_has_the_properties_wherever_it_is_cut() {
    for path in crate::corpus::files() {
        let bytes = fs::read(&path).unwrap();
        let end = dockgate::wire::head::find_end(&bytes, 0).unwrap();
        check(properties::call, &bytes, &path);
        check(properties::head, &bytes, &path);
        check(properties::doc, &bytes[end..], &path);
        for cut in (0..end).step_by(13) {
            check(properties::call, &bytes[..cut], &path);
            check(properties::head, &bytes[cut..end], &path);
            check(properties::target_path, &bytes[cut..end], &path);
        }
    }
}

fn check(property: Property, bytes: &[u8], path: &Path) {
    let outcome = catch_unwind(|| property(bytes));
    assert!(
        outcome.is_ok(),
        "{} does not hold it: {:?}",
        path.display(),
        bytes.escape_ascii().to_string()
    );
}
