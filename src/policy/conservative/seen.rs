//! What of a value that is against its rule may stand in a log.
//!
//! `judge` asks here where somebody audits, and `learn` reads it. What must stay true: no value of a map, no
//! text that may hold a password; bounded in length.

use std::borrow::Cow;

use serde_json::{Value as Json, json};

use super::count;
use super::rules::{Allowed, Requirement};
use crate::api::doc::Value;

const MOST_BYTES: usize = 1024;
/// Of the objects in a list: how they are known, and nothing that is free text.
const KNOWN_BY: &[&str] =
    &["Type", "Source", "Target", "ReadOnly", "Name", "Soft", "Hard", "PathOnHost", "Driver"];

/// `failing` are the elements of a list that are against the rule, in their order; with none all of them are.
pub(super) fn value(must: &Requirement, value: &Value, failing: &[usize]) -> Option<Json> {
    let json = match must {
        Requirement::Be(allowed) => of(allowed, value, failing),
        Requirement::BeAnything
        | Requirement::BeDropped
        | Requirement::BeZero
        | Requirement::BeNull => of(&[], value, failing),
    }?;
    (json.to_string().len() <= MOST_BYTES).then_some(json)
}

fn of(allowed: &[Allowed], value: &Value, failing: &[usize]) -> Option<Json> {
    match value {
        Value::Null => None,
        Value::Bool(given) => Some((*given).into()),
        Value::Number(number) => Some(number.clone().into()),
        // Instructions of a Dockerfile may set passwords.
        Value::String(_) if allowed.iter().any(|one| matches!(one, Allowed::Changes(_))) => None,
        Value::String(given) => text(given),
        Value::List(items) => {
            let is_meant = |index: usize| {
                count();
                failing.is_empty() || failing.binary_search(&index).is_ok()
            };
            let meant = items.iter().enumerate().filter(|(index, _)| is_meant(*index));
            meant.map(|(_, item)| element(item)).collect()
        }
        Value::Object(entries) => match allowed {
            [Allowed::Retries(_), ..] => value.get("MaximumRetryCount").and_then(plain),
            [Allowed::Ports(_), ..] => Some(ports(value)),
            [Allowed::TmpfsOptions(_), ..] => Some(tmpfs_options(value)),
            // The keys of a struct are known and say nothing.
            _ if entries.iter().any(|(key, _)| matches!(key, Cow::Borrowed(_))) => None,
            _ => {
                let keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_ref()).collect();
                Some(json!({ "keys": keys }))
            }
        },
    }
}

fn element(item: &Value) -> Option<Json> {
    match item {
        Value::Object(_) => {
            let named = |key: &&str| Some(((*key).to_owned(), plain(item.get(key)?)?));
            let mut known: serde_json::Map<_, _> = KNOWN_BY.iter().filter_map(named).collect();
            let options = item.get("BindOptions").and_then(|options| options.get("Propagation"));
            known.extend(options.and_then(plain).map(|one| ("Propagation".to_owned(), one)));
            Some(Json::Object(known))
        }
        item => plain(item),
    }
}

fn plain(value: &Value) -> Option<Json> {
    match value {
        Value::Bool(given) => Some((*given).into()),
        Value::Number(number) => Some(number.clone().into()),
        Value::String(given) => text(given),
        Value::Null | Value::List(_) | Value::Object(_) => None,
    }
}

/// Not a URL with a password.
fn text(text: &str) -> Option<Json> {
    let may_hold_password = text.contains("://") && text.contains('@');
    (!may_hold_password).then(|| text.into())
}

/// The host's, such as `8080`, or nothing for one that the engine chooses.
fn ports(bindings: &Value) -> Json {
    let all = bindings.entries().iter().flat_map(|(_, bindings)| bindings.items());
    all.filter_map(|binding| binding.get("HostPort").and_then(Value::as_str)).collect()
}

/// The names of all options of all paths.
fn tmpfs_options(mounts: &Value) -> Json {
    let all = mounts.entries().iter().filter_map(|(_, options)| options.as_str());
    let names = all.flat_map(|options| options.split(',')).filter(|option| !option.is_empty());
    names.map(|option| option.split('=').next().unwrap_or_default().trim()).collect()
}
