//! The archives that put a root certificate into a container, and take it out: values in, bytes out.
//!
//! What must stay true: plain files and links under their full names, and never a folder: an entry for one would replace
//! a link of that name. What cannot be removed (an archive only adds) becomes what nobody reads: a link to `/dev/null`
//! where a certificate was, which `update-ca-certificates` and OpenSSL pass over, an empty file elsewhere.

use std::collections::BTreeSet;
use std::time::SystemTime;

use super::pem;
use crate::ca::trust::{bundle, keystore};
use crate::policy::layout::{Layout, TrustFile, WantedInstall};
use crate::wire::tar::{TarFile, TarWriter};

/// Of one archive: more is not what any image trusts.
const MOST: usize = 48 << 20;
/// In key stores: the newest root, and the one before it. The same names for all generations, so that the next ones take their
/// places.
const ENTRIES: [&str; 2] = ["root", "root-before"];
const NOWHERE: &str = "/dev/null";

/// What is put in.
pub(super) struct Put<'a> {
    wanted: &'a WantedInstall,
    writer: Writer,
}

/// What is put back.
pub(super) struct Undo<'a> {
    wanted: &'a WantedInstall,
    /// As the image has it.
    image: &'a Layout,
    /// Ours, as DER.
    roots: Vec<Vec<u8>>,
    /// Where one of ours stays.
    left: Vec<String>,
    writer: Writer,
}

/// Each path once.
#[derive(Default)]
struct Writer {
    tar: TarWriter,
    paths: BTreeSet<String>,
}

impl<'a> Put<'a> {
    pub(super) fn new(wanted: &'a WantedInstall) -> Put<'a> {
        Put { wanted, writer: Writer::default() }
    }

    pub(super) fn bundle(&mut self, file: &TrustFile) {
        if self.wanted.may_write(&file.path) {
            // Those of earlier generations go.
            let without = bundle::without_roots(&file.content);
            self.writer.trust_file(file, self.with_roots(without));
        }
    }

    /// One that cannot be read is left as it is.
    pub(super) fn keystore(&mut self, file: &TrustFile) {
        if !self.wanted.may_write(&file.path) {
            return;
        }
        let now = SystemTime::now();
        let mut roots = self.wanted.roots.iter().rev().zip(ENTRIES);
        let content = roots.try_fold(file.content.to_vec(), |content, (root, id)| {
            keystore::with_root(&content, id, &root.der, now)
        });
        match content {
            Ok(content) => self.writer.trust_file(file, content),
            Err(why) => tracing::debug!(path = file.path, %why, "a key store is left alone"),
        }
    }

    /// What the container has not: the root by itself, where it is found by its hash, and what else is wanted.
    pub(super) fn own_files(&mut self) {
        let wanted = self.wanted;
        if let Some(home) = wanted.home() {
            self.writer.file(&home, &readable(self.with_roots(Vec::new())));
            for link in wanted.hashed_links() {
                self.writer.link(&link, &home);
            }
        }
        for (path, content) in &wanted.files {
            if wanted.may_write(path) {
                self.writer.file(path, &readable(content.to_vec()));
            }
        }
    }

    fn with_roots(&self, content: Vec<u8>) -> Vec<u8> {
        let roots = self.wanted.roots.iter();
        roots.fold(content, |content, root| bundle::with_root(&content, &root.pem))
    }

    pub(super) fn end(self) -> Result<Option<Vec<u8>>, String> {
        self.writer.end()
    }
}

impl<'a> Undo<'a> {
    pub(super) fn new(wanted: &'a WantedInstall, image: &'a Layout) -> Undo<'a> {
        let roots = wanted.roots.iter().map(|root| root.der.to_vec()).collect();
        Undo { wanted, image, roots, left: Vec::new(), writer: Writer::default() }
    }

    /// Those of an anchor of ours are ours, too.
    pub(super) fn also(&mut self, anchor: &[u8]) {
        self.roots.extend(pem::certificates(anchor));
    }

    pub(super) fn bundle(&mut self, file: &TrustFile) {
        // A tool that has made the bundle anew may have dropped the marks around it.
        let content = pem::without(&bundle::without_roots(&file.content), &self.roots);
        if content != *file.content && self.wanted.may_write(&file.path) {
            self.writer.trust_file(file, content);
        }
    }

    /// What a job has changed in it itself goes with ours. One that the image has not is left.
    pub(super) fn keystore(&mut self, file: &TrustFile) {
        let has = |root: &Vec<u8>| memchr::memmem::find(&file.content, root).is_some();
        if !self.roots.iter().any(has) || !self.wanted.may_write(&file.path) {
            return;
        }
        match self.image.keystores.iter().find(|other| other.path == file.path) {
            Some(original) => self.writer.trust_file(original, original.content.to_vec()),
            None => self.left.push(file.path.clone()),
        }
    }

    /// Where files and links of ours may be, that are no program's own.
    pub(super) fn links(&self) -> Vec<String> {
        let files = [self.wanted.home(), self.wanted.beside_hashes()];
        let mut paths: BTreeSet<String> = files.into_iter().flatten().collect();
        paths.extend(self.wanted.all_links());
        paths.into_iter().collect()
    }

    pub(super) fn hide(&mut self, path: &str) {
        self.writer.link(path, NOWHERE);
    }

    pub(super) fn empty(&mut self, path: &str) {
        if self.wanted.may_write(path) {
            self.writer.file(path, &readable(Vec::new()));
        }
    }

    /// The archive, and where something of ours stays.
    pub(super) fn end(self) -> (Vec<String>, Result<Option<Vec<u8>>, String>) {
        (self.left, self.writer.end())
    }
}

impl Writer {
    fn trust_file(&mut self, file: &TrustFile, content: Vec<u8>) {
        let TrustFile { path, mode, uid, gid, mtime, .. } = file;
        let (mode, uid, gid, mtime) = (*mode, *uid, *gid, *mtime);
        self.file(path, &TarFile { mode, uid, gid, mtime, content });
    }

    fn file(&mut self, path: &str, file: &TarFile) {
        if self.paths.insert(path.to_owned()) && !self.tar.file(path, file) {
            tracing::debug!(path, "no archive can hold it");
        }
    }

    fn link(&mut self, path: &str, to: &str) {
        if self.paths.insert(path.to_owned()) {
            self.tar.link(path, to);
        }
    }

    /// None where there is nothing to be done.
    fn end(self) -> Result<Option<Vec<u8>>, String> {
        match self.tar.len() {
            0 => Ok(None),
            length if length > MOST => Err("that is too much".to_owned()),
            _ => self.tar.end().map(Some).ok_or_else(|| "a path is too long".to_owned()),
        }
    }
}

/// Root's, and for everybody to read.
fn readable(content: Vec<u8>) -> TarFile {
    TarFile { mode: 0o644, uid: 0, gid: 0, mtime: 0, content }
}
