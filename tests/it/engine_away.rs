//! The engine away, silent, dying or talking nonsense: the client gets the right answer, nothing
//! leaks, and the next request works.

use crate::support::engine::{
    Behaviour, dies_in_body, dies_in_head, early_4xx, garbage_head, huge_head, late, plain,
    refusing, silent, wrong_length,
};
use crate::support::http::answer;
use crate::support::{Conn, Engine, Gate, Setup, text, wait_until};

const INFO: &str = "GET /v1.41/info HTTP/1.1\r\nHost: a\r\n\r\n";
const IMPATIENT: &str = "patience = \"300ms\"\n";

#[track_caller]
fn fails(client: &mut Conn, status: u16, words: &str) {
    let (got, body) = client.ask(INFO);
    assert_eq!(got, status, "{body}");
    let said: serde_json::Value = body.parse().unwrap();
    let message = said["message"].as_str().unwrap();
    assert!(message.starts_with("dockgate: ") && message.contains(words), "{body}");
}

#[test]
fn an_engine_that_refuses_or_is_absent_is_502_and_is_found_again() {
    let (dir, refusing) = refusing::address();
    let absent = format!("unix://{}/none.sock", dir.path().display());
    for url in [refusing, absent] {
        for gate in [Setup::at(&url).start(), Setup::at(&url).typed().start()] {
            let mut client = gate.client();
            fails(&mut client, 502, "cannot reach the engine");
            fails(&mut client, 502, "is dockerd running?");
            assert_eq!(gate.records(1)[0]["verdict"], "fail");
        }
    }
}

#[test]
fn an_engine_that_comes_back_serves_the_same_client() {
    for policies in ["none", "conservative"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("moved.sock");
        let setup = Setup::at(&format!("unix://{}", path.display()));
        let gate = if policies == "none" { setup.start() } else { setup.typed().start() };
        let mut client = gate.client();
        fails(&mut client, 502, "cannot reach the engine");
        let engine = Engine::start(plain::says(answer("200 OK", "{}")));
        std::os::unix::fs::symlink(engine.path(), &path).unwrap();
        assert_eq!(client.ask(INFO).0, 200);
    }
}

#[test]
fn an_engine_that_says_nothing_is_504() {
    for gate_of in [Setup::start as fn(Setup) -> Gate, |setup| setup.typed().start()] {
        let engine = Engine::deaf(silent::behaviour());
        let gate = gate_of(Setup::new(&engine).engine(IMPATIENT));
        fails(&mut gate.client(), 504, "does not answer");
        wait_until("the engine's connections are closed", || engine.open() == 0);
    }
}

const START: &str =
    "POST /v1.41/containers/web/start HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";

#[test]
fn a_question_that_the_engine_does_not_answer_is_named_and_the_engine_is_not_called_dead() {
    let engine = Engine::start(silent::behaviour());
    let gate = Setup::new(&engine).conservative().engine("patience = \"3s\"\n").start();
    let (status, body) = gate.client().ask(START);
    assert_eq!(status, 504);
    assert!(
        body.contains("has not said what container `web` is within 3s, but answers pings"),
        "{body}"
    );
    assert!(body.contains("`engine.patience`") && !body.contains("is dockerd running?"), "{body}");
    wait_until("the engine's connections are closed", || engine.open() == 0);
}

#[test]
fn an_engine_that_answers_nothing_is_said_to_answer_nothing() {
    let engine = Engine::deaf(silent::behaviour());
    let gate = Setup::new(&engine).conservative().engine(IMPATIENT).start();
    let (status, body) = gate.client().ask(START);
    assert_eq!(status, 504);
    assert!(
        body.contains("does not answer, neither a ping nor which versions it speaks"),
        "{body}"
    );
    assert!(body.contains("is dockerd running?"), "{body}");
}

#[test]
fn a_slow_call_is_waited_for_while_the_engine_answers_others() {
    for gate_of in [Setup::start as fn(Setup) -> Gate, |setup| setup.typed().start()] {
        let dir = tempfile::tempdir().unwrap();
        let go = dir.path().join("go");
        let engine = Engine::start(late::behaviour(go.clone()));
        // Not so little that a busy machine is late with a ping.
        let gate = gate_of(Setup::new(&engine).engine("patience = \"2s\"\n"));
        let mut client = gate.client();
        client.send(INFO);
        wait_until("it is asked whether it lives", || engine.own_questions() >= 2);
        std::fs::write(&go, "").unwrap();
        let head = client.head();
        assert_eq!((head.status(), text(&client.body(&head)).as_str()), (200, "late"));
    }
}

#[test]
fn an_engine_that_dies_in_its_head_is_502() {
    for gate_of in [Gate::pass as fn(&Engine) -> Gate, Gate::typed] {
        let engine = Engine::start(dies_in_head::behaviour());
        let gate = gate_of(&engine);
        let mut client = gate.client();
        fails(&mut client, 502, "closed the connection before it answered");
        fails(&mut client, 502, "closed the connection before it answered");
    }
}

#[test]
fn an_engine_that_dies_in_its_body_breaks_the_answer_off_for_the_client_too() {
    for gate_of in [Gate::pass as fn(&Engine) -> Gate, Gate::typed] {
        let engine = Engine::start(dies_in_body::behaviour());
        let gate = gate_of(&engine);
        for (path, wanted) in [("/v1.41/info", "first"), ("/v1.41/events", "5\r\nfirst\r\n")] {
            let mut client = gate.client();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!(client.head().status(), 200);
            assert_eq!(text(&client.rest()), wanted, "and no last chunk");
        }
        for record in gate.records(2) {
            assert_eq!((&record["status"], &record["verdict"]), (&200.into(), &"fail".into()));
        }
    }
}

#[test]
fn an_answer_shorter_than_it_says_ends_with_the_connection() {
    let engine = Engine::start(wrong_length::behaviour());
    let gate = Gate::pass(&engine);
    let mut client = gate.client();
    client.send(INFO);
    assert_eq!(text(&client.rest()), "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort");
}

#[test]
fn an_answer_longer_than_it_says_spoils_no_other_call() {
    let engine =
        Engine::start(plain::says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}surplus"));
    let gate = Gate::pass(&engine);
    let mut client = gate.client();
    for _ in 0..5 {
        client.send(INFO);
        let head = client.head();
        assert_eq!((head.status(), text(&client.body(&head)).as_str()), (200, "{}"));
    }
}

#[test]
fn what_is_not_http_is_502() {
    let cases: [fn() -> Behaviour; 4] = [
        garbage_head::behaviour,
        || plain::says("HTTP/2.0 200 OK\r\n\r\n"),
        || plain::says("HTTP/1.1 2x0 OK\r\n\r\n"),
        || plain::says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    ];
    for behaviour in cases {
        let engine = Engine::start(behaviour());
        let gate = Gate::typed(&engine);
        fails(&mut gate.client(), 502, "could not be understood");
        wait_until("the engine's connection is closed", || engine.open() == 0);
    }
}

#[test]
fn a_head_without_end_is_given_up() {
    let engine = Engine::start(huge_head::behaviour());
    let gate = Gate::pass(&engine);
    let before = gate.peak_memory();
    fails(&mut gate.client(), 502, "dockgate: ");
    engine.wait_note("given up");
    assert!(gate.peak_memory() - before < 16 << 10);
}

#[test]
fn an_early_4xx_arrives_while_the_upload_is_still_coming() {
    let part = vec![b'x'; 1 << 20];
    // A context, as far as it comes.
    let mut first = crate::builds::header(b'0', "x", "", 100 << 20);
    first.resize(1 << 20, b'x');
    for gate_of in [Gate::pass as fn(&Engine) -> Gate, Gate::typed] {
        for framing in ["Content-Length: 104857600", "Transfer-Encoding: chunked"] {
            let engine = Engine::start(early_4xx::behaviour());
            let gate = gate_of(&engine);
            let mut client = gate.client();
            client.send(format!("POST /v1.41/build HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
            // A client that writes on without reading, as most do.
            let mut writer = client.writer();
            for part in std::iter::once(&first).chain(std::iter::repeat_n(&part, 19)) {
                let sent = match framing.starts_with('T') {
                    true => writer.try_send(crate::support::http::chunk(part)),
                    false => writer.try_send(part),
                };
                if sent.is_err() {
                    break;
                }
            }
            assert_eq!(text(&client.exactly(early_4xx::ANSWER.len())), early_4xx::ANSWER);
            assert_eq!(gate.client().ask(INFO).0, 400, "the next one is served");
        }
    }
}

#[test]
fn two_hundred_failed_calls_leave_no_socket_behind() {
    let behaviours: [fn() -> Behaviour; 5] = [
        dies_in_head::behaviour,
        dies_in_body::behaviour,
        garbage_head::behaviour,
        early_4xx::behaviour,
        wrong_length::behaviour,
    ];
    for behaviour in behaviours {
        let engine = Engine::start(behaviour());
        let gate = Gate::typed(&engine);
        let call = || {
            let mut client = gate.client();
            client.send("POST /v1.41/build HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
            let _ = client.try_send(vec![b'x'; 1000]);
            client.head();
        };
        call();
        wait_until("the first is over", || engine.open() == 0);
        let before = gate.sockets();
        for _ in 0..40 {
            call();
        }
        wait_until("sockets are given back", || gate.sockets() <= before);
        wait_until("the engine's connections are closed", || engine.open() == 0);
    }
}

#[test]
fn an_engine_that_dies_inside_a_hijacked_stream_ends_it() {
    let engine = Engine::start(Box::new(|wire| {
        crate::support::engine::hijack_101::take_over(
            wire,
            crate::support::engine::hijack_101::HEAD,
        );
        wire.conn.send("last words");
    }));
    let gate = Gate::typed(&engine);
    let mut client = crate::hijack::attached(gate.client());
    assert_eq!(text(&client.rest()), "last words");
    drop(client);
    assert_eq!(gate.records(1)[0]["bytes_sent"], 10);
}
