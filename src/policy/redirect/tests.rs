//! What becomes of creates, builds and commits on a listener with `transparent-cache`.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::auth::Identity;
use crate::policy::conservative::Surroundings;
use crate::policy::layout::TrustFile;
use crate::policy::{Chain, Facts, Link, Step, TrustAnchor, rehearsal};

const TEXT: &str = r#"
[[listener]]
name = "ci"
url = "unix:///run/ci.sock"
policies = ["packages"]
[policy.packages]
kind = "transparent-cache"
cache = "packages"
domains = ["one.example", "Two.example"]
[cache.packages]
listen = ["http://172.17.0.1:80", "https://172.17.0.1:443"]
intercept = "on"
dir = "/nowhere"
domains = ["*.example"]
"#;

const IMAGE: &str = "sha256:feed";
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

struct Rig {
    chain: Chain,
    layout: Option<Layout>,
    held: Option<Arc<Installed>>,
    env: Vec<&'static str>,
    /// Of what the engine has made.
    mounts: Vec<&'static str>,
    /// What is done fails.
    fails: bool,
    done: Vec<Deed>,
}

impl Rig {
    fn new() -> Rig {
        Rig::of(TEXT)
    }

    fn of(text: &str) -> Rig {
        let config = crate::config::parse(text, Path::new("t"), Path::new(""), &|_| None).unwrap();
        let listener = &config.listeners[0];
        let around = Surroundings::of(&config, listener);
        let build = |policy| Link::new(crate::policy::build(policy, &around).unwrap());
        let chain = Chain::new(listener.policies.iter().map(build).collect());
        let bundle = TrustFile {
            path: BUNDLE.to_owned(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 0,
            content: Arc::from(&b"roots"[..]),
        };
        let layout = Layout {
            bundles: vec![bundle],
            bundle_path: Some(BUNDLE.to_owned()),
            apt: true,
            ..Layout::default()
        };
        let (env, mounts, done) = Default::default();
        Rig { chain, layout: Some(layout), held: None, env, mounts, fails: false, done }
    }

    fn knows(&self, question: &Question) -> Fact {
        match question {
            Question::Image(name) if name == "x" => Fact::Json(Arc::new(
                json!({ "Id": IMAGE, "Config": { "Env": self.env, "Volumes": { "/data": {} } } }),
            )),
            Question::Network(name) => match name.as_str() {
                "inside" => Fact::Json(Arc::new(json!({ "Internal": true }))),
                "front" => Fact::Json(Arc::new(json!({ "Internal": false }))),
                _ => Fact::Absent,
            },
            Question::OfEngine(question) if matches!(&**question, Question::Container(_)) => {
                let mounts = self.mounts.iter().map(|at| json!({ "Destination": at }));
                Fact::Json(Arc::new(json!({
                    "Mounts": mounts.collect::<Vec<_>>(),
                    "HostConfig": { "Tmpfs": { "/tmp/../run/": "" } },
                    "Config": { "Volumes": { "/data": {} } },
                })))
            }
            Question::Container(name) => {
                Fact::Json(Arc::new(json!({ "Id": format!("id-{name}") })))
            }
            Question::Layout(image) if image == IMAGE => match &self.layout {
                Some(layout) => Fact::Layout(Arc::new(layout.clone())),
                None => Fact::Failed("no".to_owned()),
            },
            Question::Trust(TrustQuestion::Anchor(cache)) if cache == "packages" => {
                Fact::Trust(TrustFact::Anchor(Arc::new(TrustAnchor {
                    generation: "g1".into(),
                    pem: "PEM".into(),
                    der: Arc::from(&b"DER"[..]),
                    subject_hash: Some("feed".into()),
                })))
            }
            Question::Trust(TrustQuestion::Installed(id)) if id == "id-held" => {
                let held = self.held.clone();
                held.map_or(Fact::Absent, |held| Fact::Trust(TrustFact::Installed(held)))
            }
            _ => Fact::Absent,
        }
    }

    /// The call as the engine gets it.
    fn decide(&mut self, method: &str, target: &str, body: &Json) -> Result<Typed, String> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let call = rehearsal::Request { method, target, body: body.as_bytes() };
        let call = rehearsal::parsed(&self.chain, &call).unwrap();
        let identity = Identity::imagined(Some("ann"));
        let mut facts = Facts::default();
        let mut deciding = self.chain.decide(call);
        loop {
            let cx = Context::new(&identity, "ci", crate::api::endpoint::KNOWN, &facts);
            match deciding.step(&cx) {
                Step::Ask(questions) => {
                    for question in questions {
                        let fact = self.knows(&question);
                        facts.insert(question, fact);
                    }
                }
                Step::Do(deeds) => {
                    for deed in deeds {
                        self.done.push(deed.clone());
                        facts.report(deed, if self.fails { Err("no".into()) } else { Ok(()) });
                    }
                }
                Step::Done(call) => match &*call {
                    crate::api::Call::Typed(call) => return Ok(Typed::clone(call)),
                    other => panic!("{other:?}"),
                },
                Step::Denied(reasons) => return Err(reasons[0].message()),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The answer as the client gets it.
    fn answer(&mut self, call: &Typed, status: u16, json: Json) -> Json {
        let identity = Identity::imagined(Some("ann"));
        let (mut facts, headers) = (Facts::default(), Default::default());
        let mut answer = Answer {
            call,
            status,
            headers: &headers,
            api_version: None,
            json: Some(json),
            text: Vec::new(),
        };
        let chain = std::mem::take(&mut self.chain);
        let mut answering = chain.answer();
        loop {
            let cx = Context::new(&identity, "ci", crate::api::endpoint::KNOWN, &facts);
            match answering.step(&mut answer, &cx) {
                Step::Ask(questions) => {
                    for question in questions {
                        let fact = self.knows(&question);
                        facts.insert(question, fact);
                    }
                }
                Step::Do(deeds) => {
                    for deed in deeds {
                        self.done.push(deed.clone());
                        facts.report(deed, if self.fails { Err("no".into()) } else { Ok(()) });
                    }
                }
                Step::Done(()) => break,
                other => panic!("{other:?}"),
            }
        }
        drop(answering);
        let json = answer.json.take().unwrap();
        self.chain = chain;
        json
    }

    /// What is known to have been put into a container.
    fn given(&self) -> Arc<Installed> {
        match &self.done[..] {
            [Deed::Install(_), Deed::Remember(_, Fact::Trust(TrustFact::Installed(given)))] => {
                Arc::clone(given)
            }
            other => panic!("{other:?}"),
        }
    }

    fn create(&mut self, body: &Json) -> Json {
        let call = self.decide("POST", "/v1.43/containers/create?name=c", body).unwrap();
        body_of(&call)
    }
}

fn body_of(call: &Typed) -> Json {
    let bytes = call.doc().unwrap().render();
    std::str::from_utf8(&bytes).unwrap().parse().unwrap()
}

const OURS: [&str; 2] = ["one.example:172.17.0.1", "two.example:172.17.0.1"];

#[test]
fn a_container_finds_the_hosts_at_the_cache_and_names_its_own_bundle() {
    let made = Rig::new().create(&json!({ "Image": "x" }));
    assert_eq!(made["HostConfig"]["ExtraHosts"], json!(OURS));
    let env = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"];
    assert_eq!(made["Env"], json!(env.map(|name| format!("{name}={BUNDLE}"))));
}

#[test]
fn what_a_user_or_an_image_says_stays_as_it_is() {
    let mut rig = Rig::new();
    rig.env = vec!["PATH=/bin", "REQUESTS_CA_BUNDLE=/opt/image.pem"];
    let body = json!({
        "Image": "x",
        "Env": ["SSL_CERT_FILE=/opt/own.pem", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO=relative"],
        "HostConfig": { "ExtraHosts": ["ONE.example:10.0.0.1", "other:10.0.0.2"] },
    });
    let call = rig.decide("POST", "/v1.43/containers/create", &body).unwrap();
    let made = body_of(&call);
    assert_eq!(made["Env"], body["Env"]);
    let hosts = json!(["ONE.example:10.0.0.1", "other:10.0.0.2", OURS[1]]);
    assert_eq!(made["HostConfig"]["ExtraHosts"], hosts);
    rig.answer(&call, 201, json!({ "Id": "c1", "Warnings": [] }));
    let install = &rig.given().install;
    assert_eq!(install.extra, ["/opt/own.pem", "/opt/image.pem"]);
}

#[test]
fn networks_by_which_nobody_comes_to_the_host_are_left_alone() {
    for mode in ["host", "none", "container:c", "inside", "gone"] {
        let body = json!({ "Image": "x", "HostConfig": { "NetworkMode": mode } });
        assert_eq!(Rig::new().create(&body)["HostConfig"].get("ExtraHosts"), None, "{mode}");
    }
    for mode in ["", "default", "bridge", "front"] {
        let body = json!({ "Image": "x", "HostConfig": { "NetworkMode": mode } });
        assert_eq!(Rig::new().create(&body)["HostConfig"]["ExtraHosts"], json!(OURS), "{mode}");
    }
}

#[test]
fn what_was_made_gets_the_files_but_none_at_a_mount() {
    let mut rig = Rig::new();
    // Those of another container are told by the engine alone.
    rig.mounts = vec!["/srv/certs", "/opt"];
    let body = json!({ "Image": "x", "HostConfig": { "VolumesFrom": ["other"] } });
    let call = rig.decide("POST", "/v1.43/containers/create", &body).unwrap();
    assert_eq!(rig.done, []);
    let said = json!({ "Id": "c1", "Warnings": [] });
    assert_eq!(rig.answer(&call, 201, said.clone()), said);
    let given = rig.given();
    let install = &given.install;
    assert_eq!((&*install.container, &*given.image, &*given.cache), ("c1", IMAGE, "packages"));
    assert_eq!(given.owner.as_deref(), Some("ann"));
    assert_eq!((&*install.roots[0].generation, install.is_new), ("g1", true));
    assert_eq!(install.avoid, ["/srv/certs", "/opt", "/run", "/data"]);
    assert_eq!(install.files[0].0, "/etc/apt/apt.conf.d/80dockgate");
}

#[test]
fn no_variable_names_what_a_mount_may_hide() {
    for host in [
        json!({ "Tmpfs": { "/etc/ssl": "" } }),
        json!({ "Binds": ["v:/a/../etc/ssl/certs"] }),
        json!({ "Mounts": [{ "Type": "volume", "Source": "v", "Target": "/etc/./ssl/" }] }),
        json!({ "VolumesFrom": ["other"] }),
    ] {
        let made = Rig::new().create(&json!({ "Image": "x", "HostConfig": host }));
        assert_eq!(made.get("Env"), None, "{host}");
        assert_eq!(made["HostConfig"]["ExtraHosts"], json!(OURS));
    }
    let host = json!({ "Binds": ["v:/etc/sslx"] });
    let made = Rig::new().create(&json!({ "Image": "x", "HostConfig": host }));
    assert_eq!(made["Env"].as_array().map(Vec::len), Some(3));
}

#[test]
fn nothing_that_fails_ever_fails_a_create() {
    let said = json!({ "Id": "c1", "Warnings": [] });
    let mut rig = Rig::new();
    rig.fails = true;
    let call = rig.decide("POST", "/v1.43/containers/create", &json!({ "Image": "x" })).unwrap();
    assert_eq!(rig.answer(&call, 201, said.clone()), said);
    // Of an image that cannot be looked into, or is not there, only the hosts are said.
    for image in ["x", "absent"] {
        let mut rig = Rig::new();
        rig.layout = None;
        let call = rig.decide("POST", "/v1.43/containers/create", &json!({ "Image": image }));
        let call = call.unwrap();
        assert_eq!(body_of(&call)["HostConfig"]["ExtraHosts"], json!(OURS));
        assert_eq!(body_of(&call).get("Env"), None);
        rig.answer(&call, 201, said.clone());
        assert_eq!(rig.done, [], "{image}");
    }
    // No container, no files.
    let mut rig = Rig::new();
    let call = rig.decide("POST", "/v1.43/containers/create", &json!({ "Image": "x" })).unwrap();
    rig.answer(&call, 409, json!({ "message": "in use" }));
    assert_eq!(rig.done, []);
}

#[test]
fn where_no_program_could_trust_anybody_nothing_is_put() {
    let said = json!({ "Id": "c1" });
    let mut rig = Rig::new();
    rig.layout = Some(Layout::default());
    let call = rig.decide("POST", "/v1.43/containers/create", &json!({ "Image": "x" })).unwrap();
    rig.answer(&call, 201, said.clone());
    assert_eq!(rig.done, []);
    let mut rig = Rig::new();
    rig.mounts = vec!["/etc"];
    let body = json!({ "Image": "x", "HostConfig": { "Binds": ["v:/etc"] } });
    let call = rig.decide("POST", "/v1.43/containers/create", &body).unwrap();
    rig.answer(&call, 201, said);
    assert_eq!(rig.done, [], "the only store is a volume's");
}

#[test]
fn a_read_only_container_gets_no_files() {
    let mut rig = Rig::new();
    let body = json!({ "Image": "x", "HostConfig": { "ReadonlyRootfs": true } });
    let call = rig.decide("POST", "/v1.43/containers/create", &body).unwrap();
    assert_eq!(body_of(&call)["HostConfig"]["ExtraHosts"], json!(OURS));
    rig.answer(&call, 201, json!({ "Id": "c1" }));
    assert_eq!(rig.done, []);
}

fn held(rig: &mut Rig) -> WantedInstall {
    let call = rig.decide("POST", "/v1.43/containers/create", &json!({ "Image": "x" })).unwrap();
    rig.answer(&call, 201, json!({ "Id": "id-held" }));
    let held = rig.given();
    let install = held.install.clone();
    rig.held = Some(held);
    rig.done.clear();
    install
}

#[test]
fn a_commit_and_an_export_see_none_of_it() {
    let mut rig = Rig::new();
    let install = held(&mut rig);
    for (method, target) in
        [("POST", "/v1.43/commit?container=held"), ("GET", "/v1.43/containers/held/export")]
    {
        rig.done.clear();
        let body = if method == "POST" { json!({}) } else { Json::Null };
        rig.decide(method, target, &body).unwrap();
        let out = WantedInstall { is_new: false, ..install.clone() };
        assert_eq!(rig.done, [Deed::Uninstall(out)], "{target}");
    }
    rig.done.clear();
    rig.decide("POST", "/v1.43/commit?container=other", &json!({})).unwrap();
    assert_eq!(rig.done, [], "nothing was put there");
    rig.fails = true;
    let why = rig.decide("POST", "/v1.43/commit?container=held", &json!({})).unwrap_err();
    assert!(why.contains("(rule transparent-cache.files)"), "{why}");
}

#[test]
fn what_was_added_is_not_shown() {
    let mut rig = Rig::new();
    let inspect = rig.decide("GET", "/v1.43/containers/c/json", &Json::Null).unwrap();
    let shown = |rig: &mut Rig, hosts: Json| {
        let json = json!({ "Id": "c", "HostConfig": { "ExtraHosts": hosts } });
        rig.answer(&inspect, 200, json)["HostConfig"]["ExtraHosts"].clone()
    };
    assert_eq!(shown(&mut rig, json!(OURS)), Json::Null);
    assert_eq!(shown(&mut rig, json!(["a:1.2.3.4", OURS[0]])), json!(["a:1.2.3.4"]));
    assert_eq!(shown(&mut rig, json!(["one.example:9.9.9.9"])), json!(["one.example:9.9.9.9"]));
    assert_eq!(shown(&mut rig, json!([])), json!([]));
}

#[test]
fn classic_builds_find_the_hosts_and_those_of_buildkit_where_it_is_said() {
    let hosts = |rig: &mut Rig, query: &str| -> Vec<String> {
        let call = rig.decide("POST", &format!("/v1.43/build?{query}"), &Json::Null).unwrap();
        call.query().all("extrahosts").map(str::to_owned).collect()
    };
    let mut rig = Rig::new();
    assert_eq!(hosts(&mut rig, "version=1"), OURS);
    assert_eq!(hosts(&mut rig, ""), OURS);
    assert_eq!(
        hosts(&mut rig, "extrahosts=one.example%3A9.9.9.9"),
        ["one.example:9.9.9.9", OURS[1]]
    );
    for query in ["networkmode=host", "networkmode=none", "version=2"] {
        assert_eq!(hosts(&mut rig, query), [""; 0], "{query}");
    }
    let text = TEXT.replace("cache = \"packages\"", "cache = \"packages\"\nbuildkit = true");
    assert_eq!(hosts(&mut Rig::of(&text), "version=2"), OURS);
}

#[test]
fn buildkit_is_told_the_hosts_by_clients_and_by_frontends() {
    let settings = |buildkit| TransparentCache {
        cache: "packages".to_owned(),
        domains: vec!["one.example".to_owned(), "two.example".to_owned()],
        address: [172, 17, 0, 1].into(),
        buildkit,
    };
    let said = |buildkit, method: &str, body: Json| {
        let target = format!("/moby.buildkit.v1.{method}");
        let row = crate::api::buildkit::find(&target).unwrap();
        let body = body.to_string();
        let most = crate::api::doc::MOST_VALUES;
        let call = crate::api::call::grpc_from_json(row, body.as_bytes(), most).unwrap();
        let crate::api::Call::Typed(call) = call else { panic!() };
        let edits = hosts::of_build(&settings(buildkit), &call);
        edits.iter().map(|edit| format!("{edit:?}")).collect::<String>()
    };
    for (method, options) in
        [("Control/Solve", "FrontendAttrs"), ("frontend.LLBBridge/Solve", "FrontendOpt")]
    {
        let asked = |options_said: Json| {
            let mut body = json!({ "Frontend": "dockerfile.v0" });
            body[options] = options_said;
            body
        };
        let ours = "one.example=172.17.0.1,two.example=172.17.0.1";
        assert!(said(true, method, asked(json!({}))).contains(ours), "{method}");
        assert_eq!(said(false, method, asked(json!({}))), "", "{method}");
        let pinned = said(true, method, asked(json!({ "add-hosts": "one.example=9.9.9.9" })));
        assert!(pinned.contains("\"one.example=9.9.9.9,two.example=172.17.0.1\""), "{pinned}");
        let host = json!({ "force-network-mode": "host" });
        assert_eq!(said(true, method, asked(host)), "", "{method}");
        assert_eq!(said(true, method, json!({ "Definition": {} })), "", "{method}");
    }
}

#[test]
fn a_cache_that_containers_do_not_reach_is_complained_of() {
    let complaint = |from: &str, to: &str| {
        let text = TEXT.replace(from, to);
        assert_ne!(text, TEXT, "{from}");
        let error = crate::config::parse(&text, Path::new("t"), Path::new(""), &|_| None);
        error.unwrap_err().to_string()
    };
    for (from, to, wanted) in [
        ("cache = \"packages\"\n", "", "`[policy.packages]` needs `cache`"),
        ("cache = \"packages\"", "cache = \"other\"", "there is no `[cache.other]`"),
        ("intercept = \"on\"", "", "cache `packages` has no `intercept`"),
        ("[\"*.example\"]", "[\"*.org\"]", "cache `packages` does not serve `one.example`"),
        ("\"one.example\"", "\"*.example\"", "`*.example` is not a host"),
        ("\"one.example\"", "\"10.0.0.1\"", "`10.0.0.1` is not a host"),
        ("domains = [\"one.example\", \"Two.example\"]\n", "", "needs `domains`"),
        ("http://172.17.0.1:80", "http://172.17.0.1:8080", "does not listen on ports 80 and 443"),
        ("https://172.17.0.1", "https://172.17.0.2", "does not listen on ports 80 and 443"),
        ("[cache", "address = \"127.0.0.1\"\n[cache", "no address that a container reaches"),
        ("[[listener]]", "[ca]\nlifetime = \"1s\"\n[[listener]]", "between `1m` and `30d`"),
    ] {
        let found = complaint(from, to);
        assert!(found.contains(wanted), "{to}: {found}");
    }
    let elsewhere = TEXT.replace(":80\"", ":8080\"").replace(":443\"", ":8443\"");
    let text = elsewhere.replace("[cache", "address = \"172.30.0.1\"\n[cache");
    assert_eq!(
        Rig::of(&text).create(&json!({ "Image": "x" }))["HostConfig"]["ExtraHosts"][0],
        "one.example:172.30.0.1"
    );
}
