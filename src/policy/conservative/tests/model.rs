//! The model of docs/policies/conservative.md: for each place that names something, what is judged is what is used.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::state::{container, decide, engine, network};
use super::*;
use crate::api::endpoint::{BodyKind, Resource};
use crate::api::shape::{Kind, Object};
use crate::api::table::TABLE;

/// What becomes of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Looked up and judged; its id is sent. Absent, it is a refusal, and so it is when another has taken its name.
    Pinned,
    /// The same, but its name is sent: it has no id, and what it is then is judged at every use; or the engine makes
    /// nothing of it but another name.
    Judged,
    /// It is what is to be made, or a new name: nothing is looked up by it in the engine.
    New,
    /// Who made it is looked up here, not in the engine.
    Remembered,
    /// It is not judged: anybody here may see it, or the text itself is judged, as a name of an image.
    Free,
    /// Refused, whatever it is.
    Refused,
    /// Not sent.
    Dropped,
}
use Use::{Dropped, Free, Judged, New, Pinned, Refused, Remembered};

/// Every place of the tables that names something, by operation. A place that is missing here fails the test.
fn model(operation: &str, place: &str, resource: Resource) -> Use {
    match (operation, place) {
        ("ContainerInspect" | "ContainerStats" | "ContainerWait", "path") => Free,
        ("VolumeInspect" | "NetworkInspect", "path") => Free,
        ("VolumeDelete", "path") => Judged,
        ("ContainerCreate" | "ContainerRename", "?name") => New,
        ("VolumeCreate" | "NetworkCreate", "Name") => New,
        ("ContainerCreate", "HostConfig.Binds" | "HostConfig.Mounts.*.Source") => Judged,
        ("ContainerCreate", "HostConfig.Cgroup") => Refused,
        ("NetworkCreate", "ConfigFrom.Network") => Refused,
        ("ContainerList", "?since" | "?before") => Dropped,
        ("ImageBuild", "?networkmode") => Pinned,
        ("ContainerCreate", "NetworkingConfig.EndpointsConfig.*.Links") => Judged,
        ("NetworkConnect", "EndpointConfig.Links") => Judged,
        ("ImageBuild", "?session" | "?outputs") => Refused,
        ("ContainerStart", "?checkpoint") => Refused,
        (_, _) => match resource {
            Resource::Container | Resource::Network => Pinned,
            Resource::Exec => Remembered,
            // Images are everybody's: a name means what the engine takes it for when the call gets there.
            Resource::Image | Resource::BuildId | Resource::Registry => Free,
            _ => Refused,
        },
    }
}

type Call = Box<dyn Fn(&str) -> (String, String)>;

/// A place that names something: `path`, `?name`, `header:name`, or that of a body.
struct Place {
    endpoint: Endpoint,
    place: String,
    resource: Resource,
    /// Method and target, and the body, with this text at the place.
    call: Call,
}

fn places() -> Vec<Place> {
    let mut all = Vec::new();
    for row in TABLE {
        let method = row.method.as_str();
        let path =
            |name: &str| row.path.replacen("{name:.*}", name, 1).replacen("{id:.*}", name, 1);
        let (endpoint, operation) = (row.endpoint, row.endpoint.id());
        let mut put =
            |place: String, resource, call| all.push(Place { endpoint, place, resource, call });
        if let Some(resource) = row.path_names.first() {
            let call = move |name: &str| {
                (format!("{method} {}", path(name)), required(operation).to_owned())
            };
            put("path".into(), *resource, Box::new(call));
        }
        for param in row.query {
            if let Some(resource) = param.names {
                let empty = if matches!(row.body, BodyKind::JsonList(_)) { "[]" } else { "{}" };
                let (name, is_json) = (param.name, param.json.is_some());
                let call = move |text: &str| {
                    let text = if is_json { format!("[\"{text}\"]") } else { text.to_owned() };
                    (format!("{method} {}?{name}={text}", path("known")), empty.to_owned())
                };
                put(format!("?{name}"), resource, Box::new(call));
            }
        }
        if let BodyKind::Json(object) = row.body {
            for (steps, kind, resource) in fields(object) {
                let place = steps.join(".").replace("[]", "*");
                let call = move |text: &str| {
                    (format!("{method} {}", path("known")), filled(&steps, kind, text).to_string())
                };
                put(place, resource, Box::new(call));
            }
        }
    }
    all
}

/// What an operation cannot be without.
fn required(operation: &str) -> &'static str {
    match operation {
        "NetworkConnect" | "NetworkDisconnect" => r#"{"Container":"known"}"#,
        "ContainerExec" => r#"{"Cmd":["sh"]}"#,
        _ => "",
    }
}

fn fields(object: &'static Object) -> Vec<(Vec<&'static str>, Kind, Resource)> {
    let mut found = Vec::new();
    for field in object.iter().filter(|field| !field.ignored) {
        if let Some(resource) = field.names {
            found.push((vec![field.name], field.kind, resource));
        }
        let (below, inner) = match field.kind {
            Kind::Object(inner) => (None, inner),
            Kind::List(Kind::Object(inner)) => (Some("[]"), *inner),
            Kind::Map(Kind::Object(inner)) => (Some("*"), *inner),
            _ => continue,
        };
        for (steps, kind, resource) in fields(inner) {
            let path = [field.name].into_iter().chain(below).chain(steps).collect();
            found.push((path, kind, resource));
        }
    }
    found
}

/// A body with this text at this place.
fn filled(steps: &[&str], kind: Kind, text: &str) -> Value {
    match steps {
        [] => match kind {
            Kind::List(_) => json!([text]),
            Kind::Map(_) => json!({ text: {} }),
            _ => json!(text),
        },
        ["Mounts", "[]", rest @ ..] => {
            let mut mount = filled(rest, kind, text);
            mount["Type"] = "volume".into();
            json!({ "Mounts": [mount] })
        }
        [key, "[]", rest @ ..] => json!({ *key: [filled(rest, kind, text)] }),
        // `bridge` is always there.
        [key, "*", rest @ ..] => json!({ *key: { "bridge": filled(rest, kind, text) } }),
        ["Container", ..] => json!({ "Container": text }),
        [key @ "EndpointConfig", rest @ ..] => {
            json!({ *key: filled(rest, kind, text), "Container": "known" })
        }
        [key, rest @ ..] => json!({ *key: filled(rest, kind, text) }),
    }
}

/// How a name is written at a place.
fn written(place: &str, name: &str) -> Vec<String> {
    match place.rsplit('.').next() {
        Some("PidMode" | "IpcMode" | "Cgroup") => vec![format!("container:{name}")],
        Some("NetworkMode" | "?networkmode") => vec![format!("container:{name}"), name.to_owned()],
        Some("Binds") => vec![format!("{name}:/x")],
        Some("Links") => vec![format!("{name}:alias"), name.to_owned()],
        Some("VolumesFrom") => vec![format!("{name}:ro"), name.to_owned()],
        _ => vec![name.to_owned()],
    }
}

/// An engine in which the name means what could have been made here, or what could not.
fn things(name: &str, good: bool) -> Value {
    let driver = if good { "bridge" } else { "macvlan" };
    let mut net = network(name, "e");
    net["Driver"] = driver.into();
    let options =
        if good { json!(null) } else { json!({ "type": "none", "o": "bind", "device": "/" }) };
    json!({
        "containers": { name: container("f", json!({ "Privileged": !good })), "known": container("a", json!({})) },
        "networks": { name: net, "known": network("known", "b") },
        "volumes": { name: { "Driver": "local", "Options": options }, "known": { "Driver": "local" } },
    })
}

#[test]
fn every_name_is_handled_as_the_model_says() {
    let rules = Rules::builtin().unwrap();
    let mut seen = BTreeSet::new();
    for Place { endpoint, place, resource, call } in places() {
        let operation = endpoint.id();
        let wanted = match rules.operations.contains_key(&endpoint) {
            true => model(operation, &place, resource),
            false => Refused,
        };
        seen.insert(format!("{wanted:?}"));
        let name = if resource == Resource::Registry { "docker.io" } else { "thing" };
        for text in written(&place, name) {
            let (line, body) = call(&text);
            let nothing = json!({
                "containers": { "known": container("a", json!({})) },
                "networks": { "known": network("known", "b") },
                "volumes": { "known": { "Driver": "local" } },
            });
            let absent = decide(&line, &body, nothing);
            let found = decide(&line, &body, things("thing", true));
            let replaced = decide(&line, &body, things("thing", false));
            let at = format!("{operation} {place}: {line} {body}");
            match wanted {
                Pinned => {
                    assert!(absent.is_err(), "{at}: absent, and yet {absent:?}");
                    assert!(replaced.is_err(), "{at}: replaced, and yet {replaced:?}");
                    let sent = found.unwrap_or_else(|why| panic!("{at}: {why}"));
                    let has_id = sent.contains(&"f".repeat(64)) || sent.contains(&"e".repeat(64));
                    assert!(has_id, "{at}: {sent}");
                }
                Judged => {
                    assert!(replaced.is_err(), "{at}: replaced, and yet {replaced:?}");
                    assert!(found.is_ok(), "{at}: {found:?}");
                    let is_made_then =
                        resource == Resource::Volume && operation == "ContainerCreate";
                    assert_eq!(absent.is_ok(), is_made_then, "{at}: {absent:?}");
                }
                New => assert!(absent.is_ok(), "{at}: {absent:?}"),
                Free => assert!(found.is_ok(), "{at}: {found:?}"),
                Remembered | Refused => assert!(found.is_err(), "{at}: {found:?}"),
                Dropped => assert!(!found.unwrap().contains("thing"), "{at}"),
            }
        }
    }
    assert_eq!(seen.len(), 7, "{seen:?}");
}

#[test]
fn what_shares_a_namespace_with_what_is_gone_can_only_be_ended() {
    let (h, x) = ("d".repeat(64), "container:x");
    for mode in ["PidMode", "IpcMode", "NetworkMode"] {
        for refers in [&format!("container:{h}"), x] {
            let made = container("a", json!({ mode: refers }));
            // `x` is itself here: what a name means can change.
            let things = json!({ "containers": { "j": made, "x": container("b", json!({})) } });
            for (line, body) in [
                ("POST /containers/j/exec", r#"{"Cmd":["sh"]}"#),
                ("POST /containers/j/attach?stdin=1", ""),
                ("PUT /containers/j/archive?path=/", ""),
                ("GET /containers/j/logs?stdout=1", ""),
                ("POST /containers/j/start", ""),
                ("POST /containers/j/restart", ""),
                ("POST /containers/j/rename?name=k", ""),
                ("POST /commit?container=j", ""),
                ("POST /containers/create", r#"{"HostConfig":{"PidMode":"container:j"}}"#),
            ] {
                let why = decide(line, body, things.clone()).expect_err(line);
                let words =
                    if refers == x { "whatever container has that name" } else { "is gone" };
                assert!(why.contains(words), "{line}: {why}");
            }
            for line in
                ["POST /containers/j/stop", "POST /containers/j/kill", "DELETE /containers/j"]
            {
                decide(line, "", things.clone()).unwrap_or_else(|why| panic!("{line}: {why}"));
            }
        }
    }
    let gone = container("a", json!({ "VolumesFrom": ["gone"], "Links": ["/gone:/a/b"] }));
    let things = json!({ "containers": { "j": gone } });
    assert!(
        decide("POST /containers/j/start", "", things).is_ok(),
        "what came from there was fixed"
    );
}

#[test]
fn a_container_starts_with_the_networks_that_were_judged() {
    let id = "d".repeat(64);
    let with = |settings: Value, networks: Value| {
        let mut made = container("a", json!({ "NetworkMode": "mine" }));
        made["NetworkSettings"]["Networks"] = settings;
        json!({ "containers": { "x": made }, "networks": networks })
    };
    let mine = network("mine", "d");
    let mut evil = network("mine", "e");
    evil["Driver"] = "macvlan".into();
    let start = |things: Value| {
        ["start", "restart"]
            .map(|verb| decide(&format!("POST /containers/x/{verb}"), "", things.clone()))
    };
    let pinned = json!({ "mine": { "NetworkID": id } });
    assert!(
        start(with(pinned.clone(), json!({ id.clone(): mine.clone() }))).iter().all(Result::is_ok)
    );
    // Another network has the name: the engine goes by the id, and so does the judge.
    let both = json!({ id.clone(): mine.clone(), "mine": evil.clone() });
    assert!(start(with(pinned.clone(), both)).iter().all(Result::is_ok));
    assert!(start(with(pinned.clone(), json!({ id.clone(): evil }))).iter().all(Result::is_err));
    // The engine itself refuses to start it, for ever.
    assert!(start(with(pinned, json!({}))).iter().all(Result::is_ok));
    let by_name = with(json!({ "mine": { "NetworkID": "" } }), json!({ "mine": mine }));
    for said in start(by_name.clone()) {
        let why = said.unwrap_err();
        assert!(why.contains("rule container.network-by-name"), "{why}");
    }
    assert!(decide("POST /containers/x/exec", r#"{"Cmd":["a"]}"#, by_name).is_ok());
    let gone = with(json!({ "mine": {} }), json!({}));
    assert!(decide("GET /containers/x/export", "", gone.clone()).unwrap_err().contains("is gone"));
    assert!(decide("DELETE /containers/x", "", gone).is_ok());
}

#[test]
fn a_forced_network_that_is_not_there_is_the_operators_and_the_engine_says_so() {
    let text = "[[listener]]\nname = \"l\"\nurl = \"unix:///x\"\npolicies = [\"conservative\", \"p\"]\n\
                [policy.p]\nkind = \"limits\"\nforce.network = \"jobs\"";
    let config =
        config::parse(text, std::path::Path::new("t"), std::path::Path::new(""), &|_| None);
    let listener = config.unwrap().listeners.remove(0);
    let config::PolicyKind::Limits(limits) = &listener.policies[1].kind else { panic!() };
    let conservative =
        Conservative::new("c", &config::Conservative::default(), &Surroundings::default()).unwrap();
    let limits = crate::policy::limits::Limits::new("p", limits);
    let chain = Chain::new(vec![Link::new(Box::new(conservative)), Link::new(Box::new(limits))]);
    let start = |network: &str| {
        let mut made = container("a", json!({ "NetworkMode": network }));
        made["NetworkSettings"]["Networks"] = json!({ network: { "NetworkID": "" } });
        let knows = engine(json!({ "containers": { "x": made } }));
        matches!(judge(&chain, "POST /containers/x/start", "", &knows), Verdict::Allowed(_))
    };
    assert!(start("jobs"), "the engine has the words for it");
    assert!(!start("other"));
}

#[test]
fn a_container_without_networks_is_its_makers_and_many_may_be_named() {
    let mut made = container("a", json!({ "NetworkMode": "gone" }));
    made["NetworkSettings"]["Networks"] = json!({});
    let things = json!({ "containers": { "x": made }, "networks": { "m": network("m", "c") } });
    for (line, body) in [
        ("POST /containers/x/start", ""),
        ("POST /containers/x/exec", r#"{"Cmd":["true"]}"#),
        ("POST /networks/m/connect", r#"{"Container":"x"}"#),
    ] {
        assert!(decide(line, body, things.clone()).is_ok(), "{line}");
    }
    let mut containers = serde_json::Map::new();
    let name = |n: usize| format!("c{n}");
    for n in 0..40 {
        let mut one = container("a", json!({}));
        one["Id"] = format!("{n:064x}").into();
        containers.insert(name(n), one);
    }
    let links: Vec<_> = (0..40).map(|n| format!("c{n}:a{n}")).collect();
    let body = json!({ "HostConfig": { "Links": links } }).to_string();
    let all = json!({ "containers": containers });
    assert!(decide("POST /containers/create", &body, all).is_ok());
    // A chain of them ends somewhere.
    let mut chain = serde_json::Map::new();
    for n in 0..12 {
        let next = json!({ "VolumesFrom": [name(n + 1)] });
        let mut one = container("a", if n < 11 { next } else { json!({}) });
        one["Id"] = format!("{n:064x}").into();
        chain.insert(name(n), one);
    }
    let things = json!({ "containers": chain });
    let why = decide("POST /containers/c0/start", "", things.clone()).unwrap_err();
    assert!(why.contains("leads to too many others"), "{why}");
    assert!(decide("POST /containers/c6/start", "", things).is_ok());
}

#[test]
fn a_link_in_a_network_of_ones_own_keeps_its_name_and_is_judged() {
    let things = |privileged: bool| {
        let web = container("a", json!({ "Privileged": privileged }));
        let own = container("b", json!({}));
        json!({ "containers": { "web": web, "x": own }, "networks": { "n": network("n", "c") } })
    };
    for (line, body) in [
        (
            "POST /containers/create",
            r#"{"NetworkingConfig":{"EndpointsConfig":{"n":{"Links":["web:db"]}}}}"#,
        ),
        ("POST /networks/n/connect", r#"{"Container":"x","EndpointConfig":{"Links":["web:db"]}}"#),
    ] {
        let sent = decide(line, body, things(false)).unwrap();
        assert!(sent.contains(r#""Links":["web:db"]"#), "a name of the DNS: {sent}");
        assert!(decide(line, body, things(true)).is_err(), "{line}");
    }
    let bridge = r#"{"HostConfig":{"Links":["web:db"]}}"#;
    let sent = decide("POST /containers/create", bridge, things(false)).unwrap();
    assert!(sent.contains(&format!(r#""Links":["{}:db"]"#, "a".repeat(64))), "{sent}");
}

#[test]
fn a_network_is_pinned_beside_its_name() {
    let things =
        || json!({ "networks": { "mine": network("mine", "d"), "dd": network("mine", "d") } });
    let id = "d".repeat(64);
    let sent = |body: &str| decide("POST /containers/create", body, things()).unwrap();
    let only = sent(r#"{"HostConfig":{"NetworkMode":"mine"}}"#);
    let wanted = format!(r#""EndpointsConfig":{{"mine":{{"NetworkID":"{id}"}}}}"#);
    assert!(only.contains(&wanted) && only.contains(r#""NetworkMode":"mine""#), "{only}");
    let short = sent(r#"{"HostConfig":{"NetworkMode":"dd"}}"#);
    assert!(short.contains(&wanted), "the key is the name, as the engine would have it: {short}");
    for place in ["null", "{}", r#"{"NetworkID":""}"#, r#"{"NetworkID":"mine"}"#] {
        let body = format!(r#"{{"NetworkingConfig":{{"EndpointsConfig":{{"mine":{place}}}}}}}"#);
        assert!(sent(&body).contains(&wanted), "{body}");
    }
    let other = sent(
        r#"{"HostConfig":{"NetworkMode":"mine"},"NetworkingConfig":{"EndpointsConfig":{"bridge":{}}}}"#,
    );
    assert!(!other.contains(&id), "the client has said where it is connected: {other}");
    let own = engine(
        json!({ "containers": { "x": container("a", json!({})) }, "networks": { "mine": network("mine", "d") } }),
    );
    for endpoint in ["null", "{}", r#"{"Aliases":["a"]}"#] {
        let body = format!(r#"{{"Container":"x","EndpointConfig":{endpoint}}}"#);
        let verdict = judge(&BUILTIN, "POST /networks/mine/connect", &body, &own);
        let Verdict::Allowed(bytes) = verdict else { panic!("{body}") };
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains(&format!(r#""NetworkID":"{id}""#)), "{text}");
        assert!(text.contains(&format!("/networks/{id}/connect")), "{text}");
    }
}

#[test]
fn a_build_gets_an_id_and_a_name_that_could_begin_one_is_refused() {
    let things = json!({ "networks": { "mine": network("mine", "d"), "db": network("db", "d") } });
    let sent = decide("POST /build?networkmode=mine", "", things.clone()).unwrap();
    assert!(sent.contains(&format!("networkmode={}", "d".repeat(64))), "{sent}");
    assert!(
        decide("POST /build?networkmode=db", "", things).unwrap_err().contains("build.network")
    );
}

#[test]
fn a_name_that_looks_like_an_id_is_refused() {
    let short = "abcdef012345";
    for name in [short, "ABCDEF012345", "/abcdef012345", &"a0".repeat(32), &"0".repeat(40)] {
        for line in ["POST /containers/create?name=", "POST /containers/x/rename?name="] {
            assert_eq!(
                rule(&format!("{line}{name}"), "{}").as_deref(),
                Some("container.name"),
                "{name}"
            );
        }
    }
    for name in ["db", "abcdef01234", "abcdef01234g", "web-abcdef012345", &"0".repeat(65)] {
        assert_eq!(rule(&format!("POST /containers/create?name={name}"), "{}"), None, "{name}");
    }
    let mut other = network("other", "a");
    other["Id"] = format!("{short}{}", "0".repeat(52)).into();
    let create = |name: &str| {
        let things = json!({ "networks": { short: other.clone(), "012345abcdef": network("012345abcdef", "b") } });
        decide("POST /networks/create", &format!(r#"{{"Name":"{name}"}}"#), things)
    };
    assert!(create(short).unwrap_err().contains("network.name"), "it is the beginning of an id");
    assert!(create(&"a".repeat(64)).unwrap_err().contains("network.name"), "it is a whole id");
    assert!(create("fedcba543210").is_ok(), "as testcontainers for Node calls its networks");
    assert!(create("012345abcdef").unwrap_err().contains("already exists"), "it is taken");
}

#[test]
fn what_is_absent_is_answered_as_the_engine_would() {
    for (line, body, status, words) in [
        ("POST /containers/x/start", "", 404, "No such container: x"),
        ("POST /containers/x/attach?stdin=1", "", 404, "No such container: x"),
        ("DELETE /networks/x", "", 404, "network x not found"),
        ("DELETE /volumes/x", "", 404, "get x: no such volume"),
        ("DELETE /volumes/x?force=0", "", 404, "get x: no such volume"),
        ("DELETE /volumes/x?force=1", "", 204, ""),
        ("POST /commit?container=x", "{}", 404, "No such container: x"),
    ] {
        let said = match judge(&BUILTIN, line, body, &|_| Fact::Absent) {
            Verdict::Denied(_, reasons) => (reasons[0].status, reasons[0].message()),
            Verdict::Answered(_, reply) => {
                (reply.status, reply.json.map(|json| json.to_string()).unwrap_or_default())
            }
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(said, (status, words.to_owned()), "{line}");
    }
}

#[test]
fn what_the_user_wrote_is_kept_and_no_client_can_write_that_itself() {
    let things = json!({ "containers": { "web": container("a", json!({})) } });
    let body = r#"{"HostConfig":{"PidMode":"container:web","VolumesFrom":["web:ro"],"ContainerIDFile":"/c"}}"#;
    let sent = decide("POST /containers/create", body, things.clone()).unwrap();
    assert!(sent.contains(&format!("container:{}", "a".repeat(64))), "{sent}");
    assert!(sent.contains("web:ro") && !sent.contains("container:web"), "{sent}");
    let forged = r#"{"HostConfig":{"ContainerIDFile":"dockgate:{}"}}"#;
    assert!(
        decide("POST /containers/create", forged, things)
            .unwrap_err()
            .contains("container.id-file")
    );
}
