//! Bodies that Go and a naive reader would understand differently, and that nothing gets lost.

use super::super::shape::{LABELS, STRINGS, f};
use super::*;
use proptest::prelude::*;

const MOUNT: &Object = &[f("Type", Kind::Str), f("Source", Kind::Str), f("Target", Kind::Str)];
const HOST: &Object = &[
    f("Privileged", Kind::Bool),
    f("NetworkMode", Kind::Str),
    f("Binds", STRINGS),
    f("Memory", Kind::Int),
    f("Mounts", Kind::List(&Kind::Object(MOUNT))),
];
const BODY: Kind = Kind::Object(&[
    f("Image", Kind::Str),
    f("Cmd", Kind::StrOrList),
    f("Labels", LABELS),
    f("HostConfig", Kind::Object(HOST)),
    f("name", Kind::Str).ignored(),
]);

fn read(text: &str) -> Result<Doc, BadDoc> {
    parse(text.as_bytes(), &BODY)
}

fn rendered(text: &str) -> String {
    String::from_utf8(read(text).unwrap().render()).unwrap()
}

#[test]
fn keys_fold_as_go_folds_them_and_leave_in_the_engines_spelling() {
    for spelling in ["hostconfig", "HOSTCONFIG", "Ho\u{17f}tConfig", "\\u0048ostConfig"] {
        let body = format!(r#"{{"{spelling}":{{"privileged":true,"NetworKMode":"host"}}}}"#);
        let canonical = r#"{"HostConfig":{"Privileged":true,"NetworkMode":"host"}}"#;
        assert_eq!(rendered(&body), canonical, "{spelling}");
    }
    let labels = r#"{"Labels":{"a":"1","A":"2"}}"#;
    assert_eq!(rendered(labels), labels, "the keys of a Go map are the user's own");
}

#[test]
fn duplicates_are_refused_at_any_depth() {
    for twice in [
        r#"{"HostConfig":{"Privileged":true},"HostConfig":{}}"#,
        r#"{"HostConfig":{"Privileged":true,"privileged":null}}"#,
        r#"{"HostConfig":{"Mounts":[{"Source":"/","source":"x"}]}}"#,
        r#"{"Labels":{"a":"1","a":"2"}}"#,
        r#"{"Frob":1,"frob":2}"#,
        r#"{"Frob":{"x":{"y":1,"y":2}}}"#,
        r#"{"Bindſ":1,"Binds":2}"#,
        r#"{"name":"a","Name":"b"}"#,
    ] {
        let error = read(twice).unwrap_err().to_string();
        assert!(error.contains("is given twice"), "{twice}: {error}");
    }
}

#[test]
fn only_one_value_of_the_right_type_and_nothing_behind_it() {
    for bad in [
        "{}garbage",
        "{}}",
        "{}]",
        "{",
        "",
        "nul",
        r#"{"Image":1}"#,
        r#"{"HostConfig":[]}"#,
        r#"{"HostConfig":{"Privileged":"true"}}"#,
        r#"{"HostConfig":{"Memory":1.0}}"#,
        r#"{"HostConfig":{"Memory":1e3}}"#,
        r#"{"HostConfig":{"Memory":18446744073709551616}}"#,
        r#"{"Image":"\ud800"}"#,
        "[]",
        r#"{"Cmd":[1]}"#,
        r#"{"Labels":{"a":1}}"#,
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
    assert!(parse(b"{\"Image\":\"\xff\"}", &BODY).is_err());
    let deep = format!("{{\"Frob\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    assert!(read(&deep).is_err(), "Go takes a depth of 10,000");
}

#[test]
fn integers_stay_integers_and_null_stays_null() {
    let body = r#"{"HostConfig":{"Memory":9007199254740993,"Binds":null},"Cmd":["sh"]}"#;
    assert_eq!(rendered(body), body);
    assert_eq!(rendered(r#"{"Cmd":"sh"}"#), r#"{"Cmd":["sh"]}"#, "engine 29 takes only the list");
    assert_eq!(read(body).unwrap().at(&["HostConfig", "Binds"]), None);
}

#[test]
fn what_is_unknown_stands_apart_with_its_path_and_never_leaves() {
    let body = r#"{"Privileged":true,"HostConfig":{"Mounts":[{"Frob":{}}]},"name":"x"}"#;
    let doc = read(body).unwrap();
    let paths: Vec<_> = doc.unknown.iter().map(|u| (u.path.as_str(), u.value.is_zero())).collect();
    assert_eq!(paths, [("Privileged", false), ("HostConfig.Mounts.0.Frob", true)]);
    assert_eq!(String::from_utf8(doc.render()).unwrap(), r#"{"HostConfig":{"Mounts":[{}]}}"#);
}

#[test]
fn a_struct_of_zeros_is_zero_and_a_map_with_a_key_is_not() {
    let is_zero = |text: &str| read(text).unwrap().root.is_zero();
    assert!(is_zero(r#"{"Image":"","HostConfig":{"Privileged":false,"Memory":0,"Mounts":[]}}"#));
    assert!(is_zero(r#"{"Labels":{}}"#));
    assert!(!is_zero(r#"{"Labels":{"a":""}}"#), "to Go a map of one key");
    assert!(!is_zero(r#"{"HostConfig":{"Binds":[null]}}"#), "to Go a list of one empty string");
    // Engines up to 26.1 read it as a map of HostConfig's.
    let doc = read(r#"{"Tmpfs":{"/x":""}}"#).unwrap();
    assert!(doc.unknown.iter().all(|unknown| !unknown.value.is_zero()));
}

fn any_value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        "[a-zA-Z\u{17f}\u{212a} é/:]{0,6}".prop_map(|s| serde_json::to_string(&s).unwrap()),
    ];
    let key = prop_oneof![
        Just("HostConfig"),
        Just("hostconfig"),
        Just("Image"),
        Just("Cmd"),
        Just("Labels"),
        Just("Privileged"),
        Just("Memory"),
        Just("Mounts"),
        Just("Binds"),
        Just("Frob"),
        Just("Type"),
        Just("NetworkMode"),
    ];
    leaf.prop_recursive(4, 32, 5, move |inner| {
        let pair = (key.clone(), inner.clone()).prop_map(|(k, v)| format!("\"{k}\":{v}"));
        prop_oneof![
            proptest::collection::vec(inner, 0..4).prop_map(|v| format!("[{}]", v.join(","))),
            proptest::collection::vec(pair, 0..5).prop_map(|v| format!("{{{}}}", v.join(","))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn parse_render_parse_is_the_identity(text in any_value()) {
        if let Ok(doc) = read(&text) {
            let again = parse(&doc.render(), &BODY).unwrap();
            prop_assert_eq!(&again.root, &doc.root);
            prop_assert!(again.unknown.is_empty());
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes, &BODY);
    }
}

/// A key of a megabyte in front of ten thousand unknown ones would be in each of their names.
#[test]
fn of_many_unknown_keys_the_first_are_named_and_the_first_that_are_not_zero() {
    let long = "k".repeat(1 << 20);
    let zeros: Vec<String> = (0..10_000).map(|i| format!(r#""z{i}":0"#)).collect();
    const ENDPOINT: Kind = Kind::Object(&[f("Known", Kind::Str)]);
    let ones: Vec<String> = (0..10_000).map(|i| format!(r#""one{i}":1"#)).collect();
    let body = format!(r#"{{"{long}":{{{},"frob":1,{}}}}}"#, zeros.join(","), ones.join(","));
    let doc = parse(body.as_bytes(), &Kind::Map(&ENDPOINT)).unwrap();
    let bytes: usize = doc.unknown.iter().map(|unknown| unknown.path.len()).sum();
    assert!(doc.unknown.len() == 2 * MOST_UNKNOWN && bytes < 64 << 10, "{}", doc.unknown.len());
    let told = doc.unknown.iter().find(|unknown| !unknown.value.is_zero()).unwrap();
    assert!(told.path.starts_with("kkk") && told.path.ends_with("….frob"), "{}", told.path);
}

#[test]
fn a_body_has_a_bound_on_values_that_says_how_many() {
    let list = |count: usize| format!(r#"{{"Cmd":[{}]}}"#, vec!["null"; count].join(","));
    assert!(parse_within(12, list(10).as_bytes(), &BODY).is_ok(), "the body, the list and ten");
    let error = parse_within(12, list(11).as_bytes(), &BODY).unwrap_err();
    assert_eq!(error, BadDoc::TooManyValues(12));
    assert_eq!(error.to_string(), "the JSON body has more than 12 values");
    assert_eq!(read(&list(MOST_VALUES)).unwrap_err(), BadDoc::TooManyValues(MOST_VALUES));
}
