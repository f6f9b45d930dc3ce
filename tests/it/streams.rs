//! Streams: bodies of any size in both directions, never buffered, with back-pressure, and their
//! early ends.

use std::io::ErrorKind;
use std::time::Duration;

use crate::support::engine::{answers_before_body, chunk_borders, stops_reading};
use crate::support::http::{answer, chunk, dechunk};
use crate::support::{Engine, Gate, Setup, noise, text, wait_until};

const LARGE: usize = 64 << 20;
/// Of growth, in KiB: far less than what passes.
const MOST_GROWTH: u64 = 16 << 10;

type GateOf = fn(&Engine) -> Gate;
const BOTH: [GateOf; 2] = [Gate::pass, Gate::typed];

/// Counts and sums an upload while it comes, so that the test itself holds little.
fn summing() -> Engine {
    Engine::start(Box::new(|wire| {
        let head = wire.conn.head();
        let (mut length, mut sum) = (0usize, 0u64);
        let mut take = |bytes: &[u8]| {
            for byte in bytes {
                sum = sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
            }
            length += bytes.len();
        };
        if head.is_chunked() {
            loop {
                let line = text(&wire.conn.through(b"\r\n"));
                match usize::from_str_radix(line.trim_end(), 16).unwrap() {
                    0 => break,
                    size => take(&wire.conn.exactly(size)),
                }
                wire.conn.exactly(2);
                wire.conn.record.lock().unwrap().clear();
            }
        } else {
            let mut left = head.length().unwrap();
            while left > 0 {
                let part = wire.conn.exactly(left.min(1 << 20));
                take(&part);
                left -= part.len();
                wire.conn.record.lock().unwrap().clear();
            }
        }
        wire.conn.send(answer("200 OK", &format!("{length} {sum}")));
        wire.conn.rest();
    }))
}

fn sum_of(block: &[u8], times: usize) -> u64 {
    let mut sum = 0u64;
    for _ in 0..times {
        for byte in block {
            sum = sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
        }
    }
    sum
}

#[test]
fn an_upload_of_64_mebibytes_arrives_intact_in_little_memory() {
    let block = noise(1 << 20);
    let times = LARGE / block.len();
    let wanted = format!("{LARGE} {}", sum_of(&block, times));
    for gate_of in BOTH {
        for is_chunked in [false, true] {
            let engine = summing();
            let gate = gate_of(&engine);
            let mut client = gate.client();
            let before = gate.peak_memory();
            let framing = match is_chunked {
                true => "Transfer-Encoding: chunked".to_owned(),
                false => format!("Content-Length: {LARGE}"),
            };
            client
                .send(format!("POST /v1.41/images/load HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
            let part = if is_chunked { chunk(&block) } else { block.clone() };
            for _ in 0..times {
                client.send(&part);
            }
            let (status, said) = client.ask(if is_chunked { "0\r\n\r\n" } else { "" });
            assert_eq!((status, said.as_str()), (200, wanted.as_str()));
            let growth = gate.peak_memory() - before;
            assert!(growth < MOST_GROWTH, "chunked {is_chunked}: grew by {growth} KiB");
            drop(client);
            let bytes_in = gate.records(1)[0]["bytes_in"].as_u64().unwrap();
            assert!(bytes_in >= LARGE as u64);
        }
    }
}

#[test]
fn an_upload_waits_while_the_engine_does_not_read() {
    for gate_of in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let go = dir.path().join("go");
        let engine = Engine::start(stops_reading::behaviour(go.clone()));
        let gate = gate_of(&engine);
        let mut client = gate.client();
        let before = gate.peak_memory();
        client.send(
            "POST /v1.41/images/load HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        let mut writer = client.writer();
        writer.write_patience(Duration::from_secs(2));
        let part = chunk(&noise(16 * 1024));
        let (mut parts, mut cut) = (0, 0);
        // As much as fits between the two ends, far below 32 MiB.
        while parts * part.len() < 32 << 20 {
            match writer.write_some(&part[cut..]) {
                Ok(n) if cut + n < part.len() => cut += n,
                Ok(_) => (parts, cut) = (parts + 1, 0),
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
                    break;
                }
            }
        }
        assert!(parts * part.len() < 8 << 20, "{parts} chunks were taken");
        assert!(gate.peak_memory() - before < MOST_GROWTH);
        std::fs::write(&go, "").unwrap();
        if cut > 0 {
            writer.send(&part[cut..]);
            parts += 1;
        }
        let (status, said) = client.ask("0\r\n\r\n");
        assert_eq!((status, said), (200, (parts * 16 * 1024).to_string()));
    }
}

#[test]
fn a_slow_client_makes_no_memory_grow() {
    for gate_of in BOTH {
        let engine = Engine::start(Box::new(|wire| {
            wire.conn.head();
            wire.conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            let part = chunk(&vec![b'x'; 64 * 1024]);
            for _ in 0..LARGE / (64 * 1024) {
                if wire.conn.try_send(&part).is_err() {
                    return;
                }
            }
            wire.conn.send("0\r\n\r\n");
            wire.note("all written");
            wire.conn.rest();
        }));
        let gate = gate_of(&engine);
        let mut client = gate.client();
        let before = gate.peak_memory();
        client.send("GET /v1.41/containers/x/logs?stdout=1 HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = client.head();
        std::thread::sleep(Duration::from_millis(700));
        assert!(engine.notes().is_empty(), "the engine is slowed down");
        assert_eq!(client.body(&head).len(), LARGE);
        let growth = gate.peak_memory() - before;
        assert!(growth < MOST_GROWTH, "grew by {growth} KiB");
    }
}

#[test]
fn a_build_may_answer_before_its_body_is_read() {
    for gate_of in BOTH {
        for framing in ["Content-Length: 300000", "Transfer-Encoding: chunked"] {
            let engine = Engine::start(answers_before_body::behaviour());
            let gate = gate_of(&engine);
            let mut client = gate.client();
            client
                .send(format!("POST /v1.41/images/load HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
            let head = client.head();
            assert_eq!(head.status(), 200, "while not a byte of the body has been sent");
            assert!(text(&client.through(b"}\r\n\r\n")).contains("begun"));
            let context = noise(300_000);
            if framing.starts_with('T') {
                client.send(chunk(&context));
                client.send("0\r\n\r\n");
            } else {
                client.send(&context);
            }
            assert_eq!(text(&dechunk(&client.chunks())), "{\"aux\":300000}\r\n");
        }
    }
}

#[test]
fn a_client_that_leaves_a_stream_closes_the_engines_connection() {
    // `docker logs -f` and Ctrl-C: nothing is being written at that time.
    for gate_of in BOTH {
        for ends_its_side_only in [false, true] {
            let engine = Engine::start(Box::new(|wire| {
                wire.conn.head();
                wire.conn.send(chunk_borders::HEAD);
                wire.conn.send(chunk(b"a line\n"));
                wire.conn.rest();
                wire.note("left");
            }));
            let gate = gate_of(&engine);
            let mut client = gate.client();
            client.send("GET /v1.41/containers/x/logs?follow=1 HTTP/1.1\r\nHost: a\r\n\r\n");
            client.through(b"a line\n");
            let kept = if ends_its_side_only {
                client.end_writing();
                Some(client)
            } else {
                drop(client);
                None
            };
            engine.wait_note("left");
            drop(kept);
        }
    }
}

#[test]
fn a_client_that_leaves_is_noticed_while_the_engine_says_nothing() {
    for gate_of in BOTH {
        let engine = Engine::start(Box::new(|wire| {
            wire.conn.head();
            wire.note("asked");
            wire.conn.rest();
            wire.note("left");
        }));
        let gate = gate_of(&engine);
        let mut client = gate.client();
        client.send("POST /v1.41/containers/x/wait HTTP/1.1\r\nHost: a\r\n\r\n");
        engine.wait_note("asked");
        drop(client);
        engine.wait_note("left");
        // The engine closes because we told it of the client's end: that is no failure of its.
        assert_eq!(gate.records(1)[0]["status"], 499);
        assert!(!gate.stderr().contains("cannot reach the engine"), "{}", gate.stderr());
    }
}

#[test]
fn a_client_that_leaves_inside_its_upload_is_noticed_by_the_engine() {
    for gate_of in BOTH {
        let engine = Engine::start(Box::new(|wire| {
            wire.conn.head();
            let body = wire.conn.rest();
            wire.note(&format!("cut after {}", body.len()));
        }));
        let gate = gate_of(&engine);
        let mut client = gate.client();
        client.send("POST /v1.41/images/load HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
        client.send("x".repeat(500));
        client.end_writing();
        engine.wait_note("cut after 500");
    }
}

#[test]
fn a_stream_may_be_silent_for_longer_than_any_patience() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(chunk_borders::behaviour(dir.path().to_owned(), 1));
    let gate = Setup::new(&engine).engine("patience = \"1s\"\n").start();
    let mut client = gate.client();
    client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head();
    std::thread::sleep(Duration::from_secs(3));
    std::fs::write(dir.path().join("0"), "").unwrap();
    assert_eq!(dechunk(&client.chunks()), chunk_borders::event(0));
    wait_until("the record is written", || gate.stdout().contains("SystemEvents"));
}
