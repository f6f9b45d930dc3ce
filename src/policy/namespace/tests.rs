//! Two namespaces on a small engine: what each place of each call may lead to, and what is shown.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::*;
use crate::api::endpoint::{BodyKind, Resource};
use crate::api::shape::{Kind, Object};
use crate::api::table::TABLE;
use crate::auth::Identity;
use crate::config::PolicyKind;
use crate::policy::rehearsal::{self, explore};
use crate::policy::{Chain, Fact, Link};

mod told;

const TEXT: &str = r#"
[[listener]]
name = "l"
url = "unix:///x"
policies = ["t"]
[policy.t]
kind = "namespace"
name = "{user}"
key = "KEY"
shared = ["docker.io/library/shared"]
"#;

/// Everything of `ann`'s has ids of `a`, and everything of `bob`'s of `b`.
const ANN: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const BOB: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

struct SmallEngine {
    chain: Chain,
    policy: Option<Namespaces>,
    ann: Tenant,
    bob: Tenant,
    /// Whether the index knows what there is.
    has_index: bool,
    _key: tempfile::NamedTempFile,
}

impl SmallEngine {
    fn new() -> SmallEngine {
        SmallEngine::with("")
    }

    /// With more in its policy.
    fn with(settings: &str) -> SmallEngine {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [5; 32]).unwrap();
        let text = TEXT.replace("KEY", file.path().to_str().unwrap()) + settings;
        let config = crate::config::parse(&text, Path::new("t"), Path::new(""), &|_| None).unwrap();
        let PolicyKind::Namespace(settings) = &config.listeners[0].policies[0].kind else {
            panic!()
        };
        let make = || Namespaces::new("t", settings).unwrap();
        let policy = make();
        let tenant = |name: &str| Tenant::new(&policy.key, name.to_owned());
        let (ann, bob) = (tenant("ann"), tenant("bob"));
        let chain = Chain::new(vec![Link::new(Box::new(policy))]);
        SmallEngine { chain, policy: Some(make()), ann, bob, has_index: false, _key: file }
    }

    fn container(&self, tenant: &Tenant, id: &str) -> Json {
        json!({ "Id": id, "Name": format!("/{}", tenant.sent("web")), "Image": format!("sha256:{id}") })
    }

    fn volume(&self, tenant: &Tenant, id: &str) -> Json {
        json!({ "Name": id, "Labels": { "io.dockgate.volume": tenant.id() } })
    }

    fn listed(&self, tenant: &Tenant, id: &str) -> Json {
        let names = [format!("/{}", tenant.sent("web")), "/other/link".to_owned()];
        json!({ "Id": id, "Names": names, "ImageID": format!("sha256:{id}"), "State": "running", "Mounts": [{ "Name": id }] })
    }

    /// What the engine knows: of each tenant a container `web`, a network `net`, a volume without a name, an exec and an image.
    fn knows(&self, question: &Question) -> Option<Fact> {
        let Question::OfEngine(question) = question else {
            panic!("{question:?}: of nobody's engine")
        };
        let both = [(&self.ann, ANN), (&self.bob, BOB)];
        let json = match &**question {
            Question::Indexed(resource, text) => {
                self.indexed(*resource, text).filter(|_| self.has_index)
            }
            Question::Container(name) => both
                .iter()
                .find(|(tenant, id)| name == id || name == short(id) || *name == tenant.sent("web"))
                .map(|(tenant, id)| self.container(tenant, id)),
            Question::Network(name) => both
                .iter()
                .find(|(tenant, id)| {
                    let names = [tenant.sent("net"), tenant.sent("bridge")];
                    name == id || name == short(id) || names.contains(name)
                })
                .map(|(tenant, id)| json!({ "Id": id, "Name": tenant.sent("net") }))
                .or_else(|| {
                    PREDEFINED
                        .contains(&name.as_str())
                        .then(|| json!({ "Id": "host", "Name": name }))
                }),
            Question::Volume(name) => {
                both.iter().find(|(_, id)| name == id).map(|(tenant, id)| self.volume(tenant, id))
            }
            Question::ExecInspect(id) => {
                [ANN, BOB].contains(&id.as_str()).then(|| json!({ "ID": id, "ContainerID": id }))
            }
            Question::Image(name) => (name == "shared").then(|| json!({ "Id": "sha256:cc" })),
            Question::List(Resource::Container, Some(filter)) => {
                let filter: Json = serde_json::from_str(filter).unwrap();
                let wants = |key: &str, text: &str| {
                    let values = filter.get(key).and_then(Json::as_array);
                    values.is_none_or(|values| {
                        let mut values = values.iter().filter_map(Json::as_str);
                        values.any(|value| regex::Regex::new(value).unwrap().is_match(text))
                    })
                };
                let all = both
                    .iter()
                    .map(|(tenant, id)| (self.listed(tenant, id), tenant.sent("web"), *id));
                let taken = all.filter(|(_, name, id)| {
                    wants("name", name) && wants("id", id) && wants("volume", id)
                });
                Some(taken.map(|(one, ..)| one).collect())
            }
            Question::List(Resource::Image, _) => Some(json!([
                { "Id": format!("sha256:{ANN}"), "RepoTags": [] },
                { "Id": format!("sha256:{BOB}"), "RepoTags": [] },
            ])),
            Question::List(..) => Some(json!([])),
            Question::Fresh => return Some(Fact::Fresh("0123456789abcdef".repeat(2))),
            other => panic!("{other:?}"),
        };
        Some(json.map_or(Fact::Absent, |json| Fact::Json(Arc::new(json))))
    }

    /// What an index knows of everybody's.
    fn indexed(&self, resource: Resource, text: &str) -> Option<Json> {
        let name = if resource == Resource::Container { "web" } else { "net" };
        let both = [(self.ann.sent(name), ANN), (self.bob.sent(name), BOB)];
        let found = both.iter().find(|(name, id)| text == name || text == *id || text == short(id));
        found.map(|(name, id)| json!({ "Id": id, "Name": name }))
    }

    /// The request as the engine gets it, or what is said in its place.
    fn ask(&self, user: &str, method: &str, target: &str, body: &str) -> Result<String, String> {
        self.ask_knowing(user, (method, target, body), &|_| None)
    }

    /// The same, where the engine has more than that.
    fn ask_knowing(
        &self,
        user: &str,
        (method, target, body): (&str, &str, &str),
        more: &dyn Fn(&Question) -> Option<Json>,
    ) -> Result<String, String> {
        let request = rehearsal::Request { method, target, body: body.as_bytes() };
        let identity = Identity::imagined(Some(user));
        let outcome = explore(&self.chain, "l", &identity, &request, &|question| match question {
            Question::OfEngine(inner) => match more(inner) {
                Some(Json::Null) => Some(Fact::Absent),
                Some(json) => Some(Fact::Json(Arc::new(json))),
                None => self.knows(question),
            },
            // Of the policies that stand in front of every other.
            Question::Begun { .. } => Some(rehearsal::own("l", &identity)),
            Question::Fresh => Some(Fact::Fresh("f".repeat(32))),
            other => panic!("{other:?}"),
        });
        match outcome.verdict {
            rehearsal::Verdict::Allowed(bytes) => Ok(String::from_utf8(bytes).unwrap()),
            rehearsal::Verdict::Denied(_, reasons) => Err(reasons[0].message()),
            rehearsal::Verdict::Answered(_, reply) => {
                Err(format!("{} {}", reply.status, reply.json.unwrap_or_default()))
            }
            rehearsal::Verdict::Malformed(why) => Err(why),
            other => Err(format!("{other:?}")),
        }
    }
}

mod archive;
mod asked;
mod guests;
mod nameless;
mod prune;
mod quota;
mod volumes;

use super::names::PREDEFINED;

/// As many digits of an id as clients show.
fn short(id: &str) -> &str {
    id.get(..12).unwrap()
}

/// Every way in which a text can name this thing, by the grammars of the fields.
fn ways(id: &str) -> Vec<String> {
    let mut ways = vec![
        id.to_owned(),
        short(id).to_owned(),
        id.chars().take(1).collect(),
        format!("sha256:{id}"),
    ];
    ways.extend([
        format!("container:{id}"),
        format!("{id}:x"),
        format!("/{id}"),
        format!("{id}:/d:ro"),
        format!("{id}@sha256:{id}"),
    ]);
    ways
}

/// All places in a body of this shape that name something, each with a body that has nothing else.
fn bodies(shape: &'static Object, value: &str) -> Vec<Json> {
    fn walk(
        kind: Kind,
        is_named: bool,
        value: &str,
        wrap: &dyn Fn(Json) -> Json,
        out: &mut Vec<Json>,
    ) {
        match kind {
            Kind::Object(fields) => {
                for field in fields.iter().filter(|field| !field.ignored) {
                    let wrap = |inner: Json| wrap(json!({ field.name: inner }));
                    walk(field.kind, field.names.is_some(), value, &wrap, out);
                }
            }
            Kind::List(inner) => walk(*inner, is_named, value, &|one| wrap(json!([one])), out),
            Kind::Map(inner) => {
                if is_named {
                    out.push(wrap(json!({ value: null })));
                }
                walk(*inner, is_named, value, &|one| wrap(json!({ "key": one })), out);
            }
            Kind::Str if is_named => out.push(wrap(json!(value))),
            _ => {}
        }
    }
    let mut out = Vec::new();
    walk(Kind::Object(shape), false, value, &|body| body, &mut out);
    out
}

/// A mount says by its type what its source is.
fn with_types(body: Json) -> Vec<Json> {
    let Some(mount) = body.pointer("/HostConfig/Mounts/0").cloned() else { return vec![body] };
    let typed = |kind: &str| {
        let (mut body, mut mount) = (body.clone(), mount.clone());
        mount["Type"] = json!(kind);
        body["HostConfig"]["Mounts"][0] = mount;
        body
    };
    vec![typed("volume"), typed("image"), typed("cluster")]
}

#[test]
fn no_place_of_any_call_leads_to_what_is_anothers() {
    leads_nowhere(&SmallEngine::new());
}

#[test]
fn no_place_leads_there_where_the_index_knows_it_either() {
    leads_nowhere(&SmallEngine { has_index: true, ..SmallEngine::new() });
}

fn leads_nowhere(engine: &SmallEngine) {
    let (mut places, mut found) = (0, Vec::new());
    // Whose address a registry has is no matter of namespaces.
    for row in TABLE.iter().filter(|row| row.endpoint != Endpoint::SystemAuth) {
        for way in ways(BOB) {
            let encoded =
                percent_encoding::utf8_percent_encode(&way, percent_encoding::NON_ALPHANUMERIC)
                    .to_string();
            let mut calls = Vec::new();
            let plain = |name: &str| {
                row.path
                    .replace("{name:.*}", name)
                    .replace("{id:.*}", name)
                    .replace("{id:.+}", name)
                    .replace("{id}", name)
                    .replace("{name}", name)
                    .replace("{checkpoint}", "x")
                    .replace("{anyroute:.*}", "x")
            };
            if !row.path_names.is_empty() {
                calls.push((plain(&way), String::new()));
            }
            for param in row.query.iter().filter(|param| param.names.is_some() && !param.ignored) {
                let value = if param.json.is_some() {
                    "%5B%22".to_owned() + &encoded + "%22%5D"
                } else {
                    encoded.clone()
                };
                calls.push((format!("{}?{}={value}", plain("web"), param.name), String::new()));
            }
            for key in [
                "before",
                "since",
                "network",
                "volume",
                "ancestor",
                "container",
                "image",
                "name",
                "id",
            ] {
                if row.query.iter().any(|param| param.name == "filters") {
                    calls.push((
                        format!(
                            "{}?filters=%7B%22{key}%22%3A%5B%22{encoded}%22%5D%7D",
                            plain("web")
                        ),
                        String::new(),
                    ));
                }
            }
            if let BodyKind::Json(shape) = row.body {
                let all = bodies(shape, &way).into_iter().flat_map(with_types);
                calls.extend(all.map(|body| (plain("web"), body.to_string())));
            }
            for (target, body) in calls {
                places += 1;
                let Ok(sent) = engine.ask("ann", row.method.as_str(), &target, &body) else {
                    continue;
                };
                let shown = sent
                    .to_lowercase()
                    .replace("%3a", ":")
                    .replace("%22", "\"")
                    .replace("%5e", "^")
                    .replace("%2f", "/");
                // Behind ann's prefix it is a name of hers, whatever it is.
                let prefixes = [engine.ann.sent(""), format!("{NO_REGISTRY}/{}/", engine.ann.id())];
                let own = prefixes.iter().fold(shown, |text, prefix| {
                    let own = format!("{}[^ \"&,\\]\r\n]*", regex::escape(prefix));
                    regex::Regex::new(&own).unwrap().replace_all(&text, "OWN").into_owned()
                });
                // What a list of her own things is filtered by may be anything.
                // A bind without a colon has no source, and a mode is a word or `container:` and a name.
                let is_mode =
                    ["IpcMode", "PidMode", "Cgroup\""].iter().any(|key| body.contains(key));
                let has_source = (!body.contains("Binds") || way.starts_with(&format!("{BOB}:")))
                    && (!is_mode || way.starts_with("container:"));
                let leads = own.contains(BOB) && !own.contains("filters=") && has_source;
                if leads {
                    found.push(format!("{} {target} {body}\n{sent}", row.method.as_str()));
                }
                assert!(!sent.contains(&engine.bob.sent("")), "{target} {body}\n{sent}");
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(places > 1000, "{places}");
}

#[test]
fn names_ids_and_beginnings_of_ids_lead_to_ones_own() {
    for has_index in [false, true] {
        lead_to_ones_own(&SmallEngine { has_index, ..SmallEngine::new() });
    }
}

fn lead_to_ones_own(engine: &SmallEngine) {
    let web = engine.ann.sent("web");
    for (name, wanted) in [("web", &*web), (ANN, ANN), (short(ANN), ANN), ("a", ANN)] {
        let sent = engine.ask("ann", "POST", &format!("/v1.41/containers/{name}/start"), "");
        let sent = sent.unwrap_or_else(|why| panic!("{name}: {why}"));
        assert!(sent.starts_with(&format!("POST /v1.41/containers/{wanted}/start ")), "{sent}");
    }
    // Of what is not there the engine says so itself, by a name that only ann could give.
    for name in [BOB, short(BOB), "b", "nosuch"] {
        let sent =
            engine.ask("ann", "POST", &format!("/v1.41/containers/{name}/start"), "").unwrap();
        assert!(
            sent.starts_with(&format!("POST /v1.41/containers/{}/start ", engine.ann.sent(name))),
            "{sent}"
        );
    }
    let exec = |id| engine.ask("ann", "GET", &format!("/v1.41/exec/{id}/json"), "");
    assert!(exec(ANN).is_ok());
    assert_eq!(
        exec(BOB).unwrap_err(),
        exec(&"c".repeat(64))
            .unwrap_err()
            .replace('c', "b")
            .replace("No subh exeb instanbe", "No such exec instance")
    );
}

#[test]
fn what_is_made_gets_names_that_its_user_chose() {
    let engine = SmallEngine::new();
    let body = json!({
        "Image": "shared",
        "HostConfig": {
            "Binds": ["data:/d:ro", "/anonymous", "/host:/h"],
            "Mounts": [{ "Type": "volume", "Source": "mm", "Target": "/m" }, { "Type": "bind", "Source": "/x", "Target": "/x" }],
            "VolumesFrom": ["web:ro"],
            "PidMode": "container:web",
            "NetworkMode": "default",
            "Links": ["web:db"],
        },
        "NetworkingConfig": { "EndpointsConfig": { "default": { "Aliases": ["svc"] } } },
        "Labels": { "a": "b", "io.dockgate.namespace": "forged" },
    });
    let sent =
        engine.ask("ann", "POST", "/v1.41/containers/create?name=new", &body.to_string()).unwrap();
    let (head, sent) = sent.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("?name={} ", engine.ann.sent("new"))), "{head}");
    let sent: Json = serde_json::from_str(sent).unwrap();
    let own = |name: &str| engine.ann.sent(name);
    let wanted = json!({
        "Image": "shared",
        "HostConfig": {
            "Binds": [own("data") + ":/d:ro", "/host:/h"],
            "Mounts": [
                { "Type": "volume", "Source": own("mm"), "Target": "/m" },
                { "Type": "bind", "Source": "/x", "Target": "/x" },
                { "Type": "volume", "Target": "/anonymous", "VolumeOptions": { "Labels": {
                    "io.dockgate.namespace": "ann",
                    "io.dockgate.volume": engine.ann.id(),
                } } },
            ],
            "VolumesFrom": [format!("{ANN}:ro")],
            "PidMode": format!("container:{ANN}"),
            "NetworkMode": own("bridge"),
            "Links": null,
        },
        "NetworkingConfig": { "EndpointsConfig": { own("bridge"): {
            "Aliases": ["svc", "new", own("new")],
            "Links": [own("web") + ":db"],
        } } },
        "Labels": { "a": "b", "io.dockgate.namespace": "ann" },
    });
    assert_eq!(sent, wanted);
}

#[test]
fn what_is_shown_can_be_made_again() {
    let engine = SmallEngine::new();
    let own = |name: &str| engine.ann.sent(name);
    let mut inspected = json!({
        "Id": ANN,
        "Name": format!("/{}", own("new")),
        "Config": { "Image": "shared", "Labels": { "a": "b", "io.dockgate.namespace": "ann" } },
        "HostConfig": { "Binds": [own("data") + ":/d:ro"], "NetworkMode": own("bridge"), "Links": null },
        "NetworkSettings": {
            "IPAddress": "",
            "Networks": { own("bridge"): {
                "Aliases": ["svc", "new", own("new")],
                "DNSNames": [own("new"), "svc", "new", own("new"), "aaaaaaaaaaaa"],
                "Links": [own("web") + ":db"],
                "IPAddress": "10.0.0.2",
            } },
        },
        "Mounts": [{ "Type": "volume", "Name": own("data"), "Source": format!("/var/lib/docker/volumes/{}/_data", own("data")) }],
    });
    let row = TABLE.iter().find(|row| row.endpoint == Endpoint::ContainerInspect).unwrap();
    let policy = Namespaces { shared: GlobSet::empty(), ..namespaces() };
    show::object(&policy, &engine.ann, row, &mut inspected);
    let wanted = json!({
        "Id": ANN,
        "Name": "/new",
        "Config": { "Image": "shared", "Labels": { "a": "b" } },
        "HostConfig": { "Binds": ["data:/d:ro"], "NetworkMode": "bridge", "Links": ["/web:/new/db"] },
        "NetworkSettings": {
            "IPAddress": "10.0.0.2",
            "Networks": { "bridge": {
                "Aliases": ["svc"],
                "DNSNames": ["new", "svc", "aaaaaaaaaaaa"],
                "Links": null,
                "IPAddress": "10.0.0.2",
            } },
        },
        "Mounts": [{ "Type": "volume", "Name": "data", "Source": "/var/lib/docker/volumes/data/_data" }],
    });
    assert_eq!(inspected, wanted);
}

fn namespaces() -> Namespaces {
    let place = config::Place::default();
    let settings = config::Namespace {
        name: Template::parse("{user}").unwrap(),
        key: config::File { path: "nowhere".into(), place },
        has_own_key: false,
        network_pool: None,
        registry: None,
        ports: config::NamespacePorts::AsAsked,
        shared: Vec::new(),
        quota: config::NamespaceQuota::default(),
    };
    Namespaces::new("t", &settings).unwrap()
}

#[test]
fn an_engines_message_is_told_with_visible_names() {
    let (policy, engine) = (namespaces(), SmallEngine::new());
    let images = policy.images(&engine.ann);
    for (text, wanted) in [
        (format!("No such container: {}", engine.ann.sent("x")), "No such container: x"),
        (
            format!("Conflict. The container name \"/{}\" is in use", engine.ann.sent("x")),
            "Conflict. The container name \"/x\" is in use",
        ),
        (
            format!("No such image: {}", images.sent("busybox:nosuch").unwrap()),
            "No such image: busybox:nosuch",
        ),
        ("nothing of ours".to_owned(), "nothing of ours"),
    ] {
        assert_eq!(show::message(&policy, &engine.ann, &text), wanted);
    }
}

#[test]
fn a_caller_without_a_name_has_no_namespace() {
    let engine = SmallEngine::new();
    let request = rehearsal::Request { method: "GET", target: "/containers/json", body: b"" };
    let outcome = explore(&engine.chain, "l", &Identity::imagined(None), &request, &|_| None);
    let rehearsal::Verdict::Denied(_, reasons) = outcome.verdict else { panic!("{outcome:?}") };
    assert_eq!(reasons[0].rule, "namespace.name");
}

#[test]
fn what_a_policy_cannot_look_at_removes_nothing_and_fetches_nothing() {
    let engine = SmallEngine::new();
    for (method, target, why) in [
        ("POST", "/v1.41/images/create?fromSrc=http://10.0.0.1/x&repo=y", "would fetch"),
        ("POST", "/v1.41/containers/web/start?checkpoint=x", "a checkpoint"),
        ("POST", "/v1.41/images/create?fromImage=shared&tag=2&platform=linux/arm64", "shared by"),
        ("POST", "/v1.41/containers/nosuch/attach", "No such container: nosuch"),
        (
            "POST",
            &format!("/v1.41/images/{}/tag?repo=x", "c".repeat(64)),
            "No such image: sha256:ccc",
        ),
        (
            "POST",
            "/v1.41/images/no%20such/tag?repo=x",
            "404 {\"message\":\"invalid reference format",
        ),
        (
            "POST",
            "/v1.41/containers/web/rename?name=bad%20name",
            "Error when allocating new name: Invalid container name (/bad name)",
        ),
        (
            "DELETE",
            &format!("/v1.41/images/{ANN}"),
            "unable to delete aaaaaaaaaaaa (cannot be forced) - image is being used by running container aaaaaaaaaaaa",
        ),
        ("GET", "/v1.41/networks?filters=%7B%22type%22%3A%5B%22bad%22%5D%7D", "'type'='bad'"),
        (
            "GET",
            &format!("/v1.41/containers/json?filters=%7B%22ancestor%22%3A%5B%22{BOB}%22%5D%7D"),
            "200 []",
        ),
    ] {
        let said = engine.ask("ann", method, target, "").unwrap_err();
        assert!(said.contains(why), "{target}: {said}");
    }
    for (name, why) in [("x", "volume name is too short"), ("-x", "includes invalid characters")] {
        let body = json!({ "Name": name }).to_string();
        let said = engine.ask("ann", "POST", "/v1.41/volumes/create", &body).unwrap_err();
        assert!(said.starts_with("400 ") && said.contains(why), "{name}: {said}");
    }
    let said = engine.ask("ann", "POST", "/v1.41/networks/create", "{\"Name\":\"\"}").unwrap_err();
    assert!(said.contains("invalid name: name is empty"), "{said}");
    let body = json!({
        "Image": "shared",
        "HostConfig": { "PortBindings": { "80/tcp": [{ "HostIp": "127.1.2.3", "HostPort": "80" }] } },
    });
    let same = engine.ask("ann", "POST", "/v1.41/containers/create?name=new", &body.to_string());
    assert!(same.is_ok(), "ports are as asked here: {same:?}");
}

#[test]
fn of_the_names_of_an_image_only_ones_own_are_shown() {
    let (policy, engine) = (namespaces(), SmallEngine::new());
    let name = |tenant: &Tenant| policy.images(tenant).sent("app:1").unwrap();
    let tags = json!([name(&engine.ann), name(&engine.bob), "private.example/x:1"]);
    let shown = |endpoint, key: &str| {
        let row = TABLE.iter().find(|row| row.endpoint == endpoint).unwrap();
        let mut answer = json!([{ "Id": format!("sha256:{ANN}"), key: tags.clone() }]);
        show::object(&policy, &engine.ann, row, &mut answer);
        answer[0][key].clone()
    };
    assert_eq!(shown(Endpoint::ImageHistory, "Tags"), json!(["app:1"]));
    assert_eq!(shown(Endpoint::ImageList, "RepoTags"), json!(["app:1"]));
}

#[test]
fn an_image_by_its_id_stays_written_as_it_was() {
    let engine = SmallEngine::new();
    for text in [ANN.to_owned(), format!("sha256:{ANN}")] {
        let body = json!({ "Image": text }).to_string();
        let sent = engine.ask("ann", "POST", "/v1.41/containers/create?name=new", &body).unwrap();
        assert!(sent.contains(&format!("\"Image\":\"{text}\"")), "{sent}");
    }
    // The beginning of one could be another's by then.
    let body = json!({ "Image": short(ANN) }).to_string();
    let sent = engine.ask("ann", "POST", "/v1.41/containers/create?name=new", &body).unwrap();
    assert!(sent.contains(&format!("\"Image\":\"sha256:{ANN}\"")), "{sent}");
    let body = json!({ "Image": BOB }).to_string();
    let said = engine.ask("ann", "POST", "/v1.41/containers/create?name=new", &body).unwrap_err();
    assert!(said.contains("No such image"), "{said}");
}

#[test]
fn before_and_since_take_whole_ids_and_names() {
    let engine = SmallEngine::new();
    let since = |text: &str| {
        let target =
            format!("/v1.41/containers/json?filters=%7B%22since%22%3A%5B%22{text}%22%5D%7D");
        engine.ask("ann", "GET", &target, "").unwrap()
    };
    assert!(since(ANN).contains(&format!("{ANN}%22")), "{}", since(ANN));
    assert!(since("web").contains(ANN));
    // The engine finds nothing by its beginning.
    let sent = engine.ann.sent(short(ANN));
    assert!(since(short(ANN)).contains(&sent), "{}", since(short(ANN)));
}
