//! Each second reading of a message is refused, and what is read is what leaves.

use proptest::prelude::*;

use super::*;
use crate::api::doc::MOST_VALUES;
use crate::api::shape::{LABELS, STRINGS, n};

const INNER: &Object = &[n(1, "id", Kind::Str), n(2, "size", Kind::Int)];

const SHAPE: &Object = &[
    n(1, "text", Kind::Str),
    n(2, "flag", Kind::Bool),
    n(3, "small", Kind::Int32),
    n(4, "mode", Kind::Enum(&["UNSET", "HOST", "NONE"])),
    n(5, "labels", LABELS),
    n(6, "inner", Kind::Object(INNER)),
    n(7, "many", Kind::List(&Kind::Object(INNER))),
    n(8, "numbers", Kind::List(&Kind::Int)),
    n(9, "ops", Kind::List(&Kind::Encoded(INNER))),
    n(10, "left", Kind::Str).one_of(),
    n(11, "right", Kind::Bool).one_of(),
    n(12, "raw", Kind::Bytes),
    n(13, "texts", STRINGS),
    n(200, "large", Kind::Int),
];

fn read(bytes: &[u8]) -> Result<Doc, String> {
    parse(MOST_VALUES, bytes, SHAPE).map_err(|error| error.to_string())
}

fn refused(bytes: &[u8]) -> String {
    read(bytes).expect_err("must be refused").replace("invalid protobuf message: ", "")
}

#[test]
fn a_message_is_read_as_json_would_be_and_leaves_as_it_came() {
    let message = b"\x0a\x02hi\x10\x01\x18\x2a\x20\x01\x2a\x06\x0a\x01k\x12\x01v\
        \x32\x05\x0a\x01a\x10\x07\x3a\x03\x0a\x01b\x3a\x00\x42\x03\x01\x96\x01\
        \x4a\x03\x0a\x01o\x52\x01l\x62\x02\x00\xff\x6a\x00\xc0\x0c\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    let doc = read(message).unwrap();
    assert_eq!(doc.unknown, []);
    let json = serde_json::to_value(&doc.root).unwrap();
    let wanted = serde_json::json!({
        "text": "hi", "flag": true, "small": 42, "mode": "HOST", "labels": {"k": "v"},
        "inner": {"id": "a", "size": 7}, "many": [{"id": "b"}, {}], "numbers": [1, 150],
        "ops": [{"id": "o"}], "left": "l", "raw": "AP8=", "texts": [""], "large": -1
    });
    assert_eq!(json, wanted);
    assert_eq!(render(&doc.root, SHAPE), message);
    // The same, from the JSON that a rehearsal or a policy has.
    let again =
        crate::api::doc::parse(wanted.to_string().as_bytes(), &Kind::Object(SHAPE)).unwrap();
    assert_eq!(again.root, doc.root);
}

#[test]
fn what_a_decoder_could_read_in_two_ways_is_refused() {
    for (bytes, why) in [
        // the last scalar would win
        (&b"\x0a\x01a\x0a\x01b"[..], "`text` is given twice"),
        (b"\x10\x00\x10\x01", "`flag` is given twice"),
        // the second would be merged into the first
        (b"\x32\x03\x0a\x01a\x32\x03\x0a\x01b", "`inner` is given twice"),
        // the second would take the first away
        (b"\x52\x01l\x58\x01", "`right` stands beside another of which there can be one only"),
        (b"\x52\x01l\x52\x01m", "`left` stands beside another of which there can be one only"),
        // the last would win
        (b"\x2a\x06\x0a\x01k\x12\x01v\x2a\x06\x0a\x01k\x12\x01w", "`labels.k` is given twice"),
        (b"\x2a\x06\x12\x01v\x0a\x01k", "`labels` has an entry that is no key and value"),
        (b"\x2a\x09\x0a\x01k\x0a\x01l\x12\x01v", "`labels` has an entry that is no key and value"),
        (b"\x2a\x06\x0a\x01k\x1a\x01v", "`labels` has an entry that is no key and value"),
        // Go takes the lower half, which is 1
        (b"\x18\x81\x80\x80\x80\x10", "`small` does not fit into 32 bits"),
        (b"\x20\x81\x80\x80\x80\x10", "`mode` has a value that dockgate does not know"),
        (b"\x20\x03", "`mode` has a value that dockgate does not know"),
        (b"\x10\x02", "`flag` is neither 0 nor 1"),
        // other spellings of the same number
        (b"\x10\x81\x00", "`the body` has a number in a longer form"),
        (b"\x8a\x00\x01a", "`the body` has a number in a longer form"),
        (b"\x0a\x81\x00a", "`the body` has a number in a longer form"),
        (
            b"\xc0\x0c\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
            "`the body` has a number of more than 64 bits",
        ),
        (
            b"\xc0\x0c\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
            "`the body` has a number of more than 64 bits",
        ),
        // packed or not, there is one form
        (b"\x40\x01", "`numbers` has another wire type than this field's"),
        (b"\x08\x01", "`text` has another wire type than this field's"),
        (b"\x12\x00", "`flag` has another wire type than this field's"),
        (b"\x0d\x00\x00\x00\x00", "`text` has another wire type than this field's"),
        (b"\x0a\x02\xff\xfe", "`text` is not UTF-8"),
        // groups, and numbers that are none
        (b"\x0b\x0c", "`the body` has a wire type that proto3 does not have"),
        (b"\x02\x00", "`the body` has a field number that protobuf does not have"),
        (b"\x82\x80\x80\x80\x10\x00", "`the body` has a field number that protobuf does not have"),
        // cut short, anywhere
        (b"\x0a", "`the body` is cut short"),
        (b"\x0a\x05hi", "`the body` is cut short"),
        (b"\x32\x03\x0a\x05a", "`inner` is cut short"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "`the body` is cut short"),
        (b"\x10", "`the body` is cut short"),
    ] {
        assert_eq!(refused(bytes), why, "{bytes:?}");
    }
}

#[test]
fn an_operation_whose_bytes_would_change_is_refused() {
    // fields in turn: read, they stand together
    let mixed = b"\x4a\x06\x10\x07\x0a\x02op";
    assert_eq!(render(&read(mixed).unwrap().root, SHAPE), mixed, "any order is kept");
    for bytes in [&b"\x4a\x04\x0a\x00\x10\x07"[..], b"\x4a\x02\x0a\x00"] {
        assert_eq!(render(&read(bytes).unwrap().root, SHAPE), bytes, "zero values are kept");
    }
    const OP: &Object = &[n(1, "args", STRINGS), n(2, "env", STRINGS), n(3, "attrs", LABELS)];
    const DEF: &Object = &[n(1, "def", Kind::List(&Kind::Encoded(OP)))];
    let read = |bytes| parse(MOST_VALUES, bytes, DEF).map_err(|error| error.to_string());
    let alternating = read(b"\x0a\x09\x0a\x01a\x12\x01e\x0a\x01b").unwrap_err();
    assert!(alternating.contains("`def.0` is not written as BuildKit's own"), "{alternating}");
    let left_out = read(b"\x0a\x05\x1a\x03\x0a\x01k").unwrap_err();
    assert!(left_out.contains("`def.0` is not written as BuildKit's own"), "{left_out}");
}

#[test]
fn what_is_unknown_is_told_with_its_place_and_does_not_leave() {
    let doc =
        read(b"\x0a\x01a\xa0\x06\x01\x32\x05\x0a\x01a\x18\x01\x4a\x02\x18\x01\x9d\x06\0\0\0\0")
            .unwrap();
    let unknown: Vec<&str> = doc.unknown.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(unknown, ["field 100", "inner.field 3", "ops.0.field 3", "field 99"]);
    assert!(doc.unknown.iter().all(|one| !one.value.is_zero()), "even a zero is said");
    assert_eq!(render(&doc.root, SHAPE), b"\x0a\x01a\x32\x03\x0a\x01a\x4a\x00");
}

#[test]
fn values_are_counted() {
    let many = b"\x3a\x00".repeat(100);
    let error = parse(100, &many, SHAPE).unwrap_err();
    assert_eq!(error, BadDoc::TooManyValues(100));
    assert!(parse(101, &many, SHAPE).is_ok());
    let numbers: Vec<u8> = [&b"\x42\x64"[..], &[1; 100]].concat();
    assert_eq!(parse(100, &numbers, SHAPE).unwrap_err(), BadDoc::TooManyValues(100));
}

proptest! {
    #[test]
    fn no_bytes_do_harm_and_what_is_read_is_read_again(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(doc) = parse(64, &bytes, SHAPE) {
            let rendered = render(&doc.root, SHAPE);
            prop_assert_eq!(parse(64, &rendered, SHAPE).unwrap().root, doc.root);
        }
    }
}
