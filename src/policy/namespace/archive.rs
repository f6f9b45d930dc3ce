//! Images in archives (`save`, `load`): their names as users have them outside, and as the engine has them inside.
//!
//! `Namespaces` calls it with the files of an archive that name images. What must stay true: the engine reads no name that was
//! not given it here, by whatever path or link of the archive; of others' names for the same image none goes out; what is
//! loaded is in the archive (`held`).

mod held;

use serde_json::{Map, Value as Json};

use super::image::{BadReference, ImageReference};
use super::images;
use super::look::Looked;
use super::nameless;
use super::request::{Request, says};
use crate::api::grammar::path::cleaned;
use crate::api::grammar::reference::is_id;
use crate::api::{Endpoint, Row, Typed, doc, json};
use crate::policy::{Contents, Reason, Verdict};
use crate::wire::tar::{EntryKind, TarEntry};

const RULE: &str = "namespace.archive";
/// Of a file that names images: names of thousands.
const MOST: u64 = 4 << 20;
/// Docker's own list of images, what engines before 1.10 wrote, and the one of OCI archives, which engines with containerd's store read.
const MANIFEST: &str = "manifest.json";
const REPOSITORIES: &str = "repositories";
const INDEX: &str = "index.json";
const NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// On what says something of an image, and is none.
const ABOUT: &str = "vnd.docker.reference.type";

pub(super) fn is_read(row: &Row) -> bool {
    matches!(row.endpoint, Endpoint::ImageGet | Endpoint::ImageGetAll | Endpoint::ImageLoad)
}

/// Whether a file names images. Of an archive that is loaded a link could lead the engine to other names.
pub(super) fn wants(call: &Typed, entry: &TarEntry) -> Result<bool, Reason> {
    let path = String::from_utf8_lossy(&entry.path);
    let is_named = named(&path).is_some();
    match entry.kind {
        EntryKind::File if is_named && entry.size > MOST => {
            Err(refuse(&path, format!("must be at most {MOST} bytes in a namespace")))
        }
        EntryKind::File => Ok(is_named),
        EntryKind::Directory => Ok(false),
        _ if call.endpoint() != Endpoint::ImageLoad => Ok(false),
        EntryKind::Symlink if is_layer(&path, &entry.link) => Ok(false),
        EntryKind::Symlink
        | EntryKind::HardLink
        | EntryKind::CharDevice
        | EntryKind::BlockDevice
        | EntryKind::Fifo => {
            Err(refuse(&path, "must be a file in an archive that a namespace loads".to_owned()))
        }
    }
}

/// Before the end of an archive goes on.
pub(super) fn judge(call: &Typed, contents: &Contents) -> Result<(), Reason> {
    match call.endpoint() {
        Endpoint::ImageLoad => held::judge(contents),
        _ => Ok(()),
    }
}

/// What goes on in the place of such a file.
pub(super) fn file(
    request: &Request<'_>,
    entry: &TarEntry,
    content: &[u8],
) -> Looked<Option<Vec<u8>>> {
    let path = String::from_utf8_lossy(&entry.path);
    let unclear = || Verdict::deny(refuse(&path, "cannot be read as the engine would".to_owned()));
    let mut json: Json = json::read(content).map_err(|_| unclear())?;
    let loads = request.call.endpoint() == Endpoint::ImageLoad;
    let direction = if loads { Direction::In(request) } else { Direction::Out(request) };
    match named(&path) {
        Some(MANIFEST) => {
            for (number, image) in json.as_array_mut().into_iter().flatten().enumerate() {
                let Some(image) = image.as_object_mut() else { continue };
                if loads {
                    nothing_elsewhere(image, &unclear)?;
                }
                tags(&direction, (number, image), &unclear)?;
            }
        }
        Some(REPOSITORIES) => repositories(&direction, &mut json)?,
        Some(INDEX) => {
            let Some(index) = json.as_object_mut() else { return Err(unclear()) };
            only(index, "manifests", &unclear)?;
            let all = index.get_mut("manifests").and_then(Json::as_array_mut).into_iter().flatten();
            for (number, manifest) in all.filter_map(Json::as_object_mut).enumerate() {
                annotations(&direction, (number, manifest), &unclear)?;
            }
        }
        _ => return Ok(None),
    }
    Ok(Some(json.to_string().into_bytes()))
}

enum Direction<'r, 'a> {
    In(&'r Request<'a>),
    Out(&'r Request<'a>),
}

impl Direction<'_, '_> {
    /// Another name in the place of one; none for what is nobody's business.
    fn name(&self, name: &str) -> Looked<Option<String>> {
        match self {
            Direction::Out(request) if request.with.is_shared(name) => Ok(Some(name.to_owned())),
            Direction::Out(request) => Ok(request.with.images(request.tenant).shown(name)),
            Direction::In(request) => {
                let sent = images::own_name(request, name)?;
                nameless::keep(request, &sent)?;
                Ok(Some(sent))
            }
        }
    }

    /// For what has none.
    fn nameless(&self, number: usize) -> Looked<Option<String>> {
        match self {
            Direction::Out(_) => Ok(None),
            Direction::In(request) => Ok(Some(format!("{}-{number}", nameless::fresh(request)?))),
        }
    }
}

/// An image of the engine's that is said to be below it, and layers that are to be fetched from somewhere.
fn nothing_elsewhere(image: &mut Map<String, Json>, unclear: &dyn Fn() -> Verdict) -> Looked<()> {
    for field in ["Parent", "LayerSources"] {
        only(image, field, unclear)?;
        image.shift_remove(field);
    }
    Ok(())
}

/// `RepoTags` of an image.
fn tags(
    direction: &Direction<'_, '_>,
    (number, image): (usize, &mut Map<String, Json>),
    unclear: &dyn Fn() -> Verdict,
) -> Looked<()> {
    only(image, "RepoTags", unclear)?;
    let mut names = Vec::new();
    for tag in image.get("RepoTags").and_then(Json::as_array).into_iter().flatten() {
        names.extend(direction.name(tag.as_str().ok_or_else(unclear)?)?);
    }
    if names.is_empty() {
        names.extend(direction.nameless(number)?);
    }
    let names: Vec<Json> = names.into_iter().map(Json::String).collect();
    let names = if names.is_empty() { Json::Null } else { Json::Array(names) };
    image.insert("RepoTags".to_owned(), names);
    Ok(())
}

/// `{"name": {"tag": "id"}}`
fn repositories(direction: &Direction<'_, '_>, json: &mut Json) -> Looked<()> {
    let Some(map) = json.as_object_mut() else { return Ok(()) };
    let mut all = Map::new();
    for (name, tags) in std::mem::take(map) {
        let changed = match direction {
            Direction::Out(_) => direction.name(&name)?,
            Direction::In(request) => {
                for (tag, _) in tags.as_object().into_iter().flatten() {
                    direction.name(&format!("{name}:{tag}"))?;
                }
                Some(images::own_name(request, &name)?)
            }
        };
        all.extend(changed.map(|name| (name, tags)));
    }
    *map = all;
    Ok(())
}

/// Of one image of an index.
fn annotations(
    direction: &Direction<'_, '_>,
    (number, manifest): (usize, &mut Map<String, Json>),
    unclear: &dyn Fn() -> Verdict,
) -> Looked<()> {
    only(manifest, "annotations", unclear)?;
    let given = manifest.get("annotations").and_then(Json::as_object).cloned();
    let mut all = given.unwrap_or_default();
    let text = |key: &str| all.get(key).and_then(Json::as_str).filter(|text| !text.is_empty());
    let name = text(NAME).or_else(|| text(REF_NAME)).map(str::to_owned);
    if name.is_none() && text(ABOUT).is_some() {
        return Ok(());
    }
    let changed = match name {
        Some(name) => direction.name(&name)?,
        None => direction.nameless(number)?,
    };
    match (changed, direction) {
        (Some(name), Direction::In(_)) => {
            all.insert(NAME.to_owned(), Json::String(name));
        }
        // Outside it stands there whole.
        (Some(name), Direction::Out(_)) => {
            let whole = ImageReference::parse(&name).map(|one| one.name() + &one.suffix());
            let whole = whole.map_err(|bad: BadReference| says(400, bad.to_string()))?;
            all.insert(NAME.to_owned(), Json::String(whole));
        }
        (None, _) => {
            all.shift_remove(NAME);
            all.shift_remove(REF_NAME);
        }
    }
    match all.is_empty() {
        true => manifest.shift_remove("annotations"),
        false => manifest.insert("annotations".to_owned(), Json::Object(all)),
    };
    Ok(())
}

/// Go takes a key for a field's whatever its case is, and the last one counts.
fn only(map: &Map<String, Json>, field: &str, unclear: &dyn Fn() -> Verdict) -> Looked<()> {
    match map.keys().any(|key| key != field && doc::folds_to(key, field)) {
        true => Err(unclear()),
        false => Ok(()),
    }
}

fn named(path: &str) -> Option<&'static str> {
    match cleaned(path).as_slice() {
        [one] => [MANIFEST, REPOSITORIES, INDEX].into_iter().find(|name| name == one),
        _ => None,
    }
}

/// Engines below 25 write a layer once, and links to it.
fn is_layer(path: &str, link: &[u8]) -> bool {
    let link = String::from_utf8_lossy(link);
    let target = link.strip_prefix("../").and_then(|rest| rest.strip_suffix("/layer.tar"));
    matches!(cleaned(path).as_slice(), [id, "layer.tar"] if is_id(id)) && target.is_some_and(is_id)
}

fn refuse(path: &str, why: String) -> Reason {
    Reason::new(RULE, path.to_owned(), why, "")
}
