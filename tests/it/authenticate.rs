//! Authenticate: who gets in, what strangers are told, and that credentials go no further.

use crate::support::engine::plain;
use crate::support::tls::{Authority, BOTH, Says, connect};
use crate::support::{Conn, Engine, Gate, Setup, text};

const INFO: &str = "GET /v1.41/info HTTP/1.1\r\nHost: a\r\n\r\n";
/// Of `secret`.
pub const HTPASSWD: &str = "ann:$2y$12$cQpYF2En7iwsuKZjVU428.hbXbOA0WURejUrS6sFYd4rXyFRIJoWi\n";

fn with_authorization(value: &str) -> String {
    INFO.replace("\r\n\r\n", &format!("\r\nAuthorization: {value}\r\n\r\n"))
}

/// A gate whose callers are the OS user that runs the tests, or somebody with a password.
fn gate(engine: &Engine, order: &str, policies: &str) -> crate::support::Gate {
    let dir = tempfile::tempdir().unwrap();
    Authority::new().furnish(dir.path());
    std::fs::write(dir.path().join("htpasswd"), HTPASSWD).unwrap();
    let mut setup = Setup::new(engine).listener(&format!("auth = {order}")).tables(
        "[auth.local]\nkind = \"unix-peer\"\n[auth.password]\nkind = \"basic\"\nfile = \"htpasswd\"\n",
    );
    if policies == "conservative" {
        setup = setup.typed();
    }
    setup.files(dir).start()
}

#[test]
fn credentials_reach_neither_the_engine_nor_a_log() {
    for policies in ["none", "conservative"] {
        let engine = Engine::start(plain::behaviour());
        let gate = gate(&engine, "[\"local\", \"password\"]", policies);
        let mut client = gate.client();
        // `local` recognises the caller: the header is not even looked at, and still not sent on.
        for value in ["Basic YW5uOnNlY3JldA==", "Bearer eyJzZWNyZXQiOjF9.x.y"] {
            assert_eq!(client.ask(with_authorization(value)).0, 200);
        }
        let ended = gate.stop();
        for secret in ["YW5uOnNlY3JldA", "eyJzZWNyZXQiOjF9"] {
            assert!(!engine.seen().concat().contains(secret), "{:?}", engine.seen());
            assert!(!ended.stdout.contains(secret) && !ended.stderr.contains(secret));
        }
        assert!(!engine.seen().concat().to_ascii_lowercase().contains("authorization"));
        assert!(ended.stdout.contains("\"auth\":\"local\""), "{}", ended.stdout);
    }
}

#[test]
fn strangers_are_told_how_to_present_themselves() {
    let engine = Engine::start(plain::behaviour());
    let gate = gate(&engine, "[\"password\"]", "none");
    let mut client = gate.client();
    client.send(INFO);
    let head = client.head();
    assert_eq!(head.status(), 401);
    assert!(head.get("www-authenticate").unwrap().starts_with("Basic realm=\"dockgate\""));
    let body = text(&client.body(&head));
    assert!(body.starts_with("{\"message\":\"dockgate: no valid credentials"), "{body}");
    assert!(client.is_over(), "nothing behind it was read");
    assert!(engine.seen().is_empty(), "nothing reaches the engine");
    let record = &gate.records(1)[0];
    assert_eq!((&record["status"], &record["verdict"]), (&401.into(), &"reject".into()));
    assert_eq!(record["path"], "/v1.41/info");
}

#[test]
fn a_wrong_credential_does_not_fall_through() {
    let engine = Engine::start(plain::behaviour());
    let gate = gate(&engine, "[\"password\", \"local\"]", "none");
    assert_eq!(gate.client().ask(INFO).0, 200, "without one, the peer is recognised");
    for wrong in [
        "Basic YW5uOndyb25n",
        "Basic",
        "Basic %%%",
        "Bearer a.b.c",
        "Negotiate x",
        "\u{7}",
        "Basic YW5uOnNlY3JldA==\r\nAuthorization: Basic YW5uOnNlY3JldA==",
    ] {
        let (status, body) = gate.client().ask(with_authorization(wrong));
        assert!(matches!(status, 400 | 401), "{wrong}: {status} {body}");
    }
}

#[test]
fn browsers_have_no_business_on_tcp() {
    let engine = Engine::start(plain::behaviour());
    let gate = Setup::new(&engine).tcp().start();
    let request = INFO.replace("\r\n\r\n", "\r\nOrigin: https://example.com\r\n\r\n");
    let (status, body) = Conn::tcp(&gate.tcp_address()).ask(&request);
    assert_eq!(status, 403);
    assert!(body.contains("`Origin`"), "{body}");
    assert!(engine.seen().is_empty());
    assert_eq!(gate.client().ask(&request).0, 200, "a page cannot reach a unix socket");
    let asks = |gate: &Gate, host: &str| {
        let request = format!("GET /v1.41/info HTTP/1.1\r\nHost: {host}\r\n\r\n");
        Conn::tcp(&gate.tcp_address()).ask(&request).0
    };
    for host in ["evil.example:2375", "evil.example", "127.0.0.1.evil.example:2375"] {
        assert_eq!(asks(&gate, host), 403, "{host}: a name can be made to lead here");
    }
    for host in [
        "127.0.0.1:2375",
        "[::1]:2375",
        "localhost",
        "docker:2375",
        "ci.internal",
        "api.moby.localhost",
    ] {
        assert_eq!(asks(&gate, host), 200, "{host}");
    }
    let named = Setup::new(&engine).tcp().listener("hosts = [\"Docker.Example.Com\"]\n").start();
    assert_eq!(asks(&named, "docker.example.com:2375"), 200);
    assert_eq!(asks(&named, "other.example.com"), 403);
}

#[test]
fn http_2_without_looking_into_it_is_for_who_is_known_by_the_connection() {
    const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let engine = Engine::start(plain::says("hello"));
    let known = gate(&engine, "[\"local\"]", "none");
    let mut client = known.client();
    client.send(PREFACE);
    assert_eq!(text(&client.exactly(5)), "hello", "a tunnel");
    drop(client);
    assert_eq!(known.records(1)[0]["auth"], "local", "recognised, and written down");
    let seen = engine.seen().len();
    let unknown = gate(&engine, "[\"password\"]", "none");
    let mut client = unknown.client();
    client.send(PREFACE);
    let frames = client.rest();
    assert!(frames.windows(4).any(|w| w == [0, 0, 0, 13]), "GOAWAY: {frames:?}");
    assert_eq!(engine.seen().len(), seen);
}

#[test]
fn the_certificates_name_is_the_user_for_every_call_of_the_connection() {
    let engine = Engine::start(plain::behaviour());
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    authority.furnish(dir.path());
    let config = format!(
        "[engine]\nurl = \"unix://{}\"\n[[listener]]\nname = \"it-tls\"\n\
         url = \"tls://127.0.0.1:0\"\nauth = [\"cert\"]\n[listener.tls]\ncert = \"cert.pem\"\n\
         key = \"key.pem\"\nclient_ca = \"ca.pem\"\n[auth.cert]\nkind = \"certificate\"\n",
        engine.path().display()
    );
    let gate = crate::support::Gate::of(dir, &config, 1);
    let ann = authority.sign(&Says::client("ann"));
    let mut client = connect(&gate.tls_address(), authority.client(Some(&ann), BOTH));
    assert_eq!(client.ask(INFO).0, 200);
    assert_eq!(client.ask(INFO).0, 200);
    for record in gate.records(2) {
        assert_eq!(record["user"], "ann");
        assert_eq!(record["auth"], "cert");
        assert_eq!(record["groups"], serde_json::json!(["ops"]));
    }
}

/// As when dockgate runs in a container and its callers outside: they have no pid that it could see.
#[test]
fn a_caller_of_another_pid_namespace_is_known_by_its_uid() {
    let engine = Engine::start(plain::behaviour());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dockgate.toml");
    let socket = dir.path().join("gate.sock");
    let config = format!(
        "[engine]\nurl = \"unix://{}\"\n[[listener]]\nname = \"it\"\nurl = \"unix://{}\"\n\
         auth = [\"local\"]\n[auth.local]\nkind = \"unix-peer\"\nusers = {{ \"{}\" = \"me\" }}\n",
        engine.path().display(),
        socket.display(),
        rustix::process::geteuid().as_raw(),
    );
    std::fs::write(&file, config).unwrap();
    let mut unshare = std::process::Command::new("unshare");
    unshare.args(["--user", "--map-current-user", "--pid", "--fork", "--kill-child"]);
    if !unshare.args(["true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no pid namespace can be made here");
        return;
    }
    let mut command = std::process::Command::new("unshare");
    command.args(["--user", "--map-current-user", "--pid", "--fork", "--kill-child"]);
    command.args([env!("CARGO_BIN_EXE_dockgate"), "serve", "-c", file.to_str().unwrap()]);
    let gate = crate::support::Gate::spawn(&mut command, dir, socket, 1);
    assert_eq!(gate.client().ask(INFO).0, 200);
    let record = &gate.records(1)[0];
    assert_eq!(record["user"], "me");
    assert!(!record["client"].as_str().unwrap().contains("pid"), "{record}");
}

/// A credential that was good a moment ago is not looked at again, but another one is.
#[test]
fn each_call_of_a_connection_presents_its_own_credential() {
    let engine = Engine::start(plain::behaviour());
    let gate = gate(&engine, "[\"password\"]", "none");
    let right = with_authorization("Basic YW5uOnNlY3JldA==");
    let twice = right.replace("\r\n\r\n", "\r\nAuthorization: Basic YW5uOnNlY3JldA==\r\n\r\n");
    for next in [INFO.to_owned(), with_authorization("Basic YW5uOndyb25n"), twice] {
        let mut client = gate.client();
        assert_eq!(client.ask(&right).0, 200);
        assert_eq!(client.ask(&right).0, 200, "the same");
        assert_eq!(client.ask(&next).0, 401, "{next}");
    }
}
