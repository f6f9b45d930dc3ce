//! Answer: the engine's bytes on their way to the client, and what becomes of both connections.

use crate::support::engine::{chunk_borders, no_length, plain, raw_404, refusing};
use crate::support::http::answer;
use crate::support::{Engine, Gate, Setup, text, wait_until};

const INFO: &str = "GET /v1.41/info HTTP/1.1\r\nHost: a\r\n\r\n";

/// The engine says this to `request`, and the client gets exactly `wanted`.
#[track_caller]
fn arrives(request: &str, said: &str, wanted: &str) {
    for gate_of in [Gate::pass as fn(&Engine) -> Gate, Gate::typed] {
        let engine = Engine::start(plain::says(said));
        let gate = gate_of(&engine);
        let mut client = gate.client();
        client.send(request);
        assert_eq!(text(&client.exactly(wanted.len())), wanted);
        // Nothing came behind it: the next answer begins right there.
        client.send(request);
        assert_eq!(text(&client.exactly(wanted.len())), wanted, "the second call");
    }
}

#[test]
fn status_line_order_case_and_duplicates_of_an_answer_arrive() {
    let said = "HTTP/1.1 218 This Is Fine\r\nZ-Last: 1\r\nset-cookie: a\r\nApi-Version: 1.41\r\n\
                Set-Cookie: b\r\nCONTENT-LENGTH: 5\r\nX-Empty: \r\n\r\nhello";
    arrives(INFO, said, said);
}

#[test]
fn a_reason_may_be_empty_or_missing() {
    let said = "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nOK";
    arrives(INFO, said, said);
    let said = "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nOK";
    arrives(INFO, said, said);
}

#[test]
fn a_chunked_answer_keeps_its_borders_and_trailers() {
    let said = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                1\r\na\r\n00a;x=y\r\nbcdefghijk\r\n2\r\nlm\r\n0\r\nX-Sum: 1\r\n\r\n";
    arrives(INFO, said, said);
}

#[test]
fn an_answer_to_head_has_a_length_and_no_body() {
    let said =
        "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nX-Docker-Container-Path-Stat: e30=\r\n\r\n";
    arrives("HEAD /v1.41/containers/x/archive?path=/ HTTP/1.1\r\nHost: a\r\n\r\n", said, said);
}

#[test]
fn answers_without_a_body_by_their_status_end_with_their_head() {
    for said in [
        "HTTP/1.1 204 No Content\r\nApi-Version: 1.41\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nApi-Version: 1.41\r\nContent-Length: 12\r\n\r\n",
    ] {
        arrives("POST /v1.41/containers/x/start HTTP/1.1\r\nHost: a\r\n\r\n", said, said);
    }
}

#[test]
fn an_answer_without_a_length_ends_with_the_connection() {
    for gate_of in [Gate::pass as fn(&Engine) -> Gate, Gate::typed] {
        let engine = Engine::start(no_length::behaviour());
        let gate = gate_of(&engine);
        let mut client = gate.client();
        client.send(INFO);
        assert_eq!(
            text(&client.rest()),
            "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end"
        );
        let ended = gate.stop();
        assert!(ended.stdout.contains("\"verdict\":\"allow\""), "that is no failure");
    }
}

#[test]
fn the_raw_error_of_an_attach_arrives_and_the_connection_ends() {
    for gate_of in [Gate::pass as fn(&Engine) -> Gate, Gate::typed] {
        for upgrade in ["", "Connection: Upgrade\r\nUpgrade: tcp\r\n"] {
            let engine = Engine::start(raw_404::behaviour());
            let gate = gate_of(&engine);
            let mut client = gate.client();
            client.send(format!(
                "POST /v1.41/containers/x/attach?stream=1 HTTP/1.1\r\nHost:\r\n{upgrade}Content-Length: 0\r\n\r\n"
            ));
            assert_eq!(text(&client.rest()), raw_404::ANSWER);
        }
    }
}

#[test]
fn connection_close_of_the_engine_arrives_and_ends_both() {
    let said =
        "HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
    let engine = Engine::start(Box::new(move |wire| {
        wire.conn.head();
        wire.conn.send(said);
        wire.conn.rest();
        wire.note("closed");
    }));
    let gate = Gate::pass(&engine);
    let mut client = gate.client();
    client.send(INFO);
    assert_eq!(text(&client.rest()), said);
    engine.wait_note("closed");
}

#[test]
fn a_kept_connection_that_the_engine_closed_is_not_used_again() {
    // It answers one call and closes a moment later, as Go does when it is restarted.
    let engine = Engine::start(Box::new(|wire| {
        plain::one(wire, &|_: &_, _: &_| answer("200 OK", "{}"));
    }));
    let body = r#"{"Image":"x"}"#;
    let create = format!(
        "POST /v1.41/containers/create HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    for gate_of in [Gate::pass as fn(&Engine) -> Gate, Gate::typed] {
        let gate = gate_of(&engine);
        let mut client = gate.client();
        for _ in 0..10 {
            for request in [INFO, &create] {
                let (status, body) = client.ask(request);
                assert_eq!(status, 200, "{body} {:?}", engine.notes());
                wait_until("the engine closes", || engine.open() == 0);
            }
        }
    }
}

#[test]
fn an_answer_too_large_for_any_buffer_arrives_whole() {
    let body = crate::support::noise(8 << 20);
    let mut said =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    said.extend_from_slice(&body);
    let engine = Engine::start(plain::says(said));
    let gate = Gate::typed(&engine);
    let mut client = gate.client();
    for _ in 0..2 {
        client.send("GET /v1.41/images/x/get HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = client.head();
        assert!(client.body(&head) == body, "the bytes differ");
    }
    let sent = &gate.records(1)[0]["bytes_sent"];
    assert_eq!(*sent, body.len());
}

#[test]
fn an_answer_reaches_the_client_while_it_is_being_written() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(chunk_borders::behaviour(dir.path().to_owned(), 5));
    let gate = Gate::typed(&engine);
    let mut client = gate.client();
    client.send("GET /v1.41/events HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(text(&client.head().raw), chunk_borders::HEAD);
    for n in 0..5 {
        // The next one is not written before this one has arrived.
        std::fs::write(dir.path().join(n.to_string()), "").unwrap();
        let wanted = crate::support::http::chunk(&chunk_borders::event(n));
        assert_eq!(client.exactly(wanted.len()), wanted);
    }
    assert_eq!(text(&client.exactly(chunk_borders::END.len())), chunk_borders::END);
    assert_eq!(client.buffer, b"");
}

#[test]
fn a_refusal_of_the_gate_has_the_engines_shape_even_to_head() {
    let (_dir, url) = refusing::address();
    let gate = Setup::at(&url).start();
    let mut client = gate.client();
    client.send("HEAD /_ping HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.head();
    assert_eq!(head.first, "HTTP/1.1 502 Bad Gateway");
    assert_eq!(head.get("content-type"), Some("application/json"));
    client.send(INFO);
    assert_eq!(client.head().status(), 502, "no body stood between");
}

#[test]
fn what_the_engine_wrote_in_one_piece_arrives_in_one() {
    // testcontainers for Node may end before the first line of a log that comes apart from its head.
    let line = crate::support::http::chunk(b"a line\n");
    for gate_of in [Gate::pass as fn(&Engine) -> Gate, Gate::typed] {
        let whole = format!("{}{}", chunk_borders::HEAD, text(&line));
        let engine = Engine::start(Box::new({
            let whole = whole.clone();
            move |wire| {
                wire.conn.head();
                wire.conn.send(&whole);
                wire.conn.rest();
            }
        }));
        let gate = gate_of(&engine);
        let mut client = gate.client();
        client.send("GET /v1.41/containers/x/logs?follow=1 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(text(&client.recv(64 * 1024).unwrap()), whole);
    }
}
