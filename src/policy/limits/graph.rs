//! Graphs of BuildKit's operations (LLB) that a client sends by itself.
//!
//! `frontend` calls it. A digest is an operation's name, so that nothing in it can be changed: what is not within the
//! limits, or does not say what is forced, is refused. Memory and CPUs stand beside it and are filled in (BuildKit
//! before 0.32 overlooks them). What must stay true: of what runs something, nothing is without its limits.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};

use super::rules::{Rules, above};
use super::sheet::NumberFields;
use super::words::wanted;
use super::{Judged, cpus, frontend, memory, ulimits};
use crate::api::buildkit::operation_bytes;
use crate::api::doc::Value;
use crate::config::{Size, Word};
use crate::policy::Reason;

/// Where a process without a mount of its own has 64 MiB (containerd's default mounts).
const SHARED_MEMORY: &str = "/dev/shm";
const WITHOUT_A_MOUNT: i64 = 64 << 20;
/// What a graph that was not made behind these limits is told.
const NO_CHANGE: &str = "dockgate cannot change an operation: its digest is its name";

pub(super) fn judge(rules: &Rules<'_>, graph: &mut Value, place: &str) -> Vec<Judged> {
    let mut judged = Vec::new();
    let mut names = BTreeSet::new();
    for (index, operation) in
        graph.get("def").map(Value::items).unwrap_or_default().iter().enumerate()
    {
        let Some(exec) = operation.get("exec") else { continue };
        let place = format!("{place}.def.{index}.exec");
        judged.extend([
            process(rules, exec.get("meta"), &place),
            network(rules, exec.get("network"), &format!("{place}.network")),
            shared_memory(rules, exec.get("mounts"), &format!("{place}.mounts")),
        ]);
        names.insert(name(operation));
    }
    let is_limited =
        [Size::Memory, Size::Swap, Size::Cpus].into_iter().any(|size| rules.says(size));
    if is_limited && !names.is_empty() {
        judged.extend(resources(rules, graph, names, place));
    }
    judged
}

/// None where the network is not forced, or this one.
pub(super) fn network(rules: &Rules<'_>, mode: Option<&Value>, place: &str) -> Judged {
    if !rules.all().force.words.contains_key(&Word::Network) {
        return Ok(());
    }
    let Some(forced) = wanted(rules, Word::Network, true)? else { return Ok(()) };
    let fits: &[&str] = match forced.as_str() {
        "none" => &["NONE"],
        "default" | "bridge" => &["UNSET", "NONE"],
        _ => return Err(frontend::nowhere(place, &forced)),
    };
    if fits.contains(&mode.and_then(Value::as_str).unwrap_or("UNSET")) {
        return Ok(());
    }
    let why = format!("must be `{}`", fits.join("` or `"));
    Err(Reason::new(Word::Network.rule(), place.to_owned(), why, NO_CHANGE))
}

pub(super) fn shared_memory(rules: &Rules<'_>, mounts: Option<&Value>, place: &str) -> Judged {
    let Some(most) = rules.forced(Size::Shm).or(rules.cap(Size::Shm)) else { return Ok(()) };
    let mounts = mounts.map(Value::items).unwrap_or_default();
    let is_there = |mount: &&Value| {
        let dest = mount.get("dest").and_then(Value::as_str).unwrap_or_default();
        let parts = dest.split('/').filter(|part| !matches!(*part, "" | "."));
        let is_plain = !dest.contains("..");
        is_plain && parts.eq(SHARED_MEMORY.split('/').filter(|part| !part.is_empty()))
    };
    let sizes = mounts.iter().filter(is_there).map(|mount| {
        let size = mount.get("TmpfsOpt").and_then(|options| options.get("size"));
        match mount.get("mountType").and_then(Value::as_str) {
            // 0 is half of the machine's memory.
            Some("TMPFS") => size.and_then(Value::as_i64).filter(|size| *size > 0).unwrap_or(-1),
            _ => -1,
        }
    });
    let mut sizes: Vec<i64> = sizes.collect();
    if sizes.is_empty() {
        sizes.push(WITHOUT_A_MOUNT);
    }
    match sizes.into_iter().find(|size| *size < 0 || *size > most) {
        Some(..0) => Err(above(Size::Shm, place, most, "no limit".to_owned())),
        Some(size) => Err(above(Size::Shm, place, most, Size::Shm.show(size))),
        None => Ok(()),
    }
}

fn process(rules: &Rules<'_>, meta: Option<&Value>, place: &str) -> Judged {
    let at = |field: &str| meta.and_then(|meta| meta.get(field));
    let all = rules.all();
    let is_forced = all.force.words.contains_key(&Word::CgroupParent);
    if let Some(parent) = wanted(rules, Word::CgroupParent, true)?.filter(|_| is_forced)
        && at("cgroupParent").and_then(Value::as_str) != Some(&parent)
    {
        let why = format!("must be `{parent}`");
        let place = format!("{place}.meta.cgroupParent");
        return Err(Reason::new(Word::CgroupParent.rule(), place, why, NO_CHANGE));
    }
    if all.force.ulimits.is_empty() && all.max.ulimits.is_empty() {
        return Ok(());
    }
    let place = format!("{place}.meta.ulimit");
    let asked = at("ulimit").map(Value::items).unwrap_or_default().to_vec();
    let list = ulimits::settle(rules, asked.clone(), &place)?;
    if same(&list, &asked) {
        return Ok(());
    }
    let list = list.iter().map(ulimits::as_option).collect::<Vec<_>>().join(",");
    let why = format!("must be `{list}`");
    Err(Reason::new(ulimits::RULE, place, why, NO_CHANGE))
}

/// In whatever order.
fn same(one: &[Value], other: &[Value]) -> bool {
    let texts = |list: &[Value]| {
        let mut texts: Vec<String> = list.iter().map(ulimits::as_option).collect();
        texts.sort_unstable();
        texts
    };
    texts(one) == texts(other)
}

/// What BuildKit looks up by the digest that it computes itself.
fn resources(
    rules: &Rules<'_>,
    graph: &mut Value,
    mut names: BTreeSet<String>,
    place: &str,
) -> Vec<Judged> {
    let Some(metadata) = graph.at_mut(&["metadata"]) else { return Vec::new() };
    if *metadata == Value::Null {
        *metadata = Value::Object(Vec::new());
    }
    let Value::Object(entries) = metadata else { return Vec::new() };
    let mut judged = Vec::new();
    let mut judge = |name: &str, of: &mut Value| {
        let Some(resources) = of.at_mut(&["linux_resources"]) else { return };
        let place = format!("{place}.metadata.{name}.linux_resources");
        let mut sheet = NumberFields::Operation(resources, &place);
        judged.extend([memory::judge(rules, &mut sheet), cpus::judge(rules, &mut sheet)]);
    };
    for (name, of) in entries.iter_mut() {
        if names.remove(name.as_ref()) {
            judge(name, of);
        }
    }
    for name in names {
        let mut of = Value::Null;
        judge(&name, &mut of);
        entries.push((name.into(), of));
    }
    judged
}

fn name(operation: &Value) -> String {
    let hash = digest(&SHA256, &operation_bytes(operation));
    let hex = hash.as_ref().iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", hex.collect::<String>())
}
