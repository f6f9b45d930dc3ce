//! Which entry of a build's archive is its Dockerfile.
//!
//! `gateway::entries` shows it every entry before the engine has it. What must stay true: dockerd unpacks the archive and
//! opens the file by its name, following links (`remotecontext`, `chrootarchive.Untar`): so nothing may stand between
//! the name and the one entry that was judged, before it or behind it.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use crate::wire::tar::{EntryKind, TarEntry};

use super::MOST_BYTES;

/// Without `dockerfile=`; where there is none of it, dockerd takes the same in lower case.
const DEFAULT: &str = "Dockerfile";
/// Eight bytes each.
const MOST_LINKS: usize = 256 * 1024;

#[derive(Debug)]
pub struct DockerfileFinder {
    /// Paths in the archive, cleaned, any of which may be the one.
    paths: Vec<Vec<u8>>,
    found: Vec<usize>,
    /// Hashes of the paths that are symbolic links.
    links: HashSet<u64>,
    hashes: RandomState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    #[error("leads out of the context")]
    Outside,
    #[error("must be a plain file, and no link")]
    NoFile,
    #[error("is in the context twice")]
    Twice,
    #[error("is more than 1 MiB")]
    TooLarge,
    #[error("has an entry below a symbolic link, so that nobody can tell which file it is")]
    BelowLink,
    #[error("has more than {MOST_LINKS} symbolic links")]
    TooManyLinks,
}

impl ContextError {
    /// What is wrong.
    pub fn subject(self) -> &'static str {
        match self {
            ContextError::Outside
            | ContextError::NoFile
            | ContextError::Twice
            | ContextError::TooLarge => "the Dockerfile",
            ContextError::BelowLink | ContextError::TooManyLinks => "the context",
        }
    }
}

impl DockerfileFinder {
    /// `name` is the value of `dockerfile=`.
    pub fn new(name: &str) -> Result<DockerfileFinder, ContextError> {
        let name = if name.is_empty() { DEFAULT } else { name };
        let path = clean(name.as_bytes()).ok_or(ContextError::Outside)?;
        let mut paths = vec![path];
        if name == DEFAULT {
            paths.push(DEFAULT.to_ascii_lowercase().into_bytes());
        }
        let (found, links, hashes) = (Vec::new(), HashSet::new(), RandomState::new());
        Ok(DockerfileFinder { paths, found, links, hashes })
    }

    /// Whether this entry is the Dockerfile, or may become it.
    pub fn is_dockerfile(&mut self, entry: &TarEntry) -> Result<bool, ContextError> {
        // Of a name that leads out dockerd makes nothing but an error.
        let Some(path) = clean(&entry.path) else { return Ok(false) };
        // dockerd would follow the link, and write anywhere in the context.
        if !self.links.is_empty() {
            let mut above = ancestors(&path);
            if above.any(|above| self.links.contains(&self.hashes.hash_one(above))) {
                return Err(ContextError::BelowLink);
            }
        }
        if entry.kind == EntryKind::Symlink {
            if self.links.len() >= MOST_LINKS {
                return Err(ContextError::TooManyLinks);
            }
            self.links.insert(self.hashes.hash_one(path.as_slice()));
        }
        let is_above = |file: &Vec<u8>| ancestors(file).any(|above| above == path);
        if entry.kind != EntryKind::Directory && self.paths.iter().any(is_above) {
            return Err(ContextError::NoFile);
        }
        let Some(index) = self.paths.iter().position(|file| *file == path) else {
            return Ok(false);
        };
        if self.found.contains(&index) {
            return Err(ContextError::Twice);
        }
        if entry.kind != EntryKind::File {
            return Err(ContextError::NoFile);
        }
        if usize::try_from(entry.size).map_or(true, |size| size > MOST_BYTES) {
            return Err(ContextError::TooLarge);
        }
        self.found.push(index);
        Ok(true)
    }
}

/// The path as dockerd cleans it (`filepath.Clean` below the root): its parts and single slashes. None where it leads out.
fn clean(path: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

/// The folders that a cleaned path is in, without the root.
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.filter_map(|(at, _)| path.get(..at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: EntryKind) -> TarEntry {
        TarEntry { path: path.into(), kind, link: b"x".to_vec(), size: 1, is_size_in_front: false }
    }

    /// What comes of the last of these entries.
    fn last(name: &str, entries: &[(&str, EntryKind)]) -> Result<bool, ContextError> {
        let mut finder = DockerfileFinder::new(name)?;
        let mut result = Ok(false);
        for (path, kind) in entries {
            result = finder.is_dockerfile(&entry(path, *kind));
        }
        result
    }

    #[test]
    fn the_dockerfile_is_found_by_the_path_that_dockerd_opens() {
        use EntryKind::File;
        for (name, path) in [
            ("", "Dockerfile"),
            ("", "dockerfile"),
            ("Dockerfile", "./Dockerfile"),
            ("./a/../Dockerfile", "/Dockerfile"),
            ("/sub//x", "sub/./x"),
            ("x", "a/../x"),
        ] {
            assert_eq!(last(name, &[(path, File)]), Ok(true), "{name} {path}");
        }
        for (name, path) in
            [("", "DOCKERFILE"), ("", "a/Dockerfile"), ("x", "Dockerfile"), ("x", "../x")]
        {
            assert_eq!(last(name, &[(path, File)]), Ok(false), "{name} {path}");
        }
        assert_eq!(last("../x", &[]), Err(ContextError::Outside));
        assert_eq!(last("a/../../x", &[]), Err(ContextError::Outside));
    }

    #[test]
    fn nothing_stands_between_the_name_and_the_file() {
        use EntryKind::{Directory, File, HardLink, Symlink};
        let no_file = Err(ContextError::NoFile);
        assert_eq!(last("", &[("Dockerfile", Symlink)]), no_file);
        assert_eq!(last("", &[("Dockerfile", HardLink)]), no_file);
        assert_eq!(last("", &[("dockerfile", Directory)]), no_file);
        assert_eq!(last("a/b/x", &[("a/b", Symlink)]), no_file);
        assert_eq!(last("a/b/x", &[("a", File)]), no_file);
        assert_eq!(
            last("", &[("Dockerfile", File), ("./Dockerfile", File)]),
            Err(ContextError::Twice)
        );
        assert_eq!(
            last("", &[("Dockerfile", File), ("Dockerfile", Symlink)]),
            Err(ContextError::Twice)
        );
        for path in ["d/Dockerfile", "d/e/Dockerfile", "./d//x"] {
            assert_eq!(last("", &[("d", Symlink), (path, File)]), Err(ContextError::BelowLink));
        }
        assert_eq!(last("", &[("d", Symlink), ("dx/y", File)]), Ok(false));
        assert_eq!(last("a/x", &[("a", Directory), ("b", Symlink), ("a/x", File)]), Ok(true));
        let mut large = entry("Dockerfile", File);
        large.size = MOST_BYTES as u64 + 1;
        let found = DockerfileFinder::new("").unwrap().is_dockerfile(&large);
        assert_eq!(found, Err(ContextError::TooLarge));
    }
}
