//! How much one namespace may have: counted before more is made, from the engine's own lists of what is the namespace's.
//!
//! `request` calls `held` first of all, `create` says how many volumes it is about to make. What must stay true: what is
//! counted is counted while no other call of the namespace makes more of it, by whichever listener; nothing of another
//! namespace counts.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::look::{self, Looked, name_in_list, str_of};
use super::names::BRIDGE;
use super::request::Request;
use super::{images, volumes};
use crate::api::Endpoint;
use crate::api::doc::Value;
use crate::api::endpoint::Resource;
use crate::api::grammar::mounts::{self, MountSource};
use crate::config::units::show_bytes;
use crate::policy::ports::Published;
use crate::policy::{Context, Deed, Question, Reason, Slot, Verdict};

const RULE: &str = "namespace.quota";

/// Whether there is room for what a call makes. Until it ends no other of the namespace makes any.
pub(super) fn held(request: &Request<'_>) -> Looked<()> {
    let quota = &request.with.settings.quota;
    match request.call.endpoint() {
        Endpoint::ContainerCreate => {
            if quota.containers.or(quota.volumes).is_some() {
                alone(request, "containers")?;
            }
            let Some(most) = quota.containers else { return Ok(()) };
            room("containers", most, containers(request)?.len() as u64, 1)
        }
        Endpoint::VolumeCreate if quota.volumes.is_some() => alone(request, "containers"),
        Endpoint::NetworkCreate => {
            let Some(most) = quota.networks else { return Ok(()) };
            alone(request, "networks")?;
            let all = request.all(Resource::Network)?.iter();
            let own = all.filter_map(|one| request.tenant.shown(str_of(one, "Name")));
            room("networks", most, own.filter(|name| *name != BRIDGE).count() as u64, 1)
        }
        Endpoint::ContainerStart | Endpoint::ContainerRestart | Endpoint::NetworkConnect => {
            match quota.ports {
                Some(most) => ports(request, most),
                None => Ok(()),
            }
        }
        Endpoint::ImageBuild
        | Endpoint::Solve
        | Endpoint::ImageCommit
        | Endpoint::ImageCreate
        | Endpoint::ImageLoad => match quota.image_bytes {
            Some(most) => image_bytes(request, most),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Whether there is room for so many new volumes.
pub(super) fn volumes(request: &Request<'_>, new: usize) -> Looked<()> {
    let Some(most) = request.with.settings.quota.volumes.filter(|_| new > 0) else {
        return Ok(());
    };
    let known = volumes::own(request, &Map::new())?.len();
    room("volumes", most, known as u64, new as u64)
}

/// Whether there is room for this one, unless it is there already.
pub(super) fn volume(request: &Request<'_>, sent: &str) -> Looked<()> {
    if request.with.settings.quota.volumes.is_none()
        || look::known(Question::Volume(sent.to_owned()), request.cx)?.is_some()
    {
        return Ok(());
    }
    volumes(request, 1)
}

/// The volumes by name that a container would be given, and that are not there yet.
pub(super) fn new_by_name(request: &Request<'_>, root: &Value) -> Looked<usize> {
    if request.with.settings.quota.volumes.is_none() {
        return Ok(0);
    }
    let mut new = HashSet::new();
    for mount in mounts::of(root) {
        if let MountSource::Volume(name) = mount.source
            && !name.is_empty()
            && look::known(Question::Volume(name.to_owned()), request.cx)?.is_none()
        {
            new.insert(name);
        }
    }
    Ok(new.len())
}

/// A build takes its slot when all policies have let it through.
pub(super) fn build(request: &Request<'_>) -> Option<Slot> {
    let most = request.with.settings.quota.builds?;
    let is_one = matches!(request.call.endpoint(), Endpoint::ImageBuild | Endpoint::Solve);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    is_one.then(|| slot(request, "builds", most, Slot::A_MOMENT))
}

/// Until the call ends.
fn alone(request: &Request<'_>, what: &'static str) -> Looked<()> {
    let deed = Deed::Take(slot(request, what, 1, Slot::A_WHILE));
    match request.cx.facts.outcome(&deed) {
        None => Err(Verdict::Do(vec![deed])),
        Some(Ok(())) => Ok(()),
        Some(Err(_)) => {
            let why = "cannot be counted: others of this namespace are being made all the time";
            let hint = "try again";
            Err(Verdict::deny(Reason { status: 503, ..Reason::new(RULE, what, why, hint) }))
        }
    }
}

/// Of the namespace, whichever listener its users come by.
fn slot(request: &Request<'_>, what: &'static str, most: usize, patience: Duration) -> Slot {
    Slot {
        policy: request.with.name.clone(),
        listener: String::new(),
        user: Some(request.tenant.name.clone()),
        most,
        rule: RULE,
        what,
        patience,
    }
}

fn room(what: &'static str, most: u64, known: u64, new: u64) -> Looked<()> {
    if known.saturating_add(new) <= most {
        return Ok(());
    }
    let more = match new {
        1 => String::new(),
        new => format!(", and this would make {new} more"),
    };
    let why = format!("must be at most {most} in this namespace, which has {known}{more}");
    Err(full(what, why))
}

fn full(what: &'static str, why: String) -> Verdict {
    Verdict::deny(Reason::new(RULE, what, why, "remove what is not needed any more"))
}

fn containers<'f>(request: &Request<'f>) -> Looked<Vec<&'f Json>> {
    let all =
        look::list(Resource::Container, json!({ "name": [request.tenant.pattern()] }), request.cx)?;
    let is_own = |one: &&Json| name_in_list(one).is_some_and(|name| request.tenant.is_own(name));
    Ok(all.iter().filter(is_own).collect())
}

/// Those that running containers have, and that the one which starts would take.
fn ports(request: &Request<'_>, most: u64) -> Looked<()> {
    alone(request, "ports")?;
    let body = request.call.doc().and_then(|doc| doc.root.get("Container")?.as_str());
    let named = request.call.names().first().map(String::as_str);
    let name = match request.call.endpoint() {
        Endpoint::NetworkConnect => body,
        _ => named,
    };
    let found = look::container(request.tenant, name.unwrap_or_default(), request.cx)?.own();
    // Of one that is not there the engine says so.
    let Some(id) = found.map(|json| str_of(json, "Id")) else { return Ok(()) };
    let new = would_take(id, request.cx)?;
    let mut known = 0;
    for other in containers(request)?.into_iter().filter(|one| str_of(one, "Id") != id) {
        known += match str_of(other, "State") {
            "created" | "exited" | "dead" => 0,
            "running" | "paused" => taken(other),
            // It has none in this moment.
            _ => would_take(str_of(other, "Id"), request.cx)?,
        };
    }
    match new {
        0 => Ok(()),
        new => room("ports", most, known, new),
    }
}

fn would_take(id: &str, cx: &Context<'_>) -> Looked<u64> {
    let found = look::known(Question::Container(id.to_owned()), cx)?;
    Ok(found.map_or(0, |json| Published::of_container(json).count() as u64))
}

/// A port that is published for IPv4 and IPv6 is one.
fn taken(container: &Json) -> u64 {
    let ports = container.get("Ports").and_then(Json::as_array).into_iter().flatten();
    let published = ports.filter_map(|port| {
        let number = |key: &str| port.get(key).and_then(Json::as_u64);
        Some((number("PrivatePort")?, str_of(port, "Type"), number("PublicPort")?))
    });
    published.collect::<HashSet<_>>().len() as u64
}

/// What is on its way has no size yet: nothing more begins once they are too many.
fn image_bytes(request: &Request<'_>, most: u64) -> Looked<()> {
    let all = look::list(Resource::Image, json!({}), request.cx)?;
    let own = all.iter().filter(|one| images::is_named_here(request, one));
    let known = own.filter_map(|one| one.get("Size")?.as_u64()).fold(0, u64::saturating_add);
    if known < most {
        return Ok(());
    }
    let show = |bytes| show_bytes(i64::try_from(bytes).unwrap_or(i64::MAX));
    let why =
        format!("must be less than {} in this namespace, which has {}", show(most), show(known));
    Err(full("image_bytes", why))
}
