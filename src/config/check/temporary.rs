//! `kind = "temporary-listener"` and `[jobs]`: which containers get a socket of their own, and what holds behind it.
//!
//! Called by `check::policy`, after the policies that it names. What must stay true: inside of a job nothing holds that
//! is not written here, but a namespace of the job's own always does.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::super::policy::{JobEnd, Namespace, Policy, Template, TemporaryListener};
use super::super::{File, Jobs};
use super::namespace::default_folder;
use super::policy::{NAMESPACE, Policies, RawPolicy, TEMPORARY};
use super::{Checking, OneOrMore};
use crate::config::raw;

const SOCKET: &str = "/var/run/docker.sock";
const GRACE: Duration = Duration::from_secs(10);
const MOST_JOBS: usize = 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RawWhen {
    label: Option<OneOrMore>,
}

impl Checking<'_> {
    pub(super) fn temporary(
        &mut self,
        policy: &Spanned<String>,
        raw: RawPolicy,
    ) -> Option<TemporaryListener> {
        let Some(policies) = raw.policies else {
            let what = format!("`[policy.{}]` needs `policies`", policy.get_ref());
            let hint = "what holds inside, such as `policies = [\"conservative\"]`; `[]` is root for every job";
            self.complaints.add(policy.span(), what, hint);
            return None;
        };
        if !self.engine.starts_with("unix://") {
            let what = "a temporary listener needs the engine on this machine (`unix://`)";
            let hint = "containers get a folder of this machine, and are known by their processes";
            self.complaints.add(policy.span(), what, hint);
        }
        if let Some(depth) = raw.depth.filter(|depth| *depth.get_ref() != 1) {
            let what = "jobs of jobs are not built: `depth` can only be 1";
            let hint = "leave it out: containers that a job makes get the job's own socket if they ask for one";
            self.complaints.add(depth.span(), what, hint);
        }
        let known = self.known.clone();
        let inside: Vec<Policy> =
            policies.get_ref().iter().filter_map(|name| self.policy_inside(name, &known)).collect();
        let namespace = self.namespace_inside(policy, raw.namespace.as_ref(), &known);
        let when = raw.when.and_then(|when| when.into_inner().label);
        Some(TemporaryListener {
            when: when
                .map(OneOrMore::into_vec)
                .unwrap_or_default()
                .iter()
                .map(|one| label(one))
                .collect(),
            mount: self.job_mount(raw.mount.as_ref()),
            policies: inside,
            namespace: namespace?,
            group: self.job_group(raw.group.as_ref()),
            shares_cgroup: raw.shared_cgroup.is_some_and(Spanned::into_inner),
            ends: self.job_end(raw.ends.as_ref(), raw.grace),
            env: raw.env.map(Spanned::into_inner).unwrap_or_default().into_iter().collect(),
        })
    }

    fn policy_inside(&mut self, name: &Spanned<String>, known: &Policies) -> Option<Policy> {
        let policy = self.policy(name, known)?;
        let wrong = match (policy.namespace(), policy.temporary()) {
            (Some(_), _) => Some((
                "inside of a job is a namespace of its own already",
                "what that one is like is said by `namespace = \"NAME\"`",
            )),
            (_, Some(_)) => Some(("a job has no jobs of its own", "take it out")),
            (None, None) => None,
        };
        match wrong {
            Some((what, hint)) => {
                self.complaints.add(name.span(), what, hint);
                None
            }
            None => Some(policy),
        }
    }

    /// As the `[policy.NAME]` says that is named, or as one with nothing said.
    fn namespace_inside(
        &mut self,
        policy: &Spanned<String>,
        given: Option<&Spanned<String>>,
        known: &Policies,
    ) -> Option<Namespace> {
        let Some(given) = given else {
            let place = self.origin.source.place(policy.span().start);
            return Some(Namespace {
                name: Template::default(),
                key: File { path: self.state_folder().join("namespace.key"), place },
                has_own_key: false,
                network_pool: None,
                registry: None,
                ports: Default::default(),
                shared: Vec::new(),
                quota: Default::default(),
            });
        };
        let name = self.text(given);
        let found = known.iter().find(|(other, _)| *other == name).map(|(_, policy)| policy);
        match found.map(|policy| (policy, policy.as_ref().and_then(Policy::namespace))) {
            Some((_, Some(namespace))) => Some(namespace.clone()),
            // It has been complained of.
            Some((None, None)) => None,
            _ => {
                let what = format!("there is no `[policy.{name}]` of kind `{NAMESPACE}`");
                self.complaints.add(given.span(), what, "leave it out, or write one");
                None
            }
        }
    }

    fn job_mount(&mut self, given: Option<&Spanned<String>>) -> String {
        let Some(given) = given else { return SOCKET.to_owned() };
        let text = self.text(given);
        let is_plain = text.starts_with('/')
            && text.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."));
        if !is_plain {
            let what = format!("`{text}` is no place for a socket");
            self.complaints.add(
                given.span(),
                what,
                "an absolute path such as `/var/run/docker.sock`",
            );
        }
        text
    }

    fn job_group(&mut self, given: Option<&Spanned<String>>) -> Option<String> {
        let given = given?;
        let text = self.text(given);
        let label = text.strip_prefix("label:").filter(|label| !label.is_empty());
        if label.is_none() {
            let what = format!("`{text}` does not say what containers of one job have in common");
            let hint = "a label, such as `label:com.gitlab.gitlab-runner.job.id`";
            self.complaints.add(given.span(), what, hint);
        }
        label.map(str::to_owned)
    }

    fn job_end(
        &mut self,
        ends: Option<&Spanned<String>>,
        grace: Option<Spanned<String>>,
    ) -> JobEnd {
        let text = ends.map(|ends| (self.text(ends), ends.span()));
        match text.as_ref().map(|(text, at)| (text.as_str(), at.clone())) {
            Some(("die", _)) => JobEnd::Die { grace: self.duration(grace, GRACE) },
            other => {
                if let Some(grace) = grace {
                    let what = "`grace` is for `ends = \"die\"`";
                    self.complaints.add(grace.span(), what, "");
                }
                if let Some((text, at)) = other.filter(|(text, _)| *text != "destroy") {
                    let what = format!("`{text}` is no end of a job");
                    let hint =
                        "`destroy`: its container is removed; `die`: it does not run any more";
                    self.complaints.add(at, what, hint);
                }
                JobEnd::Destroy
            }
        }
    }

    pub(super) fn jobs(&mut self, raw: raw::Jobs) -> Jobs {
        let most = self.size(raw.sockets, MOST_JOBS);
        let dir = raw.dir.map(|dir| self.file(&dir).path).unwrap_or_else(default_dir);
        Jobs { dir, ledger: self.state_folder().join("jobs"), most }
    }

    fn state_folder(&self) -> PathBuf {
        self.state_dir.clone().unwrap_or_else(default_folder)
    }

    /// It changes what all behind it would see: only a namespace stands there.
    pub(super) fn temporary_behind(&mut self, given: &[Spanned<String>], chosen: &[Policy]) {
        let first = chosen.iter().position(|one| one.temporary().is_some());
        let Some(first) = first else { return };
        let behind = chosen.get(first + 1..).unwrap_or_default();
        if behind.iter().any(|one| !one.is_view())
            && let Some(at) = given.get(first)
        {
            let what = format!("`{}` must stand behind the other policies", at.get_ref());
            let hint = format!(
                "only one of kind `{NAMESPACE}` comes after it: the others judge what the client sent, not the folder that `{TEMPORARY}` adds"
            );
            self.complaints.add(at.span(), what, hint);
        }
    }
}

/// `name=value`, or the name alone.
fn label(text: &str) -> (String, Option<String>) {
    match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    }
}

fn default_dir() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|dir| dir.is_absolute());
    match (rustix::process::geteuid().is_root(), runtime) {
        (false, Some(dir)) => dir.join("dockgate/jobs"),
        _ => PathBuf::from("/run/dockgate/jobs"),
    }
}

/// Of the environment, as it is written.
pub(in crate::config) type RawEnv = BTreeMap<String, String>;
