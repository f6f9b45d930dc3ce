//! Paths of the host, and the volumes beside them: what a mount may name.
//!
//! `judge` asks here for each element of `Binds` and `Mounts`. What must stay true: paths are compared by
//! component, cleaned, and with symbolic links resolved where this is the engine's host; nobody gets a path
//! below a directory that a container of this listener can write, because a link there could lead anywhere
//! by the time dockerd follows it (`opa-docker-authz`'s README; CVE-2021-30465); the sockets and data of the
//! engine, of containerd and of dockgate are never given, nor a directory around them.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde_json::Value as Json;

use super::judge::{Judge, Judgement, yes};
use super::rules::{Allowed, Scalar};
use super::{Conservative, count, own, state};
use crate::api::doc::Value;
use crate::api::endpoint::Minor;
use crate::api::grammar::mounts::{self, BINDS, ENGINE_SOCKETS, MOUNTS, Mount, MountSource};
use crate::config::AllowedBind;
use crate::policy::edit::Edit;
use crate::policy::{Context, Fact, Question};

/// Options of a bind that change nothing but the container's own view.
const PLAIN_OPTIONS: &[&str] =
    &["ro", "rw", "private", "rprivate", "nocopy", "consistent", "cached", "delegated", "default"];
/// The first API version whose engines can make all of a bind read-only.
const FORCES: Minor = 44;
/// Orders to relabel files of the host for SELinux: taken out, as a way to trouble others.
const RELABEL: &[&str] = &["z", "Z"];

/// Whether a create body mounts a path of the host, or may through another container.
pub(super) fn is_mounted(create: &Value) -> bool {
    let others = create.get("HostConfig").and_then(|host_config| host_config.get("VolumesFrom"));
    others.is_some_and(|others| !others.is_zero())
        || mounts::of(create).iter().any(|mount| matches!(mount.source, MountSource::Host(_)))
}

pub(super) fn mount(
    judge: &mut Judge<'_>,
    with: &Conservative,
    allowed: &Allowed,
    mount: &Mount<'_>,
    cx: &Context<'_>,
) -> Judgement {
    match (allowed, &mount.source) {
        (_, MountSource::Host(path)) if !judge.is_made && is_given(path, with) => {
            yes(has_plain_options(mount))
        }
        _ if let Some(holds) = own::mount(judge, with, mount, cx) => holds,
        // What else of it may be set is said by the rules of its parts.
        (Allowed::NamedVolume, MountSource::Tmpfs | MountSource::Image(_)) => Judgement::Yes,
        (Allowed::NamedVolume, MountSource::Volume("")) => Judgement::Yes,
        (Allowed::NamedVolume, MountSource::Volume(name)) => {
            let holds = judge.once(Question::Volume((*name).to_owned()), |judge| {
                state::volume(judge, with, name, cx).of(name)
            });
            match holds {
                Judgement::Absent(_) if judge.is_made && !judge.is_to_end => {
                    Judgement::Because("is gone".to_owned()).of(name)
                }
                // The engine makes it, and what it is then is judged whenever the container is used.
                Judgement::Absent(_) => Judgement::Yes,
                holds => holds,
            }
        }
        (Allowed::Bind, MountSource::Host(path)) => bind(judge, with, path, mount, cx),
        (Allowed::OneOf(items), _) => {
            yes(items.iter().filter_map(Scalar::as_str).any(|text| is_this(text, mount)))
        }
        (Allowed::OwnSocket, MountSource::Host(path)) => own_socket(judge, with, path, mount),
        _ => Judgement::No,
    }
}

/// Whether a policy behind this one gives another socket in its place, or refuses. In a container that is there it is what
/// it is.
fn is_given(path: &str, with: &Conservative) -> bool {
    with.around.gives_sockets && is_own_socket(path, with)
}

fn is_own_socket(path: &str, with: &Conservative) -> bool {
    ENGINE_SOCKETS.contains(&path) || with.around.own_socket.as_deref() == Some(Path::new(path))
}

/// Whether what is mounted is what this text of `Binds` asks for.
fn is_this(text: &str, mount: &Mount<'_>) -> bool {
    let text = Value::String(text.to_owned());
    let asked = mounts::of_bind(0, &text);
    asked.source == mount.source
        && asked.target == mount.target
        && (mount.read_only || !asked.read_only)
}

fn bind(
    judge: &mut Judge<'_>,
    with: &Conservative,
    path: &str,
    mount: &Mount<'_>,
    cx: &Context<'_>,
) -> Judgement {
    if with.binds.is_empty() {
        return Judgement::No;
    }
    if let Some(option) = mount.options.iter().find(|option| !is_plain_option(option)) {
        return Judgement::Because(format!("`{option}` is not for a path of the host"));
    }
    let Some(cleaned) = clean(path) else {
        return Judgement::Because("the path must be absolute, without `..`".to_owned());
    };
    let key = (path.to_owned(), mount.read_only);
    let decided = match judge.paths.get(&key) {
        Some(decided) => decided.clone(),
        None => {
            let decided = leads_to(judge, with, &cleaned, mount.read_only, cx);
            judge.paths.insert(key, decided.clone());
            decided
        }
    };
    let real = match decided {
        Ok(real) => real,
        Err(holds) => return holds,
    };
    if !real.is_open {
        match all_of_it_read_only(judge, with, &real.path, mount, cx) {
            Ok(Whole::AsItIs) => {}
            Ok(Whole::ByForce) => {
                force_read_only(judge, mount, &real.path);
                return Judgement::Yes;
            }
            Err(holds) => return holds,
        }
    }
    let relabels = mount.options.iter().any(|option| RELABEL.contains(option));
    if real.path != cleaned || relabels {
        replace_source(judge, mount, &real.path);
    }
    Judgement::Yes
}

/// Where a path leads that may be mounted; why it may not, if not.
fn leads_to(
    judge: &mut Judge<'_>,
    with: &Conservative,
    path: &Path,
    read_only: bool,
    cx: &Context<'_>,
) -> Result<Real, Judgement> {
    let (real, grounds) = match with.around.shares_host {
        true => resolve(judge, with, path, cx)?,
        // Its links are on another machine: only what was given away itself is sure to be what it says.
        false => {
            let given = with.binds.iter().filter(|bind| bind.host == path).cloned().collect();
            let forbidden = with.around.forbidden.clone();
            (path.to_owned(), Arc::new(Grounds { given, forbidden }))
        }
    };
    let given = Given { written: &with.binds, real: &grounds.given };
    match decide(path, &real, &given, read_only, &grounds.forbidden) {
        Ok(()) => {
            let is_open = grounds.given.iter().any(|one| one.writable && one.host == real);
            Ok(Real { path: real, is_open })
        }
        Err(why) => Err(why.map_or(Judgement::No, Judgement::Because)),
    }
}

/// Where a path leads, and whether all of that may be written.
#[derive(Clone, Debug)]
pub(super) struct Real {
    path: PathBuf,
    is_open: bool,
}

/// What paths are compared with, links resolved: the same for every mount of a call.
#[derive(Debug)]
pub(super) struct Grounds {
    given: Vec<AllowedBind>,
    /// As written too.
    forbidden: Vec<PathBuf>,
}

/// Asks first for what the operator named, and for the client's path only when it is below that: nobody may
/// learn here which files the host has.
fn resolve(
    judge: &mut Judge<'_>,
    with: &Conservative,
    path: &Path,
    cx: &Context<'_>,
) -> Result<(PathBuf, Arc<Grounds>), Judgement> {
    let grounds = match judge.grounds.clone() {
        Some(grounds) => grounds,
        None => {
            let grounds = survey(judge, with, cx).map(Arc::new);
            judge.grounds.insert(grounds).clone()
        }
    }?;
    count();
    if !with.binds.iter().chain(&grounds.given).any(|bind| path.starts_with(&bind.host)) {
        return Err(Judgement::No);
    }
    let question = Question::HostPath(path.to_owned());
    match cx.facts.get(&question) {
        Some(Fact::Path(path)) => Ok((path.clone(), grounds)),
        Some(Fact::Absent) => Err(Judgement::Because(
            "there is no such path, and the engine would make it".to_owned(),
        )),
        Some(_) => Err(Judgement::Because("the path cannot be looked at".to_owned())),
        None => {
            judge.ask(question, cx);
            Err(Judgement::Unknown)
        }
    }
}

/// Where what the operator named leads, and where the engine's data are.
fn survey(
    judge: &mut Judge<'_>,
    with: &Conservative,
    cx: &Context<'_>,
) -> Result<Grounds, Judgement> {
    let named = with.binds.iter().map(|bind| &bind.host).chain(&with.around.forbidden);
    let mut wanted: Vec<Question> = named.cloned().map(Question::HostPath).collect();
    wanted.push(Question::Info);
    wanted.retain(|question| cx.facts.get(question).is_none());
    if !wanted.is_empty() {
        wanted.into_iter().for_each(|question| judge.ask(question, cx));
        return Err(Judgement::Unknown);
    }
    let resolved = |path: &Path| match cx.facts.get(&Question::HostPath(path.to_owned())) {
        Some(Fact::Path(path)) => Some(path.clone()),
        _ => None,
    };
    let real_bind =
        |bind: &AllowedBind| Some(AllowedBind { host: resolved(&bind.host)?, ..bind.clone() });
    let given: Vec<AllowedBind> = with.binds.iter().filter_map(real_bind).collect();
    let real = with.around.forbidden.iter().filter_map(|path| resolved(path));
    let mut forbidden: Vec<PathBuf> = with.around.forbidden.iter().cloned().chain(real).collect();
    match cx.facts.get(&Question::Info) {
        Some(Fact::Json(info)) => {
            let root = info.get("DockerRootDir").and_then(|root| root.as_str());
            forbidden.extend(root.map(PathBuf::from));
        }
        Some(Fact::Absent) => {}
        _ => {
            return Err(Judgement::Because(
                "cannot be judged: where is the engine's data?".to_owned(),
            ));
        }
    }
    Ok(Grounds { given, forbidden })
}

/// What was given away: as the operator wrote it, and where that leads.
struct Given<'g> {
    written: &'g [AllowedBind],
    real: &'g [AllowedBind],
}

/// Whether a path may be mounted; `real` is where it leads.
fn decide(
    path: &Path,
    real: &Path,
    given: &Given<'_>,
    read_only: bool,
    forbidden: &[PathBuf],
) -> Result<(), Option<String>> {
    for one in [path, real] {
        let is_around = |bad: &&PathBuf| {
            count();
            one.starts_with(bad) || bad.starts_with(one)
        };
        if let Some(bad) = forbidden.iter().find(is_around) {
            return Err(Some(format!("`{}` is never given to a container", bad.display())));
        }
        // As it was written too: a link in a writable directory can lead anywhere by now.
        let is_within =
            |bind: &&AllowedBind| bind.writable && one != bind.host && one.starts_with(&bind.host);
        if let Some(open) = given.written.iter().chain(given.real).find(is_within) {
            let open = open.host.display();
            let why = format!("containers can write below `{open}`: only all of it can be mounted");
            return Err(Some(why));
        }
    }
    let Some(bind) = given.real.iter().find(|bind| real.starts_with(&bind.host)) else {
        return Err(None);
    };
    let is_writable = given.real.iter().any(|other| other.writable && real == other.host);
    if !read_only && !is_writable {
        let host = bind.host.display();
        return Err(Some(format!("`{host}` was given away for reading: mount it `ro`")));
    }
    Ok(())
}

/// How a path that was given for reading is read-only with all that is mounted below it.
enum Whole {
    /// Nothing is mounted there, or it was forced when the container was made.
    AsItIs,
    /// The engine can, and does it or does not start the container.
    ByForce,
}

/// Where in a container its engine has made all of a bind read-only, or mounted nothing of what is below it.
pub(super) fn read_only_as_a_whole(inspect: &Json) -> Vec<PathBuf> {
    let mounts = inspect.pointer("/HostConfig/Mounts").and_then(Json::as_array);
    let says = |mount: &Json, key: &str| {
        mount.pointer(&format!("/BindOptions/{key}")) == Some(&Json::Bool(true))
    };
    let is_whole =
        |mount: &&Json| says(mount, "ReadOnlyForceRecursive") || says(mount, "NonRecursive");
    let target = |mount: &Json| clean(mount.get("Target")?.as_str()?);
    mounts.into_iter().flatten().filter(is_whole).filter_map(target).collect()
}

/// Of a bind engines below 25 make only the topmost mount read-only, and later ones do when they are asked by
/// API 1.43 or less (`daemon/volumes_unix.go` of moby); by default they only try (mount_setattr(2)).
fn all_of_it_read_only(
    judge: &mut Judge<'_>,
    with: &Conservative,
    path: &Path,
    mount: &Mount<'_>,
    cx: &Context<'_>,
) -> Result<Whole, Judgement> {
    let is_forced = clean(mount.target).is_some_and(|target| judge.recursive.contains(&target));
    if judge.is_made && is_forced {
        return Ok(Whole::AsItIs);
    }
    if !judge.is_made && can_force(judge, cx)? {
        return Ok(Whole::ByForce);
    }
    if !with.around.shares_host {
        let why = "what is mounted below it would be writable on this engine, and cannot be seen from here";
        return Err(Judgement::Because(why.to_owned()));
    }
    let question = Question::MountsBelow(path.to_owned());
    match cx.facts.get(&question) {
        None => {
            judge.ask(question, cx);
            Err(Judgement::Unknown)
        }
        Some(Fact::Paths(paths)) => match paths.first() {
            None => Ok(Whole::AsItIs),
            Some(below) => {
                let below = below.display();
                let why = format!("`{below}` is mounted below it, and would be writable");
                Err(Judgement::Because(why))
            }
        },
        Some(_) => {
            Err(Judgement::Because("cannot be judged: what is mounted below it?".to_owned()))
        }
    }
}

/// From engine 25 on, and Linux 5.12.
fn can_force(judge: &mut Judge<'_>, cx: &Context<'_>) -> Result<bool, Judgement> {
    if cx.engine.newest < FORCES {
        return Ok(false);
    }
    match cx.facts.get(&Question::Info) {
        None => {
            judge.ask(Question::Info, cx);
            Err(Judgement::Unknown)
        }
        Some(Fact::Json(info)) => {
            let kernel = info.get("KernelVersion").and_then(|kernel| kernel.as_str());
            let mut numbers = kernel.unwrap_or_default().split(['.', '-']);
            let mut number = || numbers.next().and_then(|number| number.parse::<u32>().ok());
            Ok(number().zip(number()).is_some_and(|kernel| kernel >= (5, 12)))
        }
        Some(_) => Ok(false),
    }
}

fn force_read_only(judge: &mut Judge<'_>, mount: &Mount<'_>, source: &Path) {
    judge.edit(Edit::LeastVersion(FORCES));
    let options = vec![
        ("Propagation".into(), Value::String("rprivate".to_owned())),
        ("ReadOnlyForceRecursive".into(), Value::Bool(true)),
    ];
    if mount.list == MOUNTS {
        judge.put_here("Source", Value::String(source.to_string_lossy().into_owned()));
        judge.put_here("BindOptions", Value::Object(options));
    } else {
        judge.mount_here(as_mount(mount, source, Some(Value::Object(options))));
    }
}

/// A bind in the form that makes no directory where its source is not there.
fn as_mount(mount: &Mount<'_>, source: &Path, options: Option<Value>) -> Value {
    let text = |text: &str| Value::String(text.to_owned());
    let mut entries = vec![
        ("Type".into(), text("bind")),
        ("Source".into(), text(&source.to_string_lossy())),
        ("Target".into(), text(mount.target)),
        ("ReadOnly".into(), Value::Bool(mount.read_only)),
    ];
    entries.extend(options.map(|options| ("BindOptions".into(), options)));
    Value::Object(entries)
}

/// Ryuk, compose and CI runners mount the socket that they know. They get the one that they came by.
fn own_socket(
    judge: &mut Judge<'_>,
    with: &Conservative,
    path: &str,
    mount: &Mount<'_>,
) -> Judgement {
    let (Some(path), Some(own)) = (clean(path), &with.around.own_socket) else {
        return Judgement::No;
    };
    let is_known = ENGINE_SOCKETS.iter().any(|known| path == Path::new(known)) || path == *own;
    if !is_known || (judge.is_made && path != *own) {
        return Judgement::No;
    }
    if !has_plain_options(mount) {
        return Judgement::No;
    }
    match mount.list == MOUNTS {
        true => replace_source(judge, mount, own),
        // Of a bind the engine makes a directory where the socket is when dockgate does not run.
        false => judge.mount_here(as_mount(mount, own, None)),
    }
    Judgement::Yes
}

pub(super) fn has_plain_options(mount: &Mount<'_>) -> bool {
    mount.options.iter().all(|option| is_plain_option(option))
}

pub(super) fn is_plain_option(option: &str) -> bool {
    PLAIN_OPTIONS.contains(&option) || RELABEL.contains(&option)
}

fn replace_source(judge: &mut Judge<'_>, mount: &Mount<'_>, source: &Path) {
    let source = source.to_string_lossy();
    if mount.list == BINDS {
        let kept = mount.options.iter().filter(|option| !RELABEL.contains(option)).copied();
        let options = kept.collect::<Vec<_>>().join(",");
        let tail = if options.is_empty() { String::new() } else { format!(":{options}") };
        judge.replace_here(None, format!("{source}:{}{tail}", mount.target));
    } else {
        judge.replace_here(Some("Source"), source.into_owned());
    }
}

/// An absolute path without `.` and double slashes; none with `..`, which means something else where there
/// are links.
pub(super) fn clean(path: &str) -> Option<PathBuf> {
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
        let forbidden = ["/run/docker.sock", "/var/lib/docker", "/proc"].map(PathBuf::from);
        let given = Given { written: given, real: given };
        decide(Path::new(path), Path::new(path), &given, read_only, &forbidden)
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
    fn a_directory_that_a_container_can_replace_by_a_link_is_not_given() {
        let written = [given("/h/work", true), given("/h/work/in", false)];
        // A container has put a link in the place of `in`.
        let real = [given("/h/work", true), given("/root", false)];
        let given = Given { written: &written, real: &real };
        let decided = decide(Path::new("/h/work/in"), Path::new("/root"), &given, true, &[]);
        assert!(matches!(decided, Err(Some(_))), "{decided:?}");
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
