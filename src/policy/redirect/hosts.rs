//! The hosts that containers and builds find at the cache: `ExtraHosts`, `extrahosts` and `add-hosts`.
//!
//! `redirect` asks for them. What must stay true: a name for which a user has said where it is stays there, for glibc gives
//! all addresses that a hosts file has of a name; what is shown is without what was added.

use std::borrow::Cow;

use crate::api::doc::Value;
use crate::api::grammar::mode::NetworkMode;
use crate::api::{Endpoint, Typed};
use crate::config::TransparentCache;
use crate::policy::{Edit, edit};

/// Of the Dockerfile frontend: `name=address`, by commas.
const ADD_HOSTS: &str = "add-hosts";

/// What a create body says of hosts.
pub(super) fn of(root: &Value) -> impl Iterator<Item = &str> {
    let host = root.get("HostConfig").and_then(|host| host.get("ExtraHosts"));
    host.map(Value::items).unwrap_or_default().iter().filter_map(Value::as_str)
}

/// The entries that are to be added to these.
pub(super) fn wanted<'a>(
    settings: &TransparentCache,
    said: impl Iterator<Item = &'a str>,
) -> Vec<String> {
    let pinned: Vec<&str> = said.map(name_of).collect();
    let is_free = |domain: &&String| !pinned.iter().any(|name| name.eq_ignore_ascii_case(domain));
    settings.domains.iter().filter(is_free).map(|domain| settings.entry(domain)).collect()
}

/// Behind the user's own.
pub(super) fn add(root: &mut Value, entries: Vec<String>) {
    let Some(place) = root.at_mut(&["HostConfig", "ExtraHosts"]) else { return };
    let mut list = place.items().to_vec();
    list.extend(entries.into_iter().map(Value::String));
    *place = Value::List(list);
}

pub(super) fn strip(settings: &TransparentCache, made: &mut Value) {
    let Some(host) = made.get_mut("HostConfig") else { return };
    if let Some(Value::List(hosts)) = host.get_mut("ExtraHosts") {
        hosts.retain(|one| !one.as_str().is_some_and(|entry| is_ours(settings, entry)));
    }
}

pub(super) fn is_ours(settings: &TransparentCache, entry: &str) -> bool {
    settings.domains.iter().any(|domain| settings.entry(domain) == entry)
}

/// Steps of classic builds are containers of the engine's own, which trust nothing: the cache passes their TLS on. For
/// BuildKit's it is the operator's choice: the names are a part of what its cache knows a step by.
pub(super) fn of_build(settings: &TransparentCache, call: &Typed) -> Vec<Edit> {
    match call.endpoint() {
        // Of a client, and of a frontend or a client that acts as one (buildx).
        Endpoint::Solve if settings.buildkit => solve(settings, call, "FrontendAttrs"),
        Endpoint::BridgeSolve if settings.buildkit => solve(settings, call, "FrontendOpt"),
        Endpoint::ImageBuild => {
            let query = call.query();
            let is_classic = query.get("version") != Some("2");
            let mode = query.get("networkmode").unwrap_or_default();
            if !(is_classic || settings.buildkit) || !has_hosts(mode) {
                return Vec::new();
            }
            let said: Vec<String> = query.all("extrahosts").map(str::to_owned).collect();
            let more = wanted(settings, said.iter().map(String::as_str));
            match more.is_empty() {
                true => Vec::new(),
                false => vec![Edit::Queries("extrahosts".into(), [said, more].concat())],
            }
        }
        _ => Vec::new(),
    }
}

fn solve(settings: &TransparentCache, call: &Typed, options: &'static str) -> Vec<Edit> {
    let Some(doc) = call.doc() else { return Vec::new() };
    let text = |key| doc.root.get(key).and_then(Value::as_str).unwrap_or_default();
    // Without a frontend BuildKit looks at no option.
    if text("Frontend").is_empty() {
        return Vec::new();
    }
    let mut root = doc.root.clone();
    let Some(options) = root.at_mut(&[options]) else { return Vec::new() };
    let option = |key| options.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (said, mode) = (option(ADD_HOSTS), option("force-network-mode"));
    if !has_hosts(&mode) {
        return Vec::new();
    }
    let more = wanted(settings, said.split(','));
    let more = more.iter().filter_map(|entry| entry.split_once(':'));
    let more = more.map(|(name, address)| format!("{name}={address}"));
    let said = Some(said).filter(|said| !said.is_empty());
    let all: Vec<String> = said.into_iter().chain(more).collect();
    let line = Value::String(all.join(","));
    match options {
        Value::Object(entries) => match entries.iter_mut().find(|(key, _)| key == ADD_HOSTS) {
            Some((_, value)) => *value = line,
            None => entries.push((Cow::Borrowed(ADD_HOSTS), line)),
        },
        other => *other = Value::Object(vec![(Cow::Borrowed(ADD_HOSTS), line)]),
    }
    edit::between(&doc.root, root)
}

/// Whether what runs there has a hosts file of its own.
fn has_hosts(mode: &str) -> bool {
    matches!(
        NetworkMode::of(mode),
        NetworkMode::Default | NetworkMode::Bridge | NetworkMode::Named(_)
    )
}

/// Of `name:address`, or `name=address` as newer clients write it.
fn name_of(entry: &str) -> &str {
    entry.split([':', '=']).next().unwrap_or_default().trim()
}
