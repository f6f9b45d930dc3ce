//! `external`: what becomes of a program's answers, and the documented example run for real.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::auth_people::{gate_with, ping};
use crate::reload::reload;
use crate::support::engine::{plain, silent};
use crate::support::http::answer;
use crate::support::{Engine, Gate, wait_until};

/// A program that answers every question like this. (A fake engine is an HTTP server like any other.)
fn program(status: &str, body: &str) -> Engine {
    let answer = answer(status, body);
    Engine::deaf(plain::with(move |_, _| answer.clone()))
}

fn gate_asking(engine: &Engine, socket: &Path, more: &str) -> Gate {
    let url = format!("kind = \"external\"\nurl = \"unix://{}\"\n", socket.display());
    gate_with(engine, &format!("{url}{more}"))
}

/// Status and message of one call.
fn outcome(program: &Engine, authorization: Option<&str>) -> (u16, String) {
    outcome_with(program, authorization, "")
}

fn outcome_with(program: &Engine, authorization: Option<&str>, keys: &str) -> (u16, String) {
    let engine = Engine::start(plain::behaviour());
    let gate = gate_asking(&engine, program.path(), keys);
    let (head, body) = ping(&gate, authorization);
    let body = body.parse().map_or(body, |json: Value| json["message"].to_string());
    assert_eq!(engine.seen().is_empty(), head.status() != 200, "who is not let in stays outside");
    (head.status(), body)
}

fn questions(program: &Engine) -> Vec<Value> {
    let bodies = program.seen();
    bodies.iter().map(|seen| seen.split_once("\r\n\r\n").unwrap().1.parse().unwrap()).collect()
}

#[test]
fn who_the_program_knows_is_let_in_under_that_name() {
    let program = program("200 OK", r#"{"user":"ann","groups":["ci"],"claims":{"n":1}}"#);
    let engine = Engine::start(plain::behaviour());
    let gate = gate_asking(&engine, program.path(), "");
    for _ in 0..2 {
        assert_eq!(ping(&gate, Some("Bearer S3cr3t")).0.status(), 200);
    }
    assert_eq!(gate.records(1)[0]["user"], "ann");
    let asked = questions(&program);
    assert_eq!(asked.len(), 2, "without `ttl` nothing is kept");
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let wanted = json!({
        "version": 1,
        "listener": "it",
        "peer": {"kind": "unix", "uid": uid, "gid": gid, "pid": std::process::id(),
            "container": asked[0]["peer"]["container"]},
        "certificate": null,
        "headers": ["Host", "User-Agent", "Authorization"],
        "authorization": "Bearer S3cr3t",
    });
    assert_eq!(asked[0], wanted);
    assert!(program.seen()[0].contains("content-type: application/json"));
    assert!(!engine.seen().concat().contains("S3cr3t"));
    let ended = gate.stop();
    assert!(!(ended.stdout + &ended.stderr).contains("S3cr3t"));
}

#[test]
fn an_answer_is_kept_as_long_as_it_says_for_the_same_credential() {
    let program = program("200 OK", r#"{"user":"ann","ttl":600}"#);
    let engine = Engine::start(plain::behaviour());
    let gate = gate_asking(&engine, program.path(), "");
    for _ in 0..5 {
        assert_eq!(ping(&gate, Some("Bearer one")).0.status(), 200);
    }
    assert_eq!(questions(&program).len(), 1);
    assert_eq!(ping(&gate, Some("Bearer two")).0.status(), 200);
    assert_eq!(ping(&gate, None).0.status(), 200);
    assert_eq!(questions(&program).len(), 3);
}

#[test]
fn a_reload_forgets_answers_only_where_the_listener_is_another() {
    let program = program("200 OK", r#"{"user":"ann","ttl":600}"#);
    let engine = Engine::start(plain::behaviour());
    let gate = gate_asking(&engine, program.path(), "");
    let asked = || {
        assert_eq!(ping(&gate, Some("Bearer one")).0.status(), 200);
        questions(&program).len()
    };
    assert_eq!((asked(), asked()), (1, 1));
    reload(&gate, |text| format!("{text}\n# nothing\n"));
    assert_eq!(asked(), 1);
    reload(&gate, |text| {
        text.replace("kind = \"external\"", "kind = \"external\"\ntimeout = \"4s\"")
    });
    assert_eq!(asked(), 2);
}

#[test]
fn a_no_is_told_with_the_program_s_words() {
    let no = program("403 Forbidden", r#"{"message":"not on\n Sundays"}"#);
    assert_eq!(outcome(&no, Some("Bearer x")), (401, r#""dockgate: not on Sundays""#.into()));
    let no = program("401 Unauthorized", "");
    let (status, message) = outcome(&no, None);
    assert!(status == 401 && message.contains("the outside authenticator says no"), "{message}");
}

#[test]
fn who_is_not_the_program_s_is_a_stranger() {
    let not_mine = program("204 No Content", "");
    let (status, message) = outcome(&not_mine, None);
    assert!(status == 401 && message.contains("no valid credentials"), "{message}");
    let (status, message) = outcome(&not_mine, Some("Bearer x"));
    assert!(status == 401 && message.contains("no authenticator takes this"), "{message}");
}

#[test]
fn a_challenge_names_each_scheme() {
    let program = program("204 No Content", "");
    let engine = Engine::start(plain::behaviour());
    let gate = gate_asking(&engine, program.path(), "");
    let (head, _) = ping(&gate, None);
    let challenges = head.lines.iter().filter(|(name, _)| name == "WWW-Authenticate");
    let challenges: Vec<_> = challenges.map(|(_, value)| value.as_str()).collect();
    let wanted = [r#"Basic realm="dockgate", charset="UTF-8""#, r#"Bearer realm="dockgate""#];
    assert_eq!(challenges, wanted);
}

#[test]
fn what_is_no_answer_lets_nobody_in() {
    let huge = format!(r#"{{"user":"ann","groups":["{}"]}}"#, "x".repeat(70_000));
    let garbage = Engine::deaf(plain::says("SSH-2.0-OpenSSH_9.2\r\n\r\n"));
    for program in [
        program("200 OK", "yes"),
        program("200 OK", r#"{"user":"ann","admin":true}"#),
        program("200 OK", r#"{"user":"a\nb"}"#),
        program("200 OK", &huge),
        program("201 Created", r#"{"user":"ann"}"#),
        program("302 Found", r#"{"user":"ann"}"#),
        program("500 Internal Server Error", r#"{"user":"ann"}"#),
        garbage,
    ] {
        let (status, message) = outcome(&program, Some("Bearer x"));
        assert_eq!(status, 503, "{message}");
        assert_eq!(message, r#""dockgate: authenticator `a` cannot decide""#);
    }
    let mute = Engine::deaf(silent::behaviour());
    assert_eq!(outcome_with(&mute, None, "timeout = \"300ms\"\n").0, 503);
    let engine = Engine::start(plain::behaviour());
    let gate = gate_asking(&engine, Path::new("/nonexistent/program.sock"), "");
    assert_eq!(ping(&gate, None).0.status(), 503);
    wait_until("the reason in the log", || gate.stderr().contains("cannot decide: "));
}

/// `examples/external-auth.py`, running.
struct Example {
    child: Child,
    dir: tempfile::TempDir,
}

impl Example {
    fn start(tokens: &str) -> Example {
        let dir = tempfile::tempdir().unwrap();
        let (socket, file) = (dir.path().join("auth.sock"), dir.path().join("tokens"));
        fs::write(&file, tokens).unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/external-auth.py");
        let mut command = Command::new("python3");
        command.arg(program).args([&socket, &file]).stdin(Stdio::null());
        let child = command.spawn().expect("python3");
        let example = Example { child, dir };
        wait_until("the example listens", || {
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        example
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_example_program_does_what_its_page_says() {
    let example = Example::start("t0ken ann ci dev\n\nother-t0ken bob\n");
    let engine = Engine::start(plain::behaviour());
    let gate = gate_asking(&engine, &example.dir.path().join("auth.sock"), "");
    for (authorization, status) in [
        (Some("Bearer t0ken"), 200),
        (Some("bearer  other-t0ken"), 200),
        (Some("Bearer t0ke"), 401),
        (Some("Bearer"), 401),
        (Some("Bearer t\u{f6}ken"), 401),
        (Some("Basic dDBrZW46"), 401),
        (None, 401),
    ] {
        let (head, body) = ping(&gate, authorization);
        assert_eq!(head.status(), status, "{authorization:?}: {body}");
        let is_unknown = body.contains("dockgate: this token is not known");
        let is_bearer = authorization.is_some_and(|value| !value.starts_with("Basic"));
        assert_eq!(is_unknown, status == 401 && is_bearer, "{body}");
    }
    // In any order: each worker has its own way to the log.
    let records = gate.records(7);
    let users = |name: &str| records.iter().filter(|record| record["user"] == name).count();
    assert_eq!((users("ann"), users("bob"), users("-")), (1, 1, 5));
    drop(example);
    assert_eq!(ping(&gate, Some("Bearer t0ken")).0.status(), 200, "kept for 30 s");
    assert_eq!(ping(&gate, Some("Bearer new")).0.status(), 503);
}

#[test]
fn the_page_shows_the_example_as_it_is() {
    let read =
        |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let example = read("examples/external-auth.py");
    let page = read("docs/authentication/external.md");
    assert!(page.contains(&format!("```python\n{example}```\n")));
}
