//! What a tenant is told: nothing of another's, and no name that only the engine knows.

use super::*;
use crate::api::endpoint::KNOWN;
use crate::api::{Call, Draft};
use crate::policy::{Answer, Step};
use crate::wire::head::{Lines, RequestHead};

impl SmallEngine {
    /// What `ann` gets of an answer of the engine's.
    fn told(&self, target: &str, status: u16, json: Json) -> Json {
        self.told_knowing(target, (status, json), &|_| None)
    }

    /// The same, where the engine has more than `knows`.
    pub(super) fn told_knowing(
        &self,
        target: &str,
        (status, json): (u16, Json),
        more: &dyn Fn(&Question) -> Option<Json>,
    ) -> Json {
        let (method, target) = target.split_once(' ').unwrap();
        let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = RequestHead::parse(head.as_bytes()).unwrap();
        let draft = Draft::parse(&head).unwrap();
        let Call::Typed(mut call) = draft.with_json(&head, b"", 1).unwrap() else { panic!() };
        // As the request's part has left them.
        if let Some(filters) = call.query().get("filters").map(str::to_owned) {
            call.add_note(lists::FILTERS_NOTE, filters);
        }
        let headers = Lines::default();
        let (json, text) = (Some(json), Vec::new());
        let mut answer =
            Answer { call: &call, status, headers: &headers, api_version: None, json, text };
        let identity = Identity::imagined(Some("ann"));
        let mut facts = crate::policy::Facts::default();
        let mut answering = self.chain.answer();
        for _ in 0..9 {
            let cx = Context::new(&identity, "l", KNOWN, &facts);
            match answering.step(&mut answer, &cx) {
                Step::Done(()) => return answer.json.unwrap(),
                Step::Ask(questions) => {
                    for question in questions {
                        let more = match &question {
                            Question::OfEngine(inner) => more(inner),
                            _ => None,
                        };
                        let more = more.map(|json| Fact::Json(Arc::new(json)));
                        let fact = more.or_else(|| self.knows(&question)).unwrap();
                        facts.insert(question, fact);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        panic!("it asks for ever")
    }
}

#[test]
fn an_error_does_not_say_by_its_id_what_is_anothers() {
    let engine = SmallEngine::new();
    let said = |text: String| {
        let json = engine.told("DELETE /v1.41/images/team/app:1", 409, json!({ "message": text }));
        json["message"].as_str().unwrap().to_owned()
    };
    let on_it = |id: &str| {
        format!("conflict: unable to remove it - container {id} is using its image 0123456789ab")
    };
    assert_eq!(said(on_it(short(ANN))), on_it(short(ANN)));
    assert_eq!(said(on_it(short(BOB))), on_it("(another's)"));
    assert_eq!(said(on_it(BOB)), on_it("(another's)"));
    assert_eq!(
        said(format!("conflicts with network {BOB} (br-{}): same bridge name", short(BOB))),
        "conflicts with network (another's) (br-(another's)): same bridge name"
    );
    // As a name it may be given to anything.
    let named = |id| format!("no such container: {}", id);
    assert_eq!(said(named(engine.ann.sent(BOB))), named(BOB.to_owned()));
    // Whoever writes an id is told what he would be told if it were nobody's.
    let asked = format!("DELETE /v1.41/images/{}", short(BOB));
    let text = json!({ "message": format!("No such image: {}", short(BOB)) });
    assert_eq!(engine.told(&asked, 404, text.clone()), text);
    // What is no id of anything stays.
    let digest = "c".repeat(64);
    assert_eq!(
        said(format!("manifest sha256:{digest} unknown")),
        format!("manifest sha256:{digest} unknown")
    );
}

#[test]
fn a_slash_within_an_address_hides_no_name() {
    let (policy, engine) = (namespaces(), SmallEngine::new());
    let id = engine.ann.id();
    let text = format!(
        "Get \"http://127.0.0.1:9/token?scope=repository%3A{id}%2Fdocker.io%2Flibrary%2Fx%3Apull\": denied"
    );
    let shown = show::message(&policy, &engine.ann, &text);
    assert_eq!(
        shown,
        "Get \"http://127.0.0.1:9/token?scope=repository%3Adocker.io%2Flibrary%2Fx%3Apull\": denied"
    );
    assert!(!show::message(&policy, &engine.ann, &format!("{id}%2fx")).contains(id));
}

#[test]
fn why_a_container_did_not_start_is_kept_with_visible_names() {
    let engine = SmallEngine::new();
    let mut inspected = engine.container(&engine.ann, ANN);
    inspected["State"] =
        json!({ "Error": format!("network {} not found", engine.ann.sent("net")) });
    let told = engine.told("GET /v1.41/containers/web/json", 200, inspected);
    assert_eq!(told["State"]["Error"], "network net not found");
}

#[test]
fn what_others_do_with_an_image_is_not_told() {
    let engine = SmallEngine::new();
    let image = json!({
        "Id": format!("sha256:{ANN}"),
        "RepoTags": ["shared:latest"],
        "Metadata": { "LastTagTime": "2026-01-02T03:04:05Z" },
        "Manifests": [{ "ID": "sha256:cc", "ImageData": { "Containers": [ANN, BOB] } }],
    });
    let told = engine.told("GET /v1.48/images/shared/json?manifests=1", 200, image.clone());
    assert_eq!(told["Metadata"]["LastTagTime"], "0001-01-01T00:00:00Z");
    assert_eq!(told["Manifests"][0]["ImageData"]["Containers"], json!([ANN]));
    let told = engine.told("GET /v1.47/images/json?manifests=1", 200, json!([image]));
    assert_eq!(told[0]["Manifests"][0]["ImageData"]["Containers"], json!([ANN]));
    let told = engine.told(
        "GET /v1.41/info",
        200,
        json!({ "Containers": 2, "NFd": 30, "NGoroutines": 40, "NEventsListener": 1 }),
    );
    assert_eq!(told, json!({ "Containers": 1, "NFd": 0, "NGoroutines": 0, "NEventsListener": 0 }));
}

#[test]
fn what_is_no_name_of_a_volume_is_not_there() {
    let engine = SmallEngine::new();
    for (method, name) in [("GET", "a%20b"), ("DELETE", "-x"), ("GET", "x")] {
        let said = engine.ask("ann", method, &format!("/v1.41/volumes/{name}"), "").unwrap_err();
        assert!(said.starts_with("404 ") && said.contains("no such volume"), "{name}: {said}");
    }
    let mount = json!({ "Type": "volume", "Source": "//x", "Target": "/x" });
    let body = json!({ "Image": "shared", "HostConfig": { "Mounts": [mount] } }).to_string();
    let said = engine.ask("ann", "POST", "/v1.41/containers/create?name=new", &body).unwrap_err();
    assert!(said.starts_with("400 ") && said.contains("invalid characters"), "{said}");
    let filters = "%7B%22volume%22%3A%5B%22a%20b%22%5D%7D";
    let sent = engine.ask("ann", "GET", &format!("/v1.41/containers/json?filters={filters}"), "");
    assert!(sent.is_ok(), "{sent:?}");
}

#[test]
fn the_bridge_is_no_idle_network() {
    let engine = SmallEngine::new();
    let name = |tenant: &Tenant, name| tenant.sent(name);
    let bridge = json!({ "Id": ANN, "Name": name(&engine.ann, "bridge"), "Driver": "bridge" });
    let theirs = json!({ "Id": BOB, "Name": name(&engine.bob, "bridge"), "Driver": "bridge" });
    // The engine takes ours for one that is not used.
    let told = |filters: &str, listed: Json| {
        let more = |question: &Question| match question {
            Question::List(Resource::Network, Some(filter)) => {
                let is_bridge = filter.contains(&format!("^{}$", name(&engine.ann, "bridge")));
                let is_bare = !filter.contains("dangling") && !filter.contains("type");
                let found = is_bridge && is_bare && !filter.contains("null");
                Some(if found { json!([bridge, theirs]) } else { json!([]) })
            }
            _ => None,
        };
        let encoded =
            percent_encoding::utf8_percent_encode(filters, percent_encoding::NON_ALPHANUMERIC);
        let target = format!("GET /v1.41/networks?filters={encoded}");
        let json = engine.told_knowing(&target, (200, listed), &more);
        let names = json.as_array().unwrap().iter().map(|one| look::str_of(one, "Name").to_owned());
        names.collect::<Vec<_>>()
    };
    let front = json!({ "Id": "f", "Name": name(&engine.ann, "front") });
    assert_eq!(told("{\"dangling\":[\"false\"]}", json!([front])), ["front", "bridge"]);
    assert_eq!(told("{\"dangling\":[\"0\"],\"type\":[\"builtin\"]}", json!([])), ["bridge"]);
    assert_eq!(told("{\"dangling\":[\"0\"],\"type\":[\"custom\"]}", json!([front])), ["front"]);
    assert_eq!(told("{\"dangling\":[\"0\"],\"driver\":[\"null\"]}", json!([])), [""; 0]);
    // Once.
    assert_eq!(told("{\"dangling\":[\"false\"]}", json!([bridge])), ["bridge"]);
    assert_eq!(told("{\"dangling\":[\"true\"]}", json!([bridge, front])), ["front"]);
    assert_eq!(told("{}", json!([front])), ["front"]);
}
