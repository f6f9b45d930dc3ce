//! What clients can make the gate hold: heads that do not end, bodies that do not come, and the bounds of both.

use crate::support::engine::plain;
use crate::support::{Conn, Engine, Gate, Setup, text, wait_until};

const INFO: &str = "GET /v1.41/info HTTP/1.1\r\nHost: a\r\n\r\n";
/// Four times the largest of what it is for: one client may hold two of them.
const SMALL: &str = "[limits]\nheader_bytes = 65536\nhead_memory = \"256k\"\njson_body = 65536\n\
                     body_memory = \"256k\"\n";

const SMALL_CREATE: &str = "POST /v1.41/containers/create HTTP/1.1\r\nHost: a\r\n\
     Content-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"Image\":\"a\"}";

fn unfinished_head() -> String {
    format!("GET /v1.41/info HTTP/1.1\r\nHost: a\r\nX-A: {}", "x".repeat(60_000))
}

fn unfinished_body() -> String {
    format!(
        "POST /v1.41/containers/create HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         Content-Length: 60012\r\n\r\n{{\"Image\":\"{}",
        "x".repeat(50_000)
    )
}

fn said(client: &mut Conn) -> (u16, String) {
    let head = client.head();
    assert_eq!(head.get("connection"), Some("close"));
    let body = text(&client.body(&head));
    assert!(client.is_over(), "nothing of it is read any more");
    let json: serde_json::Value = body.parse().unwrap();
    (head.status(), json["message"].as_str().unwrap().to_owned())
}

/// Each sends this and no more. Waits until all that have no room are told so; gives those that do.
fn hold(
    connect: impl Fn() -> Conn,
    part: &str,
    clients: usize,
    room: usize,
) -> (Vec<Conn>, Vec<Conn>) {
    let mut held: Vec<Conn> = (0..clients).map(|_| connect()).collect();
    held.iter_mut().for_each(|client| {
        let _ = client.try_send(part);
    });
    let count = |held: &[Conn]| held.iter().filter(|client| client.waiting() > 0).count();
    wait_until("those without room are told so", || count(&held) == clients - room);
    held.into_iter().partition(|client| client.waiting() == 0)
}

#[test]
fn unfinished_heads_of_one_client_hold_no_more_than_its_share() {
    for gate_of in [Setup::start as fn(Setup) -> Gate, |setup| setup.typed().start()] {
        let engine = Engine::start(plain::behaviour());
        let gate = gate_of(Setup::new(&engine).tables(SMALL));
        let (mut held, refused) = hold(|| gate.client(), &unfinished_head(), 6, 2);
        for mut client in refused {
            let (status, message) = said(&mut client);
            assert_eq!(status, 429, "{message}");
            assert!(message.contains("headers of this client hold too much memory"), "{message}");
            assert!(message.contains("hint: ") && message.contains("`limits.head_memory`"));
        }
        assert_eq!(
            gate.client().ask(INFO).0,
            200,
            "a call that comes in one piece needs none of it"
        );
        // Those that hold it go on, and what they held is there for others.
        for client in &mut held {
            assert_eq!(client.ask("\r\n\r\n").0, 200);
        }
        let (held, _) = hold(|| gate.client(), &unfinished_head(), 2, 2);
        drop(held);
        wait_until("what clients that left held is there again", || {
            let mut client = gate.client();
            client.send(unfinished_head());
            let _ = client.try_send("\r\n\r\n");
            client.head().status() == 200
        });
    }
}

#[test]
fn heads_of_many_listeners_share_what_the_process_has() {
    let engine = Engine::start(plain::behaviour());
    let limits =
        "[limits]\nheader_bytes = 65536\nhead_memory = \"1m\"\nhead_memory_total = \"256k\"\n";
    let gate = Setup::new(&engine).tcp().tables(limits).start();
    let (_held, mut refused) = hold(|| gate.client(), &unfinished_head(), 3, 2);
    assert!(said(&mut refused[0]).1.contains("`limits.head_memory_total`"));
    // Another client, on another listener, gets half of what is left.
    let tcp = || Conn::tcp(&gate.tcp_address());
    let (_also_held, mut refused) = hold(tcp, &unfinished_head(), 2, 1);
    let (status, message) = said(&mut refused[0]);
    assert_eq!(status, 503, "{message}");
    assert!(message.contains("of all clients") && message.contains("`limits.head_memory_total`"));
}

#[test]
fn a_flood_of_heads_costs_no_more_than_the_budget() {
    let engine = Engine::start(plain::behaviour());
    let gate = Setup::new(&engine).typed().start();
    assert_eq!(gate.client().ask(INFO).0, 200);
    let before = gate.peak_memory();
    let mebibyte = format!("GET /info HTTP/1.1\r\nHost: a\r\nX-A: {}", "x".repeat((1 << 20) - 100));
    // Half of 32 MiB, each head in 1 MiB.
    let (held, refused) = hold(|| gate.client(), &mebibyte, 100, 16);
    assert_eq!((held.len(), refused.len()), (16, 84));
    // Blocks that are ready to be used again, and what a socket's bytes pass through, are beside it.
    let grown = gate.peak_memory() - before;
    assert!(grown < 48 << 10, "{grown} KiB for 100 MiB of heads");
}

#[test]
fn collected_bodies_of_one_client_hold_no_more_than_its_share() {
    let engine = Engine::start(plain::behaviour());
    let gate = Setup::new(&engine).typed().tables(SMALL).start();
    let (mut held, refused) = hold(|| gate.client(), &unfinished_body(), 6, 2);
    for mut client in refused {
        let (status, message) = said(&mut client);
        assert_eq!(status, 429, "{message}");
        assert!(message.contains("JSON bodies of this client hold too much memory"), "{message}");
        assert!(message.contains("`limits.body_memory`"), "{message}");
    }
    assert_eq!(gate.client().ask(SMALL_CREATE).0, 200);
    for client in &mut held {
        assert_eq!(client.ask(format!("{}\"}}", "x".repeat(10_000))).0, 200);
    }
    let (_held, refused) = hold(|| gate.client(), &unfinished_body(), 2, 2);
    assert!(refused.is_empty());
}

#[test]
fn an_answer_that_policies_read_is_counted_too() {
    let version = format!("{{\"ApiVersion\":\"1.41\",\"Platform\":\"{}\"}}", "x".repeat(200_000));
    let engine = Engine::start(plain::says(crate::support::http::answer("200 OK", &version)));
    let ask = |limits: &str| {
        let gate = Setup::new(&engine).conservative().tables(limits).start();
        gate.client().ask("GET /version HTTP/1.1\r\nHost: a\r\n\r\n")
    };
    let (status, body) = ask(SMALL);
    assert_eq!(status, 503, "{}", &body[..body.len().min(300)]);
    assert!(body.contains("`limits.body_memory`"), "{body}");
    assert_eq!(ask("").0, 200);
}

#[test]
fn a_body_that_does_not_come_to_its_end_is_408_and_says_which_bound() {
    for (limits, words) in [
        (
            "body_time = \"300ms\"",
            "longer than 300ms. hint: send it faster, or raise `limits.body_time`",
        ),
        (
            "header_time = \"200ms\"\nbody_rate = \"1m\"",
            "less than 1048576 bytes a second. hint: send it faster, or lower `limits.body_rate`",
        ),
    ] {
        let engine = Engine::start(plain::behaviour());
        let gate = Setup::new(&engine).typed().tables(&format!("[limits]\n{limits}\n")).start();
        let chunked =
            unfinished_body().replace("Content-Length: 60012", "Transfer-Encoding: chunked");
        let chunked = chunked.replace("{\"Image\":\"", "ffff\r\n{\"Image\":\"");
        // A body that is read to be dropped is read as any other.
        let dropped =
            "POST /v1.41/containers/x/attach HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{";
        for request in [unfinished_body(), chunked, dropped.to_owned()] {
            let mut client = gate.client();
            client.send(request);
            let (status, message) = said(&mut client);
            assert_eq!(status, 408, "{message}");
            assert!(message.contains(words), "{message}");
        }
        assert!(engine.seen().is_empty(), "nothing of it reaches the engine");
        // What comes in one piece is waited for by nobody.
        assert_eq!(gate.client().ask(SMALL_CREATE).0, 200);
    }
}

#[test]
fn check_refuses_budgets_in_which_nothing_has_room() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dockgate.toml");
    for (limits, words) in [
        (
            "head_memory = \"1m\"",
            ":5:15: `head_memory` must be at least 4 times `header_bytes`, that is 4m",
        ),
        (
            "head_memory_total = 1000",
            ":5:21: `head_memory_total` must be at least 4 times `header_bytes`",
        ),
        (
            "body_memory = \"15m\"",
            ":5:15: `body_memory` must be at least 4 times `json_body`, that is 16m",
        ),
        ("json_body = 134217729", "`body_memory` must be at least 4 times `json_body`"),
        ("body_rate = 0", ":5:13: must be at least 1"),
        ("body_time = \"soon\"", ":5:13: `soon` is not a duration"),
        ("head_memory = \"much\"", ":5:15: not a size"),
    ] {
        let listener = "[[listener]]\nname = \"a\"\nurl = \"unix:///x\"";
        std::fs::write(&file, format!("{listener}\n[limits]\n{limits}\n")).unwrap();
        let mut check = crate::support::gate::dockgate(&["check", "-c", file.to_str().unwrap()]);
        let said = text(&check.output().unwrap().stderr);
        assert!(said.contains(words), "{limits}: {said}");
    }
}
