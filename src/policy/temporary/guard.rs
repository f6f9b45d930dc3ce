//! What of the host no container may have where there are jobs: the sockets, and the folders that they are in.
//!
//! `TemporaryListeners` asks here for what its clients mount, and `OwnMounts` for what a job does. Who can write to the folder
//! of a job's socket puts another in its place. What must stay true: a path counts for where it leads, by links and by mounts,
//! and for what is above and below that; nothing else is looked at here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::api::doc::Value;
use crate::api::grammar::mounts::{self, Mount, MountSource};
use crate::policy::host_paths::{Unresolved, leads_to};
use crate::policy::{Context, Fact, Question, Reason, Verdict};

#[derive(Clone, Debug)]
pub struct Guard(Arc<[PathBuf]>);

/// A path of the host, and where in the request it stands.
struct NamedPath<'v> {
    field: &'static str,
    path: &'v str,
}

impl Guard {
    pub fn new(sockets: &[PathBuf]) -> Guard {
        Guard(sockets.into())
    }

    /// Of what a create body mounts, but for what is put there by us.
    pub(super) fn container(
        &self,
        root: &Value,
        is_ours: impl Fn(&Mount<'_>) -> bool,
        cx: &Context<'_>,
    ) -> Result<(), Verdict> {
        let all = mounts::of(root);
        let of_host = all.iter().filter(|mount| !is_ours(mount)).filter_map(|mount| {
            let MountSource::Host(path) = mount.source else { return None };
            Some(NamedPath { field: mount.list, path })
        });
        let list = root.get("HostConfig").and_then(|host| host.get("Mounts"));
        let list = list.map(Value::items).unwrap_or_default();
        let drivers = list
            .iter()
            .filter_map(|mount| mount.get("VolumeOptions")?.get("DriverConfig")?.get("Options"));
        let by_driver = drivers.flat_map(|options| in_options(mounts::MOUNTS, options));
        self.all(of_host.chain(by_driver).collect(), cx)
    }

    /// Of a volume, which the driver `local` mounts from wherever its options say.
    pub(super) fn volume(&self, root: &Value, cx: &Context<'_>) -> Result<(), Verdict> {
        let options = root.get("DriverOpts");
        self.all(options.into_iter().flat_map(|all| in_options("DriverOpts", all)).collect(), cx)
    }

    fn all(&self, named: Vec<NamedPath<'_>>, cx: &Context<'_>) -> Result<(), Verdict> {
        if named.is_empty() {
            return Ok(());
        }
        let question = Question::Aliases(Arc::clone(&self.0));
        let mut open = Vec::new();
        let aliases: &[PathBuf] = match cx.facts.get(&question) {
            None => {
                open.push(question);
                &[]
            }
            Some(Fact::Paths(paths)) => paths,
            Some(_) => return Err(denied(mounts::BINDS, "where sockets are is not known")),
        };
        for NamedPath { field, path } in &named {
            let is_plain = path.starts_with('/') && !path.split('/').any(|part| part == "..");
            if !is_plain {
                return Err(denied(field, "the path must be absolute, without `..`"));
            }
            // `.` and double slashes say nothing.
            let path: PathBuf = Path::new(path).components().collect();
            let real = match leads_to(&path, cx.facts) {
                Ok(real) => real,
                Err(Unresolved::Ask(questions)) => {
                    open.extend(questions);
                    continue;
                }
                Err(Unresolved::Unknown(why)) => return Err(denied(field, why)),
            };
            let touches = |bad: &&PathBuf| {
                [&path, &real].iter().any(|one| one.starts_with(bad) || bad.starts_with(one))
            };
            if let Some(bad) = self.0.iter().chain(aliases).find(touches) {
                let why = format!("`{}` is never given to a container", bad.display());
                return Err(denied(field, why));
            }
        }
        if open.is_empty() { Ok(()) } else { Err(Verdict::Ask(open)) }
    }
}

/// Every path that stands in options of a driver: `device`, and in `o` what overlays are made of (mount(8)).
fn in_options<'v>(
    field: &'static str,
    options: &'v Value,
) -> impl Iterator<Item = NamedPath<'v>> + use<'v> {
    let values = options.entries().iter().filter_map(|(_, value)| value.as_str());
    let parts = values.flat_map(|value| value.split([',', ':', '=']));
    parts.filter(|part| part.starts_with('/')).map(move |path| NamedPath { field, path })
}

fn denied(field: &'static str, why: impl Into<std::borrow::Cow<'static, str>>) -> Verdict {
    let hint = "a container that is to have a Docker socket asks for the engine's by its path";
    Verdict::deny(Reason::new("temporary.path", field, why, hint))
}
