//! Volumes that the engine names by itself: whose one is stands with it in the engine.
//!
//! `create` has them asked for as mounts without a source, whose labels the engine gives to the volume; so nothing has to be
//! remembered when the container is gone, and `rm -v` and `--rm` take them away as ever, which they do not do with a volume
//! that has a name. `show` undoes it. What must stay true: no label of ours comes from a user, on no volume; a volume without
//! a prefix is nobody's but for such a label, which no image can give to one.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::{Map, Value as Json, json};

use super::look::{self, Looked, str_of};
use super::names::{LABEL, Tenant};
use super::request::{ANONYMOUS, Request};
use crate::api::doc::Value;
use crate::api::endpoint::Resource;
use crate::api::grammar::mounts::{self, MountSource, source_of_bind};
use crate::api::grammar::path::cleaned;
use crate::api::grammar::reference::{Reference, is_id};
use crate::policy::Question;

/// Of a volume without a name: the namespace that it belongs to.
pub const OWNER: &str = "io.dockgate.volume";
/// Beside it, where the mount is ours: `Volumes` of the client or of the image asked for it.
const OURS: &str = "io.dockgate.volume.ours";

/// Whether a volume is this namespace's, as the engine inspects or lists it.
pub(super) fn is_own(tenant: &Tenant, volume: &Json) -> bool {
    tenant.is_own(str_of(volume, "Name")) || is_own_anonymous(tenant, volume)
}

pub(super) fn is_own_anonymous(tenant: &Tenant, volume: &Json) -> bool {
    let owner = volume.get("Labels").and_then(|labels| labels.get(OWNER)).and_then(Json::as_str);
    is_id(str_of(volume, "Name")) && owner == Some(tenant.id())
}

/// What this namespace has, by the filters that are given besides.
pub(super) fn own<'f>(request: &Request<'f>, filters: &Map<String, Json>) -> Looked<Vec<&'f Json>> {
    let with = |key: &str, value: String| {
        let mut filters = filters.clone();
        filters.insert(key.to_owned(), json!([value]));
        look::list(Resource::Volume, Json::Object(filters), request.cx)
    };
    let named = with("name", request.tenant.pattern())?;
    let anonymous = with("label", format!("{OWNER}={}", request.tenant.id()))?;
    let named = named.iter().filter(|one| request.tenant.is_own(str_of(one, "Name")));
    let anonymous = anonymous.iter().filter(|one| is_own_anonymous(request.tenant, one));
    Ok(named.chain(anonymous).collect())
}

/// Labels of a volume that its user gives it: ours are not among them.
pub(super) fn without_ours(labels: &mut Value) {
    if let Value::Object(entries) = labels {
        entries.retain(|(key, _)| key != OWNER && key != OURS);
    }
}

/// Has every volume of a create body that would get no name marked as this namespace's. How many these are.
pub(super) fn mark(request: &Request<'_>, root: &mut Value) -> Looked<usize> {
    let wanted = of_image(request, root)?;
    let taken = taken(request, root)?;
    let driver = of_host(root, "VolumeDriver").and_then(Value::as_str);
    let driver = driver.unwrap_or_default().to_owned();
    let mut count = mark_given(request, root);
    let binds = of_binds(root);
    let asked = root.get("Volumes").map(Value::entries).unwrap_or_default();
    let asked = asked.iter().map(|(path, _)| path.to_string()).chain(wanted);
    let ours = asked.map(|path| (path, true)).chain(binds.into_iter().map(|path| (path, false)));
    let mut seen = HashSet::new();
    let mut made = Vec::new();
    for (path, is_ours) in ours {
        // Of what is no absolute path the engine says so itself.
        let place = cleaned(&path).join("/");
        if path.starts_with('/') && !taken.contains(&place) && seen.insert(place) {
            made.push(mount(request, &path, &driver, is_ours));
        }
    }
    count += made.len();
    if !made.is_empty()
        && let Some(place) = root.at_mut(&["HostConfig", "Mounts"])
    {
        let all = place.items().iter().cloned().chain(made).collect();
        *place = Value::List(all);
    }
    Ok(count)
}

/// Undoes it on a container, and takes our labels off a volume.
pub(super) fn shown(map: &mut Map<String, Json>) {
    if let Some(labels) = map.get_mut("Labels")
        && unmark(labels)
        && labels.as_object().is_some_and(Map::is_empty)
    {
        *labels = Json::Null;
    }
    // A list does not say which mounts are ours: of those without a name nearly all.
    if map.get("Names").is_some() {
        let points = map.get_mut("Mounts").and_then(Json::as_array_mut).into_iter().flatten();
        for point in points.filter(|point| is_id(str_of(point, "Name"))) {
            if let Some(mode) = point.get_mut("Mode") {
                *mode = json!("");
            }
        }
    }
    let Some(host) = map.get_mut("HostConfig").and_then(Json::as_object_mut) else { return };
    let Some(Json::Array(mounts)) = host.get_mut("Mounts") else { return };
    let mut ours = Vec::new();
    mounts.retain(|mount| {
        let is_ours =
            mount.pointer("/VolumeOptions/Labels").is_some_and(|all| all.get(OURS).is_some());
        if is_ours {
            ours.push(str_of(mount, "Target").to_owned());
        }
        !is_ours
    });
    mounts.iter_mut().for_each(unmark_mount);
    if mounts.is_empty() && !ours.is_empty() {
        host.shift_remove("Mounts");
    }
    // The engine fills in the mode of a mount where it leaves that of a volume empty.
    let points = map.get_mut("Mounts").and_then(Json::as_array_mut).into_iter().flatten();
    for point in points {
        let place = cleaned(str_of(point, "Destination")).join("/");
        if ours.iter().any(|target| cleaned(target).join("/") == place)
            && let Some(mode) = point.get_mut("Mode")
        {
            *mode = json!("");
        }
    }
}

fn of_host<'v>(root: &'v Value, key: &str) -> Option<&'v Value> {
    root.get("HostConfig").and_then(|host| host.get(key))
}

fn unmark(labels: &mut Json) -> bool {
    let Some(labels) = labels.as_object_mut() else { return false };
    labels.shift_remove(OURS);
    labels.shift_remove(OWNER).is_some()
}

/// The engine writes its own label into what the client has asked for, where there are labels.
fn unmark_mount(mount: &mut Json) {
    let Some(options) = mount.get_mut("VolumeOptions").and_then(Json::as_object_mut) else {
        return;
    };
    let Some(labels) = options.get_mut("Labels") else { return };
    if !unmark(labels) {
        return;
    }
    let Some(labels) = labels.as_object_mut() else { return };
    labels.shift_remove(LABEL);
    if labels.keys().all(|key| key == ANONYMOUS) {
        options.shift_remove("Labels");
    }
    if options.is_empty()
        && let Some(mount) = mount.as_object_mut()
    {
        mount.shift_remove("VolumeOptions");
    }
}

fn mount(request: &Request<'_>, path: &str, driver: &str, is_ours: bool) -> Value {
    let text = |text: &str| Value::String(text.to_owned());
    let mut labels = marks(request);
    if is_ours {
        labels.push((Cow::Borrowed(OURS), text("1")));
    }
    let mut options = vec![(Cow::Borrowed("Labels"), Value::Object(labels))];
    if !driver.is_empty() {
        let driver = Value::Object(vec![(Cow::Borrowed("Name"), text(driver))]);
        options.push((Cow::Borrowed("DriverConfig"), driver));
    }
    Value::Object(vec![
        (Cow::Borrowed("Type"), text("volume")),
        (Cow::Borrowed("Target"), text(path)),
        (Cow::Borrowed("VolumeOptions"), Value::Object(options)),
    ])
}

fn marks(request: &Request<'_>) -> Vec<(Cow<'static, str>, Value)> {
    vec![
        (Cow::Borrowed(LABEL), Value::String(request.tenant.name.clone())),
        (Cow::Borrowed(OWNER), Value::String(request.tenant.id().to_owned())),
    ]
}

/// Mounts that the client has written: those without a source are marked, and their number is given.
fn mark_given(request: &Request<'_>, root: &mut Value) -> usize {
    let mut count = 0;
    let mounts = root.get_mut("HostConfig").and_then(|host| host.get_mut("Mounts"));
    let Some(Value::List(mounts)) = mounts else { return 0 };
    for mount in mounts {
        if let Some(labels) =
            mount.get_mut("VolumeOptions").and_then(|options| options.get_mut("Labels"))
        {
            without_ours(labels);
        }
        if mounts::of_mount(0, mount).source != MountSource::Volume("") {
            continue;
        }
        count += 1;
        if let Some(labels) = mount.at_mut(&["VolumeOptions", "Labels"]) {
            let given = labels.entries().iter().filter(|(key, _)| key != LABEL).cloned();
            *labels = Value::Object(given.chain(marks(request)).collect());
        }
    }
    count
}

/// Binds that are a target alone, which have no place for labels: they are taken out.
fn of_binds(root: &mut Value) -> Vec<String> {
    let binds = root.get_mut("HostConfig").and_then(|host| host.get_mut("Binds"));
    let Some(Value::List(binds)) = binds else { return Vec::new() };
    let mut targets = Vec::new();
    binds.retain(|bind| match bind.as_str().map(source_of_bind) {
        Some((MountSource::Volume(""), target)) if target.starts_with('/') => {
            targets.push(target.to_owned());
            false
        }
        _ => true,
    });
    targets
}

/// The volumes that the image has its containers make.
fn of_image(request: &Request<'_>, root: &Value) -> Looked<Vec<String>> {
    let image = root.get("Image").and_then(Value::as_str).unwrap_or_default();
    if image.is_empty() {
        return Ok(Vec::new());
    }
    let image = look::known(Question::Image(image.to_owned()), request.cx)?;
    let volumes = image.and_then(|image| image.pointer("/Config/Volumes")?.as_object());
    Ok(volumes.into_iter().flatten().map(|(path, _)| path.clone()).collect())
}

/// Where something is mounted already: there `Volumes` makes nothing, and a mount of ours would be a second one.
fn taken(request: &Request<'_>, root: &Value) -> Looked<HashSet<String>> {
    let place = |path: &str| cleaned(path).join("/");
    let given = mounts::of(root);
    let bare = |mount: &mounts::Mount<'_>| {
        mount.list == mounts::BINDS && mount.source == MountSource::Volume("")
    };
    let mut taken: HashSet<String> =
        given.iter().filter(|mount| !bare(mount)).map(|mount| place(mount.target)).collect();
    let tmpfs = of_host(root, "Tmpfs").map(Value::entries).unwrap_or_default();
    taken.extend(tmpfs.iter().map(|(path, _)| place(path)));
    let from = of_host(root, "VolumesFrom").map(Value::items).unwrap_or_default();
    for text in from.iter().filter_map(Value::as_str) {
        let Some(reference) = Reference::parse(text, "") else { continue };
        let found = look::known(Question::Container(reference.name.to_owned()), request.cx)?;
        let points = found.and_then(|json| json.get("Mounts")?.as_array()).into_iter().flatten();
        taken.extend(points.map(|point| place(str_of(point, "Destination"))));
    }
    Ok(taken)
}
