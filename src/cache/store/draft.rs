//! An object that is being written: a file that only its writer and its readers know.
//!
//! Made by `Store::begin`, filled by `fill`, ended by `Store::commit` or by being dropped. What must
//! stay true: a draft that is not committed leaves no file and no room taken.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::quota::Reservation;

#[derive(Debug)]
pub struct Draft {
    file: Arc<File>,
    /// None once it has been moved to its place.
    path: Option<PathBuf>,
    start: u64,
    written: u64,
    quota: Reservation,
}

impl Draft {
    pub(super) fn new(file: File, path: PathBuf, start: u64, quota: Reservation) -> Draft {
        Draft { file: Arc::new(file), path: Some(path), start, written: 0, quota }
    }

    /// Adds to the body. After an error the draft is of no use.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.start + self.written + bytes.len() as u64;
        self.quota.grow_to(end)?;
        let written = self.file.write_all_at(bytes, self.start + self.written);
        written.inspect_err(|error| self.quota.failed(error))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// For those who read while it grows.
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Where in the file the body begins.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The length of the body so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// It is in its place now, and counted there.
    pub(super) fn moved(&mut self) {
        self.path = None;
        self.quota.release();
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}
