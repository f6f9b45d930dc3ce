//! What builds may name, as the engine is asked for it.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::super::Namespaces;
use super::super::names::Tenant;
use super::*;
use crate::auth::Identity;
use crate::config::PolicyKind;
use crate::policy::rehearsal::{self, explore};
use crate::policy::{Chain, Context, Deed, Fact, Facts, Link, Policy as _, Question};

const TEXT: &str = r#"
[[listener]]
name = "l"
url = "unix:///x"
policies = ["t"]
[policy.t]
kind = "namespace"
name = "{user}"
key = "KEY"
shared = SHARED
"#;

/// With a registry that images come by.
const REGISTRY: &str = r#"
registry = "main"
[registry.main]
listen = "127.0.0.1:5454"
[registry.main.upstream."docker.io"]
url = "https://registry-1.docker.io"
"#;

/// A user's namespace, and what is asked of it.
pub(in crate::policy::namespace) struct Case {
    settings: crate::config::Namespace,
    policy: Namespaces,
    tenant: Tenant,
    _key: tempfile::NamedTempFile,
}

impl Case {
    pub(super) fn new(shared: &[&str]) -> Case {
        Case::of(TEXT, shared)
    }

    pub(in crate::policy::namespace) fn with_registry() -> Case {
        Case::of(&format!("{TEXT}{REGISTRY}"), &["docker.io/library/shared"])
    }

    fn of(text: &str, shared: &[&str]) -> Case {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [5; 32]).unwrap();
        let text = text.replace("KEY", file.path().to_str().unwrap());
        let text = text.replace("SHARED", &json!(shared).to_string());
        let config = crate::config::parse(&text, Path::new("t"), Path::new(""), &|_| None).unwrap();
        let PolicyKind::Namespace(settings) = &config.listeners[0].policies[0].kind else {
            panic!()
        };
        let policy = Namespaces::new("t", settings).unwrap();
        let tenant = Tenant::new(&policy.key, "ann".to_owned());
        Case { settings: (**settings).clone(), policy, tenant, _key: file }
    }

    pub(in crate::policy::namespace) fn request<T>(
        &self,
        ask: impl FnOnce(&Request<'_>) -> T,
    ) -> T {
        let (identity, facts) = (Identity::imagined(Some("ann")), Facts::default());
        let cx = Context::new(&identity, "l", crate::api::endpoint::KNOWN, &facts);
        let call = crate::api::call::grpc(
            crate::api::buildkit::find("/moby.buildkit.v1.Control/Info").unwrap(),
            &http::HeaderMap::new(),
            &[],
            1,
        );
        let Ok(crate::api::Call::Typed(call)) = call else { panic!() };
        ask(&Request { with: &self.policy, tenant: &self.tenant, call: &call, cx: &cx })
    }

    /// What becomes of a call on an engine that is known so.
    pub(in crate::policy::namespace) fn outcome(
        &self,
        (method, target): (&str, &str),
        body: &Json,
        of_engine: &dyn Fn(&Question) -> Fact,
    ) -> rehearsal::Verdict {
        let policy = Namespaces::new("t", &self.settings).unwrap();
        let chain = Chain::new(vec![Link::new(Box::new(policy))]);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = rehearsal::Request { method, target, body: body.as_bytes() };
        let identity = Identity::imagined(Some("ann"));
        let outcome = explore(&chain, "l", &identity, &request, &|question| match question {
            Question::Begun { .. } => Some(rehearsal::own("l", &identity)),
            Question::Fresh => Some(Fact::Fresh("f".repeat(32))),
            Question::OfEngine(question) => Some(of_engine(question)),
            other => panic!("{other:?}"),
        });
        outcome.verdict
    }

    /// The message as BuildKit gets it.
    fn ask(&self, method: &str, body: Json) -> Result<Json, String> {
        match self.outcome(("POST", method), &body, &|_| Fact::Absent) {
            rehearsal::Verdict::Allowed(bytes) => {
                let at =
                    bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
                Ok(serde_json::from_str(&String::from_utf8_lossy(&bytes[at..]))
                    .unwrap_or(Json::Null))
            }
            rehearsal::Verdict::Denied(_, reasons) => Err(reasons[0].message()),
            rehearsal::Verdict::Answered(_, reply) => {
                Err(reply.json.unwrap_or_default().to_string())
            }
            other => Err(format!("{other:?}")),
        }
    }
}

pub(super) fn own(case: &Case) -> String {
    case.policy.prefix(&case.tenant).trim_end_matches('/').to_owned()
}

const SOLVE: &str = "/moby.buildkit.v1.Control/Solve";
const BRIDGE: &str = "/moby.buildkit.v1.frontend.LLBBridge/Solve";

#[test]
fn a_build_writes_no_name_but_the_namespaces_own() {
    let case = Case::new(&["docker.io/library/shared"]);
    let own = own(&case);
    let sent = case
        .ask(
            SOLVE,
            json!({
                "Ref": "r", "Session": "s", "Frontend": "dockerfile.v0",
                "ExporterDeprecated": "moby", "ExporterAttrsDeprecated": { "name": "one" },
                "Exporters": [
                    { "Type": "moby", "Attrs": { "name": "docker.io/library/one:1, ghcr.io/x/two", "push": "true" } },
                    { "Type": "oci", "Attrs": { "name": "three" } },
                ],
                "FrontendAttrs": {
                    "cache-from": "a,b", "target": "t", "add-hosts": "db=10.0.0.1",
                    "cache-imports": r#"[{"Type":"registry","Attrs":{"ref":"a"}},{"Type":"local","Attrs":{"ref":"a"}}]"#,
                },
                "Cache": {
                    "Imports": [{ "Type": "registry", "Attrs": { "ref": "a" } }, { "Type": "inline" }],
                    "Exports": [{ "Type": "registry", "Attrs": { "ref": "a", "mode": "max" } }],
                    "ImportRefsDeprecated": ["a"], "ExportRefDeprecated": "a",
                },
            }),
        )
        .unwrap();
    let library = |name: &str| format!("{own}/docker.io/library/{name}");
    let at = |path: &str| sent.pointer(path).and_then(Json::as_str).unwrap_or_default().to_owned();
    assert_eq!(at("/Exporters/0/Attrs/name"), format!("{},{own}/ghcr.io/x/two", library("one:1")));
    assert_eq!(at("/Exporters/1/Attrs/name"), "three");
    assert_eq!(at("/ExporterAttrsDeprecated/name"), library("one"));
    assert_eq!(at("/FrontendAttrs/cache-from"), format!("{},{}", library("a"), library("b")));
    let imports = at("/FrontendAttrs/cache-imports");
    assert!(imports.contains(&library("a")) && imports.contains(r#""ref":"a""#), "{imports}");
    assert_eq!(at("/FrontendAttrs/target"), "t");
    assert_eq!(at("/FrontendAttrs/build-arg:BUILDKIT_CACHE_MOUNT_NS"), case.tenant.id());
    let hosts = format!("{}=127.0.0.1,db=10.0.0.1", case.tenant.cache_name());
    assert_eq!(at("/FrontendAttrs/add-hosts"), hosts);
    for path in [
        "/Cache/Imports/0/Attrs/ref",
        "/Cache/Exports/0/Attrs/ref",
        "/Cache/ImportRefsDeprecated/0",
        "/Cache/ExportRefDeprecated",
    ] {
        assert_eq!(at(path), library("a"), "{path}");
    }
    assert!(sent["SourcePolicy"]["rules"].as_array().is_some_and(|rules| rules.len() >= 3));
}

#[test]
fn what_is_shared_is_nobodys_to_overwrite() {
    let case = Case::new(&["docker.io/library/shared"]);
    let named = |name: &str| {
        case.ask(SOLVE, json!({ "Ref": "r", "Session": "s", "Exporters": [{ "Type": "moby", "Attrs": { "name": name } }] }))
    };
    assert!(named("own").is_ok());
    assert!(named("own,shared:1").unwrap_err().contains("(rule namespace.build)"));
    let dangling = json!({ "Ref": "r", "Session": "s", "Exporters": [{ "Type": "image", "Attrs": { "dangling-name-prefix": "x" } }] });
    assert!(case.ask(SOLVE, dangling).is_err());
}

#[test]
fn caches_of_mounts_are_the_namespaces_own() {
    let case = Case::new(&[]);
    let place = "/FrontendOpt/build-arg:BUILDKIT_CACHE_MOUNT_NS";
    let sent = |opt: Json| {
        let body = json!({ "Frontend": "dockerfile.v0", "FrontendOpt": opt });
        case.ask(BRIDGE, body).unwrap().pointer(place).cloned()
    };
    assert_eq!(sent(json!({})), Some(json!(case.tenant.id())));
    let given = json!({ "build-arg:BUILDKIT_CACHE_MOUNT_NS": "x" });
    assert_eq!(sent(given), Some(json!(format!("{}-x", case.tenant.id()))));
}

#[test]
fn the_engines_build_cache_is_empty_to_a_namespace() {
    let case = Case::new(&[]);
    assert!(case.ask("/build/prune", Json::Null).unwrap_err().contains(r#""SpaceReclaimed":0"#));
    for (method, said) in [("DiskUsage", "{}"), ("Prune", "null")] {
        let answered = case.ask(&format!("/moby.buildkit.v1.Control/{method}"), json!({}));
        assert_eq!(answered.unwrap_err(), said, "{method}");
    }
}

#[test]
fn what_the_builder_says_is_shown_as_users_know_it() {
    let case = Case::new(&[]);
    let identity = Identity::imagined(Some("ann"));
    let facts = Facts::default();
    let cx = Context::new(&identity, "l", crate::api::endpoint::KNOWN, &facts);
    let shown = |text: &str| case.policy.text(&text.replace("OWN", &own(&case)), &cx);
    let digest = "0".repeat(64);
    let from = |name: &str| format!("[1/2] FROM {name}@sha256:{digest}");
    for (said, wanted) in [
        ("naming to OWN/docker.io/library/x:1", "naming to x:1"),
        (&from("OWN/docker.io/library/x:1"), &from("x:1")),
        (
            "failed to resolve source metadata for OWN/docker.io/library/x:1: not found",
            "failed to resolve source metadata for x:1: not found",
        ),
    ] {
        assert_eq!(shown(said).as_deref(), Some(wanted));
    }
    assert_eq!(shown("naming to x"), None);
}

#[test]
fn a_classic_build_names_what_is_its_own() {
    let case = Case::new(&["docker.io/library/shared"]);
    let ask = |query: &str| {
        let policy = Namespaces::new("t", &case.settings).unwrap();
        let chain = Chain::new(vec![Link::new(Box::new(policy))]);
        let target = format!("/v1.41/build?{query}");
        let request = rehearsal::Request { method: "POST", target: &target, body: b"" };
        let identity = Identity::imagined(Some("ann"));
        let outcome = explore(&chain, "l", &identity, &request, &|question| match question {
            Question::Begun { .. } => Some(rehearsal::own("l", &identity)),
            // The bridge, and what else a name may be.
            Question::OfEngine(one) => Some(match &**one {
                Question::Network(name) => {
                    Fact::Json(std::sync::Arc::new(json!({ "Id": "net", "Name": name })))
                }
                Question::Fresh => Fact::Fresh("f".repeat(32)),
                _ => Fact::Absent,
            }),
            other => panic!("{other:?}"),
        });
        match outcome.verdict {
            rehearsal::Verdict::Allowed(bytes) => {
                let line =
                    String::from_utf8(bytes).unwrap().lines().next().unwrap_or_default().to_owned();
                let plain =
                    percent_encoding::percent_decode_str(&line).decode_utf8_lossy().into_owned();
                Ok(plain.replace(&own(&case), "OWN").replace(&case.tenant.sent(""), "MINE-"))
            }
            rehearsal::Verdict::Denied(_, reasons) => Err(reasons[0].message()),
            other => Err(format!("{other:?}")),
        }
    };
    let sent = ask("t=one:1&t=ghcr.io/x/two&cachefrom=%5B%22c%22%5D&buildid=b&networkmode=default")
        .unwrap();
    for part in [
        "t=OWN/docker.io/library/one:1",
        "t=OWN/ghcr.io/x/two",
        r#"cachefrom=["OWN/docker.io/library/c"]"#,
        "buildid=MINE-b",
        "networkmode=MINE-bridge",
    ] {
        assert!(sent.contains(part), "{part}: {sent}");
    }
    assert!(ask("networkmode=host").unwrap().contains("networkmode=host"));
    assert!(ask("networkmode=container:web").unwrap().contains("networkmode=container:MINE-web"));
    for refused in ["t=shared", "version=2", "remote=https://x/y", "outputs=x", "session=s"] {
        assert!(ask(refused).unwrap_err().contains("(rule namespace.build)"), "{refused}");
    }
}

#[test]
fn a_dockerfile_is_sent_with_the_engines_names() {
    let case = Case::new(&["docker.io/library/shared"]);
    let identity = Identity::imagined(Some("ann"));
    let args = std::collections::BTreeMap::new();
    let (target, filename) = (String::new(), String::new());
    let builder = crate::api::dockerfile::Builder::Classic;
    let pulls = crate::api::dockerfile::AskedPulls::default();
    let build = crate::api::dockerfile::AskedBuild { builder, args, target, filename, pulls };
    let sent = |file: &str, image: Fact| {
        let mut facts = Facts::default();
        let names =
            ["x:1", "y:latest", "y"].map(|name| format!("{}/docker.io/library/{name}", own(&case)));
        let names = names.into_iter().chain(["shared:latest".to_owned()]);
        names.for_each(|name| facts.insert(Question::Image(name), image.clone()));
        let cx = Context::new(&identity, "l", crate::api::endpoint::KNOWN, &facts);
        match case.policy.dockerfile(&build, file.as_bytes(), &cx) {
            Verdict::Pass(_) => {}
            Verdict::Deny(reasons) => return Err(reasons[0].message()),
            other => return Err(format!("{other:?}")),
        }
        let sent = case.policy.dockerfile_sent(&build, file.as_bytes(), &cx);
        let sent = sent.map_err(|reason| reason.message())?;
        Ok(String::from_utf8(sent.unwrap_or_default()).unwrap().replace(&own(&case), "OWN"))
    };
    let image = |triggers: Json| {
        Fact::Json(std::sync::Arc::new(json!({ "Config": { "OnBuild": triggers } })))
    };
    let file = "FROM x:1\nCOPY --from=shared /a /b\nCOPY --from=y /a /b\n";
    let wanted = "FROM OWN/docker.io/library/x:1\nCOPY --from=shared /a /b\nCOPY --from=OWN/docker.io/library/y /a /b\n";
    assert_eq!(sent(file, image(json!(["RUN true"]))).as_deref(), Ok(wanted));
    assert_eq!(sent("FROM shared\n", image(Json::Null)).as_deref(), Ok(""));
    for (file, fact) in [
        ("FROM x:1", Fact::Absent),
        ("FROM shared", image(json!(["COPY --from=plain /a /b"]))),
        ("FROM x:1\nONBUILD COPY --from=plain /a /b", image(Json::Null)),
    ] {
        assert!(sent(file, fact).unwrap_err().contains("(rule namespace.dockerfile)"), "{file}");
    }
}

#[test]
#[expect(clippy::result_large_err, reason = "a pull is what the test looks at")]
fn what_a_dockerfile_names_is_pulled_before_it_goes_on() {
    let case = Case::with_registry();
    let identity = Identity::imagined(Some("ann"));
    let asked = |query: &[(&'static str, &str)], facts: &mut Facts, file: &str| {
        let mut asked = crate::api::query::Query::default();
        query.iter().for_each(|(name, value)| asked.set(name, (*value).to_owned()));
        let mut build = crate::api::dockerfile::AskedBuild::of_query(&asked).unwrap();
        build.pulls.always = query.contains(&("pull", "1"));
        build.pulls.logins = b"logins".to_vec();
        loop {
            let cx = Context::new(&identity, "l", crate::api::endpoint::KNOWN, facts);
            match case.policy.dockerfile(&build, file.as_bytes(), &cx) {
                Verdict::Ask(questions) => {
                    questions.into_iter().for_each(|one| facts.insert(one, Fact::Absent));
                }
                Verdict::Do(deeds) => match deeds.into_iter().next() {
                    Some(Deed::Pull(pull)) => return Err(pull),
                    other => panic!("{other:?}"),
                },
                Verdict::Pass(_) => return Ok("passes".to_owned()),
                Verdict::Deny(reasons) => return Ok(reasons[0].message()),
                other => panic!("{other:?}"),
            }
        }
    };
    let there = || Fact::Json(std::sync::Arc::new(json!({})));
    let pulled = |file: &str| asked(&[], &mut Facts::default(), file).unwrap_err();
    let own = own(&case);
    for (file, wanted) in [
        ("FROM x", "docker.io/library/x:latest"),
        ("FROM ghcr.io/a/b:1", "ghcr.io/a/b:1"),
        ("FROM scratch\nCOPY --from=y:2 /a /b", "docker.io/library/y:2"),
    ] {
        let pull = pulled(file);
        assert_eq!(pull.reference, format!("{own}/{wanted}"), "{file}");
        let grant = pull.grant.unwrap();
        assert!((grant.pull, grant.push, &*grant.registry) == (true, false, "main"));
        assert_eq!(grant.logins.as_deref(), Some(&b"logins"[..]));
    }
    let shared = pulled("FROM shared");
    assert_eq!((&*shared.reference, shared.grant), ("shared:latest", None));
    // what is there is used, and only anew where that is asked for; what is shared never is
    let known = || {
        let mut facts = Facts::default();
        for name in [format!("{own}/docker.io/library/x:1"), "shared:latest".to_owned()] {
            facts.insert(Question::Image(name), there());
        }
        facts
    };
    assert_eq!(asked(&[], &mut known(), "FROM x:1").unwrap(), "passes");
    let anew = asked(&[("pull", "1")], &mut known(), "FROM x:1").unwrap_err();
    assert_eq!(asked(&[("pull", "1")], &mut known(), "FROM shared").unwrap(), "passes");
    let mut done = known();
    done.report(Deed::Pull(anew.clone()), Ok(()));
    assert_eq!(asked(&[("pull", "1")], &mut done, "FROM x:1").unwrap(), "passes");
    // and why it cannot be had is said as its user knows it
    let mut failed = known();
    failed.report(
        Deed::Pull(anew),
        Err(format!("manifest for {own}/docker.io/library/x:1 not found")),
    );
    let why = asked(&[("pull", "1")], &mut failed, "FROM x:1").unwrap();
    assert!(
        why.contains(
            "`x:1` cannot be pulled: manifest for x:1 not found (rule namespace.dockerfile)"
        ),
        "{why}"
    );
    let digest = format!("FROM shared@sha256:{}", "0".repeat(64));
    assert!(asked(&[], &mut Facts::default(), &digest).unwrap().contains("is not there"));
}

#[test]
fn a_graph_of_ones_own_mounts_no_cache_of_others() {
    let case = Case::new(&[]);
    let own = case.tenant.id().to_owned();
    let solve = |id: &str| {
        let mount = json!({ "dest": "/c", "mountType": "CACHE", "cacheOpt": { "ID": id } });
        let op = json!({ "exec": { "meta": { "args": ["true"] }, "mounts": [mount] } });
        let body = json!({ "Ref": "r", "Session": "s", "Definition": { "def": [op] } });
        case.ask(SOLVE, body)
    };
    for id in ["/shared", "dgaaaaaaaaaa/shared", "", &format!("{own}x/shared")] {
        let why = solve(id).unwrap_err();
        assert!(why.contains("is not a cache of this namespace's"), "{id}: {why}");
    }
    solve(&format!("{own}/shared")).unwrap();
    let mounts = json!([{ "Dest": "/c", "MountType": "CACHE", "CacheOpt": { "ID": "x" } }]);
    let made = case.ask(
        "/moby.buildkit.v1.frontend.LLBBridge/NewContainer",
        json!({ "ContainerID": "c", "Mounts": mounts }),
    );
    assert!(made.is_err(), "{made:?}");
    let solve = |host: &str| {
        let meta = json!({ "args": ["true"], "extraHosts": [{ "Host": host, "IP": "127.0.0.1" }] });
        let op = json!({ "exec": { "meta": meta } });
        case.ask(SOLVE, json!({ "Ref": "r", "Session": "s", "Definition": { "def": [op] } }))
    };
    assert!(solve("cache-of-another").unwrap_err().contains("extraHosts"));
    solve("db").unwrap();
    solve(case.tenant.cache_name()).unwrap();
}
