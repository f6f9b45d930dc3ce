//! Accept: what a client may send as a request, and how its connection goes on.

use crate::support::engine::{interim_100, plain};
use crate::support::http::{answer, chunk};
use crate::support::{Engine, Gate, text, wait_until};

const PING: &str = "GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n";

fn ok() -> Engine {
    Engine::start(plain::says(answer("200 OK", "OK")))
}

#[test]
fn a_missing_host_is_the_engines_to_refuse_and_with_a_policy_there_is_always_one() {
    let request = "GET /v1.41/info HTTP/1.1\r\nAccept: x\r\n\r\n";
    let engine = ok();
    let gate = Gate::pass(&engine);
    assert_eq!(gate.client().ask(request).0, 200);
    engine.assert_saw(request);
    let engine = ok();
    let gate = Gate::typed(&engine);
    assert_eq!(gate.client().ask(request).0, 200);
    engine.assert_saw("GET /v1.41/info HTTP/1.1\r\nHost: docker\r\n\r\n");
}

#[test]
fn the_empty_host_of_the_old_cli_passes_and_with_a_policy_is_replaced() {
    let request = "POST /v1.41/containers/x/start HTTP/1.1\r\nHost:\r\nContent-Length: 0\r\n\r\n";
    let engine = ok();
    let gate = Gate::pass(&engine);
    assert_eq!(gate.client().ask(request).0, 200);
    engine.assert_saw(
        "POST /v1.41/containers/x/start HTTP/1.1\r\nHost: \r\nContent-Length: 0\r\n\r\n",
    );
    let engine = ok();
    let gate = Gate::typed(&engine);
    assert_eq!(gate.client().ask(request).0, 200);
    engine.assert_saw(
        "POST /v1.41/containers/x/start HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n\r\n",
    );
}

#[test]
fn bare_line_feeds_and_leading_empty_lines_are_accepted() {
    let request = "\r\n\nGET /info HTTP/1.1\nHost: docker.sock\nX-A: 1\n\n";
    for (gate_of, wanted) in [
        (
            Gate::pass as fn(&Engine) -> Gate,
            "GET /info HTTP/1.1\r\nHost: docker.sock\r\nX-A: 1\r\n\r\n",
        ),
        (Gate::typed, "GET /v1.41/info HTTP/1.1\r\nHost: docker\r\n\r\n"),
    ] {
        let engine = ok();
        let gate = gate_of(&engine);
        assert_eq!(gate.client().ask(request).0, 200);
        engine.assert_saw(wanted);
    }
}

#[test]
fn http_1_0_is_answered_and_the_connection_ends() {
    let said = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nOK";
    for gate_of in [Gate::pass as fn(&Engine) -> Gate, Gate::typed] {
        let engine = Engine::start(plain::says(said));
        let gate = gate_of(&engine);
        let mut client = gate.client();
        client.send("GET /v1.41/info HTTP/1.0\r\n\r\n");
        assert_eq!(text(&client.rest()), said);
        assert!(
            engine.seen()[0].starts_with("GET /v1.41/info HTTP/1.0\r\n"),
            "{:?}",
            engine.seen()
        );
    }
}

#[test]
fn http_1_0_with_keep_alive_serves_a_second_request() {
    let said = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nOK";
    let engine = Engine::start(plain::says(said));
    let gate = Gate::pass(&engine);
    let mut client = gate.client();
    let request = "GET /_ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    for _ in 0..2 {
        client.send(request);
        assert_eq!(text(&client.exactly(said.len())), said);
    }
    engine.assert_saw(&request.repeat(2));
}

#[test]
fn http_1_0_clients_that_half_close_behind_their_request_get_the_answer() {
    // `nc -N`: the end of the input is there before the answer is.
    let engine = Engine::start(plain::says("HTTP/1.0 200 OK\r\n\r\nuntil the end"));
    let gate = Gate::pass(&engine);
    let mut client = gate.client();
    client.send("GET /info HTTP/1.0\r\n\r\n");
    client.end_writing();
    assert!(text(&client.rest()).ends_with("until the end"));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    for gate_of in [Gate::pass as fn(&Engine) -> Gate, Gate::typed] {
        let engine = Engine::start(plain::behaviour());
        let gate = gate_of(&engine);
        let mut client = gate.client();
        let auth = "POST /v1.41/auth HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
        client.send(format!(
            "GET /v1.41/info HTTP/1.1\r\nHost: a\r\n\r\n{auth}GET /v1.41/events HTTP/1.1\r\nHost: a\r\n\r\n"
        ));
        for path in ["/info", "/auth", "/events"] {
            let head = client.head();
            let body = text(&client.body(&head));
            assert!(body.contains(&format!("\"path\":\"{path}\"")), "{path}: {body}");
        }
    }
}

#[test]
fn a_hundred_calls_on_one_connection_need_one_connection_to_the_engine() {
    for gate_of in [Gate::pass as fn(&Engine) -> Gate, Gate::typed] {
        let engine = ok();
        let gate = gate_of(&engine);
        let mut client = gate.client();
        for _ in 0..100 {
            assert_eq!(client.ask("GET /v1.41/info HTTP/1.1\r\nHost: docker\r\n\r\n").0, 200);
        }
        assert_eq!(engine.seen().len(), 1);
    }
}

#[test]
fn another_client_takes_over_the_kept_connection() {
    let engine = ok();
    let gate = Gate::pass(&engine);
    for _ in 0..20 {
        let mut client = gate.client();
        assert_eq!(client.ask(PING).0, 200);
        drop(client);
    }
    assert!(engine.seen().len() <= 4, "{} connections", engine.seen().len());
}

#[test]
fn connection_close_of_the_client_ends_its_connection_behind_the_answer() {
    for gate_of in [Gate::pass as fn(&Engine) -> Gate, Gate::typed] {
        let engine = ok();
        let gate = gate_of(&engine);
        let mut client = gate.client();
        client.send("GET /v1.41/info HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n");
        let head = client.head();
        assert_eq!(head.get("connection"), Some("close"));
        assert_eq!(client.body(&head), b"OK");
        assert!(client.is_over());
    }
}

#[test]
fn the_engines_own_interim_answer_reaches_the_client() {
    let engine = Engine::start(interim_100::behaviour());
    let gate = Gate::pass(&engine);
    let mut client = gate.client();
    client.send(
        "POST /v1.41/images/load HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
    );
    assert_eq!(text(&client.head().raw), "HTTP/1.1 100 Continue\r\n\r\n");
    let (status, body) = client.ask("data");
    assert_eq!((status, body.as_str()), (200, r#"{"got":"4"}"#));
    assert!(engine.seen()[0].contains("Expect: 100-continue\r\n"));
}

#[test]
fn with_a_policy_the_gate_answers_the_expectation_itself() {
    for (line, body) in [
        ("POST /v1.41/images/load", chunk(b"data")),
        ("POST /v1.41/containers/create", chunk(br#"{"Image":"x"}"#)),
    ] {
        let engine = Engine::start(interim_100::behaviour());
        let gate = Gate::typed(&engine);
        let mut client = gate.client();
        client.send(format!(
            "{line} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
             Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
        ));
        assert_eq!(text(&client.head().raw), "HTTP/1.1 100 Continue\r\n\r\n", "{line}");
        client.send(body);
        let (status, _) = client.ask("0\r\n\r\n");
        assert_eq!(status, 200, "one interim answer, then the answer");
        assert!(!engine.seen()[0].contains("Expect"), "{:?}", engine.seen());
    }
}

#[test]
fn a_refused_upload_is_refused_before_its_body_is_asked_for() {
    let engine = ok();
    let gate = Gate::typed(&engine);
    let mut client = gate.client();
    client.send(
        "POST /v1.41/build?networkmode=host HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
         Content-Length: 1000000\r\n\r\n",
    );
    let head = client.head();
    assert_eq!(head.status(), 403, "and no `100 Continue`");
    assert!(text(&client.body(&head)).contains("build.network"));
    assert!(engine.seen().is_empty());
}

#[test]
fn an_http_2_preface_is_tunnelled_where_none_is() {
    let engine = Engine::start(Box::new(|wire| {
        wire.conn.through(b"SM\r\n\r\n");
        wire.conn.send("SETTINGS");
        assert_eq!(wire.conn.exactly(4), b"more");
        wire.conn.send("bye");
    }));
    let gate = Gate::pass(&engine);
    let mut client = gate.client();
    client.send("PRI * HTTP/2.0\r\n\r\n");
    client.send("SM\r\n\r\n");
    assert_eq!(client.exactly(8), b"SETTINGS");
    client.send("more");
    assert_eq!(text(&client.rest()), "bye");
    assert_eq!(engine.seen()[0], "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore");
    drop(client);
    assert_eq!(gate.records(1)[0]["operation"], "Http2");
}

#[test]
fn a_connection_that_says_nothing_is_no_call_and_leaves_nothing_behind() {
    let engine = ok();
    let gate = Gate::pass(&engine);
    let before = gate.sockets();
    for _ in 0..20 {
        drop(gate.client());
        gate.client().send("GET /_pi");
    }
    gate.client().ask(PING);
    // The listener and the like, and the kept connection to the engine.
    wait_until("sockets are given back", || gate.sockets() <= before + 1);
    let ended = gate.stop();
    assert!(ended.stdout.lines().count() <= 21, "{}", ended.stdout);
    assert_eq!(ended.stdout.matches("/_ping").count(), 1);
}
