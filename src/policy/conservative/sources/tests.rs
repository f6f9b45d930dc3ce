//! What BuildKit would make of the policy, by its own way of reading it.

use regex::Regex;
use serde_json::json;

use super::*;

/// sourcepolicy/engine.go and matcher.go: of the rules that match, the last one counts; of those with one pattern, the
/// conditions of the first.
fn is_denied(policy: &Value, identifier: &str, attributes: &[(&str, &str)]) -> bool {
    let mut denied = false;
    for rule in policy.get("rules").unwrap().items() {
        let selector = rule.get("selector").unwrap();
        let holds = |one: &Value| {
            let said = |key| one.get(key).and_then(Value::as_str).unwrap();
            assert_eq!(said("condition"), "MATCHES");
            let found = attributes.iter().find(|(key, _)| *key == said("key"));
            Regex::new(said("value")).unwrap().is_match(found.map_or("", |(_, value)| value))
        };
        let pattern = selector.get("identifier").and_then(Value::as_str).unwrap();
        let is_same = |other: &&Value| {
            let other = other.get("selector").unwrap();
            ["identifier", "match_type"].iter().all(|key| other.get(key) == selector.get(key))
        };
        let first = policy.get("rules").unwrap().items().iter().find(is_same).unwrap();
        let first = first.get("selector").unwrap();
        let constraints = first.get("constraints").map(Value::items).unwrap_or_default();
        if constraints.iter().all(holds) && Regex::new(pattern).unwrap().is_match(identifier) {
            denied = rule.get("action").and_then(Value::as_str) == Some("DENY");
        }
    }
    denied
}

fn urls(all: &[&str]) -> Fetches {
    let all: Vec<HttpUrl> = all.iter().map(|url| HttpUrl::parse(url).unwrap()).collect();
    Fetches::new(Some(&all))
}

fn registries(listed: Option<&[&str]>) -> Registries {
    Registries::new(listed.map(|listed| listed.iter().map(|&host| host.to_owned()).collect()))
}

#[test]
fn what_is_not_allowed_in_so_many_words_is_denied() {
    let fetch =
        urls(&["https://github.com/", "https://example.com/files/", "http://intra.example:8080/"]);
    let policy = policy(None, &registries(None), &fetch).unwrap();
    for good in [
        "docker-image://docker.io/library/busybox:latest",
        "docker-image://ghcr.io/a/b@sha256:0",
        "docker-image://registry.example.com:5000/x:1",
        "local://context",
        "oci-layout://x@sha256:0",
        "http://buildkit-session/yxv4o2k1",
        "https://github.com/a/b/archive/x.tar.gz",
        "https://GitHub.com/a",
        "https://example.com/files/x?y=../z",
        "http://intra.example:8080/x",
        "git://github.com/a/b.git#main",
    ] {
        assert!(!is_denied(&policy, good, &[]), "{good}");
    }
    for bad in [
        "",
        "docker-image://127.0.0.1:5000/x",
        "docker-image://10.0.0.1/x",
        "docker-image://0x7f.1/x",
        "docker-image://localhost/x",
        "docker-image://localhost:5000/x",
        "docker-image://db:5000/x",
        "docker-image://printer.local/x",
        "docker-image://metadata.google.internal:80/x",
        "docker-image://[::1]:5000/x",
        "docker-image://a..b/x",
        "docker-image://docker.io",
        "docker-image://docker.io@evil/x",
        "docker-image+blob://docker.io/x",
        "http://127.0.0.1/",
        "http://Buildkit-Session/x",
        "http://buildkit-session:80/x",
        "http://buildkit-session.example/x",
        "http://github.com/",
        "https://github.com@evil.example/",
        "https://github.com.evil.example/",
        "https://github.com:444/",
        "https://example.com/",
        "https://example.com/files",
        "https://example.com/files/../secret",
        "https://example.com/files/%2e%2e/secret",
        "http://intra.example/x",
        "HTTPS://github.com/",
        "git://evil.example/x.git",
        "file:///etc/passwd",
        "ext::sh -c id",
        "x docker-image://docker.io/library/busybox",
        "s3://bucket",
    ] {
        assert!(is_denied(&policy, bad, &[]), "{bad}");
    }
}

#[test]
fn a_repository_is_where_its_attribute_says() {
    let fetch = urls(&["https://github.com/", "https://example.com/team/"]);
    let policy = policy(None, &registries(None), &fetch).unwrap();
    let git = "git://github.com/a/b.git";
    for good in
        ["https://github.com/a/b.git", "git@github.com:a/b.git", "ssh://git@github.com/a/b.git"]
    {
        assert!(!is_denied(&policy, git, &[("git.fullurl", good)]), "{good}");
    }
    for bad in [
        "http://127.0.0.1/b.git",
        "http://github.com/a",
        "file:///x",
        "https://github.com@evil.example/",
        "git@evil.example:github.com/",
        "ext::sh https://github.com/",
    ] {
        assert!(is_denied(&policy, git, &[("git.fullurl", bad)]), "{bad}");
    }
    assert!(is_denied(&policy, git, &[("git.bundle", "docker-image+blob://x")]));
    let elsewhere = "git://example.com/team/b.git";
    assert!(!is_denied(&policy, elsewhere, &[("git.fullurl", "git@example.com:team/b.git")]));
    assert!(is_denied(&policy, elsewhere, &[("git.fullurl", "https://example.com/team/../b.git")]));
}

#[test]
fn a_prefix_without_a_slash_is_no_beginning_of_another_name() {
    let policy = policy(None, &registries(None), &urls(&["https://example.com/team"])).unwrap();
    let git = "git://example.com/team/b.git";
    for good in ["https://example.com/team/b.git", "git@example.com:team/b.git"] {
        assert!(!is_denied(&policy, git, &[("git.fullurl", good)]), "{good}");
    }
    for bad in ["https://example.com/teammate/b.git", "git@example.com:teammate/b.git"] {
        assert!(is_denied(&policy, git, &[("git.fullurl", bad)]), "{bad}");
    }
}

#[test]
fn a_list_of_registries_is_all_there_is() {
    let listed = registries(Some(&["docker.io", "*.example.com", "127.0.0.1:5000"]));
    let policy = policy(None, &listed, &urls(&[])).unwrap();
    for good in ["docker.io/library/x", "a.example.com/x", "a.example.com:81/x", "127.0.0.1:5000/x"]
    {
        assert!(!is_denied(&policy, &format!("docker-image://{good}"), &[]), "{good}");
    }
    for bad in [
        "ghcr.io/x",
        "example.com/x",
        "aexample.com/x",
        "127.0.0.1:5001/x",
        "127.0.0.1/x",
        "evil.example/a.example.com/x",
    ] {
        assert!(is_denied(&policy, &format!("docker-image://{bad}"), &[]), "{bad}");
    }
    assert!(is_denied(&policy, "https://github.com/", &[]), "nothing is fetched");
}

#[test]
fn what_the_client_denies_stays_denied_and_what_it_allows_opens_nothing() {
    let rule = |action: &str, pattern: &str| json!({"action": action, "selector": {"identifier": pattern, "match_type": "REGEX", "constraints": []}});
    let client = |rules: serde_json::Value| {
        let kind = crate::api::shape::Kind::Any;
        let json = json!({"version": 1, "rules": rules}).to_string();
        crate::api::doc::parse(json.as_bytes(), &kind).unwrap().root
    };
    let fetch = urls(&["https://github.com/"]);
    let with = |rules| policy(Some(&client(rules)), &registries(None), &fetch);
    let denies = with(json!([rule("DENY", "busybox")])).unwrap();
    assert!(is_denied(&denies, "docker-image://docker.io/library/busybox:1", &[]));
    assert!(!is_denied(&denies, "docker-image://docker.io/library/alpine:1", &[]));
    let allows = with(json!([rule("ALLOW", "http://127.0.0.1/")])).unwrap();
    assert!(is_denied(&allows, "http://127.0.0.1/", &[]));
    assert_eq!(
        with(json!([rule("DENY", ""), rule("ALLOW", "alpine")])),
        None,
        "its order would be lost"
    );
}

#[test]
fn a_rule_is_asked_by_its_own_conditions() {
    let policy = policy(None, &registries(None), &urls(&["https://github.com/"])).unwrap();
    let named = "git://github.com/a/b.git";
    assert!(!is_denied(&policy, named, &[]));
    assert!(!is_denied(&policy, named, &[("git.fullurl", "https://github.com/a/b.git")]));
    assert!(is_denied(&policy, named, &[("git.fullurl", "http://127.0.0.1/a/b.git")]));
    assert!(is_denied(&policy, named, &[("git.bundle", "x")]));
}

#[test]
fn a_clients_rule_does_not_change_the_conditions_of_ours() {
    let ours = policy(None, &registries(None), &urls(&[])).unwrap();
    let mut copied = ours.get("rules").unwrap().items().to_vec();
    for one in &mut copied {
        let never =
            object([("key", text("x")), ("value", text("y")), ("condition", text("MATCHES"))]);
        *one.at_mut(&["action"]).unwrap() = text("DENY");
        *one.at_mut(&["selector", "constraints"]).unwrap() = Value::List(vec![never]);
    }
    let client = object([("rules", Value::List(copied))]);
    let policy = policy(Some(&client), &registries(None), &urls(&[])).unwrap();
    assert!(is_denied(&policy, "docker-image://127.0.0.1:5000/x", &[]));
    assert!(is_denied(&policy, "http://127.0.0.1/", &[]));
}
