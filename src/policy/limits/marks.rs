//! Labels and variables: one by one, by their names.
//!
//! What must stay true: of a forced name there is one value, ours, and it stands last.

use std::collections::BTreeMap;

use super::Judged;
use super::rules::Rules;
use crate::api::doc::{self, Value};
use crate::api::query::Query;
use crate::api::shape::LABELS;
use crate::config::Template;
use crate::policy::Reason;

const LABEL_RULE: &str = "limits.labels";
const ENV_RULE: &str = "limits.env";

/// Of whatever has `Labels` at its root.
pub(super) fn labels(rules: &Rules<'_>, root: &mut Value) -> Judged {
    if !has_labels(rules) {
        return Ok(());
    }
    match root.at_mut(&["Labels"]) {
        Some(labels) => mark(rules, labels),
        None => Ok(()),
    }
}

pub(super) fn build_labels(rules: &Rules<'_>, query: &mut Query) -> Judged {
    if !has_labels(rules) {
        return Ok(());
    }
    let given = query.get("labels").filter(|text| !text.is_empty()).unwrap_or("{}");
    let mut labels = doc::parse(given.as_bytes(), &LABELS)
        .map_err(|error| Reason::new(LABEL_RULE, "?labels", error.to_string(), ""))?;
    mark(rules, &mut labels.root)?;
    query.set("labels", String::from_utf8_lossy(&labels.render()).into_owned());
    Ok(())
}

/// A container gets its forced and its missing variables; an exec, which has its container's, the
/// forced ones once more.
pub(super) fn env(rules: &Rules<'_>, root: &mut Value, is_exec: bool) -> Judged {
    let (force, default) = (&rules.all().force.env, &rules.all().default.env);
    if force.is_empty() && (default.is_empty() || is_exec) {
        return Ok(());
    }
    let Some(env) = root.at_mut(&["Env"]) else { return Ok(()) };
    let mut list = env.items().to_vec();
    list.retain(|item| name_of(item).is_none_or(|name| !force.contains_key(name)));
    if !is_exec {
        for (name, template) in default {
            if !list.iter().any(|item| name_of(item) == Some(name)) && !force.contains_key(name) {
                list.push(variable(rules, name, template)?);
            }
        }
    }
    for (name, template) in force {
        list.push(variable(rules, name, template)?);
    }
    *env = Value::List(list);
    Ok(())
}

pub(super) fn has_labels(rules: &Rules<'_>) -> bool {
    !rules.all().force.labels.is_empty() || !rules.all().default.labels.is_empty()
}

pub(super) fn mark(rules: &Rules<'_>, labels: &mut Value) -> Judged {
    if *labels == Value::Null {
        *labels = Value::Object(Vec::new());
    }
    let Value::Object(entries) = labels else { return Ok(()) };
    let (force, default) = (&rules.all().force.labels, &rules.all().default.labels);
    entries.retain(|(name, _)| !force.contains_key(name.as_ref()));
    let missing: BTreeMap<&String, &Template> = default
        .iter()
        .filter(|(name, _)| entries.iter().all(|(given, _)| given != *name))
        .chain(force)
        .collect();
    for (name, template) in missing {
        let value = rules.text(LABEL_RULE, template)?;
        entries.push((name.clone().into(), Value::String(value)));
    }
    Ok(())
}

/// `NAME=VALUE`, or `NAME` alone, which takes it away.
fn name_of(item: &Value) -> Option<&str> {
    item.as_str()?.split('=').next()
}

fn variable(rules: &Rules<'_>, name: &str, template: &Template) -> Result<Value, Reason> {
    Ok(Value::String(format!("{name}={}", rules.text(ENV_RULE, template)?)))
}
