//! `limits` through the gate: what the engine gets, and what a client is told.

use serde_json::{Value, json};

use crate::support::engine::plain;
use crate::support::http::answer;
use crate::support::{Engine, Gate, Setup};

const TABLES: &str = r#"
[policy.sizes]
kind    = "limits"
force   = { labels = { "io.dockgate.listener" = "{listener}" }, cgroup_parent = "/ci" }
default = { memory = "2g", pids = 2048 }
max     = { memory = "8g", cpus = 4 }
"#;

fn gate(engine: &Engine) -> Gate {
    let setup = Setup::new(engine).policies(r#"["sizes"]"#);
    setup.tables(TABLES.trim_start()).start()
}

fn ask(gate: &Gate, line: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let (status, said) = gate.client().ask(format!(
        "{line} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    (status, serde_json::from_str(&said).unwrap())
}

/// The fake engine repeats what it got.
fn got(said: &Value) -> Value {
    serde_json::from_str(said["body"].as_str().unwrap()).unwrap()
}

#[test]
fn the_engine_gets_limits_that_nobody_asked_for() {
    let engine = Engine::start(plain::behaviour());
    let gate = gate(&engine);
    let (status, said) =
        ask(&gate, "POST /v1.41/containers/create", &json!({"Image": "x", "HostConfig": {}}));
    assert_eq!(status, 200, "{said}");
    let wanted = json!({
        "Image": "x",
        "HostConfig": {
            "Memory": 2i64 << 30, "MemorySwap": 4i64 << 30, "PidsLimit": 2048, "NanoCpus": 0,
            "CpuPeriod": 100_000, "CpuQuota": 400_000, "CgroupParent": "/ci",
        },
        "Labels": {"io.dockgate.listener": "it"},
    });
    assert_eq!(got(&said), wanted);
    let (_, said) = ask(&gate, "POST /v1.41/volumes/create", &json!({"Name": "v"}));
    assert_eq!(got(&said)["Labels"], json!({"io.dockgate.listener": "it"}));
}

#[test]
fn a_build_gets_them_in_its_query() {
    let engine = Engine::start(plain::with(|head, _| {
        answer("200 OK", &json!({ "first": head.first }).to_string())
    }));
    let (status, said) = ask(&gate(&engine), "POST /v1.41/build?t=x&memory=0", &json!({}));
    assert_eq!(status, 200, "{said}");
    let line = said["first"].as_str().unwrap();
    for part in ["memory=2147483648", "memswap=4294967296", "cpuquota=400000", "cgroupparent=/ci"] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn what_is_above_is_refused_with_the_limit_and_the_engine_sees_nothing() {
    let engine = Engine::start(plain::behaviour());
    let gate = gate(&engine);
    for (line, body, wanted) in [
        (
            "POST /v1.41/containers/create",
            json!({"HostConfig": {"Memory": 16i64 << 30}}),
            "dockgate: HostConfig.Memory: must be at most 8g, asked 16g (rule limits.memory)",
        ),
        (
            "POST /v1.41/containers/c/update",
            json!({"CpuQuota": -1}),
            "dockgate: CpuQuota: must be at most 4, asked no limit (rule limits.cpus)",
        ),
        (
            "POST /v1.41/containers/c/update",
            json!({"CgroupParent": "/"}),
            "dockgate: CgroupParent: must stay `/ci` (rule limits.cgroup-parent)",
        ),
        (
            "POST /v1.41/build?memory=17179869184",
            json!({}),
            "dockgate: ?memory: must be at most 8g, asked 16g (rule limits.memory)",
        ),
    ] {
        let (status, said) = ask(&gate, line, &body);
        assert_eq!((status, said["message"].as_str()), (403, Some(wanted)), "{line} {body}");
    }
    gate.stop();
    assert_eq!(engine.seen(), Vec::<String>::new());
}
