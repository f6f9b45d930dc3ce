//! One cgroup for all containers of a job, so that what is set there holds for them together.
//!
//! `TemporaryListeners` puts a job's own containers into it, `InJob` those that are made through its socket, and what a
//! classic build runs; `job` removes it. What must stay true: nobody who makes one says where it is.

use serde_json::Value as Json;

use crate::api::doc::Value;
use crate::policy::{Context, Fact, Question, Reason, Verdict};

/// What is above those of jobs: in the hierarchy of cgroupfs, and as the first part of a slice's name.
const ABOVE: &str = "dockgate";

/// What a job's containers have as `CgroupParent`, in the form that the engine's driver takes.
pub(super) fn parent(job: &str, cx: &Context<'_>) -> Result<String, Verdict> {
    let driver = match cx.facts.get(&Question::WhichEngine) {
        None => return Err(Verdict::Ask(vec![Question::WhichEngine])),
        Some(Fact::Json(which)) => which.get("CgroupDriver").and_then(Json::as_str),
        Some(_) => None,
    };
    match driver {
        Some("cgroupfs") => Ok(in_cgroupfs(job)),
        Some("systemd") => Ok(slice(job)),
        _ => Err(refused("the engine has no cgroups for `shared_cgroup`", "")),
    }
}

/// Puts a container into it, where nobody in front has put it elsewhere.
pub(super) fn put(root: &mut Value, parent: String) -> Result<(), Verdict> {
    let Some(place) = root.at_mut(&["HostConfig", "CgroupParent"]) else { return Ok(()) };
    if place.as_str().is_some_and(|other| !other.is_empty() && other != parent) {
        let hint = "leave it to `shared_cgroup`, also in policies of kind `limits` in front";
        return Err(refused("must not be set: it is the job's own", hint));
    }
    *place = Value::String(parent);
    Ok(())
}

/// Takes off what `put` has put there, for whichever job.
pub(super) fn strip(made: &mut Value) {
    let Some(place) = made.get_mut("HostConfig").and_then(|host| host.get_mut("CgroupParent"))
    else {
        return;
    };
    if place.as_str().is_some_and(is_jobs) {
        *place = Value::String(String::new());
    }
}

/// With cgroupfs, below each hierarchy; with systemd it goes by itself.
pub fn in_cgroupfs(job: &str) -> String {
    format!("/{ABOVE}/{job}")
}

fn slice(job: &str) -> String {
    format!("{ABOVE}-{job}.slice")
}

fn is_jobs(parent: &str) -> bool {
    let id = parent.rsplit(['/', '-']).next().unwrap_or_default();
    let id = id.strip_suffix(".slice").unwrap_or(id);
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id && (parent == in_cgroupfs(id) || parent == slice(id))
}

fn refused(why: &'static str, hint: &'static str) -> Verdict {
    Verdict::deny(Reason::new("temporary.cgroup", "HostConfig.CgroupParent", why, hint))
}
