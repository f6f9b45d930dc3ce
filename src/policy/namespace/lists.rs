//! Lists and the stream of events: what is asked of the engine so that only this namespace's things can be in the answer.
//!
//! `request` calls it, and `show` does the rest on the way back. What must stay true: a filter by names is the engine's only
//! for the prefix; what users ask for by names is answered by the names that they see; a limit counts what they see.

use std::collections::BTreeMap;

use serde_json::json;

use super::look::Looked;
use super::request::{Request, says};
use super::{guests, images};
use crate::api::doc::{self, Value};
use crate::api::grammar::image::digits;
use crate::api::grammar::reference::{is_hexadecimal, is_id};
use crate::api::shape::FILTERS;
use crate::policy::{Edit, Reason, Reply, Verdict};

/// What a client's own filters and limit are called, which `answer` looks at.
pub(super) const FILTERS_NOTE: &str = "filters";
pub(super) const LIMIT_NOTE: &str = "limit";

/// Filters by name, each with the values that are wanted.
pub(super) type Filters = BTreeMap<String, Vec<String>>;

/// The filters of a call, in whichever form they came. A value of `false` is one all the same (`filters.FromJSON` of moby
/// looks at the keys).
pub(super) fn filters(text: Option<&str>) -> Looked<Filters> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(Filters::new()) };
    let parsed = doc::parse(text.as_bytes(), &FILTERS);
    let Ok(doc) = parsed else {
        return Err(Verdict::deny(Reason {
            status: 400,
            ..Reason::new("namespace.filters", "?filters", "cannot be read", "")
        }));
    };
    let values = |value: &Value| match value {
        Value::Object(entries) => entries.iter().map(|(text, _)| text.to_string()).collect(),
        list => list.items().iter().filter_map(Value::as_str).map(str::to_owned).collect(),
    };
    Ok(doc.root.entries().iter().map(|(key, value)| (key.to_string(), values(value))).collect())
}

pub(super) fn containers(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let mut filters = filters(request.call.query().get("filters"))?;
    for key in ["before", "since"] {
        for value in filters.get_mut(key).into_iter().flatten() {
            // No engine takes the beginning of an id here (`idOrNameFilter` of moby's daemon/list.go).
            *value = match is_hexadecimal(value) && !is_id(value) && !request.with.has_guests() {
                true => request.tenant.sent(value),
                false => request.container_id(value)?,
            };
        }
    }
    for value in filters.get_mut("network").into_iter().flatten() {
        *value = request.network_id(value)?;
    }
    for value in filters.get_mut("volume").into_iter().flatten() {
        // A path is where something is mounted.
        if !value.starts_with('/') {
            *value = request.volume_sent(value)?;
        }
    }
    if let Some(values) = filters.get_mut("ancestor") {
        let mut sent = Vec::new();
        for value in values.iter() {
            match images::used(request, value) {
                // Of an image that is not there the engine has no containers, and no name is like an id.
                Err(Verdict::Answer(_)) if is_id(digits(value)) => {}
                Err(Verdict::Answer(_)) => sent.push(images::named(request, value)?),
                used => sent.push(used?),
            }
        }
        if sent.is_empty() && !values.is_empty() {
            return Err(Verdict::Answer(Reply { status: 200, json: Some(json!([])) }));
        }
        *values = sent;
    }
    let mut edits = Vec::new();
    // The engine would count others, or those that the client's own filter by name leaves out.
    let limit = request.call.query().get("limit").and_then(|limit| limit.parse::<i64>().ok());
    if limit.is_some_and(|limit| limit > 0) {
        edits.push(Edit::Query("all".into(), Some("1".to_owned())));
    }
    let limit = limit.filter(|limit| *limit > 0);
    edits.extend(limit.map(|limit| Edit::Note(LIMIT_NOTE, limit.to_string())));
    edits.push(Edit::Query("limit".into(), None));
    edits.extend(noted(request));
    filters.remove("id");
    let guests = guests::names(&request.with.members, request.cx)?;
    edits.push(by_names(request, filters, &guests));
    Ok(edits)
}

/// Networks, by their prefix; those that every engine has are few, and `show` adds none.
pub(super) fn named(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let mut filters = filters(request.call.query().get("filters"))?;
    // In the engine's words and with its status (`filterNetworkByType` of moby).
    let is_type = |kind: &&String| matches!(kind.as_str(), "custom" | "builtin");
    if let Some(bad) = filters.get("type").into_iter().flatten().find(|kind| !is_type(kind)) {
        return Err(says(500, format!("invalid filter: 'type'='{bad}'")));
    }
    // The namespace's own and the engine's: what its users filter by name or type is looked at when the answer is there,
    // for the engine takes a bridge of ours for no built-in one.
    filters.remove("name");
    filters.remove("type");
    filters.remove("id");
    Ok(both(request, write(&filters)))
}

/// Volumes: those that the engine has named by itself have no prefix.
pub(super) fn volumes(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let mut filters = filters(request.call.query().get("filters"))?;
    filters.remove("name");
    Ok(both(request, write(&filters)))
}

/// Images: a filter by reference is by names that the engine does not have.
pub(super) fn images(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let mut filters = filters(request.call.query().get("filters"))?;
    for key in ["before", "since"] {
        for value in filters.get_mut(key).into_iter().flatten() {
            *value = images::used(request, value)?;
        }
    }
    filters.remove("reference");
    // With a name of ours nothing dangles to the engine.
    if filters.get("dangling").is_some_and(|values| is_dangling_wanted(values).is_some()) {
        filters.remove("dangling");
    }
    let mut edits = both(request, write(&filters));
    edits.push(Edit::Query("filter".into(), None));
    Ok(edits)
}

/// What a filter `dangling` says; nothing where the engine complains of it.
pub(super) fn is_dangling_wanted(values: &[String]) -> Option<bool> {
    match values {
        [one] if matches!(one.as_str(), "1" | "true") => Some(true),
        [one] if matches!(one.as_str(), "0" | "false") => Some(false),
        _ => None,
    }
}

/// Events are looked at one by one; the filters are by names, exact or by their beginnings (`daemon/events/filter.go` of
/// moby).
pub(super) fn events(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let mut filters = filters(request.call.query().get("filters"))?;
    for key in ["container", "volume", "network"] {
        if let Some(values) = filters.get_mut(key) {
            let ids = values.iter().filter(|value| is_hexadecimal(value)).cloned();
            let mut sent: Vec<String> = ids.collect();
            sent.extend(values.iter().map(|value| request.tenant.sent(value)));
            *values = sent;
        }
    }
    for value in filters.get_mut("image").into_iter().flatten() {
        *value = images::named(request, value)?;
    }
    // Of everybody's events the engine then sends those alone whose id or name begins so, of whatever type they are: this
    // one of its filters is of no use in a namespace, where no plugins are. What is whose `events` says all the same.
    let own = || vec![request.tenant.sent(""), request.with.prefix(request.tenant)];
    filters.entry("plugin".to_owned()).or_insert_with(own);
    Ok(vec![write(&filters)])
}

/// The client's own filters, for `answer`.
fn noted(request: &Request<'_>) -> Option<Edit> {
    let filters = request.call.query().get("filters")?;
    Some(Edit::Note(FILTERS_NOTE, filters.to_owned()))
}

fn both(request: &Request<'_>, sent: Edit) -> Vec<Edit> {
    noted(request).into_iter().chain([sent]).collect()
}

fn by_names(request: &Request<'_>, mut filters: Filters, guests: &[&str]) -> Edit {
    let guests = guests.iter().map(|name| format!("^/?{}$", regex::escape(name)));
    let patterns = [request.tenant.pattern()].into_iter().chain(guests).collect();
    filters.insert("name".to_owned(), patterns);
    write(&filters)
}

fn write(filters: &Filters) -> Edit {
    let text = match filters.is_empty() {
        true => None,
        false => Some(json!(filters).to_string()),
    };
    Edit::Query("filters".into(), text)
}
