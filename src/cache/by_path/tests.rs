//! Which paths are whose, and what becomes of links.

use bytes::Bytes;
use http::HeaderValue;

use super::*;
use crate::cache::fresh;
use crate::cache::key::Partition;
use crate::cache::mirror::{CacheRules, Origin};
use crate::cache::route::Kind;

fn site(url: &str) -> Site {
    let (scheme, rest) = url.split_once("://").unwrap();
    let scheme = if scheme == "http" { Scheme::Http } else { Scheme::Https };
    let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
    let path = if path.is_empty() { String::new() } else { format!("/{path}") };
    Site { scheme, host: host.to_owned(), path }
}

fn by_path() -> ByPath {
    let registries = Registries {
        pypi: Some(site("https://pypi.org/simple")),
        npm: Some(site("https://registry.npmjs.org")),
        crates: Some(site("https://index.crates.io")),
        deb: vec![site("http://deb.debian.org")],
        files: [
            "https://proxy.golang.org",
            "https://pypi.org/simple",
            "https://files.pythonhosted.org",
            "https://registry.npmjs.org",
            "https://index.crates.io",
            "https://static.crates.io",
        ]
        .map(site)
        .to_vec(),
    };
    let own = OwnNames {
        named: [crate::cache::hosts::Pattern::parse("cache.example").unwrap()]
            .into_iter()
            .collect(),
        ports: vec![3128, 443],
    };
    let there = Origin { scheme: Scheme::Http, host: "x".to_owned() };
    let http = Http::new(
        CacheRules::builtin().unwrap(),
        fresh::FreshnessRules::default(),
        [("localhost".to_owned(), there)],
    );
    ByPath::new(own, registries, Arc::new(http))
}

fn routed(method: &Method, path: &str) -> Option<Route> {
    by_path().route(&RequestTarget {
        method,
        scheme: Scheme::Http,
        host: "cache.example",
        path,
        query: None,
        headers: &HeaderMap::new(),
        partition: Partition::Own(7),
    })
}

/// Where it is fetched, what it is kept under, and whether it is an artifact or rewritten.
fn plan(path: &str) -> Option<(String, String, &'static str)> {
    let route = routed(&Method::GET, path)?;
    let fetch = &route.source;
    let from = format!("{}://{}{}", fetch.scheme.as_str(), fetch.host, fetch.target);
    let how = match (&route.rewrite, &route.kind) {
        (Some(_), _) => "rewritten",
        (None, Kind::Artifact) => "artifact",
        (None, _) => "as it is",
    };
    Some((from, route.key.to_string(), how))
}

#[test]
fn each_path_has_its_registry_and_what_is_not_named_has_none() {
    let us = "http://cache.example";
    for (path, from, key, how) in [
        ("/pypi/simple/", "https://pypi.org/simple/", us, "rewritten"),
        ("/pypi/simple/six/", "https://pypi.org/simple/six/", us, "rewritten"),
        ("/npm/lodash", "https://registry.npmjs.org/lodash", us, "rewritten"),
        ("/npm/@types%2fnode", "https://registry.npmjs.org/@types%2fnode", us, "rewritten"),
        ("/npm/lodash/4.17.21", "https://registry.npmjs.org/lodash/4.17.21", us, "rewritten"),
        ("/npm/x/-/x-1.0.0.tgz", "https://registry.npmjs.org/x/-/x-1.0.0.tgz", "", "artifact"),
        ("/npm/-/ping", "https://registry.npmjs.org/-/ping", "", "as it is"),
        ("/crates/config.json", "https://index.crates.io/config.json", us, "rewritten"),
        ("/crates/se/rd/serde", "https://index.crates.io/se/rd/serde", "", "as it is"),
        (
            "/files/static.crates.io/crates/a/a-1.0.0.crate",
            "https://static.crates.io/crates/a/a-1.0.0.crate",
            "",
            "artifact",
        ),
        (
            "/files/proxy.golang.org/x/@v/v1.0.0.zip",
            "https://proxy.golang.org/x/@v/v1.0.0.zip",
            "",
            "artifact",
        ),
        (
            "/deb/deb.debian.org/debian/pool/main/a/a/a_1_all.deb",
            "http://deb.debian.org/debian/pool/main/a/a/a_1_all.deb",
            "",
            "artifact",
        ),
    ] {
        let (fetched, kept, done) = plan(path).expect(path);
        assert_eq!((fetched.as_str(), done), (from, how), "{path}");
        let wanted = if key.is_empty() { from.to_owned() } else { format!("{key}{path}") };
        assert_eq!(kept, wanted, "{path}");
    }
    for path in [
        "/pypi/six/json",
        "/pypi/simple/six",
        "/pypi/simple/six/x.whl",
        "/pypi",
        "/files/evil.example/x",
        "/files/deb.debian.org/x",
        "/files/proxy.golang.org:81/x",
        "/files/proxy.golang.org",
        "/files//x",
        "/deb/proxy.golang.org/x",
        "/other/x",
        "/",
    ] {
        assert_eq!(plan(path), None, "{path}");
    }
}

#[test]
fn who_is_not_given_another_site_has_no_path() {
    let nothing =
        ByPath::new(OwnNames::default(), Registries::default(), Arc::clone(&by_path().http));
    for path in ["/pypi/simple/", "/npm/x", "/crates/config.json", "/files/x/y", "/deb/x/y"] {
        let asked = RequestTarget {
            method: &Method::GET,
            scheme: Scheme::Http,
            host: "cache.example",
            path,
            query: None,
            headers: &HeaderMap::new(),
            partition: Partition::Shared,
        };
        assert!(nothing.route(&asked).is_none(), "{path}");
    }
}

#[test]
fn nothing_is_published_through_a_mirror_and_an_audit_is_asked_for() {
    for (method, path, is) in [
        (Method::HEAD, "/npm/x", true),
        (Method::PUT, "/npm/x", false),
        (Method::POST, "/npm/x", false),
        (Method::DELETE, "/npm/x/-/x-1.0.0.tgz/-rev/1", false),
        (Method::POST, "/npm/-/npm/v1/security/advisories/bulk", true),
        (Method::POST, "/npm/-/user/token", false),
        (Method::POST, "/pypi/simple/", false),
    ] {
        assert_eq!(routed(&method, path).is_some(), is, "{method} {path}");
    }
}

#[test]
fn only_our_own_names_have_such_paths() {
    let by_path = by_path();
    for (scheme, host, path, is) in [
        (Scheme::Http, "127.0.0.1:3128", "/pypi/simple/", true),
        (Scheme::Http, "10.1.2.3:3128", "/files/x", true),
        (Scheme::Http, "[::1]:3128", "/npm/x", true),
        (Scheme::Http, "localhost:3128", "/deb/x", true),
        (Scheme::Https, "127.0.0.1", "/crates/x", true),
        (Scheme::Https, "cache.example", "/npm/x", true),
        (Scheme::Http, "127.0.0.1:3129", "/npm/x", false),
        (Scheme::Http, "127.0.0.1", "/npm/x", false),
        (Scheme::Http, "github.com", "/npm/cli", false),
        (Scheme::Http, "github.com:3128", "/npm/cli", false),
        (Scheme::Https, "localhost", "/npm/x", false),
        (Scheme::Http, "127.0.0.1:3128", "/npmx/x", false),
        (Scheme::Http, "127.0.0.1:3128", "/", false),
    ] {
        assert_eq!(by_path.claims(scheme, host, path), is, "{host}{path}");
    }
}

fn rewritten(path: &str, kind: &'static str, body: &str) -> Result<String, String> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert("digest", HeaderValue::from_static("x"));
    headers.insert(header::ETAG, HeaderValue::from_static("\"1\""));
    let rewrite = routed(&Method::GET, path).unwrap().rewrite.unwrap();
    let body = rewrite.rewrite(&mut headers, Bytes::from(body.to_owned()))?;
    assert!(!headers.contains_key("digest") && headers.contains_key(header::ETAG));
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn pages_of_pip_lead_back_here_and_keep_their_digests() {
    const HTML: &str = "text/html; charset=utf-8";
    const JSON: &str = "application/vnd.pypi.simple.v1+json";
    let files = "http://cache.example/files/files.pythonhosted.org";
    for (link, wanted) in [
        (
            "https://files.pythonhosted.org/packages/a/x.whl#sha256=0f",
            format!("{files}/packages/a/x.whl#sha256=0f"),
        ),
        ("//files.pythonhosted.org/x.whl", format!("{files}/x.whl")),
        (
            "../../packages/x.whl#sha256=0f",
            "http://cache.example/files/pypi.org/packages/x.whl#sha256=0f".to_owned(),
        ),
        ("/simple/other/", "http://cache.example/pypi/simple/other/".to_owned()),
        ("https://evil.example/x.whl", "https://evil.example/x.whl".to_owned()),
        ("mailto:x@example.com", "mailto:x@example.com".to_owned()),
    ] {
        let page =
            |link: &str| format!("<a href=\"{link}\" data-dist-info-metadata=\"sha256=1\">x</a>");
        assert_eq!(rewritten("/pypi/simple/x/", HTML, &page(link)).unwrap(), page(&wanted));
        let page = |link: &str| {
            format!("{{\"files\":[{{\"url\":\"{link}\",\"hashes\":{{\"sha256\":\"0f\"}}}}]}}")
        };
        assert_eq!(rewritten("/pypi/simple/x/", JSON, &page(link)).unwrap(), page(&wanted));
    }
    let based = "<base href=\"https://files.pythonhosted.org/a/\"><a href=\"b.whl\">";
    let wanted =
        format!("<base href=\"https://files.pythonhosted.org/a/\"><a href=\"{files}/a/b.whl\">");
    assert_eq!(rewritten("/pypi/simple/x/", HTML, based).unwrap(), wanted);
}

#[test]
fn tarballs_and_crates_are_fetched_here() {
    let npm =
        |url: &str| format!("{{\"dist\":{{\"integrity\":\"sha512-x\",\"tarball\":\"{url}\"}}}}");
    for (url, wanted) in [
        ("https://registry.npmjs.org/x/-/x-1.tgz", "http://cache.example/npm/x/-/x-1.tgz"),
        ("https://evil.example/x/-/x-1.tgz", "https://evil.example/x/-/x-1.tgz"),
        (
            "http://registry.npmjs.org/x/-/x-1.tgz",
            "http://cache.example/files/registry.npmjs.org/x/-/x-1.tgz",
        ),
    ] {
        assert_eq!(rewritten("/npm/x", "application/json", &npm(url)).unwrap(), npm(wanted));
    }
    for (dl, wanted) in [
        ("https://static.crates.io/crates", "http://cache.example/files/static.crates.io/crates"),
        (
            "https://static.crates.io/{prefix}/{crate}-{version}.crate",
            "http://cache.example/files/static.crates.io/{prefix}/{crate}-{version}.crate",
        ),
        ("https://evil.example/crates", "https://evil.example/crates"),
    ] {
        let config = |dl: &str| format!("{{\"dl\":\"{dl}\",\"api\":\"https://crates.io\"}}");
        assert_eq!(
            rewritten("/crates/config.json", "text/plain", &config(dl)).unwrap(),
            config(wanted)
        );
    }
}

#[test]
fn an_index_in_a_coding_is_refused() {
    let rewrite = routed(&Method::GET, "/npm/x").unwrap().rewrite.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    assert!(rewrite.rewrite(&mut headers, Bytes::new()).is_err());
}
