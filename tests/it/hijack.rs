//! Hijack: from a call to a stream. What comes before, with and behind the engine's own head.

use std::time::Duration;

use crate::support::engine::{hijack_101, hijack_200, hijack_discards, plain, slow_frames};
use crate::support::http::answer;
use crate::support::{Conn, Engine, Gate, Setup, noise, text};

type GateOf = fn(&Engine) -> Gate;

const BOTH: [GateOf; 2] = [Gate::pass, Gate::typed];

pub const ATTACH: &str = "POST /v1.41/containers/x/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\n\
     Host:\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n";
const EXEC: &str = "POST /v1.41/exec/e/start HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
     Upgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: 29\r\n\r\n\
     {\"Detach\":false,\"Tty\":false} ";

/// The client after the engine's head has arrived as it was written.
pub fn attached(mut client: Conn) -> Conn {
    client.send(ATTACH);
    assert_eq!(text(&client.head().raw), hijack_101::HEAD);
    client
}

/// Sends it all while it comes back, and checks every byte.
fn echoes(mut client: Conn, bytes: &[u8]) {
    let mut writer = client.writer();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            writer.send(bytes);
            writer.end_writing();
        });
        let back = client.rest();
        assert_eq!(back.len(), bytes.len());
        assert!(back == bytes, "the bytes differ");
    });
}

#[test]
fn four_mebibytes_come_back_intact_over_unix_and_tcp() {
    let bytes = noise(4 << 20);
    for setup in [Setup::new as fn(&Engine) -> Setup, |engine| Setup::new(engine).typed()] {
        let engine = Engine::start(hijack_101::behaviour());
        let gate = setup(&engine).tcp().start();
        echoes(attached(gate.client()), &bytes);
        echoes(attached(Conn::tcp(&gate.tcp_address())), &bytes);
        for record in gate.records(2) {
            assert_eq!(
                (&record["status"], &record["operation"]),
                (&101.into(), &"ContainerAttach".into())
            );
            assert_eq!(record["bytes_in"], bytes.len());
            assert_eq!(record["bytes_sent"], bytes.len());
        }
        assert!(!engine.notes().contains(&"early".to_owned()));
    }
}

#[test]
fn exec_start_reads_its_body_first_and_keeps_what_comes_behind_it() {
    for gate_of in BOTH {
        let engine = Engine::start(hijack_101::behaviour());
        let gate = gate_of(&engine);
        let mut client = gate.client();
        client.send(format!("{EXEC}stdin"));
        assert_eq!(text(&client.head().raw), hijack_101::HEAD);
        client.end_writing();
        assert_eq!(text(&client.rest()), "stdin");
        assert!(!engine.notes().contains(&"early".to_owned()), "{:?}", engine.seen());
    }
}

#[test]
fn the_200_form_works_for_clients_that_send_no_upgrade() {
    for gate_of in BOTH {
        let engine = Engine::start(hijack_200::behaviour());
        let gate = gate_of(&engine);
        let mut client = gate.client();
        client.send("POST /v1.41/containers/x/attach?stream=1 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(text(&client.head().raw), hijack_200::HEAD);
        client.send("hello");
        assert_eq!(client.exactly(5), b"hello");
        client.end_writing();
        assert!(client.is_over());
        engine.wait_note("input ended");
    }
}

#[test]
fn the_200_form_with_a_json_body_as_dockerode_posts_it_gives_no_stdin() {
    for gate_of in BOTH {
        for (framing, body) in [
            ("Content-Length: 29", "{\"stream\":true,\"stdout\":true}"),
            ("Transfer-Encoding: chunked", "f\r\n{\"stream\":true}\r\n0\r\n\r\n"),
        ] {
            let engine = Engine::start(hijack_200::behaviour());
            let gate = gate_of(&engine);
            let mut client = gate.client();
            client.send(format!(
                "POST /v1.41/containers/x/attach?stream=1 HTTP/1.1\r\nHost: a\r\n\
                 Content-Type: application/json\r\n{framing}\r\n\r\n"
            ));
            // In a write of its own: that is what becomes stdin behind a careless proxy.
            std::thread::sleep(Duration::from_millis(50));
            client.send(body);
            assert_eq!(client.head().status(), 200);
            client.send("real input");
            client.end_writing();
            assert_eq!(text(&client.rest()), "real input");
        }
    }
}

#[test]
fn early_client_bytes_reach_the_engine_behind_its_head_and_all_of_them() {
    let input = noise(200_000);
    for gate_of in BOTH {
        // This engine throws away what comes before its head, as dockerd does.
        let engine = Engine::start(hijack_discards::behaviour());
        let gate = gate_of(&engine);
        let mut client = gate.client();
        client.send(ATTACH);
        echo_with_head(client, &input);
        assert!(!engine.notes().contains(&"early".to_owned()));
        assert!(!engine.notes().contains(&"discarded".to_owned()));
    }
}

/// Sends input at once, without waiting for the head.
fn echo_with_head(mut client: Conn, input: &[u8]) {
    let mut writer = client.writer();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            writer.send(input);
            writer.end_writing();
        });
        assert_eq!(client.head().status(), 101);
        assert!(client.rest() == input, "the input that came back differs");
    });
}

#[test]
fn input_in_the_same_write_as_the_request_arrives_too() {
    for gate_of in BOTH {
        let engine = Engine::start(hijack_discards::behaviour());
        let gate = gate_of(&engine);
        let mut client = gate.client();
        client.send(format!("{ATTACH}first line\n"));
        client.end_writing();
        assert_eq!(client.head().status(), 101);
        assert_eq!(text(&client.rest()), "first line\n");
    }
}

#[test]
fn a_lone_line_end_behind_the_request_is_dropped_and_nothing_else_is() {
    for gate_of in BOTH {
        for (behind, wanted) in [
            ("\n", ""),
            ("\r\n", ""),
            ("\nabc", "\nabc"),
            ("\r\nabc", "\r\nabc"),
            ("\n\n", "\n\n"),
            ("\r", "\r"),
            (" ", " "),
        ] {
            let engine = Engine::start(hijack_101::behaviour());
            let gate = gate_of(&engine);
            let mut client = gate.client();
            client.send(format!("{EXEC}{behind}"));
            assert_eq!(client.head().status(), 101);
            client.send("later");
            client.end_writing();
            assert_eq!(text(&client.rest()), format!("{wanted}later"), "behind: {behind:?}");
        }
    }
}

#[test]
fn a_line_end_that_is_input_is_kept() {
    let engine = Engine::start(hijack_101::behaviour());
    let gate = Gate::pass(&engine);
    let mut client = attached(gate.client());
    for input in ["\n", "\r\n", "\n"] {
        client.send(input);
        assert_eq!(text(&client.exactly(input.len())), input);
    }
}

#[test]
fn bare_line_feeds_and_the_stray_one_of_jenkins_work_together() {
    let engine = Engine::start(hijack_101::behaviour());
    let gate = Gate::pass(&engine);
    let mut client = gate.client();
    client.send(
        "POST /exec/e/start HTTP/1.1\nHost: docker.sock\nConnection: Upgrade\nUpgrade: tcp\n\
         Content-Type: application/json\nContent-Length: 16\n\n{\"Detach\":false}\n",
    );
    assert!(client.head().first.starts_with("HTTP/1.1 101 "));
    client.send("input");
    client.end_writing();
    assert_eq!(text(&client.rest()), "input");
}

#[test]
fn a_detached_exec_is_a_plain_answer_and_keeps_the_connection() {
    for gate_of in BOTH {
        let engine = Engine::start(plain::says(answer("200 OK", "")));
        let gate = gate_of(&engine);
        let mut client = gate.client();
        let body = r#"{"Detach":true}"#;
        for _ in 0..2 {
            let (status, _) = client.ask(format!(
                "POST /v1.41/exec/e/start HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            ));
            assert_eq!(status, 200);
        }
        assert_eq!(engine.seen().len(), 1);
    }
}

#[test]
fn a_failed_upgrade_keeps_the_connection_and_a_pipelined_request_is_served() {
    for gate_of in BOTH {
        let engine = Engine::start(plain::with(|head, _| match head.path() {
            "/info" => answer("200 OK", "{}"),
            _ => answer("404 Not Found", r#"{"message":"No such exec instance: e"}"#),
        }));
        let gate = gate_of(&engine);
        let mut client = gate.client();
        client.send(format!("{EXEC}GET /v1.41/info HTTP/1.1\r\nHost: a\r\n\r\n"));
        let head = client.head();
        assert_eq!(head.status(), 404);
        assert!(text(&client.body(&head)).contains("No such exec instance"));
        assert_eq!(client.head().status(), 200);
    }
}

#[test]
fn websocket_bytes_pass_both_ways_behind_its_own_handshake() {
    const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    for gate_of in BOTH {
        let engine = Engine::start(Box::new(|wire| {
            let head = wire.conn.head();
            assert_eq!(head.get("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
            assert_eq!(head.get("upgrade"), Some("websocket"));
            wire.conn.send(SWITCH);
            // A text frame, pong, and the closing handshake, 1000.
            wire.conn.send(b"\x82\x05hello");
            let masked = wire.conn.exactly(11);
            wire.note(&format!("{masked:02x?}"));
            wire.conn.send(b"\x88\x02\x03\xe8");
            wire.conn.rest();
        }));
        let gate = gate_of(&engine);
        let mut client = gate.client();
        client.send(
            "GET /v1.41/containers/x/attach/ws?stream=1 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\n\r\n",
        );
        assert_eq!(text(&client.head().raw), SWITCH);
        assert_eq!(client.exactly(7), b"\x82\x05hello");
        let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        client.send(masked);
        assert_eq!(client.exactly(4), b"\x88\x02\x03\xe8");
        engine.wait_note(&format!("{:02x?}", masked.to_vec()));
    }
}

#[test]
fn a_frame_header_is_never_split_by_us() {
    // Each round, two frames wait for the gate in one piece: the second header lies across the end of
    // the first block that the gate can read. Sockets cut at other places, inside the payload.
    let dir = tempfile::tempdir().unwrap();
    let (first, all) = slow_frames::two();
    let rounds = 40;
    let engine = Engine::start(slow_frames::behaviour(dir.path().to_owned(), rounds));
    let gate = Gate::typed(&engine);
    let mut client = attached(gate.client());
    for round in 0..rounds {
        gate.freeze();
        std::fs::write(dir.path().join(round.to_string()), "").unwrap();
        engine.wait_note(&format!("written {round}"));
        gate.signal("CONT");
        let mut got = Vec::new();
        while got.len() < all.len() {
            // Watched while it grows, and read when that is all or too much to wait for more.
            let waiting = client.waiting();
            let at = got.len() + waiting;
            let is_inside = (first + 1..first + 8).contains(&at);
            assert!(!is_inside, "round {round}: a write ended {} bytes into a header", at - first);
            if at == all.len() || waiting > 64 * 1024 {
                got.extend(client.recv(waiting).unwrap());
            }
        }
        assert!(got == all, "the frames differ");
    }
}

#[test]
fn an_early_end_of_the_input_waits_for_the_engines_head_too() {
    // The CLI without `-i` may end its input before the answer: were that passed on at once, dockerd
    // would take the client for gone.
    for gate_of in BOTH {
        let engine = Engine::start(Box::new(|wire| {
            hijack_101::take_over(wire, hijack_101::HEAD);
            assert!(wire.conn.is_over(), "it comes behind the head");
            wire.conn.send("output");
        }));
        let gate = gate_of(&engine);
        let mut client = gate.client();
        client.send(ATTACH);
        client.end_writing();
        assert_eq!(text(&client.head().raw), hijack_101::HEAD);
        assert_eq!(text(&client.rest()), "output");
        assert_eq!(engine.notes(), Vec::<String>::new(), "nothing was early");
    }
}

#[test]
fn one_connection_after_another_can_be_taken_over() {
    let engine = Engine::start(hijack_101::behaviour());
    let gate = Gate::pass(&engine);
    for n in 0..30 {
        let mut client = attached(gate.client());
        client.send(n.to_string());
        client.end_writing();
        assert_eq!(text(&client.rest()), n.to_string());
    }
    assert_eq!(gate.records(30).len(), 30);
}
