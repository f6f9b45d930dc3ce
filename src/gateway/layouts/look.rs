//! Looks into a container for the certificates that its programs trust.
//!
//! `layouts` does it in one that is made for it, `install` in one that has run. What must stay true: nothing is run in it,
//! so that images without a shell are as good as others; every path is resolved part by part, and the engine resolves
//! links within the container's own root; what is asked is bounded, in number and in bytes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::api::endpoint::Minor;
use crate::engine::{Engine, FileError, PathKind};
use crate::policy::layout::{Layout, TrustFile};
use crate::wire::tar::TarFile;
use crate::wire::trail::Trail;

/// Of a file with certificates; BuildKit takes no larger ones either.
pub(in super::super) const MOST_FILE: usize = 10 << 20;
/// Of all of them.
const MOST_BYTES: usize = 32 << 20;
const MOST_LINKS: usize = 16;
const MOST_PATH: usize = 1024;
/// Of one container.
const MOST_ASKED: usize = 512;

/// Files with all roots, as the distributions call them. The first that is there is what variables should name.
const BUNDLES: &[&str] = &[
    // Debian, Ubuntu, Alpine, Arch, distroless
    "/etc/ssl/certs/ca-certificates.crt",
    // Fedora and kin
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    // openSUSE
    "/etc/ssl/ca-bundle.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
    // Arch
    "/etc/ca-certificates/extracted/tls-ca-bundle.pem",
    // what OpenSSL reads where it was told nothing: Alpine, Fedora, Debian, and one that was built by hand
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/cacert.pem",
    "/usr/lib/ssl/cert.pem",
    "/usr/local/ssl/cert.pem",
    // names that programs try beside these
    "/etc/ssl/certs/ca-bundle.crt",
];

/// Folders of anchors: those of the system's own tools. The first that is there.
const ANCHORS: &[&str] = &[
    "/etc/pki/ca-trust/source/anchors",
    "/etc/pki/trust/anchors",
    "/etc/ca-certificates/trust-source/anchors",
    "/usr/local/share/ca-certificates",
];
/// Where these are, and no folder of anchors, `ca-certificates` may be installed later, which looks there.
const PACKAGED: &[(&str, &str)] = &[
    ("/etc/apt", "/usr/local/share/ca-certificates"),
    ("/etc/apk", "/usr/local/share/ca-certificates"),
];

const HASHED: &[&str] = &["/etc/ssl/certs", "/etc/pki/tls/certs"];

const APT: &str = "/etc/apt/apt.conf.d";

const KEYSTORES: &[&str] = &[
    // what the distributions make of their anchors
    "/etc/ssl/certs/java/cacerts",
    "/etc/pki/ca-trust/extracted/java/cacerts",
    "/etc/pki/java/cacerts",
    "/var/lib/ca-certificates/java-cacerts",
    "/etc/ca-certificates/extracted/java-cacerts.jks",
    // where images that people start from have Java
    "/opt/java/openjdk/lib/security/cacerts",
    "/opt/java/openjdk/jre/lib/security/cacerts",
    "/usr/lib/jvm/default-java/lib/security/cacerts",
    "/usr/lib/jvm/default-jvm/lib/security/cacerts",
    "/usr/lib/jvm/default-jvm/jre/lib/security/cacerts",
    "/usr/lib/jvm/default/lib/security/cacerts",
    "/usr/lib/jvm/java/lib/security/cacerts",
    "/usr/lib/jvm/jre/lib/security/cacerts",
];
/// Below `JAVA_HOME`; the second until Java 8.
const BELOW_HOME: &[&str] = &["lib/security/cacerts", "jre/lib/security/cacerts"];

/// One container, and what is known of it.
pub(in super::super) struct Looking<'a> {
    engine: &'a Engine,
    version: Minor,
    container: &'a str,
    trail: &'a Trail,
    seen: HashMap<String, Option<PathKind>>,
    read: usize,
}

/// Where a path leads.
struct Resolved {
    path: String,
    /// None where there is nothing.
    kind: Option<PathKind>,
    /// Folders above it that are not there, the outermost first.
    missing: Vec<String>,
}

impl<'a> Looking<'a> {
    pub(in super::super) fn new(
        engine: &'a Engine,
        version: Minor,
        container: &'a str,
        trail: &'a Trail,
    ) -> Looking<'a> {
        Looking { engine, version, container, trail, seen: HashMap::new(), read: 0 }
    }

    /// All that there is, with key stores that are known from elsewhere.
    pub(in super::super) async fn layout(
        &mut self,
        java_home: Option<&str>,
        further: &[&str],
    ) -> Result<Layout, FileError> {
        let mut layout = Layout::default();
        for path in BUNDLES {
            let is_there = self.trust_file(path, &mut layout.bundles, is_pem).await?;
            if is_there && layout.bundle_path.is_none() {
                layout.bundle_path = Some((*path).to_owned());
            }
        }
        let home = |home: &str| BELOW_HOME.iter().map(|end| format!("{home}/{end}")).collect();
        let homes: Vec<String> = java_home.map(home).unwrap_or_default();
        let known = homes.iter().map(String::as_str).chain(KEYSTORES.iter().copied());
        for path in known.chain(further.iter().copied()) {
            self.trust_file(path, &mut layout.keystores, is_keystore).await?;
        }
        if let Some(anchors) = self.anchors().await? {
            (layout.anchors, layout.made) = (Some(anchors.path), anchors.missing);
        }
        if !layout.bundles.is_empty() {
            for path in HASHED {
                layout.hashed = self.folder(path).await?;
                if layout.hashed.is_some() {
                    break;
                }
            }
        }
        layout.apt = self.folder(APT).await?.is_some();
        Ok(layout)
    }

    /// A bundle by a path of somebody's own.
    pub(in super::super) async fn bundle(
        &mut self,
        path: &str,
        into: &mut Vec<TrustFile>,
    ) -> Result<(), FileError> {
        self.trust_file(path, into, is_pem).await.map(drop)
    }

    /// Where a path leads, whether something is there or not; none where it can lead nowhere.
    pub(in super::super) async fn place(
        &mut self,
        path: &str,
    ) -> Result<Option<String>, FileError> {
        Ok(self.resolve(path).await?.map(|found| found.path))
    }

    /// Whether something is by this path: a file, and not a link that is there in the place of one.
    pub(in super::super) async fn has_file(&mut self, path: &str) -> Result<bool, FileError> {
        Ok(matches!(self.kind(path).await?, Some(PathKind::File(_))))
    }

    pub(in super::super) async fn has_link(&mut self, path: &str) -> Result<bool, FileError> {
        Ok(matches!(self.kind(path).await?, Some(PathKind::Link(_))))
    }

    async fn anchors(&mut self) -> Result<Option<Resolved>, FileError> {
        for path in ANCHORS {
            let found = self.resolve(path).await?;
            if let Some(found) = found.filter(|found| found.kind == Some(PathKind::Folder)) {
                return Ok(Some(found));
            }
        }
        for (sign, anchors) in PACKAGED {
            if self.folder(sign).await?.is_none() {
                continue;
            }
            let found = self.resolve(anchors).await?.filter(|found| found.kind.is_none());
            return Ok(found.map(|mut found| {
                found.missing.push(found.path.clone());
                found
            }));
        }
        Ok(None)
    }

    /// Adds the file that a path leads to; whether it is there, and what it should be.
    async fn trust_file(
        &mut self,
        path: &str,
        into: &mut Vec<TrustFile>,
        is_one: fn(&[u8]) -> bool,
    ) -> Result<bool, FileError> {
        let Some(Resolved { path, kind: Some(PathKind::File(size)), .. }) =
            self.resolve(path).await?
        else {
            return Ok(false);
        };
        if into.iter().any(|other| other.path == path) {
            return Ok(true);
        }
        let most = MOST_FILE.min(MOST_BYTES.saturating_sub(self.read));
        if usize::try_from(size).map_or(true, |size| size > most) {
            return Ok(false);
        }
        let file = self.engine.file(self.version, self.container, &path, most, self.trail);
        // It may have grown meanwhile.
        let Some(file) = file.await?.filter(|file| file.content.len() <= most) else {
            return Ok(false);
        };
        let TarFile { mode, uid, gid, mtime, content } = file;
        self.read += content.len();
        if !is_one(&content) {
            return Ok(false);
        }
        // What is written by others must not become a program that runs as them.
        let (mode, content) = (mode & 0o777, Arc::from(content));
        into.push(TrustFile { path, mode, uid, gid, mtime, content });
        Ok(true)
    }

    /// A folder that is there, resolved.
    async fn folder(&mut self, path: &str) -> Result<Option<String>, FileError> {
        let found = self.resolve(path).await?;
        Ok(found.filter(|found| found.kind == Some(PathKind::Folder)).map(|found| found.path))
    }

    /// Follows a path part by part: none where it is no path, leads through a file, or in circles.
    async fn resolve(&mut self, path: &str) -> Result<Option<Resolved>, FileError> {
        let Some(parts) = parts(path) else { return Ok(None) };
        let mut left: VecDeque<String> = parts.map(str::to_owned).collect();
        let (mut at, mut links) = (String::new(), 0);
        let (mut kind, mut missing) = (Some(PathKind::Folder), Vec::new());
        while let Some(part) = left.pop_front() {
            match kind {
                Some(PathKind::Folder) => {}
                None => missing.push(at.clone()),
                Some(_) => return Ok(None),
            }
            let next = format!("{at}/{part}");
            if next.len() > MOST_PATH {
                return Ok(None);
            }
            kind = if kind.is_some() { self.kind(&next).await? } else { None };
            let Some(PathKind::Link(to)) = &kind else {
                at = next;
                continue;
            };
            links += 1;
            let Some(target) = parts_of_link(to).filter(|_| links <= MOST_LINKS) else {
                return Ok(None);
            };
            for part in target.rev() {
                left.push_front(part.to_owned());
            }
            (at, kind) = (String::new(), Some(PathKind::Folder));
        }
        Ok(Some(Resolved { path: at, kind, missing }))
    }

    async fn kind(&mut self, path: &str) -> Result<Option<PathKind>, FileError> {
        if let Some(known) = self.seen.get(path) {
            return Ok(known.clone());
        }
        if self.seen.len() >= MOST_ASKED {
            return Ok(None);
        }
        let kind = self.engine.path_kind(self.version, self.container, path, self.trail).await?;
        self.seen.insert(path.to_owned(), kind.clone());
        Ok(kind)
    }
}

/// Of a path from the root; none where there is none in it, or one that is no name.
fn parts(path: &str) -> Option<impl DoubleEndedIterator<Item = &str>> {
    let rest = path.strip_prefix('/').filter(|_| path.len() <= MOST_PATH)?;
    let is_name = |part: &str| part != ".." && part != "." && !part.contains(char::is_control);
    let mut names = rest.split('/').filter(|part| !part.is_empty());
    let is_path = names.clone().all(is_name) && names.next().is_some();
    is_path.then(|| rest.split('/').filter(|part| !part.is_empty()))
}

/// The same of what the engine has resolved, which may be the root.
fn parts_of_link(to: &str) -> Option<Box<dyn DoubleEndedIterator<Item = &str> + Send + '_>> {
    match to {
        "/" => Some(Box::new(std::iter::empty())),
        _ => Some(Box::new(parts(to)?.collect::<Vec<_>>().into_iter())),
    }
}

/// Certificates as text, or nothing yet.
fn is_pem(content: &[u8]) -> bool {
    content.is_empty() || memchr::memmem::find(content, b"-----BEGIN ").is_some()
}

/// JKS begins so, PKCS #12 as all of ASN.1 that is a sequence.
fn is_keystore(content: &[u8]) -> bool {
    content.starts_with(&[0xfe, 0xed, 0xfe, 0xed]) || content.first() == Some(&0x30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_names_from_the_root() {
        let read = |path| parts(path).map(|found| found.collect::<Vec<_>>());
        assert_eq!(read("/etc//ssl/"), Some(vec!["etc", "ssl"]));
        for bad in ["", "/", "etc", "/etc/../x", "/./x", "/a\nb", &format!("/{}", "a".repeat(2000))]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(parts_of_link("/").map(Iterator::count), Some(0));
        assert!(parts_of_link("../etc").is_none());
    }

    #[test]
    fn what_is_neither_certificates_nor_keys_is_none() {
        assert!(is_pem(b"") && is_pem(b"# a\n-----BEGIN CERTIFICATE-----\n"));
        assert!(!is_pem(b"\x7fELF") && !is_keystore(b"") && !is_keystore(b"-----BEGIN"));
        assert!(is_keystore(&[0xfe, 0xed, 0xfe, 0xed, 0]) && is_keystore(&[0x30, 0x82]));
    }
}
