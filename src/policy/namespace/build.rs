//! Builds within a namespace: what they are named, what they begin with, what they may leave behind.
//!
//! `request` calls it. What must stay true: whatever name a build writes is this namespace's own; whatever image it reads is
//! this namespace's own or shared; the engine's cache, of mounts and of what was run, has one place for each namespace.

pub(super) mod classic;
mod sources;

use std::borrow::Cow;

use serde_json::json;

use super::look::Looked;
use super::names::CACHE_NAME;
use super::request::Request;
use super::{images, nameless};
use crate::api::Endpoint;
use crate::api::doc::Value;
use crate::policy::builds::has_source_policies;
use crate::policy::{Edit, Reason, Reply, Verdict, edit};

const RULE: &str = "namespace.build";
/// Where the caches of `RUN --mount=type=cache` are (`dockerfile2llb` of BuildKit).
const CACHE_MOUNTS: &str = "build-arg:BUILDKIT_CACHE_MOUNT_NS";

/// Lines of `/etc/hosts` where `RUN` runs, whose names are in the keys of its cache (`CacheMap` of BuildKit's ops/exec.go).
const HOSTS: &str = "add-hosts";

/// `Control.Solve`: a whole build.
pub(super) fn solve(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let Some(doc) = request.call.doc() else { return Ok(Vec::new()) };
    if !has_source_policies(request.cx.engine) {
        let why = "is not for namespaces on an engine older than 24, whose BuildKit cannot be told what images are called";
        return Err(refuse("Frontend", why, "set `DOCKER_BUILDKIT=0`"));
    }
    own_caches(request, &doc.root)?;
    let mut root = doc.root.clone();
    exporters(request, &mut root)?;
    options(request, &mut root, "FrontendAttrs")?;
    if let Some(cache) = root.get_mut("Cache") {
        caches(request, cache)?;
    }
    let policy = sources::policy(root.get("SourcePolicy"), request)?;
    if let Some(place) = root.at_mut(&["SourcePolicy"]) {
        *place = policy;
    }
    Ok(edit::between(&doc.root, root))
}

/// `LLBBridge.Solve`: a part of a build that has begun, held by the policy of the whole.
pub(super) fn bridge(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let Some(doc) = request.call.doc() else { return Ok(Vec::new()) };
    own_caches(request, &doc.root)?;
    let mut root = doc.root.clone();
    options(request, &mut root, "FrontendOpt")?;
    if let Some(imports) = root.get_mut("CacheImports") {
        cache_entries(request, imports, images::named)?;
    }
    Ok(edit::between(&doc.root, root))
}

/// `LLBBridge.NewContainer`: what it mounts.
pub(super) fn new_container(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let Some(doc) = request.call.doc() else { return Ok(Vec::new()) };
    own_caches(request, &doc.root)?;
    Ok(Vec::new())
}

/// A graph that a client makes itself names the caches of its mounts as it likes, and those of others.
fn own_caches(request: &Request<'_>, value: &Value) -> Looked<()> {
    match value {
        Value::Object(entries) => entries.iter().try_for_each(|(key, value)| {
            let id = value.get("ID").and_then(Value::as_str).unwrap_or_default();
            let own = request.tenant.id();
            let is_own = id.strip_prefix(own).is_some_and(|rest| rest.starts_with(['/', '-']));
            if key.eq_ignore_ascii_case("cacheOpt") && *value != Value::Null && !is_own {
                let why = format!("`{id}` is not a cache of this namespace's");
                return Err(refuse("cacheOpt.ID", why, "build a Dockerfile"));
            }
            // By such a name what a namespace has run is found again (`options`); provenance can tell it.
            if let Some(host) = value.as_str().filter(|_| key.eq_ignore_ascii_case("host"))
                && host.starts_with(CACHE_NAME)
                && host != request.tenant.cache_name()
            {
                let why = format!("`{host}` is not a cache of this namespace's");
                return Err(refuse("extraHosts.Host", why, "use another name"));
            }
            own_caches(request, value)
        }),
        Value::List(items) => items.iter().try_for_each(|item| own_caches(request, item)),
        _ => Ok(()),
    }
}

/// Of the engine's build cache. Whose a step of it is nobody knows: to a namespace it is empty.
pub(super) fn cache(request: &Request<'_>) -> Verdict {
    let json = match request.call.endpoint() {
        Endpoint::BuildPrune => Some(json!({ "CachesDeleted": null, "SpaceReclaimed": 0 })),
        Endpoint::DiskUsage => Some(json!({})),
        // A stream of what was removed.
        _ => None,
    };
    Verdict::Answer(Reply { status: 200, json })
}

/// Names that are written. `docker` and `oci` write an archive for the client, in which names are its own.
fn exporters(request: &Request<'_>, root: &mut Value) -> Looked<()> {
    let is_here = |kind: &str| !matches!(kind, "docker" | "oci" | "local" | "tar");
    let is_stored = |kind: &str| matches!(kind, "moby" | "image");
    let deprecated = root.get("ExporterDeprecated").and_then(Value::as_str).unwrap_or_default();
    let deprecated = &deprecated.to_owned();
    if is_here(deprecated)
        && let Some(attributes) = root.get_mut("ExporterAttrsDeprecated")
    {
        exporter(request, attributes)?;
    }
    if is_stored(deprecated)
        && let Some(attributes) = root.at_mut(&["ExporterAttrsDeprecated"])
    {
        with_name(request, attributes)?;
    }
    let Some(Value::List(all)) = root.get_mut("Exporters") else { return Ok(()) };
    for one in all {
        let kind = one.get("Type").and_then(Value::as_str).unwrap_or_default();
        let (is_here, is_stored) = (is_here(kind), is_stored(kind));
        let Some(attributes) = one.at_mut(&["Attrs"]).filter(|_| is_here) else { continue };
        exporter(request, attributes)?;
        if is_stored {
            with_name(request, attributes)?;
        }
    }
    Ok(())
}

/// An image that the engine keeps, and that its user has given no name.
fn with_name(request: &Request<'_>, attributes: &mut Value) -> Looked<()> {
    let text = |key: &str| attributes.get(key).and_then(Value::as_str).unwrap_or_default();
    // Without a name nothing is pushed: the engine says so.
    if !text("name").is_empty() || text("push") == "true" {
        return Ok(());
    }
    let anchor = nameless::fresh(request)?;
    if let Some(name) = attributes.at_mut(&["name"]) {
        *name = Value::String(anchor);
    }
    Ok(())
}

fn exporter(request: &Request<'_>, attributes: &mut Value) -> Looked<()> {
    let Value::Object(entries) = attributes else { return Ok(()) };
    for (key, value) in entries {
        let text = value.as_str().unwrap_or_default();
        match key.as_ref() {
            "name" => *value = Value::String(targets(request, text)?),
            "dangling-name-prefix" | "danging-name-prefix" if !text.is_empty() => {
                return Err(refuse("Exporters", "must not name what has no name", ""));
            }
            _ => {}
        }
    }
    Ok(())
}

/// `a,b:1`: what an image is to be called.
fn targets(request: &Request<'_>, names: &str) -> Looked<String> {
    let mut sent = Vec::new();
    for name in names.split(',').map(str::trim) {
        sent.push(match name {
            "" => String::new(),
            name => target(request, name)?,
        });
    }
    Ok(sent.join(","))
}

/// The name of something new.
fn target(request: &Request<'_>, name: &str) -> Looked<String> {
    match request.with.is_shared(name) {
        true => {
            let why = format!("`{name}` is shared by the operator, and only read");
            Err(refuse(
                "name",
                why,
                "give the image a name that `shared` does not cover, such as `me/NAME`",
            ))
        }
        false => {
            let sent = images::named(request, name)?;
            nameless::keep(request, &sent)?;
            Ok(sent)
        }
    }
}

/// A frontend's options, where there is one.
fn options(request: &Request<'_>, root: &mut Value, place: &'static str) -> Looked<()> {
    if root.get("Frontend").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Ok(());
    }
    let Some(options) = root.at_mut(&[place]) else { return Ok(()) };
    if let Value::Null = options {
        *options = Value::Object(Vec::new());
    }
    let Value::Object(entries) = options else { return Ok(()) };
    for (key, value) in entries.iter_mut() {
        let Some(text) = value.as_str() else { continue };
        let sent = match key.as_ref() {
            "cache-from" => {
                let all = text.split(',').map(|name| images::named(request, name.trim()));
                all.collect::<Looked<Vec<_>>>()?.join(",")
            }
            "cache-imports" => in_json(request, text)?,
            _ => continue,
        };
        *value = Value::String(sent);
    }
    let own = request.tenant.id();
    match entries.iter_mut().find(|(key, _)| key == CACHE_MOUNTS) {
        Some((_, value)) => {
            let theirs = value.as_str().unwrap_or_default();
            *value = Value::String(format!("{own}-{theirs}"));
        }
        None => entries.push((Cow::Borrowed(CACHE_MOUNTS), Value::String(own.to_owned()))),
    }
    // A step that runs is found again in this namespace only: others may have run it with another secret.
    let line = format!("{}=127.0.0.1", request.tenant.cache_name());
    match entries.iter_mut().find(|(key, _)| key == HOSTS) {
        Some((_, value)) => {
            let theirs = value.as_str().filter(|lines| !lines.is_empty());
            *value =
                Value::String(theirs.map_or(line.clone(), |theirs| format!("{line},{theirs}")));
        }
        None => entries.push((Cow::Borrowed(HOSTS), Value::String(line))),
    }
    Ok(())
}

/// `[{"Type": "registry", "Attrs": {"ref": …}}]`
fn in_json(request: &Request<'_>, text: &str) -> Looked<String> {
    let Ok(mut entries) = serde_json::from_str::<serde_json::Value>(text) else {
        return Ok(text.to_owned());
    };
    for entry in entries.as_array_mut().into_iter().flatten() {
        let is_of_registry = entry.get("Type").is_some_and(|kind| kind == "registry");
        if let Some(name) = entry.pointer_mut("/Attrs/ref").filter(|_| is_of_registry)
            && let Some(text) = name.as_str()
        {
            *name = images::named(request, text)?.into();
        }
    }
    Ok(entries.to_string())
}

/// Caches that are read from registries or written to them.
fn caches(request: &Request<'_>, cache: &mut Value) -> Looked<()> {
    if let Some(entries) = cache.get_mut("Imports") {
        cache_entries(request, entries, images::named)?;
    }
    if let Some(entries) = cache.get_mut("Exports") {
        cache_entries(request, entries, target)?;
    }
    if let Some(Value::List(names)) = cache.get_mut("ImportRefsDeprecated") {
        for name in names {
            if let Some(text) = name.as_str() {
                *name = Value::String(images::named(request, text)?);
            }
        }
    }
    if let Some(name) = cache.get_mut("ExportRefDeprecated")
        && let Some(text) = name.as_str().filter(|text| !text.is_empty())
    {
        *name = Value::String(target(request, text)?);
    }
    Ok(())
}

fn cache_entries(
    request: &Request<'_>,
    entries: &mut Value,
    sent: fn(&Request<'_>, &str) -> Looked<String>,
) -> Looked<()> {
    let Value::List(entries) = entries else { return Ok(()) };
    for entry in entries {
        if entry.get("Type").and_then(Value::as_str) != Some("registry") {
            continue;
        }
        let Some(name) = entry.get_mut("Attrs").and_then(|all| all.get_mut("ref")) else {
            continue;
        };
        if let Some(text) = name.as_str() {
            *name = Value::String(sent(request, text)?);
        }
    }
    Ok(())
}

pub(super) fn refuse(
    field: &'static str,
    why: impl Into<Cow<'static, str>>,
    hint: &'static str,
) -> Verdict {
    Verdict::deny(Reason::new(RULE, field, why, hint))
}

#[cfg(test)]
pub(super) mod tests;
