//! Builds by BuildKit are held to what builds by query are.

use super::*;
use crate::api::buildkit::operation_bytes;
use crate::api::doc;
use crate::api::shape::{Kind, Object, n};

const SOLVE: &str = "POST /moby.buildkit.v1.Control/Solve";
const BRIDGE: &str = "POST /moby.buildkit.v1.frontend.LLBBridge/Solve";
const G: i64 = 1 << 30;

fn options(rules: &str, options: Json) -> Result<Json, String> {
    let solve =
        json!({"Ref": "r", "Session": "s", "Frontend": "dockerfile.v0", "FrontendAttrs": options});
    let bridge = json!({"Frontend": "dockerfile.v0", "FrontendOpt": options});
    let solved =
        request(rules, SOLVE, &solve.to_string()).map(|got| body(&got)["FrontendAttrs"].clone());
    let bridged =
        request(rules, BRIDGE, &bridge.to_string()).map(|got| body(&got)["FrontendOpt"].clone());
    let bridged = bridged.map_err(|why| why.replace("FrontendOpt", "FrontendAttrs"));
    assert_eq!(solved, bridged, "both ways are one");
    solved
}

#[test]
fn a_build_takes_one_slot_of_its_callers_and_nothing_else_takes_any() {
    let limits = limits("max = { builds = 2 }\n[policy.p.users.ann]\nmax = { builds = 5 }");
    let slot = |user: Option<&str>, target: &str| {
        let facts = crate::policy::Facts::default();
        let identity = Identity::imagined(user);
        let cx = Context::new(&identity, "ci", crate::api::endpoint::KNOWN, &facts);
        limits.slot(&parsed(target), &cx).map(|slot| (slot.user, slot.listener, slot.most))
    };
    let of = |user: &str, most| Some((Some(user.to_owned()), "ci".to_owned(), most));
    for target in ["/build", "/build?version=2", "/moby.buildkit.v1.Control/Solve"] {
        assert_eq!(slot(Some("bob"), target), of("bob", 2), "{target}");
        assert_eq!(slot(Some("ann"), target), of("ann", 5), "{target}");
        assert_eq!(slot(None, target), Some((None, "ci".to_owned(), 2)), "{target}");
    }
    for target in
        ["/moby.buildkit.v1.frontend.LLBBridge/Solve", "/containers/create", "/build/prune"]
    {
        assert_eq!(slot(Some("bob"), target), None, "{target}");
    }
    assert!(build("max = { builds = 2 }", "t=x").is_ok(), "what is only explained has a slot");
}

fn parsed(target: &str) -> Typed {
    let head =
        format!("POST {target} HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n\r\n");
    let head = crate::wire::head::RequestHead::parse(head.as_bytes()).unwrap();
    let call = match crate::api::buildkit::find(target) {
        Some(row) => crate::api::call::grpc_from_json(row, b"{}", doc::MOST_VALUES).unwrap(),
        None => crate::api::Draft::parse(&head)
            .unwrap()
            .with_json(&head, b"", doc::MOST_VALUES)
            .unwrap(),
    };
    let crate::api::Call::Typed(typed) = call else { panic!() };
    typed
}

#[test]
fn options_of_a_frontend_are_filled_in_and_capped() {
    let max = "max = { memory = \"2g\", cpus = 1.5, shm = \"128m\" }";
    let filled = json!({"memory": "2147483648", "memswap": "4294967296", "cpuperiod": "100000", "cpuquota": "150000", "shm-size": "67108864"});
    let within = json!({"memory": "1073741824", "memswap": "1073741824", "cpuperiod": "50000", "cpuquota": "50000", "shm-size": "1024"});
    let ulimits = "max = { ulimits = { nofile = 1024, core = 0 } }";
    let words = "force = { cgroup_parent = \"/ci/{user}\", network = \"none\", labels = { by = \"{user}\" } }";
    all(
        &[
            (max, json!({}), Ok(filled.clone())),
            (max, json!({"memory": "", "cpuquota": "0"}), Ok(filled)),
            (max, within.clone(), Ok(within)),
            (
                max,
                json!({"memory": "3221225472"}),
                Err("FrontendAttrs.memory: must be at most 2g, asked 3g (rule limits.memory)"),
            ),
            (max, json!({"memory": "3g"}), Err("must be a number that fits 64 bits")),
            (
                max,
                json!({"memswap": "-1"}),
                Err("FrontendAttrs.memswap: must be at most 2g, asked no limit"),
            ),
            (
                max,
                json!({"cpuquota": "400000"}),
                Err("FrontendAttrs.cpuquota: must be at most 1.5"),
            ),
            (max, json!({"cpuperiod": "1000000", "cpuquota": "-1"}), Err("rule limits.cpus")),
            (
                max,
                json!({"shm-size": "134217729"}),
                Err("FrontendAttrs.shm-size: must be at most 128m"),
            ),
            (max, json!({"shm-size": "-1"}), Err("asked no limit")),
            (ulimits, json!({}), Ok(json!({"ulimit": "core=0:0,nofile=1024:1024"}))),
            (
                ulimits,
                json!({"ulimit": "nofile=512,nproc=7:9"}),
                Ok(json!({"ulimit": "nofile=512:512,nproc=7:9,core=0:0"})),
            ),
            (
                ulimits,
                json!({"ulimit": "nofile=512:2048"}),
                Err("FrontendAttrs.ulimit.0.Hard: `nofile` must be at most 1024, asked 2048"),
            ),
            (ulimits, json!({"ulimit": "core=-1"}), Err("asked no limit")),
            (ulimits, json!({"ulimit": "\"nofile=9999\""}), Err("must be a list such as")),
            (ulimits, json!({"ulimit": "nofile=1:1:1"}), Err("must be a list such as")),
            (
                words,
                json!({"cgroup-parent": "/mine", "force-network-mode": "host", "label:by": "me", "label:a": "b"}),
                Ok(
                    json!({"cgroup-parent": "/ci/bob", "force-network-mode": "none", "label:a": "b", "label:by": "bob"}),
                ),
            ),
            (
                "force = { network = \"jobs\" }",
                json!({}),
                Err(
                    "FrontendAttrs.force-network-mode: must be `jobs`, which BuildKit cannot build in",
                ),
            ),
            (
                "force = { network = \"bridge\" }",
                json!({"force-network-mode": "none"}),
                Ok(json!({"force-network-mode": "sandbox"})),
            ),
            ("default = { network = \"jobs\" }", json!({}), Ok(json!({}))),
        ],
        options,
    );
}

#[test]
fn without_a_frontend_no_option_is_looked_at_and_none_is_made() {
    let max = "max = { memory = \"2g\" }";
    let asked = json!({"Ref": "r", "Session": "s"});
    let got = request(max, SOLVE, &asked.to_string()).map(|got| body(&got));
    assert_eq!(got, Ok(asked));
}

/// A graph of one operation and its end, with what it has beside it.
fn graph(rules: &str, exec: Json, metadata: &Json) -> Result<Json, String> {
    let graph = json!({"def": [{"exec": exec}, end()], "metadata": metadata});
    let asked = json!({"Ref": "r", "Session": "s", "Definition": graph});
    let inputs =
        json!({"Frontend": "dockerfile.v0", "FrontendInputs": {"base": graph}, "FrontendOpt": {}});
    let given =
        request(rules, SOLVE, &asked.to_string()).map(|got| body(&got)["Definition"].clone());
    let input = request(rules, BRIDGE, &inputs.to_string());
    assert_eq!(input.is_ok(), given.is_ok(), "{input:?} {given:?}");
    if let (Ok(input), Ok(given)) = (input, &given) {
        assert_eq!(body(&input)["FrontendInputs"]["base"], *given);
    }
    given
}

/// What names the result of a graph.
fn end() -> Json {
    json!({"inputs": [{"digest": "sha256:0"}]})
}

/// The digest by which BuildKit knows an operation.
fn digest_of(exec: &Json) -> String {
    const META: &Object = &[n(3, "cwd", Kind::Str)];
    const EXEC: &Object = &[n(1, "meta", Kind::Object(META))];
    const OPERATION: &Object = &[n(2, "exec", Kind::Object(EXEC))];
    let text = json!({"exec": exec}).to_string();
    let operation = doc::parse(text.as_bytes(), &Kind::Object(OPERATION));
    let bytes = operation_bytes(&operation.unwrap().root);
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[test]
fn memory_and_cpus_of_a_graph_stand_beside_it_under_the_digest_of_each_operation() {
    let max = "max = { memory = \"2g\", cpus = 1 }";
    let exec = json!({"meta": {"cwd": "/"}});
    let name = digest_of(&exec);
    // `def: 0x12 0x05 0x0a 0x03 0x1a 0x01 "/"`, hashed with sha256sum
    assert_eq!(name, "sha256:cda2c429966f43f345d0c66dd3d5823e971c0c8ca91dd0ace7af22e2bd3ba70c");
    let filled = json!({"linux_resources": {"memory": 2 * G, "memorySwap": 4 * G, "cpuPeriod": 100_000, "cpuQuota": 100_000}});
    let mut wanted = json!({"other": {"ignore_cache": true}});
    wanted[&name] = filled;
    let got = graph(max, exec.clone(), &json!({"other": {"ignore_cache": true}})).unwrap();
    assert_eq!(got["metadata"], wanted);
    assert_eq!(got["def"], json!([{"exec": exec}, end()]), "it keeps its digest");
    let mut asked = json!({});
    asked[&name] = json!({"linux_resources": {"memory": 3 * G}});
    let why = graph(max, exec.clone(), &asked).unwrap_err();
    assert!(
        why.contains(&format!(
            "metadata.{name}.linux_resources.memory: must be at most 2g, asked 3g"
        )),
        "{why}"
    );
    asked[&name] = json!({"linux_resources": {"cpuQuota": 300_000, "cpuPeriod": 100_000}});
    let why = graph(max, exec.clone(), &asked).unwrap_err();
    assert!(why.contains("linux_resources.cpuQuota: must be at most 1"), "{why}");
}

#[test]
fn what_stands_in_an_operation_is_within_the_limits_or_refused() {
    let ulimits = "max = { ulimits = { nofile = 1024 } }";
    let parent = "force = { cgroup_parent = \"/ci\" }";
    let shm = "max = { shm = \"128m\" }";
    let none = "force = { network = \"none\" }";
    let meta = |meta: Json| json!({"meta": meta});
    let mount = |mount: Json| json!({"mounts": [mount]});
    let at_shm = |size: i64| {
        mount(json!({"dest": "//dev/./shm/", "mountType": "TMPFS", "TmpfsOpt": {"size": size}}))
    };
    let ulimit =
        |hard: i64| meta(json!({"ulimit": [{"Name": "nofile", "Soft": 1024, "Hard": hard}]}));
    let mine = meta(json!({"cgroupParent": "/ci"}));
    for (rules, exec, refused) in [
        (ulimits, ulimit(1024), None),
        (ulimits, ulimit(1025), Some("`nofile` must be at most 1024, asked 1025")),
        (ulimits, meta(json!({})), Some("def.0.exec.meta.ulimit: must be `nofile=1024:1024`")),
        (parent, mine.clone(), None),
        (parent, meta(json!({"cgroupParent": "/"})), Some("meta.cgroupParent: must be `/ci`")),
        (parent, meta(json!({})), Some("rule limits.cgroup-parent")),
        ("default = { cgroup_parent = \"/ci\" }", meta(json!({})), None),
        (shm, mount(json!({"dest": "/x", "mountType": "TMPFS"})), None),
        (shm, at_shm(1 << 27), None),
        (shm, at_shm((1 << 27) + 1), Some("exec.mounts: must be at most 128m")),
        (shm, at_shm(0), Some("asked no limit")),
        ("max = { shm = \"1m\" }", meta(json!({})), Some("must be at most 1m, asked 64m")),
        (none, json!({"network": "NONE"}), None),
        (none, json!({}), Some("exec.network: must be `NONE`")),
        (
            "force = { network = \"bridge\" }",
            json!({"network": "HOST"}),
            Some("must be `UNSET` or `NONE`"),
        ),
        ("force = { network = \"jobs\" }", json!({}), Some("which BuildKit cannot build in")),
    ] {
        match (graph(rules, exec.clone(), &json!({})), refused) {
            (Ok(_), None) => {}
            (Err(why), Some(refused)) => assert!(why.contains(refused), "{rules} {exec}: {why}"),
            (got, wanted) => panic!("{rules} {exec}: got {got:?}, wanted {wanted:?}"),
        }
    }
}

#[test]
fn a_container_of_a_frontend_is_refused_where_no_limit_would_hold_in_it() {
    let new = "POST /moby.buildkit.v1.frontend.LLBBridge/NewContainer";
    let made = r#"{"ContainerID": "c"}"#;
    let why = request("max = { memory = \"1g\" }", new, made).unwrap_err();
    assert!(why.contains("rule limits.memory"), "{why}");
    let held =
        "force = { cgroup_parent = \"/ci\", ulimits = { core = 0 } }\nmax = { memory = \"1g\" }";
    request(held, new, made).unwrap();
    let run = "POST /moby.buildkit.v1.frontend.LLBBridge/ExecProcess";
    let got = request(held, run, r#"{"ProcessID": "p", "Init": {"ContainerID": "c", "Meta": {}}}"#)
        .unwrap();
    let meta = json!({"ulimit": [{"Name": "core", "Soft": 0, "Hard": 0}], "cgroupParent": "/ci"});
    assert_eq!(body(&got)["Init"]["Meta"], meta);
    let resize = r#"{"ProcessID":"p","Resize":{"Rows":1,"Cols":2}}"#;
    assert_eq!(body(&request(held, run, resize).unwrap())["Resize"], json!({"Rows": 1, "Cols": 2}));
}

#[test]
fn what_an_old_buildkit_would_overlook_is_refused() {
    use crate::api::endpoint::{KNOWN, Versions};
    use crate::policy::builds::tests::call;
    use crate::policy::{Context, Facts, Policy as _, Verdict};

    let (identity, facts) = (Identity::imagined(Some("bob")), Facts::default());
    let asked = |rules: &str, method: &str, newest| {
        let engine = Versions { newest, ..KNOWN };
        let body = json!({"Frontend": "dockerfile.v0"});
        let call = call(method, body, if method.starts_with("LLB") { "r" } else { "" });
        match limits(rules).request(&call, &Context::new(&identity, "l", engine, &facts)) {
            Verdict::Pass(_) => None,
            Verdict::Deny(reasons) => Some(reasons[0].rule.to_string()),
            verdict @ (Verdict::Ask(_) | Verdict::Do(_) | Verdict::Answer(_)) => {
                panic!("{verdict:?}")
            }
        }
    };
    for (rules, rule) in [
        ("max = { memory = \"1g\" }", "limits.memory"),
        ("force = { cpus = 1.5 }", "limits.cpus"),
        ("max = { shm = \"64m\" }", "limits.shm"),
        ("force = { cgroup_parent = \"/ci\" }", "limits.cgroup-parent"),
        ("max = { ulimits = { nofile = 1024 } }", "limits.ulimits"),
    ] {
        for method in ["Control/Solve", "LLBBridge/Solve"] {
            assert_eq!(asked(rules, method, 41).as_deref(), Some(rule), "{rules}");
            assert_eq!(asked(rules, method, 43), None, "{rules}");
        }
        let said = request(rules, "POST /build?version=2", "").unwrap_err();
        assert!(said.contains(&format!("(rule {rule})")), "{said}");
        assert!(request(rules, "POST /build?version=1", "").is_ok());
    }
    for rules in
        ["max = { pids = 10 }", "default = { memory = \"1g\" }", "force = { network = \"none\" }"]
    {
        assert_eq!(asked(rules, "Control/Solve", 41), None, "{rules}");
        assert!(request(rules, "POST /build?version=2", "").is_ok(), "{rules}");
    }
}
