//! The narrowest rule that allows what a rule allowed, and what was found against it.
//!
//! `report` asks here. What must stay true: what held before holds after; where nothing narrower can be said,
//! the answer is none, and the place is opened.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::super::rules::{Allowed, Pattern, Requirement, Rule, Scalar};

pub(super) fn widen(rule: &Rule, found: &[Option<Json>]) -> Option<Rule> {
    let mut allowed = match &rule.must {
        Requirement::Be(allowed) => allowed.clone(),
        Requirement::BeZero | Requirement::BeNull => Vec::new(),
        Requirement::BeAnything | Requirement::BeDropped => return None,
    };
    if allowed.iter().any(|one| matches!(one, Allowed::NoHostMounts | Allowed::VolumeOptions)) {
        return None;
    }
    for found in found {
        extend(&mut allowed, found.as_ref()?)?;
    }
    // `one-of` nothing: an empty list, and no other.
    if allowed.iter().all(|one| matches!(one, Allowed::EngineDefault)) {
        allowed.push(Allowed::OneOf(Vec::new()));
    }
    // The words for what was allowed before are wrong now; new ones are made of the predicates.
    let id = rule.id.clone();
    Some(Rule { id, must: Requirement::Be(allowed), why: String::new(), hint: String::new() })
}

fn extend(allowed: &mut Vec<Allowed>, found: &Json) -> Option<()> {
    match found {
        Json::Null | Json::Bool(_) => None,
        Json::Number(number) => extend_number(allowed, number.as_i64()?),
        Json::String(text) => extend_text(allowed, text),
        Json::Array(items) => extend_list(allowed, items),
        Json::Object(_) => {
            let keys = found.get("keys")?.as_array()?;
            let keys: Option<Vec<&str>> = keys.iter().map(Json::as_str).collect();
            extend_keys(allowed, &keys?)
        }
    }
}

fn extend_number(allowed: &mut Vec<Allowed>, number: i64) -> Option<()> {
    for one in allowed.iter_mut() {
        match one {
            Allowed::Range { least, most } => {
                *least = least.map(|least| least.min(number));
                *most = most.map(|most| most.max(number));
                return Some(());
            }
            Allowed::Retries(most) => {
                *most = number.max(*most);
                return (number >= 0).then_some(());
            }
            Allowed::OneOf(items) => {
                items.push(Scalar::Number(number));
                return Some(());
            }
            _ => {}
        }
    }
    allowed.push(Allowed::Range { least: Some(number.min(0)), most: Some(number.max(0)) });
    Some(())
}

fn extend_text(allowed: &mut Vec<Allowed>, text: &str) -> Option<()> {
    for one in allowed.iter_mut() {
        if let Allowed::Capabilities(names) = one {
            let upper = text.trim().to_ascii_uppercase();
            add(names, upper.strip_prefix("CAP_").unwrap_or(&upper));
            return Some(());
        }
        if let Allowed::OneOf(items) = one {
            let text = Scalar::Text(text.to_owned());
            if !items.contains(&text) {
                items.push(text);
            }
            return Some(());
        }
    }
    allowed.push(Allowed::OneOf(vec![Scalar::Text(text.to_owned())]));
    Some(())
}

fn extend_list(allowed: &mut Vec<Allowed>, items: &[Json]) -> Option<()> {
    let first_of_whole = allowed.iter_mut().find(|one| !one.is_of_elements());
    match first_of_whole {
        Some(Allowed::Ulimits(limits)) => {
            items.iter().try_for_each(|item| extend_ulimit(limits, item))
        }
        Some(Allowed::TmpfsOptions(names)) => items.iter().try_for_each(|item| {
            add(names, item.as_str()?);
            Some(())
        }),
        Some(_) => None,
        None => items.iter().try_for_each(|item| extend_text(allowed, item.as_str()?)),
    }
}

fn extend_ulimit(limits: &mut BTreeMap<String, i64>, item: &Json) -> Option<()> {
    let name = item.get("Name")?.as_str()?.to_ascii_lowercase();
    let given = |key| item.get(key).and_then(Json::as_i64).unwrap_or(0);
    let (soft, hard) = (given("Soft"), given("Hard"));
    let most = limits.entry(name).or_insert(0);
    // -1 is no limit.
    let has_none = soft < 0 || hard < 0 || *most < 0;
    *most = if has_none { -1 } else { soft.max(hard).max(*most) };
    Some(())
}

fn extend_keys(allowed: &mut Vec<Allowed>, keys: &[&str]) -> Option<()> {
    if allowed.iter().any(|one| {
        matches!(
            one,
            Allowed::Filters
                | Allowed::FiltersWith(_)
                | Allowed::TmpfsOptions(_)
                | Allowed::Ports(_)
        )
    }) {
        return None;
    }
    let escaped = |key: &&str| regex::escape(key);
    let before = allowed.iter_mut().find_map(|one| match one {
        Allowed::KeysMatch(pattern) => Some(pattern),
        _ => None,
    });
    match before {
        Some(pattern) => {
            let new = keys.iter().filter(|key| !pattern.holds(key)).map(escaped);
            let source: Vec<_> = std::iter::once(pattern.source().to_owned()).chain(new).collect();
            *pattern = Pattern::of(source.join("|")).ok()?;
        }
        None => {
            let source: Vec<_> = keys.iter().map(escaped).collect();
            allowed.push(Allowed::KeysMatch(Pattern::of(source.join("|")).ok()?));
        }
    }
    Some(())
}

fn add(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}
