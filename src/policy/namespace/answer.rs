//! An answer on its way back: what is not this namespace's is taken out, and the rest is shown as its users know it.
//!
//! `Namespaces` calls it. What must stay true: what a list is filtered and counted by is what its users see.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::Namespaces;
use super::image::{self, ImageReference};
use super::images;
use super::lists::{self, Filters, filters};
use super::look::{self, Looked, name_in_list, str_of};
use super::names::{BRIDGE, PREDEFINED, Tenant, takes};
use super::request::Request;
use super::{guests, network, show, volumes};
use crate::api::endpoint::Resource;
use crate::api::grammar::reference::{is_hexadecimal, is_id, without_slash};
use crate::api::{Endpoint, Typed};
use crate::policy::{Answer, Context, Deed, Fact, Question, Verdict};

pub(super) fn judge(
    with: &Namespaces,
    tenant: &Tenant,
    answer: &mut Answer<'_>,
    cx: &Context<'_>,
) -> Verdict {
    let request = Request { with, tenant, call: answer.call, cx };
    let row = answer.call.row();
    let status = answer.status;
    let Some(json) = answer.json.as_mut() else { return Verdict::pass() };
    if status >= 400 {
        if let Some(message) = json.get_mut("message")
            && let Some(text) = message.as_str()
        {
            // The engine knows a thing by its id where its user has written a name.
            let ids = answer.call.renamed().filter(|(sent, _)| is_id(sent));
            let text = ids.fold(text.to_owned(), |text, (id, asked)| as_asked(&text, id, asked));
            match without_others(&request, &text) {
                Ok(text) => *message = Json::String(show::message(with, tenant, &text)),
                Err(verdict) => return verdict,
            }
        }
        return Verdict::pass();
    }
    if let Err(verdict) = made(&request, json) {
        return verdict;
    }
    if let Err(verdict) = own_only(&request, row.endpoint, json) {
        return verdict;
    }
    show::object(with, tenant, row, json);
    match by_visible(&request, row.endpoint, json) {
        Ok(()) => Verdict::pass(),
        Err(verdict) => verdict,
    }
}

/// Whoever is told of a new id may use it at once.
fn made(request: &Request<'_>, json: &Json) -> Looked<()> {
    let call = request.call;
    let body = || call.doc().and_then(|doc| doc.root.get("Name")?.as_str());
    let (resource, name) = match call.endpoint() {
        Endpoint::ContainerCreate => (Resource::Container, call.query().get("name")),
        Endpoint::NetworkCreate => (Resource::Network, body()),
        _ => return Ok(()),
    };
    let (id, name) = (str_of(json, "Id"), name.unwrap_or_default());
    let fact = Fact::Json(Arc::new(json!({ "Id": id, "Name": name })));
    let deed = Deed::Remember(Question::Indexed(resource, id.to_owned()), fact);
    match request.cx.once(deed) {
        Verdict::Pass(_) => Ok(()),
        other => Err(other),
    }
}

/// The engine says the name that it was asked by, but the id where it speaks of a container's state (`errdefs` of moby's
/// `daemon/errors.go`).
fn as_asked(text: &str, id: &str, asked: &str) -> String {
    const BEHIND: [&str; 4] =
        [" is not running", " is already paused", " is not paused", " is restarting"];
    const BEFORE: [&str; 2] = ["running container ", " id "];
    let mut out = String::with_capacity(text.len());
    for (index, part) in text.split(id).enumerate() {
        if index > 0 {
            let is_id = BEHIND.iter().any(|words| part.starts_with(words))
                || BEFORE.iter().any(|words| out.ends_with(words));
            out.push_str(if is_id { id } else { asked });
        }
        out.push_str(part);
    }
    out
}

/// The engine says what stands in the way by its id, whosever it is: a container on an image that two have, a network with
/// the subnet that is asked for.
fn without_others(request: &Request<'_>, text: &str) -> Looked<String> {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(from.len());
        let (word, behind) = from.split_at(end);
        out.push_str(before);
        // Behind the prefix, or a slash, it is a name, which anybody may give: to look that up would tell whether it is there.
        let is_name = out.ends_with(&request.tenant.sent("")) || out.ends_with('/');
        let is_told = matches!(word.len(), 12 | 64)
            && is_hexadecimal(word)
            && !is_name
            && !has_written(request.call, word)
            && is_of_others(request, word)?;
        out.push_str(if is_told { "(another's)" } else { word });
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

fn is_of_others(request: &Request<'_>, id: &str) -> Looked<bool> {
    for resource in [Resource::Container, Resource::Network] {
        if look::indexed(request.tenant, resource, id, request.cx)?.is_some() {
            return Ok(false);
        }
    }
    let container = look::known(Question::Container(id.to_owned()), request.cx)?;
    let network = look::known(Question::Network(id.to_owned()), request.cx)?;
    Ok([container, network].into_iter().flatten().any(|one| {
        let name = without_slash(str_of(one, "Name"));
        let is_guest = request.with.members.has(str_of(one, "Id"));
        !request.tenant.is_own(name) && !PREDEFINED.contains(&name) && !is_guest
    }))
}

/// What its user has written is said as it is, for the same reason.
fn has_written(call: &Typed, text: &str) -> bool {
    let body = call.doc().and_then(|doc| serde_json::to_string(&doc.root).ok());
    let mut query = call.query().iter();
    call.names().iter().any(|name| name.contains(text))
        || query.any(|(_, value)| value.contains(text))
        || body.is_some_and(|body| body.contains(text))
}

/// Takes out what is somebody else's.
fn own_only(request: &Request<'_>, endpoint: Endpoint, json: &mut Json) -> Looked<()> {
    match endpoint {
        Endpoint::ContainerList => retain(json, |one| {
            let is_guest = request.with.members.has(str_of(one, "Id"));
            Ok(is_guest || is_own_container(request.tenant, one))
        }),
        Endpoint::NetworkList | Endpoint::NetworkListSlash => {
            network::with_idle_bridge(request, json)?;
            let guests = guests::networks(&request.with.members, request.cx)?;
            retain(json, |one| {
                let (name, id) = (str_of(one, "Name"), str_of(one, "Id"));
                let is_guest = guests.iter().any(|(_, other)| *other == id);
                Ok(is_guest || request.tenant.is_own(name) || PREDEFINED.contains(&name))
            })
        }
        Endpoint::VolumeList => match json.get_mut("Volumes") {
            Some(list) => own_volumes(request, list),
            None => Ok(()),
        },
        Endpoint::ImageList => own_images(request, json),
        Endpoint::ImageDelete => {
            let names = request.with.images(request.tenant);
            retain(json, |one| Ok(!names.is_anchor(str_of(one, "Untagged"))))?;
            // Where others have it too it is still there, but not for this namespace.
            if let (Some(id), Some(list)) =
                (request.call.note(images::REMOVED_NOTE), json.as_array_mut())
                && list.is_empty()
            {
                list.push(json!({ "Deleted": id }));
            }
            Ok(())
        }
        Endpoint::ImageInspect => own_manifests(request, json),
        Endpoint::SystemInfo => info(request, json),
        Endpoint::SystemDataUsage => data_usage(request, json),
        _ => Ok(()),
    }
}

fn retain(list: &mut Json, keeps: impl Fn(&Json) -> Looked<bool>) -> Looked<()> {
    let Some(list) = list.as_array_mut() else { return Ok(()) };
    // First all of them: a fact that is missing ends this, and the whole list is looked at again.
    let kept = list.iter().map(keeps).collect::<Looked<Vec<bool>>>()?;
    let mut kept = kept.into_iter();
    list.retain(|_| kept.next().unwrap_or(false));
    Ok(())
}

fn is_own_container(tenant: &Tenant, one: &Json) -> bool {
    name_in_list(one).is_some_and(|name| tenant.is_own(name))
}

/// How many containers are on one is counted among the namespace's own, and what it shares with others is not said.
fn own_images(request: &Request<'_>, list: &mut Json) -> Looked<()> {
    retain(list, |one| images::is_own(request, one))?;
    let containers = request.all(Resource::Container)?;
    for image in list.as_array_mut().into_iter().flatten() {
        let id = str_of(image, "Id").to_owned();
        let is_on =
            |one: &&Json| str_of(one, "ImageID") == id && is_own_container(request.tenant, one);
        let count = containers.iter().filter(is_on).count();
        if let Some(place) = image.get_mut("Containers").filter(|place| place.as_i64() != Some(-1))
        {
            *place = json!(count);
        }
        if let Some(place) = image.get_mut("SharedSize") {
            *place = json!(-1);
        }
        own_manifests(request, image)?;
    }
    Ok(())
}

/// Which containers are on each of an image's platforms, as the containerd store says it.
fn own_manifests(request: &Request<'_>, image: &mut Json) -> Looked<()> {
    let Some(manifests) = image.get_mut("Manifests").and_then(Json::as_array_mut) else {
        return Ok(());
    };
    let containers = request.all(Resource::Container)?;
    let own = containers.iter().filter(|one| is_own_container(request.tenant, one));
    let own: HashSet<&str> = own.map(|one| str_of(one, "Id")).collect();
    for manifest in manifests {
        if let Some(Json::Array(on)) = manifest.pointer_mut("/ImageData/Containers") {
            on.retain(|id| id.as_str().is_some_and(|id| own.contains(id)));
        }
    }
    Ok(())
}

fn own_volumes(request: &Request<'_>, list: &mut Json) -> Looked<()> {
    retain(list, |one| Ok(volumes::is_own(request.tenant, one)))
}

/// How many there are is for each to know of their own.
fn info(request: &Request<'_>, json: &mut Json) -> Looked<()> {
    let containers = request.all(Resource::Container)?;
    let own: Vec<&Json> =
        containers.iter().filter(|one| is_own_container(request.tenant, one)).collect();
    let all = look::list(Resource::Image, json!({}), request.cx)?;
    let mut images = 0;
    for image in all {
        images += usize::from(images::is_own(request, image)?);
    }
    let count =
        |states: &[&str]| own.iter().filter(|one| states.contains(&str_of(one, "State"))).count();
    let counts = [
        ("Containers", own.len()),
        ("ContainersRunning", count(&["running", "restarting", "removing"])),
        ("ContainersPaused", count(&["paused"])),
        ("ContainersStopped", count(&["created", "exited", "dead"])),
        ("Images", images),
    ];
    for (key, count) in counts {
        if let Some(place) = json.get_mut(key) {
            *place = json!(count);
        }
    }
    // What the engine's process does for everybody.
    for key in ["NFd", "NGoroutines", "NEventsListener"] {
        if let Some(place) = json.get_mut(key) {
            *place = json!(0);
        }
    }
    if let Some(place) = json.get_mut("Swarm")
        && str_of(place, "LocalNodeState") != "inactive"
    {
        *place = json!({
            "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": false,
            "Error": "", "RemoteManagers": null,
        });
    }
    Ok(())
}

fn data_usage(request: &Request<'_>, json: &mut Json) -> Looked<()> {
    let Some(map) = json.as_object_mut() else { return Ok(()) };
    for (key, value) in map.iter_mut() {
        match key.as_str() {
            "Containers" => retain(value, |one| Ok(is_own_container(request.tenant, one)))?,
            "Volumes" => own_volumes(request, value)?,
            "Images" => own_images(request, value)?,
            // Whose steps these are nobody knows.
            "BuildCache" => *value = json!([]),
            "BuilderSize" | "LayersSize" => *value = json!(0),
            // Totals over everybody, from 1.52 on.
            _ => *value = json!({}),
        }
    }
    let sizes = map.get("Images").and_then(Json::as_array).into_iter().flatten();
    let total: i64 = sizes.filter_map(|one| one.get("Size")?.as_i64()).sum();
    if let Some(place) = map.get_mut("LayersSize") {
        *place = json!(total);
    }
    Ok(())
}

/// The client's own filters by names, and its limit.
fn by_visible(request: &Request<'_>, endpoint: Endpoint, json: &mut Json) -> Looked<()> {
    let call = request.call;
    let given = || filters(call.note(lists::FILTERS_NOTE));
    match endpoint {
        Endpoint::ContainerList => {
            let given = given()?;
            retain(json, |one| Ok(has_name(&given, one) && begins(&given, str_of(one, "Id"))))?;
            let limit = call.note(lists::LIMIT_NOTE).and_then(|limit| limit.parse::<usize>().ok());
            if let (Some(limit), Some(list)) = (limit, json.as_array_mut()) {
                list.truncate(limit);
            }
            Ok(())
        }
        Endpoint::NetworkList | Endpoint::NetworkListSlash => {
            let given = given()?;
            retain(json, |one| Ok(is_wanted_network(&given, one)))
        }
        Endpoint::VolumeList => {
            let given = given()?;
            let Some(volumes) = json.get_mut("Volumes") else { return Ok(()) };
            retain(volumes, |one| Ok(wants(&given, "name", str_of(one, "Name"))))
        }
        Endpoint::ImageList => {
            let given = given()?;
            if let Some(patterns) = given.get("reference") {
                by_reference(json, patterns)?;
            }
            if let Some(wanted) =
                given.get("dangling").and_then(|all| lists::is_dangling_wanted(all))
            {
                retain(json, |one| Ok(is_nameless(one) == wanted))?;
            }
            // Before 1.43 there was a word for it.
            let version = call.version().unwrap_or(request.cx.engine.newest);
            if version < 43 {
                say_none(json);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn is_nameless(image: &Json) -> bool {
    let has = |key| image.get(key).and_then(Json::as_array).is_some_and(|names| !names.is_empty());
    !has("RepoTags") && !has("RepoDigests")
}

fn say_none(list: &mut Json) {
    let images = list.as_array_mut().into_iter().flatten();
    for image in images.filter(|image| is_nameless(image)).filter_map(Json::as_object_mut) {
        image.insert("RepoTags".to_owned(), json!(["<none>:<none>"]));
        image.insert("RepoDigests".to_owned(), json!(["<none>@<none>"]));
    }
}

fn has_name(given: &Filters, container: &Json) -> bool {
    let Some(patterns) = given.get("name") else { return true };
    let names = container.get("Names").and_then(Json::as_array).into_iter().flatten();
    let mut names = names.filter_map(Json::as_str);
    names.any(|name| takes(patterns, name) || takes(patterns, without_slash(name)))
}

/// A container is meant by the beginning of its id.
fn begins(given: &Filters, id: &str) -> bool {
    given.get("id").is_none_or(|wanted| wanted.iter().any(|text| id.starts_with(&**text)))
}

fn is_wanted_network(given: &Filters, network: &Json) -> bool {
    let name = str_of(network, "Name");
    let is_builtin = name == BRIDGE || PREDEFINED.contains(&name);
    let is_of_type = given.get("type").is_none_or(|types| {
        types.iter().any(|kind| kind == if is_builtin { "builtin" } else { "custom" })
    });
    // What every engine has is never dangling.
    let may_dangle = !(is_builtin
        && given
            .get("dangling")
            .is_some_and(|one| one.iter().any(|one| one == "true" || one == "1")));
    is_of_type
        && may_dangle
        && wants(given, "name", name)
        && wants(given, "id", str_of(network, "Id"))
}

fn wants(given: &Filters, key: &str, text: &str) -> bool {
    given.get(key).is_none_or(|patterns| takes(patterns, text))
}

/// Of an image's names, as users write them, those are shown that match.
fn by_reference(json: &mut Json, patterns: &[String]) -> Looked<()> {
    let Some(list) = json.as_array_mut() else { return Ok(()) };
    let matches = |name: &str| {
        let patterns = patterns.iter().map(String::as_str);
        let found = ImageReference::parse(name).ok();
        found.is_some_and(|found| image::is_meant(patterns, &found).unwrap_or(false))
    };
    for image in list.iter_mut() {
        for key in ["RepoTags", "RepoDigests"] {
            if let Some(Json::Array(names)) = image.get_mut(key) {
                names.retain(|name| name.as_str().is_some_and(matches));
            }
        }
    }
    list.retain(|image| {
        ["RepoTags", "RepoDigests"].iter().any(|key| {
            image.get(*key).and_then(Json::as_array).is_some_and(|names| !names.is_empty())
        })
    });
    Ok(())
}
