//! What `conservative` refuses, by which rule, and what it must let through.

mod bounds;
mod defaults;
mod fills;
mod model;
mod read_only;
mod state;
pub(super) mod steps;

use std::sync::LazyLock;

use super::*;
use crate::auth::Identity;
use crate::policy::rehearsal::{Request, Verdict, rehearse};
use crate::policy::{Chain, Fact, Link, Question};

/// The built-in rules without any settings.
static BUILTIN: LazyLock<Chain> =
    LazyLock::new(|| chain(&config::Conservative::default(), &Surroundings::default()));

/// A chain of one `conservative` with these settings.
fn chain(settings: &config::Conservative, around: &Surroundings) -> Chain {
    let policy = Conservative::new("c", settings, around).unwrap();
    Chain::new(vec![Link::new(Box::new(policy))])
}

/// What becomes of a request when the engine answers like this.
fn judge(chain: &Chain, line: &str, body: &str, knows: &dyn Fn(&Question) -> Fact) -> Verdict {
    let (method, target) = line.split_once(' ').unwrap();
    let request = Request { method, target, body: body.as_bytes() };
    rehearse(chain, "test", &Identity::imagined(None), &request, knows).verdict
}

/// The rule that refuses a request where every container is one that could have been made here and nothing else
/// exists, or none.
fn rule(line: &str, body: &str) -> Option<String> {
    let made = state::container("a", serde_json::json!({}));
    let knows = |question: &Question| match question {
        Question::Container(_) => Fact::Json(Arc::new(made.clone())),
        _ => Fact::Absent,
    };
    match judge(&BUILTIN, line, body, &knows) {
        Verdict::Allowed(_) => None,
        Verdict::Denied(_, reasons) => Some(reasons[0].rule.to_string()),
        Verdict::Malformed(why) => panic!("{why}"),
        other @ (Verdict::Undecided(..) | Verdict::Waits(..) | Verdict::Answered(..)) => {
            panic!("{other:?}")
        }
    }
}

fn create(host_config: &str) -> Option<String> {
    rule(
        "POST /containers/create",
        &format!(r#"{{"Image":"busybox","HostConfig":{{{host_config}}}}}"#),
    )
}

#[test]
fn each_elevating_field_of_a_create_is_refused_by_its_own_rule() {
    for (host_config, wanted) in [
        (r#""Privileged":true"#, "container.privileged"),
        (r#""privileged":true"#, "container.privileged"),
        (r#""CapAdd":["SYS_ADMIN"]"#, "container.cap-add"),
        (r#""CapAdd":["all"]"#, "container.cap-add"),
        (r#""CapAdd":["cap_sys_ptrace"]"#, "container.cap-add"),
        (r#""Capabilities":["CAP_SYS_ADMIN"]"#, "container.capabilities"),
        (r#""NetworkMode":"host""#, "container.network-host"),
        (r#""PidMode":"host""#, "container.pid-host"),
        (r#""IpcMode":"host""#, "container.ipc-host"),
        (r#""UTSMode":"host""#, "container.uts-host"),
        (r#""UsernsMode":"host""#, "container.userns-host"),
        (r#""CgroupnsMode":"host""#, "container.cgroupns-host"),
        (r#""Devices":[{"PathOnHost":"/dev/sda"}]"#, "container.devices"),
        (r#""DeviceCgroupRules":["a *:* rwm"]"#, "container.device-cgroup-rules"),
        (r#""DeviceRequests":[{"Count":-1}]"#, "container.device-requests"),
        (r#""SecurityOpt":["seccomp=unconfined"]"#, "container.security-opt"),
        (r#""SecurityOpt":["systempaths=unconfined"]"#, "container.security-opt"),
        (r#""SecurityOpt":["no-new-privileges=false"]"#, "container.security-opt"),
        (r#""MaskedPaths":[]"#, "container.masked-paths"),
        (r#""ReadonlyPaths":["/x"]"#, "container.readonly-paths"),
        (r#""Binds":["/:/host"]"#, "container.bind"),
        (r#""Binds":["vol:/x","/var/run/docker.sock:/s:ro"]"#, "container.bind"),
        (r#""Binds":["../x:/y"]"#, "container.bind"),
        (r#""Mounts":[{"Type":"bind","Source":"/","Target":"/h"}]"#, "container.mount"),
        (r#""Mounts":[{"Type":"tmpfs","Target":"/t"},{"Type":"npipe"}]"#, "container.mount"),
        (
            r#""Mounts":[{"Type":"volume","VolumeOptions":{"DriverConfig":{"Options":{"device":"/"}}}}]"#,
            "container.mount-driver-options",
        ),
        (
            r#""Mounts":[{"Type":"volume","VolumeOptions":{"DriverConfig":{"Name":"nfs"}}}]"#,
            "container.mount-driver",
        ),
        (r#""VolumeDriver":"rclone""#, "container.volume-driver"),
        (r#""Runtime":"io.containerd.runhcs.v1""#, "container.runtime"),
        (r#""Annotations":{"a":"b"}"#, "container.annotations"),
        (r#""CgroupParent":"/""#, "container.cgroup-parent"),
        (r#""LogConfig":{"Type":"syslog"}"#, "container.log-driver"),
        (r#""Frobnicate":1"#, "closed-world.field"),
    ] {
        assert_eq!(create(host_config).as_deref(), Some(wanted), "{host_config}");
    }
    let top = r#"{"Image":"x","Privileged":true}"#;
    let wanted = Some("closed-world.field");
    assert_eq!(
        rule("POST /containers/create", top).as_deref(),
        wanted,
        "honoured there up to 26.1"
    );
}

#[test]
fn what_the_docker_cli_always_sends_is_allowed() {
    let cli = r#""MaskedPaths":null,"ReadonlyPaths":null,"MemorySwappiness":-1,"OomKillDisable":false,
        "ConsoleSize":[0,0],"Privileged":false,"NetworkMode":"default","CapAdd":null,"CapDrop":null,
        "Binds":["data:/data:ro","/anonymous"],"PidMode":"","IpcMode":"","UTSMode":"","UsernsMode":"",
        "LogConfig":{"Type":"","Config":{}},"RestartPolicy":{"Name":"no","MaximumRetryCount":0},
        "Devices":[],"DeviceCgroupRules":null,"DeviceRequests":null,"SecurityOpt":["no-new-privileges"],
        "Runtime":"","CgroupParent":"","VolumeDriver":"","Mounts":[{"Type":"volume","Source":"v","Target":"/v"}]"#;
    assert_eq!(create(cli), None);
    assert_eq!(create(r#""CapAdd":["net_bind_service","CAP_CHOWN"]"#), None);
    assert_eq!(create(r#""NetworkMode":"container:abc","PidMode":"container:abc""#), None);
}

#[test]
fn other_calls_that_elevate_are_refused() {
    for (line, body, wanted) in [
        ("POST /containers/x/exec", r#"{"Cmd":["sh"],"Privileged":true}"#, "exec.privileged"),
        (
            "POST /volumes/create",
            r#"{"DriverOpts":{"type":"none","o":"bind","device":"/"}}"#,
            "volume.driver-options",
        ),
        ("POST /volumes/create", r#"{"Driver":"sshfs"}"#, "volume.driver"),
        ("POST /networks/create", r#"{"Name":"n","Driver":"macvlan"}"#, "network.driver"),
        ("POST /build?networkmode=host", "", "build.network"),
        ("POST /build?cgroupparent=/x", "", "build.cgroup-parent"),
        ("POST /build?version=2", "", "build.buildkit"),
        ("POST /containers/x/start?checkpoint=c", "", "container.checkpoint"),
        ("POST /swarm/init", "{}", "class.swarm"),
        ("GET /plugins", "", "class.plugin"),
        ("GET /containers/x/checkpoints", "", "class.checkpoint"),
        ("GET /debug/pprof/heap", "", "class.debug"),
        ("GET /containers/json?frob=1", "", "closed-world.query"),
        ("GET /v1.99/info", "", "api.version"),
        ("GET /v1.23/info", "", "api.version"),
        ("POST /containers/prune", "", "prune.unfiltered"),
        ("POST /volumes/prune?filters=", "", "prune.unfiltered"),
        ("POST /networks/prune?filters={}", "", "prune.unfiltered"),
        ("POST /images/prune?filters={\"dangling\":[\"0\"]}", "", "prune.unfiltered"),
        ("POST /images/prune?filters={\"label\":{}}", "", "prune.unfiltered"),
        ("POST /build/prune?all=1", "", "build.prune"),
        ("POST /commit?container=x&changes=WORKDIR+/proc", "", "image.changes"),
        ("POST /images/create?fromSrc=http://169.254.169.254/", "", "image.from-src"),
        ("POST /images/create?fromImage=169.254.169.254/x", "", "registry.host"),
        ("POST /images/localhost:5000/x/push", "", "registry.host"),
        ("GET /distribution/127.0.0.1:80/x/json", "", "registry.host"),
        ("GET /images/search?term=db:5000/x", "", "registry.host"),
        ("POST /auth", r#"{"serveraddress":"http://127.0.0.1:9"}"#, "registry.host"),
        ("POST /build?remote=http://x/y.tar", "", "build.remote"),
        (
            "POST /build?ulimits=[{\"Name\":\"rtprio\",\"Hard\":99,\"Soft\":99}]",
            "",
            "container.ulimits",
        ),
        ("POST /build?labels={\"io.dockgate.x\":\"y\"}", "", "label.reserved"),
        ("DELETE /containers/x?link=1", "", "container.link-delete"),
        ("GET /containers/x/top?ps_args=-o+pid%3B", "", "container.ps-args"),
        ("POST /containers/x/copy", "{}", "container.copy"),
    ] {
        assert_eq!(rule(line, body).as_deref(), Some(wanted), "{line} {body}");
    }
    for line in [
        "GET /_ping",
        "GET /info",
        "GET /containers/json?all=1",
        "POST /build?t=x",
        "GET /containers/json?frob=",
        "POST /containers/x/start",
        "POST /containers/prune?filters={\"label\":[\"a=b\"]}",
        "POST /images/create?fromImage=alpine&tag=3.18",
        "POST /images/ghcr.io/a/b/push?tag=1",
        "GET /containers/x/top?ps_args=-eo+pid,comm",
        "DELETE /containers/x?link=False&v=1",
    ] {
        assert_eq!(rule(line, ""), None, "{line}");
    }
}

#[test]
fn what_the_engine_would_fill_in_by_itself_is_as_good_as_nothing() {
    let masked = r#"["/proc/asound","/proc/acpi","/proc/kcore","/proc/keys","/proc/latency_stats","/proc/timer_list","/proc/scsi","/sys/firmware"]"#;
    let read_only = r#"["/proc/bus","/proc/fs","/proc/irq","/proc/sys","/proc/sysrq-trigger"]"#;
    let again = format!(r#""MaskedPaths":{masked},"ReadonlyPaths":{read_only}"#);
    assert_eq!(create(&again), None, "as an inspect answer has it");
    for (host_config, wanted) in [
        (r#""MaskedPaths":["/proc/kcore"]"#, "container.masked-paths"),
        (r#""MaskedPaths":[""]"#, "container.masked-paths"),
        (r#""ReadonlyPaths":[]"#, "container.readonly-paths"),
    ] {
        assert_eq!(create(host_config).as_deref(), Some(wanted), "{host_config}");
    }
    let endpoint = |more: &str| {
        let body = format!(
            r#"{{"Image":"x","NetworkingConfig":{{"EndpointsConfig":{{"bridge":{{"MacAddress":"02:42:ac:11:00:02"{more}}}}}}}}}"#
        );
        rule("POST /containers/create", &body)
    };
    assert_eq!(endpoint("").as_deref(), Some("network.static-address"), "one that was chosen");
    assert_eq!(endpoint(r#","IPAddress":"172.17.0.2","EndpointID":"ab""#), None, "a copied one");
}
