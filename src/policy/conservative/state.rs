//! What exists already, judged as if it were made now.
//!
//! `judge` asks here for each container, network and volume that a call uses. What must stay true: what could
//! not have been created here cannot be used from here; what does not exist is the engine's to refuse; what
//! cannot be understood is refused.

use std::collections::HashSet;

use serde_json::{Value as Json, json};

use super::Conservative;
use super::host;
use super::judge::{Holds, Judge};
use super::rules::{Must, Node};
use crate::api::doc::{self, Value};
use crate::api::shape::{Kind, Object};
use crate::api::{Endpoint, container, network, volume};
use crate::policy::mounts::{BINDS, Mount, Source};
use crate::policy::{Answer, Context, Found, Met, Part, Question, Reason};

/// Containers that lead to each other.
const MOST_CONTAINERS: usize = 8;
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

pub(super) fn container(
    judge: &mut Judge<'_>,
    with: &Conservative,
    name: &str,
    cx: &Context<'_>,
) -> Holds {
    let json = match known(judge, Question::Container(name.to_owned()), cx) {
        Ok(Some(json)) => json,
        Ok(None) => return Holds::Yes,
        Err(holds) => return holds,
    };
    let id = text(json, "Id");
    if let Some((_, found)) = judge.seen.iter().find(|(seen, _)| seen == id) {
        return found.clone();
    }
    let index = judge.seen.len();
    if index == MOST_CONTAINERS {
        return Holds::Because("leads to too many others".to_owned());
    }
    judge.seen.push((id.to_owned(), Holds::Yes));
    let found = judged(judge, with, json, cx);
    if let Some((_, slot)) = judge.seen.get_mut(index) {
        *slot = found.clone();
    }
    found
}

fn judged(judge: &mut Judge<'_>, with: &Conservative, json: &Json, cx: &Context<'_>) -> Holds {
    let mut made = match made_container(json, judge, cx) {
        Ok(made) => made,
        Err(holds) => return holds,
    };
    cx.later.strip(&mut made, cx);
    let Some(rules) = body_rules(with, Endpoint::ContainerCreate) else { return Holds::No };
    let mut inner = Judge::of_made(Endpoint::ContainerCreate, judge.seen.clone());
    inner.recursive = host::read_only_as_a_whole(json);
    inner.body(with, rules, &made, cx);
    mounted(&mut inner, with, rules, json, cx);
    let Judge { reasons, asks, seen, .. } = inner;
    verdict(judge, reasons, asks, seen)
}

pub(super) fn network(
    judge: &mut Judge<'_>,
    with: &Conservative,
    name: &str,
    cx: &Context<'_>,
) -> Holds {
    match name {
        "" | "default" | "bridge" | "none" => return Holds::Yes,
        "host" => return Holds::No,
        // Another way of saying something else.
        name if name.starts_with("container:") || name.starts_with("ns:") => return Holds::No,
        _ => {}
    }
    let json = match known(judge, Question::Network(name.to_owned()), cx) {
        Ok(Some(json)) => json,
        Ok(None) => return Holds::Yes,
        Err(holds) => return holds,
    };
    match (text(json, "Name"), text(json, "Driver")) {
        ("bridge" | "none", "bridge" | "null") => return Holds::Yes,
        ("host", _) | (_, "host") => return Holds::No,
        _ => {}
    }
    // Addresses are the engine's to give, and in its answer they are given.
    let keys = [
        "Driver",
        "Scope",
        "EnableIPv6",
        "Internal",
        "Attachable",
        "Ingress",
        "ConfigOnly",
        "ConfigFrom",
        "Options",
    ];
    thing(judge, with, pick(json, &keys), network::CREATE, Endpoint::NetworkCreate, cx)
}

pub(super) fn volume(
    judge: &mut Judge<'_>,
    with: &Conservative,
    name: &str,
    cx: &Context<'_>,
) -> Holds {
    let json = match known(judge, Question::Volume(name.to_owned()), cx) {
        Ok(Some(json)) => json,
        Ok(None) => return Holds::Yes,
        Err(holds) => return holds,
    };
    let made = json!({ "Driver": json.get("Driver"), "DriverOpts": json.get("Options") });
    thing(judge, with, made, volume::CREATE, Endpoint::VolumeCreate, cx)
}

/// Why an exec is not the caller's; none if it is, or is not known yet.
pub(super) fn exec(judge: &mut Judge<'_>, id: &str, cx: &Context<'_>) -> Option<Reason> {
    let question = Question::Exec(id.to_owned());
    match cx.facts.get(&question) {
        None => {
            judge.ask(question, cx);
            None
        }
        Some(Answer::Exec(made))
            if made.listener == cx.listener && made.user.as_deref() == cx.identity.user() =>
        {
            None
        }
        // The engine's own words for one that does not exist.
        Some(_) => {
            let why = format!("No such exec instance: {id}");
            Some(Reason { status: 404, ..Reason::new("exec.not-own", "", why, "") })
        }
    }
}

/// The full id behind a container's name, once it is known.
pub(super) fn id_of_container(name: &str, cx: &Context<'_>) -> Option<String> {
    id_of(&Question::Container(name.to_owned()), cx)
}

pub(super) fn id_of_network(name: &str, cx: &Context<'_>) -> Option<String> {
    id_of(&Question::Network(name.to_owned()), cx)
}

fn id_of(question: &Question, cx: &Context<'_>) -> Option<String> {
    match cx.facts.get(question) {
        Some(Answer::Json(json)) => Some(text(json, "Id").to_owned()).filter(|id| !id.is_empty()),
        _ => None,
    }
}

/// What is known of something; none if it does not exist.
fn known<'f>(
    judge: &mut Judge<'_>,
    question: Question,
    cx: &Context<'f>,
) -> Result<Option<&'f Json>, Holds> {
    match cx.facts.get(&question) {
        Some(Answer::Json(json)) => Ok(Some(json)),
        Some(Answer::Absent) => Ok(None),
        Some(Answer::Failed(why)) => {
            Err(Holds::Because(format!("cannot be judged: the engine was asked, and {why}")))
        }
        Some(Answer::Path(_) | Answer::Paths(_) | Answer::Addresses(_) | Answer::Exec(_)) => {
            Err(Holds::No)
        }
        None => {
            judge.ask(question, cx);
            Err(Holds::Unknown)
        }
    }
}

/// A network or volume, by the rules of making one.
fn thing(
    judge: &mut Judge<'_>,
    with: &Conservative,
    made: Json,
    shape: &'static Object,
    endpoint: Endpoint,
    cx: &Context<'_>,
) -> Holds {
    let made = match read(&made, shape) {
        Ok(made) => made,
        Err(why) => return Holds::Because(why),
    };
    let Some(rules) = body_rules(with, endpoint) else { return Holds::No };
    let mut inner = Judge::of_made(endpoint, judge.seen.clone());
    inner.body(with, rules, &made, cx);
    let Judge { reasons, asks, seen, .. } = inner;
    verdict(judge, reasons, asks, seen)
}

fn verdict(
    judge: &mut Judge<'_>,
    reasons: Vec<Reason>,
    asks: HashSet<Question>,
    seen: Vec<(String, Holds)>,
) -> Holds {
    judge.seen = seen;
    let found = reasons.iter().filter_map(|reason| match reason.found.as_deref()? {
        Met::ByRule(found) => Some(found.clone()),
        Met::Text(_) => None,
    });
    judge.causes.extend(found);
    if let Some(Reason { rule, field, why, .. }) = reasons.first() {
        return Holds::Because(format!("could not have been made here: {field}: {why} ({rule})"));
    }
    if asks.is_empty() {
        return Holds::Yes;
    }
    judge.asks.extend(asks);
    Holds::Unknown
}

fn body_rules(with: &Conservative, endpoint: Endpoint) -> Option<&Node> {
    with.rules.making(endpoint).map(|operation| &operation.body)
}

/// An inspected container as the body that would create it.
fn made_container(json: &Json, judge: &mut Judge<'_>, cx: &Context<'_>) -> Result<Value, Holds> {
    let mut body = json.get("Config").cloned().unwrap_or_default();
    let mut host_config = json.get("HostConfig").cloned().unwrap_or_default();
    forget_defaults(&mut host_config, judge, cx)?;
    let networks = json.pointer("/NetworkSettings/Networks").and_then(Json::as_object);
    let names = networks.into_iter().flat_map(serde_json::Map::keys);
    // A network of a container's neighbour is judged with the neighbour.
    let endpoints: Json =
        names.map(|name| (name.clone(), json!({}))).collect::<serde_json::Map<_, _>>().into();
    let Some(map) = body.as_object_mut() else {
        return Err(Holds::Because("has a configuration that cannot be understood".to_owned()));
    };
    map.insert("HostConfig".to_owned(), host_config);
    map.insert("NetworkingConfig".to_owned(), json!({ "EndpointsConfig": endpoints }));
    read(&body, container::CREATE).map_err(Holds::Because)
}

/// Takes out what the engine fills in where its client said nothing.
fn forget_defaults(
    host_config: &mut Json,
    judge: &mut Judge<'_>,
    cx: &Context<'_>,
) -> Result<(), Holds> {
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
fn mounted(
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
            "bind" => Source::Host(text(one, "Source")),
            "volume" => Source::Volume(text(one, "Name")),
            "tmpfs" => Source::Tmpfs,
            "image" => Source::Image(text(one, "Source")),
            other => Source::Other(other),
        };
        let read_only = one.get("RW") == Some(&Json::Bool(false));
        let target = text(one, "Destination");
        let mount = Mount { list: BINDS, index, source, target, read_only, options: Vec::new() };
        // Nobody can tell any more in which of the two ways it was asked for.
        let mut holds = Holds::No;
        for way in ways.into_iter().flatten() {
            holds = match (holds, may_mount(judge, with, &way.must, &mount, cx)) {
                (Holds::Yes, _) | (_, Holds::Yes) => Holds::Yes,
                (Holds::No, other) => other,
                (holds, _) => holds,
            };
        }
        let why = match holds {
            Holds::Yes | Holds::Unknown => continue,
            Holds::No => "must not be there".to_owned(),
            Holds::Because(why) => why,
        };
        let id = binds.map_or("container.bind", |rule| rule.id.as_str()).to_owned();
        let mut reason = Reason::new(id, format!("Mounts.{index}"), why, "");
        if cx.thorough {
            let found = Found {
                operation: Endpoint::ContainerCreate.id().into(),
                part: Part::Body,
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
    must: &Must,
    mount: &Mount<'_>,
    cx: &Context<'_>,
) -> Holds {
    let allowed = match must {
        Must::BeAnything => return Holds::Yes,
        Must::Be(allowed) => allowed,
        Must::BeDropped | Must::BeZero | Must::BeNull => return Holds::No,
    };
    let mut best = Holds::No;
    for one in allowed {
        match host::mount(judge, with, one, mount, cx) {
            Holds::Yes => return Holds::Yes,
            Holds::No => {}
            other => best = other,
        }
    }
    best
}

/// JSON of the engine as a body, by the shape of that body.
fn read(json: &Json, shape: &'static Object) -> Result<Value, String> {
    let bytes = serde_json::to_vec(json).unwrap_or_default();
    let doc = doc::parse(&bytes, &Kind::Object(shape)).map_err(|error| error.to_string())?;
    match doc.unknown.iter().find(|unknown| !unknown.value.is_zero()) {
        Some(unknown) => Err(format!("has `{}`, which dockgate does not know", unknown.path)),
        None => Ok(doc.root),
    }
}

fn pick(json: &Json, keys: &[&str]) -> Json {
    let picked = keys.iter().filter_map(|key| Some(((*key).to_owned(), json.get(key)?.clone())));
    picked.collect::<serde_json::Map<_, _>>().into()
}

fn text<'j>(json: &'j Json, key: &str) -> &'j str {
    json.get(key).and_then(Json::as_str).unwrap_or_default()
}
