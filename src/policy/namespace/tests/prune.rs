//! Prunes: what goes by each filter, as the engine has it, and never another's.

use super::*;
use crate::policy::Deed;

const NOW: &str = "2026-11-30T12:00:00.5Z";
/// The same in seconds.
const SECONDS: i64 = 1_796_040_000;

/// Of ann's one of an hour ago with labels, one of just now without; of bob's the same.
fn knows(engine: &SmallEngine, question: &Question) -> Option<Json> {
    let images = |tenant: &Tenant, name: &str| namespaces().images(tenant).sent(name).unwrap();
    let both = [(&engine.ann, "a"), (&engine.bob, "b")];
    let id = |digit: &str, end: &str| [&digit.repeat(63), end].concat();
    let labels = json!({ "k": "v", "x": "", "io.dockgate.namespace": "ann" });
    let exact =
        |nanos: &str| json!({ "Id": "x", "Created": format!("2026-11-30T12:00:00{nanos}Z") });
    Some(match question {
        Question::Info => json!({ "SystemTime": NOW }),
        Question::List(Resource::Container, _) => both
            .iter()
            .flat_map(|(tenant, digit)| {
                let one = |name: &str, end: &str, created: i64, labels: &Json| {
                    json!({ "Id": id(digit, end), "Names": [format!("/{}", tenant.sent(name))], "Created": created, "Labels": labels })
                };
                [one("old", "0", SECONDS - 3600, &labels), one("new", "1", SECONDS, &json!({}))]
            })
            .collect(),
        // In the second of now, and after it.
        Question::Container(name) if name.len() == 64 => exact(".75"),
        Question::Image(_) => exact(".25"),
        Question::List(Resource::Network, _) => both
            .iter()
            .flat_map(|(tenant, digit)| {
                let one = |name: &str, end: &str, created: &str, labels: &Json| {
                    json!({ "Id": id(digit, end), "Name": tenant.sent(name), "Created": created, "Labels": labels })
                };
                [
                    one("old", "0", "2026-11-30T12:00:00+01:00", &labels),
                    one("new", "1", "2026-11-30T12:00:00.1Z", &json!({})),
                    one("bridge", "2", "2026-11-30T10:00:00Z", &json!({})),
                ]
            })
            .collect(),
        Question::List(Resource::Image, _) => both
            .iter()
            .flat_map(|(tenant, digit)| {
                let one = |name: &str, end: &str, created: i64, labels: &Json| {
                    json!({ "Id": format!("sha256:{}", id(digit, end)), "RepoTags": [images(tenant, name)], "Created": created, "Labels": labels })
                };
                [
                    one("old", "0", SECONDS - 3600, &labels),
                    one("new", "1", SECONDS, &json!(null)),
                    one("undated", "2", 0, &json!(null)),
                ]
            })
            .collect(),
        Question::List(Resource::Volume, Some(filter)) if filter.contains("name") => both
            .iter()
            .flat_map(|(tenant, _)| {
                let one = |name: &str, options: Json, labels: Json| {
                    json!({ "Name": tenant.sent(name), "Driver": "local", "Options": options, "Labels": labels })
                };
                let anonymous = json!({ "com.docker.volume.anonymous": "" });
                [
                    one("plain", json!(null), json!(null)),
                    one("told", json!({ "device": "tmpfs" }), json!(null)),
                    one("auto", json!({}), anonymous),
                ]
            })
            .collect(),
        _ => return None,
    })
}

/// The names of what is to be removed, or what is said.
fn prune(engine: &SmallEngine, newest: u16, path: &str, filters: &Json) -> Vec<String> {
    let policy = engine.policy.as_ref().unwrap();
    let filters = filters.to_string();
    let encoded =
        percent_encoding::utf8_percent_encode(&filters, percent_encoding::NON_ALPHANUMERIC);
    let target = format!("/v1.{newest}/{path}/prune?filters={encoded}");
    let request = rehearsal::Request { method: "POST", target: &target, body: b"" };
    let call = rehearsal::parsed(&engine.chain, &request).unwrap();
    let crate::api::Call::Typed(call) = call else { panic!() };
    let identity = Identity::imagined(Some("ann"));
    let mut facts = crate::policy::Facts::default();
    for _ in 0..9 {
        let versions = crate::api::endpoint::Versions { newest, ..crate::api::endpoint::KNOWN };
        let cx = Context::new(&identity, "l", versions, &facts);
        match policy.request(&call, &cx) {
            Verdict::Ask(questions) => {
                for question in questions {
                    let fact = knows(engine, &question).map(|json| Fact::Json(Arc::new(json)));
                    facts.insert(question, fact.unwrap_or(Fact::Absent));
                }
            }
            Verdict::Do(deeds) => {
                let name = |deed: &Deed| match deed {
                    Deed::RemoveUnused(_, name) => {
                        assert!(!name.contains("bb") && !name.contains(engine.bob.id()), "{name}");
                        let ends = name.ends_with('0') && name.len() == 64;
                        let shown = name.rsplit(['/', '-']).next().unwrap_or_default();
                        match name.len() {
                            64 => (if ends { "old" } else { "new" }).to_owned(),
                            _ => shown.trim_end_matches(":latest").to_owned(),
                        }
                    }
                    other => panic!("{other:?}"),
                };
                return deeds.iter().map(name).collect();
            }
            Verdict::Answer(reply) if reply.status == 200 => return Vec::new(),
            Verdict::Answer(reply) => {
                let json = reply.json.unwrap();
                return vec![format!("{} {}", reply.status, json["message"].as_str().unwrap())];
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("it asks without an end")
}

#[test]
fn what_is_newer_stays() {
    let engine = SmallEngine::new();
    for (until, containers, networks, images) in [
        ("30m", &["old"] as &[&str], &["old"] as &[&str], &["old"] as &[&str]),
        ("2h", &[], &[], &[]),
        ("2026-11-30T11:01", &["old"], &["old"], &["old"]),
        ("2026-11-30T10:59:59Z", &[], &[], &[]),
        // Of what was made in that second the engine knows more than its lists say.
        ("2026-11-30T12:00:00.5Z", &["old"], &["old", "new"], &["old", "new", "undated"]),
        ("2026-11-30T12:00:00.2Z", &["old"], &["old", "new"], &["old"]),
        ("2026-11-30T12:00:00.05Z", &["old"], &["old"], &["old"]),
        ("2026-11-30T12:00:00.8Z", &["old", "new"], &["old", "new"], &["old", "new", "undated"]),
        ("-1h", &["old", "new"], &["old", "new"], &["old", "new", "undated"]),
        ("0", &[], &[], &[]),
    ] {
        let filters = json!({ "until": [until], "dangling": ["0"] });
        assert_eq!(prune(&engine, 52, "images", &filters), images, "{until}");
        let filters = json!({ "until": { until: true } });
        assert_eq!(prune(&engine, 52, "containers", &filters), containers, "{until}");
        assert_eq!(prune(&engine, 52, "networks", &filters), networks, "{until}");
    }
}

#[test]
fn labels_are_wanted_all_together() {
    let engine = SmallEngine::new();
    for (filters, wanted) in [
        (json!({}), &["old", "new"] as &[&str]),
        (json!({ "label": ["k"] }), &["old"]),
        (json!({ "label": ["k=v", "x"] }), &["old"]),
        (json!({ "label": ["k=", "x"] }), &[]),
        (json!({ "label": ["x="] }), &["old"]),
        (json!({ "label": [] }), &["old", "new"]),
        (json!({ "label": { "k=w": false } }), &[]),
        (json!({ "label!": ["k"] }), &["new"]),
        (json!({ "label!": ["k=w"] }), &["old", "new"]),
        // Not both of them.
        (json!({ "label!": ["k", "other"] }), &["old", "new"]),
        (json!({ "label!": ["k", "x"] }), &["new"]),
        (json!({ "label!": [] }), &[]),
        (json!({ "label": ["k"], "label!": ["x"] }), &[]),
        (json!({ "label": ["io.dockgate.namespace"] }), &[]),
        (json!({ "label!": ["io.dockgate.namespace=ann"] }), &["old", "new"]),
    ] {
        assert_eq!(prune(&engine, 41, "containers", &filters), wanted, "{filters}");
        assert_eq!(prune(&engine, 52, "networks", &filters), wanted, "{filters}");
    }
}

#[test]
fn of_volumes_those_go_that_have_no_options_and_no_name_unless_all_are_wanted() {
    let engine = SmallEngine::new();
    for (newest, filters, wanted) in [
        (41, json!({}), &["plain", "auto"] as &[&str]),
        (42, json!({}), &["auto"]),
        (52, json!({ "all": ["true"] }), &["plain", "auto"]),
        (52, json!({ "all": ["t"] }), &["plain", "auto"]),
        (52, json!({ "all": ["0"] }), &["auto"]),
        (52, json!({ "all": [] }), &["auto"]),
        (52, json!({ "all": ["1"], "label": ["com.docker.volume.anonymous"] }), &["auto"]),
        (41, json!({ "all": ["1"] }), &["400 Invalid filter 'all'"]),
        (
            52,
            json!({ "all": ["maybe"] }),
            &["400 invalid filter 'all': strconv.ParseBool: parsing \"maybe\": invalid syntax"],
        ),
        (
            52,
            json!({ "all": ["1", "0"] }),
            &["400 invalid filter 'all=[0 1]': only one value is expected"],
        ),
        (52, json!({ "until": ["1h"] }), &["400 invalid filter 'until'"]),
    ] {
        assert_eq!(prune(&engine, newest, "volumes", &filters), wanted, "{newest} {filters}");
    }
}

#[test]
fn what_the_engine_complains_of_removes_nothing() {
    let engine = SmallEngine::new();
    let bad = "failed to parse value as time or duration: \"bla\"";
    for (newest, path, filters, wanted) in [
        (41, "containers", json!({ "until": ["bla"] }), format!("500 {bad}")),
        (51, "containers", json!({ "until": ["bla"] }), format!("400 {bad}")),
        (51, "networks", json!({ "until": ["bla"] }), format!("400 {bad}")),
        (51, "images", json!({ "until": ["bla"] }), format!("500 {bad}")),
        (
            51,
            "networks",
            json!({ "until": ["1h", "2h"] }),
            "400 more than one until filter specified".to_owned(),
        ),
        (51, "networks", json!({ "until": [] }), "400 no until filter specified".to_owned()),
        (41, "networks", json!({ "foo": ["x"] }), "400 Invalid filter 'foo'".to_owned()),
        (51, "containers", json!({ "all": ["x"] }), "400 invalid filter 'all'".to_owned()),
        (
            51,
            "images",
            json!({ "dangling": ["maybe"] }),
            "400 invalid filter 'dangling=[maybe]'".to_owned(),
        ),
        (
            41,
            "images",
            json!({ "dangling": ["true", "false"] }),
            "400 Invalid filter 'dangling=[false true]'".to_owned(),
        ),
    ] {
        assert_eq!(prune(&engine, newest, path, &filters), [wanted], "{path} {filters}");
    }
    // Twice the same is once.
    let twice = json!({ "until": ["30m", "30m"] });
    assert_eq!(prune(&engine, 41, "containers", &twice), ["old"]);
}
