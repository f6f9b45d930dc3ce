//! What tags were found to be, and when; and which repositories were found to have which blobs.
//!
//! `pull` looks here before it asks an upstream. They lie in the cache's store as objects without a body, below the URL of
//! the tag, so that a restart without the upstream has them, and in memory. What must stay true: what a tag is depends
//! on which forms of manifests the client takes, and on nothing else of it; what was asked before a write through us
//! ended is not kept after it, neither in memory nor on the disk.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use quick_cache::unsync::Cache as Bounded;

use super::name::Digest;
use super::upstream::RegistryUpstream;
use super::writes::Writes;
use crate::cache::Cache;
use crate::cache::key::{Key, Partition};
use crate::cache::meta::{Meta, Stored};
use crate::cache::store::Scope;

const MOST: usize = 20_000;
/// Of a repository's stored tags and manifests, when one is deleted.
const MOST_PAGES: usize = 100;
const PAGE: usize = 500;
/// Of manifests, as docker and the specification call them.
const FORMS: [&str; 8] = [
    "*/*",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.artifact.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
];
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tag {
    pub digest: Digest,
    pub media_type: Option<HeaderValue>,
    /// Of the manifest, in bytes.
    pub length: Option<u64>,
    /// When the upstream said so, in ms since 1970.
    pub at: u64,
}

#[derive(Debug)]
pub(super) struct Tags {
    /// With what had been written when they were asked about.
    known: Mutex<Bounded<Key, (Tag, Moment)>>,
    /// To tags and, as one, to repositories, through this registry and others; their turns are the disk's.
    writes: Arc<Writes>,
}

/// How often a tag and its repository were written to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Moment(u64, u64);

/// Where a tag is kept. `accept`: the request's, which forms of manifests it takes.
pub(super) fn key_of(upstream: &RegistryUpstream, path: &str, headers: &HeaderMap) -> Key {
    let values = headers.get_all(header::ACCEPT).into_iter();
    let mut forms: Vec<&str> = values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(form)
        .collect();
    forms.sort_unstable();
    forms.dedup();
    // Two that stand at the same host may see other things there.
    let hash = digest(&SHA256, format!("{}\n{}", upstream.id, forms.join(",")).as_bytes());
    let hash = hash.as_ref().first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
    Key {
        partition: Partition::Own(hash),
        scheme: upstream.scheme,
        host: upstream.host.as_str().into(),
        path: path.into(),
        query: None,
    }
}

/// One element of `Accept`; all that are no known forms of manifests are one, so that a tag has a bounded number of
/// keys. None: it is not taken.
fn form(element: &[u8]) -> Option<&'static str> {
    let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let kind = parts.next().unwrap_or_default();
    let is_zero = |part: &[u8]| match part {
        [b'q' | b'Q', b'=', b'0', rest @ ..] => rest.iter().all(|byte| matches!(byte, b'.' | b'0')),
        _ => false,
    };
    if kind.is_empty() || parts.any(is_zero) {
        return None;
    }
    let mut known = FORMS.into_iter();
    Some(known.find(|form| form.as_bytes().eq_ignore_ascii_case(kind)).unwrap_or("other"))
}

impl Tag {
    /// Of an answer to HEAD; none where it does not say a SHA-256.
    pub(super) fn of(headers: &HeaderMap, at: u64) -> Option<Tag> {
        let digest = Digest::parse(headers.get(CONTENT_DIGEST)?.to_str().ok()?)?;
        digest.sha256()?;
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        Some(Tag {
            digest,
            media_type: headers.get(header::CONTENT_TYPE).cloned(),
            length: length.and_then(|length| length.parse().ok()),
            at,
        })
    }

    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Ok(digest) = HeaderValue::try_from(self.digest.as_str()) {
            headers.insert(CONTENT_DIGEST, digest);
        }
        if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", self.digest.as_str())) {
            headers.insert(header::ETAG, tag);
        }
        headers.extend(self.media_type.iter().map(|kind| (header::CONTENT_TYPE, kind.clone())));
        headers
    }

    pub(super) fn age(&self, now: u64) -> u64 {
        // `now < at`: the clock was set back.
        now.checked_sub(self.at).unwrap_or(u64::MAX)
    }
}

impl Tags {
    pub(super) fn new(writes: Arc<Writes>) -> Tags {
        Tags { known: Mutex::new(Bounded::new(MOST)), writes }
    }

    /// What lies on the disk is all that is known.
    pub(super) fn forget_known(&self) {
        self.known().clear();
    }

    /// To be taken before the upstream is asked.
    pub(super) fn moment(&self, key: &Key) -> Moment {
        moment(&self.writes, key)
    }

    /// Whether it was written to through us, as far as this process knows; another one may count for it.
    pub(super) fn is_written(&self, key: &Key) -> bool {
        self.writes.count(&url(key)) > 0
    }

    pub(super) async fn find(&self, cache: &Cache, key: &Key) -> Option<Tag> {
        let began = self.moment(key);
        let known = self.known().get(key).cloned();
        // What was written to elsewhere is not told here.
        if let Some((tag, _)) = known.filter(|(_, then)| *then == began) {
            return Some(tag);
        }
        let stored = cache.store.find(key, &|_| Vec::new()).await;
        let stored = stored.unwrap_or_else(|error| {
            cache.disk_failed(&error);
            None
        })?;
        let tag = Tag::of(&stored.meta.headers, stored.meta.response_time)?;
        self.remember(key, &tag, began);
        Some(tag)
    }

    /// In memory at once, and on the disk when it is there; `began`: when the upstream was asked.
    pub(super) fn keep(&self, cache: &Arc<Cache>, key: Key, tag: &Tag, began: Moment) {
        self.remember(&key, tag, began);
        let mut headers = tag.headers();
        headers
            .extend(tag.length.map(|length| (header::CONTENT_LENGTH, HeaderValue::from(length))));
        let meta = Meta {
            key,
            kind: Stored::Metadata,
            status: StatusCode::OK,
            headers,
            request_time: tag.at,
            response_time: tag.at,
            vary: Vec::new(),
            length: 0,
            sha256: digest(&SHA256, b"").as_ref().try_into().unwrap_or_default(),
        };
        let (stores, writes) = (Arc::clone(cache), Arc::clone(&self.writes));
        cache.thread.run(async move {
            let _turn = writes.turn(&repository(&meta.key)).await;
            if moment(&writes, &meta.key) != began {
                return;
            }
            let kept = match stores.store.begin(&meta, Some(0)) {
                Ok(draft) => stores.store.commit(draft, meta).await.map(drop),
                Err(error) => Err(error),
            };
            if let Err(error) = kept {
                stores.disk_failed(&error);
            }
        });
    }

    /// For every form: it was written to, or the upstream does not have it.
    pub(super) async fn forget(&self, cache: &Cache, key: &Key) {
        let _turn = self.writes.turn(&repository(key)).await;
        cache.forget(key).await;
        // Behind the disk: what was read of it before is not remembered, and nothing is read of it after.
        self.writes.written(&url(key));
        self.known().retain(|other, _| url(other) != url(key));
    }

    /// All of the key's repository that are this, for every form: it is there no more.
    pub(super) async fn forget_digest(&self, cache: &Cache, key: &Key, digest: &Digest) {
        let of = repository(key);
        let _turn = self.writes.turn(&of).await;
        if let Err(error) = remove(cache, Scope::Prefix(of.clone()), digest).await {
            cache.disk_failed(&error);
        }
        self.writes.written(&of);
        self.known().retain(|other, (tag, _)| repository(other) != of || tag.digest != *digest);
    }

    fn remember(&self, key: &Key, tag: &Tag, began: Moment) {
        let mut known = self.known();
        // While nobody can forget it.
        if self.moment(key) == began {
            known.insert(key.clone(), (tag.clone(), began));
        }
    }

    fn known(&self) -> MutexGuard<'_, Bounded<Key, (Tag, Moment)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tags of a repository that are stored.
async fn remove(cache: &Cache, of: Scope, digest: &Digest) -> io::Result<()> {
    let mut after = None;
    for _ in 0..MOST_PAGES {
        let page = cache.store.list(&of, after.as_deref(), PAGE).await?;
        // What has a digest itself has a body.
        for one in page.items.iter().filter(|one| one.length == 0) {
            let found = cache.store.find(&one.key, &|_| Vec::new()).await?;
            let tag = found.and_then(|found| Tag::of(&found.meta.headers, 0));
            if tag.is_some_and(|tag| tag.digest == *digest) {
                cache.store.remove(&one.key).await?;
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
    // More than are looked through: all of them are asked about again.
    cache.store.purge(&of).await.map(drop)
}

fn moment(writes: &Writes, key: &Key) -> Moment {
    Moment(writes.count(&url(key)), writes.count(&repository(key)))
}

fn url(key: &Key) -> String {
    format!("{}://{}{}", key.scheme.as_str(), key.host, key.path)
}

/// Where all tags of its repository lie.
fn repository(key: &Key) -> String {
    let mut url = url(key);
    url.truncate(url.rfind('/').map_or(0, |at| at + 1));
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::registry::upstream::tests::upstream;

    fn accept(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (header::ACCEPT, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn which_forms_are_taken_tells_tags_apart_and_their_order_does_not() {
        let upstream = upstream("", "a", "");
        let key = |values: &[&'static str]| key_of(&upstream, "/v2/x/manifests/t", &accept(values));
        let (index, one) = (FORMS[6], FORMS[7]);
        let both =
            "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
        assert_eq!(key(&[one, index]), key(&[both, one]));
        assert_ne!(key(&[one]), key(&[index]));
        assert_ne!(key(&[one]), key(&[]));
        assert_ne!(key(&[one]), key(&[one, "x/1"]));
        assert_eq!(key(&[one, "x/1"]), key(&["x/2;a=b", "x/3", one]), "they are one");
        let weighed = "application/vnd.oci.image.manifest.v1+json ;q=0.5, */*; q=0.0, x/1;q=0";
        assert_eq!(key(&[weighed]), key(&[one]));
    }

    #[test]
    fn a_tag_is_what_the_upstream_says_if_it_says_it() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let mut headers = HeaderMap::new();
        assert_eq!(Tag::of(&headers, 7), None);
        headers.insert(CONTENT_DIGEST, HeaderValue::from_str(&digest).unwrap());
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(5));
        let tag = Tag::of(&headers, 7).unwrap();
        assert_eq!((tag.digest.as_str(), tag.length, tag.at), (digest.as_str(), Some(5), 7));
        assert_eq!((tag.age(10), tag.age(6)), (3, u64::MAX));
        headers.insert(CONTENT_DIGEST, HeaderValue::from_static("sha256:x"));
        assert_eq!(Tag::of(&headers, 7), None);
    }

    #[test]
    fn what_was_asked_before_a_write_is_not_remembered_after_it() {
        let upstream = upstream("", "a", "");
        let tag = key_of(&upstream, "/v2/x/manifests/t", &HeaderMap::new());
        let found = Tag { digest: Digest::of(b"old"), media_type: None, length: None, at: 0 };
        assert_eq!(repository(&tag), "https://a/v2/x/manifests/");
        for written in [url(&tag), repository(&tag)] {
            let writes = Arc::new(Writes::new());
            let tags = Tags::new(Arc::clone(&writes));
            assert!(!tags.is_written(&tag));
            let began = tags.moment(&tag);
            writes.written(&written);
            tags.remember(&tag, &found, began);
            assert_eq!(tags.known().get(&tag), None, "{written}");
            let now = tags.moment(&tag);
            tags.remember(&tag, &found, now);
            assert_eq!(tags.known().get(&tag), Some(&(found.clone(), now)), "{written}");
            // By whomever, such as a registry from before a reload: it is what it was then.
            writes.written(&written);
            assert_ne!(tags.moment(&tag), now, "{written}");
        }
    }
}
