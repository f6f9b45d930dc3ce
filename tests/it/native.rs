//! HTTP/2 without an upgrade, and BuildKit's protocol over it and behind upgrades, with an engine that has either.

use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::runtime::Runtime;

use crate::support::engine::grpc::{self, HEALTH, SESSION, UNKNOWN};
use crate::support::{Engine, Gate, Setup, text};

const SOLVE: &str = "/moby.buildkit.v1.Control/Solve";
const LIST_WORKERS: &str = "/moby.buildkit.v1.Control/ListWorkers";

/// Before and after engines took gRPC on the socket itself.
const VERSIONS: [&str; 2] = ["1.51", "1.53"];

fn engine(version: &str) -> Engine {
    Engine::speaking(version, grpc::behaviour())
}

/// A client that speaks HTTP/2.
pub(crate) struct H2 {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
}

impl H2 {
    pub(crate) fn new(socket: &Path) -> H2 {
        H2::upgraded(Vec::new(), std::os::unix::net::UnixStream::connect(socket).unwrap())
    }

    /// Behind an upgrade that was given in to.
    fn upgraded(read: Vec<u8>, socket: std::os::unix::net::UnixStream) -> H2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sender = runtime.block_on(async {
            socket.set_nonblocking(true).unwrap();
            let socket = tokio::net::UnixStream::from_std(socket).unwrap();
            let (reader, writer) = socket.into_split();
            let io = tokio::io::join(std::io::Cursor::new(read).chain(reader), writer);
            let stream = TokioIo::new(io);
            let (sender, connection) = handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            sender
        });
        H2 { runtime, sender }
    }

    pub(crate) fn ask(&mut self, request: Request<Full<Bytes>>) -> (u16, HeaderMap, Bytes) {
        self.runtime.block_on(async {
            let response = self.sender.send_request(request).await.unwrap();
            let (head, body) = response.into_parts();
            let body = body.collect().await.unwrap();
            let mut fields = head.headers;
            fields.extend(body.trailers().cloned().unwrap_or_default());
            (head.status.as_u16(), fields, body.to_bytes())
        })
    }

    /// A call whose answer has no end yet; what keeps it open.
    pub(crate) fn begin(&mut self, request: Request<Full<Bytes>>) -> impl Sized {
        self.runtime.block_on(self.sender.send_request(request)).unwrap()
    }

    /// A REST request; its status and body.
    fn rest(&mut self, method: &str, path: &str, body: &'static str) -> (u16, String) {
        let request = Request::builder().method(method).uri(format!("http://localhost{path}"));
        let request = match body {
            "" => request,
            _ => request.header("content-type", "application/json"),
        };
        let (status, _, body) = self.ask(request.body(Full::from(body)).unwrap());
        (status, text(&body))
    }

    /// A call of gRPC whose end nobody here waits for.
    pub(crate) fn begin_call(&self, path: &str, message: &[u8]) {
        let (mut sender, request) = (self.sender.clone(), grpc_call(path, message));
        let (sent, is_sent) = std::sync::mpsc::channel();
        self.runtime.block_on(async {
            tokio::spawn(async move {
                let answer = sender.send_request(request);
                let _ = sent.send(());
                let _ = answer.await;
            });
            // Its bytes leave while somebody drives the connection.
            while is_sent.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
        });
    }

    /// A call of gRPC with this message; its status, and its message where it has one.
    pub(crate) fn call(&mut self, path: &str, message: &[u8]) -> (String, String) {
        let (status, fields, _) = self.ask(grpc_call(path, message));
        assert_eq!(status, 200);
        let said = fields.get("grpc-message").map_or(&b""[..], |said| said.as_bytes());
        let said = percent_encoding::percent_decode(said).decode_utf8().unwrap().into_owned();
        (fields["grpc-status"].to_str().unwrap().to_owned(), said)
    }
}

fn grpc_call(path: &str, message: &[u8]) -> Request<Full<Bytes>> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::from([&[0][..], &length, message].concat()))
        .unwrap()
}

#[test]
fn rest_over_http_2_goes_through_the_stages_of_any_other_request() {
    let engine = engine("1.51");
    let gate = Gate::conservative(&engine);
    let mut client = H2::new(gate.socket());
    let (status, body) = client.rest("GET", "/v1.41/containers/json?all=1", "");
    assert_eq!((status, body.as_str()), (200, r#"{"path":"/containers/json","body":0}"#));
    let create = r#"{"Image":"x","HostConfig":{"Privileged":true}}"#;
    let (status, body) = client.rest("POST", "/v1.41/containers/create", create);
    assert!(status == 403 && body.contains("container.privileged"), "{status} {body}");
    let (status, body) = client.rest("GET", "/v1.41/nothing", "");
    assert!(status == 404 && body.contains("page not found"), "{status} {body}");
    for path in ["/containers/x/attach", "/exec/x/start", "/grpc", "/session", "/v1.41/grpc"] {
        let (status, body) = client.rest("POST", path, "");
        assert!(status == 501 && body.contains("HTTP/2"), "{path}: {status} {body}");
    }
    let records = gate.records(3);
    let operations: Vec<&Value> = records.iter().map(|record| &record["operation"]).collect();
    assert_eq!(operations, ["ContainerList", "ContainerCreate", "-"]);
    assert_eq!(records[1]["rule"], "container.privileged");
    assert_eq!(engine.seen().iter().filter(|line| line.starts_with("POST")).count(), 0);
}

#[test]
fn each_request_says_by_itself_who_makes_it() {
    let engine = engine("1.51");
    let dir = tempfile::tempdir().unwrap();
    // `ann` with `secret`.
    std::fs::write(dir.path().join("htpasswd"), crate::authenticate::HTPASSWD).unwrap();
    let gate = Setup::new(&engine)
        .policies(r#"["conservative"]"#)
        .listener("auth = [\"password\"]\n")
        .tables("[auth.password]\nkind = \"basic\"\nfile = \"htpasswd\"\n")
        .files(dir)
        .start();
    let mut client = H2::new(gate.socket());
    assert_eq!(client.rest("GET", "/_ping", "").0, 401);
    assert_eq!(client.call(LIST_WORKERS, &[]).0, "16");
    let with = |path: &str| {
        Request::get(format!("http://localhost{path}"))
            .header("authorization", "Basic YW5uOnNlY3JldA==")
            .body(Full::default())
            .unwrap()
    };
    assert_eq!(client.ask(with("/_ping")).0, 200);
    assert_eq!(client.rest("GET", "/_ping", "").0, 401, "nobody is remembered");
    let users: Vec<Value> = gate.records(4).iter().map(|record| record["user"].clone()).collect();
    assert_eq!(users, ["-", "-", "ann", "-"]);
}

/// SolveRequest{Ref: "r", Frontend: "dockerfile.v0", Entitlements: [..]}
fn solve(entitlement: &str) -> Vec<u8> {
    let mut message = b"\x0a\x01r\x32\x0ddockerfile.v0".to_vec();
    if !entitlement.is_empty() {
        message.extend([0x4a, u8::try_from(entitlement.len()).unwrap()]);
        message.extend(entitlement.bytes());
    }
    message
}

#[test]
fn calls_are_judged_by_the_rules_and_leave_a_record_each_whichever_way_the_engine_takes_them() {
    for version in VERSIONS {
        let engine = engine(version);
        let gate = Gate::conservative(&engine);
        let mut client = H2::new(gate.socket());
        assert_eq!(client.call(LIST_WORKERS, &[]), ("0".to_owned(), String::new()));
        engine.wait_note(&format!("{LIST_WORKERS} 0000000000"));
        let is_native = engine.notes().contains(&"without an upgrade".to_owned());
        assert_eq!(is_native, version == "1.53");
        let (code, said) = client.call(SOLVE, &solve("network.host"));
        assert_eq!(code, "7", "{said}");
        assert!(said.contains("(rule build.entitlement)"), "{said}");
        // What is sent is written anew, with the rules of the listener in it.
        assert_eq!(client.call(SOLVE, &solve("")).0, "0");
        let notes = engine.notes();
        let solves: Vec<&String> = notes.iter().filter(|note| note.starts_with(SOLVE)).collect();
        assert_eq!(solves.len(), 1, "{notes:?}");
        let policy: String = "docker-image://".bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(solves[0].contains(&policy), "{solves:?}");
        // A field that nobody knows, a method that nobody knows.
        let (code, said) = client.call(SOLVE, &[&solve("")[..], b"\xa2\x06\x00"].concat());
        assert!(code == "7" && said.contains("closed-world.field"), "{code} {said}");
        for path in ["/moby.buildkit.v1.Control/Solved", "/grpc.reflection.v1.ServerReflection/X"] {
            assert_eq!(client.call(path, &[]).0, "12", "{path}");
        }
        let records = gate.records(6);
        let rules: Vec<&Value> = records.iter().map(|record| &record["rule"]).collect();
        let unknown = "closed-world.method";
        assert_eq!(rules, ["-", "build.entitlement", "-", "closed-world.field", unknown, unknown]);
        assert_eq!(records[1]["operation"], "Solve");
        assert_eq!(records[1]["verdict"], "deny");
    }
}

/// The same with `FrontendAttrs: {"target": "x"}`.
fn solve_target(target: &str) -> Vec<u8> {
    let text = |number: u8, text: &str| {
        [&[number << 3 | 2, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
    };
    let entry = [text(1, "target"), text(2, target)].concat();
    [solve(""), text(7, &String::from_utf8(entry).unwrap())].concat()
}

#[cfg(feature = "rego")]
#[test]
fn a_policy_in_rego_sees_a_build_and_refuses_it_in_its_own_words() {
    let ours = "package dockgate\nallow := true\ndeny contains \"nobody builds x\" if {\n\
                input.operation == \"Solve\"\ninput.Body.FrontendAttrs.target == \"x\"\n}\n";
    for version in VERSIONS {
        let engine = engine(version);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ours.rego"), ours).unwrap();
        let tables = "[policy.ours]\nkind = \"rego\"\nfile = \"ours.rego\"\n\
                      [policy.sizes]\nkind = \"limits\"\nmax = { memory = \"1g\" }\n";
        let setup = Setup::new(&engine).policies(r#"["ours", "sizes"]"#).tables(tables);
        let gate = setup.files(dir).start();
        let mut client = H2::new(gate.socket());
        let (code, said) = client.call(SOLVE, &solve_target("x"));
        let wanted = format!("dockgate: {SOLVE}: nobody builds x (rule rego.ours)");
        assert_eq!((code, said), ("7".to_owned(), wanted));
        assert_eq!(client.call(SOLVE, &solve_target("y")).0, "0");
        let notes = engine.notes();
        let solves: Vec<&String> = notes.iter().filter(|note| note.starts_with(SOLVE)).collect();
        assert_eq!(solves.len(), 1, "{notes:?}");
        let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert!(solves[0].contains(&hex("1073741824")), "with a limit of memory: {solves:?}");
        let records = gate.records(2);
        let of = |key: &str| [records[0][key].clone(), records[1][key].clone()];
        assert_eq!(of("operation"), ["Solve", "Solve"]);
        assert_eq!(of("verdict"), ["deny", "allow"]);
        assert_eq!(of("rule"), ["rego.ours", "-"]);
        assert!(records[1]["bytes_in"].as_u64() > Some(0), "{records:?}");
    }
}

#[test]
fn a_build_that_is_only_audited_passes_as_it_came_and_leaves_what_can_be_learned() {
    let engine = engine("1.51");
    let tables = "[policy.looks]\nkind = \"conservative\"\nmode = \"audit\"\n";
    let gate = Setup::new(&engine).policies(r#"["looks"]"#).tables(tables).start();
    let mut client = gate.client();
    client.send("POST /grpc HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    assert_eq!(client.head().status(), 101);
    let (read, socket) = client.parts();
    let mut client = H2::upgraded(read, socket);
    let message = solve("network.host");
    assert_eq!(client.call(SOLVE, &message).0, "0");
    let hex: String = message.iter().map(|byte| format!("{byte:02x}")).collect();
    engine.wait_note(&format!("{SOLVE} 00{:08x}{hex}", message.len()));
    let record = gate.records(2).remove(1);
    assert_eq!((&record["operation"], &record["verdict"]), (&"Solve".into(), &"audit".into()));
    let finding = &record["findings"][0];
    assert_eq!(finding["rule"], "build.entitlement");
    assert_eq!(finding["operation"], "Solve");
    assert_eq!(finding["found"], serde_json::json!(["network.host"]));
}

#[test]
fn what_the_engine_asks_in_a_session_is_what_clients_have() {
    for version in VERSIONS {
        let engine = engine(version);
        let gate = Gate::conservative(&engine);
        let mut client = gate.client();
        client.send(
            "POST /session HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\
             X-Docker-Expose-Session-Uuid: mine\r\n\r\n",
        );
        assert_eq!(client.head().status(), 101, "{version}");
        engine.wait_note("session mine");
        if version == "1.53" {
            // The call of an engine that has them, whose answer nobody waits for here.
            continue;
        }
        let (read, socket) = client.parts();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            socket.set_nonblocking(true).unwrap();
            let socket = tokio::net::UnixStream::from_std(socket).unwrap();
            let (reader, writer) = socket.into_split();
            let io = tokio::io::join(std::io::Cursor::new(read).chain(reader), writer);
            let mut connection = h2::server::handshake(io).await.unwrap();
            let (request, mut respond) = connection.accept().await.unwrap().unwrap();
            assert_eq!(request.uri().path(), HEALTH);
            let mut down = respond.send_response(http::Response::new(()), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            down.send_trailers(trailers).unwrap();
            drop((request, down, respond));
            // The second one never comes.
            assert!(connection.accept().await.is_none_or(|next| next.is_err()));
        });
        engine.wait_note(&format!("{HEALTH} 0"));
        engine.wait_note(&format!("{UNKNOWN} 12"));
    }
}

#[test]
fn a_session_as_a_call_reaches_an_engine_that_has_them_behind_an_upgrade() {
    let engine = engine("1.51");
    let gate = Gate::conservative(&engine);
    let mut client = H2::new(gate.socket());
    let request = |uuid: Option<&str>| {
        let request = Request::post(format!("http://localhost{SESSION}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let request = match uuid {
            Some(uuid) => request.header("x-docker-expose-session-uuid", uuid),
            None => request,
        };
        request.body(Full::default()).unwrap()
    };
    let (_, fields, _) = client.ask(request(None));
    assert_eq!(fields["grpc-status"], "3", "a session without a name");
    // Its client says nothing more, so that it ends.
    let (status, _, _) = client.ask(request(Some("mine")));
    assert_eq!(status, 200);
    engine.wait_note("session mine");
    let records = gate.records(2);
    assert_eq!(records[0]["rule"], "build.session");
    assert_eq!(records[1]["operation"], "ControlSession");
}

#[test]
fn an_upgrade_with_a_body_is_no_beginning_of_http_2() {
    let engine = engine("1.51");
    let gate = Gate::conservative(&engine);
    let mut client = gate.client();
    client.send(
        "POST /grpc HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\
         Content-Length: 3\r\n\r\nabc",
    );
    client.end_writing();
    let rest = text(&client.rest());
    assert!(!rest.contains("200"), "{rest}");
    assert_eq!(engine.notes(), Vec::<String>::new());
}
