//! How many builds run at the same time (`limits`): counted however they come, and given back however they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crate::native::H2;
use crate::reload::reload;
use crate::support::engine::{Wire, grpc, plain};
use crate::support::http::{answer, chunk};
use crate::support::{Conn, Engine, Gate, Setup, wait_until};

const SOLVE: &str = "/moby.buildkit.v1.Control/Solve";
const FULL: &str =
    "must be at most 1 at the same time, and so many on this listener run (rule limits.builds)";

fn gate(engine: &Engine) -> Gate {
    let tables = "[policy.few]\nkind = \"limits\"\nmax = { builds = 1 }\n";
    Setup::new(engine).policies(r#"["few"]"#).tables(tables).start()
}

/// `t=held` is a build that runs until its client is gone, `t=cut` until the engine is told to break it off; others are done
/// at once.
fn engine(cuts: &Arc<AtomicBool>) -> Engine {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let cuts = Arc::clone(cuts);
    let grpc = grpc::behaviour();
    Engine::speaking(
        "1.51",
        Box::new(move |wire| {
            loop {
                let is = |wire: &mut Wire, line: &str| wire.conn.peek_starts_with(line.as_bytes());
                let (held, cut) =
                    (is(wire, "POST /v1.41/build?t=held"), is(wire, "POST /v1.41/build?t=cut"));
                if is(wire, "POST /grpc") || is(wire, "POST /v1.51/grpc") {
                    return grpc(wire);
                }
                if held || cut {
                    wire.conn.try_head();
                    wire.conn.send([HEAD, &chunk(b"{\"stream\":\"1\"}\n")].concat());
                    return match held {
                        true => drop(wire.conn.rest()),
                        false => wait_until("the word to break off", || cuts.load(SeqCst)),
                    };
                }
                if !plain::one(wire, &|_, _| answer("200 OK", "{}")) {
                    return;
                }
            }
        }),
    )
}

fn build(tag: &str) -> String {
    format!("POST /v1.41/build?t={tag} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
}

/// A build that runs.
fn building(gate: &Gate, tag: &str) -> Conn {
    let mut client = gate.client();
    client.send(build(tag));
    assert_eq!(client.head().status(), 200);
    client
}

#[track_caller]
fn is_full(gate: &Gate) {
    let (status, said) = gate.client().ask(build("x"));
    assert!(status == 403 && said.contains(FULL), "{status} {said}");
    let solved = H2::new(gate.socket()).call(SOLVE, b"\x0a\x01r");
    assert!(solved.0 == "7" && solved.1.contains(FULL), "{solved:?}");
}

fn wait_free(gate: &Gate) {
    wait_until("a slot", || gate.client().ask(build("x")).0 == 200);
}

#[test]
fn a_slot_is_given_back_when_the_client_leaves_and_when_the_engine_does() {
    let cuts = Arc::new(AtomicBool::new(false));
    let engine = engine(&cuts);
    let gate = gate(&engine);
    let client = building(&gate, "held");
    is_full(&gate);
    let prune = "POST /v1.41/build/prune HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(gate.client().ask(prune).0, 200, "no build");
    drop(client);
    wait_free(&gate);
    let mut client = building(&gate, "cut");
    is_full(&gate);
    cuts.store(true, SeqCst);
    client.rest();
    wait_free(&gate);
    let refused = gate.records(1).remove(0);
    assert_eq!(
        (&refused["operation"], &refused["verdict"], &refused["rule"]),
        (&"ImageBuild".into(), &"deny".into(), &"limits.builds".into())
    );
}

#[test]
fn builds_one_after_the_other_always_have_a_slot() {
    let engine = engine(&Arc::default());
    let gate = gate(&engine);
    for n in 0..50 {
        assert_eq!(gate.client().ask(build("x")).0, 200, "{n}");
        assert_eq!(H2::new(gate.socket()).call(SOLVE, format!("\n\x03r{n:02}").as_bytes()).0, "0");
    }
}

#[test]
fn a_build_that_is_refused_for_something_else_holds_no_slot() {
    let engine = engine(&Arc::default());
    let tables = "[policy.few]\nkind = \"limits\"\nmax = { builds = 1 }\n\
                  [policy.sizes]\nkind = \"limits\"\nmax = { memory = \"1g\" }\n";
    let gate = Setup::new(&engine).policies(r#"["few", "sizes"]"#).tables(tables).start();
    let large = build("x&memory=8589934592");
    let _running = building(&gate, "held");
    let (status, said) = gate.client().ask(large);
    assert!(status == 403 && said.contains("limits.memory"), "before slots: {status} {said}");
    is_full(&gate);
}

#[test]
fn the_count_survives_a_reload() {
    let engine = engine(&Arc::default());
    let gate = gate(&engine);
    let client = building(&gate, "held");
    let said = reload(&gate, |config| config.replace("{ builds = 1 }", "{ builds = 1, pids = 9 }"));
    is_full(&gate);
    drop(client);
    wait_free(&gate);
    assert!(!said.contains("error"), "{said}");
}

#[test]
fn a_build_by_buildkit_has_a_slot_until_its_call_ends() {
    for version in ["1.51", "1.53"] {
        let engine = Engine::speaking(version, grpc::behaviour());
        let gate = gate(&engine);
        let client = H2::new(gate.socket());
        // SolveRequest{Ref: "held"}
        client.begin_call(SOLVE, b"\x0a\x04held");
        engine.wait_note("held");
        is_full(&gate);
        drop(client);
        wait_free(&gate);
    }
}
