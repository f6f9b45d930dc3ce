//! What BuildKit would make of the rules, by its own way of reading them.

use regex::Regex;

use super::super::tests::{Case, own};
use super::*;

const PREFIX: &str = "127.0.0.1:9/dg";

/// sourcepolicy/engine.go, matcher.go and formatter.go, conditions of one pattern kept with the first of it.
fn evaluate(policy: &Value, identifier: &str) -> Result<String, String> {
    let mut identifier = identifier.to_owned();
    let rules = policy.get("rules").unwrap().items();
    let said = |value: &Value, key| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let conditions = |pattern: &str| {
        let of = |rule: &&Value| said(rule.get("selector").unwrap(), "identifier").unwrap();
        let first = rules.iter().find(|rule| of(rule) == pattern).unwrap();
        first.get("selector").unwrap().get("constraints").map_or(0, |all| all.items().len())
    };
    'again: for _ in 0..20 {
        let mut denied = false;
        for rule in rules {
            let selector = rule.get("selector").unwrap();
            let pattern = said(selector, "identifier").unwrap();
            let is_pattern = said(selector, "match_type").as_deref() == Some("REGEX");
            // None of the conditions that tests have holds.
            let holds = conditions(&pattern) == 0;
            let regex = Regex::new(&pattern);
            let matches = pattern == identifier
                || is_pattern && regex.as_ref().unwrap().is_match(&identifier);
            if !holds || !matches {
                continue;
            }
            match said(rule, "action").as_deref() {
                Some("DENY") => denied = true,
                Some("CONVERT") => {
                    let to = said(rule.get("updates").unwrap(), "identifier").unwrap();
                    let to = match is_pattern {
                        true => regex.unwrap().replace_all(&identifier, &*to).into_owned(),
                        false => to,
                    };
                    if to != identifier {
                        identifier = to;
                        continue 'again;
                    }
                }
                _ => denied = false,
            }
        }
        return if denied { Err(format!("{identifier} denied")) } else { Ok(identifier) };
    }
    Err("too many".to_owned())
}

fn rules(json: serde_json::Value) -> Value {
    fn value(json: serde_json::Value) -> Value {
        match json {
            serde_json::Value::String(text) => Value::String(text),
            serde_json::Value::Array(all) => Value::List(all.into_iter().map(value).collect()),
            serde_json::Value::Object(all) => {
                Value::Object(all.into_iter().map(|(k, v)| (k.into(), value(v))).collect())
            }
            _ => Value::Null,
        }
    }
    value(serde_json::json!({ "rules": json }))
}

fn read(case: &Case, given: Option<&Value>, name: &str) -> Result<String, String> {
    let policy = case.request(|request| policy(given, request)).unwrap();
    let found = evaluate(&policy, &format!("{SCHEME}{name}"))?;
    Ok(found.strip_prefix(SCHEME).unwrap_or(&found).replace(&own(case), "OWN"))
}

#[test]
fn whatever_image_a_build_names_is_the_namespaces_own_or_shared() {
    let case = Case::new(&["docker.io/library/busybox", "docker.io/shared/*", "ghcr.io/all/**"]);
    for (name, wanted) in [
        ("docker.io/library/alpine:3", "OWN/docker.io/library/alpine:3"),
        ("docker.io/library/alpine@sha256:0", "OWN/docker.io/library/alpine@sha256:0"),
        ("ghcr.io/a/b:x", "OWN/ghcr.io/a/b:x"),
        ("localhost:5000/a/b:1", "OWN/localhost__5000/a/b:1"),
        ("127.0.0.1:9/other/x:1", "OWN/127.0.0.1__9/other/x:1"),
        ("127.0.0.1:90/x:1", "OWN/127.0.0.1__90/x:1"),
        (
            "127.0.0.1:9/dgaaaaaaaaaa/docker.io/library/x",
            "OWN/127.0.0.1__9/dgaaaaaaaaaa/docker.io/library/x",
        ),
        ("127.0.0.1:9", "OWN/127.0.0.1:9"),
        ("", "OWN/"),
        ("busybox", "OWN/busybox"),
        // Shared, and what only begins so.
        ("docker.io/library/busybox:latest", "docker.io/library/busybox:latest"),
        ("docker.io/library/busybox@sha256:0", "docker.io/library/busybox@sha256:0"),
        ("docker.io/library/busybox-own:1", "OWN/docker.io/library/busybox-own:1"),
        ("docker.io/library/busybox/x:1", "OWN/docker.io/library/busybox/x:1"),
        ("docker.io/shared/a:1", "docker.io/shared/a:1"),
        ("docker.io/shared/a/b:1", "OWN/docker.io/shared/a/b:1"),
        ("ghcr.io/all/a/b:1", "ghcr.io/all/a/b:1"),
        ("ghcr.io/allx/a", "OWN/ghcr.io/allx/a"),
        ("docker.io/lib", "OWN/docker.io/lib"),
    ] {
        assert_eq!(read(&case, None, name).as_deref(), Ok(wanted), "{name}");
        // And once more, as a frontend writes what it was told.
        let again = read(&case, None, &wanted.replace("OWN", &own(&case)));
        assert_eq!(again.as_deref(), Ok(wanted), "{name}");
    }
    let policy = case.request(|request| policy(None, request)).unwrap();
    assert!(evaluate(&policy, "docker-image+blob://docker.io/x").is_err());
    assert!(evaluate(&policy, "oci-layout://x@sha256:0").is_err());
    for other in ["local://context", "https://x/y", "git://x/y.git"] {
        assert_eq!(evaluate(&policy, other).as_deref(), Ok(other));
    }
    assert!(own(&case).starts_with(PREFIX));
}

#[test]
fn what_others_say_of_images_holds_for_what_they_become() {
    let case = Case::new(&["docker.io/library/busybox"]);
    let rule = |action: &str, kind: &str, identifier: &str| serde_json::json!({ "action": action, "selector": { "identifier": identifier, "match_type": kind } });
    // As `conservative` says it.
    let given = rules(serde_json::json!([
        rule("DENY", "REGEX", ""),
        rule("ALLOW", "REGEX", "(?P<r2>)^docker-image://(?i:docker\\.io)(:[0-9]+)?/"),
        rule("ALLOW", "REGEX", "^docker-image://(?i:127\\.0\\.0\\.1):5000/"),
        rule("DENY", "EXACT", "docker-image://docker.io/library/evil:latest"),
    ]));
    let read = |name| read(&case, Some(&given), name);
    assert!(read("docker.io/library/alpine:3").is_ok());
    assert!(read("docker.io/library/busybox:1").is_ok());
    assert!(read("127.0.0.1:5000/x:1").is_ok());
    for denied in
        ["ghcr.io/x:1", "127.0.0.1:5001/x:1", "127.0.0.1:9/x", "docker.io/library/evil:latest"]
    {
        assert!(read(denied).is_err(), "{denied}");
    }
}

/// BuildKit asks by the conditions of the first rule that has a pattern.
#[test]
fn a_clients_rule_with_a_pattern_of_ours_does_not_unmake_ours() {
    let case = Case::new(&[]);
    let policy = case.request(|request| policy(None, request)).unwrap();
    let mut copied = policy.get("rules").unwrap().items().to_vec();
    for one in &mut copied {
        let never = rules(serde_json::json!([{ "key": "x", "value": "y", "condition": "EQUAL" }]));
        let never = never.get("rules").unwrap().clone();
        if let Some(place) = one.at_mut(&["selector", "constraints"]) {
            *place = never;
        }
    }
    let given = Value::Object(vec![("rules".into(), Value::List(copied))]);
    assert_eq!(read(&case, Some(&given), "ghcr.io/x:1").as_deref(), Ok("OWN/ghcr.io/x:1"));
}
