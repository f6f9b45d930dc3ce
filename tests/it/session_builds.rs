//! Builds by BuildKit on an engine without source policies: the Dockerfile is judged on its way through the session.

use std::sync::Arc;

use crate::native::H2;
use crate::support::engine::builds::{self, Ask, Asks, Wants};
use crate::support::fsutil::{DATA, FIN, Packet, Packets, REQ, STAT, bytes, send};
use crate::support::{Conn, Engine, Gate};
use bytes::Bytes;
use http::{HeaderMap, Response};

const SOLVE: &str = "/moby.buildkit.v1.Control/Solve";
const PLAIN: &str = "FROM busybox\nRUN id\n";
const INSIDE: &str = "FROM busybox\nADD http://127.0.0.1:9/x /x\n";
const WITH_ARGUMENT: &str = "ARG B=busybox\nFROM $B\n";

struct Build {
    engine: Engine,
    asks: Arc<Asks>,
    gate: Gate,
}

impl Build {
    fn new(version: &str, wants: Wants) -> Build {
        let (behaviour, asks) = builds::behaviour(wants);
        let engine = Engine::speaking(version, behaviour);
        let gate = Gate::conservative(&engine);
        Build { engine, asks, gate }
    }

    /// A client that has opened this session, and sends this Dockerfile whenever it is asked.
    fn session(&self, id: &str, dockerfile: &'static str) -> String {
        let mut client = self.gate.client();
        client.send(format!(
            "POST /session HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\
             X-Docker-Expose-Session-Uuid: {id}\r\n\r\n"
        ));
        assert_eq!(client.head().status(), 101);
        let (read, socket) = client.parts();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(read, socket, dockerfile));
        });
        let wanted = format!("session {id}");
        let opened =
            || self.engine.notes().into_iter().rev().find(|note| note.starts_with(&wanted));
        crate::support::wait_until("the engine has the session", || opened().is_some());
        opened().unwrap()["session ".len()..].to_owned()
    }

    fn by_query(&self, query: &str) -> (u16, String) {
        self.gate.client().ask(by_query(query))
    }

    /// A build that runs until this is dropped.
    fn building(&self, query: &str) -> Conn {
        let mut client = self.gate.client();
        client.send(by_query(query));
        assert_eq!(client.head().status(), 200);
        client
    }

    /// What the engine has of the Dockerfile when it has asked so often.
    fn got(&self, count: usize) -> String {
        self.comes_of("dockerfile", Ask::dockerfile(), count)
    }

    /// What comes of what the engine asks, when it has asked so often for such.
    fn comes_of(&self, word: &str, ask: Ask, count: usize) -> String {
        self.asks.add(ask);
        let all = || {
            let notes = self.engine.notes().into_iter();
            notes.filter(|note| note.starts_with(word)).collect::<Vec<_>>()
        };
        crate::support::wait_until("the engine has asked", || all().len() == count);
        all().remove(count - 1)
    }
}

fn by_query(query: &str) -> String {
    let query = format!("version=2&remote=client-session&session={query}");
    format!("POST /v1.41/build?{query} HTTP/1.1\r\nHost: a\r\n\r\n")
}

async fn serve(read: Vec<u8>, socket: std::os::unix::net::UnixStream, dockerfile: &'static str) {
    use tokio::io::AsyncReadExt as _;
    socket.set_nonblocking(true).unwrap();
    let (reader, writer) = tokio::net::UnixStream::from_std(socket).unwrap().into_split();
    let io = tokio::io::join(std::io::Cursor::new(read).chain(reader), writer);
    let Ok(mut connection) = h2::server::handshake(io).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let is_dockerfile =
            request.headers().get("dir-name").is_some_and(|name| name == "dockerfile");
        tokio::spawn(async move {
            let head = Response::builder().header("content-type", "application/grpc");
            let mut down = respond.send_response(head.body(()).unwrap(), false).unwrap();
            if !is_dockerfile {
                let _ = down.send_trailers(good());
                return;
            }
            let mut packets = Packets::new(request.into_body());
            let file = ("Dockerfile".to_owned(), dockerfile.len() as u64);
            send(&mut down, &Packet { kind: STAT, stat: Some(file), ..Packet::default() });
            send(&mut down, &Packet::default());
            while let Some(packet) = packets.next().await {
                match packet.kind {
                    REQ => {
                        let halves = dockerfile.as_bytes().split_at(7);
                        for data in [halves.0, halves.1, b""] {
                            let data = data.to_vec();
                            send(&mut down, &Packet { kind: DATA, data, ..Packet::default() });
                        }
                    }
                    FIN => {
                        send(&mut down, &Packet { kind: FIN, ..Packet::default() });
                        let _ = down.send_trailers(good());
                        return;
                    }
                    other => panic!("{other}"),
                }
            }
        });
    }
}

fn good() -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())])
}

/// `SolveRequest` of the Dockerfile frontend in this session, with these options.
fn solve(build: &str, session: &str, options: &[(&str, &str)]) -> Vec<u8> {
    let mut message = Vec::new();
    bytes(1, build.as_bytes(), &mut message);
    bytes(5, session.as_bytes(), &mut message);
    bytes(6, b"dockerfile.v0", &mut message);
    for (key, value) in options {
        let mut entry = Vec::new();
        bytes(1, key.as_bytes(), &mut entry);
        bytes(2, value.as_bytes(), &mut entry);
        bytes(7, &entry, &mut message);
    }
    message
}

#[test]
fn a_build_by_query_gets_its_dockerfile_once_it_is_judged() {
    let build = Build::new("1.41", Wants::Everything);
    let id = build.session("mine", PLAIN);
    assert!(id.starts_with("mine.") && id.len() > 30, "{id}");
    let first = build.building("mine");
    let asked = build.engine.seen().into_iter().find(|all| all.contains("/build?")).unwrap();
    assert!(asked.contains(&format!("session={id}")), "{asked}");
    assert_eq!(build.got(1), format!("dockerfile 0 {PLAIN}"));
    // The session may build again in the same way, and in no other.
    let _second = build.building("mine");
    drop(first);
    assert_eq!(build.got(2), format!("dockerfile 0 {PLAIN}"));
    let (status, body) = build.by_query("mine&target=x");
    assert!(status == 403 && body.contains("builds in another way already"), "{status} {body}");
}

#[test]
fn what_a_dockerfile_must_not_fetch_never_reaches_the_engine() {
    let build = Build::new("1.41", Wants::Everything);
    build.session("mine", INSIDE);
    let _building = build.building("mine");
    let got = build.got(1);
    let wanted = "dockerfile 7 dockgate: Dockerfile:2: `http://127.0.0.1:9/x` is not among";
    assert!(got.starts_with(wanted) && got.contains("(rule build.fetch)"), "{got}");
    let record = build.gate.records(2).into_iter().find(|record| record["verdict"] == "deny");
    let record = record.expect("a record of the refusal");
    assert_eq!((&record["operation"], &record["rule"]), (&"Session".into(), &"build.fetch".into()));
}

#[test]
fn a_dockerfile_that_nobody_asked_to_build_or_that_does_not_pass_is_refused() {
    let build = Build::new("1.41", Wants::Everything);
    build.session("mine", PLAIN);
    let got = build.got(1);
    assert!(got.starts_with("dockerfile 7 ") && got.contains("where no build"), "{got}");
    // An engine that has it from before asks for nothing.
    let build = Build::new("1.41", Wants::Nothing);
    build.session("mine", PLAIN);
    let _building = build.building("mine");
    let got = build.got(1);
    assert!(got.starts_with("dockerfile 7 ") && got.contains("nobody has looked at it"), "{got}");
}

#[test]
fn a_build_by_grpc_is_judged_by_its_options() {
    for (image, wanted) in [("busybox", "dockerfile 0 ARG"), ("127.0.0.1:5000/x", "dockerfile 7 ")]
    {
        let build = Build::new("1.41", Wants::Everything);
        let id = build.session("mine", WITH_ARGUMENT);
        let mut client = H2::new(build.gate.socket());
        client.begin_call(SOLVE, &solve("held", "mine", &[("build-arg:B", image)]));
        build.engine.wait_note("held");
        let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        let notes = build.engine.notes();
        let solved = notes.iter().find(|note| note.starts_with(SOLVE)).unwrap();
        assert!(solved.contains(&hex(&id)), "by the engine's id: {solved}");
        let got = build.got(1);
        assert!(got.starts_with(wanted), "{got}");
        let (code, said) = client.call(SOLVE, &solve("c", "mine", &[]));
        assert!(code == "7" && said.contains("(rule build.session)"), "{code} {said}");
        let (code, said) = client.call(SOLVE, &solve("d", "mine", &[("source", "x")]));
        assert!(code == "7" && said.contains("(rule build.source-policy)"), "{code} {said}");
    }
}

#[test]
fn a_client_of_http_2_has_its_session_under_the_engines_id_too() {
    let build = Build::new("1.41", Wants::Everything);
    let mut client = H2::new(build.gate.socket());
    let request = http::Request::post("http://localhost/moby.buildkit.v1.Control/Session")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-docker-expose-session-uuid", "mine");
    let _open = client.begin(request.body(http_body_util::Full::<Bytes>::default()).unwrap());
    let notes = || build.engine.notes();
    let is_open = || notes().iter().any(|note| note.starts_with("session "));
    crate::support::wait_until("the engine has the session", is_open);
    let notes = notes();
    let id = notes.iter().find_map(|note| note.strip_prefix("session mine.")).unwrap();
    assert_eq!(id.len(), 32);
    build.building("mine");
}

#[test]
fn with_source_policies_sessions_pass_as_they_are() {
    let build = Build::new("1.43", Wants::Everything);
    assert_eq!(build.session("mine", INSIDE), "mine");
    let client = H2::new(build.gate.socket());
    client.begin_call(SOLVE, &solve("held", "mine", &[]));
    build.engine.wait_note("held");
    let got = build.got(1);
    assert_eq!(got, format!("dockerfile 0 {INSIDE}"), "BuildKit asks by its policy");
}

#[test]
fn a_build_by_query_has_a_session_of_its_own_where_others_are_their_clients() {
    for (file, wanted) in [
        (PLAIN, "dockerfile 0 FROM busybox"),
        (INSIDE, "dockerfile 7 dockgate: Dockerfile:2: `http://127.0.0.1:9/x` is not among"),
    ] {
        let build = Build::new("1.43", Wants::Everything);
        assert_eq!(build.session("mine", file), "mine");
        let building = build.building("mine");
        let asked = build.engine.seen().into_iter().find(|all| all.contains("/build?")).unwrap();
        let notes = build.engine.notes();
        let id = notes.iter().find_map(|note| note.strip_prefix("session mine.")).unwrap();
        assert!(id.len() == 32 && asked.contains(&format!("session=mine.{id}")), "{asked}");
        let of = |in_builds| Ask { in_builds: Some(in_builds), ..Ask::dockerfile() };
        let got = build.comes_of("dockerfile", of(false), 1);
        assert!(got.starts_with("dockerfile 7 ") && got.contains("where no build of"), "{got}");
        let got = build.comes_of("dockerfile", of(true), 2);
        assert!(got.starts_with(wanted), "{got}");
        drop(building);
        build.engine.wait_note(&format!("gone mine.{id}"));
        // Another one in the same session, in another way.
        let other = build.building("mine&target=x");
        let opened =
            || build.engine.notes().iter().filter(|note| note.starts_with("session mine.")).count();
        assert_eq!(opened(), 2);
        drop(other);
    }
    let build = Build::new("1.43", Wants::Everything);
    let (status, body) = build.by_query("nobodys");
    assert!(status == 404 && body.contains("no active session for nobodys"), "{status} {body}");
    build.session("mine", PLAIN);
    let args = "mine&buildargs=%7B%22BUILDKIT_ATTEST_SBOM%22%3A%22generator%3D10.0.0.1%2Fx%22%7D";
    let (status, body) = build.by_query(args);
    assert!(status == 403 && body.contains("(rule build.buildkit)"), "{status} {body}");
}

/// `CredentialsRequest` and `GetSecretRequest` have their name in the same place.
fn asks_for(path: &'static str, name: &str) -> Ask {
    let mut message = Vec::new();
    bytes(1, name.as_bytes(), &mut message);
    Ask { path, message, ..Ask::default() }
}

const SECRET: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
const CREDENTIALS: &str = "/moby.filesync.v1.Auth/Credentials";
const EXPORT: &str = "/moby.filesync.v1.FileSend/DiffCopy";

#[test]
fn a_session_is_asked_for_what_its_builds_can_want_while_they_run() {
    for version in ["1.41", "1.43"] {
        let build = Build::new(version, Wants::Everything);
        build.session("mine", PLAIN);
        let mut count = 0;
        let mut asked = |ask: Ask| {
            count += 1;
            build.comes_of("asked", ask, count)
        };
        let mut refuses = |ask: Ask, why: &str| {
            let got = asked(ask);
            let is_it = got.starts_with("asked 7 dockgate: ") && got.contains(why);
            assert!(is_it && got.contains("(rule build.session)"), "{version}: {got}");
        };
        let idle = "where no build of the session runs";
        refuses(asks_for(SECRET, "token"), idle);
        refuses(asks_for(CREDENTIALS, "docker.io"), idle);
        refuses(Ask { path: EXPORT, ..Ask::default() }, idle);
        let context = &[("dir-name", "context")];
        let folder = || Ask {
            path: "/moby.filesync.v1.FileSync/DiffCopy",
            fields: context,
            ..Ask::default()
        };
        refuses(folder(), idle);
        // A client that is the frontend has said nothing yet.
        let client = H2::new(build.gate.socket());
        let mut message = Vec::new();
        bytes(1, b"held", &mut message);
        bytes(5, b"mine", &mut message);
        client.begin_call(SOLVE, &message);
        build.engine.wait_note("held");
        let unwanted = "no build of the session that runs can want it";
        refuses(asks_for(SECRET, "token"), unwanted);
        refuses(folder(), unwanted);
        let frontend = H2::new(build.gate.socket());
        frontend.begin_call(SOLVE, &solve("held-2", "mine", &[]));
        let is_there = || build.engine.notes().iter().filter(|note| *note == "held").count() == 2;
        crate::support::wait_until("the second build", is_there);
        refuses(Ask { path: EXPORT, ..Ask::default() }, unwanted);
        for ask in [asks_for(SECRET, "token"), asks_for(CREDENTIALS, "docker.io"), folder()] {
            assert_eq!(asked(ask), "asked 0 ", "{version}");
        }
        let got = asked(asks_for(CREDENTIALS, "127.0.0.1:5000"));
        let wanted = "asked 7 dockgate: credentials for `127.0.0.1:5000`: ";
        assert!(got.starts_with(wanted) && got.contains("(rule registry.host)"), "{got}");
        let mut unknown = asks_for(SECRET, "token");
        bytes(9, b"x", &mut unknown.message);
        assert!(asked(unknown).contains("fields that are not known"));
        // One of two ends, and then both.
        drop(frontend);
        crate::support::wait_until("its end", || asked(asks_for(SECRET, "x")).contains(unwanted));
        drop(client);
        crate::support::wait_until("its end", || asked(asks_for(SECRET, "x")).contains(idle));
    }
}

#[test]
fn what_a_build_exports_is_taken_while_it_runs() {
    let build = Build::new("1.43", Wants::Everything);
    build.session("mine", PLAIN);
    let client = H2::new(build.gate.socket());
    let mut message = solve("held", "mine", &[]);
    bytes(3, b"local", &mut message);
    client.begin_call(SOLVE, &message);
    build.engine.wait_note("held");
    assert_eq!(build.comes_of("asked", Ask { path: EXPORT, ..Ask::default() }, 1), "asked 0 ");
}
