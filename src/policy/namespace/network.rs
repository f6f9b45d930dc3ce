//! Networks: the namespace's own bridge, and subnets out of the pool.
//!
//! `request` and `create` call it. What must stay true: a network that is made here has a subnet that no network of the
//! engine's overlaps, as far as is known; the names of the engine's own networks are nobody's to give away.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use serde_json::{Value as Json, json};

use super::create;
use super::lists::{FILTERS_NOTE, filters};
use super::look::{self, Looked, str_of};
use super::names::{BRIDGE, LABEL, PREDEFINED};
use super::request::Request;
use crate::api::doc::Value;
use crate::api::endpoint::Resource;
use crate::api::grammar::reference::without_slash;
use crate::policy::{Deed, Edit, Question, Reason, Verdict, edit};

/// What a network gets out of the pool.
const SUBNET: u8 = 26;
/// Another process may take one at the same moment.
const MOST_TRIES: usize = 8;

pub(super) fn make(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let Some(doc) = request.call.doc() else { return Ok(Vec::new()) };
    let mut root = doc.root.clone();
    let name = root.get("Name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if name == BRIDGE || name == "default" || PREDEFINED.contains(&name.as_str()) {
        // `PredefinedNetworkError` of moby, with its blank.
        return Err(says(403, format!("operation is not permitted on predefined {name} network ")));
    }
    if name.trim().is_empty() {
        let why = if request.cx.engine.newest < 44 { "" } else { "name is empty" };
        return Err(says(400, format!("invalid name: {why}")));
    }
    put(&mut root, &["Name"], Value::String(request.tenant.sent(&name)));
    // Engines below 25 make a second one of the same name otherwise.
    put(&mut root, &["CheckDuplicate"], Value::Bool(true));
    let from = root.get("ConfigFrom").and_then(|from| from.get("Network")).and_then(Value::as_str);
    if let Some(from) = from.filter(|from| !from.is_empty()).map(str::to_owned) {
        let sent = request.network(&from)?;
        put(&mut root, &["ConfigFrom", "Network"], Value::String(sent));
    }
    if wants_subnet(&root)
        && let Some(subnet) = subnets(request, &name)?.next()
    {
        let pool = Value::Object(vec![("Subnet".into(), Value::String(subnet.to_string()))]);
        put(&mut root, &["IPAM", "Config"], Value::List(vec![pool]));
    }
    // What is configured by another network takes nothing besides.
    if root.get("ConfigFrom").is_none_or(Value::is_zero) {
        request.label(&mut root);
    }
    Ok(edit::between(&doc.root, root))
}

/// The bridge of a namespace is made when it is first needed.
pub(super) fn bridge(request: &Request<'_>) -> Looked<()> {
    let name = request.tenant.sent(BRIDGE);
    let is_there = look::indexed(request.tenant, Resource::Network, &name, request.cx)?.is_some()
        || look::known(Question::Network(name.clone()), request.cx)?.is_some();
    if is_there {
        return Ok(());
    }
    let free = subnets(request, BRIDGE)?.take(MOST_TRIES).map(Some);
    let any = request.with.settings.network_pool.is_none().then_some(None);
    let mut last = "the pool of subnets is used up".to_owned();
    for subnet in free.chain(any) {
        let config: Vec<Json> =
            subnet.iter().map(|net| json!({ "Subnet": net.to_string() })).collect();
        let body = json!({
            "Name": name,
            "CheckDuplicate": true,
            "Driver": "bridge",
            "IPAM": { "Driver": "default", "Config": config },
            "Labels": { LABEL: request.tenant.name },
        });
        let deed = Deed::CreateNetwork { name: name.clone(), body: body.to_string().into() };
        match request.cx.facts.outcome(&deed) {
            None => return Err(Verdict::Do(vec![deed])),
            Some(Ok(())) => return Ok(()),
            // Somebody else of this namespace was faster.
            Some(Err(why)) if why.contains("already exists") => return Ok(()),
            Some(Err(why)) => last.clone_from(why),
        }
    }
    let why = format!("the network `{BRIDGE}` could not be made: {}", request.tenant.plain(&last));
    let hint = "remove networks, or let the operator enlarge `network_pool`";
    Err(Verdict::deny(Reason {
        status: 503,
        ..Reason::new("namespace.network", "request", why, hint)
    }))
}

/// One that every engine has is never unused, but ours is to the engine: what a filter leaves out for that alone is put
/// back into a list.
pub(super) fn with_idle_bridge(request: &Request<'_>, list: &mut Json) -> Looked<()> {
    let mut given = filters(request.call.note(FILTERS_NOTE))?;
    let says = given.remove("dangling").unwrap_or_default();
    if !says.iter().any(|text| text == "false" || text == "0") {
        return Ok(());
    }
    // As `lists::named` has them; `answer` looks at the rest.
    for key in ["name", "type", "id"] {
        given.remove(key);
    }
    let sent = request.tenant.sent(BRIDGE);
    given.insert("name".to_owned(), vec![format!("^{sent}$")]);
    let found = look::list(Resource::Network, json!(given), request.cx)?;
    let is_bridge = |one: &Json| str_of(one, "Name") == sent;
    if let Some(list) = list.as_array_mut()
        && !list.iter().any(is_bridge)
    {
        list.extend(found.iter().filter(|one| is_bridge(one)).cloned());
    }
    Ok(())
}

pub(super) fn connect(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let network = request.call.names().first().map(String::as_str).unwrap_or_default();
    let mut edits = vec![Edit::Name(0, named(request, network)?)];
    let Some(doc) = request.call.doc() else { return Ok(edits) };
    let mut root = doc.root.clone();
    let container = root.get("Container").and_then(Value::as_str).unwrap_or_default().to_owned();
    let name = own_name(request, &container)?;
    put(&mut root, &["Container"], Value::String(request.container(&container)?));
    if request.call.endpoint() == crate::api::Endpoint::NetworkConnect
        && let Some(place) = root.at_mut(&["EndpointConfig"])
    {
        create::endpoint(request, place)?;
        if let Some(name) = name
            && !PREDEFINED.contains(&network)
        {
            create::add_aliases(request, place, &name);
        }
    }
    edits.extend(edit::between(&doc.root, root));
    Ok(edits)
}

pub(super) fn delete(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let name = request.call.names().first().map(String::as_str).unwrap_or_default();
    let known = match look::is_only_a_name(name) {
        true => name,
        // Networks keep their names.
        false => match look::indexed(request.tenant, Resource::Network, name, request.cx)? {
            Some(json) => str_of(json, "Name"),
            None => {
                let found = look::network(request.tenant, name, request.cx)?.own();
                found.map_or(name, |json| str_of(json, "Name"))
            }
        },
    };
    let shown = request.tenant.shown(known).unwrap_or(known);
    if shown == BRIDGE || PREDEFINED.contains(&shown) {
        return Err(says(403, format!("{shown} is a pre-defined network and cannot be removed")));
    }
    Ok(vec![Edit::Name(0, request.network(name)?)])
}

/// What a container is called by its user, whatever it is named by; nothing where it is not there.
fn own_name(request: &Request<'_>, text: &str) -> Looked<Option<String>> {
    let bare = without_slash(text);
    if look::is_only_a_name(bare) {
        return Ok(Some(bare.to_owned()));
    }
    let found = look::container(request.tenant, text, request.cx)?.own();
    let name = found.map(|json| match look::name_in_list(json) {
        Some(name) => name,
        None => without_slash(str_of(json, "Name")),
    });
    Ok(name.and_then(|name| request.tenant.shown(name)).map(str::to_owned))
}

/// Of one that the path names; the bridge is there for whoever asks.
pub(super) fn named(request: &Request<'_>, name: &str) -> Looked<String> {
    if name == BRIDGE {
        bridge(request)?;
    }
    request.network(name)
}

/// Whose driver takes its addresses from the engine, and who has said nothing of them.
fn wants_subnet(root: &Value) -> bool {
    let text = |key| root.get(key).and_then(Value::as_str).unwrap_or_default();
    let ipam = root.get("IPAM");
    let is_said =
        |key| ipam.and_then(|ipam| ipam.get(key)).is_some_and(|value: &Value| !value.is_zero());
    let driver =
        ipam.and_then(|ipam| ipam.get("Driver")).and_then(Value::as_str).unwrap_or_default();
    let takes = matches!(text("Driver"), "" | "bridge") && matches!(driver, "" | "default");
    let is_configured = |key| root.get(key).is_some_and(|value| !value.is_zero());
    takes
        && !is_said("Config")
        && !is_said("Options")
        && !is_configured("ConfigFrom")
        && !is_configured("ConfigOnly")
}

/// Those of the pool that nothing overlaps yet. Where one begins to look is its name's: of several that are made at one time
/// each takes another.
fn subnets(request: &Request<'_>, name: &str) -> Looked<impl Iterator<Item = Ipv4Net>> {
    let pool = request.with.settings.network_pool;
    let taken: Vec<IpNet> = match pool {
        None => Vec::new(),
        Some(_) => {
            let networks = look::list(Resource::Network, json!({}), request.cx)?;
            networks.iter().flat_map(subnets_of).collect()
        }
    };
    let every = move || pool.and_then(|pool| pool.subnets(SUBNET).ok()).into_iter().flatten();
    let count = pool.map_or(1, |pool| 1usize << SUBNET.saturating_sub(pool.prefix_len()).min(26));
    let start = request.tenant.place(name) % count;
    let all = every().skip(start).chain(every().take(start));
    Ok(all.filter(move |subnet| !taken.iter().any(|other| overlaps(*subnet, other))))
}

fn subnets_of(network: &Json) -> Vec<IpNet> {
    let config = network.pointer("/IPAM/Config").and_then(Json::as_array);
    let subnets = config.into_iter().flatten().map(|one| str_of(one, "Subnet"));
    subnets.filter_map(|text| text.parse().ok()).collect()
}

fn overlaps(subnet: Ipv4Net, other: &IpNet) -> bool {
    let IpNet::V4(_) = other else { return false };
    other.contains(&IpAddr::V4(subnet.network())) || IpNet::V4(subnet).contains(&other.network())
}

fn put(root: &mut Value, path: &[&'static str], value: Value) {
    if let Some(place) = root.at_mut(path) {
        *place = value;
    }
}

/// What the engine says where it would be asked by the visible name.
fn says(status: u16, message: String) -> Verdict {
    super::request::says(status, message)
}
