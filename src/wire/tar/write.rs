//! A small archive: folders and links that are root's, in the form of POSIX.1-1988 (ustar).
//!
//! `engine::change` sends them. What must stay true: what cannot be said in this form is said not at all, and `end` says so.

const BLOCK: usize = 512;
/// Of a name, and of what a link leads to: longer ones need extensions.
const MOST_NAME: usize = 100;

#[derive(Debug, Default)]
pub struct TarWriter {
    bytes: Vec<u8>,
    is_too_long: bool,
}

impl TarWriter {
    /// A folder that everybody may look into.
    pub fn folder(&mut self, path: &str) {
        self.entry(&format!("{}/", path.trim_matches('/')), b'5', 0o755, "");
    }

    pub fn link(&mut self, path: &str, to: &str) {
        self.entry(path.trim_start_matches('/'), b'2', 0o777, to);
    }

    /// The archive; none where a path was too long for it.
    pub fn end(mut self) -> Option<Vec<u8>> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        (!self.is_too_long).then_some(self.bytes)
    }

    fn entry(&mut self, name: &str, kind: u8, mode: u32, link: &str) {
        if name.len() > MOST_NAME || link.len() > MOST_NAME {
            self.is_too_long = true;
            return;
        }
        let mut head = [0; BLOCK];
        let mut put = |at: usize, text: &[u8]| {
            if let Some(place) = head.get_mut(at..at + text.len()) {
                place.copy_from_slice(text);
            }
        };
        put(0, name.as_bytes());
        put(100, format!("{mode:07o}").as_bytes());
        // User, group, size and time are 0.
        put(108, b"0000000");
        put(116, b"0000000");
        put(124, b"00000000000");
        put(136, b"00000000000");
        put(148, b"        ");
        put(156, &[kind]);
        put(157, link.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        if let Some(place) = head.get_mut(148..155) {
            place.copy_from_slice(format!("{sum:06o}\0").as_bytes());
        }
        self.bytes.extend_from_slice(&head);
    }
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
    fn a_path_that_is_too_long_is_none() {
        let mut tar = TarWriter::default();
        tar.link(&"/x".repeat(60), "/y");
        assert_eq!(tar.end(), None);
    }
}
