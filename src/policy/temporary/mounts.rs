//! What a job binds of its own files: a path in its container, as what is mounted there.
//!
//! Clients name paths as they see them, and the engine reads them on the host. `conservative` lets through what `own` knows,
//! and `OwnMounts`, the last of the chain behind a job's socket, puts the mount in its place. What must stay true: what
//! comes of it is all of an own mount, or a part of a volume that the engine itself looks for in that volume: the job can
//! put a link where any other path leads; what is read-only stays so; the folder of a job's socket is nobody's to bind.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::socket::Socket;
use super::{Guard, Members, Sockets};
use crate::api::doc::Value;
use crate::api::endpoint::Minor;
use crate::api::grammar::mounts::{self, Mount, MountSource};
use crate::api::grammar::path::cleaned;
use crate::api::{Endpoint, Typed};
use crate::policy::{Context, Edit, Fact, Policy, Question, Reason, Verdict, edit};

/// The first API version with parts of volumes (`VolumeOptions.Subpath`).
const SUBPATH: Minor = 45;
/// The first one by which a read-only bind is read-only with all that is mounted below it.
const RECURSIVE: Minor = 44;
/// Those that a mount without them has too, or that say nothing on Linux.
const PLAIN_OPTIONS: [&str; 11] = [
    "ro",
    "rw",
    "z",
    "Z",
    "nocopy",
    "private",
    "rprivate",
    "consistent",
    "cached",
    "delegated",
    "default",
];

/// The note of a path that a policy in front has let through as an own one.
const TAKEN: &str = "own path";

/// A policy in front lets a path through for being an own one. It goes nowhere else, whatever happens meanwhile.
pub fn taken(path: &str) -> Edit {
    Edit::Note(TAKEN, path.to_owned())
}

/// What a path in a container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPath<'m> {
    pub source: OwnSource<'m>,
    /// Where in the container all of it is.
    pub destination: &'m str,
    /// In the source; empty for all of it.
    pub below: String,
    pub read_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnSource<'m> {
    Volume(&'m str),
    /// A path of the host.
    Host(&'m str),
}

/// A path in the first of these containers, as the engine inspects them, that has something mounted there or above. `jobs` is
/// where the folders of jobs are.
pub fn own<'m>(containers: &[&'m Json], jobs: &Path, path: &str) -> Option<OwnPath<'m>> {
    if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return None;
    }
    let found = containers.iter().find_map(|one| own_in(one, jobs, path))?;
    (!can_be_replaced(containers, &found.source)).then_some(found)
}

/// Whether one of these containers has all of this mounted, and may do as much with it.
pub fn is_mounted(containers: &[&Json], source: &MountSource<'_>, read_only: bool) -> bool {
    let mut all = containers.iter().flat_map(|one| points(one));
    let own = match source {
        MountSource::Volume(name) => OwnSource::Volume(name),
        MountSource::Host(path) => OwnSource::Host(path),
        MountSource::Image(_) | MountSource::Tmpfs | MountSource::Other(_) => return false,
    };
    !can_be_replaced(containers, &own)
        && all.any(|point| source_of(point) == Some(own) && (read_only || !is_read_only(point)))
}

fn own_in<'m>(container: &'m Json, jobs: &Path, path: &str) -> Option<OwnPath<'m>> {
    let parts = cleaned(path);
    let depth = |destination: &str| {
        let above = cleaned(destination);
        parts.starts_with(&above).then_some(above.len())
    };
    let tmpfs = container.pointer("/HostConfig/Tmpfs").and_then(Json::as_object);
    let in_memory = tmpfs.into_iter().flatten().filter_map(|(path, _)| depth(path)).max();
    let nearest = points(container).filter_map(|point| Some((depth(destination(point))?, point)));
    let (depth, point) = nearest.max_by_key(|(depth, _)| *depth)?;
    if in_memory.is_some_and(|other| other >= depth) {
        return None;
    }
    let source = source_of(point)?;
    if let OwnSource::Host(path) = source
        && (Path::new(path).starts_with(jobs) || jobs.starts_with(path))
    {
        return None;
    }
    let below = parts.get(depth..).unwrap_or_default().join("/");
    let read_only = is_read_only(point);
    Some(OwnPath { source, destination: destination(point), below, read_only })
}

/// Whether the job can put a link in the place of a path of the host: it is below another that it may write to.
fn can_be_replaced(containers: &[&Json], source: &OwnSource<'_>) -> bool {
    let OwnSource::Host(path) = source else { return false };
    let path = Path::new(path);
    let mut all = containers.iter().flat_map(|one| points(one)).filter(|one| !is_read_only(one));
    all.any(|point| {
        let above = text(point, "Source");
        !above.is_empty() && path.starts_with(above) && path != Path::new(above)
    })
}

fn points(container: &Json) -> impl Iterator<Item = &Json> {
    container.get("Mounts").and_then(Json::as_array).into_iter().flatten()
}

fn destination(point: &Json) -> &str {
    text(point, "Destination")
}

fn source_of(point: &Json) -> Option<OwnSource<'_>> {
    let (key, source): (_, fn(_) -> _) = match text(point, "Type") {
        "volume" => ("Name", OwnSource::Volume),
        "bind" => ("Source", OwnSource::Host),
        _ => return None,
    };
    Some(text(point, key)).filter(|text| !text.is_empty()).map(source)
}

fn is_read_only(point: &Json) -> bool {
    point.get("RW") != Some(&Json::Bool(true))
}

fn text<'j>(json: &'j Json, key: &str) -> &'j str {
    json.get(key).and_then(Json::as_str).unwrap_or_default()
}

/// Has a job's binds of its own files lead there.
#[derive(Debug)]
pub struct OwnMounts {
    members: Members,
    /// Where the folders of jobs are.
    jobs: PathBuf,
    /// The job's own, which `InJob` binds.
    socket: Socket,
    guard: Guard,
}

impl OwnMounts {
    pub fn new(job: &str, members: &Members, sockets: &Sockets, guard: Guard) -> OwnMounts {
        let (members, jobs) = (members.clone(), sockets.dir.clone());
        OwnMounts { members, jobs, socket: sockets.of(job), guard }
    }

    fn edits(&self, call: &Typed, root: &Value, cx: &Context<'_>) -> Result<Vec<Edit>, Verdict> {
        let all = mounts::of(root);
        let of_host = |mount: &&Mount<'_>| {
            matches!(mount.source, MountSource::Host(_)) && !self.socket.is_bound_by(mount)
        };
        let wanted: Vec<&Mount<'_>> = all.iter().filter(of_host).collect();
        let containers = match wanted.is_empty() {
            true => Vec::new(),
            false => self.containers(cx)?,
        };
        let is_own = |mount: &Mount<'_>| match mount.source {
            MountSource::Host(path) => own(&containers, &self.jobs, path).is_some(),
            _ => false,
        };
        self.guard.container(root, |mount| self.socket.is_bound_by(mount) || is_own(mount), cx)?;
        let (mut least, mut gone, mut made) = (0, Vec::new(), Vec::new());
        for mount in wanted {
            let MountSource::Host(path) = mount.source else { continue };
            let Some(own) = own(&containers, &self.jobs, path) else {
                if call.notes(TAKEN).any(|taken| taken == path) {
                    let why = "was a path of the job's own container, which is gone";
                    return Err(Verdict::deny(Reason::new("job.bind", mount.list, why, "")));
                }
                continue;
            };
            refused(mount, &own, cx).map_or(Ok(()), |reason| Err(Verdict::deny(reason)))?;
            least = least.max(version_for(&own, cx));
            gone.push((mount.list, mount.index));
            made.push(as_mount(mount, &own));
        }
        if made.is_empty() {
            return Ok(Vec::new());
        }
        let mut changed = root.clone();
        if let Some(host) = changed.at_mut(&["HostConfig"]) {
            super::socket::take(host, &gone);
            if let Some(place) = host.at_mut(&["Mounts"]) {
                *place = Value::List(place.items().iter().cloned().chain(made).collect());
            }
        }
        let mut edits = edit::between(root, changed);
        edits.push(Edit::LeastVersion(least));
        Ok(edits)
    }

    /// As the engine itself has them; first the one that the caller is in, if it is one of them.
    fn containers<'f>(&self, cx: &Context<'f>) -> Result<Vec<&'f Json>, Verdict> {
        known(&self.members, cx, |id| {
            Question::OfEngine(Box::new(Question::Container(id.to_owned())))
        })
        .map_err(Verdict::Ask)
    }
}

impl Policy for OwnMounts {
    fn name(&self) -> &str {
        "job"
    }

    fn request(&self, call: &Typed, cx: &Context<'_>) -> Verdict {
        let judged = match (call.endpoint(), call.doc()) {
            (Endpoint::ContainerCreate, Some(doc)) => self.edits(call, &doc.root, cx),
            (Endpoint::VolumeCreate, Some(doc)) => {
                self.guard.volume(&doc.root, cx).map(|()| Vec::new())
            }
            _ => Ok(Vec::new()),
        };
        judged.map_or_else(|verdict| verdict, Verdict::Pass)
    }
}

/// The containers of a job, as far as they are there: first the one that the caller is in. Or what is to be asked.
pub fn known<'f>(
    members: &Members,
    cx: &Context<'f>,
    question: impl Fn(&str) -> Question,
) -> Result<Vec<&'f Json>, Vec<Question>> {
    let mut ids = members.ids().to_vec();
    ids.sort_by_key(|id| cx.identity.container() != Some(id.as_str()));
    let questions: Vec<Question> = ids.iter().map(|id| question(id)).collect();
    let open: Vec<Question> =
        questions.iter().filter(|one| cx.facts.get(one).is_none()).cloned().collect();
    if !open.is_empty() {
        return Err(open);
    }
    let json = |question| match cx.facts.get(question) {
        Some(Fact::Json(json)) => Some(&**json),
        _ => None,
    };
    Ok(questions.iter().filter_map(json).collect())
}

fn refused(mount: &Mount<'_>, own: &OwnPath<'_>, cx: &Context<'_>) -> Option<Reason> {
    let why = if let Some(option) = mount.options.iter().find(|one| !PLAIN_OPTIONS.contains(one)) {
        format!("`{option}` is not for a job's own files")
    } else if own.below.is_empty() {
        return None;
    } else if let OwnSource::Host(_) = own.source {
        format!(
            "must be all of `{}`: a part of what is bound from the host can lead out of it by a link",
            own.destination
        )
    } else if cx.engine.newest < SUBPATH {
        format!(
            "must be all of `{}`: this engine cannot mount a part of a volume (26 and later can)",
            own.destination
        )
    } else {
        return None;
    };
    let hint = "`--volumes-from` the job's own container has all that it has, at the same paths";
    Some(Reason::new("job.bind", mount.list, why, hint))
}

fn version_for(own: &OwnPath<'_>, cx: &Context<'_>) -> Minor {
    match own.source {
        OwnSource::Volume(_) if !own.below.is_empty() => SUBPATH,
        OwnSource::Host(_) if own.read_only => RECURSIVE.min(cx.engine.newest),
        _ => 0,
    }
}

fn as_mount(asked: &Mount<'_>, own: &OwnPath<'_>) -> Value {
    let text = |text: &str| Value::String(text.to_owned());
    let (kind, source) = match own.source {
        OwnSource::Volume(name) => ("volume", name),
        OwnSource::Host(path) => ("bind", path),
    };
    let mut entries = vec![
        ("Type".into(), text(kind)),
        ("Source".into(), text(source)),
        ("Target".into(), text(asked.target)),
        ("ReadOnly".into(), Value::Bool(asked.read_only || own.read_only)),
    ];
    if let OwnSource::Volume(_) = own.source {
        // As of a bind, nothing of the image is copied into it.
        let mut options = vec![("NoCopy".into(), Value::Bool(true))];
        if !own.below.is_empty() {
            options.push(("Subpath".into(), text(&own.below)));
        }
        entries.push(("VolumeOptions".into(), Value::Object(options)));
    }
    Value::Object(entries)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container() -> Json {
        let point = |kind: &str, name: &str, source: &str, destination: &str, rw: bool| json!({ "Type": kind, "Name": name, "Source": source, "Destination": destination, "RW": rw });
        json!({
            "HostConfig": { "Tmpfs": { "/builds/scratch": "" } },
            "Mounts": [
                point("volume", "work", "/var/lib/docker/volumes/work/_data", "/builds", true),
                point("bind", "", "/srv/cc", "/builds/cc", false),
                point("bind", "", "/run/jobs/0a", "/run/dockgate", false),
                point("bind", "", "/run", "/hostrun", true),
                point("tmpfs", "", "", "/tmp", true),
            ],
        })
    }

    fn found(path: &str) -> Option<(OwnSource<'static>, String, bool)> {
        let container: &'static Json = Box::leak(Box::new(container()));
        let own = own(&[container], Path::new("/run/jobs"), path)?;
        Some((own.source, own.below, own.read_only))
    }

    #[test]
    fn a_path_is_what_is_mounted_nearest_above_it() {
        let work = |below: &str| Some((OwnSource::Volume("work"), below.to_owned(), false));
        let cc = |below: &str| Some((OwnSource::Host("/srv/cc"), below.to_owned(), true));
        assert_eq!(found("/builds"), work(""));
        assert_eq!(found("//builds/./a/b/"), work("a/b"));
        assert_eq!(found("/builds/ccx"), work("ccx"), "by component");
        assert_eq!(found("/builds/cc"), cc(""));
        assert_eq!(found("/builds/cc/x"), cc("x"));
    }

    #[test]
    fn what_is_not_of_an_own_mount_is_nothing() {
        for path in [
            "/",
            "/build",
            "/buildsx",
            "/etc",
            "builds",
            "",
            "/builds/../etc",
            "/builds/a/..",
            "/builds/scratch",
            "/builds/scratch/x",
            "/tmp/x",
            "/run/dockgate",
            "/run/dockgate/docker.sock",
            "/hostrun/docker.sock",
            "/var/lib/docker/volumes/work/_data",
        ] {
            assert_eq!(found(path), None, "{path}");
        }
    }

    #[test]
    fn what_the_job_can_put_a_link_in_the_place_of_is_not_its_own() {
        let mut container = container();
        let inner =
            json!({ "Type": "bind", "Source": "/srv/work/in", "Destination": "/in", "RW": false });
        container["Mounts"].as_array_mut().unwrap().push(inner);
        let finds = |container: &Json| own(&[container], Path::new("/run/jobs"), "/in").is_some();
        let source = MountSource::Host("/srv/work/in");
        assert!(finds(&container) && is_mounted(&[&container], &source, true));
        let around =
            json!({ "Type": "bind", "Source": "/srv/work", "Destination": "/work", "RW": true });
        container["Mounts"].as_array_mut().unwrap().push(around);
        assert!(!finds(&container) && !is_mounted(&[&container], &source, true));
        assert!(own(&[&container], Path::new("/run/jobs"), "/work").is_some());
    }

    #[test]
    fn a_mount_is_own_with_no_more_than_its_own_rights() {
        let container = container();
        let is = |source: MountSource<'_>, ro| is_mounted(&[&container], &source, ro);
        assert!(is(MountSource::Volume("work"), false) && is(MountSource::Host("/srv/cc"), true));
        assert!(!is(MountSource::Host("/srv/cc"), false), "it is for reading");
        assert!(!is(MountSource::Host("/srv/cc/x"), true) && !is(MountSource::Host("/srv"), true));
        assert!(!is(MountSource::Volume("/srv/cc"), true) && !is(MountSource::Volume(""), true));
        assert!(!is(MountSource::Host("work"), true));
    }
}
