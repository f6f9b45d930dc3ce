//! What an allowed call is changed to, so that the safe thing is what the engine gets.
//!
//! `Conservative` applies what the judge wrote down, once nothing speaks against the call.

use std::borrow::Cow;

use super::judge::{Edit, OwnStep};
use crate::api::Typed;
use crate::api::doc::Value;

pub(super) fn apply(call: &mut Typed, edits: Vec<Edit>) {
    let mut moved = Vec::new();
    for edit in edits {
        match edit {
            Edit::Name(index, name) => call.set_name(index, name),
            Edit::Query(name, value) => call.query_mut().set(name, value),
            Edit::Body(steps, value) => {
                if let Some(doc) = call.doc_mut() {
                    put(&mut doc.root, &steps, value);
                }
            }
            Edit::Mount(index, mount) => moved.push((index, mount)),
            Edit::Version(least) => call.raise_version(least),
        }
    }
    if let Some(doc) = call.doc_mut().filter(|_| !moved.is_empty()) {
        move_binds(&mut doc.root, moved);
    }
}

/// Binds that are mounts instead. Last of all: the other edits count the binds as the client sent them.
fn move_binds(root: &mut Value, moved: Vec<(usize, Value)>) {
    if let Some(Value::List(binds)) = root.at_mut(&["HostConfig", "Binds"]) {
        let mut index = 0..;
        binds.retain(|_| {
            let this = index.next();
            !moved.iter().any(|(at, _)| Some(*at) == this)
        });
    }
    let Some(mounts) = root.at_mut(&["HostConfig", "Mounts"]) else { return };
    let mut all = mounts.items().to_vec();
    all.extend(moved.into_iter().map(|(_, mount)| mount));
    *mounts = Value::List(all);
}

/// What the client left to the engine.
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
