//! A container's create body, as the engine gets it.
//!
//! `request` calls it. What must stay true: every place of the body that names something (`Field::names`, and the sources of
//! mounts) names something of this namespace when it leaves, or something that is not there.

use std::borrow::Cow;

use super::look::{self, Found, Looked, str_of};
use super::names::{BRIDGE, PREDEFINED};
use super::request::{Request, says};
use super::{guests, images, network, ports, quota, volumes};
use crate::api::doc::Value;
use crate::api::grammar::image::digits;
use crate::api::grammar::mode::NetworkMode;
use crate::api::grammar::mounts::{MountSource, source_of_bind};
use crate::api::grammar::reference::{CONTAINER, Reference, without_slash};
use crate::policy::edit;
use crate::policy::{Edit, Question, Reason, Verdict};

pub(super) fn container(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let name = match request.call.query().get("name").unwrap_or_default() {
        "" => made_up(request)?,
        name => request.container_name(name)?.to_owned(),
    };
    let mut edits = vec![Edit::Query("name".into(), Some(request.tenant.sent(&name)))];
    let Some(doc) = request.call.doc() else { return Ok(edits) };
    let mut root = doc.root.clone();
    image_of(request, &mut root)?;
    if let Some(host) = root.get_mut("HostConfig") {
        binds(request, host)?;
        mounts(request, host)?;
        neighbours(request, host)?;
        ports::sent(request.with.settings.ports, request.tenant, host).map_err(|address| {
            request.refuse("HostConfig.PortBindings", &format!("published at `{address}`"))
        })?;
    }
    let new = volumes::mark(request, &mut root)? + quota::new_by_name(request, &root)?;
    quota::volumes(request, new)?;
    networks(request, &mut root, &name)?;
    request.label(&mut root);
    edits.extend(edit::between(&doc.root, root));
    Ok(edits)
}

/// The aliases by which a container is known to its neighbours: those that it was given, then its own name as its user
/// knows it. The engine's name behind that one says that it is ours to take away again (`show`).
pub(super) fn add_aliases(request: &Request<'_>, endpoint: &mut Value, name: &str) {
    let Some(aliases) = endpoint.at_mut(&["Aliases"]) else { return };
    let mut list = aliases.items().to_vec();
    if !list.iter().any(|alias| alias.as_str() == Some(name)) {
        let ours = [name.to_owned(), request.tenant.sent(name)];
        list.extend(ours.into_iter().map(Value::String));
        *aliases = Value::List(list);
    }
}

/// What a container's place in a network names: containers that it links to, and the network once more.
pub(super) fn endpoint(request: &Request<'_>, endpoint: &mut Value) -> Looked<()> {
    if let Some(Value::List(links)) = endpoint.get_mut("Links") {
        for link in links {
            let Some(text) = link.as_str() else { continue };
            let sent = linked(request, text)?;
            *link = Value::String(sent);
        }
    }
    if let Some(id) = endpoint.get_mut("NetworkID")
        && let Some(text) = id.as_str().filter(|text| !text.is_empty())
    {
        let sent = request.network_id(text)?;
        *id = Value::String(sent);
    }
    Ok(())
}

fn image_of(request: &Request<'_>, root: &mut Value) -> Looked<()> {
    let Some(place) = root.get_mut("Image") else { return Ok(()) };
    let Some(text) = place.as_str().filter(|text| !text.is_empty()) else { return Ok(()) };
    let sent = images::used(request, text)?;
    // The engine keeps an id as it is written.
    if digits(&sent) != text {
        *place = Value::String(sent);
    }
    Ok(())
}

fn binds(request: &Request<'_>, host: &mut Value) -> Looked<()> {
    let Some(Value::List(binds)) = host.get_mut("Binds") else { return Ok(()) };
    for bind in binds {
        let Some(text) = bind.as_str() else { continue };
        if let (MountSource::Volume(name), rest) = source_of_bind(text)
            && !name.is_empty()
        {
            let sent = format!("{}:{rest}", request.volume(name)?);
            *bind = Value::String(sent);
        }
    }
    Ok(())
}

fn mounts(request: &Request<'_>, host: &mut Value) -> Looked<()> {
    let Some(Value::List(mounts)) = host.get_mut("Mounts") else { return Ok(()) };
    for mount in mounts {
        let kind = mount.get("Type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(source) = mount.get_mut("Source") else { continue };
        let Some(text) = source.as_str().filter(|text| !text.is_empty()) else { continue };
        let sent = match kind.as_str() {
            "volume" => request.volume(text)?,
            "image" => images::used(request, text)?,
            "cluster" => return Err(request.refuse("HostConfig.Mounts", "a swarm's volumes")),
            _ => continue,
        };
        *source = Value::String(sent);
    }
    Ok(())
}

/// Containers whose volumes or namespaces this one shares.
fn neighbours(request: &Request<'_>, host: &mut Value) -> Looked<()> {
    if let Some(Value::List(from)) = host.get_mut("VolumesFrom") {
        for one in from {
            let Some(text) = one.as_str() else { continue };
            if let Some(reference) = Reference::parse(text, "") {
                let sent = reference.with_id(&request.container_id(reference.name)?);
                *one = Value::String(sent);
            }
        }
    }
    for key in ["IpcMode", "PidMode", "Cgroup", "NetworkMode"] {
        let Some(mode) = host.get_mut(key) else { continue };
        let Some(text) = mode.as_str() else { continue };
        if let Some(reference) = Reference::parse(text, CONTAINER) {
            let sent = reference.with_id(&request.container_id(reference.name)?);
            *mode = Value::String(sent);
        }
    }
    Ok(())
}

/// The network that the mode names, the container's places in networks, and its names there.
fn networks(request: &Request<'_>, root: &mut Value, name: &str) -> Looked<()> {
    let mode = root.get("HostConfig").and_then(|host| host.get("NetworkMode"));
    let mode = mode.and_then(Value::as_str).unwrap_or_default().to_owned();
    let disabled = root.get("NetworkDisabled") == Some(&Value::Bool(true));
    let sent = match NetworkMode::of(&mode) {
        NetworkMode::Default | NetworkMode::Bridge => Some(request.tenant.sent(BRIDGE)),
        NetworkMode::Named(text) => Some(network_name(request, text)?),
        NetworkMode::Host | NetworkMode::None | NetworkMode::Container(_) => None,
        NetworkMode::Namespace(_) => {
            return Err(request.refuse("HostConfig.NetworkMode", "namespaces of the host"));
        }
    };
    let mut endpoints = Vec::new();
    let given = root.get("NetworkingConfig").and_then(|config| config.get("EndpointsConfig"));
    for (key, value) in given.map(Value::entries).unwrap_or_default() {
        let mut value = value.clone();
        endpoint(request, &mut value)?;
        let key = match NetworkMode::of(key) {
            NetworkMode::Default | NetworkMode::Bridge => request.tenant.sent(BRIDGE),
            NetworkMode::Host | NetworkMode::None => key.to_string(),
            _ => network_name(request, key)?,
        };
        endpoints.push((Cow::Owned::<str>(key), value));
    }
    if let Some(sent) = &sent
        && endpoints.is_empty()
        && !disabled
    {
        endpoints.push((Cow::Owned(sent.clone()), Value::Null));
    }
    let bridge = request.tenant.sent(BRIDGE);
    if sent.as_ref() == Some(&bridge) || endpoints.iter().any(|(key, _)| *key == bridge) {
        network::bridge(request)?;
    }
    for (key, value) in &mut endpoints {
        if !PREDEFINED.contains(&key.as_ref()) {
            add_aliases(request, value, name);
        }
    }
    let Some(host) = root.at_mut(&["HostConfig"]) else { return Ok(()) };
    if let Some(sent) = sent {
        links(request, host, &mut endpoints, &sent)?;
        if let Some(mode) = host.at_mut(&["NetworkMode"]) {
            *mode = Value::String(sent);
        }
    }
    if !endpoints.is_empty()
        && let Some(place) = root.at_mut(&["NetworkingConfig", "EndpointsConfig"])
    {
        *place = Value::Object(endpoints);
    }
    Ok(())
}

/// Links are the default bridge's own; in any other network they stand with the container's place there.
fn links(
    request: &Request<'_>,
    host: &mut Value,
    endpoints: &mut [(Cow<'static, str>, Value)],
    network: &str,
) -> Looked<()> {
    let Some(place) = host.get_mut("Links").filter(|links| !links.is_zero()) else { return Ok(()) };
    let mut sent = Vec::new();
    for link in place.items() {
        let text = link.as_str().unwrap_or_default();
        let name = text.split_once(':').map_or(text, |(name, _)| name);
        if look::container(request.tenant, name, request.cx)? == Found::Absent {
            // As the engine says it of its default bridge (`daemon.registerLinks` of moby).
            let why = format!("could not get container for {name}: No such container: {name}");
            return Err(says(400, why));
        }
        sent.push(Value::String(linked(request, text)?));
    }
    *place = Value::Null;
    let endpoint = endpoints.iter_mut().find(|(key, _)| *key == network);
    if let Some(list) = endpoint.and_then(|(_, value)| value.at_mut(&["Links"])) {
        let mut all = list.items().to_vec();
        all.extend(sent);
        *list = Value::List(all);
    }
    Ok(())
}

/// `name:alias` by the name that the engine's DNS knows; without an alias the name is one (`opts.ParseLink` of moby).
fn linked(request: &Request<'_>, text: &str) -> Looked<String> {
    let (name, alias) = text.split_once(':').unwrap_or((text, text));
    let name = without_slash(name);
    if look::is_only_a_name(name) {
        return Ok(format!("{}:{alias}", request.tenant.sent(name)));
    }
    let sent = match look::container(request.tenant, name, request.cx)? {
        Found::Own(json) if json.get("Names").is_some() => {
            look::name_in_list(json).unwrap_or_default().to_owned()
        }
        Found::Own(json) => without_slash(str_of(json, "Name")).to_owned(),
        Found::Absent | Found::Several => request.tenant.sent(name),
    };
    Ok(format!("{sent}:{alias}"))
}

/// The name by which the engine has a network, whatever it was named by.
fn network_name(request: &Request<'_>, text: &str) -> Looked<String> {
    if look::is_only_a_name(text) && !request.with.has_guests() {
        return Ok(request.tenant.sent(text));
    }
    Ok(match guests::any_network(request, text)? {
        Found::Own(json) => str_of(json, "Name").to_owned(),
        Found::Several => return Err(request.several(text)),
        Found::Absent => request.tenant.sent(text),
    })
}

/// A name for a container that its user has given none: the engine would make one up that belongs to nobody.
fn made_up(request: &Request<'_>) -> Looked<String> {
    let fresh = match request.cx.facts.get(&Question::Fresh) {
        None => return Err(Verdict::Ask(vec![Question::Fresh])),
        Some(crate::policy::Fact::Fresh(text)) => text,
        Some(_) => {
            let why = "no random name can be had";
            return Err(Verdict::deny(Reason::new("namespace.name", "?name", why, "")));
        }
    };
    let number =
        |at: usize| fresh.get(at..at + 2).and_then(|two| usize::from_str_radix(two, 16).ok());
    let word = |words: &[&'static str; 32], at| {
        words.get(number(at).unwrap_or(0) % 32).copied().unwrap_or_default()
    };
    Ok(format!("{}_{}_{}", word(&KINDS, 0), word(&THINGS, 2), fresh.get(4..8).unwrap_or_default()))
}

const KINDS: [&str; 32] = [
    "amber", "ashen", "bold", "brisk", "calm", "clear", "coral", "crisp", "dusty", "early", "fair",
    "fleet", "fond", "glad", "golden", "grand", "hazel", "ivory", "keen", "light", "lucky",
    "mellow", "misty", "neat", "plain", "proud", "quick", "rapid", "silver", "still", "warm",
    "wise",
];

const THINGS: [&str; 32] = [
    "anchor", "basin", "beacon", "birch", "bridge", "canal", "cedar", "cliff", "comet", "creek",
    "delta", "dune", "ember", "field", "fjord", "forge", "garden", "grove", "harbor", "island",
    "lantern", "maple", "meadow", "mill", "orchard", "pebble", "quarry", "ridge", "river", "sail",
    "summit", "willow",
];
