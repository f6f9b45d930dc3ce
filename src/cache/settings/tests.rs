//! What a configuration comes to, and what is said about what is wrong.

use std::path::Path;

use super::*;
use crate::cache::key::Partition;
use crate::cache::route::{Mirror, RequestTarget};
use crate::config;

fn settings(keys: &str, folder: &Path) -> Result<Understood, String> {
    let text = format!("[cache.x]\nlisten = [\"http://127.0.0.1:1\"]\n{keys}");
    let config = config::parse(&text, Path::new("dockgate.toml"), folder, &|_| None);
    let config = config.map_err(|invalid| invalid.to_string())?;
    Understood::of(&config.caches[0]).map_err(|invalid| invalid.to_string())
}

fn fetched(settings: &Understood, host: &str) -> String {
    let (method, headers) = (http::Method::GET, http::HeaderMap::new());
    let (scheme, partition) = (Scheme::Http, Partition::Own(1));
    let asked = RequestTarget {
        method: &method,
        scheme,
        host,
        path: "/",
        query: None,
        headers: &headers,
        partition,
    };
    let fetch = settings.http.route(&asked).unwrap().source;
    format!("{}://{}", fetch.scheme.as_str(), fetch.host)
}

#[test]
fn by_default_any_host_is_asked_as_itself() {
    let settings = settings("", Path::new("")).unwrap();
    assert!(settings.domains.cover("example.com:81", Scheme::Http));
    assert_eq!(fetched(&settings, "example.com"), "http://example.com");
}

#[test]
fn hosts_with_origins_are_served_and_others_only_by_domains() {
    let keys = r#"
        origins = { "Packages.example:80" = "https://a.example:443/", "localhost:8080" = "http://127.0.0.1:9000" }
        allow_private = ["127.0.0.0/8"]
        forward = true
    "#;
    let only = settings(keys, Path::new("")).unwrap();
    assert_eq!(fetched(&only, "packages.example"), "https://a.example");
    assert_eq!(fetched(&only, "localhost:8080"), "http://127.0.0.1:9000");
    assert!(only.domains.cover("packages.example", Scheme::Http));
    assert!(!only.domains.cover("other.example", Scheme::Http));
    let more = settings(&format!("domains = [\"*.example\"]\n{keys}"), Path::new("")).unwrap();
    assert!(more.domains.cover("other.example", Scheme::Http));
}

#[test]
fn a_mirror_has_the_addresses_of_the_cache_and_the_public_sites() {
    let settings = settings("mirror = {}", Path::new("")).unwrap();
    let by_path = settings.by_path.unwrap();
    assert!(by_path.claims(Scheme::Http, "127.0.0.1:1", "/pypi/simple/"));
    assert!(!by_path.claims(Scheme::Http, "127.0.0.1:2", "/pypi/simple/"));
    for host in ["pypi.org", "files.pythonhosted.org", "registry.npmjs.org", "static.crates.io"] {
        assert!(by_path.reaches(Scheme::Https, host), "{host}");
        assert!(!settings.domains.cover(host, Scheme::Https), "{host}");
    }
    assert!(by_path.reaches(Scheme::Http, "deb.debian.org"));
}

#[test]
fn a_port_of_an_origin_is_one_that_is_listened_on() {
    for good in [
        "origins = { \"a:1\" = \"http://b\" }",
        "origins = { \"a\" = \"http://b\" }",
        "origins = { \"[2001:db8::1]\" = \"http://b\" }",
        "forward = true\norigins = { \"a:8080\" = \"http://b\" }",
    ] {
        assert!(settings(good, Path::new("")).is_ok(), "{good}");
    }
}

#[test]
fn authorization_is_shared_only_when_it_is_said() {
    let is_shared = |keys| {
        let settings = settings(keys, Path::new("")).unwrap();
        let (method, headers) = (http::Method::GET, http::HeaderMap::new());
        let (scheme, partition) = (Scheme::Http, Partition::Own(1));
        let asked = RequestTarget {
            method: &method,
            scheme,
            host: "x",
            path: "/",
            query: None,
            headers: &headers,
            partition,
        };
        settings.http.route(&asked).unwrap().rules.share_authorized
    };
    assert!(!is_shared(""));
    assert!(is_shared("authorization = \"rfc9111\""));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("rules.toml"), "[[rule]]\nname = \"a\"\npaths = [\"a\"]\n")
        .unwrap();
    for (name, text) in [
        ("empty.pem", ""),
        ("word", "secret"),
        ("lines", "secret\nsecret"),
        ("spaced", "secret secret"),
    ] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    for (keys, wanted) in [
        ("domains = [\"a b\"]", "dockgate.toml:3:12: `a b` is not a host"),
        ("domains = [\"https://a\"]", "dockgate.toml:3:12: `https://a` is not a host"),
        ("origins = { \"*.a\" = \"http://b\" }", "dockgate.toml:3:13: `*.a` is not a host"),
        (
            "origins = { \"a:8080\" = \"http://b\" }",
            "dockgate.toml:3:13: nobody can ask for `a:8080`: nothing in `listen` has its port",
        ),
        ("origins = { \"a\" = \"b\" }", "dockgate.toml:3:19: `b` is not an origin"),
        ("origins = { \"a\" = \"http://b/c\" }", "`http://b/c` is not an origin"),
        ("origins = { \"a\" = \"http://u@b\" }", "`http://u@b` is not an origin"),
        (
            "origins = { \"a\" = \"http://10.0.0.1:80\" }",
            "dockgate.toml:3:19: `http://10.0.0.1:80` is not a public address\n  hint: add `allow_private = [\"10.0.0.1\"]` beside `listen`",
        ),
        ("origins = { \"a\" = \"http://localhost:81\" }", "allow_private = [\"127.0.0.1\"]"),
        ("origins = { \"a\" = \"http://[fd00::1]\" }", "is not a public address"),
        ("rules = \"rules.toml\"", "rules.toml:3:10: `a`: does not begin with `/`"),
        ("rules = \"none.toml\"", "dockgate.toml:3:9: `"),
        ("upstream_ca = \"empty.pem\"", "holds no certificate"),
        (
            "ecosystems = [\"deb\", \"dep\"]",
            "dockgate.toml:3:22: there is no ecosystem `dep` in the rules\n  hint: there are `deb`, `rpm`",
        ),
        ("mirror = { hosts = [\"*.a\"] }", "dockgate.toml:3:21: `*.a` is not a host"),
        ("mirror = { npm = [\"a\"] }", "dockgate.toml:3:19: `a` is not an origin"),
        ("mirror = { npm = [\"https://a/../b\"] }", "`https://a/../b` has a path that cannot be"),
        ("mirror = { npm = [\"https://a/b?c\"] }", "`https://a/b?c` has a path that cannot be"),
        (
            "mirror = { files = [\"http://10.0.0.1\"] }",
            "add `allow_private = [\"10.0.0.1\"]` beside `listen`",
        ),
        (
            "credentials.\"https://a/b\" = { kind = \"basic\", username = \"u\", password_file = \"word\" }",
            "dockgate.toml:3:13: `https://a/b` is not an origin",
        ),
        (
            "credentials.\"https://a\" = { kind = \"basic\", username = \"u:v\", password_file = \"word\" }",
            "`username` has a character that cannot be in one",
        ),
        (
            "credentials.\"https://a\" = { kind = \"bearer\", token_file = \"empty.pem\" }",
            "empty.pem` holds no secret\n  hint: it is one line",
        ),
        (
            "credentials.\"https://a\" = { kind = \"bearer\", token_file = \"lines\" }",
            "lines` holds no secret",
        ),
        (
            "credentials.\"https://a\" = { kind = \"bearer\", token_file = \"spaced\" }",
            "spaced` holds no token",
        ),
        (
            "credentials.\"https://a\" = { kind = \"aws\", access_key = \"a/b\", secret_file = \"word\", region = \"r\" }",
            "this cannot stand in a signature",
        ),
        (
            "credentials.\"https://a\" = { kind = \"bearer\", realm = \"http://b\" }",
            "`http://b` would hear in clear what is for `https`\n  hint: use `https://host`",
        ),
        (
            "credentials = { \"https://a\" = { kind = \"bearer\" }, \"https://a:443\" = { kind = \"bearer\" } }",
            "`https://a:443` is the same origin as another one here",
        ),
        ("next_hop = \"http://a b:1\"", "this is not an address of a proxy"),
    ] {
        let error = settings(keys, dir.path()).expect_err(keys);
        assert!(error.contains(wanted), "{keys}\n{error}");
        assert!(!error.contains("secret secret") && !error.contains("secret\nsecret"), "{error}");
    }
    let two = "domains = [\"a b\"]\norigins = { \"a\" = \"b\" }";
    assert_eq!(
        settings(two, dir.path()).unwrap_err().matches("dockgate.toml:").count(),
        2,
        "all at once"
    );
}

#[test]
fn secrets_are_read_from_files_and_shown_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("word"), "s3cret word\r\n").unwrap();
    std::fs::write(dir.path().join("token"), "s3cret-token\n").unwrap();
    let keys = r#"
        [cache.x.credentials]
        "https://a" = { kind = "basic", username = "robot", password_file = "word" }
        "http://b:8080" = { kind = "bearer", token_file = "token" }
        "https://c" = { kind = "bearer", username = "robot", password_file = "word", realm = "https://auth.c" }
        "https://d" = { kind = "bearer" }
        "https://e" = { kind = "aws", access_key = "AKID", secret_file = "word", region = "eu-west-1" }
    "#;
    let settings = settings(keys, dir.path()).unwrap();
    assert_eq!(settings.credentials.len(), 5);
    let shown = format!("{:?}", settings.credentials);
    assert!(shown.contains("auth.c") && !shown.contains("s3cret"), "{shown}");
}
