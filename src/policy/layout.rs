//! Where an image keeps the certificates that its programs trust, and what a policy wants put there.
//!
//! `gateway::layouts` finds a `Layout` out (`Question::Layout`), `gateway::install` does what is wanted (`Deed::Install`,
//! `Deed::Uninstall`). What must stay true: paths are resolved, from the root and without `.` and `..`; what is put is
//! named here and nowhere else, so that answers can be cleaned of just that.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::trusted::TrustAnchor;

/// Of a root, in the folder of anchors: one name for all generations, so that the next one overwrites it.
const ANCHOR: &str = "dockgate.crt";
/// Where there is no such folder.
const IN_HASHED: &str = "dockgate.pem";
/// Of a container that lives through many roots, whose links cannot be removed.
const MOST_PAST: usize = 512;

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
    /// The newest last. Programs that have read the files before there was that one still trust the one before.
    pub roots: Vec<Arc<TrustAnchor>>,
    /// Of roots that were in it before: by these OpenSSL would still find links of ours, which lead to nothing of theirs.
    pub past: Vec<String>,
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
    /// Where the root is by itself: among the anchors, or where OpenSSL looks for it.
    pub fn home(&self) -> Option<String> {
        let anchor = self.layout.anchors.as_ref().map(|folder| format!("{folder}/{ANCHOR}"));
        anchor.filter(|path| self.may_write(path)).or_else(|| self.beside_hashes())
    }

    /// In the folder of hashes; where there are anchors, a tool of the image's may put a link there.
    pub fn beside_hashes(&self) -> Option<String> {
        let path = format!("{}/{IN_HASHED}", self.layout.hashed.as_ref()?);
        self.may_write(&path).then_some(path)
    }

    /// The links by which OpenSSL finds them.
    pub fn hashed_links(&self) -> Vec<String> {
        let hashes = self.roots.iter().filter_map(|root| root.subject_hash.as_deref());
        self.links_of(hashes)
    }

    /// Those, and all that there have been.
    pub fn all_links(&self) -> Vec<String> {
        let mut links = self.hashed_links();
        links.extend(self.links_of(self.past.iter().map(String::as_str)));
        links
    }

    fn links_of<'h>(&self, hashes: impl Iterator<Item = &'h str>) -> Vec<String> {
        let Some(folder) = &self.layout.hashed else { return Vec::new() };
        let links = hashes.map(|hash| format!("{folder}/{hash}.0"));
        links.filter(|link| self.may_write(link)).collect()
    }

    /// The same with a newer root, and with the one before it for who knows no other.
    pub fn with_newer(&self, newest: Arc<TrustAnchor>) -> WantedInstall {
        let mut roots = self.roots.clone();
        let mut past = self.past.clone();
        let old = roots.len().saturating_sub(1);
        past.extend(roots.drain(..old).filter_map(|root| root.subject_hash.clone()));
        past.drain(..past.len().saturating_sub(MOST_PAST));
        roots.push(newest);
        WantedInstall { roots, past, is_new: false, ..self.clone() }
    }

    /// Whether any program in the container could trust the root by it; where there is no store yet, one that is made later.
    pub fn has_place(&self) -> bool {
        let Layout { bundles, keystores, .. } = &*self.layout;
        let mut stores = bundles.iter().chain(keystores);
        stores.any(|file| self.may_write(&file.path))
            || !self.extra.is_empty()
            || (bundles.is_empty() && self.home().is_some())
    }

    pub fn may_write(&self, path: &str) -> bool {
        !self.avoid.iter().any(|avoid| is_at_or_below(path, avoid))
    }
}

/// The paths of all files that an install changes or makes, and of the folders that it makes.
pub fn paths_put(wanted: &WantedInstall) -> BTreeSet<String> {
    let WantedInstall { layout, extra, files, .. } = wanted;
    let trusted = layout.bundles.iter().chain(&layout.keystores).map(|file| file.path.clone());
    let others = extra.iter().chain(files.iter().map(|(path, _)| path)).cloned();
    let mut paths: BTreeSet<String> =
        trusted.chain(others).filter(|path| wanted.may_write(path)).collect();
    if let Some(home) = wanted.home() {
        // They come with the first file.
        paths.extend(layout.made.iter().filter(|folder| is_at_or_below(&home, folder)).cloned());
        paths.insert(home);
        paths.extend(wanted.all_links());
    }
    paths
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
        let roots: Vec<&str> = self.roots.iter().map(|root| root.generation.as_str()).collect();
        write!(f, "WantedInstall({roots:?} in {}, {:?})", self.container, self.layout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> TrustFile {
        let content = Arc::from(&b"x"[..]);
        TrustFile { path: path.to_owned(), mode: 0o644, uid: 0, gid: 0, mtime: 0, content }
    }

    fn wanted(layout: Layout, avoid: &[&str]) -> WantedInstall {
        WantedInstall {
            container: "c".to_owned(),
            layout: Arc::new(layout),
            is_new: true,
            extra: vec!["/own.pem".to_owned()],
            avoid: avoid.iter().map(|path| (*path).to_owned()).collect(),
            roots: vec![root("g", "0a")],
            past: Vec::new(),
            files: vec![("/etc/apt/apt.conf.d/99dockgate".to_owned(), Arc::from(&b""[..]))],
        }
    }

    fn root(generation: &str, hash: &str) -> Arc<TrustAnchor> {
        Arc::new(TrustAnchor {
            generation: generation.to_owned(),
            pem: "".into(),
            der: Arc::from(&b""[..]),
            subject_hash: Some(hash.to_owned()),
        })
    }

    #[test]
    fn two_roots_are_in_it_at_a_time_and_all_links_are_known() {
        let layout = Layout { hashed: Some("/h".to_owned()), ..Layout::default() };
        let first = wanted(layout, &[]);
        let second = first.with_newer(root("h", "0b"));
        assert!(!second.is_new);
        assert_eq!(second.hashed_links(), ["/h/0a.0", "/h/0b.0"]);
        let third = second.with_newer(root("i", "0c"));
        assert_eq!(third.hashed_links(), ["/h/0b.0", "/h/0c.0"]);
        assert_eq!(third.all_links(), ["/h/0b.0", "/h/0c.0", "/h/0a.0"]);
        assert!(paths_put(&third).contains("/h/0a.0"), "it is cleaned away with the others");
        let many = (0..2 * MOST_PAST).fold(third, |held, _| held.with_newer(root("j", "0d")));
        assert_eq!(many.past.len(), MOST_PAST);
    }

    #[test]
    fn what_is_put_is_named_but_for_what_is_avoided() {
        let layout = Layout {
            bundles: vec![file("/etc/ssl/certs/ca-certificates.crt")],
            anchors: Some("/usr/local/share/ca-certificates".to_owned()),
            made: vec!["/usr/local/share/ca-certificates".to_owned()],
            hashed: Some("/etc/ssl/certs".to_owned()),
            keystores: vec![file("/java/cacerts")],
            ..Layout::default()
        };
        let all = paths_put(&wanted(layout.clone(), &[]));
        let told: Vec<&str> = all.iter().map(String::as_str).collect();
        let expected = [
            "/etc/apt/apt.conf.d/99dockgate",
            "/etc/ssl/certs/0a.0",
            "/etc/ssl/certs/ca-certificates.crt",
            "/java/cacerts",
            "/own.pem",
            "/usr/local/share/ca-certificates",
            "/usr/local/share/ca-certificates/dockgate.crt",
        ];
        assert_eq!(told, expected);
        let avoid = ["/etc", "/java/", "/own.pem", "/usr/local/share"];
        assert!(paths_put(&wanted(layout.clone(), &avoid)).is_empty());
        let some = paths_put(&wanted(layout, &["/usr/local", "/etc/apt", "/etc/ssl/certs/0a.0"]));
        let expected = [
            "/etc/ssl/certs/ca-certificates.crt",
            "/etc/ssl/certs/dockgate.pem",
            "/java/cacerts",
            "/own.pem",
        ];
        assert_eq!(some.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn below_a_folder_is_not_beside_it() {
        assert!(
            is_at_or_below("/etc/ssl", "/etc/ssl/") && is_at_or_below("/etc/ssl/a", "/etc/ssl")
        );
        assert!(is_at_or_below("/etc", "/"), "all is below the root");
        assert!(!is_at_or_below("/etc/ssl2", "/etc/ssl") && !is_at_or_below("/etc", "/etc/ssl"));
    }
}
