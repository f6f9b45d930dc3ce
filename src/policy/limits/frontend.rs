//! Builds by BuildKit: the options of a frontend, and the graphs that stand beside them.
//!
//! `limits` calls it for `Solve`, of the builder and of a frontend, and for processes of a build. What must stay true: a
//! build is held to the same numbers whether it comes as a query, as options or as a graph; what cannot be said to
//! BuildKit and would be no limit is refused.

use super::rules::Rules;
use super::sheet::NumberFields;
use super::words::wanted;
use super::{Judged, graph, marks, resources, ulimits};
use crate::api::doc::Value;
use crate::api::endpoint::Makes;
use crate::api::{Endpoint, Typed};
use crate::config::{Size, Word};
use crate::policy::Reason;
use crate::policy::builds::has_source_policies;

const LABEL: &str = "label:";

/// `Control.Solve` and `LLBBridge.Solve`.
pub(super) fn solve(rules: &Rules<'_>, endpoint: Endpoint, root: &mut Value) -> Vec<Judged> {
    let name = if endpoint == Endpoint::Solve { "FrontendAttrs" } else { "FrontendOpt" };
    let mut judged = Vec::new();
    // Without a frontend BuildKit looks at no option.
    if root.get("Frontend").and_then(Value::as_str).is_some_and(|frontend| !frontend.is_empty()) {
        let before = root.get(name).cloned().unwrap_or(Value::Object(Vec::new()));
        let mut after = before.clone();
        judged.extend(options(rules, name, &mut after));
        if after != before
            && let Some(place) = root.at_mut(&[name])
        {
            *place = after;
        }
    }
    if let Some(graph) = root.get_mut("Definition") {
        judged.extend(graph::judge(rules, graph, "Definition"));
    }
    if let Some(Value::Object(inputs)) = root.get_mut("FrontendInputs") {
        for (input, graph) in inputs {
            judged.extend(graph::judge(rules, graph, &format!("FrontendInputs.{input}")));
        }
    }
    judged
}

/// What BuildKit of an engine below 24 overlooks, or any that is asked by query as docker below 23 does, would be no limit.
pub(super) fn held(rules: &Rules<'_>, call: &Typed, makes: Makes) -> Judged {
    let is_old = match (makes, call.endpoint()) {
        (Makes::Build, Endpoint::ImageBuild) => call.query().get("version") == Some("2"),
        (Makes::Build, _) => !has_source_policies(rules.cx.engine),
        _ => return Ok(()),
    };
    let all = rules.all();
    let sizes = [Size::Memory, Size::Swap, Size::Cpus, Size::Shm];
    let rule = match sizes.into_iter().find(|size| rules.bounds(*size)) {
        Some(size) => Some(size.rule()),
        None if all.force.words.contains_key(&Word::CgroupParent) => {
            Some(Word::CgroupParent.rule())
        }
        None if !all.force.ulimits.is_empty() || !all.max.ulimits.is_empty() => Some(ulimits::RULE),
        None => None,
    };
    match rule.filter(|_| is_old) {
        Some(rule) => {
            let why = "must not be asked for by this engine's BuildKit while builds are limited: no limit would hold there";
            Err(Reason::new(rule, call.row().path, why, "set `DOCKER_BUILDKIT=0`"))
        }
        None => Ok(()),
    }
}

/// A container of a frontend's own: it has no numbers at all.
pub(super) fn new_container(rules: &Rules<'_>, root: &Value) -> Vec<Judged> {
    let limited = [Size::Memory, Size::Swap, Size::Cpus];
    let size = limited.into_iter().find(|size| rules.bounds(*size));
    let is_held = rules.all().force.words.contains_key(&Word::CgroupParent);
    let unlimited = match size.filter(|_| !is_held) {
        Some(size) => {
            let why = "must not be made while builds are limited: no limit would hold there";
            Err(Reason::new(size.rule(), "ContainerID", why, ""))
        }
        None => Ok(()),
    };
    vec![
        unlimited,
        graph::network(rules, root.get("Network"), "Network"),
        graph::shared_memory(rules, root.get("Mounts"), "Mounts"),
    ]
}

/// A process in it.
pub(super) fn process(rules: &Rules<'_>, root: &mut Value) -> Vec<Judged> {
    let Some(meta) = root.get_mut("Init").and_then(|init| init.at_mut(&["Meta"])) else {
        return Vec::new();
    };
    vec![process_ulimits(rules, meta), process_parent(rules, meta)]
}

fn process_ulimits(rules: &Rules<'_>, meta: &mut Value) -> Judged {
    let asked = meta.get("ulimit").map(Value::items).unwrap_or_default().to_vec();
    let list = ulimits::settle(rules, asked.clone(), "Init.Meta.ulimit")?;
    if list != asked
        && let Some(place) = meta.at_mut(&["ulimit"])
    {
        *place = Value::List(list);
    }
    Ok(())
}

fn process_parent(rules: &Rules<'_>, meta: &mut Value) -> Judged {
    let is_said = meta.get("cgroupParent").is_some_and(|parent| !parent.is_zero());
    if let Some(text) = wanted(rules, Word::CgroupParent, is_said)?
        && let Some(place) = meta.at_mut(&["cgroupParent"])
    {
        *place = Value::String(text);
    }
    Ok(())
}

fn options(rules: &Rules<'_>, name: &'static str, map: &mut Value) -> Vec<Judged> {
    let mut judged = resources(rules, &mut NumberFields::Options(map, name));
    judged.extend([parent(rules, map), network(rules, name, map), labels(rules, map)]);
    judged
}

fn parent(rules: &Rules<'_>, map: &mut Value) -> Judged {
    let is_said = map.get("cgroup-parent").is_some_and(|parent| !parent.is_zero());
    if let Some(text) = wanted(rules, Word::CgroupParent, is_said)?
        && let Some(place) = map.at_mut(&["cgroup-parent"])
    {
        *place = Value::String(text);
    }
    Ok(())
}

/// BuildKit has no networks by name. Its own is the engine's `bridge` (moby's builder-next).
fn network(rules: &Rules<'_>, name: &'static str, map: &mut Value) -> Judged {
    let is_said = map.get("force-network-mode").is_some_and(|mode| !mode.is_zero());
    let Some(network) = wanted(rules, Word::Network, is_said)? else { return Ok(()) };
    let mode = match network.as_str() {
        "none" => "none",
        "default" | "bridge" => "sandbox",
        // A default is for those who say nothing, and there is nothing to say.
        _ if !rules.all().force.words.contains_key(&Word::Network) => return Ok(()),
        _ => return Err(nowhere(&format!("{name}.force-network-mode"), &network)),
    };
    if let Some(place) = map.at_mut(&["force-network-mode"]) {
        *place = Value::String(mode.to_owned());
    }
    Ok(())
}

pub(super) fn nowhere(place: &str, network: &str) -> Reason {
    let why = format!("must be `{network}`, which BuildKit cannot build in");
    let hint = "set `DOCKER_BUILDKIT=0`";
    Reason::new(Word::Network.rule(), place.to_owned(), why, hint)
}

fn labels(rules: &Rules<'_>, map: &mut Value) -> Judged {
    if !marks::has_labels(rules) {
        return Ok(());
    }
    let Value::Object(entries) = map else { return Ok(()) };
    let is_label = |key: &str| key.starts_with(LABEL);
    let given = entries.iter().filter_map(|(key, value)| {
        Some((key.strip_prefix(LABEL)?.to_owned().into(), value.clone()))
    });
    let mut labels = Value::Object(given.collect());
    marks::mark(rules, &mut labels)?;
    entries.retain(|(key, _)| !is_label(key));
    for (key, value) in labels.entries() {
        entries.push((format!("{LABEL}{key}").into(), value.clone()));
    }
    Ok(())
}
