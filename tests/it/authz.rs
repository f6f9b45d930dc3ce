//! `authz` from outside: a plugin asked in both phases, and what becomes of plugins that fail.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::support::engine::{hijack_101, plain, silent};
use crate::support::gate::dockgate;
use crate::support::http::answer;
use crate::support::{Engine, Gate, Setup, text, wait_until};

const CREATE: &str = "POST /v1.41/containers/create";

/// A plugin that greets, and answers each question by `says(phase, what it is asked)`. (A fake engine is
/// an HTTP server like any other.)
fn plugin(says: impl Fn(&str, &Value) -> String + Send + Sync + 'static) -> Engine {
    Engine::deaf(plain::with(move |head, body| match head.path() {
        "/Plugin.Activate" => answer("200 OK", r#"{"Implements":["VolumeDriver","authz"]}"#),
        path => {
            let phase = path.strip_prefix("/AuthZPlugin.").unwrap();
            answer("200 OK", &says(phase, &std::str::from_utf8(body).unwrap().parse().unwrap()))
        }
    }))
}

fn gate_asking(engine: &Engine, socket: &Path, more: &str) -> Gate {
    let url = format!("kind = \"authz\"\nurl = \"unix://{}\"\n{more}", socket.display());
    let setup = Setup::new(engine).policies(r#"["legacy"]"#);
    setup.tables(&format!("[policy.legacy]\n{url}\n")).start()
}

fn request(line: &str, body: &str) -> String {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    format!("{line} HTTP/1.1\r\nHost: a\r\n{kind}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn body_of(asked: &Value, key: &str) -> String {
    text(&STANDARD.decode(asked[key].as_str().unwrap_or_default()).unwrap())
}

/// Paths that the plugin was asked by, in order.
fn paths(plugin: &Engine) -> Vec<String> {
    let path = |seen: &String| seen.split(' ').nth(1).unwrap_or_default().to_owned();
    plugin.seen().iter().map(path).collect()
}

const ALLOW: &str = r#"{"Allow":true}"#;

#[test]
fn a_plugin_is_greeted_once_and_asked_before_and_after_each_call() {
    let plugin = plugin(|_, _| ALLOW.to_owned());
    let engine = Engine::start(plain::behaviour());
    let gate = gate_asking(&engine, plugin.path(), "");
    let mut client = gate.client();
    for _ in 0..2 {
        assert_eq!(client.ask(request("GET /v1.41/info", "")).0, 200);
    }
    let (req, res) = ("/AuthZPlugin.AuthZReq", "/AuthZPlugin.AuthZRes");
    assert_eq!(paths(&plugin), ["/Plugin.Activate", req, res, req, res]);
    let asked = &plugin.seen()[1];
    assert!(asked.contains("accept: application/vnd.docker.plugins.v1.2+json\r\n"), "{asked}");
    assert!(asked.contains("host: localhost\r\n"), "{asked}");
}

#[test]
fn a_request_is_judged_by_what_stands_at_the_end_of_three_mebibytes() {
    let plugin = plugin(|phase, asked| {
        match phase == "AuthZReq" && body_of(asked, "RequestBody").contains(r#""Privileged":true"#)
        {
            true => r#"{"Allow":false,"Msg":"no privileged containers"}"#.to_owned(),
            false => ALLOW.to_owned(),
        }
    });
    let engine = Engine::start(plain::behaviour());
    // A debug build on a busy machine takes its time for 4 MiB.
    let gate = gate_asking(&engine, plugin.path(), "timeout = \"1m\"");
    let body = |privileged| {
        let long = "x".repeat(3 << 20);
        format!(r#"{{"Labels":{{"a":"{long}"}},"HostConfig":{{"Privileged":{privileged}}}}}"#)
    };
    let (status, said) = gate.client().ask(request(CREATE, &body(true)));
    let wanted = "authorization denied by plugin legacy: no privileged containers";
    assert_eq!((status, said), (403, format!("{{\"message\":\"{wanted}\"}}\n")));
    assert!(engine.seen().is_empty());
    assert_eq!(gate.client().ask(request(CREATE, &body(false))).0, 200);
    let records = gate.records(2);
    let denied = records.iter().find(|record| record["status"] == 403).unwrap();
    assert_eq!((&denied["verdict"], &denied["rule"]), (&"deny".into(), &"authz.request".into()));
}

#[test]
fn a_body_without_a_length_is_shown_like_any_other() {
    let plugin = plugin(|_, asked| match body_of(asked, "RequestBody").contains("Privileged") {
        true => r#"{"Allow":false,"Msg":"no"}"#.to_owned(),
        false => ALLOW.to_owned(),
    });
    let engine = Engine::start(plain::behaviour());
    let gate = gate_asking(&engine, plugin.path(), "");
    let chunked = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
                   23\r\n{\"HostConfig\":{\"Privileged\":true}}\n\r\n0\r\n\r\n";
    let (status, said) = gate.client().ask(format!("{CREATE} HTTP/1.1\r\nHost: a\r\n{chunked}"));
    assert_eq!(status, 403, "{said}");
    assert!(engine.seen().is_empty());
}

#[test]
fn an_answer_that_is_denied_is_not_shown_and_its_connection_not_used_again() {
    let plugin = plugin(|phase, asked| {
        match phase == "AuthZRes" && body_of(asked, "ResponseBody").contains("S3cr3t") {
            true => r#"{"Allow":false,"Msg":"not for you"}"#.to_owned(),
            false => ALLOW.to_owned(),
        }
    });
    let engine = Engine::start(plain::with(|head, _| {
        let secret = head.path().contains("secret");
        answer("200 OK", if secret { r#"{"a":"S3cr3t"}"# } else { r#"{"a":"open"}"# })
    }));
    let gate = gate_asking(&engine, plugin.path(), "");
    let mut client = gate.client();
    for _ in 0..2 {
        let (status, said) = client.ask(request("GET /v1.41/containers/secret/json", ""));
        let wanted = "authorization denied by plugin legacy: not for you";
        assert_eq!((status, said), (403, format!("{{\"message\":\"{wanted}\"}}\n")));
        let (status, said) = client.ask(request("GET /v1.41/containers/open/json", ""));
        assert_eq!((status, said.as_str()), (200, r#"{"a":"open"}"#));
    }
    assert!(gate.records(4).iter().any(|record| record["rule"] == "authz.response"));
}

#[test]
fn a_stream_is_denied_before_the_client_sees_any_of_it() {
    let plugin = plugin(|phase, asked| match (phase, asked["ResponseStatusCode"].as_u64()) {
        ("AuthZRes", Some(101)) => r#"{"Allow":false,"Msg":"no terminals"}"#.to_owned(),
        _ => ALLOW.to_owned(),
    });
    let engine = Engine::start(hijack_101::behaviour());
    let gate = gate_asking(&engine, plugin.path(), "");
    let mut client = gate.client();
    let upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\n\
                   Content-Length: 2\r\n\r\n{}";
    let (status, said) =
        client.ask(format!("POST /v1.41/exec/e/start HTTP/1.1\r\nHost: a\r\n{upgrade}"));
    assert_eq!(status, 403, "{said}");
    assert!(said.contains("no terminals"), "{said}");
    wait_until("the engine's connection ends", || engine.open() == 0);
}

#[test]
fn answers_without_a_body_stay_without_one() {
    let plugin = plugin(|_, _| ALLOW.to_owned());
    for head in [
        "HTTP/1.1 204 No Content\r\nApi-Version: 1.41\r\n\r\n",
        // As dockerd answers the start of a container that runs.
        "HTTP/1.1 304 Not Modified\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n\r\n",
    ] {
        let engine = Engine::start(plain::says(head));
        let gate = gate_asking(&engine, plugin.path(), "");
        let mut client = gate.client();
        for _ in 0..2 {
            client.send(request("POST /v1.41/containers/x/start", ""));
            let got = client.head();
            assert!([204, 304].contains(&got.status()), "{got:?}");
            assert_eq!(got.get("content-length"), None, "{got:?}");
        }
    }
}

#[test]
fn a_plugin_that_fails_lets_nothing_through() {
    let huge = format!(r#"{{"Allow":true,"Msg":"{}"}}"#, "x".repeat(70_000));
    let refused = |plugin: &Path, keys: &str| {
        let engine = Engine::start(plain::behaviour());
        let gate = gate_asking(&engine, plugin, keys);
        let (status, said) = gate.client().ask(request("GET /v1.41/info", ""));
        assert!(engine.seen().is_empty());
        assert_eq!(status, 500, "{said}");
        assert_eq!(gate.records(1)[0]["rule"], "authz.failed");
        let said: Value = said.parse().unwrap();
        let said = said["message"].as_str().unwrap().to_owned();
        said.strip_prefix("plugin legacy failed with error: ").expect(&said).to_owned()
    };
    for (says, wanted) in [
        ("yes", "AuthZPlugin.AuthZReq: the answer is no JSON"),
        ("{\"Allow\":true} {}", "AuthZPlugin.AuthZReq: the answer is no JSON"),
        (r#"{"Allow":true,"Err":"out of order"}"#, "out of order"),
        (&huge, "AuthZPlugin.AuthZReq: the answer is longer than 65536 bytes"),
    ] {
        let says = says.to_owned();
        let plugin = plugin(move |_, _| says.clone());
        assert_eq!(refused(plugin.path(), ""), wanted);
    }
    let greets = |says: &str| Engine::deaf(plain::says(answer("200 OK", says)));
    let wanted = "the plugin does not implement `authz`";
    assert_eq!(refused(greets(r#"{"Implements":["VolumeDriver"]}"#).path(), ""), wanted);
    assert_eq!(refused(greets(r#"{"Allow":true}"#).path(), ""), wanted);
    let broken = Engine::deaf(plain::says(answer("500 Oh", r#"{"Err":"broken inside"}"#)));
    let wanted = "Plugin.Activate: the answer's status is 500: broken inside";
    assert_eq!(refused(broken.path(), ""), wanted);
    let mute = Engine::deaf(silent::behaviour());
    let wanted = "there is no answer within 300ms";
    assert_eq!(refused(mute.path(), "timeout = \"300ms\""), wanted);
    let gone = refused(Path::new("/nonexistent/plugin.sock"), "");
    assert!(gone.starts_with("Plugin.Activate: "), "{gone}");
}

#[test]
fn one_that_failed_is_greeted_again() {
    let plugin = plugin(|_, asked| match asked["RequestUri"].as_str() {
        Some("/v1.41/version") => "garbage".to_owned(),
        _ => ALLOW.to_owned(),
    });
    let engine = Engine::start(plain::behaviour());
    let gate = gate_asking(&engine, plugin.path(), "");
    let ask = |path: &str| gate.client().ask(request(&format!("GET /v1.41/{path}"), "")).0;
    assert_eq!((ask("info"), ask("version"), ask("info")), (200, 500, 200));
    assert_eq!(paths(&plugin).iter().filter(|path| *path == "/Plugin.Activate").count(), 2);
}

#[test]
fn one_that_only_audits_blocks_nothing_and_is_written_down() {
    let no = plugin(|phase, _| format!(r#"{{"Allow":false,"Msg":"no {phase}"}}"#));
    let engine = Engine::start(plain::behaviour());
    let gate = gate_asking(&engine, no.path(), "mode = \"audit\"");
    assert_eq!(gate.client().ask(request("GET /v1.41/info", "")).0, 200);
    let record = &gate.records(1)[0];
    assert_eq!((&record["verdict"], &record["rule"]), (&"audit".into(), &"authz.request".into()));
    let rules = record["findings"].as_array().unwrap().iter().map(|one| &one["rule"]);
    assert_eq!(rules.collect::<Vec<_>>(), ["authz.request", "authz.response"]);
}

#[test]
fn a_bad_address_is_found_by_check_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dockgate.toml");
    for (keys, wanted) in [
        ("", "6:9: `[policy.legacy]` needs `url`"),
        ("url = \"opa.sock\"", "8:7: `opa.sock` is not an address of a plugin"),
        ("url = \"unix:///p.sock:/path\"", "8:7: the URL of a plugin has no path"),
        ("url = \"https:///\"", "8:7: the URL is malformed"),
        ("url = \"http://10.0.0.1/\"", "8:7: a plugin beyond this machine"),
        ("url = \"unix:///p\"\ntimeout = \"soon\"", "9:11: `soon` is not a duration"),
        ("url = \"unix:///p\"\nca = \"ca.pem\"", "9:6: `ca` is for `https://`"),
        ("url = \"https://p\"\nca = \"ca.pem\"", "9:6: `"),
        ("url = \"unix:///p\"\nports = \"any\"", "9:9: `ports` is not a key of `kind = \"authz\"`"),
    ] {
        let listener = "[[listener]]\nname = \"it\"\nurl = \"unix:///x.sock\"\n";
        let policy =
            format!("policies = [\"legacy\"]\n\n[policy.legacy]\nkind = \"authz\"\n{keys}\n");
        std::fs::write(&file, format!("{listener}{policy}")).unwrap();
        let output = dockgate(&["check", "-c", file.to_str().unwrap()]).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{keys}: {said}");
        assert!(said.contains(&format!("dockgate.toml:{wanted}")), "{keys}: {said}");
    }
}

/// `examples/authz-plugin.py`, running.
struct Example {
    child: std::process::Child,
    dir: tempfile::TempDir,
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_example_does_what_its_page_says_and_the_page_shows_it_as_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("example.sock");
    let program = root.join("examples/authz-plugin.py");
    let mut command = std::process::Command::new("python3");
    command.arg(&program).arg(&socket).stdin(std::process::Stdio::null());
    let example = Example { child: command.spawn().expect("python3"), dir };
    let socket = example.dir.path().join("example.sock");
    wait_until("the example listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    let engine = Engine::start(plain::behaviour());
    let gate = gate_asking(&engine, &socket, "");
    for (body, status) in [
        (r#"{"Image":"x"}"#, 200),
        (r#"{"Image":"x","HostConfig":{"Privileged":false}}"#, 200),
        (r#"{"Image":"x","HostConfig":{"Privileged":true}}"#, 403),
        // Written anew before the plugin sees it.
        (r#"{"Image":"x","hostconfig":{"PRIVILEGED":true}}"#, 403),
    ] {
        let (got, said) = gate.client().ask(request(CREATE, body));
        assert_eq!(got, status, "{body}: {said}");
    }
    let page = std::fs::read_to_string(root.join("docs/policies/authz.md")).unwrap();
    let source = std::fs::read_to_string(program).unwrap();
    assert!(page.contains(&format!("```python\n{source}```\n")));
}
