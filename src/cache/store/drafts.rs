//! The folder of drafts, and what others left there when they were killed.
//!
//! Used by `disk`. What must stay true: a folder is swept only if its process is gone, also when that
//! process sees another tree of processes: only the lock in it counts.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use super::lock::Lock;

const LOCK: &str = "lock";

#[derive(Debug)]
pub(super) struct Drafts {
    /// With a folder for each process.
    all: PathBuf,
    /// Made when it is first needed: the disk may be read-only, or full, and later not.
    own: Mutex<Option<Own>>,
    made: AtomicU64,
}

#[derive(Debug)]
struct Own {
    folder: PathBuf,
    lock: Option<Lock>,
}

impl Drafts {
    pub(super) fn new(all: PathBuf) -> Drafts {
        Drafts { all, own: Mutex::new(None), made: AtomicU64::new(0) }
    }

    /// A new file that nobody else knows.
    pub(super) fn create(&self) -> io::Result<(File, PathBuf)> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = own.as_ref() {
            match self.create_in(&own.folder) {
                // Somebody emptied the store.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                created => return created,
            }
        }
        let new = Own::new(&self.all)?;
        let folder = own.insert(new).folder.clone();
        self.create_in(&folder)
    }

    fn create_in(&self, folder: &Path) -> io::Result<(File, PathBuf)> {
        let path = folder.join(self.made.fetch_add(1, Relaxed).to_string());
        let mut options = OpenOptions::new();
        // Readable by its owner only: it may be what a private registry gave to one user.
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        Ok((file, path))
    }

    /// Removes the drafts of processes that are gone.
    pub(super) fn sweep(&self) {
        let Ok(folders) = fs::read_dir(&self.all) else { return };
        for folder in folders.flatten().map(|entry| entry.path()) {
            match Lock::attempt(&folder.join(LOCK)) {
                Ok(Some(lock)) => {
                    // All but the lock first: it is the sign that the folder is somebody's.
                    for path in fs::read_dir(&folder).into_iter().flatten().flatten() {
                        if path.file_name() != LOCK {
                            let _ = fs::remove_file(path.path());
                        }
                    }
                    drop(lock);
                    let _ = fs::remove_dir(&folder);
                }
                Ok(None) => {}
                Err(error) => tracing::debug!("cannot sweep {}: {error}", folder.display()),
            }
        }
    }
}

impl Own {
    fn new(all: &Path) -> io::Result<Own> {
        for attempt in 0..16 {
            let random = RandomState::new().hash_one(attempt);
            let folder = all.join(format!("{}-{random:016x}", std::process::id()));
            if let Some(lock) = Lock::attempt(&folder.join(LOCK))? {
                return Ok(Own { folder, lock: Some(lock) });
            }
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.lock = None;
        // Drafts that are still open keep it; it is swept at the next start.
        let _ = fs::remove_dir(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_nobodys_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let living = Drafts::new(dir.path().join("tmp"));
        let (_, kept) = living.create().unwrap();
        let dead = dir.path().join("tmp/1-0");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("lock"), "").unwrap();
        fs::write(dead.join("0"), "half a body").unwrap();
        Drafts::new(dir.path().join("tmp")).sweep();
        assert!(kept.exists() && !dead.exists());
        fs::remove_file(kept).unwrap();
        drop(living);
        assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_was_taken_away_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let drafts = Drafts::new(dir.path().join("tmp"));
        drafts.create().unwrap();
        fs::remove_dir_all(dir.path().join("tmp")).unwrap();
        assert!(drafts.create().unwrap().1.exists());
    }
}
