//! TLS listeners: who is let in, what the others are told, and ends of streams.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rcgen::ExtendedKeyUsagePurpose;
use tempfile::TempDir;

use crate::hijack::attached;
use crate::support::engine::{Wire, half_closes, hijack_101, plain, stubborn};
use crate::support::tls::{Authority, BOTH, Pair, Says, connect};
use crate::support::{Conn, Engine, Gate, PATIENCE, Setup, noise, text, wait_until};

const INFO: &str = "GET /v1.41/info HTTP/1.1\r\nHost: a\r\n\r\n";

fn furnished(authority: &Authority) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    authority.furnish(dir.path());
    dir
}

/// A gate that asks for certificates, and one that it takes.
fn guarded(engine: &Engine, authority: &Authority, keys: &str) -> (Gate, Pair) {
    let keys = format!("client_ca = \"ca.pem\"\n{keys}");
    let gate = Setup::new(engine).tls(furnished(authority), &keys).start();
    (gate, authority.sign(&Says::client("ann")))
}

/// Tries a call; what the client is told instead of an answer.
fn refused(gate: &Gate, config: rustls::ClientConfig) -> String {
    let mut conn = connect(&gate.tls_address(), config);
    // TLS 1.3 clients hear of it after their first words (RFC 8446 section 4.4.2.4).
    match conn.try_send(INFO).and_then(|()| conn.recv(1024)) {
        Ok(bytes) => panic!("answered: {:?}", text(&bytes)),
        Err(error) => error.to_string(),
    }
}

#[test]
fn both_versions_are_spoken_and_http_1_before_http_2() {
    let engine = Engine::start(plain::behaviour());
    let authority = Authority::new();
    let (gate, ann) = guarded(&engine, &authority, "");
    for version in BOTH {
        let mut config = authority.client(Some(&ann), &[version]);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut conn = connect(&gate.tls_address(), config);
        assert_eq!(conn.ask(INFO).0, 200, "{version:?}");
        assert_eq!(conn.ask(INFO).0, 200, "kept");
        assert_eq!(conn.protocol(), Some(b"http/1.1".to_vec()));
        let mut config = authority.client(Some(&ann), &[version]);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let mut conn = connect(&gate.tls_address(), config);
        conn.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let _ = conn.recv(1);
        assert_eq!(conn.protocol(), Some(b"h2".to_vec()));
        let mut config = authority.client(Some(&ann), &[version]);
        config.alpn_protocols = vec![b"spdy/3".to_vec()];
        assert!(refused(&gate, config).contains("NoApplicationProtocol"));
    }
    wait_until("a line", || gate.stderr().contains("speaks neither HTTP/1.1 nor HTTP/2 (ALPN)"));
}

#[test]
fn certificates_that_are_not_good_are_refused_with_an_alert_and_a_line() {
    let engine = Engine::start(plain::behaviour());
    let authority = Authority::new();
    let dir = furnished(&authority);
    std::fs::write(dir.path().join("crl.pem"), authority.crl(&[13])).unwrap();
    let keys = "client_ca = \"ca.pem\"\ncrl = \"crl.pem\"\nclient_auth = \"required\"";
    let gate = Setup::new(&engine).tls(dir, keys).start();
    let says = Says::client("eve");
    let cases: [(Option<Pair>, &str, &str); 6] = [
        (None, "CertificateRequired", "shows no certificate"),
        (
            Some(authority.sign(&Says { years: (2020, 2021), ..Says::client("eve") })),
            "CertificateExpired",
            "has expired",
        ),
        (
            Some(authority.sign(&Says { years: (2080, 2090), ..Says::client("eve") })),
            "CertificateExpired",
            "is not valid yet",
        ),
        (
            Some(Authority::new().sign(&says)),
            "DecryptError|UnknownCA",
            "of an authority that is not ours|bad",
        ),
        (
            Some(authority.sign(&Says { serial: 13, ..Says::client("eve") })),
            "CertificateRevoked",
            "is revoked",
        ),
        (
            Some(authority.sign(&Says { purpose: ExtendedKeyUsagePurpose::ServerAuth, ..says })),
            "UnsupportedCertificate",
            "is not for clients",
        ),
    ];
    for (pair, alert, line) in cases {
        for version in BOTH {
            let seen = gate.stderr().len();
            let told = refused(&gate, authority.client(pair.as_ref(), &[version]));
            // TLS 1.2 has no `certificate_required` (RFC 8446 section 6.2).
            let is_told = alert.split('|').any(|alert| told.contains(alert));
            assert!(is_told || told.contains("HandshakeFailure"), "{version:?} {line}: {told}");
            wait_until(line, || gate.stderr().len() > seen);
            let said = gate.stderr()[seen..].to_owned();
            assert!(line.split('|').any(|line| said.contains(line)), "{line}: {said}");
            assert_eq!(said.matches("no TLS connection").count(), 1, "one line: {said}");
        }
    }
    let ann = authority.sign(&Says::client("ann"));
    assert_eq!(connect(&gate.tls_address(), authority.client(Some(&ann), BOTH)).ask(INFO).0, 200);
}

#[test]
fn an_optional_certificate_may_be_missing_but_not_wrong() {
    let engine = Engine::start(plain::behaviour());
    let authority = Authority::new();
    let (gate, ann) = guarded(&engine, &authority, "client_auth = \"optional\"");
    for pair in [None, Some(&ann)] {
        let mut conn = connect(&gate.tls_address(), authority.client(pair, BOTH));
        assert_eq!(conn.ask(INFO).0, 200);
    }
    let expired = authority.sign(&Says { years: (2020, 2021), ..Says::client("ann") });
    refused(&gate, authority.client(Some(&expired), BOTH));
}

#[test]
fn plain_http_on_a_tls_port_is_told_so() {
    let engine = Engine::start(plain::behaviour());
    let (gate, _) = guarded(&engine, &Authority::new(), "");
    let mut conn = Conn::tcp(&gate.tls_address());
    let (status, body) = conn.ask(INFO);
    assert_eq!(status, 400);
    assert!(body.contains("client sent an HTTP request to an HTTPS server"), "{body}");
    assert!(conn.is_over());
    // Anything else gets an alert: 21 is its type, in a record of its own.
    let mut conn = Conn::tcp(&gate.tls_address());
    conn.send([0u8; 64]);
    assert_eq!(conn.rest().first(), Some(&21));
}

#[test]
fn a_handshake_has_a_deadline() {
    let engine = Engine::start(plain::behaviour());
    let (gate, _) = guarded(&engine, &Authority::new(), "handshake_time = \"200ms\"");
    for begun in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut tcp = TcpStream::connect(gate.tls_address()).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.write_all(begun).unwrap();
        // The end, or a reset: never silence.
        assert!(!matches!(tcp.read(&mut [0; 16]), Ok(1..)), "{begun:?}");
    }
    wait_until("lines", || gate.stderr().matches("the handshake took too long").count() == 3);
}

#[test]
fn a_hello_in_single_bytes_is_a_hello() {
    let engine = Engine::start(plain::behaviour());
    let authority = Authority::new();
    let (gate, ann) = guarded(&engine, &authority, "");
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let config = std::sync::Arc::new(authority.client(Some(&ann), BOTH));
    let mut tls = rustls::ClientConnection::new(config, name).unwrap();
    let mut tcp = TcpStream::connect(gate.tls_address()).unwrap();
    tcp.set_nodelay(true).unwrap();
    while tls.is_handshaking() {
        while tls.wants_write() {
            let mut bytes = Vec::new();
            tls.write_tls(&mut bytes).unwrap();
            bytes.iter().for_each(|byte| tcp.write_all(&[*byte]).unwrap());
        }
        if tls.wants_read() {
            tls.read_tls(&mut tcp).unwrap();
            tls.process_new_packets().unwrap();
        }
    }
}

#[test]
fn bodies_pass_whole_in_both_directions() {
    let body = noise(9_000_000);
    let answer = body.clone();
    let engine = Engine::start(plain::with(move |_, sent| {
        let mut out = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Same: {}\r\n\r\n",
            answer.len(),
            sent == answer
        )
        .into_bytes();
        out.extend_from_slice(&answer);
        out
    }));
    let authority = Authority::new();
    let (gate, ann) = guarded(&engine, &authority, "");
    for version in BOTH {
        let mut conn = connect(&gate.tls_address(), authority.client(Some(&ann), &[version]));
        let head = format!(
            "POST /v1.41/images/load HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        conn.send(head);
        conn.send(&body);
        let head = conn.head();
        assert_eq!(head.get("x-same"), Some("true"), "{version:?}");
        assert!(conn.body(&head) == body, "{version:?}");
    }
}

/// One gate, and an attached client for each version.
fn over_both(behaviour: fn() -> crate::support::engine::Behaviour, test: impl Fn(&Engine, Conn)) {
    for version in BOTH {
        let engine = Engine::start(behaviour());
        let authority = Authority::new();
        let (gate, ann) = guarded(&engine, &authority, "");
        let client = connect(&gate.tls_address(), authority.client(Some(&ann), &[version]));
        test(&engine, attached(client));
        wait_until("the engine's side is closed", || engine.open() == 0);
        // The workers' listeners, and nothing of the call.
        wait_until("the client's side is closed", || gate.stdout().contains("\"status\":101"));
    }
}

#[test]
fn the_clients_close_notify_reaches_the_engine_and_output_goes_on() {
    over_both(
        || {
            Box::new(|wire: &mut Wire| {
                hijack_101::take_over(wire, hijack_101::HEAD);
                assert_eq!(text(&wire.conn.rest()), "abc");
                for n in 0..5 {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    wire.conn.send(format!("tail {n}\n"));
                }
            })
        },
        |_, mut client| {
            client.send("abc");
            client.end_writing();
            assert_eq!(text(&client.rest()), "tail 0\ntail 1\ntail 2\ntail 3\ntail 4\n");
            assert!(client.ended_cleanly(), "by close_notify");
        },
    );
}

#[test]
fn the_engines_half_close_reaches_the_client_and_input_goes_on() {
    over_both(half_closes::behaviour, |engine, mut client| {
        assert_eq!(text(&client.rest()), "output");
        assert!(client.ended_cleanly(), "by close_notify");
        client.send("still ");
        client.send("heard");
        client.end_writing();
        engine.wait_note("still heard");
    });
}

#[test]
fn a_client_that_drops_tcp_ends_its_input() {
    over_both(hijack_101::behaviour, |engine, mut client| {
        client.send("half a");
        assert_eq!(text(&client.exactly(6)), "half a");
        client.end();
        drop(client);
        engine.wait_note("input ended");
    });
}

#[test]
fn a_client_that_leaves_while_the_engine_goes_on_is_let_go() {
    over_both(stubborn::endless, |_, mut client| {
        client.end_writing();
        client.end();
    });
}

#[test]
fn a_stream_passes_whole_in_both_directions() {
    over_both(hijack_101::behaviour, |_, mut client| {
        let sent = noise(3_000_000);
        for part in sent.chunks(300_001) {
            client.send(part);
            assert!(client.exactly(part.len()) == part);
        }
        client.end_writing();
        assert!(client.is_over());
    });
}

#[test]
fn a_certificate_that_nobody_asks_for_any_more_says_nothing() {
    let engine = Engine::start(plain::behaviour());
    let authority = Authority::new();
    let (gate, ann) = guarded(&engine, &authority, "");
    let mut old = connect(&gate.tls_address(), authority.client(Some(&ann), BOTH));
    assert_eq!(old.ask(INFO).0, 200);
    let text = std::fs::read_to_string(gate.config()).unwrap();
    std::fs::write(gate.config(), text.replace("client_ca = \"ca.pem\"", "")).unwrap();
    gate.signal("HUP");
    wait_until("a reload", || gate.stderr().contains("reloaded"));
    assert_eq!(old.ask(INFO).0, 401);
    assert_eq!(connect(&gate.tls_address(), authority.client(None, BOTH)).ask(INFO).0, 200);
}

#[test]
fn a_credential_beside_a_certificate_does_not_reach_the_engine() {
    let engine = Engine::start(plain::behaviour());
    let authority = Authority::new();
    let (gate, ann) = guarded(&engine, &authority, "");
    let request = INFO.replace("\r\n\r\n", "\r\nAuthorization: Bearer secret\r\n\r\n");
    let mut conn = connect(&gate.tls_address(), authority.client(Some(&ann), BOTH));
    assert_eq!(conn.ask(request).0, 200);
    assert!(!engine.seen().concat().contains("secret"), "{:?}", engine.seen());
}

#[test]
fn a_new_certificate_and_a_new_list_come_with_a_reload() {
    let engine = Engine::start(plain::behaviour());
    let authority = Authority::new();
    let dir = furnished(&authority);
    std::fs::write(dir.path().join("crl.pem"), authority.crl(&[])).unwrap();
    let keys = "client_ca = \"ca.pem\"\ncrl = \"crl.pem\"";
    let gate = Setup::new(&engine).tls(dir, keys).start();
    let ann = authority.sign(&Says::client("ann"));
    let config = || authority.client(Some(&ann), BOTH);
    let mut old = connect(&gate.tls_address(), config());
    assert_eq!(old.ask(INFO).0, 200);
    let first = old.servers_certificate();
    authority.furnish(gate.dir());
    gate.signal("HUP");
    wait_until("a reload", || gate.stderr().contains("reloaded"));
    let mut new = connect(&gate.tls_address(), config());
    assert_eq!(new.ask(INFO).0, 200);
    assert_ne!(new.servers_certificate(), first, "the new certificate is shown");
    assert_eq!(old.ask(INFO).0, 200, "and the old connection is as good as before");
    std::fs::write(gate.dir().join("crl.pem"), authority.crl(&[7])).unwrap();
    gate.signal("HUP");
    wait_until("a reload", || gate.stderr().matches("reloaded").count() == 2);
    refused(&gate, config());
    let (status, body) = old.ask(INFO);
    assert_eq!(status, 401, "a revoked client does not go on over an old connection");
    assert!(body.contains("not trusted any more"), "{body}");
}
