//! The thread behind a store: counts at start what is there, then makes room when it is woken.
//!
//! Started by `disk`. What must stay true: it serves nobody, and nobody waits for it; it ends with the
//! store.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Weak};
use std::thread;

use super::layout;
use super::lock::Lock;
use super::quota::Quota;

/// Under one lock of the index.
const AT_A_TIME: usize = 256;

pub(super) fn start(quota: &Arc<Quota>, woken: Receiver<()>, locks: PathBuf) -> io::Result<()> {
    let quota = Arc::downgrade(quota);
    let work = move || {
        sweep(&locks);
        scan(&quota);
        while woken.recv().is_ok() {
            let Some(quota) = quota.upgrade() else { return };
            quota.trim();
        }
    };
    thread::Builder::new().name("cache-store".to_owned()).spawn(work).map(drop)
}

/// Removes the locks that nobody holds.
fn sweep(locks: &PathBuf) {
    for entry in fs::read_dir(locks).into_iter().flatten().flatten() {
        let _ = Lock::attempt(&entry.path());
    }
}

fn scan(quota: &Weak<Quota>) {
    let mut used = Vec::new();
    let mut folders = vec![layout::OBJECTS.to_owned()];
    while let Some(folder) = folders.pop() {
        // The store may have been closed.
        let Some(quota) = quota.upgrade() else { return };
        count(&quota, &folder, &mut folders, &mut used);
    }
    // The queue is in the order of use again, as far as the file system knows it.
    used.sort_unstable();
    for some in used.chunks(AT_A_TIME) {
        let Some(quota) = quota.upgrade() else { return };
        let mut index = quota.index();
        some.iter().for_each(|(_, id)| index.renew(*id));
    }
    if let Some(quota) = quota.upgrade() {
        quota.scanned();
    }
}

fn count(quota: &Quota, folder: &str, folders: &mut Vec<String>, used: &mut Vec<(i64, u64)>) {
    let entries = match fs::read_dir(quota.at(folder)) {
        Ok(entries) => entries,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!("cannot count what is in {}: {error}", quota.at(folder).display());
            }
            return;
        }
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let (Some(name), Ok(kind)) = (name.to_str(), entry.file_type()) else { continue };
        if kind.is_dir() {
            folders.push(format!("{folder}/{name}"));
        } else if layout::is_object(folder, name) {
            let Ok(known) = entry.metadata() else { continue };
            let place = format!("{folder}/{name}");
            let id = quota.id(&place);
            used.push((known.atime().max(known.mtime()), id));
            found.push((id, place, known.len()));
        }
    }
    for some in found.chunks(AT_A_TIME) {
        let mut index = quota.index();
        some.iter().for_each(|(id, place, length)| index.insert_old(*id, place, *length));
    }
}
