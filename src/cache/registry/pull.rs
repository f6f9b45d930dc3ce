//! What is read of a repository: manifests, blobs, lists.
//!
//! `serve` calls it for a request that the rules allow. What must stay true: nothing that is stored is given to who has not
//! shown lately that they may read the repository; a tag is what the upstream says, or lately said where it cannot be
//! asked, and then the answer says so.

use http::header::LINK;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::case::Case;
use super::errors::Code;
use super::name::{Digest, Reference};
use super::request::query_pairs;
use super::tags::{CONTENT_DIGEST, Tag, key_of};
use super::upstream::is_away;
use crate::cache::fresh::CacheStatus;
use crate::cache::reply::{Body, Reply};
use crate::cache::serve::say;
use crate::cache::stats::Outcome;
use crate::cache::upstream::Fault;

/// Of a list that is asked for to see whether it is given: some registries send all of it.
const LONGEST_LIST: usize = 4 << 20;

/// What a tag is.
enum Resolved {
    /// With why it is old, if it is.
    Tag(Tag, Option<&'static str>),
    /// The upstream does not say it without being asked for the manifest.
    Unsaid,
}

impl Case<'_> {
    pub(super) async fn manifest(mut self, reference: &Reference) -> Reply {
        let tag = match reference {
            Reference::Digest(digest) => return self.content("manifests", digest).await,
            Reference::Tag(tag) => tag,
        };
        let path = self.path(&format!("manifests/{tag}"));
        let (found, stale) = match self.resolve(&path).await {
            Ok(Resolved::Tag(found, stale)) => (found, stale),
            Ok(Resolved::Unsaid) => {
                let scope = self.scope("pull");
                let mut reply = self.send(&scope, &path, None).await;
                // Nobody has looked whether it is that.
                reply.headers.remove(CONTENT_DIGEST);
                return reply;
            }
            Err(reply) => return *reply,
        };
        let (now, tag_ttl) = (self.cache.now(), self.registry.tag_ttl);
        let head = (self.request.method == Method::HEAD).then_some(found.length).flatten();
        let mut reply = match head {
            Some(length) => Reply {
                status: StatusCode::OK,
                reason: None,
                headers: found.headers(),
                length: Some(length),
                body: Body::Empty,
                account: self.account(if stale.is_some() { Outcome::Stale } else { Outcome::Hit }),
                stored: None,
            },
            None => self.content("manifests", &found.digest).await,
        };
        if let Some(why) = stale.filter(|_| reply.status.is_success()) {
            let left = i64::try_from(found.age(now) / 1000).unwrap_or(i64::MAX);
            let ttl = i64::try_from(tag_ttl / 1000).unwrap_or(i64::MAX).saturating_sub(left);
            let (ttl, detail) = (Some(ttl), Some(why.to_owned()));
            say(
                &mut reply.headers,
                &CacheStatus { hit: true, ttl, detail, ..CacheStatus::default() },
            );
        }
        reply
    }

    /// Tags and referrers: as the upstream says, page by page.
    pub(super) async fn list(mut self, rest: &str) -> Reply {
        let (scope, path) = (self.scope("pull"), self.path(rest));
        let query = without_namespace(self.request.query.as_deref());
        let mut reply = self.send(&scope, &path, query).await;
        if let Some(next) = reply.headers.remove(LINK) {
            let here = format!("/v2/{}/{rest}", self.place());
            reply.headers.extend(link(&next, &here).map(|next| (LINK, next)));
        }
        reply
    }

    /// That who asks may read the repository: known, or found out by asking for the head of what they want.
    pub(super) async fn show(&self, path: &str) -> Result<(), Box<Reply>> {
        let (registry, repository) = (self.registry, self.repository());
        let has = || registry.access.has(&self.whose, &repository, self.cache.now());
        if has() {
            return Ok(());
        }
        self.not_absent(path)?;
        let turn = format!("{} {repository}", self.whose.turn());
        let _turn = registry.turns.take(&turn).await;
        if has() {
            return Ok(());
        }
        // What is stored came to nobody but us: where the upstream is away it is as good as before.
        let is_ours = self.upstream().is_ours();
        let began = registry.absent.moment(&self.url(path));
        let link = self.link(path);
        let unwritten = registry.tags.moment(&link);
        match self.head(path, false).await {
            Ok(answer) if answer.status.is_success() => {
                registry.access.show(&self.whose, &repository, self.cache.now());
                let blob =
                    path.rsplit_once("/blobs/").and_then(|(_, digest)| Digest::parse(digest));
                if let Some(digest) = blob.filter(|digest| self.is_kept(digest)) {
                    self.keep_link(link, &digest, unwritten);
                }
                Ok(())
            }
            // To where it lies, or to a page where one logs in: a list is not sent elsewhere.
            Ok(answer) if answer.status.is_redirection() => {
                let list = self.path("tags/list?n=1");
                let (accept, method) = (HeaderMap::new(), Method::GET);
                let listed = self.question(method, &list, accept, false, LONGEST_LIST).await;
                match listed {
                    Ok(listed) if listed.status == StatusCode::OK => {
                        registry.access.show(&self.whose, &repository, self.cache.now());
                        Ok(())
                    }
                    Ok(_) if is_ours => Ok(()),
                    Err(fault) if is_ours && fault.is_origin() => Ok(()),
                    Ok(listed) => Err(Box::new(self.is_not(listed.status, path, began))),
                    Err(fault) => Err(Box::new(self.refused_or_failed(&fault))),
                }
            }
            Ok(answer) if is_ours && is_away(answer.status) => Ok(()),
            Ok(answer) => Err(Box::new(self.is_not(answer.status, path, began))),
            Err(fault) if is_ours && fault.is_origin() => Ok(()),
            Err(fault) => Err(Box::new(self.refused_or_failed(&fault))),
        }
    }

    async fn resolve(&self, path: &str) -> Result<Resolved, Box<Reply>> {
        let (cache, registry) = (self.cache, self.registry);
        let repository = self.repository();
        let key = key_of(self.upstream(), path, &self.request.headers);
        let has = || registry.access.has(&self.whose, &repository, cache.now());
        let is_fresh = |tag: &Tag| tag.age(cache.now()) < registry.tag_ttl;
        if has()
            && let Some(tag) = registry.tags.find(cache, &key).await.filter(is_fresh)
        {
            return Ok(Resolved::Tag(tag, None));
        }
        self.not_absent(path)?;
        let turn = format!("{} {} {}", self.whose.turn(), key.partition, key.without_query());
        let _turn = registry.turns.take(&turn).await;
        let known = registry.tags.find(cache, &key).await;
        if let Some(tag) = known.clone().filter(|tag| has() && is_fresh(tag)) {
            return Ok(Resolved::Tag(tag, None));
        }
        let may_be_old = self.upstream().is_ours() || has();
        let old = known.filter(|tag| {
            may_be_old && tag.age(cache.now()) < registry.tag_ttl.saturating_add(registry.stale)
        });
        let began = registry.tags.moment(&key);
        let not_before = registry.absent.moment(&self.url(path));
        match (self.head(path, true).await, old) {
            (Ok(answer), _) if answer.status.is_success() => {
                // A page where one logs in says no digest.
                let Some(tag) = Tag::of(&answer.headers, cache.now()) else {
                    return Ok(Resolved::Unsaid);
                };
                registry.access.show(&self.whose, &repository, cache.now());
                registry.tags.keep(cache, key, &tag, began);
                Ok(Resolved::Tag(tag, None))
            }
            (Ok(answer), Some(tag)) if is_away(answer.status) => {
                let why = match answer.status {
                    StatusCode::TOO_MANY_REQUESTS => "origin-busy",
                    _ => "stale-if-error",
                };
                self.tell_stale(why);
                Ok(Resolved::Tag(tag, Some(why)))
            }
            (Ok(answer), _) => match answer.status.as_u16() {
                404 => {
                    registry.tags.forget(cache, &key).await;
                    Err(Box::new(self.is_not(answer.status, path, not_before)))
                }
                401 | 403 | 429 | 500.. => {
                    Err(Box::new(self.is_not(answer.status, path, not_before)))
                }
                // What it has to say stands in its body, which an answer to HEAD has none of.
                _ => Ok(Resolved::Unsaid),
            },
            (Err(fault), Some(tag)) if fault.is_origin() => {
                cache.origin_failed(&self.upstream().host, &fault);
                self.tell_stale(fault.name());
                Ok(Resolved::Tag(tag, Some(fault.name())))
            }
            (Err(Fault::Unauthorized { .. }), _) => {
                Err(Box::new(self.is_not(StatusCode::UNAUTHORIZED, path, not_before)))
            }
            (Err(fault), _) => Err(Box::new(self.failed(&fault))),
        }
    }

    /// The upstream's word is no; `began`: when it was asked.
    pub(super) fn is_not(&self, status: StatusCode, path: &str, began: u64) -> Reply {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                self.registry.access.forget(&self.whose, &self.repository());
            }
            StatusCode::NOT_FOUND => {
                let (url, now) = (self.url(path), self.cache.now());
                self.registry.absent.remember(&self.whose, &url, now, began);
            }
            _ => {}
        }
        let code = if path.contains("/blobs/") { Code::BlobUnknown } else { Code::NotFound };
        self.as_told(status, code)
    }

    /// Whether the upstream has lately said to this caller that it is not there.
    pub(super) fn not_absent(&self, path: &str) -> Result<(), Box<Reply>> {
        let absent = &self.registry.absent;
        match absent.knows(&self.whose, &self.url(path), self.cache.now()) {
            true => Err(Box::new(self.is_not_again(path))),
            false => Ok(()),
        }
    }

    fn is_not_again(&self, path: &str) -> Reply {
        let code = if path.contains("/blobs/") { Code::BlobUnknown } else { Code::NotFound };
        self.as_told(StatusCode::NOT_FOUND, code)
    }

    fn tell_stale(&self, why: &str) {
        let (registry, repository) = (&self.registry.name, &self.name);
        tracing::warn!(%registry, %repository, why, "a tag is served that the upstream did not confirm");
    }
}

/// What is asked of an upstream: all but what tells us which one is meant.
pub(super) fn without_namespace(query: Option<&str>) -> Option<String> {
    let is_ns = |pair: &&str| !pair.is_empty() && *pair != "ns" && !pair.starts_with("ns=");
    let kept: Vec<&str> = query?.split('&').filter(is_ns).collect();
    (!kept.is_empty()).then(|| kept.join("&"))
}

/// The next page, below our own path. `next`: `</v2/…?n=1&last=x>; rel="next"`.
pub(super) fn link(next: &HeaderValue, here: &str) -> Option<HeaderValue> {
    let (url, rest) = next.to_str().ok()?.strip_prefix('<')?.split_once('>')?;
    let (_, query) = url.split_once('?')?;
    query_pairs(Some(query)).next()?;
    HeaderValue::try_from(format!("<{here}?{query}>{rest}")).ok()
}

/// Of a request that is of no repository.
pub(super) fn pong(headers: &mut HeaderMap) {
    let version = HeaderValue::from_static("registry/2.0");
    headers.insert(http::HeaderName::from_static("docker-distribution-api-version"), version);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_below_our_own_path() {
        let there =
            HeaderValue::from_static("<https://a.example/v2/x/tags/list?n=2&last=b>; rel=\"next\"");
        let here = link(&there, "/v2/ours/x/tags/list").unwrap();
        assert_eq!(here, "</v2/ours/x/tags/list?n=2&last=b>; rel=\"next\"");
        for odd in ["", "x", "<x>", "<x?>", "</v2/x?n=1"] {
            assert_eq!(link(&HeaderValue::from_static(odd), "/v2/x"), None, "{odd}");
        }
    }

    #[test]
    fn which_registry_is_meant_is_no_question_to_it() {
        assert_eq!(without_namespace(Some("ns=docker.io")), None);
        assert_eq!(
            without_namespace(Some("n=1&ns=docker.io&last=x")).as_deref(),
            Some("n=1&last=x")
        );
        assert_eq!(without_namespace(None), None);
    }
}
