//! Where a client's connection ends, and that it is told so: answers and refusals, whoever makes them
//! (RFC 9112 sections 9.3 and 9.6).

use crate::support::engine::{plain, refusing};
use crate::support::{Engine, Gate, Head, Setup, text};

/// An engine that speaks the client's version, as Go's server does.
fn engine() -> Engine {
    Engine::start(plain::with(|head, _| {
        let is_old = head.first.ends_with("HTTP/1.0");
        let keeps = head.get("connection") == Some("keep-alive");
        let (version, connection) = match (is_old, keeps) {
            (true, true) => ("1.0", "Connection: keep-alive\r\n"),
            (true, false) => ("1.0", ""),
            (false, _) => ("1.1", ""),
        };
        format!(
            "HTTP/{version} 200 OK\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n{connection}\
             Content-Length: 2\r\n\r\n{{}}"
        )
        .into_bytes()
    }))
}

/// As a client that reads to the end; the head of the only answer.
fn read_to_the_end(gate: &Gate, request: &str) -> Head {
    let mut client = gate.client();
    client.send(request);
    let head = client.head();
    let body = text(&client.rest());
    assert_eq!(body.len(), head.length().unwrap(), "one answer, and the end: {body}");
    head
}

/// Each as a first line without its version, and the rest behind the headers.
const REFUSED: [(&str, &str, u16); 6] = [
    ("GET /v1.41/nosuch", "\r\n", 404),
    ("POST /v1.41/swarm/leave", "Content-Length: 0\r\n\r\n", 403),
    (
        "POST /v1.41/containers/create",
        "Content-Type: application/json\r\nContent-Length: 3\r\n\r\n{x}",
        400,
    ),
    ("GET /v1.41/info?a=%zz", "\r\n", 400),
    ("POST /v1.41/containers/create", "Content-Length: 99999999999\r\n\r\n", 413),
    ("GET /v9.99/info", "\r\n", 400),
];

#[test]
fn a_refusal_ends_the_connection_where_the_client_asked_for_it() {
    let engine = engine();
    let gate = Gate::conservative(&engine);
    for (line, rest, status) in REFUSED {
        for (version, lines) in
            [("1.0", ""), ("1.1", "Connection: close\r\n"), ("1.0", "Connection: close\r\n")]
        {
            let head = read_to_the_end(
                &gate,
                &format!("{line} HTTP/{version}\r\nHost: a\r\n{lines}{rest}"),
            );
            assert_eq!(head.status(), status, "{line}");
            assert_eq!(head.get("connection"), Some("close"), "{line} {version}");
            assert!(head.first.starts_with(&format!("HTTP/{version} ")), "{}", head.first);
        }
    }
}

#[test]
fn refusals_before_anything_is_understood_end_it_always() {
    let engine = engine();
    let gate = Setup::new(&engine)
        .listener("auth = [\"a\"]\n")
        .tables("[auth.a]\nkind = \"unix-peer\"\nusers = {}\n[limits]\nheader_bytes = 1000\n")
        .start();
    for (request, status) in [
        ("GET /info HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 401),
        ("GET /info HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(), 401),
        ("G\0T / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(2000)), 431),
    ] {
        let head = read_to_the_end(&gate, &request);
        assert_eq!((head.status(), head.get("connection")), (status, Some("close")), "{request}");
    }
}

#[test]
fn an_engine_that_is_away_keeps_no_client_waiting_for_the_end() {
    let (_dir, address) = refusing::address();
    for gate in [Setup::at(&address).start(), Setup::at(&address).typed().start()] {
        for request in [
            "GET /info HTTP/1.0\r\n\r\n",
            "GET /info HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        ] {
            let head = read_to_the_end(&gate, request);
            assert_eq!((head.status(), head.get("connection")), (502, Some("close")));
        }
        let mut client = gate.client();
        for _ in 0..2 {
            client.send("GET /info HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
            let head = client.head();
            client.body(&head);
            assert_eq!((head.status(), head.get("connection")), (502, Some("keep-alive")));
        }
    }
}

#[test]
fn http_1_0_keeps_its_connection_over_answers_and_refusals() {
    let engine = engine();
    // One that passes all answers on, one that reads some, one that reads all.
    for gate in [Gate::pass(&engine), Gate::typed(&engine), Gate::conservative(&engine)] {
        let mut client = gate.client();
        for target in ["/v1.41/info", "/_ping", "/v1.41/version", "/v1.41/info"] {
            client.send(format!("GET {target} HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
            let head = client.head();
            let wanted = (200, Some("keep-alive"));
            assert_eq!((head.status(), head.get("connection")), wanted, "{target}");
            assert!(head.first.starts_with("HTTP/1.0 "), "{}", head.first);
            client.body(&head);
        }
    }
    let gate = Gate::conservative(&engine);
    let mut client = gate.client();
    for (line, rest, status) in REFUSED.into_iter().filter(|(.., status)| *status != 413) {
        client.send(format!("{line} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n{rest}"));
        let head = client.head();
        assert_eq!((head.status(), head.get("connection")), (status, Some("keep-alive")), "{line}");
        assert!(head.first.starts_with("HTTP/1.0 "), "{}", head.first);
        client.body(&head);
    }
}

#[test]
fn an_answer_that_a_policy_rewrote_ends_it_too() {
    let engine = engine();
    let gate = Gate::conservative(&engine);
    for (request, version) in [
        ("GET /version HTTP/1.0\r\n\r\n", "1.0"),
        ("GET /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "1.1"),
    ] {
        let head = read_to_the_end(&gate, request);
        assert_eq!((head.status(), head.get("connection")), (200, Some("close")));
        assert!(head.first.starts_with(&format!("HTTP/{version} ")));
    }
}
