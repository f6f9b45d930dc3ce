//! What is read by its digest: manifests and blobs, of those repositories that have them.
//!
//! `serve` and `pull` come here. A blob is kept once for all repositories of an upstream; a *link*, which is kept as a tag
//! is, says of one that it has it. What must stay true: without a link nothing is given before the upstream has said that
//! the repository has the blob; and whether it is kept for another one shows neither in the answer nor in what was asked
//! for it, and so in no time either.

use http::header::{ACCEPT_RANGES, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::case::Case;
use super::name::Digest;
use super::tags::{CONTENT_DIGEST, Moment, Tag, key_of};
use crate::cache::key::Key;
use crate::cache::reply::Reply;
use crate::config::Redirects;

impl Case<'_> {
    pub(super) async fn blob(mut self, digest: &Digest) -> Reply {
        self.content("blobs", digest).await
    }

    /// What is stored is given to who may have it.
    pub(super) async fn content(&mut self, place: &str, digest: &Digest) -> Reply {
        let path = self.path(&format!("{place}/{}", digest.as_str()));
        if let Err(reply) = self.show(&path).await {
            return *reply;
        }
        let link = self.link(&path);
        // Manifests are each repository's own.
        self.is_proven = place == "manifests" || self.has_link(&link).await;
        if !self.is_proven && self.is_kept(digest) {
            match self.ask_whether_it_is_there(&path, &link, digest).await {
                Ok(is_proven) => self.is_proven = is_proven,
                Err(reply) => return *reply,
            }
        }
        let (began, not_before) =
            (self.registry.tags.moment(&link), self.registry.absent.moment(&self.url(&path)));
        // What nobody checks comes from the upstream itself.
        let mirrored = match self.is_kept(digest) {
            true => self.mirrored(&path).await,
            false => None,
        };
        let mut reply = match mirrored {
            Some(reply) => reply,
            None => self.send(&self.scope("pull"), &path, None).await,
        };
        if reply.status == StatusCode::NOT_FOUND {
            return self.is_not(reply.status, &path, not_before);
        }
        if matches!(reply.status.as_u16(), 200 | 206) {
            if !self.is_proven && self.is_kept(digest) {
                self.keep_link(link, digest, began);
            }
            if let Ok(digest) = HeaderValue::try_from(digest.as_str()) {
                reply.headers.insert(CONTENT_DIGEST, digest);
            }
            // Stores of blobs say many things.
            if place == "blobs" && reply.status == StatusCode::OK {
                let kind = HeaderValue::from_static("application/octet-stream");
                reply.headers.insert(CONTENT_TYPE, kind);
                reply.headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            }
        }
        reply
    }

    /// Whether the repository has the blob, asked by one at a time; false where a HEAD does not tell (it leads elsewhere):
    /// then the request for the blob itself does.
    async fn ask_whether_it_is_there(
        &self,
        path: &str,
        link: &Key,
        digest: &Digest,
    ) -> Result<bool, Box<Reply>> {
        self.not_absent(path)?;
        let name = format!("{} {} {}", self.whose.turn(), self.repository(), digest.as_str());
        let _turn = self.registry.turns.take(&name).await;
        if self.has_link(link).await {
            return Ok(true);
        }
        self.not_absent(path)?;
        let (began, not_before) =
            (self.registry.tags.moment(link), self.registry.absent.moment(&self.url(path)));
        match self.head(path, false).await {
            Ok(answer) if answer.status.is_success() => {
                self.keep_link(link.clone(), digest, began);
                Ok(true)
            }
            Ok(answer) => match answer.status.as_u16() {
                401 | 403 | 404 | 429 | 500.. => {
                    Err(Box::new(self.is_not(answer.status, path, not_before)))
                }
                _ => Ok(false),
            },
            Err(fault) => Err(Box::new(self.refused_or_failed(&fault))),
        }
    }

    /// Whether what has this digest is kept.
    pub(super) fn is_kept(&self, digest: &Digest) -> bool {
        self.registry.redirects == Redirects::Follow && digest.sha256().is_some()
    }

    /// Where it is kept that the repository has the blob with this path: as of a tag, without a body. The blob itself is
    /// kept once for all repositories of the upstream, and is given of one that is known to have it.
    pub(super) fn link(&self, path: &str) -> Key {
        key_of(self.upstream(), path, &HeaderMap::new())
    }

    async fn has_link(&self, link: &Key) -> bool {
        self.registry.tags.find(self.cache, link).await.is_some()
    }

    /// The upstream has given it, or said that it has it; `began`: when it was asked.
    pub(super) fn keep_link(&self, link: Key, digest: &Digest, began: Moment) {
        let (digest, at) = (digest.clone(), self.cache.now());
        let tag = Tag { digest, media_type: None, length: None, at };
        self.registry.tags.keep(self.cache, link, &tag, began);
    }
}
