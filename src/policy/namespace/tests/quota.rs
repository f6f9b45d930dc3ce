//! Quotas: what counts, what does not, and that nothing is counted while another call makes more.

use super::*;

const SHORT: &str = "quota = { containers = 2, volumes = 2, networks = 1, ports = 3, builds = 1, image_bytes = \"2k\" }\n";

/// Of ann's: two containers, of which one runs with two ports, a volume with a name and one without, a network, an image.
fn knows(engine: &SmallEngine, question: &Question) -> Option<Json> {
    let own = |name: &str| engine.ann.sent(name);
    let others = |json: Json, name: &str| {
        let mut other = json;
        other["Name"] = json!(engine.bob.sent(name));
        other
    };
    Some(match question {
        Question::Container(id) if id == "cc" => json!({
            "Id": "cc",
            "Name": format!("/{}", own("late")),
            "HostConfig": { "PortBindings": { "80/tcp": [{}, {}] } },
        }),
        Question::Container(name) if *name == own("late") => {
            return knows(engine, &Question::Container("cc".to_owned()));
        }
        Question::List(Resource::Container, _) => {
            let port = |ip: &str, port: u16| json!({ "IP": ip, "PrivatePort": 80, "PublicPort": port, "Type": "tcp" });
            let mut web = engine.listed(&engine.ann, ANN);
            web["Ports"] = json!([port("0.0.0.0", 1), port("::", 1), port("0.0.0.0", 2), { "PrivatePort": 9, "Type": "tcp" }]);
            let mut late = engine.listed(&engine.ann, "cc");
            late["Names"] = json!([format!("/{}", own("late"))]);
            late["State"] = json!("exited");
            json!([web, late, engine.listed(&engine.bob, BOB)])
        }
        Question::List(Resource::Volume, Some(filter)) if filter.contains("label") => {
            json!({ "Volumes": [engine.volume(&engine.ann, ANN), engine.volume(&engine.bob, BOB)] })
        }
        Question::List(Resource::Volume, _) => {
            json!({ "Volumes": [{ "Name": own("data") }, others(json!({}), "data")] })
        }
        Question::Volume(name) if *name == own("data") => json!({ "Name": name }),
        Question::List(Resource::Network, _) => {
            json!([{ "Name": own("bridge") }, { "Name": own("net") }, others(json!({}), "net"), { "Name": "host" }])
        }
        Question::List(Resource::Image, _) => {
            let name = format!("{NO_REGISTRY}/{}/docker.io/library/a:1", engine.ann.id());
            json!([{ "Id": "sha256:1", "RepoTags": [name], "Size": 2048 }, { "Id": "sha256:2", "RepoTags": ["shared:1"], "Size": 9000 }])
        }
        _ => return None,
    })
}

fn ask(engine: &SmallEngine, user: &str, target: &str, body: &Json) -> Result<String, String> {
    engine
        .ask_knowing(user, ("POST", target, &body.to_string()), &|question| knows(engine, question))
}

#[test]
fn what_is_full_takes_no_more_of_one_namespace() {
    let engine = SmallEngine::with(SHORT);
    let volumes = |volumes: Json| json!({ "Image": "shared", "HostConfig": volumes });
    for (target, body, wanted) in [
        (
            "/v1.41/containers/create?name=new",
            volumes(json!({})),
            "containers: must be at most 2 in this namespace, which has 2 ",
        ),
        (
            "/v1.41/volumes/create",
            json!({ "Name": "new" }),
            "volumes: must be at most 2 in this namespace, which has 2 ",
        ),
        ("/v1.41/volumes/create", json!({}), "volumes: must be at most 2"),
        (
            "/v1.41/networks/create",
            json!({ "Name": "new" }),
            "networks: must be at most 1 in this namespace, which has 1 ",
        ),
        (
            "/v1.41/containers/late/start",
            json!(null),
            "ports: must be at most 3 in this namespace, which has 2, and this would make 2 more",
        ),
        ("/v1.41/containers/late/restart", json!(null), "ports: "),
        ("/v1.41/networks/none/connect", json!({ "Container": "late" }), "ports: "),
        (
            "/v1.41/commit?container=web",
            json!({}),
            "image_bytes: must be less than 2k in this namespace, which has 2k ",
        ),
        ("/v1.41/images/create?fromSrc=-", json!(null), "image_bytes: "),
        ("/v1.41/build?t=x", json!(null), "image_bytes: "),
    ] {
        let said = ask(&engine, "ann", target, &body).unwrap_err();
        assert!(said.starts_with(&format!("dockgate: {wanted}")), "{target}: {said}");
        assert!(said.contains("(rule namespace.quota). hint: remove what"), "{said}");
    }
    for (user, target, body) in [
        // It is there, or it runs already.
        ("ann", "/v1.41/volumes/create", json!({ "Name": "data" })),
        ("ann", "/v1.41/containers/web/start", json!(null)),
        ("ann", "/v1.41/containers/web/restart", json!(null)),
        // Of his there is one each.
        ("bob", "/v1.41/containers/create?name=new", volumes(json!({}))),
        ("bob", "/v1.41/commit?container=web&repo=x", json!({})),
    ] {
        let sent = ask(&engine, user, target, &body);
        assert!(sent.is_ok(), "{user}: {target}: {sent:?}");
    }
}

#[test]
fn a_container_counts_the_volumes_that_it_would_make() {
    let engine = SmallEngine::with("quota = { volumes = 3 }\n");
    let create = |host: Json| {
        let body = json!({ "Image": "shared", "HostConfig": host, "Volumes": { "/v": {} } });
        ask(&engine, "ann", "/v1.41/containers/create?name=new", &body)
    };
    assert!(create(json!({ "Binds": ["data:/d"] })).is_ok());
    for more in [
        json!({ "Binds": ["new:/d"] }),
        json!({ "Binds": ["/anonymous"] }),
        json!({ "Mounts": [{ "Type": "volume", "Target": "/x" }] }),
        json!({ "Mounts": [{ "Type": "volume", "Source": "new", "Target": "/x" }] }),
    ] {
        let said = create(more).unwrap_err();
        assert!(said.contains("volumes: must be at most 3 in this namespace, which has 2, and this would make 2 more"), "{said}");
    }
}

/// One call of a namespace has its turn before it counts; others of it wait, by whichever listener, and no others.
#[test]
fn what_is_counted_is_counted_alone() {
    use crate::policy::{Deed, Slot, Step};
    let engine = SmallEngine::with(SHORT);
    let first = |user: &str, listener: &str, target: &str| {
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n\r\n"
        );
        let head = crate::wire::head::RequestHead::parse(head.as_bytes()).unwrap();
        let draft = crate::api::Draft::parse(&head).unwrap();
        let call = draft.with_json(&head, b"{}", 100).unwrap();
        let identity = Identity::imagined(Some(user));
        let facts = crate::policy::Facts::default();
        let cx = Context::new(&identity, listener, crate::api::endpoint::KNOWN, &facts);
        match engine.chain.decide(call).step(&cx) {
            Step::Do(deeds) => match deeds.first().map(Deed::plain) {
                Some(Deed::Take(slot)) => slot.clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    let create = "/v1.41/containers/create?name=new";
    let slot: Slot = first("ann", "l", create);
    assert_eq!((slot.most, slot.patience), (1, Slot::A_WHILE));
    assert_eq!(first("ann", "other", create), slot);
    assert_eq!(first("ann", "l", "/v1.41/volumes/create"), slot);
    assert_ne!(first("bob", "l", create), slot);
    assert_ne!(first("ann", "l", "/v1.41/containers/late/start"), slot);
}
