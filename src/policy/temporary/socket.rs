//! A job's socket in the create body of a container: the folder that it is in, and where it is found.
//!
//! `TemporaryListeners` puts it into a job's own container, `InJob` into those that ask for the engine's socket. A folder
//! is bound, not the socket: the file of a socket that was bound is that socket for ever, and a gateway that was killed
//! comes back with another. What must stay true: nothing that asks for the engine's socket by the paths that clients know, or
//! for the caller's, is left; other ways to it are another policy's to refuse.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::LABEL;
use crate::api::doc::Value;
use crate::api::grammar::mounts::{self, BINDS, ENGINE_SOCKETS, Mount, MountSource};
use crate::api::grammar::path;
use crate::api::grammar::reference::Reference;
use crate::policy::{Context, Fact, Question, Reason, Verdict};

/// Where containers have the folder.
const FOLDER: &str = "/run/dockgate";
/// Their socket in it.
pub(super) const INSIDE: &str = "/run/dockgate/docker.sock";
pub const FILE: &str = "docker.sock";
const HOST: &str = "DOCKER_HOST";
/// In one container: each costs the engine some questions about the container's files.
const MOST_SOCKETS: usize = 8;

/// Where jobs' sockets are, and the one that the caller came by.
#[derive(Clone, Debug)]
pub struct Sockets {
    pub dir: PathBuf,
    pub own: Option<PathBuf>,
}

/// One job's.
#[derive(Clone, Debug)]
pub struct Socket {
    pub id: String,
    folder: PathBuf,
}

impl Sockets {
    pub fn of(&self, id: &str) -> Socket {
        Socket { id: id.to_owned(), folder: super::folder(&self.dir, id) }
    }

    /// The mounts that ask for a socket to the engine.
    pub fn asked<'v>(&self, root: &'v Value) -> Vec<Mount<'v>> {
        mounts::of(root).into_iter().filter(|mount| self.is_socket(&mount.source)).collect()
    }

    pub(super) fn is_socket(&self, source: &MountSource<'_>) -> bool {
        let MountSource::Host(path) = source else { return false };
        ENGINE_SOCKETS.contains(path) || self.own.as_deref() == Some(Path::new(path))
    }

    /// Takes off what `put` has put there.
    pub fn strip(&self, made: &mut Value) {
        if let Some(Value::Object(labels)) = made.get_mut("Labels") {
            labels.retain(|(name, _)| name != LABEL);
        }
        let Some(host) = made.get_mut("HostConfig") else { return };
        let Some(Value::List(binds)) = host.get_mut("Binds") else { return };
        binds.retain(|bind| {
            let source = bind.as_str().map(mounts::source_of_bind);
            !matches!(source, Some((MountSource::Host(path), _))
                if Path::new(path).parent() == Some(&self.dir))
        });
    }
}

impl Socket {
    /// Puts it into a create body in the place of the engine's; gives where links are to lead to it.
    pub fn put(&self, root: &mut Value, sockets: &Sockets, borrowed: &[String]) -> Vec<String> {
        let asked = sockets.asked(root);
        let mut links: Vec<String> = Vec::new();
        let mut gone: Vec<(&'static str, usize)> = Vec::new();
        for mount in &asked {
            gone.push((mount.list, mount.index));
            if !links.iter().any(|link| link == mount.target) {
                links.push(mount.target.to_owned());
            }
        }
        if let Some(host) = root.at_mut(&["HostConfig"]) {
            take(host, &gone);
            if let Some(binds) = host.at_mut(&["Binds"]) {
                let mut list = binds.items().to_vec();
                let folder = self.folder.to_string_lossy();
                list.push(Value::String(format!("{folder}:{FOLDER}:ro")));
                *binds = Value::List(list);
            }
        }
        links_or_env(links, root, borrowed)
    }

    /// What binds its folder into a container, as `put` has it: for reading, at its own place.
    pub fn is_bound_by(&self, mount: &Mount<'_>) -> bool {
        let folder = MountSource::Host(&self.folder.to_string_lossy()) == mount.source;
        folder && mount.target == FOLDER && mount.read_only && mount.options == ["ro"]
    }
}

/// Where links can be put; where one cannot, the environment says where the socket is.
pub(super) fn links_or_env(
    mut links: Vec<String>,
    root: &mut Value,
    borrowed: &[String],
) -> Vec<String> {
    let count = links.len();
    links.retain(|link| takes_link(root, borrowed, link));
    if links.len() < count {
        add_env(root, &[(HOST.to_owned(), format!("unix://{INSIDE}"))]);
    }
    links
}

/// Why there cannot be a socket at each of the places where one is to be.
pub(super) fn unfit(
    sockets: &Sockets,
    root: &Value,
    borrowed: &[String],
    own: Option<&str>,
) -> Option<Reason> {
    let asked = sockets.asked(root);
    if asked.len() > MOST_SOCKETS {
        return Some(refused(format!("must not ask for more than {MOST_SOCKETS} sockets")));
    }
    let wanted: Vec<&str> = asked.iter().map(|mount| mount.target).chain(own).collect();
    let mut taken = targets(root, |mount| !sockets.is_socket(&mount.source));
    taken.extend(borrowed.iter().map(String::as_str));
    // The engine makes no two mounts at one place either, and a link would replace what is there.
    let both = taken
        .iter()
        .find(|taken| wanted.iter().any(|one| place(taken).starts_with(&place(one))))?;
    Some(refused(format!("must not be at or above `{both}`, where another mount is")))
}

fn refused(why: String) -> Reason {
    Reason::new("temporary.socket", "HostConfig.Binds", why, "")
}

/// Where a container that is to be made has what it gets by `VolumesFrom`.
pub(super) fn borrowed(root: &Value, cx: &Context<'_>) -> Result<Vec<String>, Verdict> {
    let from = root.get("HostConfig").and_then(|host| host.get("VolumesFrom"));
    let from = from.map(Value::items).unwrap_or_default().iter().filter_map(Value::as_str);
    let (mut open, mut found) = (Vec::new(), Vec::new());
    for other in from.filter_map(|text| Reference::parse(text, "")) {
        let question = Question::Container(other.name.to_owned());
        match cx.facts.get(&question) {
            None => open.push(question),
            Some(Fact::Json(json)) => {
                let points = json.get("Mounts").and_then(Json::as_array).into_iter().flatten();
                let places = points.filter_map(|point| point.get("Destination")?.as_str());
                found.extend(places.map(str::to_owned));
            }
            // The engine says so too.
            Some(Fact::Absent) => {}
            Some(_) => {
                let why = format!("cannot be looked at: container `{}`", other.name);
                return Err(Verdict::deny(refused(why)));
            }
        }
    }
    if open.is_empty() { Ok(found) } else { Err(Verdict::Ask(open)) }
}

/// Takes these elements out of the lists of mounts.
pub(super) fn take(host: &mut Value, gone: &[(&'static str, usize)]) {
    for (list, key) in [(BINDS, "Binds"), (mounts::MOUNTS, "Mounts")] {
        let Some(Value::List(items)) = host.get_mut(key) else { continue };
        let mut index = 0;
        items.retain(|_| {
            index += 1;
            !gone.contains(&(list, index - 1))
        });
    }
}

/// Whether a link can be put into the container's own files before it starts: what is put into a volume stays in it, and
/// what is put below a `tmpfs` is covered by it.
fn takes_link(root: &Value, borrowed: &[String], link: &str) -> bool {
    let is_read_only = root.get("HostConfig").and_then(|host| host.get("ReadonlyRootfs"))
        == Some(&Value::Bool(true));
    let own = targets(root, |_| true);
    let mut all = own.into_iter().chain(borrowed.iter().map(String::as_str));
    !is_read_only && !all.any(|above| place(link).starts_with(&place(above)))
}

/// Where these are mounted.
fn targets<'v>(root: &'v Value, are: impl Fn(&Mount<'v>) -> bool) -> Vec<&'v str> {
    let tmpfs = root.get("HostConfig").and_then(|host| host.get("Tmpfs"));
    let tmpfs =
        tmpfs.map(Value::entries).unwrap_or_default().iter().map(|(target, _)| target.as_ref());
    let volumes = root.get("Volumes").map(Value::entries).unwrap_or_default();
    let volumes = volumes.iter().map(|(target, _)| target.as_ref());
    let mounts = mounts::of(root).into_iter().filter(are).map(|mount| mount.target);
    mounts.chain(tmpfs).chain(volumes).collect()
}

/// In most images `/var/run` is `/run`.
fn place(target: &str) -> Vec<&str> {
    let mut parts = path::cleaned(target);
    if let ["var", "run", ..] = parts.as_slice() {
        parts.remove(0);
    }
    parts
}

/// Sets what is not set.
pub(super) fn add_env(root: &mut Value, env: &[(String, String)]) {
    if env.is_empty() {
        return;
    }
    let Some(place) = root.at_mut(&["Env"]) else { return };
    let mut list = place.items().to_vec();
    let is_set = |list: &[Value], name: &str| {
        list.iter().filter_map(Value::as_str).any(|one| {
            // `NAME` alone takes it away from the image's.
            one == name || one.strip_prefix(name).is_some_and(|rest| rest.starts_with('='))
        })
    };
    for (name, value) in env {
        if !is_set(&list, name) {
            list.push(Value::String(format!("{name}={value}")));
        }
    }
    *place = Value::List(list);
}
