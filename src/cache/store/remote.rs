//! Objects in an object store (S3 and kin) that several hosts share: the feature `object-store`.
//!
//! Made by `run` for a `[cache.NAME]` with `object_store`. Names and contents are those of `disk`: a
//! directory can be copied into a bucket and back. What must stay true: an object is uploaded whole or
//! not at all; what is read in pieces is pieces of one object, also when it is replaced meanwhile.
//!
//! Nothing is evicted here: the bucket's own lifecycle rules say how long objects stay.

use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use futures_core::Stream;
use http::HeaderName;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, WriteMultipart,
};

use super::disk::{add_name_set, name_sets, place_of};
use super::scope::Bounds;
use super::{
    Body, BoxFuture, Damage, Disk, DiskSettings, Draft, Listed, Lock, Page, Purged, ReadRange,
    Scope, Store, StoredResponse, Usage, Variant, Verified, head, layout,
};
use crate::cache::key::Key;
use crate::cache::meta::Meta;

mod connect;

/// Fetched with the head: small objects take one request.
const FIRST: u64 = 64 << 10;
const PIECE: usize = 8 << 20;

#[derive(Debug)]
pub struct Remote {
    bucket: Arc<dyn ObjectStore>,
    /// Bodies are written here until they are whole.
    drafts: Disk,
}

impl Remote {
    /// `s3://bucket/prefix`; credentials, region and endpoint are in the environment (`AWS_…`), or the
    /// machine's own. Only drafts are in the directory of `drafts`.
    pub fn open(url: &str, drafts: DiskSettings) -> io::Result<Remote> {
        let builder = AmazonS3Builder::from_env().with_url(url);
        let s3 = builder.with_http_connector(connect::Hyper).build().map_err(failed)?;
        let prefix = url.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
        let prefix = prefix.map_or("", |(_, prefix)| prefix);
        let bucket = Arc::new(PrefixStore::new(s3, prefix));
        Ok(Remote { bucket, drafts: Disk::open(drafts)? })
    }

    async fn find_any(
        &self,
        key: &Key,
        variant: &Variant<'_>,
    ) -> io::Result<Option<StoredResponse>> {
        let url = layout::place(key);
        let place = format!("{url}{}", layout::OBJECT);
        if let Some(found) = self.find_at(&place, key, &[]).await? {
            return Ok(Some(found));
        }
        let folder = format!("{url}{}", layout::VARIANTS);
        let mut newest: Option<StoredResponse> = None;
        for set in name_sets(&self.names(&folder).await?) {
            let set: Vec<HeaderName> = set;
            let vary = variant(&set);
            let place = format!("{folder}/{}", layout::variant_name(&vary));
            let Some(found) = self.find_at(&place, key, &vary).await? else { continue };
            let time = found.meta.response_time;
            if newest.as_ref().is_none_or(|newest| newest.meta.response_time < time) {
                newest = Some(found);
            }
        }
        Ok(newest)
    }

    async fn find_at(
        &self,
        place: &str,
        key: &Key,
        vary: &[(String, Option<String>)],
    ) -> io::Result<Option<StoredResponse>> {
        let Some(object) = self.object(place).await? else { return Ok(None) };
        let Ok((meta, body)) = object else {
            tracing::warn!("{place} is damaged: hint: `dockgate cache verify`");
            return Ok(None);
        };
        if meta.key != *key || meta.vary != vary {
            return Ok(None);
        }
        let id = self.drafts.id(place);
        Ok(Some(StoredResponse { meta: Arc::new(meta), id, body: Body::Remote(Arc::new(body)) }))
    }

    /// Its head, and how to read its body.
    async fn object(&self, place: &str) -> io::Result<Option<Result<(Meta, Object), Damage>>> {
        let path = Path::from(place);
        let range = GetRange::Bounded(0..FIRST);
        let options = GetOptions { range: Some(range), ..GetOptions::default() };
        let got = match self.bucket.get_opts(&path, options).await {
            Ok(got) => got,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let size = got.meta.size;
        let tag = got.meta.e_tag.clone();
        let first = got.bytes().await.map_err(failed)?;
        let mut object = Object { bucket: Arc::clone(&self.bucket), path, tag, start: 0, first };
        let Some(length) = head::length(&object.first) else { return Ok(Some(Err(Damage::Head))) };
        let whole = object.read(0..length as u64).await?;
        let Some(read) = head::read(&whole) else { return Ok(Some(Err(Damage::Head))) };
        object.start = length as u64;
        let stored = size.saturating_sub(object.start);
        if stored != read.meta.length {
            return Ok(Some(Err(Damage::Length { stored })));
        }
        Ok(Some(Ok((read.meta, object))))
    }

    async fn names(&self, folder: &str) -> io::Result<String> {
        let path = Path::from(format!("{folder}/{}", layout::NAMES));
        match self.bucket.get(&path).await {
            Ok(got) => {
                let bytes = got.bytes().await.map_err(failed)?;
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            Err(Error::NotFound { .. }) => Ok(String::new()),
            Err(error) => Err(failed(error)),
        }
    }

    async fn upload(&self, draft: Draft, meta: Meta) -> io::Result<StoredResponse> {
        let (draft, meta) = self.drafts.seal(draft, meta).await?;
        let url = layout::place(&meta.key);
        let folder = format!("{url}{}", layout::VARIANTS);
        if !meta.vary.is_empty() {
            let before = self.names(&folder).await?;
            if let Some(after) = add_name_set(&before, &meta) {
                let path = Path::from(format!("{folder}/{}", layout::NAMES));
                self.bucket.put(&path, after.into()).await.map_err(failed)?;
            }
        }
        let place = place_of(&meta);
        self.put(&place, &draft).await?;
        // What would otherwise be found in its stead, or come back after it.
        if meta.vary.is_empty() {
            self.remove_below(&folder).await?;
        } else {
            self.delete(&Path::from(format!("{url}{}", layout::OBJECT))).await?;
        }
        let body = Body::File { file: draft.file(), start: draft.start() };
        Ok(StoredResponse { meta: Arc::new(meta), id: self.drafts.id(&place), body })
    }

    /// All of a draft's file; nobody sees it before the last piece is there.
    async fn put(&self, place: &str, draft: &Draft) -> io::Result<()> {
        let (path, file) = (Path::from(place), draft.file());
        let length = draft.start() + draft.written();
        let piece = |at: u64| {
            let count = usize::try_from(length - at).unwrap_or(PIECE).min(PIECE);
            let mut piece = vec![0; count];
            file.read_exact_at(&mut piece, at).map(|()| piece)
        };
        if length <= PIECE as u64 {
            return self.bucket.put(&path, piece(0)?.into()).await.map(drop).map_err(failed);
        }
        let upload = self.bucket.put_multipart(&path).await.map_err(failed)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PIECE);
        let mut at = 0;
        while at < length {
            upload.wait_for_capacity(2).await.map_err(failed)?;
            let piece = match piece(at) {
                Ok(piece) => piece,
                Err(error) => {
                    upload.abort().await.map_err(failed)?;
                    return Err(error);
                }
            };
            at += piece.len() as u64;
            upload.put(piece.into());
        }
        upload.finish().await.map(drop).map_err(failed)
    }

    /// Writes what is known of a small object anew; of a large one it is not worth to upload all of it
    /// again, and the next host asks the origin for itself.
    async fn renew(&self, found: &StoredResponse, meta: &Meta) -> io::Result<()> {
        if meta.length > PIECE as u64 {
            return Ok(());
        }
        let place = place_of(&found.meta);
        let Some(Ok((old, object))) = self.object(&place).await? else { return Ok(()) };
        if old.sha256 != found.meta.sha256 {
            return Ok(());
        }
        let body = object.read(0..old.length).await?;
        let mut draft = self.drafts.begin(meta, Some(meta.length))?;
        draft.append(&body)?;
        let (draft, _) = self.drafts.seal(draft, meta.clone()).await?;
        self.put(&place, &draft).await
    }

    async fn delete(&self, path: &Path) -> io::Result<()> {
        match self.bucket.delete(path).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    async fn remove_all(&self, key: &Key) -> io::Result<u64> {
        let url = layout::place(key);
        let path = Path::from(format!("{url}{}", layout::OBJECT));
        let object = match self.bucket.head(&path).await {
            Ok(_) => 1,
            Err(Error::NotFound { .. }) => 0,
            Err(error) => return Err(failed(error)),
        };
        self.delete(&path).await?;
        Ok(object + self.remove_below(&format!("{url}{}", layout::VARIANTS)).await?)
    }

    async fn remove_below(&self, folder: &str) -> io::Result<u64> {
        let mut removed = 0;
        let mut listed = self.bucket.list(Some(&Path::from(folder)));
        while let Some(object) = next(&mut listed).await? {
            self.delete(&object.location).await?;
            removed += u64::from(object.location.filename() != Some(layout::NAMES));
        }
        Ok(removed)
    }

    async fn remove_in_all(&self, key: &Key) -> io::Result<u64> {
        let objects = Path::from(layout::OBJECTS);
        let listed = self.bucket.list_with_delimiter(Some(&objects)).await.map_err(failed)?;
        let mut removed = 0;
        for folder in listed.common_prefixes {
            let Some(partition) = folder.filename().and_then(layout::partition_of) else {
                continue;
            };
            removed += self.remove_all(&Key { partition, ..key.clone() }).await?;
        }
        Ok(removed)
    }

    async fn purge_all(&self, scope: &Scope) -> io::Result<Purged> {
        let bounds = Bounds::new(scope);
        let mut purged = Purged::default();
        let mut listed = self.bucket.list(Some(&Path::from(layout::OBJECTS)));
        while let Some(object) = next(&mut listed).await? {
            let Some(place) = place_in(&object, &bounds) else { continue };
            if bounds.reads_heads() {
                // One whose head cannot be read could be of any URL.
                let read = self.object(&place).await?;
                if matches!(read, Some(Ok((meta, _))) if !bounds.has(&meta.key)) {
                    continue;
                }
            }
            self.delete(&object.location).await?;
            purged.objects += 1;
            purged.bytes += object.size;
        }
        Ok(purged)
    }

    async fn page<T>(
        &self,
        scope: &Scope,
        after: Option<&str>,
        most: usize,
        item: impl AsyncFn(&str, u64, Result<(Meta, Object), Damage>) -> io::Result<Option<T>>,
    ) -> io::Result<Page<T>> {
        let bounds = Bounds::new(scope);
        let objects = Path::from(layout::OBJECTS);
        let mut listed = match after {
            Some(after) => self.bucket.list_with_offset(Some(&objects), &Path::from(after)),
            None => self.bucket.list(Some(&objects)),
        };
        let mut page = Page { items: Vec::new(), next: None };
        let mut last = None;
        while let Some(object) = next(&mut listed).await? {
            let Some(place) = place_in(&object, &bounds) else { continue };
            if page.items.len() >= most.max(1) {
                page.next = last;
                break;
            }
            // What is gone by now is not an error.
            let Some(read) = self.object(&place).await? else { continue };
            let outside =
                |(meta, _): &(Meta, Object)| bounds.reads_heads() && !bounds.has(&meta.key);
            if !read.as_ref().is_ok_and(outside) {
                page.items.extend(item(&place, object.size, read).await?);
            }
            last = Some(place);
        }
        Ok(page)
    }
}

impl Store for Remote {
    fn find<'a>(
        &'a self,
        key: &'a Key,
        variant: &'a Variant<'a>,
    ) -> BoxFuture<'a, io::Result<Option<StoredResponse>>> {
        Box::pin(self.find_any(key, variant))
    }

    fn begin(&self, meta: &Meta, expected: Option<u64>) -> io::Result<Draft> {
        self.drafts.begin(meta, expected)
    }

    fn commit<'a>(&'a self, draft: Draft, meta: Meta) -> BoxFuture<'a, io::Result<StoredResponse>> {
        Box::pin(self.upload(draft, meta))
    }

    fn refresh<'a>(
        &'a self,
        found: &'a StoredResponse,
        mut meta: Meta,
    ) -> BoxFuture<'a, io::Result<StoredResponse>> {
        meta.key.clone_from(&found.meta.key);
        meta.vary.clone_from(&found.meta.vary);
        Box::pin(async move {
            self.renew(found, &meta).await?;
            Ok(StoredResponse { meta: Arc::new(meta), ..found.clone() })
        })
    }

    fn remove<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, io::Result<u64>> {
        Box::pin(self.remove_all(key))
    }

    fn remove_everywhere<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, io::Result<u64>> {
        Box::pin(self.remove_in_all(key))
    }

    fn purge<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, io::Result<Purged>> {
        Box::pin(self.purge_all(scope))
    }

    fn touch(&self, _: u64) {}

    fn list<'a>(
        &'a self,
        scope: &'a Scope,
        after: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, io::Result<Page<Listed>>> {
        let item = async |_: &str, _, read: Result<(Meta, Object), Damage>| {
            Ok(read.ok().map(|(meta, _)| Listed::from(meta)))
        };
        Box::pin(self.page(scope, after, most, item))
    }

    fn verify<'a>(
        &'a self,
        scope: &'a Scope,
        after: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, io::Result<Page<Verified>>> {
        Box::pin(self.page(scope, after, most, verified))
    }

    /// Hosts do not wait for each other: two of them may fetch the same, and the later one is kept.
    fn lock<'a>(&'a self, _: &'a Key) -> BoxFuture<'a, io::Result<Lock>> {
        Box::pin(std::future::ready(Ok(Lock::unneeded())))
    }

    /// Of the drafts: the bucket's contents are not counted.
    fn usage(&self) -> Usage {
        self.drafts.usage()
    }
}

/// One object as it was when its head was read.
#[derive(Clone, Debug)]
struct Object {
    bucket: Arc<dyn ObjectStore>,
    path: Path,
    tag: Option<String>,
    /// Where the body begins.
    start: u64,
    first: Bytes,
}

impl ReadRange for Object {
    fn read(&self, range: Range<u64>) -> BoxFuture<'_, io::Result<Bytes>> {
        let (from, to) = (self.start + range.start, self.start + range.end);
        Box::pin(async move {
            if to <= self.first.len() as u64 {
                let range = usize::try_from(from).and_then(|from| Ok(from..usize::try_from(to)?));
                return Ok(self.first.slice(range.map_err(io::Error::other)?));
            }
            let options = GetOptions {
                range: Some(GetRange::Bounded(from..to)),
                if_match: self.tag.clone(),
                ..GetOptions::default()
            };
            let got = self.bucket.get_opts(&self.path, options).await.map_err(failed)?;
            let bytes = got.bytes().await.map_err(failed)?;
            if bytes.len() as u64 == to - from {
                Ok(bytes)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        })
    }
}

async fn verified(
    place: &str,
    size: u64,
    read: Result<(Meta, Object), Damage>,
) -> io::Result<Option<Verified>> {
    let (meta, object) = match read {
        Ok(read) => read,
        Err(wrong) => {
            return Ok(Some(Verified { name: place.to_owned(), length: size, wrong: Some(wrong) }));
        }
    };
    let (name, length) = (meta.key.to_string(), meta.length);
    if place_of(&meta) != place {
        return Ok(Some(Verified { name, length, wrong: Some(Damage::Place) }));
    }
    let mut sum = Context::new(&SHA256);
    let mut at = 0;
    while at < length {
        let end = length.min(at + PIECE as u64);
        match object.read(at..end).await {
            Ok(bytes) => sum.update(&bytes),
            Err(error) => {
                let wrong = Some(Damage::Unreadable(error.to_string()));
                return Ok(Some(Verified { name, length, wrong }));
            }
        }
        at = end;
    }
    let wrong = (sum.finish().as_ref() != meta.sha256).then_some(Damage::Digest);
    Ok(Some(Verified { name, length, wrong }))
}

/// An object's place, if the scope may have it.
fn place_in(object: &ObjectMeta, bounds: &Bounds) -> Option<String> {
    let name = object.location.as_ref();
    let place = percent_encoding::percent_decode_str(name).decode_utf8().ok()?.into_owned();
    let (folder, name) = place.rsplit_once('/')?;
    (layout::is_object(folder, name) && bounds.may_have(&place)).then_some(place)
}

async fn next<S: Stream<Item = object_store::Result<ObjectMeta>> + ?Sized>(
    listed: &mut Pin<Box<S>>,
) -> io::Result<Option<ObjectMeta>> {
    poll_fn(|cx| listed.as_mut().poll_next(cx)).await.transpose().map_err(failed)
}

fn failed(error: Error) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests;
