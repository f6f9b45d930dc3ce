//! The containers that a job is, for calls on its socket: what they have mounted is the job's already.
//!
//! `host` and `state` ask here first. What must stay true: without a job nothing is own; of a create body nothing is let
//! through but what `temporary::OwnMounts`, behind, puts an own mount in the place of, or refuses.

use serde_json::Value as Json;

use super::judge::{Judge, Judgement, yes};
use super::{Conservative, host};
use crate::api::grammar::mode::NetworkMode;
use crate::api::grammar::mounts::{Mount, MountSource};
use crate::policy::temporary::{is_mounted, known, own, taken};
use crate::policy::{Context, Fact, Question};

/// Whether a mount is of what a container of the job has. None: it is for the rules to say.
pub(super) fn mount(
    judge: &mut Judge<'_>,
    with: &Conservative,
    mount: &Mount<'_>,
    cx: &Context<'_>,
) -> Option<Judgement> {
    let may_be_own = match mount.source {
        MountSource::Host(_) => true,
        MountSource::Volume(_) => judge.is_made,
        MountSource::Image(_) | MountSource::Tmpfs | MountSource::Other(_) => false,
    };
    if !may_be_own || with.around.members.ids().is_empty() {
        return None;
    }
    let question = |id: &str| Question::Container(id.to_owned());
    let containers = match known(&with.around.members, cx, question) {
        Ok(containers) => containers,
        Err(open) => {
            open.into_iter().for_each(|question| judge.ask(question, cx));
            return Some(Judgement::Unknown);
        }
    };
    match mount.source {
        _ if judge.is_made => {
            is_mounted(&containers, &mount.source, mount.read_only).then_some(Judgement::Yes)
        }
        MountSource::Host(path) => {
            own(&containers, &with.around.jobs, path)?;
            judge.edit(taken(path));
            Some(yes(host::has_plain_options(mount)))
        }
        _ => None,
    }
}

/// What a container of the job may is its maker's to say; what others share with it is judged all the same.
pub(super) fn neighbour(
    with: &Conservative,
    holds: Judgement,
    name: &str,
    cx: &Context<'_>,
) -> Judgement {
    let Some(Fact::Json(json)) = cx.facts.get(&Question::Container(name.to_owned())) else {
        return holds;
    };
    let text = |path| json.pointer(path).and_then(Json::as_str).unwrap_or_default();
    let is_private = |mode| matches!(text(mode), "" | "none" | "private" | "shareable");
    let is_shared = match NetworkMode::of(text("/HostConfig/NetworkMode")) {
        NetworkMode::Host | NetworkMode::Container(_) | NetworkMode::Namespace(_) => true,
        NetworkMode::Default | NetworkMode::Bridge | NetworkMode::None | NetworkMode::Named(_) => {
            false
        }
    };
    let is_private = is_private("/HostConfig/PidMode") && is_private("/HostConfig/IpcMode");
    match with.around.members.has(text("/Id")) && (is_shared || !is_private) {
        true => {
            let why = "shares namespaces with the host, or with another container";
            Judgement::Because(why.to_owned()).of(name)
        }
        false => holds,
    }
}
