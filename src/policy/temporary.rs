//! `temporary-listener`: a container gets a Docker socket of its own, and a namespace behind it.
//!
//! In a listener's chain behind those that judge what its clients send: what is added here is dockgate's own. `run` has a
//! listener open for each job (`Deed::Job`), and `job` ends it when its container is gone. What must stay true: a container
//! that is to have a socket is made with one, or not at all; nothing of a job that was refused remains.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "only creates are of interest; what is not understood of them is another policy's to refuse"
)]

mod cgroup;
mod guard;
mod inside;
mod members;
mod mounts;
mod socket;

use std::path::PathBuf;

use serde_json::Value as Json;

use super::conservative::Surroundings;
use super::{
    Answer, Context, Deed, Edit, Fact, JobDeed, Policy, Question, Reads, Reason, Verdict,
    WantedJob, edit,
};
use crate::api::doc::Value;
use crate::api::endpoint::Resource;
use crate::api::{Endpoint, Row, Typed};
use crate::config::TemporaryListener;
pub use cgroup::in_cgroupfs;
pub use guard::Guard;
pub use inside::{InJob, PeerInJob};
pub use members::Members;
pub use mounts::{OwnMounts, is_mounted, known, own, taken};
use socket::Socket;
pub use socket::{FILE, Sockets};

/// For people and for recovery; nothing is decided by it.
pub const LABEL: &str = "io.dockgate.job";
const JOB: &str = "job";
const LINKS: &str = "links";
/// Of the 32 digits of a fresh text.
const ID_DIGITS: usize = 16;

#[derive(Debug)]
pub struct TemporaryListeners {
    name: String,
    settings: TemporaryListener,
    sockets: Sockets,
    guard: Guard,
}

impl TemporaryListeners {
    pub fn new(
        name: &str,
        settings: &TemporaryListener,
        around: &Surroundings,
    ) -> TemporaryListeners {
        let sockets = Sockets { dir: around.jobs.clone(), own: around.own_socket.clone() };
        let guard = Guard::new(&around.sockets);
        TemporaryListeners { name: name.to_owned(), settings: settings.clone(), sockets, guard }
    }

    fn create(&self, call: &Typed, cx: &Context<'_>) -> Result<Vec<Edit>, Verdict> {
        let Some(doc) = call.doc() else { return Ok(Vec::new()) };
        self.guard.container(&doc.root, |mount| self.sockets.is_socket(&mount.source), cx)?;
        if !self.is_wanted(&doc.root) {
            return match self.sockets.asked(&doc.root).is_empty() {
                true => Ok(Vec::new()),
                false => Err(Verdict::deny(self.not_for_it())),
            };
        }
        let borrowed = socket::borrowed(&doc.root, cx)?;
        let mount = Some(&*self.settings.mount);
        if let Some(reason) = socket::unfit(&self.sockets, &doc.root, &borrowed, mount) {
            return Err(Verdict::deny(reason));
        }
        let call = fresh_id(cx)?;
        let engine = engine_id(cx)?;
        let wanted = WantedJob {
            id: call.clone(),
            group: self.group_of(&doc.root),
            policy: self.name.clone(),
            listener: cx.listener.to_owned(),
            user: cx.identity.user().map(str::to_owned),
            engine,
        };
        done(cx, Deed::Job(JobDeed::Open(wanted)))?;
        // Where nothing is done, as in `explain`, it is one of its own.
        let id = match cx.facts.get(&Question::Job(call.clone())) {
            Some(Fact::Json(id)) => id.as_str().unwrap_or(&call).to_owned(),
            _ => call,
        };
        let socket = self.sockets.of(&id);
        let mut root = doc.root.clone();
        let links = self.put(&socket, &mut root, &borrowed);
        if self.settings.shares_cgroup {
            cgroup::put(&mut root, cgroup::parent(&id, cx)?)?;
        }
        let mut edits = edit::between(&doc.root, root);
        edits.push(Edit::Note(JOB, id));
        edits.push(Edit::Note(LINKS, links.join("\n")));
        Ok(edits)
    }

    /// Puts the socket, and what else the container gets, into its create body; gives where links lead to it.
    fn put(&self, socket: &Socket, root: &mut Value, borrowed: &[String]) -> Vec<String> {
        let mut links = socket.put(root, &self.sockets, borrowed);
        if !links.contains(&self.settings.mount) {
            let own = vec![self.settings.mount.clone()];
            links.extend(socket::links_or_env(own, root, borrowed));
        }
        socket::add_env(root, &self.settings.env);
        if let Some(label) = root.at_mut(&["Labels", LABEL]) {
            *label = Value::String(socket.id.clone());
        }
        links
    }

    fn is_wanted(&self, root: &Value) -> bool {
        let labels = root.get("Labels");
        self.settings.when.iter().all(|(name, value)| {
            let found = labels.map(Value::entries).unwrap_or_default();
            let found = found.iter().find(|(key, _)| key == name).map(|(_, value)| value);
            match (found, value) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(found), Some(value)) => found.as_str() == Some(value),
            }
        })
    }

    /// By what it is known which containers are of one job; none: it is a job by itself.
    fn group_of(&self, root: &Value) -> Option<String> {
        let label = self.settings.group.as_ref()?;
        let labels = root.get("Labels").map(Value::entries).unwrap_or_default();
        let value = labels.iter().find(|(name, _)| name == label)?.1.as_str()?;
        Some(value.to_owned()).filter(|value| !value.is_empty())
    }

    fn not_for_it(&self) -> Reason {
        let when: Vec<String> = self
            .settings
            .when
            .iter()
            .map(|(name, value)| match value {
                Some(value) => format!("{name}={value}"),
                None => name.clone(),
            })
            .collect();
        let why = "must not be the engine's socket: this container gets none of its own";
        let hint = format!("those with the label `{}` do", when.join("`, `"));
        Reason::new("temporary.socket", "HostConfig.Binds", why, hint)
    }
}

impl Policy for TemporaryListeners {
    fn name(&self) -> &str {
        &self.name
    }

    fn request(&self, call: &Typed, cx: &Context<'_>) -> Verdict {
        match call.endpoint() {
            Endpoint::ContainerCreate => {
                self.create(call, cx).map_or_else(|verdict| verdict, Verdict::Pass)
            }
            Endpoint::VolumeCreate => match call.doc() {
                Some(doc) => self
                    .guard
                    .volume(&doc.root, cx)
                    .map_or_else(|verdict| verdict, |()| Verdict::pass()),
                None => Verdict::pass(),
            },
            _ => Verdict::pass(),
        }
    }

    fn strip(&self, made: &mut Value, _: &Context<'_>) {
        self.sockets.strip(made);
        cgroup::strip(made);
    }

    fn reads_answer(&self, row: &Row, _: &Context<'_>) -> Reads {
        match row.endpoint {
            Endpoint::ContainerCreate => Reads::Whole,
            _ => Reads::Nothing,
        }
    }

    fn answer(&self, answer: &mut Answer<'_>, cx: &Context<'_>) -> Verdict {
        let Some(job) = answer.call.note(JOB) else { return Verdict::pass() };
        match container_of(answer) {
            Some(container) => match self.bound(job, container, answer.call.note(LINKS), cx) {
                Ok(()) => Verdict::pass(),
                Err(verdict) => verdict,
            },
            // None was made: the engine's own words say why.
            None => match done(cx, ended(job, None)) {
                Err(Verdict::Do(deeds)) => Verdict::Do(deeds),
                _ => Verdict::pass(),
            },
        }
    }
}

impl TemporaryListeners {
    /// The job is its container's from now on, and the container finds its socket.
    fn bound(
        &self,
        job: &str,
        container: &str,
        links: Option<&str>,
        cx: &Context<'_>,
    ) -> Result<(), Verdict> {
        let made = JobDeed::Made { id: job.to_owned(), container: container.to_owned() };
        let linked = links.filter(|links| !links.is_empty()).map(|links| Deed::Link {
            container: container.to_owned(),
            links: links.lines().map(str::to_owned).collect(),
            to: socket::INSIDE.to_owned(),
        });
        for deed in std::iter::once(Deed::Job(made)).chain(linked) {
            match cx.facts.outcome(&deed) {
                None => return Err(Verdict::Do(vec![deed])),
                Some(Ok(())) => {}
                Some(Err(why)) => {
                    let why = format!("{deed} could not be done: {why}");
                    return Err(self.undone(job, container, why, cx));
                }
            }
        }
        Ok(())
    }

    /// What was made of it goes again, then it is refused.
    fn undone(&self, job: &str, container: &str, why: String, cx: &Context<'_>) -> Verdict {
        match removed(container, why, cx) {
            Verdict::Deny(reasons) => match done(cx, ended(job, Some(container))) {
                Err(Verdict::Do(deeds)) => Verdict::Do(deeds),
                _ => Verdict::Deny(reasons),
            },
            other => other,
        }
    }
}

fn ended(job: &str, container: Option<&str>) -> Deed {
    Deed::Job(JobDeed::End { id: job.to_owned(), container: container.map(str::to_owned) })
}

/// A container that its maker is not told of goes again, then that is refused.
fn removed(container: &str, why: String, cx: &Context<'_>) -> Verdict {
    let remove = Deed::Remove(Resource::Container, container.to_owned());
    match cx.facts.outcome(&remove) {
        None => Verdict::Do(vec![remove]),
        Some(_) => Verdict::deny(unavailable(why)),
    }
}

/// Has this done, once; what could not be done is a refusal.
fn done(cx: &Context<'_>, deed: Deed) -> Result<(), Verdict> {
    match cx.facts.outcome(&deed) {
        None => Err(Verdict::Do(vec![deed])),
        Some(Ok(())) => Ok(()),
        Some(Err(why)) => {
            Err(Verdict::deny(unavailable(format!("{deed} could not be done: {why}"))))
        }
    }
}

fn fresh_id(cx: &Context<'_>) -> Result<String, Verdict> {
    match cx.facts.get(&Question::Fresh) {
        None => Err(Verdict::Ask(vec![Question::Fresh])),
        Some(Fact::Fresh(text)) => Ok(text.chars().take(ID_DIGITS).collect()),
        Some(_) => Err(Verdict::deny(unavailable("no random name can be had".to_owned()))),
    }
}

/// With another engine than the one that a job began on nothing is removed.
fn engine_id(cx: &Context<'_>) -> Result<String, Verdict> {
    match cx.facts.get(&Question::WhichEngine) {
        None => Err(Verdict::Ask(vec![Question::WhichEngine])),
        Some(Fact::Json(which)) if which.get("ID").is_some_and(Json::is_string) => {
            Ok(which.get("ID").and_then(Json::as_str).unwrap_or_default().to_owned())
        }
        Some(_) => {
            Err(Verdict::deny(unavailable("the engine does not say which it is".to_owned())))
        }
    }
}

fn container_of<'a>(answer: &'a Answer<'_>) -> Option<&'a str> {
    let made = answer.status == 201;
    answer.json.as_ref().filter(|_| made)?.get("Id")?.as_str()
}

fn unavailable(why: String) -> Reason {
    Reason { status: 502, ..Reason::new("temporary.listener", "request", why, "") }
}

/// The folder of a job's socket.
pub fn folder(dir: &std::path::Path, id: &str) -> PathBuf {
    dir.join(id)
}

#[cfg(test)]
mod tests;
