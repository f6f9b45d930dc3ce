//! `mode = "audit"`: a policy decides, its findings are written down, and the call goes on as it came.

use serde_json::{Value, json};

use crate::support::engine::{Behaviour, hijack_101, plain};
use crate::support::gate::dockgate;
use crate::support::http::answer;
use crate::support::{Engine, Gate, Setup, text};

const AUDITS: &str = "[policy.look]\nkind = \"conservative\"\nmode = \"audit\"\n";

fn auditing(engine: &Engine) -> Gate {
    Setup::new(engine).policies(r#"["look"]"#).tables(AUDITS).start()
}

/// `look` audits, and `few` enforces, which allows some of what `look` does not.
fn mixed(engine: &Engine, order: &'static str) -> Gate {
    let enforces = "[policy.few]\nkind = \"conservative\"\nrules = \"few.toml\"\n";
    let dir = tempfile::tempdir().unwrap();
    let few = "extends = \"conservative\"\n[operation.ContainerCreate.body]\n\
               \"HostConfig.CapAdd\" = \"any\"\n\"HostConfig.Privileged\" = \"any\"\n\
               \"HostConfig.PidMode\" = { one-of = [\"x\"], rule = \"few.pid\" }\n";
    std::fs::write(dir.path().join("few.toml"), few).unwrap();
    Setup::new(engine).files(dir).policies(order).tables(&format!("{AUDITS}{enforces}")).start()
}

/// With the record of it written: connections are served by several workers, whose records may overtake
/// each other.
fn ask(gate: &Gate, line: &str, body: &str) -> (u16, String) {
    let before = gate.stdout().matches('\n').count();
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let said = gate.client().ask(format!(
        "{line} HTTP/1.1\r\nHost: a\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    gate.records(before + 1);
    said
}

/// An engine with a privileged container `p`; it makes execs, and says what it got.
fn engine() -> Behaviour {
    plain::with(|head, body| match (head.method(), head.path()) {
        ("GET", "/containers/p/json") => {
            let made = json!({
                "Id": "b".repeat(64), "Config": { "Image": "x" },
                "HostConfig": { "Privileged": true, "Runtime": "runc" },
            });
            answer("200 OK", &made.to_string())
        }
        ("GET", "/volumes/failing") => answer("500 Internal Server Error", "{}"),
        ("POST", "/containers/p/exec") => answer("201 Created", r#"{"Id":"e1"}"#),
        _ => {
            let said = json!({ "line": head.first, "body": text(body), "HttpProxy": "kept" });
            answer("200 OK", &said.to_string())
        }
    })
}

fn findings(record: &Value) -> Vec<(&str, &str)> {
    let all = record["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().map(|one| (one["policy"].as_str().unwrap(), one["rule"].as_str().unwrap())).collect()
}

const CREATE: &str = "POST /v1.41/containers/create";

#[test]
fn what_would_be_refused_passes_unchanged_and_is_written_down() {
    let engine = Engine::start(engine());
    let gate = auditing(&engine);
    let body = r#"{"Image":"x","HostConfig":{"Privileged":true,"CapAdd":["NET_RAW","SYS_ADMIN","cap_bpf"],"IpcMode":""}}"#;
    let (status, said) = ask(&gate, CREATE, body);
    let said: Value = said.parse().unwrap();
    assert_eq!((status, said["body"].as_str()), (200, Some(body)), "and nothing is filled in");
    let record = &gate.records(1)[0];
    assert_eq!(
        (&record["verdict"], &record["rule"]),
        (&json!("audit"), &json!("container.privileged"))
    );
    let wanted = [("look", "container.privileged"), ("look", "container.cap-add")];
    assert_eq!(findings(record), wanted);
    assert_eq!(
        record["findings"][1],
        json!({
            "policy": "look", "rule": "container.cap-add", "field": "HostConfig.CapAdd",
            "why": "must stay within Docker's default set and `IPC_LOCK`", "operation": "ContainerCreate",
            "part": "body", "place": "HostConfig.CapAdd", "found": ["SYS_ADMIN", "cap_bpf"],
        })
    );
}

#[test]
fn what_would_pass_is_a_plain_allow() {
    let engine = Engine::start(engine());
    let gate = auditing(&engine);
    assert_eq!(ask(&gate, CREATE, r#"{"Image":"x"}"#).0, 200);
    let record = &gate.records(1)[0];
    assert_eq!((&record["verdict"], &record["rule"]), (&json!("allow"), &json!("-")));
    assert_eq!(record.get("findings"), None);
}

#[test]
fn a_place_is_named_as_files_of_rules_name_it_and_no_value_can_be_a_secret() {
    let engine = Engine::start(engine());
    let gate = auditing(&engine);
    let body = json!({
        "Env": ["SECRET=env"], "Labels": { "io.dockgate.x": "SECRET", "a": "SECRET" },
        "HostConfig": {
            "Mounts": [{ "Type": "bind", "Source": "/srv", "Target": "/s",
                "BindOptions": { "Propagation": "shared" } }],
            "Annotations": { "run.oci": "SECRET" },
            "LogConfig": { "Type": "json-file", "Config": { "token": "SECRET" } },
            "Sysctls": { "kernel.panic": "SECRET" },
        },
        "NetworkingConfig": { "EndpointsConfig": { "bridge": { "MacAddress": "02:00:00:00:00:01" } } },
    });
    assert_eq!(ask(&gate, CREATE, &body.to_string()).0, 200);
    let url = "http://user:SECRET@host/x.git";
    assert_eq!(ask(&gate, &format!("POST /v1.41/build?remote={url}"), "").0, 200);
    let secret = r#"{"Name":"n","Data":"SECRET"}"#;
    assert_eq!(ask(&gate, "POST /v1.41/secrets/create", secret).0, 200);
    let records = gate.records(3);
    let place =
        |one: &Value| (one["place"].as_str().unwrap_or("-").to_owned(), one["found"].clone());
    let all = |record: &Value| -> Vec<_> {
        record["findings"].as_array().unwrap().iter().map(place).collect()
    };
    let named = |place: &str, found: Value| (place.to_owned(), found);
    let create = all(&records[0]);
    for wanted in [
        named("Labels", json!({ "keys": ["io.dockgate.x", "a"] })),
        named(
            "HostConfig.Mounts",
            json!([{ "Type": "bind", "Source": "/srv", "Target": "/s", "Propagation": "shared" }]),
        ),
        named("HostConfig.Mounts.*.BindOptions.Propagation", json!("shared")),
        named("HostConfig.Annotations", json!({ "keys": ["run.oci"] })),
        named("HostConfig.LogConfig.Config", json!({ "keys": ["token"] })),
        named("NetworkingConfig.EndpointsConfig.*.MacAddress", json!("02:00:00:00:00:01")),
    ] {
        assert!(create.contains(&wanted), "{wanted:?} of {create:?}");
    }
    assert_eq!(all(&records[1]), [named("remote", Value::Null)]);
    let of_swarm =
        [named("-", Value::Null), named("Name", Value::Null), named("Data", Value::Null)];
    assert_eq!(all(&records[2]), of_swarm);
    assert!(!gate.stdout().contains("SECRET"), "{}", gate.stdout());
}

#[test]
fn in_a_mixed_chain_both_are_recorded_and_the_one_that_enforces_decides() {
    for order in [r#"["look", "few"]"#, r#"["few", "look"]"#] {
        let engine = Engine::start(engine());
        let gate = mixed(&engine, order);
        let both = r#"{"HostConfig":{"Privileged":true,"PidMode":"host"}}"#;
        let (status, said) = ask(&gate, CREATE, both);
        assert_eq!(status, 403, "{said}");
        assert!(said.contains("(rule few.pid)"), "{said}");
        assert_eq!(ask(&gate, CREATE, r#"{"HostConfig":{"Privileged":true}}"#).0, 200);
        let records = gate.records(2);
        assert_eq!(records[0]["verdict"], "deny");
        assert_eq!(records[0]["rule"], "few.pid", "not that of the policy that audits");
        let of_both = [("look", "container.privileged"), ("look", "container.pid-host")];
        let wanted: &[_] = if order.starts_with(r#"["look"#) { &of_both } else { &[] };
        assert_eq!(findings(&records[0]), wanted, "of {order}");
        assert_eq!(records[1]["verdict"], "audit");
        assert_eq!(findings(&records[1]), [("look", "container.privileged")]);
        assert_eq!(engine.seen().iter().filter(|line| line.starts_with("POST")).count(), 1);
    }
}

#[test]
fn where_one_policy_enforces_the_closed_world_does_too() {
    let engine = Engine::start(engine());
    let gate = mixed(&engine, r#"["look", "few"]"#);
    for (line, body, rule) in [
        (CREATE, r#"{"Frobnicate":1}"#, "closed-world.field"),
        ("GET /v1.41/info?frob=1", "", "closed-world.query"),
        ("POST /session", "", "build.session"),
    ] {
        let (status, said) = ask(&gate, line, body);
        assert!(status >= 400 && said.contains(rule), "{line}: {status} {said}");
    }
    assert!(engine.seen().is_empty());
}

#[test]
fn where_all_only_audit_what_nobody_knows_passes_without_what_nobody_knows() {
    let engine = Engine::start(engine());
    let gate = auditing(&engine);
    let (status, said) = ask(&gate, CREATE, r#"{"Image":"x","Frobnicate":1}"#);
    let said: Value = said.parse().unwrap();
    assert_eq!((status, said["body"].as_str()), (200, Some(r#"{"Image":"x"}"#)));
    let (status, said) = ask(&gate, "GET /v1.41/info?frob=1", "");
    assert!(status == 200 && said.contains("GET /v1.41/info HTTP"), "{said}");
    let records = gate.records(2);
    assert_eq!(findings(&records[0]), [("closed-world", "closed-world.field")]);
    assert_eq!(findings(&records[1]), [("closed-world", "closed-world.query")]);
    assert_eq!(records[0]["verdict"], "audit");
}

#[test]
fn an_unknown_version_and_an_unknown_route_are_the_engines_own_errors_all_the_same() {
    let engine = Engine::start(engine());
    let gate = auditing(&engine);
    assert_eq!(ask(&gate, "GET /v1.99/info", "").0, 400);
    assert_eq!(ask(&gate, "GET /v1.41/frobnicate", "").0, 404);
    assert!(engine.seen().is_empty());
}

#[test]
fn a_container_made_elsewhere_and_an_exec_in_it_can_be_used() {
    let engine = Engine::start(engine());
    let gate = auditing(&engine);
    let (status, said) = ask(&gate, "POST /v1.41/containers/p/exec", r#"{"Cmd":["sh"]}"#);
    assert_eq!((status, said.as_str()), (201, r#"{"Id":"e1"}"#));
    assert_eq!(ask(&gate, "POST /v1.41/exec/e1/resize?h=1&w=1", "").0, 200);
    assert_eq!(ask(&gate, "POST /v1.41/exec/other/resize?h=1&w=1", "").0, 200);
    let records = gate.records(3);
    let finding = &records[0]["findings"][0];
    assert_eq!((&finding["rule"], &finding["part"]), (&json!("container.not-own"), &json!("path")));
    let cause = json!({ "operation": "ContainerCreate", "part": "body",
        "place": "HostConfig.Privileged", "found": true });
    assert_eq!(finding["causes"], json!([cause]));
    assert_eq!(records[1]["verdict"], "allow", "whoever made an exec may use it");
    assert_eq!(findings(&records[2]), [("look", "exec.not-own")]);
    let asked = engine.seen().concat();
    assert!(asked.contains("POST /v1.41/containers/p/exec"), "by the name that was asked for");
}

#[test]
fn answers_are_passed_on_as_they_are() {
    let engine = Engine::start(engine());
    let gate = auditing(&engine);
    assert!(ask(&gate, "GET /v1.41/info", "").1.contains(r#""HttpProxy":"kept""#));
}

#[test]
fn what_the_engine_does_not_say_and_too_many_questions_are_findings() {
    let engine = Engine::start(engine());
    let gate = auditing(&engine);
    let body = r#"{"HostConfig":{"Binds":["failing:/v"]}}"#;
    assert_eq!(ask(&gate, CREATE, body).0, 200);
    let many: Vec<String> = (0..300).map(|n| format!("v{n}:/v{n}")).collect();
    let body = json!({ "HostConfig": { "Binds": many } }).to_string();
    assert_eq!(ask(&gate, CREATE, &body).0, 200);
    let records = gate.records(2);
    assert_eq!(findings(&records[0]), [("look", "container.bind")]);
    let of_many = findings(&records[1]);
    assert!(of_many.contains(&("look", "facts.too-many")), "{of_many:?}");
}

#[test]
fn a_record_stays_bounded() {
    let engine = Engine::start(engine());
    let gate = auditing(&engine);
    let mounts: Vec<Value> =
        (0..500).map(|_| json!({ "Type": "bind", "Source": "/", "BindOptions": { "Propagation": "shared" } })).collect();
    let body = json!({ "HostConfig": { "Mounts": mounts } }).to_string();
    assert_eq!(ask(&gate, CREATE, &body).0, 200);
    let record = &gate.records(1)[0];
    let all = record["findings"].as_array().unwrap();
    assert_eq!(all.len(), 65);
    assert_eq!(all[0].get("found"), None, "500 mounts are too long");
    assert_eq!(all[64], json!({ "left_out": 437 }));
}

#[test]
fn buildkit_and_http2_pass_where_all_only_audit() {
    let engine = Engine::start(hijack_101::behaviour());
    let gate = auditing(&engine);
    let mut client = gate.client();
    client.send("POST /grpc HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    assert_eq!(client.head().status(), 101);
    drop(client);
    let record = &gate.records(1)[0];
    assert_eq!((&record["verdict"], &record["operation"]), (&json!("allow"), &json!("Grpc")));
    assert_eq!(findings(record), []);

    let engine = Engine::start(Box::new(|wire| {
        let preface = wire.conn.exactly(24);
        let _ = wire.conn.try_send(preface);
    }));
    let gate = auditing(&engine);
    let mut client = gate.client();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    client.send(preface);
    assert_eq!(client.exactly(24), preface);
    drop(client);
    let record = &gate.records(1)[0];
    assert_eq!((&record["verdict"], &record["status"]), (&json!("audit"), &json!(200)));
    assert_eq!(findings(record), [("closed-world", "closed-world.http2")]);
}

#[test]
fn findings_are_counted_by_rule_and_are_no_denials() {
    let engine = Engine::start(engine());
    let dir = tempfile::tempdir().unwrap();
    let admin = dir.path().join("admin.sock");
    let tables = format!("{AUDITS}[admin]\nlisten = [\"unix://{}\"]\n", admin.display());
    let gate = Setup::new(&engine).files(dir).policies(r#"["look"]"#).tables(&tables).start();
    assert_eq!(ask(&gate, CREATE, r#"{"HostConfig":{"Privileged":true,"PidMode":"host"}}"#).0, 200);
    gate.records(1);
    let mut client = crate::support::Conn::unix(&admin);
    let (_, page) = client.ask("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    for line in [
        r#"dockgate_audit_total{rule="container.privileged"} 1"#,
        r#"dockgate_audit_total{rule="container.pid-host"} 1"#,
        r#"operation="ContainerCreate",status="200",verdict="audit"} 1"#,
    ] {
        assert!(page.contains(line), "{line} of\n{page}");
    }
    assert!(!page.contains("dockgate_denied_total{"), "{page}");
}

#[test]
fn explain_shows_findings_of_a_call_that_is_allowed() {
    let engine = Engine::start(engine());
    let gate = auditing(&engine);
    let body = gate.dir().join("body.json");
    std::fs::write(&body, r#"{"HostConfig":{"Privileged":true}}"#).unwrap();
    let config = gate.config();
    let args = [
        "explain",
        "-c",
        config.to_str().unwrap(),
        "--listener",
        "it",
        "POST",
        "/containers/create",
        "--body",
        body.to_str().unwrap(),
    ];
    let said = dockgate(&args).output().unwrap();
    let stdout = text(&said.stdout);
    assert_eq!(said.status.code(), Some(0));
    let wanted =
        "look (audit): dockgate: HostConfig.Privileged: must be false (rule container.privileged)";
    assert!(stdout.starts_with(wanted) && stdout.contains("\nallowed\n"), "{stdout}");
}
