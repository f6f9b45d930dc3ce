//! Locks of keys between the processes that share a store.
//!
//! Given by `Store::lock`, held around fetch and commit. What must stay true: a lock ends with its
//! holder, also when that is killed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

const FIRST_WAIT: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// Held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    /// None where nobody else can be: then there is nothing to hold.
    held: Option<(File, PathBuf)>,
}

impl Lock {
    /// Of a store that no other process uses.
    #[cfg(feature = "object-store")]
    pub(super) fn unneeded() -> Lock {
        Lock { held: None }
    }

    /// None while another holds it.
    pub(super) fn attempt(path: &Path) -> io::Result<Option<Lock>> {
        loop {
            let file = open(path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            // Whoever held it before has removed the file: a lock on that one would be nobody else's.
            if is_at(&file, path)? {
                return Ok(Some(Lock { held: Some((file, path.to_owned())) }));
            }
        }
    }

    /// Asks again and again, so that a caller who gives up leaves nothing behind.
    pub(super) async fn wait(path: &Path) -> io::Result<Lock> {
        let mut wait = FIRST_WAIT;
        loop {
            if let Some(lock) = Lock::attempt(path)? {
                return Ok(lock);
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some((_, path)) = &self.held {
            // While it is still held, so that the file is no other's.
            let _ = fs::remove_file(path);
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            options.open(path)
        }
        opened => opened,
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok(there.ino() == own.ino() && there.dev() == own.dev()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_one_holders_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("locks/a");
        let first = Lock::attempt(&path).unwrap().unwrap();
        assert!(Lock::attempt(&path).unwrap().is_none());
        assert!(Lock::attempt(&dir.path().join("locks/b")).unwrap().is_some());
        drop(first);
        assert!(Lock::attempt(&path).unwrap().is_some());
        assert_eq!(fs::read_dir(dir.path().join("locks")).unwrap().count(), 0, "nothing is left");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_it_when_it_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let first = Lock::attempt(&path).unwrap().unwrap();
        let mut second = Box::pin(Lock::wait(&path));
        let early = tokio::time::timeout(Duration::from_secs(5), &mut second).await;
        assert!(early.is_err(), "it is held");
        drop(first);
        second.await.unwrap();
    }
}
