//! Whether an archive that is loaded holds all that its lists name.
//!
//! An engine that has a layer does not look for it in the archive that names it (moby image/tarexport/load.go, `loadLayer`;
//! containerd's store is one for all): what is named and not held would be somebody else's. `archive` calls it with what was
//! counted up. What must stay true: each document is read as Go reads it, or not at all; of a list, every digest is in the
//! archive, and each layer is what its image's config says.

use std::collections::BTreeSet;

use super::{INDEX, MANIFEST, REPOSITORIES, refuse};
use crate::api::doc::{self, Doc, Value};
use crate::api::grammar::image::sha256;
use crate::api::shape::{Kind, Object, STRINGS, f};
use crate::policy::{Contents, FileContent, Reason};

/// Docker's own list of images.
const IMAGES: Kind = Kind::List(&Kind::Object(&[f("Config", Kind::Str), f("Layers", STRINGS)]));

/// An image's manifest or an index, of OCI or Docker; by one shape, for what it is the one who names it says.
const LISTED: &Object = &[
    f("manifests", DESCRIPTORS),
    f("config", Kind::Object(DESCRIPTOR)),
    f("layers", DESCRIPTORS),
    f("blobs", DESCRIPTORS),
    f("subject", Kind::Object(DESCRIPTOR)),
];
const DESCRIPTORS: Kind = Kind::List(&Kind::Object(DESCRIPTOR));
const DESCRIPTOR: &Object = &[f("mediaType", Kind::Str), f("digest", Kind::Str)];

const CONFIG: &Object = &[f("rootfs", Kind::Object(&[f("diff_ids", STRINGS)]))];

pub(super) fn judge(contents: &Contents) -> Result<(), Reason> {
    if let Some(link) = contents.dangling() {
        return Err(refuse(link, "must lead to a file in the archive".to_owned()));
    }
    match (contents.has(MANIFEST), contents.has(INDEX)) {
        (true, _) => images(contents)?,
        (false, true) => not_legacy(contents)?,
        (false, false) => {
            return Err(refuse(MANIFEST, "must be in an archive of images".to_owned()));
        }
    }
    match contents.has(INDEX) {
        true => index(contents),
        false => Ok(()),
    }
}

/// Without Docker's list engines read what those before 1.10 wrote.
fn not_legacy(contents: &Contents) -> Result<(), Reason> {
    let is_legacy = |path: &&str| *path == REPOSITORIES || path.ends_with("/json");
    match contents.paths().find(is_legacy) {
        Some(path) => Err(refuse(path, format!("must not be in an archive without `{MANIFEST}`"))),
        None => Ok(()),
    }
}

fn images(contents: &Contents) -> Result<(), Reason> {
    let list = read(MANIFEST, contents.file(MANIFEST), &IMAGES)?;
    for image in list.root.items() {
        let path = text(image, "Config");
        let config = read(path, contents.file(path), &Kind::Object(CONFIG))?;
        let layers: Vec<_> = items(image, "Layers")
            .iter()
            .map(|path| (path.as_str().unwrap_or_default(), Value::as_str(path)))
            .map(|(path, found)| (path, found.and_then(|path| contents.file(path))))
            .collect();
        layers_are(&config, &layers)?;
    }
    Ok(())
}

/// From the index on, whatever a list names.
fn index(contents: &Contents) -> Result<(), Reason> {
    let mut left = vec![(INDEX.to_owned(), contents.file(INDEX))];
    let mut seen = BTreeSet::new();
    while let Some((name, file)) = left.pop() {
        if file.is_some_and(|file| !seen.insert(file.digest.clone())) {
            continue;
        }
        let listed = read(&name, file, &Kind::Object(LISTED))?.root;
        for key in ["manifests", "subject"] {
            for one in descriptors(&listed, key) {
                let (digest, file) = held(contents, one)?;
                left.push((digest.to_owned(), Some(file)));
            }
        }
        for key in ["config", "layers", "blobs"] {
            for one in descriptors(&listed, key) {
                held(contents, one)?;
                // What lists others is to be looked into where it is listed.
                let kind = text(one, "mediaType");
                if ["manifest", "index"].iter().any(|word| kind.contains(word)) {
                    return Err(refuse(&name, format!("must not have a `{kind}` in its `{key}`")));
                }
            }
        }
        if let Some(config) = descriptors(&listed, "config").first() {
            let (digest, file) = held(contents, config)?;
            let config = read(digest, Some(file), &Kind::Object(CONFIG))?;
            let mut layers = Vec::new();
            for one in items(&listed, "layers") {
                let (digest, file) = held(contents, one)?;
                layers.push((digest, Some(file)));
            }
            layers_are(&config, &layers)?;
        }
    }
    Ok(())
}

/// Each of them is what the config says. An engine takes none that are more or fewer, and finds those that it has by these.
fn layers_are(config: &Doc, layers: &[(&str, Option<&FileContent>)]) -> Result<(), Reason> {
    let wanted = config.root.get("rootfs").map(|root| items(root, "diff_ids")).unwrap_or_default();
    let mut layers = layers.iter();
    for diff in wanted {
        let diff = diff.as_str().unwrap_or_default();
        let (name, file) = layers.next().copied().unwrap_or((diff, None));
        let is_it = file.is_some_and(|file| sha256(diff) == Some(&file.unpacked));
        if !is_it {
            let why = format!("must be the layer `{diff}`, plain or packed with gzip");
            return Err(refuse(name, why));
        }
    }
    match layers.next() {
        Some((name, _)) => Err(refuse(name, "is a layer that its config does not have".to_owned())),
        None => Ok(()),
    }
}

fn held<'c, 'v>(
    contents: &'c Contents,
    descriptor: &'v Value,
) -> Result<(&'v str, &'c FileContent), Reason> {
    let digest = text(descriptor, "digest");
    let file = sha256(digest).and_then(|digits| contents.by_digest(digits));
    let file = file.ok_or_else(|| {
        let hint = "of an image for several platforms save one: `docker save --platform`";
        let why = "is named in the archive and not in it".to_owned();
        Reason { hint: hint.into(), ..refuse(digest, why) }
    })?;
    Ok((digest, file))
}

fn read(name: &str, file: Option<&FileContent>, kind: &Kind) -> Result<Doc, Reason> {
    let document = file.and_then(|file| file.document.as_deref());
    let document =
        document.ok_or_else(|| refuse(name, "must be a document in the archive".to_owned()))?;
    doc::parse(document, kind).map_err(|error| refuse(name, error.to_string()))
}

/// Of a list, or the one.
fn descriptors<'v>(listed: &'v Value, key: &str) -> Vec<&'v Value> {
    match listed.get(key) {
        Some(Value::List(all)) => all.iter().collect(),
        Some(one @ Value::Object(_)) => vec![one],
        _ => Vec::new(),
    }
}

fn items<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).map(Value::items).unwrap_or_default()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests;
