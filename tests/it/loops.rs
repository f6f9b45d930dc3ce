//! A gateway in front of itself: refused where it can be seen, and ended where it cannot.

use std::path::Path;
use std::process::Stdio;

use crate::support::engine::plain;
use crate::support::gate::dockgate;
use crate::support::http::answer;
use crate::support::{Conn, Engine, Gate, Setup, text, wait_until};

const INFO: &str = "GET /v1.41/info HTTP/1.1\r\nHost: a\r\n\r\n";

fn serve(listen: &str, engine: &str) -> (Option<i32>, String) {
    let mut command =
        dockgate(&["serve", "--listen", listen, "--engine", engine, "--policy", "none"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    (output.status.code(), text(&output.stderr))
}

#[test]
fn a_listener_on_the_engines_own_address_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| format!("unix://{}/{name}", dir.path().display());
    std::os::unix::fs::symlink(dir.path(), dir.path().join("same")).unwrap();
    for (listen, engine) in [
        (at("d.sock"), at("d.sock")),
        (at("d.sock"), at("same/./d.sock")),
        ("tcp://127.0.0.1:23750".to_owned(), "tcp://localhost:23750".to_owned()),
    ] {
        let (code, said) = serve(&listen, &engine);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("is the engine's own address") && said.contains("hint: "), "{said}");
        let file = dir.path().join("dockgate.toml");
        let listener = format!("[[listener]]\nname = \"a\"\nurl = \"{listen}\"\n");
        std::fs::write(&file, format!("[engine]\nurl = \"{engine}\"\n{listener}")).unwrap();
        let checked = dockgate(&["check", "-c", file.to_str().unwrap()]).output().unwrap();
        let said = text(&checked.stderr);
        assert!(said.contains("dockgate.toml:5:7: ") && said.contains("own address"), "{said}");
    }
    // And so is the environment's, which somebody has just exported.
    let mut command = dockgate(&["serve", "--listen", &at("e.sock")]);
    let output = command.env("DOCKER_HOST", at("e.sock")).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is the engine's own address"));
}

#[test]
fn the_engines_socket_is_known_by_its_inode_and_left_alone() {
    let inode =
        |path: &Path| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap());
    for is_running in [true, false] {
        let engine = Engine::start(plain::behaviour());
        let other = tempfile::tempdir().unwrap();
        let (name, stale) = (other.path().join("other.sock"), other.path().join("stale.sock"));
        drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
        let path = if is_running { engine.path() } else { &stale };
        std::fs::hard_link(path, &name).unwrap();
        let before = inode(path);
        let (code, said) =
            serve(&format!("unix://{}", name.display()), &format!("unix://{}", path.display()));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("is the engine's own socket"), "{said}");
        assert_eq!((inode(path), inode(&name)), (before, before), "nothing was replaced");
    }
}

/// Two gates, each the other's engine.
fn pair(first: fn(Setup) -> Setup, second: fn(Setup) -> Setup) -> [Gate; 2] {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = |dir: &tempfile::TempDir| format!("unix://{}/gate.sock", dir.path().display());
    let (at_one, at_other) = (url(&one), url(&other));
    [
        first(Setup::at(&at_other).files(one)).start(),
        second(Setup::at(&at_one).files(other)).start(),
    ]
}

const PASS: fn(Setup) -> Setup = |setup| setup;
const TYPED: fn(Setup) -> Setup = Setup::typed;
const CONSERVATIVE: fn(Setup) -> Setup = Setup::conservative;

#[test]
fn gates_that_lead_to_each_other_say_so_and_nothing_grows() {
    let kinds = [PASS, TYPED, CONSERVATIVE];
    for (first, second) in
        kinds.iter().flat_map(|one| kinds.iter().map(move |other| (*one, *other)))
    {
        let gates = pair(first, second);
        let ask = |request: &str| {
            let mut client = gates[0].client();
            client.send(request);
            let head = client.head();
            let body = text(&client.body(&head));
            assert_eq!(head.status(), 508, "{request}: {body}");
            assert!(head.first.ends_with("508 Loop Detected"), "{}", head.first);
            assert!(body.contains("back to this gateway"), "{body}");
        };
        for request in [
            INFO,
            "GET /_ping HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /version HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST /v1.41/containers/x/start HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            crate::hijack::ATTACH,
        ] {
            ask(request);
        }
        let sockets = || gates.iter().map(Gate::sockets).sum::<usize>();
        wait_until("clients are let go", || {
            ask(INFO);
            sockets() < 60
        });
        for _ in 0..30 {
            ask(INFO);
        }
        wait_until("nothing has grown", || sockets() < 60);
    }
}

#[test]
fn a_tunnel_into_oneself_is_not_opened() {
    let gates = pair(PASS, PASS);
    for _ in 0..20 {
        let mut client = gates[0].client();
        client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let said = text(&client.rest());
        assert!(said.contains("leads back to this gateway"), "{said:?}");
    }
    wait_until("nothing is left", || gates.iter().map(Gate::sockets).sum::<usize>() < 60);
    assert_eq!(gates[0].records(1)[0]["status"], 508);
}

#[test]
fn gates_behind_each_other_are_no_loop_up_to_a_bound() {
    let version = r#"{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12"}"#;
    let engine = Engine::start(plain::says(answer("200 OK", version)));
    let mut gates = vec![Gate::pass(&engine)];
    for n in 1..8 {
        let url = format!("unix://{}", gates[n - 1].socket().display());
        let setup = Setup::at(&url);
        gates.push(if n % 2 == 0 { setup.start() } else { setup.typed().start() });
    }
    assert_eq!(gates[7].client().ask(INFO).0, 200);
    let seen = engine.seen_with_marks().concat();
    let marks = seen.split("X-Dockgate-Via: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let mut marks: Vec<&str> = marks.split(',').collect();
    marks.sort_unstable();
    marks.dedup();
    assert_eq!(marks.len(), 8, "each its own: {seen}");
    let url = format!("unix://{}", gates[7].socket().display());
    let (status, body) = Setup::at(&url).start().client().ask(INFO);
    assert_eq!(status, 508);
    assert!(body.contains("has come through 8 gateways"), "{body}");
}

#[test]
fn a_mark_that_is_none_is_refused_before_anybody_is_asked() {
    let engine = Engine::start(plain::behaviour());
    for gate in [Gate::pass(&engine), Gate::typed(&engine)] {
        let mut client: Conn = gate.client();
        let (status, body) = client.ask(INFO.replace("Host", "X-Dockgate-Via: me\r\nHost"));
        assert_eq!(status, 400, "{body}");
        assert!(body.contains("malformed `X-Dockgate-Via`"), "{body}");
    }
    assert!(engine.seen().is_empty());
}
