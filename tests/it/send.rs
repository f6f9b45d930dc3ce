//! Send: what the engine gets. As it came where no policy is active, but for hop-by-hop headers;
//! written anew from what was parsed where one is.

use crate::support::engine::plain;
use crate::support::http::answer;
use crate::support::{Engine, Gate, Setup, text};

fn ok() -> Engine {
    Engine::start(plain::says(answer("200 OK", "{}")))
}

/// Through a gate with `conservative` in front of an engine that speaks 1.41.
#[track_caller]
fn rewrites(request: &str, wanted: &str) {
    let engine = ok();
    let gate = Gate::typed(&engine);
    let (status, body) = gate.client().ask(request);
    assert_eq!(status, 200, "{body}");
    engine.assert_saw(wanted);
}

#[track_caller]
fn passes(request: &str, wanted: &str) {
    let engine = ok();
    let gate = Gate::pass(&engine);
    assert_eq!(gate.client().ask(request).0, 200);
    engine.assert_saw(wanted);
}

#[test]
fn without_a_policy_every_line_passes_as_it_came_in_its_order() {
    let request = "GET /v1.41/containers/a%2Fb/json?x=1;y&x=%zz&&filters={\"a\":[]} HTTP/1.1\r\n\
                   Host: api.moby.localhost\r\nuser-AGENT: Odd/1.0  (two  spaces)\r\nX-Dup: 1\r\n\
                   x-dup: 2\r\nCookie: a=b\r\nX-Empty: \r\nAccept: */*\r\nX-Dup: 3\r\n\r\n";
    passes(request, request);
}

#[test]
fn without_a_policy_hop_by_hop_headers_go_and_those_that_are_needed_stay() {
    passes(
        "GET /info HTTP/1.1\r\nConnection: keep-alive, X-Nominated, Host, Content-Length\r\n\
         Host: a\r\nKeep-Alive: timeout=5\r\nx-nominated: gone\r\nProxy-Connection: keep-alive\r\n\
         TE: trailers\r\nContent-Length: 0\r\nX-Stays: 1\r\n\r\n",
        "GET /info HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nX-Stays: 1\r\n\r\n",
    );
}

#[test]
fn without_a_policy_spacing_around_a_value_is_ours_and_inside_is_the_clients() {
    passes(
        "GET /info HTTP/1.1\r\nHost:a\r\nX-A:\t 1  2 \t\r\n\r\n",
        "GET /info HTTP/1.1\r\nHost: a\r\nX-A: 1  2\r\n\r\n",
    );
}

#[test]
fn without_a_policy_a_chunked_body_keeps_its_borders_extensions_and_trailers() {
    let head = "POST /images/load HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
                Trailer: X-Sum\r\n\r\n";
    let body = "5\r\nhello\r\n0001;name=value\r\n \r\n5\nworld\n000\r\nX-Sum: 1\r\n\r\n";
    passes(&format!("{head}{body}"), &format!("{head}{body}"));
}

#[test]
fn without_a_policy_length_and_chunked_together_pass_as_dockerd_reads_them() {
    let request = "POST /images/load HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\
                   Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    passes(request, request);
}

#[test]
fn without_a_policy_any_method_and_target_pass() {
    for line in
        ["FROB /anything/at//all/../x HTTP/1.1", "GET http://x/info HTTP/1.1", "OPTIONS * HTTP/1.1"]
    {
        let request = format!("{line}\r\nHost: a\r\n\r\n");
        passes(&request, &request);
    }
}

#[test]
fn without_a_policy_the_body_of_an_attach_is_read_away() {
    // dockerode posts one; dockerd throws it away only when it comes together with the head.
    for (framing, body) in [
        ("Content-Length: 15", "{\"stream\":true}"),
        ("Transfer-Encoding: chunked", "f\r\n{\"stream\":true}\r\n0\r\n\r\n"),
    ] {
        passes(
            &format!(
                "POST /containers/x/attach?stream=1 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                 {framing}\r\n\r\n{body}"
            ),
            "POST /containers/x/attach?stream=1 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
             Content-Length: 0\r\n\r\n",
        );
    }
}

#[test]
fn with_a_policy_the_body_of_an_attach_is_read_away_too() {
    for (framing, body) in [
        ("Content-Length: 15", "{\"stream\":true}"),
        ("Transfer-Encoding: chunked", "f\r\n{\"stream\":true}\r\n0\r\n\r\n"),
    ] {
        rewrites(
            &format!(
                "POST /containers/x/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: a\r\n\
                 Content-Type: application/json\r\n{framing}\r\n\r\n{body}"
            ),
            "POST /v1.41/containers/x/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: docker\r\n\
             Content-Length: 0\r\n\r\n",
        );
    }
}

#[test]
fn a_typed_line_is_decoded_once_and_encoded_canonically() {
    rewrites(
        "GET /v1.30/containers/in%66o%20%C3%A9+x:y@z/json?%73ize=tr%75e HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /v1.30/containers/info%20%C3%A9+x:y@z/json?size=true HTTP/1.1\r\nHost: docker\r\n\r\n",
    );
    rewrites(
        "GET /v1.41/containers/json?filters={\"status\":[\"a+b\"]}&all=1 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /v1.41/containers/json?filters=%7B%22status%22%3A%5B%22a%20b%22%5D%7D&all=1 HTTP/1.1\r\n\
         Host: docker\r\n\r\n",
    );
    rewrites(
        "GET /v1.41/images/127.0.0.1:5099/team/app:1@sha256:00/json HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /v1.41/images/127.0.0.1:5099/team/app:1@sha256:00/json HTTP/1.1\r\nHost: docker\r\n\r\n",
    );
}

#[test]
fn an_unversioned_line_is_pinned_to_what_both_sides_speak() {
    for (speaks, wanted) in [("1.41", "1.41"), ("1.51", "1.51"), ("1.30", "1.30")] {
        let engine = Engine::speaking(speaks, plain::says(answer("200 OK", "{}")));
        let gate = Gate::typed(&engine);
        assert_eq!(gate.client().ask("GET /info HTTP/1.1\r\nHost: a\r\n\r\n").0, 200);
        engine.assert_saw(&format!("GET /v{wanted}/info HTTP/1.1\r\nHost: docker\r\n\r\n"));
    }
    rewrites(
        "GET /v1.25/info HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /v1.25/info HTTP/1.1\r\nHost: docker\r\n\r\n",
    );
}

#[test]
fn only_headers_that_the_engine_reads_are_sent() {
    rewrites(
        "POST /v1.41/images/create?fromImage=busybox&tag=latest HTTP/1.1\r\nHost: evil\r\n\
         user-agent: Docker-Client/28.2.2 (linux)\r\nX-REGISTRY-AUTH: e30=\r\nAuthorization: Basic eA==\r\n\
         Cookie: a=b\r\nX-Forwarded-For: 1.2.3.4\r\nX-Meta-Evil: 1\r\nTE: trailers\r\n\
         Connection: X-Registry-Auth\r\nUpgrade: tcp\r\nContent-Type: text/plain\r\n\
         Content-Length: 0\r\n\r\n",
        "POST /v1.41/images/create?fromImage=busybox&tag=latest HTTP/1.1\r\nHost: docker\r\n\
         User-Agent: Docker-Client/28.2.2 (linux)\r\nx-registry-auth: e30=\r\nContent-Length: 0\r\n\r\n",
    );
}

#[test]
fn a_json_body_is_written_anew_in_the_engines_spelling() {
    let body = " {\"image\":\"x\",\"CMD\":\"sh\",\"ho\u{17f}tconfig\":{\"memory\":9007199254740993,\
                \"networ\\u212AMode\":\"none\",\"Frob\":false},\"\\u0045nv\":[\"A=\\u00e9\\/\"],\
                \"Labels\":{\"b\":\"1\",\"a\":\"2\"}, \"Frobnicate\": {}}\n";
    rewrites(
        &format!(
            "POST /v1.41/containers/create?name=web HTTP/1.1\r\nHost: a\r\n\
             Content-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
        "POST /v1.41/containers/create?name=web HTTP/1.1\r\nHost: docker\r\n\
         Content-Type: application/json\r\nContent-Length: 131\r\n\r\n\
         {\"Image\":\"x\",\"Cmd\":[\"sh\"],\"HostConfig\":{\"Memory\":9007199254740993,\
         \"NetworkMode\":\"none\"},\"Env\":[\"A=\u{e9}/\"],\"Labels\":{\"b\":\"1\",\"a\":\"2\"}}",
    );
}

#[test]
fn a_chunked_json_body_leaves_with_a_length() {
    rewrites(
        "POST /v1.41/volumes/create HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n7\r\n{\"Name\"\r\n5\r\n:\"v\"}\r\n0\r\n\r\n",
        "POST /v1.41/volumes/create HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n\
         Content-Length: 12\r\n\r\n{\"Name\":\"v\"}",
    );
}

#[test]
fn an_upload_keeps_its_framing_and_gets_the_right_type() {
    for (framing, body) in [
        ("Content-Length: 4", "data"),
        ("Transfer-Encoding: chunked", "2\r\nda\r\n2\r\nta\r\n0\r\n\r\n"),
    ] {
        rewrites(
            &format!(
                "POST /v1.41/images/load?quiet=1 HTTP/1.1\r\nHost: a\r\nContent-Type: application/tar\r\n\
                 {framing}\r\n\r\n{body}"
            ),
            &format!(
                "POST /v1.41/images/load?quiet=1 HTTP/1.1\r\nHost: docker\r\n\
                 {framing}\r\nContent-Type: application/x-tar\r\n\r\n{body}"
            ),
        );
    }
}

#[test]
fn a_body_where_dockerd_reads_none_is_dropped() {
    rewrites(
        "POST /v1.41/images/create?fromImage=busybox HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         Content-Length: 2\r\n\r\n{}",
        "POST /v1.41/images/create?fromImage=busybox HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n\r\n",
    );
    rewrites(
        "POST /v1.41/containers/x/kill HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
        "POST /v1.41/containers/x/kill HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n\r\n",
    );
    rewrites(
        "GET /v1.41/info HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
        "GET /v1.41/info HTTP/1.1\r\nHost: docker\r\n\r\n",
    );
}

#[test]
fn the_create_body_that_dockerode_repeats_in_the_query_is_dropped() {
    rewrites(
        "POST /containers/create?Image=busybox&Cmd=%5B%22sh%22%5D&HostConfig=%7B%22Privileged%22%3Atrue%7D&name=n \
         HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 19\r\n\r\n{\"Image\":\"busybox\"}",
        "POST /v1.41/containers/create?name=n HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n\
         Content-Length: 19\r\n\r\n{\"Image\":\"busybox\"}",
    );
}

#[test]
fn an_upgrade_is_said_in_one_way_or_not_at_all() {
    let exec = |lines: &str| {
        format!(
            "POST /v1.41/exec/e/start HTTP/1.1\r\nHost: a\r\n{lines}Content-Type: application/json\r\n\
             Content-Length: 15\r\n\r\n{{\"Detach\":false}}"
        )
        .replace("Content-Length: 15", "Content-Length: 16")
    };
    let plain = "Content-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"Detach\":false}";
    rewrites(
        &exec("upgrade: anything\r\n"),
        &format!(
            "POST /v1.41/exec/e/start HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n{plain}"
        ),
    );
    rewrites(
        &exec("Connection: Upgrade\r\n"),
        &format!("POST /v1.41/exec/e/start HTTP/1.1\r\nHost: docker\r\n{plain}"),
    );
}

#[test]
fn http_1_0_stays_1_0() {
    let engine = Engine::start(plain::says("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"));
    let gate = Gate::typed(&engine);
    let mut client = gate.client();
    client.send("GET /v1.41/info HTTP/1.0\r\n\r\n");
    assert!(text(&client.rest()).starts_with("HTTP/1.0 200 OK\r\n"));
    engine.assert_saw("GET /v1.41/info HTTP/1.0\r\nHost: docker\r\n\r\n");
}

#[test]
fn two_listeners_serve_the_same_engine() {
    let engine = ok();
    let gate = Setup::new(&engine).typed().tcp().start();
    let mut client = crate::support::Conn::tcp(&gate.tcp_address());
    assert_eq!(client.ask("GET /info HTTP/1.1\r\nHost: a\r\n\r\n").0, 200);
    assert_eq!(gate.client().ask("GET /info HTTP/1.1\r\nHost: a\r\n\r\n").0, 200);
    let records = gate.records(2);
    let mut listeners: Vec<_> = records.iter().filter_map(|r| r["listener"].as_str()).collect();
    listeners.sort_unstable();
    assert_eq!(listeners, ["it", "it-tcp"]);
}

/// dockerd routes on the decoded path: docker-java escapes the slashes of an image's name, others its colon.
#[test]
fn a_path_is_decoded_once_and_written_anew_as_dockerd_reads_it() {
    // A policy that has nothing against any of these.
    let limits = "[policy.sizes]\nkind = \"limits\"\n[policy.sizes.max]\nmemory = \"1g\"\n";
    for (asked, wanted) in [
        ("GET /v1.41/images/aa%2Fbb:1/json", "GET /v1.41/images/aa/bb:1/json"),
        ("GET /v1.41/images/aa%2fbb%3A1/json", "GET /v1.41/images/aa/bb:1/json"),
        ("GET /v1.41/images/aa%2Fbb%40sha256%3Acc/json", "GET /v1.41/images/aa/bb@sha256:cc/json"),
        ("GET /v1.41/images/aa%2Fbb/history", "GET /v1.41/images/aa/bb/history"),
        ("GET /v1.41/images/aa%2Fbb/get", "GET /v1.41/images/aa/bb/get"),
        ("GET /v1.41/distribution/aa%2Fbb/json", "GET /v1.41/distribution/aa/bb/json"),
        ("POST /v1.41/images/aa%2Fbb/push?tag=1", "POST /v1.41/images/aa/bb/push?tag=1"),
        ("POST /v1.41/images/aa%2Fbb/tag?repo=x", "POST /v1.41/images/aa/bb/tag?repo=x"),
        ("DELETE /v1.41/images/aa%2Fbb", "DELETE /v1.41/images/aa/bb"),
        ("GET /v1.41/plugins/aa%2Fbb%3Alatest/json", "GET /v1.41/plugins/aa/bb:latest/json"),
        ("DELETE /v1.41/plugins/aa%2Fbb", "DELETE /v1.41/plugins/aa/bb"),
        // A slash is a slash wherever it stands, and what is escaped twice is a part of a name.
        ("GET /v1.41%2Fimages%2Faa%2Fbb%2Fjson", "GET /v1.41/images/aa/bb/json"),
        ("GET /v1.41/images/aa%252Fbb/json", "GET /v1.41/images/aa%252Fbb/json"),
    ] {
        let engine = ok();
        let gate = Setup::new(&engine).policies(r#"["sizes"]"#).tables(limits).start();
        let (status, body) = gate.client().ask(format!("{asked} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(status, 200, "{asked}: {body}");
        let seen = engine.seen().concat();
        assert_eq!(seen.lines().next().unwrap(), format!("{wanted} HTTP/1.1"), "{asked}");
    }
}

#[test]
fn the_route_behind_an_escaped_slash_is_the_one_that_is_judged() {
    let engine = ok();
    let gate = Gate::conservative(&engine);
    let mut client = gate.client();
    for (asked, rule) in [
        ("GET /v1.41/plugins%2Fa/json", "class.plugin"),
        ("POST /v1.41%2Fswarm/leave", "class.swarm"),
        ("POST /v1.41/images/127.0.0.1:5000%2Fa%2Fb/push", "registry.host"),
    ] {
        let (status, body) = client.ask(format!("{asked} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(status, 403, "{asked}: {body}");
        assert!(body.contains(rule), "{asked}: {body}");
    }
    let (status, _) = client.ask("GET /v1.41/services/a%2Fb HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status, 404, "one segment, as to dockerd");
    assert!(engine.seen().is_empty());
}

/// docker-py sends `dockerfile` twice for one outside of the context; Go's `FormValue` takes the first.
#[test]
fn of_a_repeated_scalar_the_first_is_judged_and_sent() {
    for (asked, wanted) in [
        (
            "POST /v1.41/build?dockerfile=one&t=a&dockerfile=FROM+x&t=b",
            "POST /v1.41/build?dockerfile=one&t=a&t=b",
        ),
        ("GET /v1.41/containers/json?all=1&%61ll=0", "GET /v1.41/containers/json?all=1"),
        ("GET /v1.41/containers/json?all=&all=1", "GET /v1.41/containers/json?all="),
        ("GET /v1.41/containers/json?x=&x=", "GET /v1.41/containers/json"),
        ("GET /v1.41/images/get?names=a&names=b", "GET /v1.41/images/get?names=a&names=b"),
    ] {
        let engine = ok();
        let gate = Gate::typed(&engine);
        let (status, body) = gate.client().ask(format!("{asked} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(status, 200, "{asked}: {body}");
        let seen = engine.seen().concat();
        assert_eq!(seen.lines().next().unwrap(), format!("{wanted} HTTP/1.1"), "{asked}");
    }
    let engine = ok();
    let gate = Gate::conservative(&engine);
    for (asked, rule) in [
        ("POST /v1.41/build?networkmode=host&networkmode=none", "build.network"),
        (
            "POST /v1.41/containers/prune?filters=%7B%7D&filters=%7B%22label%22:%5B%22a%22%5D%7D",
            "prune.unfiltered",
        ),
    ] {
        let (status, body) = gate.client().ask(format!("{asked} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(status, 403, "{asked}: {body}");
        assert!(body.contains(rule), "{asked}: {body}");
    }
    let form = "POST /v1.41/images/x/tag?repo=a HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n\r\nrepo=b";
    let (status, body) = gate.client().ask(form);
    assert_eq!(status, 400, "{body}");
    assert!(body.contains("form-encoded"), "{body}");
    assert!(engine.seen().is_empty());
}
