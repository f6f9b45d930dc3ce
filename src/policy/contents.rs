//! What an archive of images holds, counted up on its way.
//!
//! `gateway::files` fills it in, and policies judge by it before the end of the archive goes on. What must stay true: a path
//! is here once, as the engine would find it; a digest is that of all its bytes.

use std::collections::BTreeMap;

use crate::api::grammar::path::cleaned;

/// In one archive: an image has 127 layers at most.
const MOST_FILES: usize = 16_384;

#[derive(Debug, Default)]
pub struct Contents {
    files: BTreeMap<String, FileContent>,
    /// What a link stands for.
    links: BTreeMap<String, String>,
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

    fn fresh(&self, path: &[u8]) -> Result<String, &'static str> {
        let path = join(&cleaned(std::str::from_utf8(path).map_err(|_| "is not UTF-8")?));
        if self.files.contains_key(&path) || self.links.contains_key(&path) {
            return Err("is there twice");
        }
        match self.files.len() + self.links.len() < MOST_FILES {
            true => Ok(path),
            false => Err("is one file too many"),
        }
    }
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
        assert!(all.add(b"\xff", file("2")).is_err());
    }
}
