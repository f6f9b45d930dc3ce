//! `conservative` from outside: what is refused by which rule, and what must still work.

use serde_json::json;

use crate::support::engine::{Behaviour, plain};
use crate::support::http::answer;
use crate::support::{Engine, Gate, text};

/// An engine with a harmless container `x` and nothing else; what it is asked by dockgate itself is told
/// by the method and the path.
fn with_a_container() -> Behaviour {
    plain::with(|head, body| match (head.method(), head.path()) {
        ("GET", "/containers/x/json") => {
            let config = json!({ "Image": "busybox", "Cmd": ["sh"] });
            let host_config =
                json!({ "NetworkMode": "default", "Runtime": "runc", "IpcMode": "private" });
            let made = json!({ "Id": "a".repeat(64), "Config": config, "HostConfig": host_config });
            answer("200 OK", &made.to_string())
        }
        ("GET", "/volumes/v" | "/networks/n") => {
            answer("404 Not Found", r#"{"message":"no such thing"}"#)
        }
        ("GET", "/info") => answer("200 OK", "{}"),
        _ => answer("200 OK", &json!({ "body": text(body) }).to_string()),
    })
}

/// The rule that refuses, or `None` when the engine got the call.
fn judged(gate: &Gate, line: &str, body: &str) -> Option<String> {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let (status, said) = gate.client().ask(format!(
        "{line} HTTP/1.1\r\nHost: a\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    match status {
        200 => None,
        403 => {
            let (_, rule) = said.split_once("(rule ").unwrap_or_else(|| panic!("no rule: {said}"));
            Some(rule.split(')').next().unwrap_or_default().to_owned())
        }
        _ => panic!("{line} {body}: {status} {said}"),
    }
}

const CREATE: &str = "POST /v1.41/containers/create";

#[test]
fn what_elevates_is_refused_by_its_rule_and_the_engine_sees_nothing() {
    let engine = Engine::start(with_a_container());
    let gate = Gate::conservative(&engine);
    for (line, body, rule) in [
        (CREATE, r#"{"HostConfig":{"Privileged":true}}"#, "container.privileged"),
        (CREATE, r#"{"ho\u017ftconfig":{"PRIVILEGED":true}}"#, "container.privileged"),
        (CREATE, r#"{"HostConfig":{"CapAdd":["SYS_ADMIN"]}}"#, "container.cap-add"),
        (CREATE, r#"{"HostConfig":{"CapAdd":["all"]}}"#, "container.cap-add"),
        (CREATE, r#"{"HostConfig":{"PidMode":"host"}}"#, "container.pid-host"),
        (CREATE, r#"{"HostConfig":{"IpcMode":"host"}}"#, "container.ipc-host"),
        (CREATE, r#"{"HostConfig":{"UTSMode":"host"}}"#, "container.uts-host"),
        (CREATE, r#"{"HostConfig":{"UsernsMode":"host"}}"#, "container.userns-host"),
        (CREATE, r#"{"HostConfig":{"CgroupnsMode":"host"}}"#, "container.cgroupns-host"),
        (CREATE, r#"{"HostConfig":{"Binds":["/:/host"]}}"#, "container.bind"),
        (CREATE, r#"{"HostConfig":{"Binds":["v:/v","/:/host:ro"]}}"#, "container.bind"),
        (
            CREATE,
            r#"{"HostConfig":{"Mounts":[{"Type":"bind","Source":"/","Target":"/h"}]}}"#,
            "container.mount",
        ),
        (CREATE, r#"{"HostConfig":{"Devices":[{"PathOnHost":"/dev/sda"}]}}"#, "container.devices"),
        (
            CREATE,
            r#"{"HostConfig":{"SecurityOpt":["seccomp=unconfined"]}}"#,
            "container.security-opt",
        ),
        (CREATE, r#"{"HostConfig":{"MaskedPaths":[]}}"#, "container.masked-paths"),
        (CREATE, r#"{"HostConfig":{"Runtime":"io.x.y"}}"#, "container.runtime"),
        (CREATE, r#"{"Frobnicate":true}"#, "closed-world.field"),
        (CREATE, r#"{"HostConfig":{"Frobnicate":1}}"#, "closed-world.field"),
        // Until 26.1, dockerd took the fields of HostConfig from the root.
        (CREATE, r#"{"Image":"x","Privileged":true}"#, "closed-world.field"),
        (CREATE, r#"{"Image":"x","Binds":["/:/h"]}"#, "closed-world.field"),
        ("POST /v1.41/containers/x/exec", r#"{"Privileged":true}"#, "exec.privileged"),
        ("POST /v1.41/volumes/create", r#"{"DriverOpts":{"device":"/"}}"#, "volume.driver-options"),
        ("POST /v1.41/networks/create", r#"{"Name":"n","Driver":"macvlan"}"#, "network.driver"),
        ("POST /v1.41/build?networkmode=host", "", "build.network"),
        ("POST /v1.41/build?version=2", "", "build.buildkit"),
        ("POST /v1.41/swarm/init", "{}", "class.swarm"),
        ("GET /v1.41/services", "", "class.swarm"),
        ("GET /v1.41/plugins", "", "class.plugin"),
        ("GET /v1.41/containers/x/checkpoints", "", "class.checkpoint"),
        ("GET /debug/pprof/heap", "", "class.debug"),
        ("GET /v1.41/containers/json?frob=1", "", "closed-world.query"),
    ] {
        assert_eq!(judged(&gate, line, body).as_deref(), Some(rule), "{line} {body}");
    }
    gate.stop();
    let asked = |line: &String| !line.starts_with("GET ");
    assert!(!engine.seen().iter().any(asked), "{:?}", engine.seen());
}

#[test]
fn what_clients_send_every_day_still_works() {
    let engine = Engine::start(with_a_container());
    let gate = Gate::conservative(&engine);
    let cli = r#"{"Image":"x","HostConfig":{"Binds":["v:/v"],"NetworkMode":"default","MaskedPaths":null,
        "ReadonlyPaths":null,"MemorySwappiness":-1,"OomKillDisable":false,"ConsoleSize":[0,0],
        "Privileged":false,"CapAdd":null,"SecurityOpt":["no-new-privileges"],"Devices":[],
        "LogConfig":{"Type":"","Config":{}},"RestartPolicy":{"Name":"no"}},
        "NetworkingConfig":{"EndpointsConfig":{"default":{}}}}"#;
    for (line, body) in [
        (CREATE, cli),
        (CREATE, r#"{"HostConfig":{"Mounts":[{"Type":"volume","Source":"v","Target":"/v"}]}}"#),
        (CREATE, r#"{"HostConfig":{"CapAdd":["NET_RAW","CAP_CHOWN"],"CapDrop":["ALL"]}}"#),
        (CREATE, r#"{"Frobnicate":false,"HostConfig":{"Frobnicate":""}}"#),
        ("POST /v1.41/containers/x/exec", r#"{"Cmd":["sh"],"Privileged":false}"#),
        ("POST /v1.41/build?t=x&networkmode=default&version=1", ""),
        ("POST /v1.41/networks/create", r#"{"Name":"n","Driver":"bridge"}"#),
        ("POST /v1.41/volumes/create", r#"{"Name":"v","Driver":"local","DriverOpts":{}}"#),
        ("GET /v1.41/containers/json?frob=", ""),
        ("GET /info", ""),
        ("DELETE /v1.41/containers/x?force=1&v=1&link=False", ""),
    ] {
        assert_eq!(judged(&gate, line, body), None, "{line} {body}");
    }
}
