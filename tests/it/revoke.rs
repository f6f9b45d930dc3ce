//! `revoke = "cut"`: what ends with a reload that takes a user away, and what does not. And that guesses are
//! remembered over reloads and restarts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::hijack::ATTACH;
use crate::support::engine::{Behaviour, hijack_101};
use crate::support::tls::{Authority, BOTH, Says, connect};
use crate::support::{Conn, Engine, Gate, Setup, text, wait_until};

/// Of `secret`, which nobody says here, and of `correct horse`.
const OTHER: &str = "$2y$12$cQpYF2En7iwsuKZjVU428.hbXbOA0WURejUrS6sFYd4rXyFRIJoWi";
const HORSE: &str = "$2y$10$WZUuYZYojHHJ7tNcaNTAluTzv3MQtTdkj0ze0pYV89OWijVvHXEr6";

/// Takes an attach over; of events it gives one and then nothing.
fn behaviour() -> Behaviour {
    Box::new(|wire| match wire.conn.peek_starts_with(b"POST ") {
        true => hijack_101::behaviour()(wire),
        false => {
            wire.conn.head();
            wire.conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
            wire.conn.rest();
        }
    })
}

fn gate(engine: &Engine, revoke: &str, auth: &str, tables: &str) -> Gate {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("htpasswd"), format!("ann:{HORSE}\nbob:{HORSE}\n")).unwrap();
    Setup::new(engine)
        .files(dir)
        .listener(&format!("auth = {auth}\n{revoke}\n"))
        .tables(tables)
        .start()
}

const PASSWORD: &str = "[auth.pw]\nkind = \"basic\"\nfile = \"htpasswd\"\n";

fn signed(request: &str, user: &str) -> String {
    let value = STANDARD.encode(format!("{user}:correct horse"));
    request.replacen("\r\n", &format!("\r\nAuthorization: Basic {value}\r\n"), 1)
}

fn attached(mut client: Conn, user: &str) -> Conn {
    client.send(if user.is_empty() { ATTACH.to_owned() } else { signed(ATTACH, user) });
    assert_eq!(client.head().status(), 101);
    goes_on(&mut client);
    client
}

fn following(mut client: Conn, user: &str) -> Conn {
    client.send(signed("GET /v1.41/events HTTP/1.1\r\nHost: a\r\n\r\n", user));
    assert_eq!(client.head().status(), 200);
    assert_eq!(text(&client.exactly(10)), "5\r\nfirst\r\n");
    client
}

fn goes_on(stream: &mut Conn) {
    stream.send("echo");
    assert_eq!(text(&stream.exactly(4)), "echo");
}

fn reload(gate: &Gate, change: impl Fn(&str) -> String) {
    let text = std::fs::read_to_string(gate.config()).unwrap();
    std::fs::write(gate.config(), change(&text)).unwrap();
    let seen = gate.stderr().len();
    gate.signal("HUP");
    wait_until("a reload", || gate.stderr()[seen..].contains("reloaded: "));
}

#[test]
fn streams_end_when_a_reload_takes_their_user_away() {
    let engine = Engine::start(behaviour());
    let gate = gate(&engine, "revoke = \"cut\"", "[\"pw\"]", PASSWORD);
    let (mut ann, mut bob) = (attached(gate.client(), "ann"), attached(gate.client(), "bob"));
    let (ann_follows, mut bob_follows) =
        (following(gate.client(), "ann"), following(gate.client(), "bob"));
    reload(&gate, str::to_owned);
    goes_on(&mut ann);
    goes_on(&mut bob);
    std::fs::write(gate.dir().join("htpasswd"), format!("ann:{HORSE}\n")).unwrap();
    reload(&gate, str::to_owned);
    assert!(bob.is_over() && bob_follows.is_over(), "without another byte");
    goes_on(&mut ann);
    let record = |user: &str| gate.records(2).into_iter().filter(|one| one["user"] == user).count();
    assert_eq!((record("ann"), record("bob")), (0, 2), "ann's go on");
    for record in gate.records(2) {
        assert_eq!(record["verdict"], "reject");
    }
    wait_until("a line", || gate.stderr().matches("let in no more").count() == 2);
    // Another password is another credential.
    std::fs::write(gate.dir().join("htpasswd"), format!("ann:{OTHER}\n")).unwrap();
    reload(&gate, str::to_owned);
    assert!(ann.is_over());
    assert!({ ann_follows }.is_over());
    wait_until("the engine's connections are closed", || engine.open() == 0);
}

#[test]
fn by_default_nobodys_stream_is_cut() {
    for revoke in ["", "revoke = \"keep\""] {
        let engine = Engine::start(behaviour());
        let gate = gate(&engine, revoke, "[\"pw\"]", PASSWORD);
        let mut bob = attached(gate.client(), "bob");
        std::fs::write(gate.dir().join("htpasswd"), format!("ann:{HORSE}\n")).unwrap();
        reload(&gate, str::to_owned);
        goes_on(&mut bob);
        bob.end_writing();
        assert!(bob.is_over());
        assert_eq!(gate.records(1)[0]["verdict"], "allow");
    }
}

/// Of the configuration's text.
type Change<'c> = &'c dyn Fn(&str) -> String;

#[test]
fn whoever_would_be_somebody_else_or_nobody_is_cut() {
    let own = rustix::process::geteuid().as_raw();
    let local = format!("[auth.local]\nkind = \"unix-peer\"\nusers = {{ \"{own}\" = \"sam\" }}\n");
    let tables = format!("{local}{PASSWORD}");
    let changes: [(&str, Change<'_>); 4] = [
        ("another name", &|text| text.replace("\"sam\"", "\"tim\"")),
        ("no name", &|text| text.replace(&format!("\"{own}\" ="), "\"4242\" =")),
        ("another authenticator", &|text| text.replace("[\"local\"]", "[\"pw\"]")),
        ("another listener", &|text| text.replace("gate.sock", "moved.sock")),
    ];
    for (what, change) in changes {
        let engine = Engine::start(behaviour());
        let gate = gate(&engine, "revoke = \"cut\"", "[\"local\"]", &tables);
        let mut stream = attached(gate.client(), "");
        // What does not concern them.
        reload(&gate, |text| text.replace("revoke", "hosts = []\nrevoke"));
        reload(&gate, |text| text.replace("[\"local\"]", "[\"pw\", \"local\"]"));
        goes_on(&mut stream);
        reload(&gate, |text| text.replace("[\"pw\", \"local\"]", "[\"local\"]"));
        goes_on(&mut stream);
        reload(&gate, change);
        assert!(stream.is_over(), "{what}");
    }
    // An open listener lets everybody in.
    let engine = Engine::start(behaviour());
    let gate = gate(&engine, "revoke = \"cut\"", "[\"local\"]", &tables);
    let mut stream = attached(gate.client(), "");
    reload(&gate, |text| text.replace("auth = [\"local\"]", ""));
    goes_on(&mut stream);
}

#[test]
fn a_revoked_certificate_ends_its_streams() {
    let engine = Engine::start(behaviour());
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    authority.furnish(dir.path());
    std::fs::write(dir.path().join("crl.pem"), authority.crl(&[])).unwrap();
    let keys = "client_ca = \"ca.pem\"\ncrl = \"crl.pem\"";
    let gate = Setup::new(&engine).listener("revoke = \"cut\"\n").tls(dir, keys).start();
    let client = |name, serial| {
        let pair = authority.sign(&Says { serial, ..Says::client(name) });
        attached(connect(&gate.tls_address(), authority.client(Some(&pair), BOTH)), "")
    };
    let (mut ann, mut bob) = (client("ann", 7), client("bob", 8));
    reload(&gate, str::to_owned);
    goes_on(&mut bob);
    std::fs::write(gate.dir().join("crl.pem"), authority.crl(&[8])).unwrap();
    reload(&gate, str::to_owned);
    assert!(bob.rest().is_empty());
    goes_on(&mut ann);
}

#[test]
fn guesses_are_remembered_over_reloads_and_restarts() {
    let engine = Engine::start(behaviour());
    let gate = gate(&engine, "", "[\"pw\"]", PASSWORD);
    let guess = || {
        let request = signed("GET /_ping HTTP/1.1\r\nHost: a\r\n\r\n", "eve");
        let (status, body) = gate.client().ask(request);
        assert_eq!(status, 401);
        body.contains("too many failed logins from this address")
    };
    // How many are looked at before one is not. With every failure the wait doubles: a slow machine has a few
    // more, and fewer than the ten that are free.
    let looked_at = || (0..30).take_while(|_| !guess()).count();
    assert!((10..30).contains(&looked_at()), "the address waits");
    reload(&gate, |text| text.replace("[engine]", "watch = false\n[engine]"));
    assert!(looked_at() < 10, "a reload gives no new guesses");
    gate.signal("USR2");
    let new = crate::restart::successor(&gate);
    assert!(looked_at() < 10, "nor does a restart");
    crate::restart::end(new);
    wait_until("the new process ends", || !crate::restart::is_running(new));
}
