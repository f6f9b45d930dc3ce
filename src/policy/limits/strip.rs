//! What this policy puts on containers, taken off again.
//!
//! For an earlier policy that looks at a container that exists: it must see what its maker asked for.
//! What must stay true: only a value that one of the rules could have set is taken off.

use std::borrow::Cow;

use super::restart;
use super::rules::is_part;
use crate::api::doc::Value;
use crate::config::{Caps, LimitRules, LimitSettings, Template, TemplatePart, Word};

pub(super) fn strip(made: &mut Value, rules: &LimitRules) {
    for settings in [&rules.force, &rules.default] {
        words(made, settings);
        named(made.get_mut("Labels"), settings);
        env(made.get_mut("Env"), settings);
        let Some(host) = made.get_mut("HostConfig") else { continue };
        let is_ours = |config: &Value| {
            let options = config.get("Config").map(Value::entries).unwrap_or_default();
            settings.log.as_ref().is_some_and(|log| {
                config.get("Type").and_then(Value::as_str) == Some(&log.driver)
                    && options.iter().all(|(name, value)| {
                        log.options.get(name.as_ref()).map(String::as_str) == value.as_str()
                    })
            })
        };
        take_off(host.get_mut("LogConfig"), is_ours);
        let restarts = |policy: &Value| {
            settings.restart.as_ref().is_some_and(|own| restart::value(own) == *policy)
        };
        take_off(host.get_mut("RestartPolicy"), restarts);
        if let Some(Value::List(ulimits)) = host.get_mut("Ulimits") {
            ulimits.retain(|ulimit| !is_our_ulimit(ulimit, settings, &rules.max));
        }
    }
}

fn words(made: &mut Value, settings: &LimitSettings) {
    const PLACES: [(Word, &[&str]); 4] = [
        (Word::CgroupParent, &["HostConfig", "CgroupParent"]),
        (Word::Runtime, &["HostConfig", "Runtime"]),
        (Word::Network, &["HostConfig", "NetworkMode"]),
        (Word::User, &["User"]),
    ];
    for (word, path) in PLACES {
        let Some(template) = settings.words.get(&word) else { continue };
        let found = path.iter().try_fold(&mut *made, |value, key| value.get_mut(key));
        let is_ours =
            |value: &Value| value.as_str().is_some_and(|text| fits(template, text, &is_part));
        take_off(found, is_ours);
    }
}

fn named(labels: Option<&mut Value>, settings: &LimitSettings) {
    let is_ours = |name: &str, value: &Value| {
        let template = settings.labels.get(name);
        template.zip(value.as_str()).is_some_and(|(own, text)| fits(own, text, &|_| true))
    };
    if let Some(Value::Object(entries)) = labels {
        entries.retain(|(name, value): &(Cow<'_, str>, Value)| !is_ours(name, value));
    }
}

fn env(list: Option<&mut Value>, settings: &LimitSettings) {
    let is_ours = |item: &Value| {
        let pair = item.as_str().and_then(|text| text.split_once('='));
        pair.and_then(|(name, value)| Some(fits(settings.env.get(name)?, value, &|_| true)))
    };
    if let Some(Value::List(items)) = list {
        items.retain(|item| is_ours(item) != Some(true));
    }
}

fn is_our_ulimit(ulimit: &Value, settings: &LimitSettings, max: &Caps) -> bool {
    let number = |key: &str| ulimit.get(key).and_then(Value::as_i64);
    let name = ulimit.get("Name").and_then(Value::as_str).unwrap_or_default();
    let own = settings.ulimits.get(name).map(|own| (own.soft, own.hard));
    let cap = max.ulimits.get(name).map(|cap| (*cap, *cap));
    let given = number("Soft").zip(number("Hard"));
    given.is_some_and(|given| own == Some(given) || cap == Some(given))
}

fn take_off(place: Option<&mut Value>, is_ours: impl Fn(&Value) -> bool) {
    if let Some(place) = place.filter(|place| is_ours(place)) {
        *place = Value::Null;
    }
}

/// Whether a template, filled in for anybody, may have come to this.
fn fits(template: &Template, text: &str, part: &dyn Fn(&str) -> bool) -> bool {
    let mut rest = text;
    let mut is_open = false;
    for piece in template.pieces() {
        match piece {
            TemplatePart::User | TemplatePart::Listener | TemplatePart::Claim(_) => is_open = true,
            TemplatePart::Text(plain) => {
                let Some((before, after)) = rest.split_once(plain.as_str()) else { return false };
                if if is_open { !part(before) } else { !before.is_empty() } {
                    return false;
                }
                rest = after;
                is_open = false;
            }
        }
    }
    if is_open { part(rest) } else { rest.is_empty() }
}
