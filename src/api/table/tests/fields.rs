//! The body shapes against moby's specifications, both ways.
//!
//! `tests/data/fields.tsv` has every field of every JSON body of Engine API 1.25 to 1.55.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::endpoint::{Minor, NEWEST, OLDEST};
use super::super::super::shape::{Kind, Object};
use super::*;

pub(super) const FIELDS: &str = include_str!("../../../../tests/data/fields.tsv");

#[test]
fn body_kinds_match_the_specifications() {
    let mut documented = BTreeSet::new();
    for line in lines(FIELDS).filter(|line| line[2] == ".") {
        let row = find(line[0], line[1]).unwrap();
        documented.insert(row.endpoint);
        let kind = match row.body {
            BodyKind::None | BodyKind::Raw => "nothing".to_owned(),
            BodyKind::Json(_) | BodyKind::Message(_) => "object".to_owned(),
            BodyKind::JsonList(kind) => kind_name(kind),
            BodyKind::Tar => "string".to_owned(),
        };
        assert_eq!(kind, line[3], "{}", row.endpoint.id());
    }
    let others: Vec<&str> = TABLE
        .iter()
        .filter(|row| !matches!(row.body, BodyKind::None) && !documented.contains(&row.endpoint))
        .map(|row| row.endpoint.id())
        .collect();
    assert_eq!(others, ["CheckpointCreate", "ContainerCopy", "Session", "Grpc"]);
}

/// Fields that the specifications spell or nest otherwise than moby's Go types, which decide.
const MOVED: [(&str, &str); 7] = [
    // a map of lists in moby; in the specifications since 1.35
    ("PortBindings{}.", "PortBindings{}[]."),
    // api/types/swarm/container.go
    (".HealthCheck", ".Healthcheck"),
    // api/types/swarm/runtime
    (".PluginSpec.PluginPrivilege", ".PluginSpec.privileges"),
    // api/types/volume/cluster_volume.go
    ("Spec.AccessMode.AccessibilityRequirements", "Spec.AccessibilityRequirements"),
    ("Spec.AccessMode.Availability", "Spec.Availability"),
    ("Spec.AccessMode.CapacityRange", "Spec.CapacityRange"),
    ("Spec.AccessMode.Secrets", "Spec.Secrets"),
];

#[test]
fn fields_match_the_specifications() {
    let documented = documented_fields();
    let mut missing = BTreeSet::new();
    let mut spelled = BTreeSet::new();
    let mut dates = BTreeSet::new();
    let mut undocumented = BTreeSet::new();
    let mut ignored = BTreeSet::new();
    let mut matched = 0;
    for row in TABLE {
        let fields = fields_of(row);
        let id = row.endpoint.id();
        let none = BTreeMap::new();
        let documented = documented.get(&row.endpoint).unwrap_or(&none);
        for (folded, spec) in documented {
            let Some(field) = fields.get(folded) else {
                missing.insert(format!("{id} {}", spec.path));
                continue;
            };
            matched += 1;
            if field.path != spec.path {
                spelled.insert(format!("{} {}", spec.path, field.path));
            }
            assert!(
                spec.kinds.contains(&field.kind),
                "{id} {}: {} is none of {:?}",
                field.path,
                field.kind,
                spec.kinds
            );
            let first = spec.first.max(row.since);
            if (field.since, field.until) != (first, spec.last) {
                dates.insert(format!("{id} {} {}-{}", field.path, field.since, field.until));
            }
        }
        for (folded, field) in &fields {
            if !documented.contains_key(folded) {
                let set = if field.ignored { &mut ignored } else { &mut undocumented };
                set.insert(format!("{id} {}", field.path));
            }
        }
    }
    check("missing", &missing, MISSING);
    check("spelled", &spelled, SPELLED);
    check("dates", &dates, DATES);
    check("undocumented", &undocumented, UNDOCUMENTED);
    check("ignored", &ignored, IGNORED);
    assert_eq!(matched, MATCHED);
}

/// How many fields of the specifications the table has, spellings and moves merged.
const MATCHED: usize = 856;

/// A slip of the specifications up to 1.36: the keyword stands one level too deep.
const MISSING: &[&str] =
    &["ContainerCreate Volumes.additionalProperties", "ImageCommit Volumes.additionalProperties"];

/// The specification's spelling and moby's; Go folds them together.
const SPELLED: &[&str] = &[
    // only 1.27 says NanoCPUs
    "HostConfig.NanoCPUs HostConfig.NanoCpus",
    "NanoCPUs NanoCpus",
    // api/types/swarm/runtime: lower case
    "TaskTemplate.PluginSpec.Disabled TaskTemplate.PluginSpec.disabled",
    "TaskTemplate.PluginSpec.Name TaskTemplate.PluginSpec.name",
    "TaskTemplate.PluginSpec.Remote TaskTemplate.PluginSpec.remote",
    "TaskTemplate.PluginSpec.privileges[].Description TaskTemplate.PluginSpec.privileges[].description",
    "TaskTemplate.PluginSpec.privileges[].Name TaskTemplate.PluginSpec.privileges[].name",
    "TaskTemplate.PluginSpec.privileges[].Value TaskTemplate.PluginSpec.privileges[].value",
];

/// Fields whose versions here are not those of the specifications.
const DATES: &[&str] = &[
    // documented from 1.36 on, sent by older clients
    "ContainerCreate HostConfig.KernelMemory 24-41",
    "ContainerUpdate KernelMemory 24-41",
    // documented up to 1.45, still sent by testcontainers-node, ignored by newer engines
    "NetworkCreate CheckDuplicate 24-65535",
    // moby v17.06.0-ce api/types/types.go (API 1.30); documented since 1.41
    "NetworkCreate ConfigFrom 30-65535",
    "NetworkCreate ConfigFrom.Network 30-65535",
    "NetworkCreate ConfigOnly 30-65535",
    "NetworkCreate Scope 30-65535",
    // a free map in the specifications up to 1.40, these four in moby's `network.IPAMConfig`
    "NetworkCreate IPAM.Config[].AuxiliaryAddresses 24-65535",
    "NetworkCreate IPAM.Config[].Gateway 24-65535",
    "NetworkCreate IPAM.Config[].IPRange 24-65535",
    "NetworkCreate IPAM.Config[].Subnet 24-65535",
    // the route is older than its documentation
    "SecretUpdate Data 25-65535",
    "SecretUpdate Labels 25-65535",
    "SecretUpdate Name 25-65535",
    // api/types/swarm/network.go of moby v1.13.0 (API 1.25); documented since 1.34
    "ServiceCreate EndpointSpec.Ports[].PublishMode 24-65535",
    "ServiceUpdate EndpointSpec.Ports[].PublishMode 24-65535",
    // documented up to 1.51, still sent by docker-py
    "SystemAuth email 24-65535",
];

/// Fields of moby's Go types that no specification has.
const UNDOCUMENTED: &[&str] = &[
    // api/types/checkpoint
    "CheckpointCreate CheckpointDir",
    "CheckpointCreate CheckpointID",
    "CheckpointCreate Exit",
    // api/types/configs.go of engines up to 25
    "ContainerCopy Resource",
    // api/types/mount/mount.go
    "ContainerCreate HostConfig.Mounts[].ClusterOptions",
    "ServiceCreate TaskTemplate.ContainerSpec.Mounts[].ClusterOptions",
    "ServiceUpdate TaskTemplate.ContainerSpec.Mounts[].ClusterOptions",
    // api/types/swarm/runtime
    "ServiceCreate TaskTemplate.PluginSpec.env",
    "ServiceUpdate TaskTemplate.PluginSpec.env",
    // api/types/swarm/swarm.go
    "SwarmInit AutoLockManagers",
    "SwarmInit Availability",
    "SwarmJoin Availability",
    // api/types/registry/authconfig.go
    "SystemAuth auth",
    "SystemAuth identitytoken",
    "SystemAuth registrytoken",
    // api/types/volume/cluster_volume.go
    "VolumeCreate ClusterVolumeSpec.AccessMode.BlockVolume",
    "VolumeCreate ClusterVolumeSpec.AccessMode.MountVolume.FsType",
    "VolumeCreate ClusterVolumeSpec.AccessMode.MountVolume.MountFlags",
    "VolumeUpdate Spec.AccessMode.BlockVolume",
    "VolumeUpdate Spec.AccessMode.MountVolume.FsType",
    "VolumeUpdate Spec.AccessMode.MountVolume.MountFlags",
];

/// Fields that clients send and no engine reads.
const IGNORED: &[&str] = &[
    // dockerode: docker-modem posts the options of its caller as they are
    "ContainerCreate abortSignal",
    "ContainerCreate name",
    "ContainerCreate platform",
    "ContainerExec abortSignal",
    "ExecStart abortSignal",
    "ExecStart hijack",
    "ExecStart stderr",
    "ExecStart stdin",
    "ExecStart stdout",
    "ExecStart stream",
    "NetworkConnect abortSignal",
    "NetworkCreate abortSignal",
    "NetworkDisconnect abortSignal",
    "SystemAuth abortSignal",
    "VolumeCreate abortSignal",
    // docker-java: CreateContainerCmdImpl
    "ContainerCreate PortSpecs",
    "ContainerCreate authConfig",
    // docker-py: api/exec_api.py
    "ContainerExec Container",
    // docker CLI up to 28; "the Detach field is not used" (api/types/container/exec.go)
    "ContainerExec Detach",
];

/// Every parameter and field that carries a name or id: namespaces translate these and no others.
#[test]
fn names_are_marked() {
    let mut found = BTreeSet::new();
    for row in TABLE {
        let id = row.endpoint.id();
        for param in row.query.iter().filter(|param| !param.ignored) {
            found.extend(param.names.map(|resource| format!("{id} ?{} {resource:?}", param.name)));
        }
        for (_, field) in fields_of(row) {
            found.extend(field.names.map(|resource| format!("{id} {} {resource:?}", field.path)));
        }
    }
    check("names", &found, NAMES);
}

const NAMES: &[&str] = &[
    "BuildCancel ?id BuildId",
    "CheckpointCreate CheckpointID Checkpoint",
    "ConfigCreate Name Config",
    "ConfigUpdate Name Config",
    "ContainerCreate ?name Container",
    "ContainerCreate HostConfig.Binds Volume",
    "ContainerCreate HostConfig.Cgroup Container",
    "ContainerCreate HostConfig.IpcMode Container",
    "ContainerCreate HostConfig.Links Container",
    "ContainerCreate HostConfig.Mounts[].Source Volume",
    "ContainerCreate HostConfig.NetworkMode Network",
    "ContainerCreate HostConfig.PidMode Container",
    "ContainerCreate HostConfig.VolumesFrom Container",
    "ContainerCreate Image Image",
    "ContainerCreate NetworkingConfig.EndpointsConfig Network",
    "ContainerCreate NetworkingConfig.EndpointsConfig{}.Links Container",
    "ContainerCreate NetworkingConfig.EndpointsConfig{}.NetworkID Network",
    "ContainerRename ?name Container",
    "ContainerStart ?checkpoint Checkpoint",
    "GetPluginPrivileges ?remote Plugin",
    "ImageBuild ?buildid BuildId",
    "ImageBuild ?cachefrom Image",
    "ImageBuild ?networkmode Network",
    "ImageBuild ?outputs Image",
    "ImageBuild ?session Session",
    "ImageBuild ?t Image",
    "ImageCommit ?container Container",
    "ImageCommit ?repo Image",
    "ImageCommit Image Image",
    "ImageCreate ?fromImage Image",
    "ImageCreate ?repo Image",
    "ImageGetAll ?names Image",
    "ImageList ?filter Image",
    "ImageTag ?repo Image",
    "NetworkConnect Container Container",
    "NetworkConnect EndpointConfig.Links Container",
    "NetworkConnect EndpointConfig.NetworkID Network",
    "NetworkCreate ConfigFrom.Network Network",
    "NetworkCreate Name Network",
    "NetworkDisconnect Container Container",
    "NodeUpdate Name Node",
    "PluginCreate ?name Plugin",
    "PluginPull ?name Plugin",
    "PluginPull ?remote Plugin",
    "PluginUpgrade ?remote Plugin",
    "SecretCreate Name Secret",
    "SecretUpdate Name Secret",
    "ServiceCreate Name Service",
    "ServiceCreate Networks[].Target Network",
    "ServiceCreate TaskTemplate.ContainerSpec.Configs[].ConfigID Config",
    "ServiceCreate TaskTemplate.ContainerSpec.Configs[].ConfigName Config",
    "ServiceCreate TaskTemplate.ContainerSpec.Image Image",
    "ServiceCreate TaskTemplate.ContainerSpec.Mounts[].Source Volume",
    "ServiceCreate TaskTemplate.ContainerSpec.Privileges.CredentialSpec.Config Config",
    "ServiceCreate TaskTemplate.ContainerSpec.Secrets[].SecretID Secret",
    "ServiceCreate TaskTemplate.ContainerSpec.Secrets[].SecretName Secret",
    "ServiceCreate TaskTemplate.NetworkAttachmentSpec.ContainerID Container",
    "ServiceCreate TaskTemplate.Networks[].Target Network",
    "ServiceCreate TaskTemplate.PluginSpec.name Plugin",
    "ServiceCreate TaskTemplate.PluginSpec.remote Plugin",
    "ServiceUpdate Name Service",
    "ServiceUpdate Networks[].Target Network",
    "ServiceUpdate TaskTemplate.ContainerSpec.Configs[].ConfigID Config",
    "ServiceUpdate TaskTemplate.ContainerSpec.Configs[].ConfigName Config",
    "ServiceUpdate TaskTemplate.ContainerSpec.Image Image",
    "ServiceUpdate TaskTemplate.ContainerSpec.Mounts[].Source Volume",
    "ServiceUpdate TaskTemplate.ContainerSpec.Privileges.CredentialSpec.Config Config",
    "ServiceUpdate TaskTemplate.ContainerSpec.Secrets[].SecretID Secret",
    "ServiceUpdate TaskTemplate.ContainerSpec.Secrets[].SecretName Secret",
    "ServiceUpdate TaskTemplate.NetworkAttachmentSpec.ContainerID Container",
    "ServiceUpdate TaskTemplate.Networks[].Target Network",
    "ServiceUpdate TaskTemplate.PluginSpec.name Plugin",
    "ServiceUpdate TaskTemplate.PluginSpec.remote Plugin",
    "SystemAuth serveraddress Registry",
    "VolumeCreate ClusterVolumeSpec.Secrets[].Secret Secret",
    "VolumeCreate Name Volume",
    "VolumeUpdate Spec.Secrets[].Secret Secret",
];

/// Two fields whose names Go folds together would make `api::doc` choose between them.
#[test]
fn no_name_stands_twice() {
    fn walk(object: &Object) {
        let folded: BTreeSet<String> =
            object.iter().map(|field| field.name.to_ascii_lowercase()).collect();
        assert_eq!(
            folded.len(),
            object.len(),
            "{:?}",
            object.iter().map(|f| f.name).collect::<Vec<_>>()
        );
        for field in object {
            assert!(field.since <= field.until && field.since <= NEWEST, "{}", field.name);
            let mut kind = &field.kind;
            while let Kind::List(inner) | Kind::Map(inner) = kind {
                kind = inner;
            }
            if let Kind::Object(inner) = kind {
                walk(inner);
            }
        }
    }
    for row in TABLE {
        if let BodyKind::Json(object) = row.body {
            walk(object);
        }
        let names: BTreeSet<&str> = row.query.iter().map(|param| param.name).collect();
        assert_eq!(names.len(), row.query.len(), "{}", row.path);
        assert!((OLDEST..=NEWEST).contains(&row.since) && row.since <= row.until, "{}", row.path);
    }
}

struct Documented {
    path: String,
    kinds: BTreeSet<String>,
    first: Minor,
    last: Minor,
}

struct Known {
    path: String,
    kind: String,
    since: Minor,
    until: Minor,
    ignored: bool,
    names: Option<Resource>,
}

/// Field path, folded as Go folds it, to what the specifications say; spellings are merged.
fn documented_fields() -> BTreeMap<Endpoint, BTreeMap<String, Documented>> {
    let mut all: BTreeMap<Endpoint, BTreeMap<String, Documented>> = BTreeMap::new();
    let mut used: BTreeSet<(&str, &str)> = BTreeSet::new();
    for line in lines(FIELDS) {
        let [method, path, field, kinds, first, last] = line[..] else {
            panic!("bad line {line:?}")
        };
        if field == "." {
            continue;
        }
        let moved = MOVED.iter().find(|(from, _)| field.contains(from));
        used.extend(moved);
        let field = moved.map_or(field.to_owned(), |(from, to)| field.replace(from, to));
        let (first, last) = span(first, last);
        let fields = all.entry(find(method, path).unwrap().endpoint).or_default();
        let entry = fields.entry(field.to_ascii_lowercase()).or_insert_with(|| Documented {
            path: field.clone(),
            kinds: BTreeSet::new(),
            first,
            last,
        });
        entry.first = entry.first.min(first);
        entry.last = entry.last.max(last);
        entry.kinds.extend(kinds.split('|').map(str::to_owned));
    }
    assert_eq!(used.len(), MOVED.len(), "used: {used:?}");
    all
}

fn fields_of(row: &Row) -> BTreeMap<String, Known> {
    let mut fields = BTreeMap::new();
    match row.body {
        BodyKind::Json(object) | BodyKind::Message(object) => {
            collect(object, "", (row.since, row.until), &mut fields);
        }
        BodyKind::JsonList(kind) => collect_below(kind, "", (row.since, row.until), &mut fields),
        BodyKind::None | BodyKind::Tar | BodyKind::Raw => {}
    }
    fields
}

fn collect(object: &Object, at: &str, outer: (Minor, Minor), out: &mut BTreeMap<String, Known>) {
    for field in object {
        let path =
            if at.is_empty() { field.name.to_owned() } else { format!("{at}.{}", field.name) };
        let span = (field.since.max(outer.0), field.until.min(outer.1));
        collect_below(&field.kind, &path, span, out);
        let known = Known {
            kind: kind_name(&field.kind),
            since: span.0,
            until: span.1,
            ignored: field.ignored,
            names: field.names,
            path: path.clone(),
        };
        assert!(out.insert(path.to_ascii_lowercase(), known).is_none(), "{path} twice");
    }
}

fn collect_below(kind: &Kind, at: &str, span: (Minor, Minor), out: &mut BTreeMap<String, Known>) {
    match kind {
        Kind::List(inner) => collect_below(inner, &format!("{at}[]"), span, out),
        Kind::Map(inner) => collect_below(inner, &format!("{at}{{}}"), span, out),
        Kind::Object(object) | Kind::Encoded(object) => collect(object, at, span, out),
        Kind::Int32 | Kind::Bytes | Kind::Enum(_) => {}
        Kind::Bool | Kind::Int | Kind::Float | Kind::Str | Kind::StrOrList | Kind::Any => {}
    }
}

/// As `derive.py` writes it.
fn kind_name(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "boolean".to_owned(),
        Kind::Int | Kind::Int32 => "integer".to_owned(),
        Kind::Float => "number".to_owned(),
        Kind::Str | Kind::Bytes | Kind::Enum(_) => "string".to_owned(),
        Kind::StrOrList => "[string]".to_owned(),
        Kind::Any => "any".to_owned(),
        Kind::List(inner) => format!("[{}]", kind_name(inner)),
        Kind::Map(inner) => format!("{{{}}}", kind_name(inner)),
        Kind::Object(_) | Kind::Encoded(_) => "object".to_owned(),
    }
}
