//! A container that exists, as the body that would create it, and what is really mounted in it.
//!
//! `state` judges by it. What must stay true: what the engine filled in by itself is left out, and nothing else.

use serde_json::{Value as Json, json};

use super::judge::{Judge, Judgement};
use super::rules::{Node, Requirement};
use super::state::{known, read, text};
use super::{Conservative, host};
use crate::api::Endpoint;
use crate::api::container::CREATE;
use crate::api::doc::Value;
use crate::api::grammar::mode::NetworkMode;
use crate::api::grammar::mounts::{BINDS, Mount, MountSource};
use crate::policy::{Context, Question, Reason, RequestPart, RuleFinding};

/// Runtimes that are the engine's own under any configuration (`daemon/runtime_unix.go` of moby).
const RUNC: &[&str] =
    &["runc", "io.containerd.runc.v2", "io.containerd.runc.v1", "io.containerd.runtime.v1.linux"];
/// What every engine from 20.10 on masks (`oci/defaults.go`): a list with all of these masks enough.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/scsi",
    "/sys/firmware",
];
const READ_ONLY: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// An inspected container as the body that would create it.
pub(super) fn container(
    json: &Json,
    judge: &mut Judge<'_>,
    cx: &Context<'_>,
) -> Result<Value, Judgement> {
    let mut body = json.get("Config").cloned().unwrap_or_default();
    let mut host_config = json.get("HostConfig").cloned().unwrap_or_default();
    forget_defaults(&mut host_config, judge, cx)?;
    // No engine reads it, and what dockgate keeps there no client could have written.
    remove(&mut host_config, "ContainerIDFile");
    let networks = json.pointer("/NetworkSettings/Networks").and_then(Json::as_object);
    // A network of a container's neighbour is judged with the neighbour.
    let endpoints: serde_json::Map<_, _> =
        networks.into_iter().flatten().map(|(name, one)| (network(name, one), json!({}))).collect();
    // Where it is connected is where it is: the engine looks at this text only when a container is made.
    if networks.is_some() && NetworkMode::of(text(&host_config, "NetworkMode")).is_user_defined() {
        remove(&mut host_config, "NetworkMode");
    }
    let Some(map) = body.as_object_mut() else {
        return Err(Judgement::Because("has a configuration that cannot be understood".to_owned()));
    };
    map.insert("HostConfig".to_owned(), host_config);
    map.insert("NetworkingConfig".to_owned(), json!({ "EndpointsConfig": endpoints }));
    read(&body, CREATE).map_err(Judgement::Because)
}

/// By its id, where the engine keeps one: another network may have the name by now.
fn network(name: &str, settings: &Json) -> String {
    match text(settings, "NetworkID") {
        id if NetworkMode::of(name).is_user_defined() && !id.is_empty() => id.to_owned(),
        _ => name.to_owned(),
    }
}

/// Takes out what the engine fills in where its client said nothing.
fn forget_defaults(
    host_config: &mut Json,
    judge: &mut Judge<'_>,
    cx: &Context<'_>,
) -> Result<(), Judgement> {
    for (key, default) in [("MaskedPaths", MASKED), ("ReadonlyPaths", READ_ONLY)] {
        let given = host_config.get(key).and_then(Json::as_array);
        let has = |path: &&str| given.is_some_and(|list| list.iter().any(|one| one == path));
        if default.iter().all(has) {
            remove(host_config, key);
        }
    }
    // The engine's own defaults of these are nowhere told, and what a container may use up was judged when
    // it was made.
    remove(host_config, "Ulimits");
    let driver = host_config.pointer("/LogConfig/Type").and_then(Json::as_str).unwrap_or_default();
    if !matches!(driver, "" | "json-file" | "local" | "none") {
        let info = known(judge, Question::Info, cx)?;
        if info.is_some_and(|info| text(info, "LoggingDriver") == driver) {
            forget_log_driver(host_config);
        }
    }
    // With cgroup v1 the engine's default is the host's, and no more than every container there has.
    if text(host_config, "CgroupnsMode") == "host" {
        let info = known(judge, Question::Info, cx)?;
        if info.is_some_and(|info| text(info, "CgroupVersion") == "1") {
            remove(host_config, "CgroupnsMode");
        }
    }
    let runtime = text(host_config, "Runtime");
    if RUNC.contains(&runtime) {
        remove(host_config, "Runtime");
    } else if !runtime.is_empty() {
        let info = known(judge, Question::Info, cx)?;
        if info.is_some_and(|info| text(info, "DefaultRuntime") == runtime) {
            remove(host_config, "Runtime");
        }
    }
    Ok(())
}

/// The engine's own driver, with where it sends to; what any driver reads of its options stays to be judged.
fn forget_log_driver(host_config: &mut Json) {
    const OF_ANY_DRIVER: &[&str] = &["max-buffer-size", "labels-regex", "env-regex", "tag"];
    let Some(config) = host_config.get_mut("LogConfig") else { return };
    remove(config, "Type");
    if let Some(options) = config.get_mut("Config").and_then(Json::as_object_mut) {
        options.retain(|name, _| OF_ANY_DRIVER.contains(&name.as_str()));
    }
}

fn remove(json: &mut Json, key: &str) {
    if let Some(map) = json.as_object_mut() {
        map.remove(key);
    }
}

/// What is really mounted: also what came from other containers, and they may be gone.
pub(super) fn mounted(
    judge: &mut Judge<'_>,
    with: &Conservative,
    rules: &Node,
    json: &Json,
    cx: &Context<'_>,
) {
    let rule = |list| rules.field("HostConfig")?.field(list)?.rule.as_ref();
    let (binds, ways) = (rule("Binds"), [rule("Binds"), rule("Mounts")]);
    let mounts = json.get("Mounts").and_then(Json::as_array);
    for (index, one) in mounts.into_iter().flatten().enumerate() {
        let source = match text(one, "Type") {
            "bind" if with.around.is_given_folder(text(one, "Source")) => continue,
            "bind" => MountSource::Host(text(one, "Source")),
            "volume" => MountSource::Volume(text(one, "Name")),
            "tmpfs" => MountSource::Tmpfs,
            "image" => MountSource::Image(text(one, "Source")),
            other => MountSource::Other(other),
        };
        let read_only = one.get("RW") == Some(&Json::Bool(false));
        let target = text(one, "Destination");
        let mount = Mount { list: BINDS, index, source, target, read_only, options: Vec::new() };
        // Nobody can tell any more in which of the two ways it was asked for.
        let mut holds = Judgement::No;
        for way in ways.into_iter().flatten() {
            holds = match (holds, may_mount(judge, with, &way.must, &mount, cx)) {
                (Judgement::Yes, _) | (_, Judgement::Yes) => Judgement::Yes,
                (Judgement::No, other) => other,
                (holds, _) => holds,
            };
        }
        let why = match holds {
            Judgement::Yes | Judgement::Unknown => continue,
            Judgement::No => "must not be there".to_owned(),
            Judgement::Because(why) | Judgement::Absent(why) => why,
        };
        let id = binds.map_or("container.bind", |rule| rule.id.as_str()).to_owned();
        let mut reason = Reason::new(id, format!("Mounts.{index}"), why, "");
        if cx.thorough {
            let found = RuleFinding {
                operation: Endpoint::ContainerCreate.id().into(),
                part: RequestPart::Body,
                place: BINDS.to_owned(),
                found: None,
                causes: Vec::new(),
            };
            reason.found = Some(found.into());
        }
        judge.push(reason);
    }
}

fn may_mount(
    judge: &mut Judge<'_>,
    with: &Conservative,
    must: &Requirement,
    mount: &Mount<'_>,
    cx: &Context<'_>,
) -> Judgement {
    let allowed = match must {
        Requirement::BeAnything => return Judgement::Yes,
        Requirement::Be(allowed) => allowed,
        Requirement::BeDropped | Requirement::BeZero | Requirement::BeNull => return Judgement::No,
    };
    let mut best = Judgement::No;
    for one in allowed {
        match host::mount(judge, with, one, mount, cx) {
            Judgement::Yes => return Judgement::Yes,
            Judgement::No => {}
            other => best = other,
        }
    }
    best
}
