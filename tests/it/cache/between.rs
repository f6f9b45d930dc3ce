//! What is one caller's is given to no other, and nobody is led where they must not go.

use std::io::Write as _;

use dockgate::cache::stats::Sums;
use dockgate::cache::upstream;

use super::origin::{Origin, lines, whole};
use super::rig::{Rig, Setup};

/// Answers with the credentials that it was sent.
fn echo(fields: &'static str) -> Origin {
    Origin::new(move |_, asked, stream| {
        let who = asked.field("authorization").or(asked.field("cookie")).unwrap_or("nobody");
        let answer = whole(&format!("200 OK\nCache-Control: {fields}"), who.as_bytes());
        stream.write_all(&answer).is_ok()
    })
}

#[test]
fn what_was_fetched_with_credentials_is_for_the_same_credentials_only() {
    let origin = echo("max-age=60, public");
    let rig = Rig::new();
    for who in ["Authorization: a", "Authorization: b", "Cookie: a", "Cookie: b", "X: none"] {
        for _ in 0..3 {
            let value = who.split_once(": ").unwrap().1.replace("none", "nobody");
            assert_eq!(rig.ask(&origin, "GET", "/x", &[who]).text(), value);
            rig.settle();
        }
    }
    assert_eq!(origin.count(), 5, "each has a copy of its own");
}

#[test]
fn credentials_have_many_names() {
    let origin = Origin::new(|before, _, stream| {
        let answer =
            whole("200 OK\nCache-Control: max-age=60, public", format!("{before}").as_bytes());
        stream.write_all(&answer).is_ok()
    });
    for share_authorized in [false, true] {
        let rig = Setup { share_authorized, ..Setup::default() }.start();
        for field in [
            "PRIVATE-TOKEN",
            "JOB-TOKEN",
            "X-JFrog-Art-Api",
            "X-NuGet-ApiKey",
            "X-Api-Key",
            "X-Remote-User",
            "X-User",
            "Ocp-Apim-Subscription-Key",
            "DPoP",
            "CF-Access-Client-Id",
            "X-SSL-Client-Cert",
            "X-Forwarded-User",
            "X-Nobody-Knows",
        ] {
            let mut bodies = std::collections::HashSet::new();
            for who in [Some("a"), Some("b"), None] {
                let lines: Vec<String> =
                    who.map(|who| format!("{field}: {who}")).into_iter().collect();
                let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                bodies.insert(
                    rig.ask(&origin, "GET", &format!("/{field}"), &lines).text().to_owned(),
                );
                rig.settle();
            }
            assert_eq!(bodies.len(), 3, "{field}");
        }
    }
}

#[test]
fn one_client_does_not_choose_what_others_get() {
    let origin = Origin::new(|_, asked, stream| {
        let said: Vec<_> =
            asked.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = whole("200 OK\nCache-Control: max-age=60", said.join("\n").as_bytes());
        stream.write_all(&answer).is_ok()
    });
    let rig = Rig::new();
    let fields = [
        "X-Forwarded-Host: evil.example",
        "X-Original-URL: /admin",
        "X-HTTP-Method-Override: DELETE",
        "Forwarded: host=evil.example",
        "X_Forwarded_Host: evil.example",
        "X-Forwarded_Proto: evil",
        "Referer: http://evil.example/",
        "X-Harmless: kept",
    ];
    let answer = rig.ask(&origin, "GET", "/x", &fields);
    assert!(
        !answer.text().contains("evil") && !answer.text().contains("admin"),
        "{}",
        answer.text()
    );
    assert!(!answer.text().contains("DELETE") && answer.text().contains("kept"));
    // Whatever it was: nobody else gets it.
    for field in ["X-Harmless: evil", "X-Other: evil", "Strange: evil", "Odd_Name: evil"] {
        rig.settle();
        let path = format!("/{}", field.len());
        assert!(rig.ask(&origin, "GET", &path, &[field]).text().contains("evil"), "{field}");
        rig.settle();
        let other = rig.ask(&origin, "GET", &path, &["User-Agent: t", "Accept: */*"]);
        assert!(!other.text().contains("evil"), "{field}: {other:?}");
    }
}

#[test]
fn neither_the_rest_nor_a_part_nor_a_confirmation_is_chosen_by_one_client() {
    let origin = Origin::new(|before, asked, stream| {
        let head = "200 OK\nETag: \"1\"\nCache-Control: max-age=0\nContent-Length: 4000000";
        match (before, asked.field("range"), asked.field("if-none-match")) {
            (0, ..) => {
                let mut answer = lines(head);
                answer.extend_from_slice(b"\r\n0123");
                stream.write_all(&answer).unwrap();
                false
            }
            (_, Some("bytes=4-"), _) => {
                let head =
                    "206 Partial Content\nETag: \"1\"\nContent-Range: bytes 4-3999999/4000000";
                stream.write_all(&whole(head, &[b'x'; 3_999_996])).is_ok()
            }
            (_, Some(_), _) => {
                let head = "206 Partial Content\nETag: \"1\"\nContent-Range: bytes 3000000-3000000/4000000";
                stream.write_all(&whole(head, b"x")).is_ok()
            }
            (_, None, Some(_)) => stream.write_all(b"HTTP/1.1 304 Not Modified\r\n\r\n").is_ok(),
            (_, None, None) => {
                let mut answer = lines(head);
                answer.extend_from_slice(b"\r\n");
                answer.extend_from_slice(&[b'x'; 4_000_000]);
                stream.write_all(&answer).is_ok()
            }
        }
    });
    let rig = Rig::new();
    let evil = [
        "X-Forwarded-Host: evil.example",
        "X_Original_URL: /admin",
        "X-HTTP-Method: DELETE",
        "Forwarded: host=evil.example",
    ];
    let first = rig.ask(&origin, "GET", "/x", &evil);
    assert!(first.whole, "it was resumed: {:?}", first.fields);
    rig.settle();
    assert_eq!(rig.ask(&origin, "GET", "/x", &evil).status, 200);
    rig.settle();
    let part = [&evil[..], &["Range: bytes=3000000-3000000"]].concat();
    assert_eq!(rig.ask(&origin, "GET", "/y", &part).status, 206);
    rig.settle();
    let asked = origin.asked();
    assert!(asked.len() >= 5, "{asked:?}");
    for one in &asked {
        let said = format!("{:?}", one.fields);
        assert!(!said.contains("evil") && !said.contains("admin"), "{said}");
        assert!(!said.contains("DELETE"), "{said}");
    }
}

#[test]
fn no_credential_is_to_be_read_in_the_store() {
    let fields = [
        "Authorization",
        "CF-Access-Client-Secret",
        "Cookie",
        "DPoP",
        "From",
        "Ocp-Apim-Subscription-Key",
        "Origin",
        "Private-Token",
        "Strange",
        "X-Api-Key",
        "X-Remote-User",
        "X-SSL-Client-Cert",
        "X-User",
    ];
    for (field, vary) in fields.into_iter().flat_map(|field| [(field, field), (field, "Accept")]) {
        let origin =
            Origin::always(&format!("200 OK\nCache-Control: max-age=60\nVary: {vary}"), b"x");
        let rig = Rig::new();
        let line = format!("{field}: hunter2");
        for expected in ["uri-miss", "hit"] {
            let answer = rig.ask(&origin, "GET", "/x", &[&line]);
            assert!(answer.how().contains(expected), "{field}: {answer:?}");
            rig.settle();
        }
        let mut files = Vec::new();
        super::disk::files(&rig.dir, &mut files);
        assert!(files.iter().any(|file| file.to_string_lossy().contains("objects")), "{files:?}");
        for file in files {
            let bytes = std::fs::read(&file).unwrap();
            assert!(!bytes.windows(7).any(|seven| seven == b"hunter2"), "{field}: {file:?}");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let scope = dockgate::cache::store::Scope::Everything;
        let page = runtime.block_on(rig.cache.store.list(&scope, None, 10)).unwrap();
        assert_eq!(page.items.len(), 1);
        assert!(!format!("{:?}", page.items).contains("hunter2"));
    }
}

#[test]
fn what_head_is_answered_is_not_chosen_by_one_client_either() {
    let origin = Origin::new(|_, asked, stream| {
        let by = asked.field("x-forwarded-host").unwrap_or("nobody").to_owned();
        let mut head =
            super::origin::lines(&format!("200 OK\nCache-Control: max-age=60\nLink: <{by}>"));
        head.extend_from_slice(b"Content-Length: 1\r\n\r\n");
        if asked.method != "HEAD" {
            head.push(b'x');
        }
        stream.write_all(&head).is_ok()
    });
    let rig = Rig::new();
    rig.get(&origin, "/x");
    rig.settle();
    let fields = ["Cache-Control: no-cache", "X-Forwarded-Host: evil.example"];
    rig.ask(&origin, "HEAD", "/x", &fields);
    rig.settle();
    assert_eq!(rig.get(&origin, "/x").field("link"), Some("<nobody>"));
}

#[test]
fn a_client_that_reloads_removes_nothing() {
    let origin = Origin::new(|before, _, stream| match before {
        0 => {
            let head = "200 OK\nCache-Control: max-age=60\nETag: \"1\"";
            stream.write_all(&whole(head, b"x")).is_ok()
        }
        _ => stream.write_all(b"HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n").is_ok(),
    });
    let rig = Rig::new();
    rig.get(&origin, "/x");
    rig.settle();
    let reload = rig.ask(&origin, "GET", "/x", &["Cache-Control: no-cache, no-store"]);
    assert_eq!(reload.text(), "x");
    assert!(reload.how().contains("fwd=request"), "{}", reload.how());
    rig.settle();
    assert!(rig.get(&origin, "/x").how().contains("hit"));
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_cookie_is_not_kept_where_only_a_rule_says_that_the_answer_is() {
    let rules = r#"
        [[rule]]
        name = "all"
        paths = ["/**"]
        ttl = "1m"
    "#;
    for (fields, kept) in [("Cache-Control: max-age=60\n", true), ("", false)] {
        let origin = Origin::always(&format!("200 OK\n{fields}Set-Cookie: a=b"), b"x");
        let rig = Setup { rules: rules.to_owned(), ..Setup::default() }.start();
        rig.get(&origin, "/x");
        rig.settle();
        let again = rig.get(&origin, "/x");
        assert!(again.how().contains("hit"), "{}", again.how());
        assert_eq!(again.field("set-cookie").is_some(), kept);
    }
}

#[test]
fn where_the_configuration_allows_it_rfc_9111_decides_what_is_shared() {
    for (fields, shared) in [("max-age=60, public", true), ("max-age=60", false)] {
        let origin = echo(fields);
        let rig = Setup { share_authorized: true, ..Setup::default() }.start();
        assert_eq!(rig.ask(&origin, "GET", "/x", &["Authorization: a"]).text(), "a");
        rig.settle();
        let expected = if shared { "a" } else { "b" };
        assert_eq!(
            rig.ask(&origin, "GET", "/x", &["Authorization: b"]).text(),
            expected,
            "{fields}"
        );
    }
}

#[test]
fn a_herd_with_different_credentials_is_several() {
    let origin = echo("max-age=60");
    let rig = Rig::new();
    let mut clients: Vec<_> = (0..6).map(|i| (format!("u{}", i % 3), rig.client())).collect();
    for (who, client) in &mut clients {
        let url = format!("http://{}/x", origin.host());
        client.send("GET", &url, &origin.host(), &[&format!("Authorization: {who}")]);
    }
    for (who, client) in &mut clients {
        assert_eq!(client.answer(false).text(), who);
    }
    assert_eq!(origin.count(), 3);
}

#[test]
fn addresses_that_are_not_public_are_refused_unless_allowed() {
    let origin = Origin::always("200 OK", b"secret");
    let rig = Setup { allow_private: false, ..Setup::default() }.start();
    let answer = rig.get(&origin, "/x");
    assert_eq!(answer.status, 502);
    assert!(answer.how().contains("address-refused"), "{}", answer.how());
    let mut tunnel = rig.client();
    tunnel.send("CONNECT", &origin.host(), &origin.host(), &[]);
    assert_ne!(tunnel.head().status, 200);
    assert_eq!(origin.count(), 0);
}

#[test]
fn hosts_that_are_not_listed_are_refused() {
    let origin = Origin::always("200 OK", b"x");
    let rig = Setup { domains: vec!["example.org"], ..Setup::default() }.start();
    assert_eq!(rig.get(&origin, "/x").status, 421);
    assert_eq!(origin.count(), 0);
}

#[test]
fn requests_that_could_be_read_in_two_ways_are_refused() {
    let origin = Origin::always("200 OK\nCache-Control: max-age=60", b"x");
    let host = origin.host();
    let rig = Rig::new();
    for request in [
        format!("GET http://{host}/x HTTP/1.1\r\nHost: other.example\r\n\r\n"),
        format!("GET http://{host}/x HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n\r\n"),
        format!("GET http://{host}/a/../x HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("GET http://{host}/a/%2e%2e/x HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("GET http://u:p@{host}/x HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("GET http://{host}/x HTTP/1.1\r\n\r\n"),
        format!(
            "GET http://{host}/x HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        format!(
            "GET http://{host}/x HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: xchunked\r\n\r\n"
        ),
        format!("GET http://{host}/x HTTP/1.1\r\nHost: {host}\r\nContent-Length: +1\r\n\r\nx"),
        format!("GET http://{host}/x HTTP/1.1\r\nHost : {host}\r\n\r\n"),
        "GET / HTTP/9.9\r\nHost: x\r\n\r\n".to_owned(),
        "nonsense\r\n\r\n".to_owned(),
    ] {
        let mut client = rig.client();
        client.write(request.as_bytes());
        assert_eq!(client.answer(false).status, 400, "{request:?}");
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_body_of_a_get_poisons_nothing() {
    let origin = Origin::new(|_, asked, stream| {
        stream.write_all(&whole("200 OK\nCache-Control: max-age=60", &asked.body)).is_ok()
    });
    let rig = Rig::new();
    let mut client = rig.client();
    let url = format!("http://{}/x", origin.host());
    client.send("GET", &url, &origin.host(), &["Content-Length: 4"]);
    client.write(b"evil");
    assert_eq!(client.answer(false).text(), "evil");
    rig.settle();
    assert_eq!(rig.get(&origin, "/x").text(), "");
}

#[test]
fn a_chunked_body_of_a_get_reaches_the_origin() {
    let origin =
        Origin::new(|_, asked, stream| stream.write_all(&whole("200 OK", &asked.body)).is_ok());
    let rig = Rig::new();
    let mut client = rig.client();
    let url = format!("http://{}/x", origin.host());
    client.send("GET", &url, &origin.host(), &["Transfer-Encoding: chunked"]);
    client.write(b"4\r\nbody\r\n0\r\n\r\n");
    let answer = client.answer(false);
    assert_eq!(answer.text(), "body", "{answer:?}");
}

#[test]
fn a_cookie_keeps_nobody_from_what_was_asked_for_without_one() {
    for (head, is_shared) in [
        ("max-age=60", true),
        ("max-age=60\nVary: Cookie", false),
        ("max-age=0\nETag: \"1\"", false),
        ("public\nETag: \"1\"", false),
    ] {
        let origin = echo(head);
        let rig = Rig::new();
        assert_eq!(rig.get(&origin, "/x").text(), "nobody");
        rig.settle();
        let mine = rig.ask(&origin, "GET", "/x", &["Cookie: a=b"]);
        assert_eq!(mine.text() == "nobody", is_shared, "{head}: {mine:?}");
        for other in ["Authorization: c", "Authorization: c\r\nCookie: a=b", "X-User: d"] {
            rig.settle();
            let answer = rig.ask(&origin, "GET", "/x", &[other]);
            assert!(!answer.how().contains("; hit"), "{head}, {other}: {answer:?}");
        }
        // What a cookie was sent for is nobody else's.
        rig.ask(&origin, "GET", "/y", &["Cookie: a=b"]);
        rig.settle();
        for other in [&[][..], &["Cookie: c=d"]] {
            let answer = rig.ask(&origin, "GET", "/y", other);
            assert!(answer.text() != "a=b", "{head}: {answer:?}");
        }
    }
}

#[test]
fn a_forward_proxy_goes_to_no_port_that_nobody_has_named() {
    let origin = Origin::always("200 OK\nCache-Control: max-age=60", b"x");
    let rig = Setup { domains: vec!["*"], ..Setup::default() }.start();
    let answer = rig.get(&origin, "/x");
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(answer.text().contains("hint: only 80 and 443"), "{answer:?}");
    assert_eq!(origin.count(), 0);
    let named: &'static str = Box::leak(origin.host().into_boxed_str());
    let rig = Setup { domains: vec!["*", named], ..Setup::default() }.start();
    assert_eq!(rig.get(&origin, "/x").status, 200);
}

/// docker and skopeo say it first to a registry that has no TLS, and speak plainly once they are answered.
#[test]
fn a_hello_of_tls_is_answered_without_waiting_for_the_end_of_a_head() {
    let rig = Rig::new();
    let mut client = rig.client();
    client.write(b"\x16\x03\x01\x02\x00\x01\x00");
    assert_eq!(client.answer(false).status, 400);
}

#[test]
fn a_head_has_64_kib_and_no_more() {
    let origin = Origin::always("200 OK\nCache-Control: max-age=60", b"x");
    let rig = Rig::new();
    let of =
        |bytes: usize| rig.ask(&origin, "GET", "/x", &[&format!("Accept: {}", "x".repeat(bytes))]);
    assert_eq!(of(60 << 10).status, 200);
    for bytes in [64 << 10, 100 << 10, 200 << 10] {
        let answer = of(bytes);
        assert_eq!((answer.status, answer.text().contains("64 KiB")), (431, true), "{answer:?}");
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_proxy_that_leads_back_is_blamed_and_not_the_name() {
    let next_hop = Some("http://127.0.0.1:9".parse().unwrap());
    let settings = upstream::UpstreamSettings { next_hop, ..upstream::UpstreamSettings::default() };
    let origin = Origin::always("200 OK", b"x");
    for (settings, blamed) in [(settings, "`next_hop`"), (Default::default(), "see `origins`")] {
        let rig = Setup { upstream: settings, ..Setup::default() }.start();
        let answer = rig.ask(&origin, "GET", "/x", &["CDN-Loop: dockgate"]);
        assert_eq!(answer.status, 508, "{answer:?}");
        assert!(answer.text().contains(blamed), "{answer:?}");
    }
}

#[test]
fn a_request_that_has_been_here_before_goes_no_further() {
    let origin = Origin::always("200 OK", b"x");
    let rig = Rig::new();
    let answer = rig.ask(&origin, "GET", "/x", &["CDN-Loop: dockgate"]);
    assert_eq!(answer.status, 508, "{answer:?}");
    assert_eq!(origin.count(), 0);
    rig.get(&origin, "/y");
    assert!(origin.asked()[0].field("cdn-loop").unwrap().contains("dockgate"));
}

#[test]
fn a_tunnel_carries_bytes_both_ways() {
    let origin = Origin::always("200 OK", b"through");
    let port = origin.address.port();
    let rig = Setup { domains: vec![], ..Setup::default() };
    let domain: &'static str = Box::leak(format!("127.0.0.1:{port}").into_boxed_str());
    let rig = Setup { domains: vec![domain], ..rig }.start();
    let mut client = rig.client();
    client.send("CONNECT", &origin.host(), &origin.host(), &[]);
    assert_eq!(client.head().status, 200);
    client.send("GET", "/x", &origin.host(), &[]);
    assert_eq!(client.answer(false).text(), "through");
    drop(client);
    // What it sent has come from the origin.
    let sums = || Sums::total(rig.cache.stats.by_domain().values());
    rig.wait(|| sums().bytes_sent > 0);
    assert_eq!((sums().bytes_fetched, sums().origin_requests), (sums().bytes_sent, 1));
}
