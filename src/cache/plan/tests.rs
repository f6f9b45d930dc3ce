use std::path::Path;

use super::*;
use crate::cache::key::Partition;
use crate::cache::route::{Asked, Route, Source};
use crate::config;

fn plan(keys: &str, folder: &Path) -> Result<Plan, String> {
    let text = format!("[cache.x]\nlisten = [\"http://127.0.0.1:1\"]\n{keys}");
    let config = config::parse(&text, Path::new("dockgate.toml"), folder, &|_| None);
    let config = config.map_err(|invalid| invalid.to_string())?;
    Plan::of(&config.caches[0], "gate").map_err(|invalid| invalid.to_string())
}

fn route(plan: &Plan, host: &str) -> Route {
    let (method, headers) = (http::Method::GET, http::HeaderMap::new());
    let (scheme, partition) = (Scheme::Http, Partition::Own(1));
    let (path, query, headers) = ("/", None, &headers);
    let asked = Asked { method: &method, scheme, host, path, query, headers, partition };
    plan.mirrors[0].route(&asked).unwrap()
}

fn fetched(plan: &Plan, host: &str) -> String {
    match route(plan, host).source {
        Source::Fetch(fetch) => format!("{}://{}", fetch.scheme.as_str(), fetch.host),
        _ => panic!("no fetch"),
    }
}

#[test]
fn by_default_any_host_is_asked_as_itself() {
    let plan = plan("", Path::new("")).unwrap();
    assert!(plan.settings.domains.cover("example.com:81", Scheme::Http));
    assert_eq!(fetched(&plan, "example.com"), "http://example.com");
}

#[test]
fn hosts_with_origins_are_served_and_others_only_by_domains() {
    let keys = r#"
        origins = { "Packages.example:80" = "https://a.example:443/", "localhost:8080" = "http://127.0.0.1:9000" }
        allow_private = ["127.0.0.0/8"]
    "#;
    let only = plan(keys, Path::new("")).unwrap();
    assert_eq!(fetched(&only, "packages.example"), "https://a.example");
    assert_eq!(fetched(&only, "localhost:8080"), "http://127.0.0.1:9000");
    for (host, is) in
        [("packages.example", true), ("localhost:8080", true), ("other.example", false)]
    {
        assert_eq!(only.settings.serves(host, Scheme::Http), is, "{host}");
    }
    let more = plan(&format!("domains = [\"*.example\"]\n{keys}"), Path::new("")).unwrap();
    assert!(more.settings.serves("other.example", Scheme::Http));
}

#[test]
fn every_key_arrives_where_it_works() {
    let keys = r#"
        authorization = "rfc9111"
        targeted = ["x-cache-control"]
        offline = true
        forward = true
        memory = "2MB"
        tenants = { "10.0.0.0/8" = "a" }
        next_hop = "http://proxy:3128"
        allow_private = ["10.0.0.0/8"]
        connections_per_host = 7
        dir = "d"
        size = "3MB"
        free = "4MB"
        fsync = false
    "#;
    let plan = plan(keys, Path::new("/f")).unwrap();
    let rules = route(&plan, "x").rules;
    assert!(rules.share_authorized);
    assert_eq!(*rules.targeted, ["x-cache-control"]);
    assert!(plan.settings.offline && plan.settings.forward);
    assert_eq!((plan.settings.memory, plan.settings.tenants.len()), (2 << 20, 1));
    assert_eq!((plan.settings.id.as_str(), plan.upstream.id.as_str()), ("gate", "gate"));
    assert_eq!(plan.upstream.next_hop.unwrap().host(), Some("proxy"));
    assert_eq!((plan.upstream.per_host, plan.upstream.allow_private.len()), (7, 1));
    assert_eq!(plan.store.dir, Path::new("/f/d"));
    assert_eq!((plan.store.size, plan.store.free, plan.store.fsync), (3 << 20, 4 << 20, false));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("rules.toml"), "[[rule]]\nname = \"a\"\npaths = [\"a\"]\n")
        .unwrap();
    std::fs::write(dir.path().join("empty.pem"), "").unwrap();
    for (keys, wanted) in [
        ("domains = [\"a b\"]", "dockgate.toml:3:12: `a b` is not a host"),
        ("domains = [\"https://a\"]", "dockgate.toml:3:12: `https://a` is not a host"),
        ("origins = { \"*.a\" = \"http://b\" }", "dockgate.toml:3:13: `*.a` is not a host"),
        ("origins = { \"a\" = \"b\" }", "dockgate.toml:3:19: `b` is not an origin"),
        ("origins = { \"a\" = \"http://b/c\" }", "`http://b/c` is not an origin"),
        ("origins = { \"a\" = \"http://u@b\" }", "`http://u@b` is not an origin"),
        (
            "origins = { \"a\" = \"http://10.0.0.1:80\" }",
            "dockgate.toml:3:19: `http://10.0.0.1:80` is not a public address\n  hint: add `allow_private = [\"10.0.0.1\"]`",
        ),
        ("origins = { \"a\" = \"http://localhost:81\" }", "allow_private = [\"127.0.0.1\"]"),
        ("origins = { \"a\" = \"http://[fd00::1]\" }", "is not a public address"),
        ("rules = \"rules.toml\"", "rules.toml:3:10: `a`: does not begin with `/`"),
        ("rules = \"none.toml\"", "dockgate.toml:3:9: `"),
        ("upstream_ca = \"empty.pem\"", "holds no certificate"),
        ("next_hop = \"http://a b:1\"", "this is not an address of a proxy"),
    ] {
        let error = plan(keys, dir.path()).expect_err(keys);
        assert!(error.contains(wanted), "{keys}\n{error}");
    }
    let two = "domains = [\"a b\"]\norigins = { \"a\" = \"b\" }";
    assert_eq!(
        plan(two, dir.path()).unwrap_err().matches("dockgate.toml:").count(),
        2,
        "all at once"
    );
}
