//! The admin socket of the real binary: health, readiness, metrics and `dockgate reload`.

use std::path::{Path, PathBuf};
use std::process::Output;

use tempfile::TempDir;

use crate::hijack::attached;
use crate::metrics_text::{Format, Page, read};
use crate::support::engine::{hijack_101, plain, refusing};
use crate::support::gate::dockgate;
use crate::support::{Conn, Engine, Gate, Setup, text, wait_until};

const PING: &str = "GET /v1.41/_ping HTTP/1.1\r\nHost: a\r\n\r\n";
const ADMIN_TCP_PORT: u16 = 9323;

/// A gate and its admin socket, which is in a folder of its own.
struct Watched {
    gate: Gate,
    dir: TempDir,
}

impl Watched {
    fn new(setup: Setup) -> Watched {
        Watched::with(setup, "", "")
    }

    /// With a second admin address and further tables.
    fn with(setup: Setup, second: &str, more: &str) -> Watched {
        let dir = tempfile::tempdir().unwrap();
        let first = socket(&dir);
        let tables = format!("[admin]\nlisten = [\"unix://{}\"{second}]\n{more}", first.display());
        let watched = Watched { gate: setup.tables(&tables).start(), dir };
        wait_until("the admin socket answers", || watched.socket().exists());
        watched
    }

    fn socket(&self) -> PathBuf {
        socket(&self.dir)
    }

    fn get(&self, path: &str) -> (u16, String) {
        get(&mut Conn::unix(&self.socket()), path)
    }

    fn metrics(&self) -> Page {
        let (status, body) = self.get("/metrics");
        assert_eq!(status, 200);
        read(&body, Format::Plain).unwrap_or_else(|why| panic!("{why}\n{body}"))
    }

    /// Calls are counted when they have ended, which a client may see a little earlier.
    fn until(&self, name: &str, labels: &[(&str, &str)], wanted: f64) {
        wait_until(&format!("{name}{labels:?} is {wanted}"), || {
            self.metrics().value(name, labels) == wanted
        });
    }

    fn reload(&self, more: &[&str]) -> Output {
        let url = format!("unix://{}", self.socket().display());
        run(&[&["reload", "--socket", &url], more].concat())
    }
}

fn socket(dir: &TempDir) -> PathBuf {
    dir.path().join("admin.sock")
}

fn get(conn: &mut Conn, path: &str) -> (u16, String) {
    conn.ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

fn run(args: &[&str]) -> Output {
    dockgate(args).output().expect("the dockgate binary")
}

fn edit(file: &Path, edit: impl Fn(String) -> String) {
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, edit(text)).unwrap();
}

#[test]
fn ready_means_that_the_engine_answers_and_each_listener_is_bound() {
    let engine = Engine::start(plain::behaviour());
    let watched = Watched::new(Setup::new(&engine).tcp());
    let (status, body) = watched.get("/readyz");
    assert_eq!(status, 200, "{body}");
    for line in ["engine: ok", "listener it: ok", "listener it-tcp: ok"] {
        assert!(body.lines().any(|one| one == line), "{body}");
    }
    assert_eq!(watched.get("/healthz"), (200, "ok\n".to_owned()));
}

#[test]
fn without_an_engine_it_is_alive_and_not_ready() {
    let (_dir, url) = refusing::address();
    let watched = Watched::new(Setup::at(&url));
    let (status, body) = watched.get("/readyz");
    assert_eq!(status, 503, "{body}");
    assert!(
        body.lines().any(|line| line.starts_with("engine: ") && line != "engine: ok"),
        "{body}"
    );
    assert!(body.lines().any(|line| line == "listener it: ok"), "{body}");
    assert_eq!(watched.get("/healthz").0, 200);
}

#[test]
fn a_drain_is_not_ready() {
    let engine = Engine::start(hijack_101::behaviour());
    let watched = Watched::new(Setup::new(&engine));
    let mut client = attached(watched.gate.client());
    watched.gate.signal("TERM");
    wait_until("it drains", || watched.get("/readyz").0 == 503);
    assert!(watched.get("/readyz").1.starts_with("gateway: draining\n"));
    client.end_writing();
    assert!(client.is_over());
    let Watched { gate, dir } = watched;
    assert_eq!(gate.ended().code, Some(0));
    assert!(!socket(&dir).exists(), "its file goes with it");
}

#[test]
fn calls_are_counted_by_operation_status_and_verdict_and_timed_by_stage() {
    let engine = Engine::start(plain::behaviour());
    let watched = Watched::new(Setup::new(&engine).typed());
    for _ in 0..2 {
        let mut client = watched.gate.client();
        for _ in 0..3 {
            assert_eq!(client.ask(PING).0, 200);
        }
    }
    let pings =
        [("listener", "it"), ("operation", "SystemPing"), ("status", "200"), ("verdict", "allow")];
    watched.until("dockgate_requests_total", &pings, 6.0);
    let page = watched.metrics();
    assert_eq!(page.value("dockgate_requests_total", &[]), 6.0);
    for stage in ["accept", "authenticate", "parse", "decide", "send", "answer"] {
        let labels = [("operation", "SystemPing"), ("stage", stage)];
        assert_eq!(page.value("dockgate_request_seconds_count", &labels), 6.0, "{stage}");
        assert!(page.value("dockgate_request_seconds_sum", &labels) > 0.0, "{stage}");
    }
    assert!(page.value("dockgate_bytes_total", &[("direction", "out")]) > 0.0);
    assert_eq!(page.value("dockgate_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
}

#[test]
fn openmetrics_is_well_formed_too() {
    let engine = Engine::start(plain::behaviour());
    let watched = Watched::new(Setup::new(&engine).typed());
    watched.gate.client().ask(PING);
    let (status, body) = Conn::unix(&watched.socket()).ask(
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\
         Accept: application/openmetrics-text;version=1.0.0\r\n\r\n",
    );
    assert_eq!(status, 200);
    read(&body, Format::OpenMetrics).unwrap_or_else(|why| panic!("{why}\n{body}"));
}

#[test]
fn a_denial_is_counted_by_its_rule_and_has_no_later_stages() {
    let engine = Engine::start(plain::behaviour());
    let watched = Watched::new(Setup::new(&engine).typed());
    let body = r#"{"HostConfig":{"Privileged":true}}"#;
    let create = format!(
        "POST /v1.41/containers/create HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(watched.gate.client().ask(&create).0, 403);
    watched.until("dockgate_denied_total", &[("rule", "container.privileged")], 1.0);
    let page = watched.metrics();
    let denied = [("operation", "ContainerCreate"), ("status", "403"), ("verdict", "deny")];
    assert_eq!(page.value("dockgate_requests_total", &denied), 1.0);
    for (stage, count) in [("decide", 1.0), ("send", 0.0), ("answer", 1.0)] {
        let labels = [("operation", "ContainerCreate"), ("stage", stage)];
        assert_eq!(page.value("dockgate_request_seconds_count", &labels), count, "{stage}");
    }
    let bytes_in = [("listener", "it"), ("direction", "in")];
    assert_eq!(page.value("dockgate_bytes_total", &bytes_in), body.len() as f64);
}

#[test]
fn streams_and_connections_are_counted_while_they_are_open() {
    let engine = Engine::start(hijack_101::behaviour());
    let watched = Watched::new(Setup::new(&engine));
    let kind = [("kind", "ContainerAttach")];
    let here = [("listener", "it")];
    let mut clients = [attached(watched.gate.client()), attached(watched.gate.client())];
    watched.until("dockgate_streams_open", &kind, 2.0);
    watched.until("dockgate_connections_open", &here, 2.0);
    for client in &mut clients {
        client.end_writing();
        assert!(client.is_over());
    }
    watched.until("dockgate_streams_open", &kind, 0.0);
    watched.until("dockgate_connections_open", &here, 0.0);
    let hijacked = [("operation", "ContainerAttach"), ("status", "101")];
    watched.until("dockgate_requests_total", &hijacked, 2.0);
    let answers = [("operation", "ContainerAttach"), ("stage", "answer")];
    assert_eq!(watched.metrics().value("dockgate_request_seconds_count", &answers), 2.0);
}

#[test]
fn whoever_is_recognised_is_counted_by_authenticator_and_named_in_the_access_log() {
    let engine = Engine::start(plain::behaviour());
    let keys = tempfile::tempdir().unwrap();
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let public = keys.path().join("public.pem");
    std::fs::write(&public, pair.public_key_pem()).unwrap();
    let auth = format!(
        "[auth.sso]\nkind = \"jwt\"\nkey = \"{}\"\nissuer = \"https://i\"\naudience = \"dockgate\"\n\
         algorithms = [\"ES256\"]\nuser = \"sub\"\ngroups = \"teams\"\nclaims = [\"ref\"]\n",
        public.display()
    );
    let setup = Setup::new(&engine).listener("auth = [\"sso\"]\n").typed();
    let watched = Watched::with(setup, "", &auth);
    let claims = serde_json::json!({
        "iss": "https://i", "aud": "dockgate", "exp": 4_000_000_000_u64,
        "sub": "sam", "teams": ["ops", "dev"], "ref": "main",
    });
    let key = jsonwebtoken::EncodingKey::from_ec_der(&pair.serialize_der());
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
    let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
    let ping = |line: &str| {
        let request = format!("GET /v1.41/_ping HTTP/1.1\r\nHost: a\r\n{line}\r\n");
        watched.gate.client().ask(request).0
    };
    assert_eq!(ping(&format!("Authorization: Bearer {token}\r\n")), 200);
    assert_eq!(ping(&format!("Authorization: Bearer {token}x\r\n")), 401);
    assert_eq!(ping(""), 401);
    // Each is written by its own worker, when it has ended.
    let mut records = watched.gate.records(3);
    records.sort_by_key(|record| record["status"].as_u64());
    assert_eq!(records[0]["user"], "sam");
    assert_eq!(records[0]["auth"], "sso");
    assert_eq!(records[0]["groups"], serde_json::json!(["ops", "dev"]));
    assert_eq!(records[0]["claims"]["ref"], "main");
    for record in &records[1..] {
        assert_eq!((&record["user"], &record["auth"]), (&"-".into(), &"-".into()), "{record}");
        assert_eq!((&record["verdict"], &record["status"]), (&"reject".into(), &401.into()));
    }
    for (method, result) in [("sso", "recognised"), ("sso", "refused"), ("-", "unknown")] {
        let labels = [("listener", "it"), ("method", method), ("result", result)];
        watched.until("dockgate_authentications_total", &labels, 1.0);
    }
    let (_, body) = watched.get("/metrics");
    assert!(!body.contains("sam") && !body.contains("ops"), "{body}");
}

#[test]
fn nothing_that_a_client_chooses_becomes_a_label() {
    let engine = Engine::start(plain::behaviour());
    let watched = Watched::new(Setup::new(&engine).typed());
    for n in 0..50 {
        for target in
            [format!("/v1.41/containers/s3cret{n}/json"), format!("/v1.41/s3cret{n}?s3cret={n}")]
        {
            let request = format!("GET {target} HTTP/1.1\r\nHost: s3cret{n}\r\n\r\n");
            watched.gate.client().ask(request);
        }
    }
    watched.until("dockgate_requests_total", &[], 100.0);
    let (_, body) = watched.get("/metrics");
    assert!(!body.contains("s3cret"), "{body}");
    let page = read(&body, Format::Plain).unwrap();
    let operations = page.values_of("operation");
    assert_eq!(operations.into_iter().collect::<Vec<_>>(), ["-", "ContainerInspect"]);
}

#[test]
fn tcp_shows_and_changes_nothing() {
    let engine = Engine::start(plain::behaviour());
    // An address that no other test has.
    let pid = std::process::id().to_be_bytes();
    let address = format!("127.{}.{}.{}:{ADMIN_TCP_PORT}", pid[1] % 250 + 1, pid[2], pid[3]);
    let second = format!(", \"tcp://{address}\"");
    let watched = Watched::with(Setup::new(&engine), &second, "");
    let ask = |request: &str| Conn::tcp(&address).ask(request).0;
    assert_eq!(get(&mut Conn::tcp(&address), "/healthz").0, 200);
    assert_eq!(get(&mut Conn::tcp(&address), "/metrics").0, 200);
    assert_eq!(ask("POST /reload HTTP/1.1\r\nHost: localhost\r\n\r\n"), 403);
    assert_eq!(ask("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 403);
    assert_eq!(watched.metrics().value("dockgate_reloads_total", &[]), 0.0);
    assert_eq!(get(&mut Conn::tcp(&address), "/v1.41/_ping").0, 404, "no way to the engine");
}

#[test]
fn a_reload_by_command_is_said_and_counted_and_loses_no_count() {
    let engine = Engine::start(plain::behaviour());
    let watched = Watched::new(Setup::new(&engine).typed());
    assert_eq!(watched.gate.client().ask(PING).0, 200);
    watched.until("dockgate_requests_total", &[], 1.0);
    let config = watched.gate.config();
    let done = run(&["reload", "-c", config.to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert!(!done.stdout.is_empty() && done.stderr.is_empty());
    assert_eq!(watched.gate.client().ask(PING).0, 200);
    watched.until("dockgate_requests_total", &[("operation", "SystemPing")], 2.0);
    assert_eq!(watched.metrics().value("dockgate_reloads_total", &[("result", "ok")]), 1.0);
}

#[test]
fn a_reload_of_a_bad_file_has_the_complaints_and_changes_nothing() {
    let engine = Engine::start(plain::behaviour());
    let watched = Watched::new(Setup::new(&engine));
    edit(&watched.gate.config(), |text| text.replace("policies = []", "policies = [\"frob\"]"));
    let failed = watched.reload(&[]);
    assert_eq!((failed.status.code(), text(&failed.stdout).as_str()), (Some(1), ""));
    assert!(text(&failed.stderr).contains("frob"), "{}", text(&failed.stderr));
    let failed = watched.reload(&["--json"]);
    assert_eq!(failed.status.code(), Some(1));
    let said: serde_json::Value = text(&failed.stdout).parse().unwrap();
    assert_eq!(said["reloaded"], false);
    assert!(said["message"].as_str().unwrap().contains("frob"), "{said}");
    watched.until("dockgate_reloads_total", &[("result", "failed")], 2.0);
    assert_eq!(watched.metrics().value("dockgate_last_reload_successful", &[]), 0.0);
    assert_eq!(watched.gate.client().ask(PING).0, 200);
    edit(&watched.gate.config(), |text| text.replace("policies = [\"frob\"]", "policies = []"));
    let done = watched.reload(&["--json"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stdout));
    assert_eq!(text(&done.stdout).parse::<serde_json::Value>().unwrap()["reloaded"], true);
    assert_eq!(watched.metrics().value("dockgate_last_reload_successful", &[]), 1.0);
}

#[test]
fn a_reload_without_anybody_to_ask_ends_with_a_hint() {
    let engine = Engine::start(plain::behaviour());
    let gate = Gate::pass(&engine);
    let config = gate.config();
    let failed = run(&["reload", "-c", config.to_str().unwrap()]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stderr).contains("hint: set it to"), "{}", text(&failed.stderr));
    let nowhere = gate.dir().join("none.sock");
    let failed = run(&["reload", "--socket", &format!("unix://{}", nowhere.display())]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stderr).contains("hint: is `dockgate serve`"), "{}", text(&failed.stderr));
    assert_eq!(run(&["reload", "--socket", "tcp://127.0.0.1:1"]).status.code(), Some(2));
    assert_eq!(run(&["reload", "--frob"]).status.code(), Some(2));
}
