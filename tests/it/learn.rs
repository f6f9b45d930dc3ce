//! `dockgate learn`: what was audited passes by the rules learned from it, and nothing else does.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::engine::{Behaviour, plain};
use crate::support::gate::dockgate;
use crate::support::http::answer;
use crate::support::{Engine, Gate, Setup, text};

/// An engine with a privileged container `p` that somebody else made, and nothing more.
fn engine() -> Behaviour {
    plain::with(|head, _| match (head.method(), head.path()) {
        ("GET", "/containers/p/json") => {
            let made = json!({
                "Id": "b".repeat(64), "Config": { "Image": "x" },
                "HostConfig": { "Privileged": true, "Runtime": "runc" },
            });
            answer("200 OK", &made.to_string())
        }
        ("GET", "/containers/mine/json") => {
            let made = json!({ "Id": "c".repeat(64), "Config": {}, "HostConfig": {} });
            answer("200 OK", &made.to_string())
        }
        ("GET", "/volumes/v" | "/volumes/w") => {
            answer("404 Not Found", r#"{"message":"no such thing"}"#)
        }
        _ => answer("200 OK", "{}"),
    })
}

/// What the engine got; the rule where it got nothing.
fn ask(gate: &Gate, line: &str, body: &str) -> Result<(), String> {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let (status, said) = gate.client().ask(format!(
        "{line} HTTP/1.1\r\nHost: a\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    match status {
        200 => Ok(()),
        _ => Err(said),
    }
}

/// What `learn` prints, and what it says besides.
fn learn(args: &[&str], log: &str) -> (Option<i32>, String, String) {
    let mut command = dockgate(&["learn"]);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(log.as_bytes()).unwrap();
    let said = child.wait_with_output().unwrap();
    (said.status.code(), text(&said.stdout), text(&said.stderr))
}

const CREATE: &str = "POST /v1.41/containers/create";

fn create(host_config: Value) -> (String, String) {
    (CREATE.to_owned(), json!({ "Image": "x", "HostConfig": host_config }).to_string())
}

/// What conservative refuses, and is asked all the same. `dir` is a directory of the host.
fn traffic(dir: &str) -> Vec<(String, String)> {
    let mut all: Vec<_> = [
        json!({ "CapAdd": ["NET_RAW", "cap_sys_ptrace"] }),
        json!({ "PidMode": "host" }),
        json!({ "IpcMode": "host" }),
        json!({ "Sysctls": { "kernel.panic": "1", "net.core.somaxconn": "1" } }),
        json!({ "RestartPolicy": { "Name": "always" } }),
        json!({ "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 500 } }),
        json!({ "LogConfig": { "Type": "syslog", "Config": { "tag": "x", "syslog-address": "udp://h" } } }),
        json!({ "Devices": [{ "PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse" }] }),
        json!({ "Ulimits": [{ "Name": "nofile", "Soft": 1, "Hard": 2_000_000 }] }),
        json!({ "Annotations": { "run.oci": "y" } }),
        json!({ "MaskedPaths": [] }),
        json!({ "SecurityOpt": ["no-new-privileges", "seccomp=unconfined"] }),
        json!({ "Binds": ["v:/v", "/:/host:ro", format!("{dir}:/given")] }),
        json!({ "Mounts": [
            { "Type": "bind", "Source": "/var/run/docker.sock", "Target": "/var/run/docker.sock" },
            { "Type": "bind", "Source": dir, "Target": "/given", "ReadOnly": true },
        ] }),

        json!({ "PortBindings": { "80/tcp": [{ "HostPort": "8080" }], "81/tcp": [{ "HostPort": "8090" }] } }),
        json!({ "OomScoreAdj": -5 }),
        json!({ "CpuRealtimeRuntime": 1000 }),
        json!({ "Tmpfs": { "/t": "size=1m,exec" } }),
        json!({ "VolumesFrom": ["p:ro"] }),
    ]
    .into_iter()
    .map(create)
    .collect();
    let body = |body: Value| (CREATE.to_owned(), body.to_string());
    all.extend([
        body(json!({ "WorkingDir": "/proc/1" })),
        body(json!({ "Labels": { "io.dockgate.x": "1", "a": "b" } })),
        body(json!({ "StopTimeout": 100_000 })),
        body(json!({ "NetworkingConfig": { "EndpointsConfig": { "bridge": {
            "IPAMConfig": { "IPv4Address": "10.0.0.9" } } } } })),
    ]);
    for (line, body) in [
        ("GET /v1.41/_ping", ""),
        ("POST /v1.41/networks/create", r#"{"Name":"n","Driver":"macvlan"}"#),
        (
            "POST /v1.41/volumes/create",
            r#"{"Name":"w","DriverOpts":{"device":"/","type":"none","o":"bind"}}"#,
        ),
        ("POST /v1.41/build?networkmode=host&t=x", ""),
        ("POST /v1.41/images/create?fromImage=localhost:5000/x&tag=1", ""),
        ("POST /v1.41/images/localhost:5000/x/push", ""),
        ("POST /v1.41/swarm/init", r#"{"ListenAddr":"0.0.0.0","ForceNewCluster":false}"#),
        ("DELETE /v1.41/containers/mine?link=1", ""),
        ("POST /v1.41/containers/p/start", ""),
        ("POST /v1.41/containers/mine/stop?t=5", ""),
        ("GET /v1.41/containers/mine/top?ps_args=f(x)", ""),
    ] {
        all.push((line.to_owned(), body.to_owned()));
    }
    all
}

/// What nobody has asked for.
fn other_traffic() -> Vec<(String, String)> {
    let mut all: Vec<_> = [
        json!({ "CapAdd": ["SYS_ADMIN"] }),
        json!({ "Privileged": true }),
        json!({ "PidMode": "container:p" }),
        json!({ "UTSMode": "host" }),
        json!({ "Sysctls": { "kernel.other": "1" } }),
        json!({ "RestartPolicy": { "Name": "unless-stopped" } }),
        json!({ "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 501 } }),
        json!({ "LogConfig": { "Type": "gelf" } }),
        json!({ "Ulimits": [{ "Name": "nofile", "Hard": 2_000_001 }] }),
        json!({ "Annotations": { "runXoci": "y" } }),
        json!({ "MaskedPaths": ["/proc/x"] }),
        json!({ "SecurityOpt": ["apparmor=unconfined"] }),
        json!({ "Binds": ["/:/host"] }),
        json!({ "Binds": ["/etc:/etc:ro"] }),
        json!({ "Mounts": [{ "Type": "bind", "Source": "/", "Target": "/h", "ReadOnly": true }] }),
        json!({ "Mounts": [{ "Type": "volume", "Target": "/h",
            "VolumeOptions": { "DriverConfig": { "Options": { "device": "/" } } } }] }),
        json!({ "PortBindings": { "80/tcp": [{ "HostPort": "8091" }] } }),
        json!({ "OomScoreAdj": -6 }),
        json!({ "CpuRealtimeRuntime": 1001 }),
        json!({ "VolumesFrom": ["p"] }),
    ]
    .into_iter()
    .map(create)
    .collect();
    for (line, body) in [
        (CREATE, r#"{"WorkingDir":"/proc/2"}"#),
        (CREATE, r#"{"Labels":{"io.dockgate.y":"1"}}"#),
        (CREATE, r#"{"StopTimeout":100001}"#),
        (CREATE, r#"{"Frobnicate":1}"#),
        ("GET /v1.41/containers/json", ""),
        ("POST /v1.41/networks/create", r#"{"Name":"n","Driver":"ipvlan"}"#),
        ("POST /v1.41/build?remote=x", ""),
        ("POST /v1.41/images/create?fromImage=localhost:5000/y", ""),
        ("POST /v1.41/images/localhost:5000/y/push", ""),
        ("POST /v1.41/swarm/init", r#"{"AdvertiseAddr":"x"}"#),
        ("POST /v1.41/swarm/leave", ""),
        ("POST /v1.41/containers/p/stop", ""),
        ("POST /v1.41/containers/mine/kill", ""),
        ("POST /grpc", ""),
    ] {
        all.push((line.to_owned(), body.to_owned()));
    }
    all
}

#[test]
fn what_was_audited_passes_by_the_learned_rules_and_nothing_else() {
    let engine = Engine::start(engine());
    let given = tempfile::tempdir().unwrap();
    let traffic = traffic(given.path().to_str().unwrap());
    let audits = "[policy.look]\nkind = \"conservative\"\nmode = \"audit\"\n";
    let gate = Setup::new(&engine).policies(r#"["look"]"#).tables(audits).start();
    for (line, body) in &traffic {
        assert_eq!(ask(&gate, line, body), Ok(()), "{line} {body}");
    }
    gate.records(traffic.len());
    let log = gate.stop().stdout;
    let (code, learned, _) = learn(&["--listener", "it"], &log);
    assert_eq!(code, Some(0));

    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("learned.toml");
    std::fs::write(&rules, &learned).unwrap();
    let (_, settings) = learned.split_once("rules = \"THIS FILE\"\n").unwrap();
    let settings: Vec<_> = settings.lines().map_while(|line| line.strip_prefix("# ")).collect();
    let tables = format!(
        "[policy.learned]\nkind = \"conservative\"\nrules = \"learned.toml\"\n{}\n",
        settings.join("\n")
    );
    let gate = Setup::new(&engine).files(dir).policies(r#"["learned"]"#).tables(&tables).start();
    let config = gate.config();
    let checked = dockgate(&["check", "-c", config.to_str().unwrap()]).output().unwrap();
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    for (line, body) in &traffic {
        assert_eq!(ask(&gate, line, body), Ok(()), "{line} {body}\n{learned}");
    }
    for (line, body) in &other_traffic() {
        let said = ask(&gate, line, body).expect_err(&format!("{line} {body}\n{learned}"));
        assert!(said.contains("(rule "), "{line} {body}: {said}");
    }
    for host_config in [
        json!({ "CapAdd": ["NET_RAW", "CHOWN"], "RestartPolicy": { "Name": "no" } }),
        json!({ "Sysctls": { "net.ipv4.ip_forward": "1" }, "LogConfig": { "Type": "local" } }),
        json!({ "Tmpfs": { "/t": "size=1m" }, "Binds": ["v:/v"], "IpcMode": "private" }),
    ] {
        let (line, body) = create(host_config);
        assert_eq!(ask(&gate, &line, &body), Ok(()), "as conservative does: {body}");
    }
}

#[test]
fn what_is_no_record_is_counted_and_nothing_to_learn_from_is_a_failure() {
    let (code, rules, said) = learn(&[], "starting\n{}\n\n");
    assert_eq!((code, rules.as_str()), (Some(1), ""));
    assert!(said.contains("2 lines are no access records and were left out"), "{said}");
    assert!(said.contains("there is nothing to learn from"), "{said}");
    let record = r#"{"operation":"SystemPing","verdict":"allow","listener":"a"}"#;
    let (code, rules, said) = learn(&["--listener", "a"], &format!("noise\n{record}\n"));
    assert_eq!(code, Some(0));
    assert!(rules.contains("only = [\n    \"SystemPing\",\n]"), "{rules}");
    assert!(said.starts_with("1 lines"), "{said}");
    assert_eq!(learn(&["--listener", "b"], record).0, Some(1));
    assert_eq!(learn(&["/no/such/log"], "").0, Some(1));
}
