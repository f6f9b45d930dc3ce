//! Parse: whatever has two readings is refused with 400 while a policy is active, and the engine
//! sees no byte of it.

use crate::support::engine::plain;
use crate::support::http::answer;
use crate::support::{Conn, Engine, Gate, text};

/// Sends each request on a connection of its own; all are answered so, in the engine's shape.
fn all_are(status: u16, requests: &[(&str, Vec<u8>)]) {
    let engine = Engine::start(plain::says(answer("200 OK", "{}")));
    let gate = Gate::typed(&engine);
    for (what, request) in requests {
        let mut client = gate.client();
        let message = refusal(&mut client, request, status, what);
        assert!(!message.is_empty(), "{what}");
    }
    let ended = gate.stop();
    assert_eq!(engine.seen(), Vec::<String>::new(), "the engine saw something");
    assert_eq!(ended.stdout.matches(&format!("\"status\":{status},")).count(), requests.len());
    assert_eq!(ended.stdout.matches("\"verdict\":\"reject\"").count(), requests.len());
}

fn refusal(client: &mut Conn, request: &[u8], status: u16, what: &str) -> String {
    client.send(request);
    let head = client.head();
    let body = text(&client.body(&head));
    assert_eq!(head.status(), status, "{what}: {body}");
    assert_eq!(head.get("content-type"), Some("application/json"), "{what}");
    let said: serde_json::Value = body.parse().unwrap();
    assert_eq!(said.as_object().unwrap().len(), 1, "{what}: {body}");
    said["message"].as_str().unwrap().to_owned()
}

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: docker\r\n\r\n").into_bytes()
}

fn create(headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut out = format!(
        "POST /v1.41/containers/create HTTP/1.1\r\nHost: docker\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    out.extend_from_slice(body);
    out
}

fn json(body: impl AsRef<[u8]>) -> Vec<u8> {
    create("Content-Type: application/json\r\n", body)
}

#[test]
fn targets_with_two_readings() {
    let targets = [
        ("an encoded slash in front of all", "%2Fv1.41/info"),
        ("an encoded backslash", "/v1.41/containers/a%5Cb/json"),
        ("a double slash, and a backslash that a browser takes for one", "//a\\b"),
        ("a double slash, and a line end", "//v1.41/info%0d%0aX:y"),
        ("a raw backslash", "/v1.41/containers/a\\b/json"),
        ("an encoded NUL", "/v1.41/containers/a%00/json"),
        ("an encoded line end", "/v1.41/containers/a%0Ab/json"),
        ("an encoded DEL", "/v1.41/containers/a%7F/json"),
        ("an encoded C1 control", "/v1.41/containers/a%C2%85/json"),
        ("invalid UTF-8", "/v1.41/containers/%FF/json"),
        ("an overlong encoding", "/v1.41/containers/%C0%AF/json"),
        ("a bad escape", "/v1.41/containers/%zz/json"),
        ("a cut escape", "/v1.41/containers/json%2"),
        ("the absolute form", "http://docker/v1.41/info"),
        ("the asterisk", "*"),
        ("the authority form", "docker:2375"),
        ("a version with a zero in front", "/v1.041/info"),
        ("a version of three parts", "/v1.41.0/info"),
        ("a major with a zero in front", "/v01.41/info"),
        ("no minor", "/v1/info"),
        ("an empty minor", "/v1./info"),
        ("an empty version", "/v./info"),
        ("major two", "/v2.0/info"),
        ("a version that is no number", "/v1.4x/info"),
        ("a version beyond all integers", "/v1.99999999999999999999/info"),
        ("an encoded version with a zero", "/v1.%3041/info"),
        ("a semicolon in the query", "/v1.41/containers/json?all=1;limit=2"),
        ("a bad escape in the query", "/v1.41/containers/json?all=%zz"),
        ("a cut escape in the query", "/v1.41/containers/json?all=%1"),
        ("invalid UTF-8 in the query", "/v1.41/containers/json?filters=%FF"),
        ("a NUL in the query", "/v1.41/containers/json?filters=%00"),
    ];
    all_are(400, &targets.map(|(what, target)| (what, get(target))));
}

/// gorilla/mux cleans a path and sends its client there, whatever the method: `http://host:2375/` with
/// `/containers/json` behind it works because of that. No byte of it goes to the engine.
#[test]
fn paths_that_the_engine_cleans_are_answered_as_the_engine_answers() {
    let engine = Engine::start(plain::says(answer("200 OK", "{}")));
    let gate = Gate::typed(&engine);
    let mut client = gate.client();
    for (method, target, location) in [
        ("GET", "//containers/json?all=1&x=%2f", "/containers/json?all=1&x=%2f"),
        ("DELETE", "/v1.41/containers//a", "/v1.41/containers/a"),
        ("GET", "/v1.41/images/a%2F/json", "/v1.41/images/a/json"),
        ("GET", "/v1.41/images/a%2F..%2Fb%20/json", "/v1.41/images/b%20/json"),
        ("GET", "/v1.41/containers/.%2E/info", "/v1.41/info"),
        ("GET", "//evil.example/../..//x", "/x"),
        ("HEAD", "/v1.41/./_ping", "/v1.41/_ping"),
    ] {
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: docker\r\n\r\n"));
        let head = client.head();
        assert_eq!(head.first, "HTTP/1.1 301 Moved Permanently", "{target}");
        assert_eq!(head.get("location"), Some(location), "{target}");
        assert_eq!(head.get("content-length"), Some("0"), "{target}");
    }
    let posted = "POST //containers/create HTTP/1.1\r\nHost: docker\r\nContent-Length: 2\r\n\r\n{}";
    client.send(posted);
    let head = client.head();
    assert_eq!((head.status(), head.get("location")), (301, Some("/containers/create")));
    // The connection goes on behind the body.
    client.send("GET //info HTTP/1.1\r\nHost: docker\r\n\r\n");
    assert_eq!(client.head().get("location"), Some("/info"));
    let ended = gate.stop();
    assert_eq!(engine.seen(), Vec::<String>::new(), "the engine saw something");
    assert_eq!(ended.stdout.matches("\"status\":301,").count(), 9);
}

#[test]
fn heads_that_are_malformed_or_ambiguous() {
    let head = |lines: &str| format!("GET /v1.41/info HTTP/1.1\r\n{lines}\r\n").into_bytes();
    let line = |line: &str| format!("{line}\r\nHost: docker\r\n\r\n").into_bytes();
    all_are(
        400,
        &[
            ("two Host", head("Host: a\r\nHost: b\r\n")),
            ("two Host of different case", head("Host: a\r\nhOST: a\r\n")),
            (
                "two Content-Type",
                create("Content-Type: application/json\r\ncontent-type: text/plain\r\n", "{}"),
            ),
            ("two Upgrade", head("Host: a\r\nUpgrade: tcp\r\nUpgrade: h2c\r\n")),
            (
                "two X-Registry-Auth",
                line(
                    "POST /v1.41/images/create?fromImage=x HTTP/1.1\r\nX-Registry-Auth: a\r\nx-registry-auth: b",
                ),
            ),
            ("an unknown registry header", head("Host: a\r\nX-Registry-Frob: 1\r\n")),
            ("a space before the colon", head("Host: a\r\nContent-Length : 0\r\n")),
            ("a folded line", head("Host: a\r\nX-A: 1\r\n 2\r\n")),
            ("a NUL in a value", head("Host: a\r\nX-A: \0\r\n")),
            ("a lone CR in a value", head("Host: a\r\nX-A: 1\rX-B: 2\r\n")),
            ("an empty name", head("Host: a\r\n: 1\r\n")),
            ("a line without a colon", head("Host: a\r\nnonsense\r\n")),
            ("HTTP/1.2", line("GET /v1.41/info HTTP/1.2")),
            ("HTTP/2.0 without the preface", line("GET /v1.41/info HTTP/2.0")),
            ("HTTP/0.9", line("GET /v1.41/info")),
            ("HTTP in lower case", line("GET /v1.41/info http/1.1")),
            ("two spaces in the line", line("GET  /v1.41/info HTTP/1.1")),
            (
                "a raw byte beyond ASCII",
                b"GET /v1.41/containers/\xff/json HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            ),
        ],
    );
}

#[test]
fn bodies_whose_length_has_two_readings() {
    let load = |lines: &str, body: &str| {
        format!("POST /v1.41/images/load HTTP/1.1\r\nHost: a\r\n{lines}\r\n{body}").into_bytes()
    };
    all_are(
        400,
        &[
            (
                "length, then chunked",
                load("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            ),
            (
                "chunked, then length",
                load("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
            ),
            ("two lengths", load("Content-Length: 5\r\nContent-Length: 6\r\n", "hello")),
            ("a list of lengths", load("Content-Length: 5, 5\r\n", "hello")),
            ("a signed length", load("Content-Length: +5\r\n", "hello")),
            ("a negative length", load("Content-Length: -1\r\n", "")),
            ("a hexadecimal length", load("Content-Length: 0x5\r\n", "hello")),
            ("an empty length", load("Content-Length:\r\n", "")),
            ("a vertical tab", load("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n")),
            ("a length beyond all integers", load("Content-Length: 99999999999999999999\r\n", "")),
        ],
    );
    all_are(
        501,
        &[
            ("gzip", load("Transfer-Encoding: gzip\r\n", "")),
            ("gzip, chunked", load("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")),
            (
                "chunked twice",
                load("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            ),
            ("identity", load("Transfer-Encoding: identity\r\n", "")),
        ],
    );
}

#[test]
fn chunked_json_that_go_reads_only_by_leniency() {
    let chunked = |body: &str| {
        format!(
            "POST /v1.41/containers/create HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\n\r\n{body}"
        )
        .into_bytes()
    };
    all_are(
        400,
        &[
            ("an extension", chunked("2;x=y\r\n{}\r\n0\r\n\r\n")),
            ("bare line feeds", chunked("2\n{}\n0\n\n")),
            ("a trailer", chunked("2\r\n{}\r\n0\r\nX-A: 1\r\n\r\n")),
            ("a size with 0x", chunked("0x2\r\n{}\r\n0\r\n\r\n")),
            ("a size without digits", chunked("\r\n{}\r\n0\r\n\r\n")),
            ("a chunk longer than it says", chunked("1\r\n{}\r\n0\r\n\r\n")),
            ("a size beyond 64 bits", chunked("10000000000000002\r\n{}\r\n0\r\n\r\n")),
        ],
    );
}

#[test]
fn bodies_of_the_wrong_kind() {
    let rename = |kind: &str| {
        format!(
            "POST /v1.41/containers/x/rename?name=good HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n\
             Content-Length: 9\r\n\r\nname=evil"
        )
        .into_bytes()
    };
    all_are(
        400,
        &[
            ("a form", rename("application/x-www-form-urlencoded")),
            ("a form with a charset", rename("Application/X-WWW-Form-Urlencoded; charset=utf-8")),
            ("JSON as text", create("Content-Type: text/plain\r\n", "{}")),
            ("JSON without a type", create("", r#"{"Image":"x"}"#)),
            ("JSON as almost JSON", create("Content-Type: application/json2\r\n", "{}")),
            (
                "a body on start",
                b"POST /v1.41/containers/x/start HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                  Content-Length: 20\r\n\r\n{\"Privileged\": true}"
                    .to_vec(),
            ),
        ],
    );
}

#[test]
fn json_that_go_may_read_otherwise() {
    let nested = format!(r#"{{"Labels":{}{}}}"#, "[".repeat(300), "]".repeat(300));
    let deep = format!(r#"{{"Frobnicate":{}0{}}}"#, r#"{"a":"#.repeat(300), "}".repeat(300));
    all_are(
        400,
        &[
            ("a key twice", json(r#"{"Image":"a","Image":"b"}"#)),
            (
                "a key twice, the second null",
                json(r#"{"HostConfig":{"Privileged":true,"Privileged":null}}"#),
            ),
            (
                "a key twice in two cases",
                json(r#"{"HostConfig":{"Privileged":true,"privileged":false}}"#),
            ),
            ("a key twice by the long s", json(r#"{"HostConfig":{},"Ho\u017ftConfig":{}}"#)),
            (
                "a key twice by the Kelvin sign",
                json("{\"HostConfig\":{\"NetworkMode\":\"\",\"Networ\u{212a}Mode\":\"host\"}}"),
            ),
            ("a key twice by an escape", json(r#"{"Image":"a","\u0049mage":"b"}"#)),
            ("an object twice", json(r#"{"HostConfig":{"Privileged":true},"HostConfig":{}}"#)),
            (
                "a key twice within a list",
                json(r#"{"HostConfig":{"Mounts":[{"Type":"volume","type":"bind"}]}}"#),
            ),
            ("a label twice", json(r#"{"Labels":{"a":"1","a":"2"}}"#)),
            ("an unknown key twice", json(r#"{"Frob":0,"Frob":0}"#)),
            ("trailing bytes", json("{}garbage")),
            ("a trailing brace", json("{}}")),
            ("two documents", json("{} {}")),
            ("a cut document", json(r#"{"Image":"x""#)),
            ("nesting where a map belongs", json(nested)),
            ("nesting without end", json(deep)),
            ("invalid UTF-8", json(b"{\"Image\":\"\xff\"}")),
            ("a lone surrogate", json(r#"{"Image":"\ud800"}"#)),
            ("a control character", json("{\"Image\":\"a\nb\"}")),
            ("a byte order mark", json("\u{feff}{}")),
            ("a float for an integer", json(r#"{"HostConfig":{"Memory":1.0}}"#)),
            ("an exponent for an integer", json(r#"{"HostConfig":{"Memory":1e9}}"#)),
            ("a string for a boolean", json(r#"{"HostConfig":{"Privileged":"false"}}"#)),
            ("a list for an object", json(r#"{"HostConfig":[]}"#)),
            ("a list at the root", json("[]")),
            ("a string at the root", json("\"x\"")),
            ("a comment", json("{/**/}")),
            ("NaN", json(r#"{"HostConfig":{"Memory":NaN}}"#)),
        ],
    );
}

#[test]
fn what_no_engine_knows_is_not_found() {
    all_are(
        404,
        &[
            ("no such route", get("/v1.41/frobnicate")),
            ("a trailing slash", get("/v1.41/info/")),
            ("another case", get("/v1.41/INFO")),
            ("another method", get("/v1.41/containers/create")),
            ("a method in lower case", b"get /v1.41/info HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
            (
                "HEAD where dockerd has none",
                b"HEADX /v1.41/info HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            ),
            ("CONNECT", b"CONNECT /info HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
            ("the root", get("/")),
            ("libpod", get("/v1.41/libpod/info")),
        ],
    );
}

#[test]
fn a_refused_call_keeps_the_connection_and_the_next_one_is_served() {
    let engine = Engine::start(plain::behaviour());
    let gate = Gate::typed(&engine);
    let mut client = gate.client();
    for bad in [
        get("/v1.41/containers/a%5Cb/json"),
        get("/v1.41/containers/json?all=1;all=1"),
        json(r#"{"Image":"a","image":"b"}"#),
    ] {
        refusal(&mut client, &bad, 400, "bad");
        let (status, body) = client.ask(get("/v1.41/info"));
        assert_eq!(status, 200);
        assert!(body.contains("\"path\":\"/info\""), "{body}");
    }
    refusal(&mut client, &get("/v1.41/frob"), 404, "unknown");
    let (status, _) = client.ask(get("/v1.41/info"));
    assert_eq!(status, 200);
}

#[test]
fn a_request_smuggled_behind_an_ambiguous_one_is_never_read() {
    let engine = Engine::start(plain::behaviour());
    let gate = Gate::typed(&engine);
    let mut client = gate.client();
    let mut bytes = b"POST /v1.41/images/load HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\
                      Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        .to_vec();
    bytes.extend(get("/v1.41/info"));
    refusal(&mut client, &bytes, 400, "both");
    assert!(client.is_over(), "one answer, then the end");
    gate.stop();
    assert!(engine.seen().is_empty());
}

#[test]
fn no_refusal_repeats_what_the_client_said_in_a_value() {
    let engine = Engine::start(plain::behaviour());
    let gate = Gate::typed(&engine);
    for request in [
        get("/v1.41/containers/json?all=S3cr3t;all=S3cr3t"),
        get("/v1.41/containers/json?all=S3cr3t%zz"),
        json(r#"{"Env":["S3cr3t","S3cr3t"],"Env":["S3cr3t"]}"#),
        json(r#"{"HostConfig":{"Memory":"S3cr3t"}}"#),
        b"GET /v1.41/info HTTP/1.1\r\nHost: a\r\nX-Registry-Frob: S3cr3t\r\n\r\n".to_vec(),
        b"GET /v1.41/info HTTP/1.1\r\nHost: a\r\nContent-Length: S3cr3t\r\n\r\n".to_vec(),
    ] {
        let message = refusal(&mut gate.client(), &request, 400, "secret");
        assert!(!message.contains("S3cr3t"), "{message}");
    }
    let ended = gate.stop();
    assert!(!(ended.stdout + &ended.stderr).contains("S3cr3t"));
}
