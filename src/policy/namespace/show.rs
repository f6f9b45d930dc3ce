//! What the engine answers, as the users of a namespace see it.
//!
//! `answer`, `events` and `view` call it. What must stay true: `object` undoes on an answer what `create` and `network` did to
//! the request, so that what is shown can be sent again; nothing of another namespace is left in what it was given.

use serde_json::{Map, Value as Json};

use super::look::str_of;
use super::names::{BRIDGE, LABEL, Tenant};
use super::{Namespaces, ports, volumes};
use crate::api::Row;
use crate::api::endpoint::Resource;
use crate::api::grammar::reference::without_slash;

/// What the engine has for a time that has not been.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A container, network, volume or image, or whatever else this route answers with, and the lists of them.
pub(super) fn object(with: &Namespaces, tenant: &Tenant, row: &Row, json: &mut Json) {
    each(json, &mut |map| before(with, tenant, map));
    let images = with.images(tenant);
    row.names_in(json, &mut |mut found| {
        let shown = match found.resource {
            Resource::Container | Resource::Network | Resource::Volume => {
                tenant.shown(found.name()).map(str::to_owned)
            }
            Resource::Image => images.shown(found.name()),
            _ => None,
        };
        if let Some(shown) = shown {
            found.rename(&shown);
        }
    });
    each(json, &mut after);
}

/// A message of the engine's.
pub(super) fn message(with: &Namespaces, tenant: &Tenant, text: &str) -> String {
    tenant.plain(&with.images(tenant).in_text(text))
}

/// Every object of an answer: itself, those of a list, and those of the lists in it.
fn each(json: &mut Json, visit: &mut dyn FnMut(&mut Map<String, Json>)) {
    match json {
        Json::Array(list) => list.iter_mut().for_each(|one| each(one, visit)),
        Json::Object(map) => {
            visit(map);
            for key in ["Volumes", "Images", "Containers", "Items"] {
                if let Some(Json::Array(list)) = map.get_mut(key) {
                    list.iter_mut().for_each(|one| each(one, visit));
                }
            }
        }
        _ => {}
    }
}

/// While names are as the engine has them.
fn before(with: &Namespaces, tenant: &Tenant, map: &mut Map<String, Json>) {
    if let Some(error) = map.get_mut("State").and_then(|state| state.get_mut("Error"))
        && let Some(text) = error.as_str()
    {
        *error = Json::String(message(with, tenant, text));
    }
    // Of an image that several have, the engine says when it was tagged last, by whomever.
    if let Some(time) = map.get_mut("Metadata").and_then(|known| known.get_mut("LastTagTime")) {
        *time = Json::from(NEVER);
    }
    unlabel(map.get_mut("Labels"));
    for key in ["Config", "ContainerConfig"] {
        unlabel(map.get_mut(key).and_then(|config| config.get_mut("Labels")));
    }
    // Of a network: who is in it. Those of every engine have others too.
    if let Some(Json::Object(containers)) = map.get_mut("Containers") {
        containers.retain(|id, one| tenant.is_own(str_of(one, "Name")) || with.members.has(id));
    }
    ports::shown(tenant, map);
    volumes::shown(map);
    let images = with.images(tenant);
    for key in ["RepoTags", "RepoDigests", "Tags"] {
        if let Some(Json::Array(list)) = map.get_mut(key) {
            list.retain(|name| {
                name.as_str()
                    .is_some_and(|name| images.shown(name).is_some() || with.is_shared(name))
            });
        }
    }
    // What an engine below 25 adds in every network but its default bridge.
    let id = map.get("Id").and_then(Json::as_str).unwrap_or_default().chars().take(12).collect();
    let hostname = map.get("Config").map(|config| str_of(config, "Hostname")).unwrap_or_default();
    let added: [String; 2] = [id, hostname.to_owned()];
    let networks = map.get_mut("NetworkSettings").and_then(|settings| settings.get_mut("Networks"));
    for (name, endpoint) in networks.and_then(Json::as_object_mut).into_iter().flatten() {
        if let Some(aliases) = endpoint.get_mut("Aliases") {
            if let Some(list) = aliases.as_array_mut()
                && tenant.shown(name) == Some(BRIDGE)
            {
                list.retain(|alias| !added.iter().any(|one| alias.as_str() == Some(one)));
            }
            take_ours(tenant, aliases);
        }
    }
}

/// With names as users have them.
fn after(map: &mut Map<String, Json>) {
    let name = map.get("Name").and_then(Json::as_str).map(|name| without_slash(name).to_owned());
    let mut links = Vec::new();
    let Some(settings) = map.get_mut("NetworkSettings").and_then(Json::as_object_mut) else {
        return;
    };
    let networks = settings.get_mut("Networks").and_then(Json::as_object_mut);
    for (_, endpoint) in networks.into_iter().flatten() {
        if let Some(Json::Array(names)) = endpoint.get_mut("DNSNames") {
            let mut seen = Vec::new();
            names.retain(|name| {
                let is_new = !seen.contains(name);
                seen.push(name.clone());
                is_new
            });
        }
    }
    let bridge = settings.get_mut("Networks").and_then(|networks| networks.get_mut(BRIDGE));
    if let Some(bridge) = bridge {
        if let Some(Json::Array(list)) = bridge.get_mut("Links") {
            links = std::mem::take(list);
        }
        if !links.is_empty()
            && let Some(bridge) = bridge.as_object_mut()
        {
            bridge.insert("Links".to_owned(), Json::Null);
        }
        let bridge = bridge.clone();
        legacy_address(settings, &bridge);
    }
    if let (Some(name), false) = (name, links.is_empty())
        && let Some(host) = map.get_mut("HostConfig").and_then(Json::as_object_mut)
    {
        let link = |link: &Json| {
            let (of, alias) = link.as_str()?.split_once(':')?;
            Some(Json::String(format!("/{of}:/{name}/{alias}")))
        };
        host.insert("Links".to_owned(), links.iter().filter_map(link).collect());
    }
}

/// Where the engine tells the address in its default bridge beside the networks (up to API 1.51), it does so for ours.
fn legacy_address(settings: &mut Map<String, Json>, bridge: &Json) {
    const KEYS: [&str; 7] = [
        "EndpointID",
        "Gateway",
        "GlobalIPv6Address",
        "GlobalIPv6PrefixLen",
        "IPAddress",
        "IPPrefixLen",
        "MacAddress",
    ];
    for key in KEYS {
        if let (Some(place), Some(value)) = (settings.get_mut(key), bridge.get(key)) {
            *place = value.clone();
        }
    }
}

/// The alias that is the container's own name, and the engine's name behind it that says that it is ours.
fn take_ours(tenant: &Tenant, aliases: &mut Json) {
    let Some(list) = aliases.as_array_mut() else { return };
    let ours = |pair: &[Json]| match pair {
        [name, mark] => {
            mark.as_str().and_then(|mark| tenant.shown(mark)) == name.as_str() && name.is_string()
        }
        _ => false,
    };
    if let Some(at) = list.windows(2).position(ours) {
        list.drain(at..at + 2);
    }
    if list.is_empty() {
        *aliases = Json::Null;
    }
}

fn unlabel(labels: Option<&mut Json>) {
    if let Some(labels) = labels.and_then(Json::as_object_mut) {
        labels.shift_remove(LABEL);
    }
}
