//! The corpus: recorded requests of real clients, and byte for byte what becomes of them.
//!
//! `UPDATE_CORPUS=1` writes the expectations anew instead of comparing.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::engine::plain;
use crate::support::http::answer;
use crate::support::{Engine, Gate, text};

/// The engine ends each connection, so that each request has one of its own.
fn engine() -> Engine {
    Engine::speaking(
        "1.51",
        Box::new(|wire| {
            plain::one(wire, &|_: &_, _: &_| {
                let said = text(&answer("200 OK", "{}"));
                said.replace("Ostype: linux", "Connection: close").into_bytes()
            });
        }),
    )
}

pub fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let found = fs::read_dir(folder).unwrap();
        found.map(|entry| entry.unwrap().path()).collect()
    };
    let folders = entries(&root).into_iter().filter(|path| path.is_dir());
    let mut files: Vec<_> = folders
        .flat_map(|folder| entries(&folder))
        .filter(|path| path.extension().is_some_and(|kind| kind == "http"))
        .collect();
    files.sort();
    files
}

#[test]
fn recorded_calls_reach_the_engine_as_written_down_or_are_refused_so() {
    let update = std::env::var_os("UPDATE_CORPUS").is_some();
    let mut wrong = Vec::new();
    let files = files();
    assert!(files.len() >= 25, "only {} files", files.len());
    let engine = engine();
    let gate = Gate::conservative(&engine);
    let mut reached = 0;
    for file in files {
        let mut client = gate.client();
        let request = fs::read(&file).unwrap();
        client.send(&request);
        let head = client.head();
        let said = match request.starts_with(b"HEAD ") {
            true => String::new(),
            false => text(&client.body(&head)),
        };
        let seen = engine.seen();
        let (kind, got) = match seen.get(reached) {
            Some(bytes) => ("engine", bytes.clone()),
            None => ("refusal", format!("{}\n{}\n", head.status(), message(&said))),
        };
        assert!(seen.len() <= reached + 1, "{}: the engine saw {seen:?}", file.display());
        reached = seen.len();
        let expected = file.with_extension(kind);
        if update {
            for old in ["engine", "refusal"] {
                let _ = fs::remove_file(file.with_extension(old));
            }
            fs::write(&expected, got).unwrap();
            continue;
        }
        let wanted = fs::read(&expected).map(|bytes| text(&bytes)).unwrap_or_default();
        if got != wanted {
            wrong.push(format!("{}:\n  got    {got:?}\n  wanted {wanted:?}", expected.display()));
        }
    }
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}

fn message(body: &str) -> String {
    let said: serde_json::Value = body.parse().unwrap_or_else(|_| panic!("no JSON: {body}"));
    said["message"].as_str().unwrap().to_owned()
}

#[test]
fn every_expectation_belongs_to_a_request_and_each_has_one() {
    for file in files() {
        let has = |kind: &str| file.with_extension(kind).exists();
        assert!(has("engine") != has("refusal"), "{}", file.display());
        for kind in ["engine", "refusal"] {
            let folder = file.parent().unwrap();
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let is_kind = path.extension().is_some_and(|found| found == kind);
                assert!(!is_kind || path.with_extension("http").exists(), "{}", path.display());
            }
        }
    }
}

#[test]
fn nothing_of_the_machine_it_was_recorded_on_is_in_the_corpus() {
    let host = fs::read_to_string("/etc/hostname").unwrap_or_default();
    let host = host.trim();
    for file in files() {
        let bytes = text(&fs::read(&file).unwrap());
        for word in ["/root/", "/tmp/dg", "dgr60"] {
            assert!(!bytes.contains(word), "{word} in {}", file.display());
        }
        assert!(host.len() < 5 || !bytes.contains(host), "{host} in {}", file.display());
    }
}
