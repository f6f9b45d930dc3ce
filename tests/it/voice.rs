//! What the program says, when nobody listens or there is no room, and to a terminal that obeys.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use crate::support::engine::{plain, silent};
use crate::support::gate::dockgate;
use crate::support::{Conn, Engine, Setup, text, wait_until};

/// The end of a pipe that nobody reads.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

/// Each command that says something, with what it reads.
fn commands(dir: &std::path::Path) -> Vec<(Command, &'static str)> {
    let certs = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let log = "{\"operation\":\"ContainerList\",\"listener\":\"a\",\"verdict\":\"allow\",\"method\":\"GET\",\
               \"path\":\"/containers/json\",\"status\":200,\"findings\":[]}\n";
    let mut all = Vec::new();
    for args in [
        &["--help"][..],
        &["--version"],
        &["serve", "--help"],
        &["explain", "GET", "/info"],
        &["explain", "POST", "/swarm/leave"],
        &["explain", "GET", "/nosuch"],
        &["passwd", "ann"],
        &["learn"],
    ] {
        let input = match args {
            ["passwd", ..] => "correct horse\n",
            ["learn"] => log,
            _ => "",
        };
        all.push((dockgate(args), input));
    }
    all.push((dockgate(&["certs", &certs(&format!("c{}", std::process::id()))]), ""));
    all
}

fn run(mut command: Command, input: &str, stdout: Stdio, stderr: Stdio) -> (Option<i32>, String) {
    let mut child = command.stdin(Stdio::piped()).stdout(stdout).stderr(stderr).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    (output.status.code(), text(&output.stderr))
}

#[test]
fn a_reader_that_goes_away_ends_a_command_quietly() {
    let dir = tempfile::tempdir().unwrap();
    for (command, input) in commands(dir.path()) {
        let what = format!("{command:?}");
        let (code, said) = run(command, input, closed(), Stdio::piped());
        assert_eq!((code, said.as_str()), (Some(141), ""), "{what}");
    }
}

#[test]
fn a_full_disk_is_a_message() {
    let dir = tempfile::tempdir().unwrap();
    for (command, input) in commands(dir.path()) {
        let what = format!("{command:?}");
        let (code, said) = run(command, input, full(), Stdio::piped());
        assert_eq!(code, Some(1), "{what}");
        assert_eq!(
            said, "cannot write to stdout: No space left on device (os error 28)\n",
            "{what}"
        );
    }
}

#[test]
fn what_goes_wrong_is_in_the_exit_code_when_nobody_reads_it() {
    for stderr in [closed as fn() -> Stdio, full] {
        for (args, code) in [
            (&["check", "-c", "/nonexistent"][..], 1),
            (&["serve", "-c", "/nonexistent"], 1),
            (&["frobnicate"], 2),
            (&["reload", "--socket", "unix:///nonexistent"], 1),
            (&["cache", "stats", "--socket", "unix:///nonexistent"], 1),
        ] {
            assert_eq!(run(dockgate(args), "", stderr(), stderr()).0, Some(code), "{args:?}");
        }
    }
}

#[test]
fn a_gate_that_nobody_hears_goes_on() {
    let engine = Engine::start(plain::behaviour());
    for (stdout, stderr) in [(closed(), closed()), (full(), full())] {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("gate.sock");
        let (listen, url) = (socket.display(), engine.path().display());
        let mut command = dockgate(&[
            "serve",
            "--policy",
            "none",
            "--listen",
            &format!("unix://{listen}"),
            "--engine",
            &format!("unix://{url}"),
        ]);
        let mut child = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn().unwrap();
        wait_until("it listens", || UnixStream::connect(&socket).is_ok());
        for round in 0..3 {
            let mut client = Conn::unix(&socket);
            assert_eq!(client.ask("GET /v1.41/info HTTP/1.1\r\nHost: a\r\n\r\n").0, 200);
            // A refusal is a line on stderr besides.
            assert_eq!(client.ask("GET / HTTP/1.1\r\nX-Dockgate-Via: x\r\n\r\n").0, 400);
            if round == 0 {
                // The record before was written, or tried.
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        }
        assert!(child.try_wait().unwrap().is_none(), "it runs");
        assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn names_that_a_client_chose_do_not_reach_a_terminal_as_they_are() {
    for format in ["text", "json"] {
        let engine = Engine::start(silent::behaviour());
        let gate = Setup::new(&engine)
            .conservative()
            .engine("patience = \"3s\"\n")
            .tables(&format!("[log]\nformat = \"{format}\"\n"))
            .start();
        // The engine does not say what it is, which is said to the client and on stderr.
        let start = "POST /v1.41/containers/a%E2%80%AEb/start HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
        let (status, body) = gate.client().ask(start);
        assert_eq!(status, 504);
        assert!(body.contains("what container `a\\\\u202eb` is"), "{body}");
        wait_until("a line", || gate.stderr().contains("u202eb` is within"));
        gate.records(1);
        let mut raw = gate.client();
        raw.send(b"GET /v1.41/x\xc2\x9b2J\xe2\x80\xaey HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = raw.head();
        let body = text(&raw.body(&head));
        assert!(head.status() >= 400 && !body.contains('\u{9b}'), "{body}");
        let records = gate.records(2);
        let path = records[1]["path"].as_str().unwrap();
        assert!(path.contains("x\u{9b}2J\u{202e}y"), "the same to who reads it as JSON: {path:?}");
        let ended = gate.stop();
        for said in [ended.stdout, ended.stderr] {
            let is_safe = |c: char| matches!(c, ' '..='~' | '\n' | '\t');
            assert!(said.chars().all(is_safe), "{said:?}");
        }
    }
}
