//! Paths of the host, and the volumes beside them: what a mount may name.
//!
//! `judge` asks here for each element of `Binds` and `Mounts`. What must stay true: paths are compared by
//! component, cleaned, and with symbolic links resolved where this is the engine's host; nobody gets a path
//! below a directory that a container of this listener can write, because a link there could lead anywhere
//! by the time dockerd follows it (`opa-docker-authz`'s README; CVE-2021-30465); the sockets and data of the
//! engine, of containerd and of dockgate are never given, nor a directory around them.

use std::path::{Component, Path, PathBuf};

use super::judge::{Holds, Judge};
use super::rules::Allowed;
use super::{Conservative, Surroundings, state};
use crate::api::doc::Value;
use crate::config::AllowedBind;
use crate::policy::mounts::{self, BINDS, Mount, Source};
use crate::policy::{Answer, Context, Question};

/// Options of a bind that change nothing but the container's own view.
const PLAIN_OPTIONS: &[&str] =
    &["ro", "rw", "private", "rprivate", "nocopy", "consistent", "cached", "delegated", "default"];
/// Where clients expect the engine's socket.
const ENGINE_SOCKETS: &[&str] = &["/var/run/docker.sock", "/run/docker.sock"];

/// Whether a create body mounts a path of the host.
pub(super) fn is_mounted(create: &Value) -> bool {
    mounts::of(create).iter().any(|mount| matches!(mount.source, Source::Host(_)))
}

pub(super) fn mount(
    judge: &mut Judge<'_>,
    with: &Conservative,
    allowed: &Allowed,
    mount: &Mount<'_>,
    cx: &Context<'_>,
) -> Holds {
    match (allowed, &mount.source) {
        // What else of it may be set is said by the rules of its parts.
        (Allowed::NamedVolume, Source::Tmpfs | Source::Image(_)) => Holds::Yes,
        (Allowed::NamedVolume, Source::Volume("")) => Holds::Yes,
        (Allowed::NamedVolume, Source::Volume(name)) => {
            state::volume(judge, with, name, cx).of(name)
        }
        (Allowed::Bind, Source::Host(path)) => bind(judge, with, path, mount, cx),
        (Allowed::OwnSocket, Source::Host(path)) => own_socket(judge, with, path, mount),
        _ => Holds::No,
    }
}

fn bind(
    judge: &mut Judge<'_>,
    with: &Conservative,
    path: &str,
    mount: &Mount<'_>,
    cx: &Context<'_>,
) -> Holds {
    if with.binds.is_empty() {
        return Holds::No;
    }
    if let Some(option) = mount.options.iter().find(|option| !PLAIN_OPTIONS.contains(option)) {
        return Holds::Because(format!("`{option}` is not for a path of the host"));
    }
    let Some(path) = clean(path) else {
        return Holds::Because("the path must be absolute, without `..`".to_owned());
    };
    if !with.around.shares_host {
        // Its links are on another machine: only what was given away itself is sure to be what it says.
        let given: Vec<AllowedBind> =
            with.binds.iter().filter(|bind| bind.host == path).cloned().collect();
        return decide(&path, &path, &given, mount, &with.around).into();
    }
    let mut wanted = vec![path.clone()];
    wanted.extend(with.binds.iter().map(|bind| bind.host.clone()));
    wanted.extend(with.around.forbidden.iter().cloned());
    let unknown: Vec<Question> = wanted
        .into_iter()
        .map(Question::HostPath)
        .chain([Question::Info])
        .filter(|question| cx.facts.get(question).is_none())
        .collect();
    if !unknown.is_empty() {
        judge.asks.extend(unknown);
        return Holds::Unknown;
    }
    let resolved = |path: &Path| match cx.facts.get(&Question::HostPath(path.to_owned())) {
        Some(Answer::Path(path)) => Some(path.clone()),
        _ => None,
    };
    let Some(real) = resolved(&path) else {
        return Holds::Because("there is no such path, and the engine would make it".to_owned());
    };
    let given = with
        .binds
        .iter()
        .filter_map(|bind| Some(AllowedBind { host: resolved(&bind.host)?, ..bind.clone() }));
    let given: Vec<AllowedBind> = given.collect();
    let mut around = with.around.clone();
    around.forbidden.extend(with.around.forbidden.iter().filter_map(|path| resolved(path)));
    match cx.facts.get(&Question::Info) {
        Some(Answer::Json(info)) => {
            let root = info.get("DockerRootDir").and_then(|root| root.as_str());
            around.forbidden.extend(root.map(PathBuf::from));
        }
        Some(Answer::Absent) => {}
        _ => return Holds::Because("the engine does not say where its data is".to_owned()),
    }
    let decided = decide(&path, &real, &given, mount, &around);
    if decided.is_ok() && real != path {
        replace_source(judge, mount, &real);
    }
    decided.into()
}

/// Whether a path may be mounted; `real` is where it leads.
fn decide(
    path: &Path,
    real: &Path,
    given: &[AllowedBind],
    mount: &Mount<'_>,
    around: &Surroundings,
) -> Result<(), Option<String>> {
    for one in [path, real] {
        let holds_forbidden =
            |forbidden: &PathBuf| one.starts_with(forbidden) || forbidden.starts_with(one);
        if let Some(forbidden) = around.forbidden.iter().find(|path| holds_forbidden(path)) {
            return Err(Some(format!("`{}` is never given to a container", forbidden.display())));
        }
    }
    let Some(bind) = given.iter().find(|bind| real.starts_with(&bind.host)) else {
        return Err(None);
    };
    if let Some(open) = given
        .iter()
        .find(|other| other.writable && real != other.host && real.starts_with(&other.host))
    {
        let open = open.host.display();
        return Err(Some(format!(
            "containers can write below `{open}`: only all of it can be mounted"
        )));
    }
    let is_writable = given.iter().any(|other| other.writable && real == other.host);
    if !mount.read_only && !is_writable {
        let host = bind.host.display();
        return Err(Some(format!("`{host}` was given away for reading: mount it `ro`")));
    }
    Ok(())
}

impl From<Result<(), Option<String>>> for Holds {
    fn from(decided: Result<(), Option<String>>) -> Holds {
        match decided {
            Ok(()) => Holds::Yes,
            Err(None) => Holds::No,
            Err(Some(why)) => Holds::Because(why),
        }
    }
}

/// Ryuk, compose and CI runners mount the socket that they know. They get the one that they came by.
fn own_socket(judge: &mut Judge<'_>, with: &Conservative, path: &str, mount: &Mount<'_>) -> Holds {
    let (Some(path), Some(own)) = (clean(path), &with.around.own_socket) else { return Holds::No };
    let is_known = ENGINE_SOCKETS.iter().any(|known| path == Path::new(known)) || path == *own;
    if !is_known || (judge.is_made && path != *own) {
        return Holds::No;
    }
    if mount.options.iter().any(|option| !PLAIN_OPTIONS.contains(option)) {
        return Holds::No;
    }
    replace_source(judge, mount, own);
    Holds::Yes
}

fn replace_source(judge: &mut Judge<'_>, mount: &Mount<'_>, source: &Path) {
    let source = source.to_string_lossy();
    if mount.list == BINDS {
        let options = mount.options.join(",");
        let tail = if options.is_empty() { String::new() } else { format!(":{options}") };
        judge.replace_here(None, format!("{source}:{}{tail}", mount.target));
    } else {
        judge.replace_here(Some("Source"), source.into_owned());
    }
}

/// An absolute path without `.` and double slashes; none with `..`, which means something else where there
/// are links.
fn clean(path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    let is_plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    (path.is_absolute() && path.components().all(is_plain)).then(|| path.components().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(host: &str, writable: bool) -> AllowedBind {
        AllowedBind { host: host.into(), writable, place: crate::config::Place::default() }
    }

    fn decides(path: &str, read_only: bool, given: &[AllowedBind]) -> Result<(), Option<String>> {
        let mount = Mount {
            list: BINDS,
            index: 0,
            source: Source::Host(path),
            target: "/x",
            read_only,
            options: vec![],
        };
        let forbidden =
            ["/run/docker.sock", "/var/lib/docker", "/proc"].map(PathBuf::from).to_vec();
        let around = Surroundings { shares_host: true, forbidden, own_socket: None };
        decide(Path::new(path), Path::new(path), given, &mount, &around)
    }

    #[test]
    fn only_what_was_given_away_and_only_as_it_was() {
        let binds = [given("/srv/cc", false), given("/srv/work", true)];
        assert!(decides("/srv/cc", true, &binds).is_ok());
        assert!(decides("/srv/cc/a/b", true, &binds).is_ok());
        assert!(decides("/srv/work", false, &binds).is_ok());
        assert!(decides("/srv/work", true, &binds).is_ok());
        for path in ["/srv", "/srv/ccache", "/etc", "/"] {
            assert!(decides(path, true, &binds).is_err(), "{path}");
        }
        assert!(decides("/srv/cc", false, &binds).is_err(), "given for reading");
        assert!(decides("/srv/work/x", true, &binds).is_err(), "a container can put a link there");
    }

    #[test]
    fn a_writable_directory_within_a_readable_one_is_open_all_the_same() {
        let binds = [given("/srv", false), given("/srv/work", true), given("/srv/work/in", false)];
        assert!(decides("/srv/work/x", true, &binds).is_err());
        assert!(decides("/srv/work/in", true, &binds).is_err(), "its parent is writable");
        assert!(decides("/srv/work", false, &binds).is_ok());
        assert!(decides("/srv/other", true, &binds).is_ok());
    }

    #[test]
    fn sockets_and_data_of_engines_are_never_given_nor_what_is_around_them() {
        let binds = [given("/run", false), given("/var", true), given("/proc", false)];
        for path in ["/run/docker.sock", "/run", "/var/lib/docker/x", "/var/lib", "/proc/1"] {
            assert!(matches!(decides(path, true, &binds), Err(Some(_))), "{path}");
        }
    }

    #[test]
    fn a_path_is_cleaned_or_is_none() {
        assert_eq!(clean("//srv//./cc/"), Some(PathBuf::from("/srv/cc")));
        for bad in ["srv", "", "/srv/../etc", "./x", "~/x"] {
            assert_eq!(clean(bad), None, "{bad}");
        }
    }
}
