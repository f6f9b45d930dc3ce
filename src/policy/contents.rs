//! What an archive of images holds, counted up on its way.
//!
//! `gateway::files` fills it in, and policies judge by it before the end of the archive goes on. What must stay true: a path
//! is here once, as the engine would find it; a digest is that of all its bytes.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::grammar::path::cleaned;

/// In one archive: an image has 127 layers at most.
const MOST_FILES: usize = 16_384;
/// Of a path. Docker's are of 80 bytes.
const MOST_PATH: usize = 256;

#[derive(Debug, Default)]
pub struct Contents {
    files: BTreeMap<String, FileContent>,
    /// What a link stands for.
    links: BTreeMap<String, String>,
    /// Those that are said, and those that files and links are in.
    folders: BTreeSet<String>,
    /// The path of one that has this digest.
    digests: BTreeMap<String, String>,
}

#[derive(Debug)]
pub struct FileContent {
    /// SHA-256, in hexadecimal digits.
    pub digest: String,
    /// The same of what is in it, where it is packed.
    pub unpacked: String,
    /// What may be read as JSON.
    pub document: Option<Vec<u8>>,
}

impl Contents {
    pub fn add(&mut self, path: &[u8], file: FileContent) -> Result<(), &'static str> {
        let path = self.fresh(path)?;
        self.digests.entry(file.digest.clone()).or_insert_with(|| path.clone());
        self.files.insert(path, file);
        Ok(())
    }

    pub fn link(&mut self, path: &[u8], to: &[u8]) -> Result<(), &'static str> {
        let path = self.fresh(path)?;
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let to = join(&cleaned(&format!("{folder}/{}", String::from_utf8_lossy(to))));
        self.links.insert(path, to);
        Ok(())
    }

    pub fn folder(&mut self, path: &[u8]) -> Result<(), &'static str> {
        let path = plain(path)?;
        self.enter(&path)?;
        self.folders.insert(path);
        Ok(())
    }

    /// A link to what is no file here.
    pub fn dangling(&self) -> Option<&str> {
        let is_one = |(_, to): &(&String, &String)| !self.files.contains_key(*to);
        self.links.iter().find(is_one).map(|(path, _)| path.as_str())
    }

    pub fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// What is by this path, or by one link from it.
    pub fn file(&self, path: &str) -> Option<&FileContent> {
        let path = join(&cleaned(path));
        self.files.get(self.links.get(&path).unwrap_or(&path))
    }

    pub fn by_digest(&self, digest: &str) -> Option<&FileContent> {
        self.files.get(self.digests.get(digest)?)
    }

    /// Of a file or link: nothing else is there, and each has one path.
    fn fresh(&mut self, path: &[u8]) -> Result<String, &'static str> {
        let path = plain(path)?;
        self.enter(&path)?;
        match path.is_empty() || self.folders.contains(&path) {
            true => Err("is a folder too"),
            false => Ok(path),
        }
    }

    /// What is above is a folder, and no link or file is here.
    fn enter(&mut self, path: &str) -> Result<(), &'static str> {
        let is_taken = |path: &str| self.files.contains_key(path) || self.links.contains_key(path);
        if is_taken(path) {
            return Err("is there twice");
        }
        let above = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        let above: Vec<&str> = above.filter(|path| !self.folders.contains(*path)).collect();
        if above.iter().any(|path| is_taken(path)) {
            return Err("is below a file or a link");
        }
        let count = self.files.len() + self.links.len() + self.folders.len() + above.len();
        if count >= MOST_FILES {
            return Err("is one file too many");
        }
        self.folders.extend(above.into_iter().map(str::to_owned));
        Ok(())
    }
}

fn plain(path: &[u8]) -> Result<String, &'static str> {
    if path.len() > MOST_PATH {
        return Err("is too long");
    }
    Ok(join(&cleaned(std::str::from_utf8(path).map_err(|_| "is not UTF-8")?)))
}

fn join(parts: &[&str]) -> String {
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(digest: &str) -> FileContent {
        FileContent { digest: digest.to_owned(), unpacked: digest.to_owned(), document: None }
    }

    #[test]
    fn a_path_is_there_once_and_found_by_its_spellings_and_links() {
        let mut all = Contents::default();
        all.add(b"a/layer.tar", file("1")).unwrap();
        all.link(b"./b//layer.tar", b"../a/layer.tar").unwrap();
        for path in ["a/layer.tar", "/a/./layer.tar", "b/layer.tar", "c/../b/layer.tar"] {
            assert_eq!(all.file(path).map(|file| &*file.digest), Some("1"), "{path}");
        }
        assert!(all.file("c").is_none() && all.by_digest("2").is_none());
        assert!(all.by_digest("1").is_some());
        assert!(all.add(b"./a/layer.tar", file("2")).is_err());
        assert!(
            all.link(b"a/layer.tar", b"x").is_err() && all.add(b"b/layer.tar", file("2")).is_err()
        );
        assert!(all.add(b"\xff", file("2")).is_err() && all.add(b"./", file("2")).is_err());
        assert!(all.add(&[b'x'; 300], file("2")).is_err());
    }

    #[test]
    fn nothing_is_a_folder_and_something_else() {
        let mut all = Contents::default();
        all.folder(b"./").unwrap();
        all.folder(b"a/").unwrap();
        all.folder(b"a").unwrap();
        all.add(b"a/b/c", file("1")).unwrap();
        for folder in [&b"a"[..], b"a/b"] {
            assert!(all.add(folder, file("2")).is_err() && all.link(folder, b"x").is_err());
        }
        for below in [&b"a/b/c/d"[..], b"a/b/c/d/e"] {
            assert!(all.add(below, file("2")).is_err() && all.folder(below).is_err());
        }
        assert!(all.folder(b"a/b/c").is_err());
        assert_eq!(all.dangling(), None);
        all.link(b"l/layer.tar", b"../m/layer.tar").unwrap();
        assert!(all.add(b"l/layer.tar/x", file("2")).is_err(), "below a link");
        all.folder(b"m/layer.tar").unwrap();
        assert_eq!(all.dangling(), Some("l/layer.tar"), "what is a folder is no file");
    }
}
