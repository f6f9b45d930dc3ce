//! The ends of a hijacked stream: either side first, both at once, or one side gone.

use std::time::Duration;

use crate::hijack::attached;
use crate::support::engine::{Wire, half_closes, hijack_101, stubborn};
use crate::support::{Conn, Engine, Gate, Setup, text, wait_until};

/// One gate that listens on a unix socket and on TCP, and a client on each.
fn over_both(behaviour: fn() -> crate::support::engine::Behaviour, test: impl Fn(&Engine, Conn)) {
    for is_tcp in [false, true] {
        let engine = Engine::start(behaviour());
        let gate = Setup::new(&engine).typed().tcp().start();
        let client = if is_tcp { Conn::tcp(&gate.tcp_address()) } else { gate.client() };
        test(&engine, attached(client));
        wait_until("the engine's side is closed", || engine.open() == 0);
    }
}

#[test]
fn the_clients_half_close_reaches_the_engine_and_output_goes_on() {
    over_both(
        || {
            Box::new(|wire: &mut Wire| {
                hijack_101::take_over(wire, hijack_101::HEAD);
                assert_eq!(text(&wire.conn.rest()), "script");
                wire.note("input ended");
                // Output that follows for long, as GitLab's runner has it.
                for n in 0..5 {
                    std::thread::sleep(Duration::from_millis(20));
                    wire.conn.send(format!("line {n}\n"));
                }
            })
        },
        |engine, mut client| {
            client.send("script");
            client.end_writing();
            assert_eq!(text(&client.rest()), "line 0\nline 1\nline 2\nline 3\nline 4\n");
            assert_eq!(engine.notes(), ["input ended"]);
        },
    );
}

#[test]
fn the_engines_half_close_reaches_the_client_and_input_goes_on() {
    over_both(half_closes::behaviour, |engine, mut client| {
        assert_eq!(text(&client.rest()), "output");
        client.send("still ");
        client.send("heard");
        client.end_writing();
        engine.wait_note("still heard");
    });
}

/// An engine that reads no more while its client goes on sending: what it says must arrive, although
/// a socket that is closed with unread input resets what is under way.
#[test]
fn input_that_nobody_reads_does_not_cost_output() {
    const LINES: usize = 3_000_000;
    over_both(
        || {
            Box::new(|wire: &mut Wire| {
                hijack_101::take_over(wire, hijack_101::HEAD);
                wire.conn.end_reading();
                wire.conn.send(vec![b'o'; LINES]);
                wire.conn.end();
            })
        },
        |_, mut client| {
            let mut writer = client.writer();
            let sending =
                std::thread::spawn(move || while writer.try_send([b'i'; 4096]).is_ok() {});
            // A slow reader: most of it is still under way when the engine has ended.
            let mut came = 0;
            while let Ok(block @ [_, ..]) = client.next(64 * 1024).as_deref() {
                came += block.len();
                std::thread::sleep(Duration::from_millis(2));
            }
            assert_eq!(came, LINES);
            drop(client);
            sending.join().unwrap();
        },
    );
}

#[test]
fn both_may_end_at_once() {
    over_both(
        || {
            Box::new(|wire: &mut Wire| {
                hijack_101::take_over(wire, hijack_101::HEAD);
                wire.conn.end_writing();
                wire.conn.rest();
                wire.note("ended");
            })
        },
        |engine, mut client| {
            client.end_writing();
            assert!(client.is_over());
            engine.wait_note("ended");
        },
    );
}

#[test]
fn a_client_that_ends_its_input_at_once_loses_no_output() {
    // The CLI without `-i`: a half-close right behind the head.
    over_both(
        || {
            Box::new(|wire: &mut Wire| {
                hijack_101::take_over(wire, hijack_101::HEAD);
                assert!(wire.conn.is_over());
                wire.conn.send(crate::support::noise(1 << 20));
            })
        },
        |_, mut client| {
            client.end_writing();
            assert_eq!(client.rest().len(), 1 << 20);
        },
    );
}

#[test]
fn when_the_engine_ends_the_stream_both_sockets_are_released_even_if_the_client_stays() {
    let engine = Engine::start(stubborn::behaviour());
    let gate = Gate::typed(&engine);
    let idle = gate.sockets();
    let mut client = attached(gate.client());
    assert_eq!(text(&client.rest()), "bye", "the half-close arrives at once");
    assert!(engine.notes().is_empty(), "and not after the grace: {:?}", engine.notes());
    engine.wait_note("released");
    wait_until("sockets are given back", || gate.sockets() <= idle);
    assert_eq!(gate.records(1)[0]["bytes_sent"], 3);
    drop(client);
}

#[test]
fn a_client_that_vanishes_closes_the_engines_side() {
    let engine = Engine::start(hijack_101::behaviour());
    let gate = Gate::typed(&engine);
    let idle = gate.sockets();
    let mut client = attached(gate.client());
    client.send("x");
    assert_eq!(client.exactly(1), b"x");
    drop(client);
    engine.wait_note("input ended");
    wait_until("everything is released", || engine.open() == 0 && gate.sockets() <= idle);
}

#[test]
fn a_client_that_vanishes_is_noticed_by_an_engine_that_only_writes() {
    for ends_its_input_first in [false, true] {
        let engine = Engine::start(stubborn::endless());
        let gate = Gate::typed(&engine);
        let mut client = attached(gate.client());
        if ends_its_input_first {
            client.end_writing();
        }
        assert_eq!(client.exactly(5), b"tick\n");
        drop(client);
        engine.wait_note("released");
    }
}

#[test]
fn a_client_that_ended_its_input_and_then_vanished_releases_a_quiet_engine() {
    // Nothing wakes the gate here: no byte flows in either direction any more.
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let engine = Engine::start({
        let go = go.clone();
        Box::new(move |wire| {
            hijack_101::take_over(wire, hijack_101::HEAD);
            wire.conn.rest();
            wire.note("input ended");
            wait_until("the test's word", || go.exists());
        })
    });
    let gate = Gate::typed(&engine);
    let idle = gate.sockets();
    let mut client = attached(gate.client());
    client.end_writing();
    engine.wait_note("input ended");
    drop(client);
    wait_until("sockets are given back", || gate.sockets() <= idle);
    std::fs::write(go, "").unwrap();
}

#[test]
fn a_hijacked_stream_may_be_idle_for_longer_than_any_patience() {
    let engine = Engine::start(hijack_101::behaviour());
    let gate = Setup::new(&engine)
        .engine("patience = \"1s\"\n")
        .tables("[limits]\nheader_time = \"1s\"\n")
        .start();
    let mut client = attached(gate.client());
    std::thread::sleep(Duration::from_secs(3));
    client.send("still here");
    assert_eq!(client.exactly(10), b"still here");
}

#[test]
fn a_slow_client_slows_the_engine_down_and_loses_nothing() {
    let engine = Engine::start(Box::new(|wire| {
        hijack_101::take_over(wire, hijack_101::HEAD);
        wire.conn.write_patience(Duration::from_secs(1));
        let block = vec![b'x'; 64 * 1024];
        let mut sent = 0;
        // Until it is full on the way: far below all of it.
        while sent < 64 << 20 {
            match wire.conn.write_some(&block) {
                Ok(n) => sent += n,
                Err(_) => break,
            }
        }
        wire.note(&format!("sent {sent}"));
        wire.conn.end_writing();
        wire.conn.rest();
    }));
    let gate = Gate::typed(&engine);
    let mut client = attached(gate.client());
    wait_until("the engine is blocked", || !engine.notes().is_empty());
    let note = engine.notes()[0].clone();
    let sent: usize = note.strip_prefix("sent ").unwrap().parse().unwrap();
    assert!(sent < 8 << 20, "{note}");
    assert_eq!(client.rest().len(), sent);
}

#[test]
fn a_client_that_vanishes_before_the_engine_took_over_is_noticed_too() {
    let engine = Engine::start(crate::support::engine::silent::behaviour());
    let gate = Setup::new(&engine).engine("patience = \"200ms\"\n").start();
    let idle = gate.sockets();
    let mut client = gate.client();
    client.send(crate::hijack::ATTACH);
    engine.wait_note("asked");
    drop(client);
    engine.wait_note("left");
    wait_until("sockets are given back", || gate.sockets() <= idle);
}
