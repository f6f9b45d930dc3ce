//! Decide: what a policy refuses is said in the engine's own shape, and versions in its own words.

use crate::support::engine::plain;
use crate::support::http::answer;
use crate::support::{Engine, Gate, text};

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: docker\r\n\r\n")
}

fn message(body: &str) -> String {
    let said: serde_json::Value = body.parse().unwrap();
    assert_eq!(said.as_object().unwrap().len(), 1, "{body}");
    said["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_denial_is_a_403_in_the_engines_shape_with_rule_and_hint() {
    let engine = Engine::start(plain::behaviour());
    let gate = Gate::typed(&engine);
    let mut client = gate.client();
    let body = r#"{"Image":"x","HostConfig":{"NetworkMode":"host"}}"#;
    client.send(format!(
        "POST /v1.41/containers/create HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let head = client.head();
    let said = text(&client.body(&head));
    assert_eq!(head.first, "HTTP/1.1 403 Forbidden");
    assert_eq!(head.get("content-type"), Some("application/json"));
    assert_eq!(
        message(&said),
        "dockgate: HostConfig.NetworkMode: must be `bridge`, `none`, or a network or container that could \
         have been made here (rule container.network-host). hint: leave it out for `bridge`"
    );
    assert!(engine.seen().is_empty());
    assert_eq!(client.ask(get("/info")).0, 200, "the connection goes on");
}

#[test]
fn version_errors_are_the_engines_own() {
    let engine = Engine::start(plain::behaviour());
    let gate = Gate::typed(&engine);
    let mut client = gate.client();
    for (version, wanted) in [
        ("1.42", "client version 1.42 is too new. Maximum supported API version is 1.41"),
        (
            "1.23",
            "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade \
             your client to a newer version",
        ),
    ] {
        let (status, body) = client.ask(get(&format!("/v{version}/info")));
        assert_eq!((status, message(&body).as_str()), (400, wanted));
    }
    for version in ["1.24", "1.41"] {
        assert_eq!(client.ask(get(&format!("/v{version}/info"))).0, 200);
    }
    assert_eq!(engine.seen()[0].matches("GET ").count(), 2);
}

#[test]
fn the_engine_is_asked_for_its_versions_once() {
    let engine = Engine::start(plain::behaviour());
    let gate = Gate::typed(&engine);
    for _ in 0..5 {
        assert_eq!(gate.client().ask(get("/info")).0, 200);
    }
    assert_eq!(engine.own_questions(), 1);
    let engine = Engine::start(plain::behaviour());
    let gate = Gate::pass(&engine);
    assert_eq!(gate.client().ask(get("/info")).0, 200);
    assert_eq!(engine.own_questions(), 0, "a pass-through asks nothing");
}

/// An engine that speaks versions of the future and of the past.
fn from_another_time() -> Engine {
    let version = r#"{"Version":"99.1","ApiVersion":"1.60","MinAPIVersion":"1.12","Components":[
        {"Name":"Engine","Version":"99.1","Details":{"ApiVersion":"1.60","MinAPIVersion":"1.12","Os":"linux"}},
        {"Name":"runc","Version":"1.1","Details":{"GitCommit":""}}]}"#;
    Engine::speaking(
        "1.60",
        plain::with(move |head, _| match head.path() {
            "/version" => answer("200 OK", version).to_vec(),
            _ if head.method() == "HEAD" => {
                b"HTTP/1.1 200 OK\r\nApi-Version: 1.60\r\nBuilder-Version: 2\r\nOstype: linux\r\n\
                  Server: Docker/99.1 (linux)\r\nSwarm: inactive\r\nContent-Length: 0\r\n\r\n"
                    .to_vec()
            }
            _ => b"HTTP/1.1 200 OK\r\nApi-Version: 1.60\r\nBuilder-Version: 2\r\n\
                   Content-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n\r\nOK"
                .to_vec(),
        }),
    )
}

#[test]
fn ping_is_clamped_to_what_dockgate_knows_and_keeps_its_other_headers() {
    let newest = format!("1.{}", dockgate::api::endpoint::NEWEST);
    let engine = from_another_time();
    let gate = Gate::typed(&engine);
    let mut client = gate.client();
    client.send(get("/_ping"));
    let head = client.head();
    assert_eq!(client.body(&head), b"OK");
    assert_eq!(head.get("api-version"), Some(&*newest));
    assert_eq!(head.get("builder-version"), Some("2"));
    assert_eq!(head.get("content-type"), Some("text/plain; charset=utf-8"));
    client.send("HEAD /_ping HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.head();
    assert_eq!(head.get("api-version"), Some(&*newest));
    for (name, value) in [
        ("builder-version", "2"),
        ("ostype", "linux"),
        ("server", "Docker/99.1 (linux)"),
        ("swarm", "inactive"),
        ("content-length", "0"),
    ] {
        assert_eq!(head.get(name), Some(value));
    }
    assert_eq!(client.ask(get("/info")).0, 200, "and the connection goes on");
}

#[test]
fn version_is_clamped_at_both_ends_and_in_the_engines_component() {
    let newest = format!("1.{}", dockgate::api::endpoint::NEWEST);
    let engine = from_another_time();
    let gate = Gate::typed(&engine);
    let (status, body) = gate.client().ask(get("/version"));
    assert_eq!(status, 200);
    let said: serde_json::Value = body.parse().unwrap();
    let details = &said["Components"][0]["Details"];
    for place in [&said, details] {
        assert_eq!(place["ApiVersion"], *newest);
        assert_eq!(place["MinAPIVersion"], "1.24");
    }
    assert_eq!(said["Version"], "99.1");
    assert_eq!(details["Os"], "linux");
    assert_eq!(said["Components"][1]["Details"], serde_json::json!({ "GitCommit": "" }));
}

#[test]
fn an_engine_within_our_range_is_not_changed() {
    let version = r#"{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.24"}"#;
    let engine = Engine::start(plain::with(move |_, _| answer("200 OK", version)));
    let gate = Gate::typed(&engine);
    let (_, body) = gate.client().ask(get("/version"));
    assert_eq!(body, version);
}

#[test]
fn a_pass_through_clamps_nothing() {
    let engine = from_another_time();
    let gate = Gate::pass(&engine);
    let mut client = gate.client();
    client.send(get("/_ping"));
    assert_eq!(client.head().get("api-version"), Some("1.60"));
}

#[test]
fn unknown_routes_are_the_engines_404() {
    let engine = Engine::start(plain::behaviour());
    let gate = Gate::typed(&engine);
    let (status, body) = gate.client().ask(get("/v1.41/frobnicate"));
    assert_eq!(status, 404);
    assert!(message(&body).starts_with("page not found"), "{body}");
    assert!(engine.seen().is_empty());
}
