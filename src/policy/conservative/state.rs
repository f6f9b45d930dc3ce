//! What exists already, judged as if it were made now.
//!
//! `judge` asks here for each container, network and volume that a call uses. What must stay true: what could
//! not have been created here cannot be used from here; what does not exist is said not to exist, in the engine's
//! words, and no call goes on by its name; what cannot be understood is refused.

use std::collections::HashSet;

use serde_json::{Value as Json, json};

use super::judge::{Judge, Judgement};
use super::rules::Node;
use super::{Conservative, host, made};
use crate::api::doc::{self, Value};
use crate::api::grammar::mode::NetworkMode;
use crate::api::shape::{Kind, Object};
use crate::api::{Endpoint, network, volume};
use crate::policy::{Context, Fact, FindingDetail, Question, Reason};

/// Containers that one call leads to, and how far.
const MOST_CONTAINERS: usize = 128;
const MOST_DEPTH: usize = 8;
pub(super) fn container(
    judge: &mut Judge<'_>,
    with: &Conservative,
    name: &str,
    cx: &Context<'_>,
) -> Judgement {
    let json = match known(judge, Question::Container(name.to_owned()), cx) {
        Ok(Some(json)) => json,
        Ok(None) => return Judgement::Absent(format!("No such container: {name}")),
        Err(holds) => return holds,
    };
    let id = text(json, "Id");
    // What a job's own container may is not the job's to choose, nor what is done to it (`namespace`).
    if with.around.members.has(id) {
        return Judgement::Yes;
    }
    if let Some((_, found)) = judge.seen.iter().find(|(seen, _)| seen == id) {
        return found.clone();
    }
    let index = judge.seen.len();
    if index == MOST_CONTAINERS || judge.depth == MOST_DEPTH {
        return Judgement::Because("leads to too many others".to_owned());
    }
    judge.seen.push((id.to_owned(), Judgement::Yes));
    let found = judged(judge, with, json, cx);
    if let Some((_, slot)) = judge.seen.get_mut(index) {
        *slot = found.clone();
    }
    found
}

fn judged(judge: &mut Judge<'_>, with: &Conservative, json: &Json, cx: &Context<'_>) -> Judgement {
    let mut made = match made::container(json, judge, cx) {
        Ok(made) => made,
        Err(holds) => return holds,
    };
    cx.later.strip(&mut made, cx);
    let Some(rules) = body_rules(with, Endpoint::ContainerCreate) else { return Judgement::No };
    let mut inner = judge.of_made(Endpoint::ContainerCreate);
    inner.recursive = host::read_only_as_a_whole(json);
    inner.body(with, rules, &made, cx);
    made::mounted(&mut inner, with, rules, json, cx);
    let Judge { reasons, asks, seen, .. } = inner;
    verdict(judge, reasons, asks, seen)
}

pub(super) fn network(
    judge: &mut Judge<'_>,
    with: &Conservative,
    name: &str,
    cx: &Context<'_>,
) -> Judgement {
    match NetworkMode::of(name) {
        NetworkMode::Default | NetworkMode::Bridge | NetworkMode::None => return Judgement::Yes,
        NetworkMode::Host => return Judgement::No,
        // Another way of saying something else.
        NetworkMode::Container(_) | NetworkMode::Namespace(_) => return Judgement::No,
        NetworkMode::Named(_) => {}
    }
    let json = match known(judge, Question::Network(name.to_owned()), cx) {
        Ok(Some(json)) => json,
        Ok(None) => return Judgement::Absent(format!("network {name} not found")),
        Err(holds) => return holds,
    };
    match (text(json, "Name"), text(json, "Driver")) {
        ("bridge" | "none", "bridge" | "null") => return Judgement::Yes,
        ("host", _) | (_, "host") => return Judgement::No,
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
) -> Judgement {
    let json = match known(judge, Question::Volume(name.to_owned()), cx) {
        Ok(Some(json)) => json,
        Ok(None) => return Judgement::Absent(format!("get {name}: no such volume")),
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
        Some(Fact::Exec(made))
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

/// The name and the full id of a network that is not one of the engine's own, which are always there.
pub(super) fn network_of(name: &str, cx: &Context<'_>) -> Option<(String, String)> {
    let question = Question::Network(name.to_owned());
    let id = id_of(&question, cx)?;
    match cx.facts.get(&question) {
        Some(Fact::Json(json)) => Some((text(json, "Name").to_owned(), id))
            .filter(|(name, _)| NetworkMode::of(name).is_user_defined()),
        _ => None,
    }
}

/// The network that this container would be connected to by its name when it starts, if there is one. The engine
/// prefers the id that it keeps beside the name (`getNetworkID` in moby's `daemon/container_operations.go`).
pub(super) fn unpinned_network<'f>(name: &str, cx: &Context<'f>) -> Option<&'f str> {
    let Some(Fact::Json(json)) = cx.facts.get(&Question::Container(name.to_owned())) else {
        return None;
    };
    let networks = json.pointer("/NetworkSettings/Networks").and_then(Json::as_object);
    let mut by_name = networks.into_iter().flatten().filter_map(|(name, settings)| {
        (NetworkMode::of(name).is_user_defined() && text(settings, "NetworkID").is_empty())
            .then_some(name.as_str())
    });
    by_name.find(|name| !is_forced(name, cx))
}

/// Whether a later policy puts every container there: then it is the operator's.
pub(super) fn is_forced(network: &str, cx: &Context<'_>) -> bool {
    let body = json!({ "HostConfig": { "NetworkMode": network } });
    let Ok(mut made) = read(&body, crate::api::container::CREATE) else { return false };
    cx.later.strip(&mut made, cx);
    made.get("HostConfig").and_then(|host| host.get("NetworkMode")).is_none_or(Value::is_zero)
}

/// The full id, once it is known.
fn id_of(question: &Question, cx: &Context<'_>) -> Option<String> {
    match cx.facts.get(question) {
        Some(Fact::Json(json)) => Some(text(json, "Id").to_owned()).filter(|id| !id.is_empty()),
        _ => None,
    }
}

/// What is known of something; none if it does not exist.
pub(super) fn known<'f>(
    judge: &mut Judge<'_>,
    question: Question,
    cx: &Context<'f>,
) -> Result<Option<&'f Json>, Judgement> {
    match cx.facts.get(&question) {
        Some(Fact::Json(json)) => Ok(Some(json)),
        Some(Fact::Absent) => Ok(None),
        Some(Fact::Failed(why)) => {
            Err(Judgement::Because(format!("cannot be judged: the engine was asked, and {why}")))
        }
        Some(
            Fact::Path(_)
            | Fact::Paths(_)
            | Fact::Addresses(_)
            | Fact::Exec(_)
            | Fact::Owner(_)
            | Fact::Fresh(_)
            | Fact::Header(_)
            | Fact::Layout(_),
        ) => Err(Judgement::No),
        None => {
            judge.ask(question, cx);
            Err(Judgement::Unknown)
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
) -> Judgement {
    super::count();
    let made = match read(&made, shape) {
        Ok(made) => made,
        Err(why) => return Judgement::Because(why),
    };
    let Some(rules) = body_rules(with, endpoint) else { return Judgement::No };
    let mut inner = judge.of_made(endpoint);
    inner.body(with, rules, &made, cx);
    let Judge { reasons, asks, seen, .. } = inner;
    verdict(judge, reasons, asks, seen)
}

fn verdict(
    judge: &mut Judge<'_>,
    reasons: Vec<Reason>,
    asks: HashSet<Question>,
    seen: Vec<(String, Judgement)>,
) -> Judgement {
    judge.seen = seen;
    let found = reasons.iter().filter_map(|reason| match reason.found.as_deref()? {
        FindingDetail::ByRule(found) => Some(found.clone()),
        FindingDetail::Text(_) => None,
    });
    judge.causes.extend(found);
    if let Some(Reason { rule, field, why, .. }) = reasons.first() {
        return Judgement::Because(format!(
            "could not have been made here: {field}: {why} ({rule})"
        ));
    }
    if asks.is_empty() {
        return Judgement::Yes;
    }
    judge.asks.extend(asks);
    Judgement::Unknown
}

fn body_rules(with: &Conservative, endpoint: Endpoint) -> Option<&Node> {
    with.rules.making(endpoint).map(|operation| &operation.body)
}

/// JSON of the engine as a body, by the shape of that body.
pub(super) fn read(json: &Json, shape: &'static Object) -> Result<Value, String> {
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

pub(super) fn text<'j>(json: &'j Json, key: &str) -> &'j str {
    json.get(key).and_then(Json::as_str).unwrap_or_default()
}
