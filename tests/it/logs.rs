//! Logs: the access record's names, what is counted, and that no secret is ever in them.

use crate::support::engine::{hijack_101, plain};
use crate::support::gate::dockgate;
use crate::support::{Engine, Gate, Setup, wait_until};

const NAMES: [&str; 18] = [
    "time",
    "listener",
    "user",
    "namespace",
    "method",
    "path",
    "status",
    "bytes_in",
    "bytes_sent",
    "duration_ms",
    "operation",
    "verdict",
    "rule",
    "client",
    "hostname",
    "auth",
    "groups",
    "claims",
];

const INFO: &str = "GET /v1.41/info?x= HTTP/1.1\r\nHost: a\r\n\r\n";

fn post(target: &str, lines: &str, body: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{lines}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_json_record_has_the_names_of_the_contract_in_their_order() {
    let engine = Engine::start(plain::behaviour());
    let gate = Gate::typed(&engine);
    let (_, body) = gate.client().ask(INFO);
    let record = &gate.records(1)[0];
    let names: Vec<_> = record.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, NAMES);
    assert_eq!(record["listener"], "it");
    assert_eq!(record["method"], "GET");
    assert_eq!(record["path"], "/v1.41/info?x=");
    assert_eq!(record["status"], 200);
    assert_eq!(record["bytes_in"], 0);
    assert_eq!(record["bytes_sent"], body.len());
    assert_eq!(record["operation"], "SystemInfo");
    assert_eq!(record["verdict"], "allow");
    assert_eq!(record["rule"], "-");
    assert!(record["duration_ms"].as_f64().unwrap() > 0.0);
    let client = record["client"].as_str().unwrap();
    assert!(client.contains(&format!("pid={}", std::process::id())), "{client}");
}

#[test]
fn keys_that_were_not_sent_on_are_named_without_their_values() {
    let engine = Engine::start(plain::behaviour());
    let gate = Gate::typed(&engine);
    let body = r#"{"username":"u","Frob":{"k":"s3cr3t"},"zero":0}"#;
    let (status, _) = gate.client().ask(post("/v1.41/auth", "", body));
    assert_eq!(status, 200);
    let record = &gate.records(1)[0];
    assert_eq!(record["dropped"], serde_json::json!(["Frob"]));
    let seen = engine.seen().concat();
    assert!(seen.ends_with(r#"{"username":"u"}"#), "{seen}");
    assert!(!gate.stop().stdout.contains("s3cr3t"));
}

#[test]
fn an_ltsv_record_has_the_same_names_and_stays_one_line() {
    let engine = Engine::start(plain::behaviour());
    let gate = Setup::new(&engine).tables("[log]\naccess = \"ltsv\"\n").start();
    gate.client().ask("GET /containers/a%09b%0Ac/json?x=%0A HTTP/1.1\r\nHost: a\r\n\r\n");
    crate::support::wait_until("a record", || gate.stdout().ends_with('\n'));
    let said = gate.stdout();
    let line = said.strip_suffix('\n').unwrap();
    let names: Vec<_> =
        line.split('\t').map(|field| field.split(':').next().unwrap_or_default()).collect();
    assert_eq!(names, NAMES, "{line}");
}

#[test]
fn the_access_log_can_be_off() {
    let engine = Engine::start(plain::behaviour());
    let gate = Setup::new(&engine).tables("[log]\naccess = \"off\"\n").start();
    assert_eq!(gate.client().ask(INFO).0, 200);
    assert_eq!(gate.stop().stdout, "");
}

#[test]
fn a_denial_has_its_rule_and_a_refusal_its_verdict() {
    let engine = Engine::start(plain::behaviour());
    let gate = Gate::typed(&engine);
    let mut client = gate.client();
    client.ask(post("/v1.41/containers/create", "", r#"{"HostConfig":{"Privileged":true}}"#));
    client.ask("GET /v1.41/containers/a%5Cb/json HTTP/1.1\r\nHost: a\r\n\r\n");
    client.ask("GET /v1.41/frob HTTP/1.1\r\nHost: a\r\n\r\n");
    let records = gate.records(3);
    assert_eq!(records[0]["verdict"], "deny");
    assert_eq!(records[0]["rule"], "container.privileged");
    assert_eq!(records[0]["status"], 403);
    assert_eq!(records[0]["operation"], "ContainerCreate");
    assert_eq!(records[1]["verdict"], "reject");
    assert_eq!((&records[2]["verdict"], &records[2]["status"]), (&"reject".into(), &404.into()));
}

#[test]
fn a_hijack_is_logged_at_its_end_with_its_bytes() {
    let engine = Engine::start(hijack_101::behaviour());
    let gate = Gate::typed(&engine);
    let mut client = crate::hijack::attached(gate.client());
    client.send("twelve bytes");
    assert_eq!(client.exactly(12), b"twelve bytes");
    assert_eq!(gate.stdout(), "", "it goes on");
    client.end_writing();
    assert!(client.is_over());
    let record = &gate.records(1)[0];
    assert_eq!(record["status"], 101);
    assert_eq!(record["operation"], "ContainerAttach");
    assert_eq!((&record["bytes_in"], &record["bytes_sent"]), (&12.into(), &12.into()));
}

#[test]
fn no_secret_is_in_any_log_whatever_becomes_of_the_call() {
    let body =
        r#"{"Image":"x","Env":["TOKEN=S3cr3t"],"Cmd":["login","S3cr3t"],"Labels":{"k":"S3cr3t"}}"#;
    let denied = r#"{"Env":["TOKEN=S3cr3t"],"HostConfig":{"Privileged":true}}"#;
    let twice = r#"{"Env":["TOKEN=S3cr3t"],"Env":["S3cr3t"]}"#;
    let unknown = r#"{"S3cr3tKey":"S3cr3t","Frob":"S3cr3t"}"#.replace("S3cr3tKey", "Frobnicate");
    let create = "/v1.41/containers/create";
    let secrets = "X-Registry-Auth: S3cr3t\r\nX-Registry-Config: S3cr3t\r\nAuthorization: Basic S3cr3t\r\n\
                   Cookie: S3cr3t\r\n";
    let requests = [
        post(create, "", body),
        post(create, "", denied),
        post(create, "", twice),
        post(create, "", &unknown),
        post(create, "", "{\"Env\":[\"S3cr3t"),
        post(
            "/containers/create?Image=x&Env=%5B%22S3cr3t%22%5D&HostConfig=S3cr3t&name=n",
            "",
            body,
        ),
        post("/v1.41/containers/create?Env=S3cr3t&Env=S3cr3t", "", body),
        post("/v1.41/images/create?fromImage=x", secrets, ""),
        post("/v1.41/build?buildargs=%7B%22A%22%3A%22S3cr3t%22%7D", secrets, ""),
        post("/v1.41/build?buildargs=S3cr3t&networkmode=host", secrets, ""),
        post("/v1.41/build?remote=https%3A%2F%2Fu%3AS3cr3t%40host%2Fx.git", "", ""),
        post("/v1.41/auth", "", r#"{"username":"u","password":"S3cr3t"}"#),
        post("/v1.41/containers/x/exec", "", r#"{"Cmd":["S3cr3t"],"Env":["S3cr3t"]}"#),
        post("/v1.41/commit?container=x&changes=ENV+A%3DS3cr3t", "", "{}"),
        post("/v1.41/frob?token=S3cr3t", secrets, ""),
        format!("GET /v1.41/info HTTP/1.1\r\nHost: S3cr3t\r\n{secrets}\r\n"),
        "GET /v1.41/info HTTP/1.1\r\nHost: a\r\nX-S3cr3t : x\r\n\r\n".to_owned(),
    ];
    for policies in ["[]", "[\"conservative\"]"] {
        let engine = Engine::start(plain::with(|_, _| {
            // And one that says things back.
            crate::support::http::answer("500 Internal Server Error", r#"{"message":"S3cr3t"}"#)
        }));
        let setup = Setup::new(&engine);
        let gate = if policies == "[]" { setup.start() } else { setup.typed().start() };
        for request in &requests {
            let mut client = gate.client();
            client.send(request);
            client.head();
        }
        let ended = gate.stop();
        let said = ended.stdout.clone() + &ended.stderr;
        let line = said.lines().find(|line| line.contains("S3cr3t"));
        assert_eq!(line, None, "policies = {policies}");
        assert_eq!(ended.stdout.lines().count(), requests.len());
    }
}

#[test]
fn a_stdout_that_nobody_reads_stops_no_call() {
    use std::os::unix::net::UnixStream;
    use std::process::Stdio;
    let engine = Engine::start(plain::behaviour());
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("g.sock");
    let mut command = crate::support::gate::dockgate(&[
        "serve",
        "--listen",
        &format!("unix://{}", socket.display()),
        "--engine",
        &format!("unix://{}", engine.path().display()),
        "--policy",
        "none",
    ]);
    // A pipe that is full after 64 KiB: held open, never read.
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the dockgate binary");
    crate::support::wait_until("it listens", || UnixStream::connect(&socket).is_ok());
    let mut client = crate::support::Conn::unix(&socket);
    for _ in 0..1000 {
        assert_eq!(client.ask("GET /_ping HTTP/1.1\r\nHost: a\r\n\r\n").0, 200);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn text_is_for_people_and_json_is_every_line() {
    let engine = Engine::start(plain::behaviour());
    let url = format!("unix://{}", engine.path().display());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dockgate.toml");
    let config = |log: &str| {
        let socket = dir.path().join("gate.sock");
        let text = format!(
            "[engine]\nurl = \"{}\"\n[log]\n{log}\n[[listener]]\nname = \"it\"\nurl = \"unix://{}\"\npolicies = []\n",
            url,
            socket.display(),
        );
        std::fs::write(&file, text).unwrap();
        let mut command = dockgate(&["serve", "-c", file.to_str().unwrap()]);
        command.env("DOCKGATE_LOG", "debug");
        (command, socket)
    };
    let (mut command, socket) = config("format = \"json\"\naccess = \"text\"");
    let gate = Gate::spawn(&mut command, tempfile::tempdir().unwrap(), socket, 1);
    assert_eq!(gate.client().ask("GET /v1.41/info HTTP/1.1\r\nHost: a\r\n\r\n").0, 200);
    wait_until("its record", || gate.stdout().contains('\n'));
    let words: Vec<String> = gate.stdout().split_whitespace().map(str::to_owned).collect();
    assert_eq!(words[1..6], ["it", "-", "GET", "/v1.41/info", "200"], "{words:?}");
    let ended = gate.stop();
    let mut said = Vec::new();
    for line in ended.stderr.lines() {
        let line: serde_json::Value = line.parse().unwrap_or_else(|_| panic!("no JSON: {line}"));
        said.push(line["message"].as_str().unwrap().to_owned());
    }
    for stage in
        ["accepted", "authenticated", "parsed", "decided", "sent", "answered", "listening on"]
    {
        assert!(said.iter().any(|line| line.starts_with(stage)), "{stage}: {said:?}");
    }
    // It fails later than the file is read: its folder is a file.
    std::fs::write(dir.path().join("gate.sock"), "").unwrap();
    let (mut command, _) = config("format = \"json\"");
    let failed = command.output().unwrap();
    assert_eq!(failed.status.code(), Some(1));
    let line: serde_json::Value =
        crate::support::text(&failed.stderr).lines().last().unwrap().parse().unwrap();
    assert!(line["message"].as_str().unwrap().contains("cannot be opened"), "{line}");
}

#[test]
fn a_level_that_there_is_not_is_an_error() {
    let mut command = dockgate(&[
        "serve",
        "--engine",
        "unix:///nowhere/engine.sock",
        "--listen",
        "unix:///nowhere/x.sock",
    ]);
    let output = command.env("DOCKGATE_LOG", "verbose").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = crate::support::text(&output.stderr);
    assert!(
        said.contains("`DOCKGATE_LOG` is `verbose`. hint: error, warn, info, debug, trace"),
        "{said}"
    );
}
