//! A job's own container in the job's namespace: read by every name that it has, and changed by none.

use super::*;
use crate::policy::temporary::Members;

const OWN: &str = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";
const NET: &str = "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd";

fn job() -> SmallEngine {
    let mut engine = SmallEngine::new();
    let policy = engine.policy.take().unwrap().with_members(&Members::of(&[OWN.to_owned()]));
    engine.chain = Chain::new(vec![Link::new(Box::new(policy))]);
    engine
}

fn knows(question: &Question) -> Option<Json> {
    let network = || json!({ "Id": NET, "Name": "runner-net", "Driver": "bridge" });
    match question {
        Question::Container(name) if name == OWN => Some(json!({
            "Id": OWN, "Name": "/runner-build",
            "NetworkSettings": { "Networks": {
                "runner-net": { "NetworkID": NET }, "bridge": { "NetworkID": "e".repeat(64) },
            } },
        })),
        Question::Network(name) if name == NET => Some(network()),
        _ => None,
    }
}

fn ask(engine: &SmallEngine, method: &str, target: &str, body: &str) -> Result<String, String> {
    engine.ask_knowing("ann", (method, target, body), &knows)
}

#[test]
fn it_is_read_by_each_of_its_names() {
    let engine = job();
    for name in [OWN, "runner-build", short(OWN), "c"] {
        for way in ["json", "logs?stdout=1", "top", "stats", "changes"] {
            let sent = ask(&engine, "GET", &format!("/v1.43/containers/{name}/{way}"), "").unwrap();
            assert!(sent.contains(&format!("/containers/{OWN}/")), "{name} {way}: {sent}");
        }
    }
    let sent = ask(&engine, "GET", "/v1.43/containers/json", "").unwrap();
    assert!(sent.contains("runner") && sent.contains("build%24"), "{sent}");
    // What has another name is another's, and a thing of the namespace goes before it.
    let other = ask(&engine, "GET", "/v1.43/containers/runner/json", "").unwrap();
    assert!(other.contains(&engine.ann.sent("runner")), "{other}");
    let web = ask(&engine, "GET", "/v1.43/containers/web/json", "").unwrap();
    assert!(web.contains(ANN), "{web}");
}

#[test]
fn nothing_changes_it() {
    use Endpoint as E;
    let engine = job();
    let reads = [
        E::ContainerInspect,
        E::ContainerLogs,
        E::ContainerTop,
        E::ContainerStats,
        E::ContainerChanges,
    ];
    let mut refused = 0;
    for row in TABLE.iter().filter(|row| row.path.starts_with("/containers/{name")) {
        for name in [OWN, "runner-build", short(OWN)] {
            let target = format!("/v1.43{}", row.path.replace("{name:.*}", name));
            let query = match row.endpoint {
                E::ContainerRename => "?name=x",
                E::ContainerArchive | E::ContainerArchiveInfo | E::PutContainerArchive => "?path=/",
                _ => "",
            };
            let asked = ask(&engine, row.method.as_str(), &format!("{target}{query}"), "{}");
            match reads.contains(&row.endpoint) {
                true => assert!(asked.is_ok(), "{target}: {asked:?}"),
                // Of a route that this version has not, the version says so.
                false => {
                    assert!(
                        asked.as_ref().is_err_and(|why| !why.contains("is not known")),
                        "{target}: {asked:?}"
                    );
                    refused += usize::from(asked.is_err_and(|why| why.contains("job.container")));
                }
            }
        }
    }
    assert!(refused >= 45, "{refused}");
    for (target, body) in [
        ("/v1.43/commit?container=runner-build", "{}"),
        ("/v1.43/networks/net/connect", r#"{"Container":"runner-build"}"#),
        ("/v1.43/networks/runner-net/disconnect", r#"{"Container":"cccccccccccc"}"#),
    ] {
        let why = ask(&engine, "POST", target, body).unwrap_err();
        assert!(why.contains("job.container"), "{target}: {why}");
    }
    let why = ask(&engine, "DELETE", "/v1.43/networks/runner-net", "").unwrap_err();
    assert!(why.contains("job.container"), "{why}");
    // An exec in it is its maker's.
    let exec = |question: &Question| match question {
        Question::ExecInspect(_) => Some(json!({ "ID": "x", "ContainerID": OWN })),
        other => knows(other),
    };
    let asked = engine.ask_knowing("ann", ("POST", "/v1.43/exec/x/start", "{}"), &exec);
    assert!(asked.as_ref().is_err_and(|why| why.contains("No such exec")), "{asked:?}");
}

#[test]
fn others_join_what_it_has() {
    let engine = job();
    let create = |host: Json| {
        let body = json!({ "Image": "shared", "HostConfig": host }).to_string();
        ask(&engine, "POST", "/v1.43/containers/create", &body).unwrap()
    };
    let sent = create(json!({ "VolumesFrom": ["runner-build:ro"] }));
    assert!(sent.contains(&format!("{OWN}:ro")), "{sent}");
    let sent = create(json!({ "NetworkMode": format!("container:{}", short(OWN)) }));
    assert!(sent.contains(&format!("container:{OWN}")), "{sent}");
    for name in ["runner-net", NET, short(NET)] {
        let sent = create(json!({ "NetworkMode": name }));
        assert!(sent.contains(r#""NetworkMode":"runner-net""#), "{sent}");
    }
    let sent = create(json!({ "NetworkMode": "runner" }));
    assert!(sent.contains(&engine.ann.sent("runner")), "{sent}");
}

#[test]
fn lists_have_it_and_its_networks() {
    let engine = job();
    let listed = [
        json!({ "Id": OWN, "Names": ["/runner-build"] }),
        engine.listed(&engine.ann, ANN),
        engine.listed(&engine.bob, BOB),
    ];
    let shown = engine.told_knowing("GET /v1.43/containers/json", (200, json!(listed)), &knows);
    let names: Vec<&Json> = shown.as_array().unwrap().iter().map(|one| &one["Names"][0]).collect();
    assert_eq!(names, ["/runner-build", "/web"]);
    let networks = json!([{ "Id": NET, "Name": "runner-net" }, { "Id": BOB, "Name": "other" }]);
    let shown = engine.told_knowing("GET /v1.43/networks", (200, networks), &knows);
    assert_eq!(shown, json!([{ "Id": NET, "Name": "runner-net" }]));
}
