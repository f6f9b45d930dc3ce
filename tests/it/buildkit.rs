//! BuildKit where a policy is active: its clients are told so in their own protocol, print it, and ask for
//! nothing else.

use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::support::engine::plain;
use crate::support::{Conn, Engine, Gate, Setup, text};

const LIST_WORKERS: &str = "/moby.buildkit.v1.Control/ListWorkers";
const UPGRADE: &str = "Host: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n";

const SESSION: &str = "X-Docker-Expose-Session-Uuid: u\r\n";

/// A client that speaks HTTP/2.
struct H2 {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
}

impl H2 {
    fn new(socket: &Path, upgrade: &str) -> H2 {
        let mut client = std::os::unix::net::UnixStream::connect(socket).unwrap();
        if !upgrade.is_empty() {
            use std::io::{Read as _, Write as _};
            client.write_all(upgrade.as_bytes()).unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                client.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            assert_eq!(
                text(&head),
                "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
            );
        }
        client.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sender = runtime.block_on(async {
            let stream = TokioIo::new(tokio::net::UnixStream::from_std(client).unwrap());
            let (sender, connection) = handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            sender
        });
        H2 { runtime, sender }
    }

    fn ask(&mut self, request: Request<Full<Bytes>>) -> (u16, HeaderMap, String) {
        self.runtime.block_on(async {
            let response = self.sender.send_request(request).await.unwrap();
            let (head, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            (head.status.as_u16(), head.headers, text(&body))
        })
    }

    /// Calls a gRPC method; its status and message.
    fn call(&mut self, method: &str, authorization: Option<&str>) -> (String, String) {
        let request = grpc(method, authorization);
        let (status, headers, body) = self.ask(request);
        assert_eq!((status, body.as_str()), (200, ""));
        assert_eq!(headers["content-type"], "application/grpc");
        let message = percent_encoding::percent_decode(headers["grpc-message"].as_bytes());
        let message = message.decode_utf8().unwrap().into_owned();
        (headers["grpc-status"].to_str().unwrap().to_owned(), message)
    }
}

fn grpc(method: &str, authorization: Option<&str>) -> Request<Full<Bytes>> {
    let mut request = Request::post(format!("http://localhost{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    request.body(Full::from(Bytes::from_static(&[0; 5]))).unwrap()
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("http://localhost{path}")).body(Full::default()).unwrap()
}

/// A gate whose rules refuse BuildKit.
fn refusing(engine: &Engine) -> Gate {
    without_buildkit(Setup::new(engine)).start()
}

fn without_buildkit(setup: Setup) -> Setup {
    const RULES: &str = r#"extends = "conservative"
[refuse."class.buildkit"]
operations = ["Session", "Grpc"]
why = "BuildKit is not for this listener"
hint = "set `DOCKER_BUILDKIT=0`"
"#;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("r.toml"), RULES).unwrap();
    // `ann` with `secret`.
    std::fs::write(dir.path().join("htpasswd"), crate::authenticate::HTPASSWD).unwrap();
    let policy = "[policy.closed]\nkind = \"conservative\"\nrules = \"r.toml\"\n";
    setup.files(dir).policies(r#"["closed"]"#).tables(policy)
}

fn engine() -> Engine {
    Engine::start(plain::behaviour())
}

fn grpc_upgrade(client: &Gate) -> H2 {
    H2::new(client.socket(), &format!("POST /grpc HTTP/1.1\r\n{UPGRADE}Content-Length: 0\r\n\r\n"))
}

#[test]
fn every_method_behind_the_upgrade_is_refused_in_a_sentence_and_written_down() {
    let engine = engine();
    let gate = refusing(&engine);
    let mut client = grpc_upgrade(&gate);
    let methods = [
        LIST_WORKERS,
        "/moby.buildkit.v1.Control/Solve",
        "/moby.buildkit.v1.frontend.LLBBridge/Solve",
        "/containerd.services.content.v1.Content/List",
        "/grpc.health.v1.Health/Check",
    ];
    for method in methods {
        let (code, message) = client.call(method, None);
        assert_eq!(code, "7", "PERMISSION_DENIED");
        assert_eq!(
            message,
            "dockgate: /grpc: BuildKit is not for this listener (rule class.buildkit). hint: set `DOCKER_BUILDKIT=0`"
        );
    }
    let (status, _, body) = client.ask(get("/_ping"));
    assert_eq!(status, 505);
    assert!(message(&body).contains("HTTP/2 is not spoken here"), "{body}");
    let records = gate.records(1 + methods.len() + 1);
    assert_eq!((&records[0]["path"], &records[0]["status"]), (&"/grpc".into(), &101.into()));
    for (record, path) in records.iter().zip(["/grpc"].iter().chain(&methods)) {
        assert_eq!(record["path"], *path);
        assert_eq!(
            (&record["verdict"], &record["rule"]),
            (&"deny".into(), &"class.buildkit".into())
        );
        assert_eq!(record["operation"], "Grpc");
    }
    assert!(engine.seen().is_empty(), "nothing is for the engine");
}

fn message(body: &str) -> String {
    body.parse::<Value>().unwrap()["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_session_is_let_in_and_never_asked_anything() {
    let engine = engine();
    let gate = refusing(&engine);
    let mut client = gate.client();
    client.send(format!(
        "POST /session HTTP/1.1\r\n{UPGRADE}X-Docker-Expose-Session-Uuid: u\r\n\r\n"
    ));
    assert_eq!(client.head().status(), 101);
    // The server that the client is begins with its settings.
    client.send([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    client.end_writing();
    assert!(client.is_over(), "not a byte comes");
    let records = gate.records(1);
    assert_eq!((&records[0]["operation"], &records[0]["status"]), (&"Session".into(), &101.into()));
    assert_eq!(
        (&records[0]["verdict"], &records[0]["rule"]),
        (&"deny".into(), &"class.buildkit".into())
    );
    assert!(engine.seen().is_empty());
}

#[test]
fn who_does_not_ask_for_http_2_gets_a_403() {
    let engine = engine();
    let gate = refusing(&engine);
    for request in [
        "POST /grpc HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "POST /grpc HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".to_owned(),
        format!("POST /grpc HTTP/1.0\r\n{UPGRADE}\r\n"),
        format!("POST /session HTTP/1.1\r\n{UPGRADE}{SESSION}Content-Length: 1\r\n\r\nx"),
        format!(
            "POST /session HTTP/1.1\r\n{UPGRADE}{SESSION}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
    ] {
        let (status, body) = gate.client().ask(&request);
        assert_eq!(status, 403, "{request}: {body}");
        assert!(message(&body).contains("(rule class.buildkit)"), "{body}");
    }
    assert!(engine.seen().is_empty());
}

#[test]
fn a_build_by_the_old_protocol_is_refused_by_conservative() {
    let engine = engine();
    let gate = Gate::conservative(&engine);
    for query in ["version=2", "version=2&version=1"] {
        let request = format!("POST /v1.41/build?{query} HTTP/1.1\r\nHost: a\r\n\r\n");
        let (status, body) = gate.client().ask(request);
        assert_eq!(status, 403, "{query}: {body}");
        assert!(message(&body).contains("(rule build.buildkit)"), "{body}");
    }
    assert!(engine.seen().is_empty());
}

#[test]
fn behind_a_preface_grpc_is_refused_by_status_and_the_rest_is_asked_as_ever() {
    let engine = engine();
    let gate = refusing(&engine);
    let mut client = H2::new(gate.socket(), "");
    let (code, said) = client.call(LIST_WORKERS, None);
    assert_eq!(code, "7");
    assert!(said.starts_with("dockgate: /grpc: BuildKit is not for this listener"), "{said}");
    let (status, _, body) = client.ask(get("/v1.41/containers/json?all=1"));
    assert_eq!((status, body.contains("containers/json")), (200, true), "{body}");
    let records = gate.records(2);
    assert_eq!(
        (&records[0]["operation"], &records[0]["rule"]),
        (&"ListWorkers".into(), &"class.buildkit".into())
    );
    assert_eq!(
        (&records[1]["operation"], &records[1]["verdict"]),
        (&"ContainerList".into(), &"allow".into())
    );
    assert_eq!(engine.seen().len(), 1, "nothing of BuildKit");
}

const PASSWORD: &str = "[auth.password]\nkind = \"basic\"\nfile = \"htpasswd\"\n";
const ANN: &str = "Basic YW5uOnNlY3JldA==";

fn with_passwords(engine: &Engine) -> Gate {
    without_buildkit(Setup::new(engine))
        .listener("auth = [\"password\"]\n")
        .tables(PASSWORD)
        .start()
}

#[test]
fn nobody_is_told_of_the_policies_before_it_is_known_who_asks() {
    let engine = engine();
    let gate = with_passwords(&engine);
    let upgrade = format!("POST /grpc HTTP/1.1\r\n{UPGRADE}\r\n");
    assert_eq!(gate.client().ask(&upgrade).0, 401);
    let mut client = H2::new(gate.socket(), "");
    for wrong in [None, Some("Basic YW5uOndyb25n")] {
        let (code, said) = client.call(LIST_WORKERS, wrong);
        assert_eq!(code, "16", "UNAUTHENTICATED: {said}");
        assert!(!said.contains("BuildKit"), "{said}");
    }
    let (status, headers, body) = client.ask(get("/_ping"));
    assert_eq!(status, 401, "{body}");
    assert!(headers["www-authenticate"].to_str().unwrap().starts_with("Basic realm"));
    assert_eq!(client.call(LIST_WORKERS, Some(ANN)).0, "7");
    let known = format!("POST /grpc HTTP/1.1\r\n{UPGRADE}Authorization: {ANN}\r\n\r\n");
    assert_eq!(H2::new(gate.socket(), &known).call(LIST_WORKERS, None).0, "7");
    let records = gate.records(7);
    let users: Vec<&Value> = records.iter().map(|record| &record["user"]).collect();
    assert_eq!(users, ["-", "-", "-", "-", "ann", "ann", "ann"]);
    let verdicts: Vec<&Value> = records.iter().map(|record| &record["verdict"]).collect();
    assert_eq!(verdicts, ["reject", "reject", "reject", "reject", "deny", "deny", "deny"]);
    assert!(engine.seen().is_empty());
}

#[test]
fn a_refused_connection_counts_among_those_of_its_listener() {
    let engine = engine();
    let gate = without_buildkit(Setup::new(&engine)).listener("max_connections = 1\n").start();
    let mut client = grpc_upgrade(&gate);
    assert_eq!(client.call(LIST_WORKERS, None).0, "7");
    let mut other = gate.client();
    assert_eq!(other.head().status(), 503);
    drop(client);
    drop(other);
    crate::support::wait_until("there is room again", || {
        let mut next = gate.client();
        let _ = next.try_send("GET /_ping HTTP/1.1\r\nHost: a\r\n\r\n");
        next.try_head().is_some_and(|head| head.status() == 200)
    });
}

#[test]
fn a_client_that_speaks_something_else_in_http_2_is_told_and_left() {
    let engine = engine();
    let gate = refusing(&engine);
    let says = |client: &mut Conn, bytes: &[u8]| {
        client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        client.send([0, 0, 0, 4, 0, 0, 0, 0, 0]);
        client.send(bytes);
        let frames = client.rest();
        assert!(
            frames.windows(5).any(|frame| frame[..2] == [0, 0] && frame[3] == 7),
            "GOAWAY: {frames:?}"
        );
    };
    // DATA on stream 0; a frame larger than was allowed.
    says(&mut gate.client(), &[0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    says(&mut gate.client(), &[0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 1]);
    assert!(engine.seen().is_empty());
    assert_eq!(gate.client().ask("GET /_ping HTTP/1.1\r\nHost: a\r\n\r\n").0, 200);
}
