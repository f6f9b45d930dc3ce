//! Where an image keeps the certificates that its programs trust, and what a policy wants put there.
//!
//! `gateway::layouts` finds a `Layout` out (`Question::Layout`), `gateway::install` does what is wanted (`Deed::Install`,
//! `Deed::Uninstall`). What must stay true: paths are resolved, from the root and without `.` and `..`; what is put is
//! named here and nowhere else, so that answers can be cleaned of just that.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Of a root, in the folder of anchors: one name for all generations, so that the next one overwrites it.
pub const ANCHOR: &str = "dockgate.crt";

/// What an image has of these. Nothing at all where no program in it could trust anybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// All root certificates in one file, as PEM.
    pub bundles: Vec<TrustFile>,
    /// The folder whose certificates go into the bundles whenever these are made anew. It need not be there yet.
    pub anchors: Option<String>,
    /// Those of its folders that are not there, the outermost first: they come with the first file.
    pub made: Vec<String>,
    /// The folder in which OpenSSL looks a root up by the hash of its name.
    pub hashed: Option<String>,
    /// Java's.
    pub keystores: Vec<TrustFile>,
    /// Whether `/etc/apt/apt.conf.d` is there.
    pub apt: bool,
    /// The bundle that variables of the environment should name, as the image itself calls it.
    pub bundle_path: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct TrustFile {
    pub path: String,
    /// Permissions only.
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    /// Seconds since 1970.
    pub mtime: u64,
    /// As the image has it.
    pub content: Arc<[u8]>,
}

/// A root certificate that is to be trusted in a container, or not any more.
#[derive(Clone, PartialEq, Eq)]
pub struct WantedInstall {
    pub container: String,
    /// Of its image.
    pub layout: Arc<Layout>,
    /// It was made by this call and has never run: its files are the image's. Else they are looked at first.
    pub is_new: bool,
    /// Bundles that the user's own environment names. What is no file with certificates is left alone.
    pub extra: Vec<String>,
    /// Where something is mounted: nothing is written there or below.
    pub avoid: Vec<String>,
    pub root_pem: Arc<str>,
    pub root_der: Arc<[u8]>,
    /// The authority's.
    pub generation: String,
    /// Further files, by their paths: everybody may read them.
    pub files: Vec<(String, Arc<[u8]>)>,
}

impl Layout {
    /// Whether nothing would be put.
    pub fn is_empty(&self) -> bool {
        self.bundles.is_empty() && self.keystores.is_empty() && self.anchors.is_none()
    }
}

impl WantedInstall {
    /// The anchor's path.
    pub fn anchor(&self) -> Option<String> {
        let path = format!("{}/{ANCHOR}", self.layout.anchors.as_deref()?);
        self.may_write(&path).then_some(path)
    }

    pub fn may_write(&self, path: &str) -> bool {
        !self.avoid.iter().any(|avoid| is_at_or_below(path, avoid))
    }
}

/// The paths of all files that an install changes or makes, and of the folders that it makes.
pub fn paths_put(wanted: &WantedInstall, subject_hash: Option<&str>) -> BTreeSet<String> {
    let WantedInstall { layout, extra, files, .. } = wanted;
    let trusted = layout.bundles.iter().chain(&layout.keystores).map(|file| file.path.clone());
    let hashed = subject_hash.zip(layout.hashed.as_ref());
    trusted
        .chain(wanted.anchor())
        .chain(layout.made.iter().cloned())
        .chain(hashed.map(|(hash, folder)| format!("{folder}/{hash}.0")))
        .chain(extra.iter().cloned())
        .chain(files.iter().map(|(path, _)| path.clone()))
        .filter(|path| wanted.may_write(path))
        .collect()
}

/// Whether a path is this one or below it, both resolved.
pub fn is_at_or_below(path: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Contents are large.
impl fmt::Debug for TrustFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TrustFile { path, mode, uid, gid, content, .. } = self;
        write!(f, "TrustFile({path}, {mode:o}, {uid}:{gid}, {} bytes)", content.len())
    }
}

impl fmt::Debug for WantedInstall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WantedInstall({} in {}, {:?})", self.generation, self.container, self.layout)
    }
}
