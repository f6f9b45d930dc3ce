//! The corpus: recorded requests of real clients, and byte for byte what becomes of them.
//!
//! `UPDATE_CORPUS=1` writes the expectations anew instead of comparing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use crate::support::engine::plain;
use crate::support::http::{answer, chunk, dechunk};
use crate::support::{Engine, Head, Setup, text};

/// The exec that a request starts.
fn exec_of(request: &[u8]) -> Option<String> {
    let line = text(request).lines().next()?.to_owned();
    let (_, rest) = line.split_once("/exec/")?;
    Some(rest.split_once("/start")?.0.to_owned())
}

/// Whether dockgate asks for itself: what a call refers to.
fn is_own(request: &[u8]) -> bool {
    text(request).contains("User-Agent: dockgate/")
}

/// Whatever the recorded calls refer to is harmless.
fn container() -> String {
    let made = serde_json::json!({ "Id": "c".repeat(64), "Config": {}, "HostConfig": {} });
    made.to_string()
}

fn network(path: &str) -> String {
    let name = path.trim_start_matches("/networks/").replace("%5F", "_").replace("%2D", "-");
    let made = serde_json::json!({ "Name": name, "Id": "e".repeat(64), "Driver": "bridge" });
    made.to_string()
}

/// The engine ends each connection, so that each request has one of its own.
fn engine(exec: &Arc<Mutex<String>>, makes_network: &Arc<AtomicBool>) -> Engine {
    let (exec, makes_network) = (Arc::clone(exec), Arc::clone(makes_network));
    Engine::speaking(
        "1.51",
        Box::new(move |wire| {
            plain::one(wire, &|head: &Head, _: &_| {
                let (status, said) = match is_own(&head.raw) {
                    false if head.path().ends_with("/exec") && !exec.lock().unwrap().is_empty() => {
                        let id = std::mem::take(&mut *exec.lock().unwrap());
                        ("201 Created", serde_json::json!({ "Id": id }).to_string())
                    }
                    false => ("200 OK", "{}".to_owned()),
                    true if head.path().starts_with("/containers/") => ("200 OK", container()),
                    true if head.path().starts_with("/networks/")
                        && !makes_network.load(SeqCst) =>
                    {
                        ("200 OK", network(head.path()))
                    }
                    true => ("404 Not Found", r#"{"message":"no such thing"}"#.to_owned()),
                };
                let said = text(&answer(status, &said));
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
    let exec = Arc::new(Mutex::new(String::new()));
    let makes_network = Arc::new(AtomicBool::new(false));
    let engine = engine(&exec, &makes_network);
    // `docker pull` was recorded with a registry that is not there.
    let policy =
        "[policy.ours]\nkind = \"conservative\"\nregistries = [\"docker.io\", \"localhost\"]\n";
    let gate = Setup::new(&engine).policies(r#"["ours"]"#).tables(policy).start();
    let mut reached = 0;
    for file in files {
        let request = fs::read(&file).unwrap();
        if let Some(id) = exec_of(&request) {
            // An exec is its maker's: it was made here.
            *exec.lock().unwrap() = id;
            let make = "POST /containers/x/exec HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
            assert_eq!(gate.client().ask(make).0, 201);
            reached += 1;
        }
        // What it makes is not there yet.
        makes_network.store(text(&request).contains("/networks/create"), SeqCst);
        let mut client = gate.client();
        client.send(&request);
        let head = client.head();
        let has_body = head.status() != 101 && !request.starts_with(b"HEAD ");
        let said = if has_body { text(&client.body(&head)) } else { String::new() };
        let mut seen = engine.seen();
        seen.retain(|request| !is_own(request.as_bytes()));
        let (kind, got) = match seen.get(reached) {
            Some(bytes) => ("engine", in_one_chunk(bytes)),
            // To be refused in the protocol that it is for.
            None if head.status() == 101 => ("refusal", "101\n".to_owned()),
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

/// Where a build's context is cut into chunks depends on how it comes.
fn in_one_chunk(request: &str) -> String {
    match request.split_once("\r\n\r\n") {
        Some((head, body)) if head.contains("/build?") && head.contains("chunked") => {
            let body = text(&chunk(&dechunk(body.as_bytes())));
            format!("{head}\r\n\r\n{body}0\r\n\r\n")
        }
        _ => request.to_owned(),
    }
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
