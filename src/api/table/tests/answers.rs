//! The marks of answers against moby's specifications, both ways.
//!
//! `tests/data/answers.tsv` has every place of every answer of Engine API 1.25 to 1.55 whose name
//! or description speaks of a resource.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::super::answer::{Marks, Place, PlaceStep};
use super::*;

const ANSWERS: &str = include_str!("../../../../tests/data/answers.tsv");
const SEEN: &str = include_str!("../../../../tests/data/answers-seen.tsv");

/// Places of the specifications that name no resource, or that no engine writes. `*` is anything.
const NO_RESOURCE: &[(&str, &str, &str)] = &[
    // what is called a name or an id, and is none of a resource's
    ("*", "*Networks{}.EndpointID", "an endpoint is addressed by its network and its container"),
    ("*", "*Containers{}.EndpointID", "as above"),
    ("ContainerInspect", "NetworkSettings.Bridge", "an interface of the host"),
    ("ContainerInspect", "NetworkSettings.EndpointID", "as above"),
    ("ContainerInspect", "NetworkSettings.SandboxID", "a network namespace"),
    ("*", "*riverConfig.Name", "a driver"),
    ("*", "*LogDriver.Name", "a driver"),
    ("*", "*GraphDriver.Name", "a driver"),
    ("ContainerInspect", "Storage.RootFS.Snapshot.Name", "a driver"),
    ("SecretList SecretInspect", "*Spec.Driver.Name", "a driver"),
    ("VolumeList VolumeInspect VolumeCreate SystemDataUsage", "*Driver", "a driver"),
    ("NetworkList NetworkInspect", "*Driver", "a driver"),
    ("NodeList NodeInspect", "*Engine.Plugins[].Name", "a driver"),
    ("ContainerInspect", "HostConfig.LogConfig.*", "a driver and its options"),
    ("*", "*Templating.Name", "a language of templates"),
    ("*", "*Ulimits[].Name", "a limit"),
    ("*", "*RestartPolicy.Name", "a policy of restarts"),
    ("*", "*Ports[].Name", "a word of the user's"),
    ("*", "*File.Name", "a file in a container"),
    ("*", "*Config.Volumes{key}", "paths in a container"),
    ("*", "*Config.Domainname", "a name of the DNS"),
    ("*", "*Mounts[].Type", "a word that is known"),
    ("ContainerInspect", "HostConfig.ContainerIDFile", "a file of the client's"),
    ("ContainerInspect", "HostConfig.DeviceRequests[].DeviceIDs[]", "devices of the host"),
    ("*", "*Peers[].Name", "a host among those that speak of a network"),
    ("*", "*Placement.Constraints[]", "expressions"),
    ("*", "*PluginPrivilege[].Name", "a privilege"),
    ("GetPluginPrivileges", "[].Name", "a privilege"),
    ("PluginList PluginInspect", "*Config.*", "parts of a plugin"),
    ("PluginList PluginInspect", "*Settings.*", "parts of a plugin"),
    ("*", "*Identity.Signature[].*", "what someone has signed, as it was signed"),
    ("ImageInspect", "Author", "a person"),
    ("ImageSearch", "[].name", "what a registry has"),
    ("BuildPrune", "CachesDeleted[]", "a record of BuildKit's cache, of which no route speaks"),
    ("SystemDataUsage", "BuildCache[].ID", "as above"),
    ("SystemInfo", "ID", "the engine"),
    ("SystemInfo", "Name", "its host"),
    ("SystemInfo", "Labels[]", "the operator's words"),
    ("SystemInfo", "Containerd*", "of containerd"),
    ("SystemInfo", "InitCommit.ID", "of a program"),
    ("SystemInfo", "RuncCommit.ID", "of a program"),
    ("SystemInfo", "DefaultRuntime", "a runtime"),
    ("SystemInfo", "DiscoveredDevices[].ID", "devices of the host"),
    ("SystemInfo", "Plugins.*", "drivers, built in and others"),
    ("SystemInfo", "RegistryConfig.*", "registries"),
    ("SystemInfo", "Swarm.Cluster.*", "the swarm as a whole"),
    ("SystemVersion", "*", "of the engine"),
    ("SwarmInspect", "*", "of the swarm as a whole"),
    ("*", "*ClusterVolume.Info.VolumeID", "what the driver calls it"),
    ("*", "*ClusterVolume.Spec.Group", "a word of the user's"),
    // what no engine writes
    ("*", "*ClusterVolume.Spec.AccessMode.Secrets[].*", "moby has it below `Spec`"),
    ("ContainerInspect", "ExecIDs", "a list at every version"),
    ("SystemDataUsage", "Containers[][].*", "the specification nests one list too many"),
    ("PluginDelete", "*", "an answer without a body (api/server/router/plugin)"),
    ("ServiceUpdate", "*", "an image's deletion, by mistake"),
    ("NetworkPrune", "VolumesDeleted[]", "networks, at every version"),
    ("SecretList SecretInspect", "*Spec.TaskTemplate.*", "a service's, by mistake"),
    ("SecretList SecretInspect", "*Spec.EndpointSpec.*", "a service's, by mistake"),
    ("NodeList NodeInspect", "*TLSInfo.*", "the swarm's, by mistake"),
    (
        "TaskList TaskInspect",
        "*NetworksAttachments[].Network.*",
        "swarmkit's type, not libnetwork's",
    ),
];

/// Places where engines write a name and of which the specifications do not say it: how many, and
/// why. What carries no word of moby's source was seen in answers of engines 20.10 to 28.
const UNSPECIFIED: &[(&str, &str, usize, &str)] = &[
    ("SystemDataUsage", "*Usage.Items[].*", 23, "a list without a schema"),
    ("ServiceList ServiceInspect", "*PreviousSpec.*", 30, "api/types/swarm/service.go"),
    ("CheckpointList", "[].Name", 1, "experimental"),
    ("*", "*Mounts[].Source", 3, "a volume's path holds its name"),
    ("*", "*Mountpoint", 4, "a volume's path holds its name"),
    ("*", "*Networks{}.Aliases[]", 3, "shown without a description"),
    ("*", "*Networks{}.Links[]", 3, "shown without a description"),
    ("*", "*Config.Hostname", 2, "the beginning of the id, if the client says nothing"),
    ("ContainerInspect", "HostConfig.Cgroup", 1, "a mode, `container:` too"),
    ("ContainerInspect", "HostConfig.Links[]", 1, "described by its form only"),
    ("ImageLoad ImageBuild", "stream", 2, "prose"),
    ("ImageCreate ImagePush ImageBuild", "status", 3, "prose"),
    ("ImageBuild", "aux.ID", 1, "streams have no schema"),
    ("SystemEvents", "Actor.Attributes.*", 7, "a map of texts"),
    ("SystemEvents", "from", 1, "for clients of old"),
    ("SystemEvents", "id", 1, "for clients of old"),
    ("*", "*ClusterVolume.Spec.Secrets[].Secret", 4, "api/types/volume/cluster_volume.go"),
    ("NodeList NodeInspect", "*Description.Hostname", 2, "a node's other name"),
    ("TaskList TaskInspect", "*NetworksAttachments[].Network.*", 6, "api/types/swarm/network.go"),
    ("TaskList TaskInspect", "*Volumes[].*", 4, "api/types/swarm/task.go"),
    ("NetworkList", "[].Services{key}", 1, "one type for a list and an inspection"),
    ("NetworkList NetworkInspect", "*Services{}.Tasks[].Name", 2, "api/types/network"),
    ("NetworkListSlash", "*", 7, "the twin of NetworkList"),
];

#[test]
fn every_place_of_the_specifications_is_marked_or_has_a_reason() {
    let mut unused: BTreeSet<_> = NO_RESOURCE.iter().collect();
    let mut wrong = Vec::new();
    for (id, place) in documented() {
        let row = TABLE.iter().find(|row| row.endpoint.id() == id).unwrap();
        let marked = places(row).contains(&place);
        let mut excepted = false;
        for one in NO_RESOURCE.iter().filter(|one| covers(one.0, one.1, id, &place)) {
            // else its mark could go unnoticed
            assert!(!marked, "{id} {place} has a mark and a reason for none: {one:?}");
            excepted = true;
            unused.remove(one);
        }
        if !marked && !excepted {
            wrong.push(format!("{id} {place}"));
        }
    }
    assert!(wrong.is_empty(), "no mark and no reason: {wrong:#?}");
    assert!(unused.is_empty(), "needed by no place: {unused:#?}");
}

#[test]
fn every_mark_is_of_the_specifications_or_has_a_reason() {
    let documented = documented();
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (row, place) in TABLE.iter().flat_map(|row| places(row).into_iter().map(move |p| (row, p)))
    {
        let id = row.endpoint.id();
        if documented.contains(&(id, place.clone())) {
            continue;
        }
        match UNSPECIFIED.iter().find(|one| covers(one.0, one.1, id, &place)) {
            Some((of, pattern, ..)) => *counts.entry((of, pattern)).or_default() += 1,
            None => wrong.push(format!("{id} {place}")),
        }
    }
    for (of, pattern, count, _) in UNSPECIFIED {
        let found = counts.get(&(of, pattern)).copied().unwrap_or_default();
        if found != *count {
            wrong.push(format!("{of} {pattern}: {found} places, not {count}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn covers(of: &str, pattern: &str, id: &str, place: &str) -> bool {
    (of == "*" || of.split(' ').any(|of| of == id)) && like(place, pattern)
}

fn documented() -> BTreeSet<(&'static str, String)> {
    lines(ANSWERS)
        .map(|line| (find(line[0], line[1]).unwrap().endpoint.id(), line[2].to_owned()))
        .collect()
}

/// Every place that a row marks.
fn places(row: &Row) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(row.answers, &mut Vec::new(), &mut found);
    found
}

fn collect(marks: Marks, place: &mut Vec<PlaceStep>, found: &mut BTreeSet<String>) {
    let mut below = |step: PlaceStep, marks: Marks, place: &mut Vec<PlaceStep>| {
        place.push(step);
        collect(marks, place, found);
        place.pop();
    };
    match marks {
        Marks::Nothing => {}
        Marks::Text(..) => drop(found.insert(Place(place).to_string())),
        Marks::Keys(..) => {
            place.push(PlaceStep::Key);
            found.insert(Place(place).to_string());
            place.pop();
        }
        Marks::Fields(fields) => {
            for (name, marks) in fields {
                below(PlaceStep::Field(name), *marks, place);
            }
        }
        Marks::Each(marks) => below(PlaceStep::Element, *marks, place),
        Marks::Values(marks) => below(PlaceStep::Entry, *marks, place),
        Marks::All(all) => all.iter().for_each(|marks| collect(*marks, place, found)),
        Marks::When(_, cases) => cases.iter().for_each(|(_, marks)| collect(*marks, place, found)),
    }
}

/// `*` in a pattern is anything.
fn like(text: &str, pattern: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return text == pattern };
    let Some(text) = text.strip_prefix(start) else { return false };
    text.char_indices().any(|(at, _)| text.get(at..).is_some_and(|text| like(text, rest)))
        || like("", rest)
}

/// What the calls of `tests/data/answers-seen.sh` made, by name.
const MADE: &[&str] = &[
    "cdb", "cweb", "clinked", "cshares", "cshared", "cmnt", "nfront", "nshadow", "ncfgd", "nover",
    "vdata", "vsv", "ssvc", "ssec", "sconf", "dgbox",
];

/// Where a name or something like an id stands in an answer and has no mark.
const LEFT: &[(&str, &str, &str)] = &[
    ("ContainerInspect", "*Path", "files of the engine's own"),
    ("ContainerInspect", "NetworkSettings.Sandbox*", "a network namespace"),
    ("*", "*EndpointID", "an endpoint"),
    ("*", "*Mounts[].Source", "of an image, where it is mounted"),
    ("ImageBuild", "stream", "what the client's own Dockerfile says"),
    ("NetworkInspect", "Peers[].Name", "a host among those that speak of a network"),
    ("ServiceList TaskList", "*File.Name", "a file in a container"),
];

#[test]
fn no_name_and_no_id_in_what_engines_answer_is_without_a_mark() {
    let mut unused: BTreeSet<_> = LEFT.iter().collect();
    let mut found = BTreeSet::new();
    let mut marked = BTreeSet::new();
    for line in lines(SEEN) {
        let row = TABLE.iter().find(|row| row.endpoint.id() == line[1]).unwrap();
        let mut answer: Value = serde_json::from_str(line[2]).unwrap();
        // what is marked is gone after this, and so is what it names elsewhere
        row.names_in(&mut answer, &mut |mut named| {
            marked.insert(format!("{} {}", row.endpoint.id(), named.resource));
            named.rename("-");
        });
        left(&answer, &mut Vec::new(), &mut |place, text| {
            let is_id = text.split(|c: char| !c.is_ascii_alphanumeric()).any(is_an_id);
            if !is_id && !MADE.iter().any(|name| text.contains(name)) {
                return;
            }
            let id = row.endpoint.id();
            match LEFT.iter().find(|one| covers(one.0, one.1, id, place)) {
                Some(one) => drop(unused.remove(one)),
                None => drop(found.insert(format!("{id} {place}: {text}"))),
            }
        });
    }
    assert!(found.is_empty(), "{found:#?}");
    assert!(unused.is_empty(), "needed by no answer: {unused:#?}");
    assert!(marked.len() > 60, "only {}: are all answers still there?", marked.len());
}

/// All or the first twelve digits of an id, or one of swarmkit's.
fn is_an_id(word: &str) -> bool {
    let is_of = |base| word.chars().all(|c| c.is_digit(base) && !c.is_ascii_uppercase());
    let has_digit = word.bytes().any(|b| b.is_ascii_digit());
    has_digit && (matches!(word.len(), 12 | 64) && is_of(16) || word.len() == 25 && is_of(36))
}

fn left(value: &Value, place: &mut Vec<String>, visit: &mut dyn FnMut(&str, &str)) {
    match value {
        Value::String(text) => visit(place.concat().trim_start_matches('.'), text),
        Value::Array(list) => {
            place.push("[]".to_owned());
            list.iter().for_each(|value| left(value, place, visit));
            place.pop();
        }
        Value::Object(map) => {
            for (key, value) in map {
                place.push("{key}".to_owned());
                visit(place.concat().trim_start_matches('.'), key);
                place.pop();
                place.push(format!(".{key}"));
                left(value, place, visit);
                place.pop();
            }
        }
        _ => {}
    }
}
