//! A container that exists, as the body that would create it, and what is really mounted in it.
//!
//! `state` judges by it. What must stay true: what the engine filled in by itself is left out, and nothing else.

use serde_json::{Value as Json, json};

use super::judge::{Judge, Judgement};
use super::rules::{Node, Requirement};
use super::state::{read, text};
use super::{Conservative, defaults, host};
use crate::api::Endpoint;
use crate::api::container::CREATE;
use crate::api::doc::Value;
use crate::api::grammar::mode::NetworkMode;
use crate::api::grammar::mounts::{BINDS, Mount, MountSource};
use crate::policy::{Context, Reason, RequestPart, RuleFinding};

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
    for key in ["MaskedPaths", "ReadonlyPaths"] {
        let given = host_config.get(key).and_then(Json::as_array).into_iter().flatten();
        if defaults::hides_enough(key, given.filter_map(Json::as_str)) {
            remove(host_config, key);
        }
    }
    // The engine's own defaults of these are nowhere told, and what a container may use up was judged when
    // it was made.
    remove(host_config, "Ulimits");
    let driver = host_config.pointer("/LogConfig/Type").and_then(Json::as_str).unwrap_or_default();
    if !matches!(driver, "" | "json-file" | "local" | "none")
        && defaults::log_driver(judge, driver, cx)?
    {
        forget_log_driver(host_config);
    }
    if defaults::cgroup_namespace(judge, text(host_config, "CgroupnsMode"), cx)? {
        remove(host_config, "CgroupnsMode");
    }
    if defaults::runtime(judge, text(host_config, "Runtime"), cx)? {
        remove(host_config, "Runtime");
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
