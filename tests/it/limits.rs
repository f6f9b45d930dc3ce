//! Limits: each has a clear answer, and the gate goes on behind it.

use crate::support::engine::plain;
use crate::support::{Conn, Engine, Gate, Setup, text};

const INFO: &str = "GET /v1.41/info HTTP/1.1\r\nHost: a\r\n\r\n";

/// As the engine gets it.
const INFO_TYPED: &str = "GET /v1.41/info HTTP/1.1\r\nHost: docker\r\n\r\n";

fn gate(engine: &Engine, limits: &str) -> Gate {
    Setup::new(engine).typed().tables(&format!("[limits]\n{limits}\n")).start()
}

#[track_caller]
fn refused(client: &mut Conn, status: u16, words: &str) {
    let head = client.head();
    let body = text(&client.body(&head));
    assert_eq!(head.status(), status, "{body}");
    let said: serde_json::Value = body.parse().unwrap();
    assert!(said["message"].as_str().unwrap().contains(words), "{body}");
}

#[test]
fn a_head_that_is_too_large_is_431_and_says_which_limit() {
    for mode in ["[]", "[\"conservative\"]"] {
        let engine = Engine::start(plain::behaviour());
        let setup = Setup::new(&engine).tables("[limits]\nheader_bytes = 4096\n");
        let gate = if mode == "[]" { setup.start() } else { setup.typed().start() };
        let fits = "x".repeat(3900);
        let mut client = gate.client();
        let ask = |filler: &str| format!("GET /info HTTP/1.1\r\nHost: a\r\nX-A: {filler}\r\n\r\n");
        assert_eq!(client.ask(ask(&fits)).0, 200);
        // Whole, and without end.
        for request in [ask(&"x".repeat(8000)), "x".repeat(8000)] {
            let mut client = gate.client();
            client.send(request);
            refused(&mut client, 431, "limits.header_bytes");
            assert!(client.is_over());
        }
        assert_eq!(gate.client().ask(INFO).0, 200);
    }
}

#[test]
fn a_mebibyte_of_head_passes_by_default_as_dockerd_takes_it() {
    let engine = Engine::start(plain::behaviour());
    let gate = Gate::pass(&engine);
    let target = format!("/containers/create?Env={}", "x".repeat(900_000));
    let (status, _) = gate.client().ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(status, 200);
    let mut client = gate.client();
    let _ = client.try_send(format!("GET /{} HTTP/1.1\r\n", "x".repeat(1 << 20)));
    refused(&mut client, 431, "limits.header_bytes");
}

#[test]
fn too_many_header_lines_are_431() {
    let engine = Engine::start(plain::behaviour());
    let gate = Gate::pass(&engine);
    let lines = "X-A: 1\r\n".repeat(300);
    let mut client = gate.client();
    client.send(format!("GET /info HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
    refused(&mut client, 431, "header lines");
}

#[test]
fn a_head_that_does_not_come_to_its_end_is_408() {
    let engine = Engine::start(plain::behaviour());
    let gate = gate(&engine, "header_time = \"200ms\"");
    let mut client = gate.client();
    client.send("GET /info HTTP/1.1\r\nHost:");
    refused(&mut client, 408, "took too long");
    assert!(client.is_over());
    // The time of a head begins with its first byte: idling between two requests is free.
    let mut client = gate.client();
    for _ in 0..2 {
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert_eq!(client.ask(INFO).0, 200);
    }
}

#[test]
fn a_json_body_that_is_too_large_is_413_and_the_engine_gets_nothing_of_it() {
    let engine = Engine::start(plain::behaviour());
    let gate = gate(&engine, "json_body = 1000");
    let request = |framing: &str| {
        format!(
            "POST /v1.41/containers/create HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
             {framing}\r\n\r\n"
        )
    };
    let body = |length: usize| format!("{{\"Image\":\"{}\"}}", "x".repeat(length - 12));
    let fits = request("Content-Length: 1000") + &body(1000);
    assert_eq!(gate.client().ask(fits).0, 200);
    let seen = engine.seen();
    for too_large in [
        request("Content-Length: 1001") + &body(1001),
        // Announced and never sent.
        request("Content-Length: 9999999999"),
        request("Transfer-Encoding: chunked") + &format!("3e9\r\n{}\r\n0\r\n\r\n", body(1001)),
        request("Transfer-Encoding: chunked") + &"1\r\nx\r\n".repeat(1001),
    ] {
        let mut client = gate.client();
        client.send(too_large);
        refused(&mut client, 413, "limits.json_body");
        assert!(client.is_over());
    }
    assert_eq!(gate.client().ask(INFO).0, 200);
    assert_eq!(engine.seen().concat().matches("POST").count(), 1);
    assert_eq!(engine.seen().concat().len(), seen.concat().len() + INFO_TYPED.len());
}

#[test]
fn a_json_body_of_too_many_values_is_413_and_says_which_limit_that_is() {
    let engine = Engine::start(plain::behaviour());
    let gate = gate(&engine, "json_elements = 100");
    let create = |labels: usize| {
        // The body, its list and the elements.
        let body = format!("{{\"Cmd\":[{}]}}", vec!["\"x\""; labels].join(","));
        format!(
            "POST /v1.41/containers/create HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    assert_eq!(gate.client().ask(create(98)).0, 200);
    let mut client = gate.client();
    client.send(create(99));
    refused(&mut client, 413, "more than 100 values. hint: raise `limits.json_elements`");
    assert_eq!(client.ask(INFO).0, 200, "the connection goes on");
    assert_eq!(engine.seen().concat().matches("POST").count(), 1);
}

#[test]
fn an_upload_has_no_limit_of_size() {
    let engine = Engine::start(plain::behaviour());
    let gate = gate(&engine, "json_body = 10");
    let (status, _) = gate.client().ask(format!(
        "POST /v1.41/images/load HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{}",
        "x".repeat(100_000)
    ));
    assert_eq!(status, 200);
}

#[test]
fn a_connection_too_many_is_503_and_there_is_room_again_when_one_ends() {
    let engine = Engine::start(plain::behaviour());
    let gate = Setup::new(&engine).listener("max_connections = 3\n").start();
    let mut held: Vec<Conn> = (0..3).map(|_| gate.client()).collect();
    for client in &mut held {
        assert_eq!(client.ask(INFO).0, 200);
    }
    let mut extra = gate.client();
    refused(&mut extra, 503, "too many connections on listener `it`");
    assert!(extra.is_over());
    for client in &mut held {
        assert_eq!(client.ask(INFO).0, 200, "those inside go on");
    }
    drop(held);
    crate::support::wait_until("there is room again", || {
        let mut client = gate.client();
        client.send(INFO);
        client.head().status() == 200
    });
}

#[test]
fn a_hijacked_stream_counts_as_a_connection_until_it_ends() {
    let engine = Engine::start(crate::support::engine::hijack_101::behaviour());
    let gate = Setup::new(&engine).listener("max_connections = 1\n").start();
    let mut client = crate::hijack::attached(gate.client());
    refused(&mut gate.client(), 503, "too many connections");
    client.end_writing();
    assert!(client.is_over());
    crate::support::wait_until("there is room again", || {
        let mut client = gate.client();
        client.send(crate::hijack::ATTACH);
        client.head().status() == 101
    });
}
