//! A stored body that is looked at again: whether it still is what its digest says.
//!
//! `serve` asks before it gives what the URL says the SHA-256 of. What must stay true: what was not looked at since the
//! process began, since its file changed, or for `GOOD_FOR`, is given as what comes from an origin is: to its last byte
//! only when the whole is right; what is wrong is gone from the store before anybody is told.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use aws_lc_rs::digest::{Context, SHA256};
use quick_cache::unsync::Cache as Bounded;

use super::in_flight::{End, FlightAnswer, Head, InFlightBody, Reader};
use crate::cache::Cache;
use crate::cache::store::{Body, StoredResponse};

const MOST: usize = 100_000;
/// In ms: a day. What a disk forgets without a word shows by then.
const GOOD_FOR: u64 = 24 * 3600 * 1000;
/// Read at once.
const BLOCK: usize = 256 << 10;

/// What no write to a file leaves as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FileState {
    place: (u64, u64),
    size: i64,
    written: (i64, u64),
    changed: (i64, u64),
}

#[derive(Debug)]
pub struct Checks {
    /// When they were right, in ms since 1970.
    good: Mutex<Bounded<FileState, u64>>,
    running: Mutex<HashMap<FileState, Weak<InFlightBody>>>,
}

impl FileState {
    fn of(file: &File) -> io::Result<FileState> {
        let stat = rustix::fs::fstat(file)?;
        #[allow(clippy::unnecessary_cast, reason = "their types are the platform's")]
        Ok(FileState {
            place: (stat.st_dev as u64, stat.st_ino as u64),
            size: stat.st_size as i64,
            written: (stat.st_mtime as i64, stat.st_mtime_nsec as u64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as u64),
        })
    }
}

impl Default for Checks {
    fn default() -> Checks {
        Checks { good: Mutex::new(Bounded::new(MOST)), running: Mutex::default() }
    }
}

impl Checks {
    /// Whether it was found right lately, and its file is as it was.
    pub fn knows(&self, file: &File, now: u64) -> bool {
        let at = FileState::of(file).ok().and_then(|state| self.good().get(&state).copied());
        // `now < at`: the clock was set back.
        at.is_some_and(|at| at <= now && now - at < GOOD_FOR)
    }

    /// It was right as it was written.
    pub(super) fn note(&self, file: &File, now: u64) {
        if let Ok(state) = FileState::of(file) {
            self.good().insert(state, now);
        }
    }

    fn good(&self) -> MutexGuard<'_, Bounded<FileState, u64>> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, HashMap<FileState, Weak<InFlightBody>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who reads along while it is looked at; whoever comes meanwhile does too. None: it is in no file.
pub fn recheck(cache: &Arc<Cache>, found: &StoredResponse, expected: [u8; 32]) -> Option<Reader> {
    let Body::File { file, start } = &found.body else { return None };
    let state = FileState::of(file).ok()?;
    let mut running = cache.checks.running();
    if let Some(reader) = running.get(&state).and_then(Weak::upgrade).and_then(|one| one.reader()) {
        return Some(reader);
    }
    let (in_flight, reader) = InFlightBody::begin();
    in_flight.answer(FlightAnswer::New(Arc::new(Head {
        meta: (*found.meta).clone(),
        headers: found.meta.headers.clone(),
        is_shared: true,
        length: Some(found.meta.length),
        stored: Ok(()),
        draft: Some((Arc::clone(file), *start)),
    })));
    running.insert(state, Arc::downgrade(&in_flight));
    drop(running);
    let (cache, found) = (Arc::clone(cache), found.clone());
    tokio::task::spawn_blocking(move || look_at(cache, found, state, expected, &in_flight));
    Some(reader)
}

fn look_at(
    cache: Arc<Cache>,
    found: StoredResponse,
    state: FileState,
    expected: [u8; 32],
    in_flight: &Arc<InFlightBody>,
) {
    let is_right = match &found.body {
        Body::File { file, start } => digest(file, *start, found.meta.length, in_flight),
        Body::Remote(_) => Err(io::ErrorKind::Unsupported.into()),
    };
    if matches!(is_right, Ok(sha256) if sha256 == expected) {
        cache.checks.good().insert(state, cache.now());
        cache.checks.running().remove(&state);
        return in_flight.end(End::Whole);
    }
    let (ends, here) = (Arc::clone(in_flight), Arc::clone(&cache));
    cache.thread.run(async move {
        let url = found.meta.key.without_query();
        tracing::error!(cache = %here.name, %url, "what is stored is damaged: it is fetched anew");
        here.stats.disk_failed();
        here.remove(&found.meta.key).await;
        here.checks.running().remove(&state);
        ends.end(End::Broken);
    });
}

fn digest(file: &File, start: u64, length: u64, in_flight: &InFlightBody) -> io::Result<[u8; 32]> {
    let (mut sum, mut block, mut read) = (Context::new(&SHA256), vec![0; BLOCK], 0);
    while read < length {
        let most = usize::try_from(length - read).unwrap_or(BLOCK).min(BLOCK);
        let count = file.read_at(block.get_mut(..most).unwrap_or_default(), start + read)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        sum.update(block.get(..count).unwrap_or_default());
        read += count as u64;
        in_flight.written(read);
    }
    sum.finish().as_ref().try_into().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_right_is_so_until_its_file_changes_or_a_day_is_over() {
        let (checks, folder) = (Checks::default(), tempfile::tempdir().unwrap());
        let path = folder.path().join("x");
        std::fs::write(&path, "right").unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        assert!(!checks.knows(&file, 1000));
        checks.note(&file, 1000);
        assert!(checks.knows(&file, 1000) && checks.knows(&file, 999 + GOOD_FOR));
        assert!(!checks.knows(&file, 1000 + GOOD_FOR) && !checks.knows(&file, 999));
        // Of the same length, and with the time that it had.
        let before = std::fs::metadata(&path).unwrap().modified().unwrap();
        file.write_all_at(b"wrong", 0).unwrap();
        file.set_modified(before).unwrap();
        let is_told_apart = || !checks.knows(&file, 1000);
        // Within one tick of the clock that files have, nothing shows.
        for _ in 0..10_000 {
            if is_told_apart() {
                return;
            }
            file.write_all_at(b"wrong", 0).unwrap();
        }
        panic!("a changed file is taken for what it was");
    }

    #[test]
    fn a_digest_is_of_the_body_alone() {
        let (_dir, file) = (tempfile::tempdir().unwrap(), tempfile::tempfile().unwrap());
        file.write_all_at(b"headbody", 0).unwrap();
        let (in_flight, reader) = InFlightBody::begin();
        let wanted = aws_lc_rs::digest::digest(&SHA256, b"body");
        assert_eq!(digest(&file, 4, 4, &in_flight).unwrap(), wanted.as_ref());
        assert_eq!(reader.so_far(), 4);
        assert!(digest(&file, 4, 5, &in_flight).is_err());
    }
}
