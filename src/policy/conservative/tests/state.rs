//! What could not have been created here cannot be used from here.

use serde_json::{Value, json};

use super::*;

/// An engine with these containers, networks and volumes, each by the name that it is asked for.
pub(super) fn engine(things: Value) -> impl Fn(&Question) -> Fact {
    move |question| {
        let found = match question {
            Question::Container(name) => things.get("containers").and_then(|all| all.get(name)),
            Question::Network(name) => things.get("networks").and_then(|all| all.get(name)),
            Question::Volume(name) => things.get("volumes").and_then(|all| all.get(name)),
            Question::Info => Some(&things["info"]),
            Question::Image(name) => things.get("images").and_then(|all| all.get(name)),
            Question::HostPath(_)
            | Question::MountsBelow(_)
            | Question::Aliases(_)
            | Question::Addresses(_)
            | Question::WhichEngine
            | Question::Exec(_)
            | Question::Begun { .. }
            | Question::Fresh
            | Question::List(..)
            | Question::Job(_)
            | Question::Granted(_)
            | Question::Login(_)
            | Question::Trust(_)
            | Question::Layout(_)
            | Question::ExecInspect(_)
            | Question::OfEngine(_)
            | Question::Indexed(..)
            | Question::Plugin { .. } => None,
        };
        found.map_or(Fact::Absent, |json| Fact::Json(Arc::new(json.clone())))
    }
}

/// As engines answer: defaults filled in.
pub(super) fn container(id: &str, host_config: Value) -> Value {
    let mut full = json!({
        "NetworkMode": "default", "IpcMode": "private", "CgroupnsMode": "private", "Runtime": "runc",
        "Privileged": false, "ShmSize": 67108864, "LogConfig": { "Type": "json-file", "Config": {} },
        "MaskedPaths": ["/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
            "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"],
        "ReadonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 }, "Ulimits": null, "Devices": [],
        "Binds": null, "OomKillDisable": false, "PidsLimit": null, "ConsoleSize": [0, 0], "Isolation": "",
    });
    let full_map = full.as_object_mut().unwrap();
    full_map.extend(host_config.as_object().unwrap().clone());
    json!({
        "Id": id.repeat(64), "Name": format!("/{id}"),
        "Config": { "Hostname": "a", "Image": "busybox", "Cmd": ["sh"], "Env": ["A=1"], "Labels": {}, "WorkingDir": "" },
        "HostConfig": full, "Mounts": [],
        "NetworkSettings": { "Networks": { "bridge": { "IPAddress": "172.17.0.2", "MacAddress": "02:42:ac:11:00:02" } } },
    })
}

pub(super) fn network(name: &str, id: &str) -> Value {
    json!({ "Name": name, "Id": id.repeat(64), "Driver": "bridge", "Scope": "local", "Options": {},
        "IPAM": { "Driver": "default", "Config": [{ "Subnet": "172.18.0.0/16" }] } })
}

pub(super) fn decide(line: &str, body: &str, things: Value) -> Result<String, String> {
    match judge(&BUILTIN, line, body, &engine(things)) {
        Verdict::Allowed(bytes) => Ok(String::from_utf8(bytes).unwrap()),
        Verdict::Denied(_, reasons) => Err(reasons[0].message()),
        Verdict::Malformed(why) => panic!("{why}"),
        other @ (Verdict::Undecided(..) | Verdict::Waits(..) | Verdict::Answered(..)) => {
            panic!("{other:?}")
        }
    }
}

const USES: &[(&str, &str)] = &[
    ("POST /containers/x/exec", r#"{"Cmd":["sh"]}"#),
    ("POST /containers/x/attach?stream=1", ""),
    ("GET /containers/x/attach/ws", ""),
    ("GET /containers/x/archive?path=/", ""),
    ("HEAD /containers/x/archive?path=/", ""),
    ("PUT /containers/x/archive?path=/", ""),
    ("POST /commit?container=x", ""),
    ("GET /containers/x/export", ""),
    ("GET /containers/x/changes", ""),
    ("GET /containers/x/logs?stdout=1", ""),
    ("GET /containers/x/top", ""),
    ("POST /containers/x/start", ""),
    ("POST /containers/x/restart", ""),
    ("POST /containers/x/stop", ""),
    ("POST /containers/x/kill", ""),
    ("POST /containers/x/pause", ""),
    ("POST /containers/x/unpause", ""),
    ("POST /containers/x/rename?name=y", ""),
    ("POST /containers/x/resize?h=1&w=1", ""),
    ("POST /containers/x/update", r#"{"Memory":1}"#),
    ("DELETE /containers/x", ""),
    ("POST /networks/n/connect", r#"{"Container":"x"}"#),
    ("POST /networks/n/disconnect", r#"{"Container":"x"}"#),
    ("POST /containers/create", r#"{"HostConfig":{"VolumesFrom":["x:ro"]}}"#),
    ("POST /containers/create", r#"{"HostConfig":{"NetworkMode":"container:x"}}"#),
    ("POST /containers/create", r#"{"HostConfig":{"PidMode":"container:x"}}"#),
    ("POST /containers/create", r#"{"HostConfig":{"IpcMode":"container:x"}}"#),
    ("POST /containers/create", r#"{"HostConfig":{"Links":["x:db"]}}"#),
    (
        "POST /containers/create",
        r#"{"NetworkingConfig":{"EndpointsConfig":{"bridge":{"Links":["x:db"]}}}}"#,
    ),
    ("POST /build?networkmode=container:x", ""),
];

#[test]
fn a_container_with_more_than_the_rules_allow_is_of_no_use() {
    let mounts = |mount: Value| {
        let mut made = container("a", json!({}));
        made["Mounts"] = json!([mount]);
        made
    };
    let in_network = |name: &str| {
        let mut made = container("a", json!({}));
        made["NetworkSettings"]["Networks"] = json!({ name: {} });
        made
    };
    let with_config = |key: &str, value: Value| {
        let mut made = container("a", json!({}));
        made["Config"][key] = value;
        made
    };
    for bad in [
        container("a", json!({ "Privileged": true })),
        container("a", json!({ "CapAdd": ["SYS_ADMIN"] })),
        container("a", json!({ "PidMode": "host" })),
        container("a", json!({ "PidMode": "container:worse" })),
        container("a", json!({ "NetworkMode": "host" })),
        container("a", json!({ "CgroupnsMode": "host" })),
        container("a", json!({ "Runtime": "weak" })),
        container("a", json!({ "MaskedPaths": [] })),
        container("a", json!({ "MaskedPaths": ["/proc/kcore"] })),
        container("a", json!({ "ReadonlyPaths": [] })),
        container("a", json!({ "Binds": ["/:/host"] })),
        container("a", json!({ "Binds": ["evil:/x"] })),
        container("a", json!({ "VolumesFrom": ["worse"] })),
        container("a", json!({ "SecurityOpt": ["seccomp=unconfined"] })),
        container("a", json!({ "Devices": [{ "PathOnHost": "/dev/sda" }] })),
        container("a", json!({ "FromTheFuture": true })),
        mounts(json!({ "Type": "bind", "Source": "/", "Destination": "/h", "RW": true })),
        mounts(json!({ "Type": "volume", "Name": "evil", "Destination": "/h", "RW": true })),
        mounts(json!({ "Type": "cluster", "Name": "c", "Destination": "/h" })),
        in_network("host"),
        in_network("lan"),
        with_config("WorkingDir", json!("/proc/self/fd/8")),
        json!({ "Id": "a", "Config": null, "HostConfig": null }),
    ] {
        let things = json!({
            "containers": { "x": bad, "worse": container("b", json!({ "Privileged": true })) },
            "volumes": { "evil": { "Driver": "local", "Options": { "type": "none", "o": "bind", "device": "/" } } },
            "networks": {
                "lan": { "Name": "lan", "Driver": "macvlan", "Options": { "parent": "eth0" } },
                "n": network("n", "c"),
            },
            "info": { "DefaultRuntime": "runc", "CgroupVersion": "2" },
        });
        for (line, body) in USES {
            let said = decide(line, body, things.clone());
            let why = said.expect_err(&format!("{line} {body} {}", things["containers"]["x"]));
            assert!(why.starts_with("dockgate: "), "{why}");
        }
    }
}

#[test]
fn a_container_that_could_have_been_made_here_is_of_use_and_pinned_by_its_id() {
    let mut made = container(
        "a",
        json!({ "Binds": ["data:/d"], "NetworkMode": "mine", "Runtime": "special", "ContainerIDFile": "dockgate:{}", "CgroupnsMode": "host" }),
    );
    made["Mounts"] = json!([
        { "Type": "volume", "Name": "data", "Destination": "/d", "RW": true },
        { "Type": "tmpfs", "Destination": "/t" },
    ]);
    let id = "d".repeat(64);
    made["NetworkSettings"]["Networks"] =
        json!({ "mine": { "IPAddress": "10.0.0.2", "NetworkID": id } });
    let things = json!({
        "containers": { "x": made },
        "volumes": { "data": { "Driver": "local", "Options": null } },
        "networks": { id: network("mine", "d"), "n": network("n", "c") },
        "info": { "DefaultRuntime": "special", "CgroupVersion": "1" },
    });
    for (line, body) in USES {
        let sent =
            decide(line, body, things.clone()).unwrap_or_else(|why| panic!("{line} {body}: {why}"));
        if line.contains("/containers/x") {
            assert!(sent.contains(&format!("/containers/{}", "a".repeat(64))), "{sent}");
        }
    }
}

#[test]
fn what_does_not_exist_is_said_not_to_and_what_the_engine_cannot_tell_is_refused() {
    for (line, body) in USES {
        let verdict = judge(&BUILTIN, line, body, &|_| Fact::Absent);
        let Verdict::Denied(_, reasons) = verdict else { panic!("{line} {body}: {verdict:?}") };
        let makes = line.contains("/create") || line.contains("/build");
        let wanted = if makes { 403 } else { 404 };
        let said = reasons[0].message();
        assert_eq!(reasons[0].status, wanted, "{line} {body}: {said}");
        let words = match line.contains("/networks/n") {
            true => "network n not found",
            false => "No such container: x",
        };
        assert!(said.contains(words) && (makes || said == words), "{line} {body}: {said}");
        let failed = |_: &Question| Fact::Failed("it answered 500".to_owned());
        let verdict = judge(&BUILTIN, line, body, &failed);
        assert!(matches!(verdict, Verdict::Denied(..)), "{line} {body}: {verdict:?}");
    }
}

#[test]
fn containers_that_lead_to_each_other_end() {
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    let x = container("a", json!({ "VolumesFrom": ["y"], "PidMode": format!("container:{b}") }));
    let y = container("b", json!({ "VolumesFrom": ["x"], "PidMode": format!("container:{a}") }));
    let things = json!({ "containers": { "x": x, "y": y, a: x, b: y } });
    assert!(decide("POST /containers/x/start", "", things).is_ok());
}

#[test]
fn a_volume_or_network_that_could_not_have_been_made_here_is_of_no_use() {
    for (question, thing) in [
        (
            "volumes",
            json!({ "Driver": "local", "Options": { "type": "none", "o": "bind", "device": "/" } }),
        ),
        (
            "volumes",
            json!({ "Driver": "local", "Options": { "type": "ext4", "device": "/dev/sda1" } }),
        ),
        ("volumes", json!({ "Driver": "sshfs", "Options": {} })),
        ("networks", json!({ "Name": "t", "Driver": "ipvlan" })),
        ("networks", json!({ "Name": "host", "Driver": "host" })),
        (
            "networks",
            json!({ "Name": "t", "Driver": "bridge", "Options": { "com.docker.network.bridge.name": "br0" } }),
        ),
        ("networks", json!({ "Name": "t", "Driver": "bridge", "ConfigFrom": { "Network": "c" } })),
    ] {
        let things = json!({ question: { "t": thing } });
        let uses: &[(&str, &str)] = match question {
            "volumes" => &[
                ("POST /containers/create", r#"{"HostConfig":{"Binds":["t:/x"]}}"#),
                (
                    "POST /containers/create",
                    r#"{"HostConfig":{"Mounts":[{"Type":"volume","Source":"t"}]}}"#,
                ),
                ("DELETE /volumes/t", ""),
            ],
            _ => &[
                ("POST /containers/create", r#"{"HostConfig":{"NetworkMode":"t"}}"#),
                ("POST /containers/create", r#"{"NetworkingConfig":{"EndpointsConfig":{"t":{}}}}"#),
                (
                    "POST /containers/create",
                    r#"{"NetworkingConfig":{"EndpointsConfig":{"x":{"NetworkID":"t"}}}}"#,
                ),
                ("POST /networks/t/connect", r#"{"Container":"x"}"#),
                ("POST /build?networkmode=t", ""),
                ("DELETE /networks/t", ""),
            ],
        };
        for (line, body) in uses {
            assert!(decide(line, body, things.clone()).is_err(), "{line} {body} {things}");
        }
    }
}

#[test]
fn an_exec_is_its_makers() {
    let of = |listener: &str, user: Option<&str>| {
        let made = Made {
            listener: listener.into(),
            user: user.map(str::to_owned),
            container: "c".into(),
        };
        Fact::Exec(Arc::new(made))
    };
    for line in ["POST /exec/e/start", "GET /exec/e/json", "POST /exec/e/resize?h=1"] {
        let verdict = judge(&BUILTIN, line, "", &|_| of("test", None));
        assert!(matches!(verdict, Verdict::Allowed(_)), "{line} {verdict:?}");
        for other in [of("other", None), of("test", Some("ann")), Fact::Absent] {
            let verdict = judge(&BUILTIN, line, "", &|_| other.clone());
            let Verdict::Denied(_, reasons) = verdict else { panic!("{line}") };
            assert_eq!((reasons[0].status, &*reasons[0].rule), (404, "exec.not-own"));
            assert_eq!(reasons[0].message(), "No such exec instance: e");
        }
    }
    let wide = r#"{"Detach":false,"Tty":true,"Privileged":true}"#;
    let verdict = judge(&BUILTIN, "POST /exec/e/start", wide, &|_| of("test", None));
    // A start reads no such key, of whatever engine; it does not go along.
    let Verdict::Allowed(sent) = verdict else { panic!("{verdict:?}") };
    let sent = String::from_utf8_lossy(&sent);
    assert!(
        sent.ends_with(r#"{"Detach":false,"Tty":true}"#),
        "options at start cannot widen: {sent}"
    );
}
