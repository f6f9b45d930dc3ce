//! How much is stored, and making room: the limit, the floor of free space, and who gives way.
//!
//! Shared by `disk`, its drafts and the thread behind it. What must stay true: objects and drafts
//! together stay below the limit; what has to give way is never what was put in its place meanwhile;
//! locks are held for a few instructions, or for one rename or unlink.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Usage;
use super::index::{BLOCK, Index};

/// In percent of the limit: above the first, room is made behind the scenes until the second.
const HIGH: u64 = 98;
const LOW: u64 = 95;

/// What a draft of unknown length takes at a time.
const LARGEST_STEP: u64 = 4 << 20;
const SMALLEST_STEP: u64 = 64 << 10;

/// In each folder's place: changes of one place, one after the other.
const STRIPES: usize = 64;

#[derive(Debug)]
pub(super) struct Quota {
    pub(super) dir: PathBuf,
    limit: u64,
    floor: u64,
    index: Mutex<Index>,
    /// Bytes that drafts have, or may take without asking.
    drafts: AtomicU64,
    evicted: AtomicU64,
    scanning: AtomicBool,
    /// The disk was full although it should not have been.
    full: AtomicBool,
    stripes: [Mutex<()>; STRIPES],
    hasher: RandomState,
    wake: SyncSender<()>,
}

impl Quota {
    pub(super) fn new(dir: PathBuf, limit: u64, floor: u64, wake: SyncSender<()>) -> Quota {
        Quota {
            dir,
            limit,
            floor,
            index: Mutex::new(Index::new(limit)),
            drafts: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            scanning: AtomicBool::new(true),
            full: AtomicBool::new(false),
            stripes: [const { Mutex::new(()) }; STRIPES],
            hasher: RandomState::new(),
            wake,
        }
    }

    pub(super) fn id(&self, place: &str) -> u64 {
        self.hasher.hash_one(place)
    }

    pub(super) fn at(&self, place: &str) -> PathBuf {
        self.dir.join(place)
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        // Nothing in it panics half-way; if something did, it would miscount and no more.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be held around a change of a place and of the index.
    pub(super) fn changing(&self, id: u64) -> MutexGuard<'_, ()> {
        let [first, ..] = &self.stripes;
        let stripe = self.stripes.get(id as usize % STRIPES).unwrap_or(first);
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An object was found that may be another process's.
    pub(super) fn note(&self, id: u64, place: &str, bytes: u64) {
        let mut index = self.index();
        if !index.contains(id) {
            index.insert(id, place, bytes);
        }
    }

    /// Removes what is at a place; whether something was.
    pub(super) fn remove(&self, place: &str) -> io::Result<bool> {
        let id = self.id(place);
        let _changing = self.changing(id);
        let removed = removed(fs::remove_file(self.at(place)))?;
        self.index().remove(id);
        Ok(removed)
    }

    pub(super) fn scanned(&self) {
        self.scanning.store(false, Relaxed);
        self.after_growth();
    }

    pub(super) fn usage(&self) -> Usage {
        let index = self.index();
        Usage {
            objects: index.objects(),
            bytes: index.bytes() + self.drafts.load(Relaxed),
            limit: self.limit,
            evicted: self.evicted.load(Relaxed),
            scanning: self.scanning.load(Relaxed),
        }
    }

    /// Room for a draft that may become this large. What gives way does so as the draft grows: an
    /// answer that only says that it is large drives nothing out.
    pub(super) fn reserve(self: &Arc<Quota>, bytes: u64) -> io::Result<Reservation> {
        let mut quota = Reservation { quota: Arc::clone(self), bytes: 0 };
        quota.may_become(bytes)?;
        quota.take(bytes.min(quota.step()))?;
        Ok(quota)
    }

    /// Behind the scenes: down to the low water mark, or further if the disk is full all the same.
    pub(super) fn trim(&self) {
        if self.full.swap(false, Relaxed) {
            self.shrink_to(self.used().saturating_sub((self.limit / 100).max(16 * BLOCK)));
        }
        if self.used() > self.limit / 100 * HIGH {
            self.shrink_to(self.limit / 100 * LOW);
        }
    }

    /// Something could not be written: if that is for want of space, some is made.
    pub(super) fn failed(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::StorageFull {
            self.full.store(true, Relaxed);
            self.wake();
        }
    }

    pub(super) fn after_growth(&self) {
        if self.used() > self.limit / 100 * HIGH {
            self.wake();
        }
    }

    fn wake(&self) {
        // If one is waiting already, it is for this too.
        let _ = self.wake.try_send(());
    }

    fn used(&self) -> u64 {
        self.index().bytes() + self.drafts.load(Relaxed)
    }

    fn take(&self, bytes: u64) -> io::Result<()> {
        if bytes > self.limit {
            return Err(full("it is larger than the store's `size`"));
        }
        self.drafts.fetch_add(bytes, Relaxed);
        self.make_room(bytes).inspect_err(|_| {
            self.drafts.fetch_sub(bytes, Relaxed);
        })
    }

    fn make_room(&self, bytes: u64) -> io::Result<()> {
        if self.used() > self.limit {
            self.shrink_to(self.limit);
            if self.used() > self.limit {
                return Err(full("what is being fetched fills the store's `size`"));
            }
        }
        self.after_growth();
        let Some(short) = self.short_of(bytes)? else { return Ok(()) };
        self.shrink_to(self.used().saturating_sub(short));
        match self.short_of(bytes)? {
            None => Ok(()),
            Some(_) => Err(full("the disk has less free space than `free`")),
        }
    }

    /// How much is missing to the floor of free space.
    fn short_of(&self, bytes: u64) -> io::Result<Option<u64>> {
        let disk = match rustix::fs::statvfs(&self.dir) {
            // Somebody took the whole directory away.
            Err(rustix::io::Errno::NOENT) => {
                make_dir(&self.dir)?;
                rustix::fs::statvfs(&self.dir)?
            }
            disk => disk?,
        };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let wanted = self.floor.saturating_add(bytes);
        Ok(wanted.checked_sub(free).filter(|short| *short > 0))
    }

    fn shrink_to(&self, bytes: u64) {
        while self.used() > bytes {
            let Some(victim) = self.index().evict() else { return };
            let _changing = self.changing(victim.id);
            if self.index().contains(victim.id) {
                // A new one was put there meanwhile.
                continue;
            }
            let path = self.at(&victim.place);
            match removed(fs::remove_file(&path)) {
                Ok(_) => {
                    self.evicted.fetch_add(1, Relaxed);
                    self.remove_empty_folders(&path);
                }
                // It is not counted any more, and the disk refuses: nothing better can be done.
                Err(error) => tracing::warn!("cannot remove {}: {error}", path.display()),
            }
        }
    }

    /// Above a file that is gone, up to the partition's: there are as many of those as there are credentials.
    pub(super) fn remove_empty_folders(&self, path: &Path) {
        for folder in path.ancestors().skip(1) {
            if !self.remove_if_empty(folder) {
                return;
            }
        }
    }

    /// A partition's folder or one below it; whether it was empty.
    pub(super) fn remove_if_empty(&self, folder: &Path) -> bool {
        let depth = folder.strip_prefix(&self.dir).map_or(0, |inside| inside.components().count());
        if depth < 2 {
            return false;
        }
        if folder.as_os_str().as_encoded_bytes().ends_with(super::layout::VARIANTS.as_bytes()) {
            let names = folder.join(super::layout::NAMES);
            if fs::read_dir(folder).is_ok_and(|mut left| left.by_ref().take(2).count() == 1) {
                let _ = fs::remove_file(names);
            }
        }
        fs::remove_dir(folder).is_ok()
    }
}

/// What a draft has of the room.
#[derive(Debug)]
pub(super) struct Reservation {
    quota: Arc<Quota>,
    bytes: u64,
}

impl Reservation {
    /// The draft is about to be this long.
    pub(super) fn grow_to(&mut self, bytes: u64) -> io::Result<()> {
        if bytes <= self.bytes {
            return Ok(());
        }
        self.may_become(bytes)?;
        self.take((bytes - self.bytes).max(self.step()))
    }

    /// One object is not to take the place of all others.
    fn may_become(&self, bytes: u64) -> io::Result<()> {
        match bytes > self.quota.limit / 2 {
            true => {
                let why = "it is larger than half of the store's `size`";
                Err(io::Error::new(io::ErrorKind::FileTooLarge, why))
            }
            false => Ok(()),
        }
    }

    fn step(&self) -> u64 {
        (self.quota.limit / 64).clamp(SMALLEST_STEP, LARGEST_STEP)
    }

    pub(super) fn failed(&self, error: &io::Error) {
        self.quota.failed(error);
    }

    pub(super) fn release(&mut self) {
        self.quota.drafts.fetch_sub(std::mem::take(&mut self.bytes), Relaxed);
    }

    fn take(&mut self, bytes: u64) -> io::Result<()> {
        self.quota.take(bytes)?;
        self.bytes += bytes;
        if self.bytes > self.quota.limit {
            return Err(full("it is larger than the store's `size`"));
        }
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.release();
    }
}

/// The store's own: for nobody else, as some of what is in it may be one user's.
pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Whether something was removed.
pub(super) fn removed(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if is_absence(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// There is nothing at this path, and could be nothing.
pub(super) fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, IsADirectory, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename | IsADirectory)
}

fn full(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, format!("no room in the store: {why}"))
}
