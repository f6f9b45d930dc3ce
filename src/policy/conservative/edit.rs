//! What an allowed call is changed to, so that the safe thing is what the engine gets.
//!
//! `Conservative` applies what the judge wrote down, once nothing speaks against the call.

use std::borrow::Cow;

use super::judge::{Edit, OwnStep};
use crate::api::Typed;
use crate::api::doc::Value;

pub(super) fn apply(call: &mut Typed, edits: Vec<Edit>) {
    for edit in edits {
        match edit {
            Edit::Name(index, name) => call.set_name(index, name),
            Edit::Query(name, value) => call.query_mut().set(name, value),
            edit => {
                if let Some(doc) = call.doc_mut() {
                    change(&mut doc.root, edit);
                }
            }
        }
    }
}

fn change(root: &mut Value, edit: Edit) {
    const PLACES: [&str; 2] = ["NetworkingConfig", "EndpointsConfig"];
    match edit {
        Edit::Name(..) | Edit::Query(..) => {}
        Edit::Body(steps, value) => put(root, &steps, value),
        Edit::Endpoint { key, id } => {
            let place = root.at_mut(&PLACES).and_then(|places| entry(places, key));
            pin(place, id);
        }
        Edit::OnlyEndpoint { name, id } => {
            let places = root.at_mut(&PLACES).filter(|places| places.is_zero());
            pin(places.and_then(|places| entry(places, name)), id);
        }
        Edit::Connect { id } => pin(root.at_mut(&["EndpointConfig"]), id),
    }
}

/// The value of a map's key, made where it is absent.
fn entry(map: &mut Value, key: String) -> Option<&mut Value> {
    if map.is_zero() {
        *map = Value::Object(Vec::new());
    }
    let Value::Object(entries) = map else { return None };
    let index = entries.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
        entries.push((Cow::Owned(key), Value::Null));
        entries.len() - 1
    });
    entries.get_mut(index).map(|(_, value)| value)
}

/// Unless the client names a network there itself, which was judged and replaced by its id.
fn pin(endpoint: Option<&mut Value>, id: String) {
    let place = endpoint.and_then(|endpoint| endpoint.at_mut(&["NetworkID"]));
    if let Some(place) = place.filter(|place| place.is_zero()) {
        *place = Value::String(id);
    }
}

/// Texts that the client left to the engine.
pub(super) fn fill(call: &mut Typed, fills: &[(Vec<&'static str>, Value)]) {
    let Some(doc) = call.doc_mut() else { return };
    for (path, value) in fills {
        if let Some(place) = doc.root.at_mut(path).filter(|place| place.is_zero()) {
            *place = value.clone();
        }
    }
}

pub(super) fn add_no_new_privileges(call: &mut Typed) {
    let Some(doc) = call.doc_mut() else { return };
    let Some(options) = doc.root.at_mut(&["HostConfig", "SecurityOpt"]) else { return };
    let has = options.items().iter().any(|option| {
        matches!(option.as_str(), Some("no-new-privileges" | "no-new-privileges=true"))
    });
    if has {
        return;
    }
    let mut items = options.items().to_vec();
    items.push(Value::String("no-new-privileges".to_owned()));
    *options = Value::List(items);
}

/// Puts a value at a path, or takes away what is there.
fn put(root: &mut Value, steps: &[OwnStep], value: Option<Value>) {
    let Some((last, before)) = steps.split_last() else { return };
    let parent = before.iter().try_fold(root, |value, step| match (value, step) {
        (Value::List(items), OwnStep::Index(index)) => items.get_mut(*index),
        (value, OwnStep::Key(key)) => value.get_mut(key),
        (_, OwnStep::Index(_)) => None,
    });
    match (parent, last) {
        (Some(Value::Object(entries)), OwnStep::Key(key)) => {
            let index = entries.iter().position(|(known, _)| known == key);
            match (index.and_then(|index| entries.get_mut(index)), value) {
                (Some((_, old)), Some(value)) => *old = value,
                (None, Some(value)) => entries.push((Cow::Owned(key.clone()), value)),
                (Some(_), None) => entries.retain(|(known, _)| known != key),
                (None, None) => {}
            }
        }
        (Some(Value::List(items)), OwnStep::Index(index)) => {
            if let (Some(old), Some(value)) = (items.get_mut(*index), value) {
                *old = value;
            }
        }
        _ => {}
    }
}
