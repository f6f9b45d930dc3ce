//! Objects in a directory: the path is the key, and the file system is the index.
//!
//! Made by `run` for each `[cache.NAME]`. What must stay true: what is at an object's path is whole,
//! whenever the process is killed, because it is renamed there when it is; what another process
//! commits is found; the directory may be missing, full or read-only, and only `begin`, `commit` and
//! `refresh` fail then.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;

use http::HeaderName;

use super::draft::Draft;
use super::drafts::Drafts;
use super::lock::Lock;
use super::quota::{Quota, is_absence, make_dir};
use super::{
    Body, BoxFuture, Listed, Page, Purged, Scope, Store, StoredResponse, Usage, Variant, Verified,
    head, layout, pages, scan,
};
use crate::cache::key::Key;
use crate::cache::meta::Meta;

const DRAFTS: &str = "tmp";
const LOCKS: &str = "locks";
/// Of fields that responses to one URL vary by. An origin that has more of them is no longer
/// found with the oldest.
const MOST_NAME_SETS: usize = 8;
/// A folder may be removed because it is empty just when something is moved into it.
const MOST_ATTEMPTS: usize = 8;

#[derive(Clone, Debug)]
pub struct DiskSettings {
    pub dir: PathBuf,
    /// The limit in bytes of all objects together.
    pub size: u64,
    /// What stays free on the file system.
    pub free: u64,
    /// Whether an object is on the disk before it is found: without, a power failure may leave wrong
    /// bytes in it.
    pub fsync: bool,
}

#[derive(Debug)]
pub struct Disk {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    quota: Arc<Quota>,
    drafts: Drafts,
    fsync: bool,
}

impl Disk {
    /// Makes the directory if it can, and begins to count what is in it in a thread of its own.
    pub fn open(settings: DiskSettings) -> io::Result<Disk> {
        let DiskSettings { dir, size, free, fsync } = settings;
        if let Err(error) = make_dir(&dir) {
            tracing::error!(
                %error,
                "`{}` cannot be made: answers pass by it until it is there", dir.display()
            );
        }
        let (wake, woken) = mpsc::sync_channel(1);
        let quota = Arc::new(Quota::new(dir.clone(), size, free, wake));
        let drafts = Drafts::new(dir.join(DRAFTS));
        drafts.sweep();
        scan::start(&quota, woken, dir.join(LOCKS))?;
        Ok(Disk { inner: Arc::new(Inner { quota, drafts, fsync }) })
    }

    /// To look at what is in a directory that a running process may use: nothing is made, counted or
    /// removed.
    pub fn look(dir: &Path) -> io::Result<Disk> {
        fs::read_dir(dir)?;
        let (wake, _) = mpsc::sync_channel(1);
        let quota = Arc::new(Quota::new(dir.to_owned(), u64::MAX, 0, wake));
        let drafts = Drafts::new(dir.join(DRAFTS));
        Ok(Disk { inner: Arc::new(Inner { quota, drafts, fsync: false }) })
    }

    /// For `remote`: writes the head, and the draft stays one.
    #[cfg(feature = "object-store")]
    pub(super) async fn seal(&self, draft: Draft, meta: Meta) -> io::Result<(Draft, Meta)> {
        self.blocking(move |inner| Ok((inner.seal(draft, &meta)?, meta))).await
    }

    #[cfg(feature = "object-store")]
    pub(super) fn id(&self, place: &str) -> u64 {
        self.inner.quota.id(place)
    }

    /// Runs what may wait for the disk where waiting hurts nobody.
    fn blocking<'a, T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
    ) -> BoxFuture<'a, io::Result<T>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            tokio::task::spawn_blocking(move || work(&inner)).await.map_err(io::Error::other)?
        })
    }
}

impl Store for Disk {
    fn find<'a>(
        &'a self,
        key: &'a Key,
        variant: &'a Variant<'a>,
    ) -> BoxFuture<'a, io::Result<Option<StoredResponse>>> {
        Box::pin(std::future::ready(self.inner.find(key, variant)))
    }

    fn begin(&self, meta: &Meta, expected: Option<u64>) -> io::Result<Draft> {
        self.inner.begin(&head::text(meta)?, expected)
    }

    fn commit<'a>(&'a self, draft: Draft, meta: Meta) -> BoxFuture<'a, io::Result<StoredResponse>> {
        if self.inner.fsync {
            self.blocking(move |inner| inner.commit(draft, meta))
        } else {
            Box::pin(std::future::ready(self.inner.commit(draft, meta)))
        }
    }

    fn refresh<'a>(
        &'a self,
        found: &'a StoredResponse,
        mut meta: Meta,
    ) -> BoxFuture<'a, io::Result<StoredResponse>> {
        meta.key.clone_from(&found.meta.key);
        meta.vary.clone_from(&found.meta.vary);
        let found = found.clone();
        Box::pin(async move {
            match self.inner.refresh(&found, &meta)? {
                Refreshed::Done => Ok(StoredResponse { meta: Arc::new(meta), ..found }),
                Refreshed::Grown(file) => {
                    self.blocking(move |inner| inner.rewrite(&file, &found.meta, meta)).await
                }
            }
        })
    }

    fn remove<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, io::Result<u64>> {
        Box::pin(std::future::ready(self.inner.remove(&layout::place(key))))
    }

    fn remove_everywhere<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, io::Result<u64>> {
        Box::pin(std::future::ready(self.inner.remove_everywhere(key)))
    }

    fn purge<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, io::Result<Purged>> {
        let scope = scope.clone();
        self.blocking(move |inner| pages::purge(&inner.quota, &scope))
    }

    fn touch(&self, id: u64) {
        self.inner.quota.index().touch(id);
    }

    fn list<'a>(
        &'a self,
        scope: &'a Scope,
        after: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, io::Result<Page<Listed>>> {
        let (scope, after) = (scope.clone(), after.map(str::to_owned));
        self.blocking(move |inner| pages::list(&inner.quota, &scope, after.as_deref(), most))
    }

    fn verify<'a>(
        &'a self,
        scope: &'a Scope,
        after: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, io::Result<Page<Verified>>> {
        let (scope, after) = (scope.clone(), after.map(str::to_owned));
        self.blocking(move |inner| pages::verify(&inner.quota, &scope, after.as_deref(), most))
    }

    fn lock<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, io::Result<Lock>> {
        let name = layout::lock_name(key);
        Box::pin(async move { Lock::wait(&self.inner.quota.at(LOCKS).join(name)).await })
    }

    fn usage(&self) -> Usage {
        self.inner.quota.usage()
    }
}

enum Refreshed {
    Done,
    /// What is known no longer fits into the head of this file.
    Grown(File),
}

impl Inner {
    fn find(&self, key: &Key, variant: &Variant<'_>) -> io::Result<Option<StoredResponse>> {
        let mut place = layout::place(key);
        let end = place.len();
        place.push_str(layout::OBJECT);
        if let Some(found) = self.found_at(&place, key, &[])? {
            return Ok(Some(found));
        }
        place.truncate(end);
        place.push_str(layout::VARIANTS);
        let mut newest: Option<StoredResponse> = None;
        for set in name_sets(&self.names(&place)?) {
            let vary = variant(&set);
            let place = format!("{place}/{}", layout::variant_name(&vary));
            let Some(found) = self.found_at(&place, key, &vary)? else { continue };
            if newest
                .as_ref()
                .is_none_or(|newest| newest.meta.response_time < found.meta.response_time)
            {
                newest = Some(found);
            }
        }
        Ok(newest)
    }

    fn found_at(
        &self,
        place: &str,
        key: &Key,
        vary: &[(String, Option<String>)],
    ) -> io::Result<Option<StoredResponse>> {
        let path = self.quota.at(place);
        let Some(stored) = read(&path)? else { return Ok(None) };
        let Ok(read) = stored.head else {
            tracing::warn!("{} is damaged: hint: `dockgate cache verify`", path.display());
            return Ok(None);
        };
        // The first: places of cut names could be shared. The second: hashes of variants are short.
        if read.meta.key != *key || read.meta.vary != vary {
            return Ok(None);
        }
        let id = self.quota.id(place);
        self.quota.note(id, place, stored.length);
        let body = Body::File { file: Arc::new(stored.file), start: read.length as u64 };
        Ok(Some(StoredResponse { meta: Arc::new(read.meta), id, body }))
    }

    fn begin(&self, text: &[u8], expected: Option<u64>) -> io::Result<Draft> {
        let start = head::length_for(text)? as u64;
        let quota = self.quota.reserve(start.saturating_add(expected.unwrap_or(0)))?;
        let (file, path) = self.drafts.create().inspect_err(|error| self.quota.failed(error))?;
        Ok(Draft::new(file, path, start, quota))
    }

    fn commit(&self, draft: Draft, meta: Meta) -> io::Result<StoredResponse> {
        self.put(draft, meta).inspect_err(|error| self.quota.failed(error))
    }

    fn put(&self, draft: Draft, meta: Meta) -> io::Result<StoredResponse> {
        let draft = self.seal(draft, &meta)?;
        if self.fsync {
            rustix::fs::fdatasync(&*draft.file())?;
        }
        let body = Body::File { file: draft.file(), start: draft.start() };
        let id = self.put_in_place(draft, &meta)?;
        Ok(StoredResponse { meta: Arc::new(meta), id, body })
    }

    /// Writes the head before the body.
    fn seal(&self, draft: Draft, meta: &Meta) -> io::Result<Draft> {
        if draft.written() != meta.length {
            let message = format!("{} of {} bytes were written", draft.written(), meta.length);
            return Err(io::Error::new(ErrorKind::InvalidData, message));
        }
        let text = head::text(meta)?;
        let length = usize::try_from(draft.start()).map_err(io::Error::other)?;
        let Some(bytes) = head::first(length, &text)? else {
            // It has grown since the draft was begun.
            let copy = self.copy(&draft.file(), draft.start(), meta)?;
            return self.seal(copy, meta);
        };
        let file = draft.file();
        file.write_all_at(&bytes, 0)?;
        if meta.length == 0 {
            file.set_len(draft.start())?;
        }
        Ok(draft)
    }

    fn put_in_place(&self, mut draft: Draft, meta: &Meta) -> io::Result<u64> {
        let url = layout::place(&meta.key);
        let variants = format!("{url}{}", layout::VARIANTS);
        let place = if meta.vary.is_empty() {
            format!("{url}{}", layout::OBJECT)
        } else {
            self.add_names(&variants, meta)?;
            format!("{variants}/{}", layout::variant_name(&meta.vary))
        };
        let id = self.quota.id(&place);
        {
            let _changing = self.quota.changing(id);
            if let Some(path) = draft.path() {
                rename(path, &self.quota.at(&place))?;
            }
            self.quota.index().insert(id, &place, draft.start() + draft.written());
        }
        draft.moved();
        self.quota.after_growth();
        // What would otherwise be found in its stead, or come back after it.
        if meta.vary.is_empty() {
            self.remove_variants(&variants)?;
        } else {
            self.quota.remove(&format!("{url}{}", layout::OBJECT))?;
        }
        Ok(id)
    }

    /// What a folder says its responses vary by.
    fn names(&self, folder: &str) -> io::Result<String> {
        match fs::read_to_string(self.quota.at(folder).join(layout::NAMES)) {
            Err(error) if is_absence(&error) || error.kind() == ErrorKind::InvalidData => {
                Ok(String::new())
            }
            text => text,
        }
    }

    fn add_names(&self, variants: &str, meta: &Meta) -> io::Result<()> {
        let path = self.quota.at(variants).join(layout::NAMES);
        let Some(text) = add_name_set(&self.names(variants)?, meta) else { return Ok(()) };
        let (file, draft) = self.drafts.create()?;
        file.write_all_at(text.as_bytes(), 0).and_then(|()| rename(&draft, &path)).inspect_err(
            |_| {
                let _ = fs::remove_file(&draft);
            },
        )
    }

    fn refresh(&self, found: &StoredResponse, meta: &Meta) -> io::Result<Refreshed> {
        let place = place_of(&found.meta);
        let path = self.quota.at(&place);
        let _changing = self.quota.changing(found.id);
        // Opened once: by the second time another process may have put another response in its place,
        // whose head this is not.
        let opened = open(&path, OpenOptions::new().read(true).write(true))?;
        let Some(Stored { file, head: Ok(read), .. }) = opened.map_or(Ok(None), read_file)? else {
            return Ok(Refreshed::Done);
        };
        if read.meta.sha256 != found.meta.sha256 || read.meta.key != found.meta.key {
            // Another response came in its place, newer than this one.
            return Ok(Refreshed::Done);
        }
        match head::next(&read, &head::text(meta)?)? {
            Some((at, bytes)) => {
                file.write_all_at(&bytes, at).inspect_err(|error| self.quota.failed(error))?;
                Ok(Refreshed::Done)
            }
            None => Ok(Refreshed::Grown(file)),
        }
    }

    /// Stores a body again, with a longer head.
    fn rewrite(&self, file: &File, old: &Meta, meta: Meta) -> io::Result<StoredResponse> {
        let start = file.metadata()?.len().saturating_sub(old.length);
        self.commit(self.copy(file, start, &meta)?, meta)
    }

    fn copy(&self, from: &File, start: u64, meta: &Meta) -> io::Result<Draft> {
        let mut draft = self.begin(&head::text(meta)?, Some(meta.length))?;
        let mut buffer = vec![0; 256 << 10];
        while draft.written() < meta.length {
            let count = from.read_at(&mut buffer, start + draft.written())?;
            let left = usize::try_from(meta.length - draft.written()).unwrap_or(usize::MAX);
            match buffer.get(..count.min(left)) {
                Some(bytes) if !bytes.is_empty() => draft.append(bytes)?,
                _ => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
        Ok(draft)
    }

    fn remove(&self, url: &str) -> io::Result<u64> {
        let place = format!("{url}{}", layout::OBJECT);
        let object = u64::from(self.quota.remove(&place)?);
        let removed = object + self.remove_variants(&format!("{url}{}", layout::VARIANTS))?;
        if removed > 0 {
            self.quota.remove_empty_folders(&self.quota.at(&place));
        }
        Ok(removed)
    }

    fn remove_variants(&self, folder: &str) -> io::Result<u64> {
        let path = self.quota.at(folder);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if is_absence(&error) => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut removed = 0;
        for entry in entries {
            // All names in it are ours, and ASCII.
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            let gone = self.quota.remove(&format!("{folder}/{name}"))?;
            removed += u64::from(gone && name != layout::NAMES);
        }
        let _ = fs::remove_dir(&path);
        Ok(removed)
    }

    fn remove_everywhere(&self, key: &Key) -> io::Result<u64> {
        let partitions = match fs::read_dir(self.quota.at(layout::OBJECTS)) {
            Ok(partitions) => partitions,
            Err(error) if is_absence(&error) => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut key = key.clone();
        let mut removed = 0;
        for entry in partitions {
            let name = entry?.file_name();
            let Some(partition) = name.to_str().and_then(layout::partition_of) else { continue };
            key.partition = partition;
            removed += self.remove(&layout::place(&key))?;
        }
        Ok(removed)
    }
}

/// The sets of fields that responses vary by, the newest first.
pub(super) fn name_sets(text: &str) -> Vec<Vec<HeaderName>> {
    let set = |line: &str| line.split(',').map(|name| name.parse().ok()).collect();
    text.lines().take(MOST_NAME_SETS).filter_map(set).collect()
}

/// With the set of this response as the newest. None: it is there.
pub(super) fn add_name_set(before: &str, meta: &Meta) -> Option<String> {
    let names: Vec<&str> = meta.vary.iter().map(|(name, _)| name.as_str()).collect();
    let line = names.join(",");
    if before.lines().any(|set| set == line) {
        return None;
    }
    let sets: Vec<&str> =
        std::iter::once(line.as_str()).chain(before.lines()).take(MOST_NAME_SETS).collect();
    Some(format!("{}\n", sets.join("\n")))
}

/// Where a response is.
pub(super) fn place_of(meta: &Meta) -> String {
    let url = layout::place(&meta.key);
    match meta.vary.as_slice() {
        [] => format!("{url}{}", layout::OBJECT),
        vary => format!("{url}{}/{}", layout::VARIANTS, layout::variant_name(vary)),
    }
}

/// An object's file.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) file: File,
    pub(super) length: u64,
    /// With a body as long as it says.
    pub(super) head: Result<head::Read, super::Damage>,
}

pub(super) fn read(path: &Path) -> io::Result<Option<Stored>> {
    open(path, OpenOptions::new().read(true))?.map_or(Ok(None), read_file)
}

fn open(path: &Path, how: &OpenOptions) -> io::Result<Option<File>> {
    match how.open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_file(file: File) -> io::Result<Option<Stored>> {
    let mut buffer = [0; head::COMMON];
    let count = match file.read_at(&mut buffer, 0) {
        Ok(count) => count,
        Err(error) if error.kind() == ErrorKind::IsADirectory => return Ok(None),
        Err(error) => return Err(error),
    };
    let first = buffer.get(..count).unwrap_or_default();
    let read = match head::length(first) {
        Some(length) if length > first.len() => {
            let mut whole = vec![0; length];
            file.read_exact_at(&mut whole, 0).ok().and_then(|()| head::read(&whole))
        }
        Some(_) => head::read(first),
        None => None,
    };
    let length = u64::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or_default();
    let head = read.ok_or(super::Damage::Head).and_then(|read| {
        let body = length.saturating_sub(read.length as u64);
        if body == read.meta.length {
            Ok(read)
        } else {
            Err(super::Damage::Length { stored: body })
        }
    });
    Ok(Some(Stored { file, length, head }))
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    for _ in 0..MOST_ATTEMPTS {
        match fs::rename(from, to) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            renamed => return renamed,
        }
        if let Some(folder) = to.parent() {
            match fs::create_dir_all(folder) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Err(ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests;
