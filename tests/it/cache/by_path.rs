//! Mirror mode: registries below paths of the cache, before origins that are no registries.

use std::io::Write as _;
use std::sync::Arc;

use dockgate::cache::by_path::{ByPath, OwnNames, Registries, Site};
use dockgate::cache::fresh::FreshnessRules;
use dockgate::cache::hosts::Pattern;
use dockgate::cache::key::Scheme;
use dockgate::cache::mirror::{CacheRules, Http};

use super::origin::{Origin, whole};
use super::rig::{Answer, Rig, Setup};

const US: &str = "cache.example";

/// One origin for all that is published: an index of each kind, and files that say where they are.
fn registry() -> Origin {
    Origin::new(|_, asked, stream| {
        let host = asked.field("host").unwrap().to_owned();
        let answer = match asked.target.as_str() {
            "/simple/x/" => whole(
                "200 OK\nContent-Type: text/html\nETag: \"1\"\nCache-Control: max-age=0",
                format!("<a href=\"http://{host}/packages/x-1.whl#sha256=0f\">x</a>").as_bytes(),
            ),
            "/simple/X/" => whole("301 Moved\nLocation: /simple/x/", b""),
            "/npm/x" => whole(
                "200 OK\nContent-Type: application/json\nCache-Control: max-age=60\nVary: Accept",
                format!("{{\"tarball\":\"http://{host}/npm/x/-/x-1.tgz\"}}").as_bytes(),
            ),
            "/config.json" => whole(
                "200 OK\nContent-Type: application/json\nCache-Control: max-age=60",
                format!("{{\"dl\":\"http://{host}/crates\"}}").as_bytes(),
            ),
            "/away.whl" => whole("302 Found\nLocation: http://elsewhere.example/x", b""),
            other => whole("200 OK\nCache-Control: max-age=60\nSet-Cookie: a=b", other.as_bytes()),
        };
        if asked.field("if-none-match").is_some() {
            return stream.write_all(b"HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n").is_ok();
        }
        stream.write_all(&answer).is_ok()
    })
}

fn rig(origin: &Origin) -> Rig {
    let site =
        |path: &str| Site { scheme: Scheme::Http, host: origin.host(), path: path.to_owned() };
    let registries = Registries {
        pypi: Some(site("/simple")),
        npm: Some(site("/npm")),
        crates: Some(site("")),
        deb: vec![site("")],
        files: vec![site("")],
    };
    let rules = CacheRules::builtin().unwrap();
    let own =
        OwnNames { named: [Pattern::parse(US).unwrap()].into_iter().collect(), ports: Vec::new() };
    let by_path =
        ByPath::new(own, registries, Arc::new(Http::new(rules, FreshnessRules::default(), [])));
    // None but what is named for it is served.
    let domains = vec!["other.example"];
    Setup { by_path: Some(Arc::new(by_path)), domains, ..Setup::default() }.start()
}

fn get(rig: &Rig, path: &str) -> Answer {
    ask(rig, "GET", path, &[])
}

fn ask(rig: &Rig, method: &str, path: &str, fields: &[&str]) -> Answer {
    let mut client = rig.client();
    client.send(method, path, US, fields);
    client.answer(method == "HEAD")
}

#[test]
fn an_index_leads_here_and_what_it_leads_to_is_fetched_once() {
    let origin = registry();
    let rig = rig(&origin);
    let files = format!("http://{US}/files/{}", origin.host());
    let page = format!("<a href=\"{files}/packages/x-1.whl#sha256=0f\">x</a>");
    for _ in 0..2 {
        assert_eq!(get(&rig, "/pypi/simple/x/").text(), page);
        rig.settle();
    }
    assert_eq!(get(&rig, "/pypi/simple/X/").text(), page, "a redirect is followed here");
    let npm = format!("{{\"tarball\":\"http://{US}/npm/x/-/x-1.tgz\"}}");
    assert_eq!(get(&rig, "/npm/x").text(), npm);
    assert_eq!(get(&rig, "/crates/config.json").text(), format!("{{\"dl\":\"{files}/crates\"}}"));
    rig.settle();
    let before = origin.count();
    for (path, there) in [
        ("/packages/x-1.whl", "/packages/x-1.whl"),
        ("/crates/a/1.0.0/download", "/crates/a/1.0.0/download"),
    ] {
        for _ in 0..2 {
            let file = get(&rig, &format!("/files/{}{path}", origin.host()));
            assert_eq!(file.text(), there);
            assert!(file.field("set-cookie").is_none(), "{file:?}");
            rig.settle();
        }
    }
    for _ in 0..2 {
        assert_eq!(get(&rig, "/npm/x/-/x-1.tgz").text(), "/npm/x/-/x-1.tgz");
        let deb = format!("/deb/{}/debian/pool/main/x/x_1_all.deb", origin.host());
        assert_eq!(get(&rig, &deb).text(), "/debian/pool/main/x/x_1_all.deb");
        rig.settle();
    }
    assert_eq!(origin.count(), before + 4);
}

#[test]
fn an_index_is_asked_for_as_it_is_and_confirmed() {
    let origin = registry();
    let rig = rig(&origin);
    let gzip = ["Accept-Encoding: gzip"];
    let first = ask(&rig, "GET", "/pypi/simple/x/", &gzip);
    rig.settle();
    let second = ask(&rig, "GET", "/pypi/simple/x/", &gzip);
    assert_eq!(first.text(), second.text());
    assert!(second.how().contains("fwd-status=304"), "{second:?}");
    let asked = origin.asked();
    assert_eq!(asked[0].field("accept-encoding"), Some("identity"));
    assert_eq!(asked[1].field("if-none-match"), Some("\"1\""));
}

#[test]
fn nobody_is_asked_whom_nobody_has_named() {
    let origin = registry();
    let rig = rig(&origin);
    for (method, path, status) in [
        ("GET", "/files/elsewhere.example/x", 404),
        ("GET", "/deb/elsewhere.example/x", 404),
        ("PUT", "/npm/x", 404),
        ("GET", "/pypi/x", 404),
        // Not one of our paths: a host like any other, and not among `domains`.
        ("GET", "/", 421),
        ("GET", "/simple/x/", 421),
    ] {
        let answer = ask(&rig, method, path, &[]);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
    // Neither by a name that is not ours, nor as a host of its own.
    let mut client = rig.client();
    client.send("GET", "/pypi/simple/x/", "strange.example", &[]);
    assert_eq!(client.answer(false).status, 421);
    let url = format!("http://{}/packages/x-1.whl", origin.host());
    let mut client = rig.client();
    client.send("GET", &url, &origin.host(), &[]);
    assert_eq!(client.answer(false).status, 421);
    assert_eq!(origin.count(), 0);
    let path = format!("/files/{}/away.whl", origin.host());
    let away = get(&rig, &path);
    assert_eq!(away.status, 302, "the client may go there: {away:?}");
}

#[test]
fn what_is_kept_for_a_path_is_given_to_nobody_who_may_not_ask_its_host() {
    let origin = registry();
    let rig = rig(&origin);
    let path = format!("/files/{}/packages/x-1.whl", origin.host());
    for _ in 0..3 {
        assert_eq!(get(&rig, &path).status, 200);
        rig.settle();
    }
    let mut client = rig.client();
    client.send("GET", "/packages/x-1.whl", &origin.host(), &[]);
    assert_eq!(client.answer(false).status, 421);
}

#[test]
fn an_index_that_cannot_be_read_reaches_nobody() {
    let coded = Origin::always("200 OK\nContent-Encoding: gzip\nCache-Control: max-age=9", b"?");
    let rig = rig(&coded);
    let answer = get(&rig, "/pypi/simple/x/");
    assert!(answer.status == 502 || !answer.whole, "{answer:?}");
}
