//! Objects of a scope, one after the other: `list`, `verify` and `purge`.
//!
//! Called by `disk` on a thread that may block. What must stay true: the order is that of the names, so
//! that a page goes on where the last one ended while objects come and go.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use aws_lc_rs::digest::{Context, SHA256};

use super::disk::{Stored, place_of, read};
use super::quota::{Quota, is_absence};
use super::scope::Bounds;
use super::{Damage, Listed, Page, Purged, Scope, Verified, layout};
use crate::cache::meta::Meta;

/// Of bodies, for one page of `verify`: somebody waits for it.
const MOST_BYTES: u64 = 256 << 20;

pub(super) fn list(
    quota: &Quota,
    scope: &Scope,
    after: Option<&str>,
    most: usize,
) -> io::Result<Page<Listed>> {
    page(
        quota,
        scope,
        after,
        |items: &[Listed]| items.len() >= most.max(1),
        |_, stored| Some(Listed::from(stored.head.ok()?.meta)),
    )
}

pub(super) fn verify(
    quota: &Quota,
    scope: &Scope,
    after: Option<&str>,
    most: usize,
) -> io::Result<Page<Verified>> {
    let is_full = |items: &[Verified]| {
        let bytes = items.iter().map(|item| item.length).fold(0, u64::saturating_add);
        items.len() >= most.max(1) || bytes >= MOST_BYTES
    };
    page(quota, scope, after, is_full, |place, stored| {
        Some(match &stored.head {
            Ok(read) => {
                let (name, length) = (read.meta.key.to_string(), read.meta.length);
                let start = read.length as u64;
                Verified { name, length, wrong: wrong(place, &stored, &read.meta, start) }
            }
            Err(wrong) => Verified {
                name: place.to_owned(),
                length: stored.length,
                wrong: Some(wrong.clone()),
            },
        })
    })
}

pub(super) fn purge(quota: &Quota, scope: &Scope) -> io::Result<Purged> {
    let bounds = Bounds::new(scope);
    let removal = RefCell::new(Removal::new(quota));
    let leave = |folder: &str| removal.borrow_mut().left.push(folder.to_owned());
    let _ = walk_and(quota, &bounds, layout::OBJECTS, &[], &leave, &mut |place| {
        let path = quota.at(place);
        let length = match fs::symlink_metadata(&path) {
            Ok(known) => known.len(),
            Err(_) => return ControlFlow::Continue(()),
        };
        if bounds.reads_heads() {
            // One whose head cannot be read could be of any URL.
            let meta = read(&path).ok().flatten().and_then(|stored| stored.head.ok());
            if meta.is_some_and(|read| !bounds.has(&read.meta.key)) {
                return ControlFlow::Continue(());
            }
        }
        removal.borrow_mut().add(place, length);
        ControlFlow::Continue(())
    })?;
    removal.into_inner().finish()
}

/// Objects that are to be removed, many at a time: a file that is on the disk takes a millisecond or two to
/// remove, of which nearly all is waiting.
struct Removal<'q> {
    quota: &'q Quota,
    /// Places and lengths.
    batch: Vec<(String, u64)>,
    /// Folders whose objects are all known; those within others come first.
    left: Vec<String>,
    purged: Purged,
    failed: Option<io::Error>,
}

/// Removed under way at a time.
const HANDS: usize = 16;
const BATCH: usize = 4096;

impl Removal<'_> {
    fn new(quota: &Quota) -> Removal<'_> {
        let (batch, left) = (Vec::new(), Vec::new());
        Removal { quota, batch, left, purged: Purged::default(), failed: None }
    }

    fn add(&mut self, place: &str, length: u64) {
        self.batch.push((place.to_owned(), length));
        if self.batch.len() == BATCH {
            self.flush();
        }
    }

    fn finish(mut self) -> io::Result<Purged> {
        self.flush();
        self.failed.map_or(Ok(self.purged), Err)
    }

    fn flush(&mut self) {
        let (next, batch, quota) = (AtomicUsize::new(0), &self.batch, self.quota);
        let work = || {
            let (mut purged, mut failed) = (Purged::default(), None);
            while let Some((place, length)) = batch.get(next.fetch_add(1, Ordering::Relaxed)) {
                match quota.remove(place) {
                    Ok(removed) => {
                        purged.objects += u64::from(removed);
                        purged.bytes += if removed { *length } else { 0 };
                    }
                    Err(error) => failed = Some(error),
                }
            }
            (purged, failed)
        };
        let done: Vec<_> = thread::scope(|scope| {
            let hands: Vec<_> = (1..HANDS.min(batch.len()))
                .map_while(|_| thread::Builder::new().spawn_scoped(scope, work).ok())
                .collect();
            let mine = work();
            hands.into_iter().filter_map(|hand| hand.join().ok()).chain([mine]).collect()
        });
        for (purged, failed) in done {
            self.purged.objects += purged.objects;
            self.purged.bytes += purged.bytes;
            self.failed = self.failed.take().or(failed);
        }
        self.batch.clear();
        // Once for each: to find that a large one is not empty may take longer than to remove a file.
        for folder in self.left.drain(..) {
            self.quota.remove_if_empty(&self.quota.at(&folder));
        }
    }
}

fn page<T>(
    quota: &Quota,
    scope: &Scope,
    after: Option<&str>,
    is_full: impl Fn(&[T]) -> bool,
    mut item: impl FnMut(&str, Stored) -> Option<T>,
) -> io::Result<Page<T>> {
    let bounds = Bounds::new(scope);
    let after: Vec<&str> =
        after.map(|after| after.split('/').skip(1).collect()).unwrap_or_default();
    let mut page = Page { items: Vec::new(), next: None };
    let mut last = String::new();
    let _ = walk(quota, &bounds, layout::OBJECTS, &after, &mut |place| {
        if is_full(&page.items) {
            page.next = Some(std::mem::take(&mut last));
            return ControlFlow::Break(());
        }
        // What is gone by now is not an error.
        let Ok(Some(stored)) = read(&quota.at(place)) else { return ControlFlow::Continue(()) };
        let outside =
            |read: &super::head::Read| bounds.reads_heads() && !bounds.has(&read.meta.key);
        if !stored.head.as_ref().is_ok_and(outside) {
            page.items.extend(item(place, stored));
        }
        place.clone_into(&mut last);
        ControlFlow::Continue(())
    })?;
    Ok(page)
}

/// Visits the objects behind `after` in the order of their names.
fn walk(
    quota: &Quota,
    bounds: &Bounds,
    folder: &str,
    after: &[&str],
    visit: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    walk_and(quota, bounds, folder, after, &|_| (), visit)
}

/// `leave` gets each folder when all that is in it was visited.
fn walk_and(
    quota: &Quota,
    bounds: &Bounds,
    folder: &str,
    after: &[&str],
    leave: &dyn Fn(&str),
    visit: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    let entries = match fs::read_dir(quota.at(folder)) {
        Ok(entries) => entries,
        Err(error) if is_absence(&error) => return Ok(ControlFlow::Continue(())),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        let (Ok(name), Ok(kind)) = (entry.file_name().into_string(), entry.file_type()) else {
            continue;
        };
        if after.first().is_none_or(|first| *first <= name.as_str()) {
            names.push((name, kind.is_dir()));
        }
    }
    names.sort_unstable();
    for (name, is_folder) in names {
        let after = match after.split_first() {
            Some((first, behind)) if *first == name => Some(behind),
            _ => None,
        };
        let place = format!("{folder}/{name}");
        let flow = if is_folder && bounds.enters(&place) {
            walk_and(quota, bounds, &place, after.unwrap_or_default(), leave, visit)?
        } else if !is_folder
            && after.is_none()
            && layout::is_object(folder, &name)
            && bounds.may_have(&place)
        {
            visit(&place)
        } else {
            ControlFlow::Continue(())
        };
        if flow.is_break() {
            return Ok(flow);
        }
    }
    leave(folder);
    Ok(ControlFlow::Continue(()))
}

fn wrong(place: &str, stored: &Stored, meta: &Meta, start: u64) -> Option<Damage> {
    if place_of(meta) != place {
        return Some(Damage::Place);
    }
    let mut sum = Context::new(&SHA256);
    let mut buffer = vec![0; 256 << 10];
    let mut at = start;
    while at < stored.length {
        match stored.file.read_at(&mut buffer, at) {
            Ok(0) => return Some(Damage::Length { stored: at - start }),
            Ok(count) => {
                sum.update(buffer.get(..count).unwrap_or_default());
                at += count as u64;
            }
            Err(error) => return Some(Damage::Unreadable(error.to_string())),
        }
    }
    (sum.finish().as_ref() != meta.sha256).then_some(Damage::Digest)
}
