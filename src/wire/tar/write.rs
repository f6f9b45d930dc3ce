//! A small archive: folders and links that are root's, and files, in the form of POSIX.1-1988 (ustar).
//!
//! `engine::change` and `gateway::install` make them. What must stay true: what cannot be said in this form is said not at all, and `end` says so.

use super::single::TarFile;
use super::{BLOCK, padding};

/// Of a name, and of what a link leads to: longer ones need extensions.
const MOST_NAME: usize = 100;
/// Of the folders in front of a name.
const MOST_PREFIX: usize = 155;
/// Seven octal digits.
const MOST_ID: u64 = 0o777_7777;
/// Eleven of them.
const MOST_LONG: u64 = 1 << 33;

#[derive(Debug, Default)]
pub struct TarWriter {
    bytes: Vec<u8>,
    is_too_long: bool,
}

/// What is said of an entry beside its names; numbers are 0 where nothing is.
#[derive(Clone, Copy, Default)]
struct UstarHeader {
    kind: u8,
    mode: u32,
    uid: u64,
    gid: u64,
    mtime: u64,
    size: u64,
}

impl TarWriter {
    /// A folder that everybody may look into.
    pub fn folder(&mut self, path: &str) {
        let name = format!("{}/", path.trim_matches('/'));
        self.short(&name, "", UstarHeader { kind: b'5', mode: 0o755, ..UstarHeader::default() });
    }

    pub fn link(&mut self, path: &str, to: &str) {
        let header = UstarHeader { kind: b'2', mode: 0o777, ..UstarHeader::default() };
        self.short(path.trim_start_matches('/'), to, header);
    }

    /// Whether it could be said: else nothing of it is there.
    pub fn file(&mut self, path: &str, file: &TarFile) -> bool {
        let TarFile { mode, uid, gid, mtime, content } = file;
        let (mode, uid, gid, mtime) = (*mode, *uid, *gid, *mtime);
        let (Some((prefix, name)), Ok(size)) =
            (split(path.trim_start_matches('/')), u64::try_from(content.len()))
        else {
            return false;
        };
        if uid > MOST_ID || gid > MOST_ID || mtime >= MOST_LONG || size >= MOST_LONG {
            return false;
        }
        self.entry(prefix, name, "", UstarHeader { kind: b'0', mode, uid, gid, mtime, size });
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len() + padding(content.len()), 0);
        true
    }

    /// Of what has been written.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The archive; none where a path was too long for it.
    pub fn end(mut self) -> Option<Vec<u8>> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        (!self.is_too_long).then_some(self.bytes)
    }

    fn short(&mut self, name: &str, link: &str, header: UstarHeader) {
        if name.len() > MOST_NAME || link.len() > MOST_NAME {
            self.is_too_long = true;
            return;
        }
        self.entry("", name, link, header);
    }

    fn entry(&mut self, prefix: &str, name: &str, link: &str, header: UstarHeader) {
        let UstarHeader { kind, mode, uid, gid, mtime, size } = header;
        let mut head = [0; BLOCK];
        let mut put = |at: usize, text: &[u8]| {
            if let Some(place) = head.get_mut(at..at + text.len()) {
                place.copy_from_slice(text);
            }
        };
        put(0, name.as_bytes());
        put(100, format!("{mode:07o}").as_bytes());
        put(108, format!("{uid:07o}").as_bytes());
        put(116, format!("{gid:07o}").as_bytes());
        put(124, format!("{size:011o}").as_bytes());
        put(136, format!("{mtime:011o}").as_bytes());
        put(148, b"        ");
        put(156, &[kind]);
        put(157, link.as_bytes());
        put(257, b"ustar\x0000");
        put(345, prefix.as_bytes());
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        if let Some(place) = head.get_mut(148..155) {
            place.copy_from_slice(format!("{sum:06o}\0").as_bytes());
        }
        self.bytes.extend_from_slice(&head);
    }
}

/// A path as prefix and name.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= MOST_NAME {
        return Some(("", path));
    }
    let fits = |(prefix, name): &(&str, &str)| {
        prefix.len() <= MOST_PREFIX && !name.is_empty() && name.len() <= MOST_NAME
    };
    path.match_indices('/')
        .filter_map(|(at, _)| Some((path.get(..at)?, path.get(at + 1..)?)))
        .find(fits)
}

#[cfg(test)]
mod tests {
    use super::super::{Archive, EntryKind, TarEntry};
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let mut tar = TarWriter::default();
        tar.folder("/var/run");
        tar.link("/var/run/docker.sock", "/run/dockgate/docker.sock");
        let bytes = tar.end().unwrap();
        let mut entries: Vec<TarEntry> = Vec::new();
        let mut archive = Archive::default();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (taken, entry) = archive.take(rest).unwrap();
            entries.extend(entry);
            rest = &rest[taken..];
        }
        let told: Vec<_> =
            entries.iter().map(|one| (&one.path[..], one.kind, &one.link[..])).collect();
        assert_eq!(
            told,
            [
                (&b"var/run/"[..], EntryKind::Directory, &b""[..]),
                (b"var/run/docker.sock", EntryKind::Symlink, b"/run/dockgate/docker.sock"),
            ]
        );
    }

    #[test]
    fn a_long_path_is_one_in_two_parts() {
        let file = TarFile { mode: 0o644, uid: 0, gid: 0, mtime: 0, content: b"x".to_vec() };
        let long = format!("/{}/{}", "a".repeat(60), "b".repeat(60));
        let mut tar = TarWriter::default();
        assert!(tar.file(&long, &file));
        assert!(!tar.file(&format!("/{}", "c".repeat(101)), &file));
        let bytes = tar.end().unwrap();
        let entries = Archive::default().push(&bytes).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].path, long.as_bytes()[1..]);
    }

    #[test]
    fn a_path_that_is_too_long_is_none() {
        let mut tar = TarWriter::default();
        tar.link(&"/x".repeat(60), "/y");
        assert_eq!(tar.end(), None);
    }
}
