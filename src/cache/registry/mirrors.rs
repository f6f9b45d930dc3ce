//! Mirrors of an upstream: asked first for what is pulled, and left out where they fail.
//!
//! `case` asks them for heads, `content` for content. What must stay true: a mirror is asked by nobody's name, sees no
//! credential of the upstream's or a client's, and is never written to; what it gives by a digest is checked like
//! everything else; one that failed is not asked for a while, so that nobody waits for it twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use tokio::time::timeout;

use super::ask::{Answered, ask_as};
use super::case::{Case, LONGEST_HEAD};
use super::name::Reference;
use super::tags::{Tag, key_of};
use super::tokens::Refused;
use super::upstream::{RegistryUpstream, Whose, is_away};
use crate::cache::Cache;
use crate::cache::reply::Reply;
use crate::cache::request::OtherSource;
use crate::cache::serve;
use crate::cache::upstream::Fault;

/// For an answer without a body, tokens included: the upstream is there as well.
const PATIENCE: Duration = Duration::from_secs(5);
/// In ms.
const REST: u64 = 30_000;

#[derive(Debug)]
pub(super) struct UpstreamMirror {
    pub at: RegistryUpstream,
    /// When it last failed, in ms since 1970; 0: never.
    failed: Arc<AtomicU64>,
}

impl UpstreamMirror {
    pub(super) fn new(at: RegistryUpstream) -> UpstreamMirror {
        UpstreamMirror { at, failed: Arc::default() }
    }

    fn rests(&self, now: u64) -> bool {
        let failed = self.failed.load(Ordering::Relaxed);
        // `now < failed`: the clock was set back.
        failed > 0 && failed <= now && now - failed < REST
    }

    fn fails(&self, cache: &Cache, why: &str) {
        let host = &self.at.host;
        tracing::warn!(registry = %cache.name, %host, "a mirror is left out for a while: {why}");
        self.failed.store(cache.now(), Ordering::Relaxed);
    }

    /// `/v2/<repository>/…` of the upstream, as it is called here.
    fn path(&self, path: &str) -> String {
        format!("/v2/{}", self.at.there(path.strip_prefix("/v2/").unwrap_or(path)))
    }

    fn scope(&self, repository: &str) -> String {
        format!("repository:{}:pull", self.at.there(repository))
    }
}

impl Case<'_> {
    /// Those that are asked for this path of the upstream. A tag that was written through us is the upstream's to tell.
    fn mirrors(&self, path: &str) -> impl Iterator<Item = &UpstreamMirror> {
        let key = key_of(self.upstream(), path, &HeaderMap::new());
        let is_written = is_tag(path)
            && !self.upstream().mirrors.is_empty()
            && self.registry.tags.is_written(&key);
        let now = self.cache.now();
        let all = self.upstream().mirrors.iter().filter(move |_| !is_written);
        all.filter(move |mirror| !mirror.rests(now))
    }

    /// What the first mirror says that has it.
    pub(super) async fn mirrored_head(&self, path: &str, fields: &HeaderMap) -> Option<Answered> {
        for mirror in self.mirrors(path) {
            let (cache, scope) = (self.cache, mirror.scope(&self.routed.repository));
            let named = (&mirror.at, &Whose::Nobody, scope.as_str());
            let (fetch, fields) = (mirror.at.fetch(&mirror.path(path)), fields.clone());
            let follow = Some(self.follow());
            let asked = ask_as(cache, named, fetch, Method::HEAD, fields, follow, LONGEST_HEAD);
            match timeout(PATIENCE, asked).await {
                Ok(Ok(answer)) if answer.status.is_success() => {
                    // What does not say which manifest a tag is has said nothing.
                    if !is_tag(path) || Tag::of(&answer.headers, 0).is_some() {
                        return Some(answer);
                    }
                }
                Ok(Ok(answer)) if is_away(answer.status) => {
                    mirror.fails(cache, &format!("it answers {}", answer.status.as_u16()));
                }
                // It does not have it, or not for everybody.
                Ok(Ok(_) | Err(Fault::Unauthorized { .. })) => {}
                Ok(Err(fault)) => mirror.fails(cache, &fault.to_string()),
                Err(_) => mirror.fails(cache, &format!("it says nothing within {PATIENCE:?}")),
            }
        }
        None
    }

    /// What is kept, or what the first mirror gives that has it; none: the upstream is to be asked.
    pub(super) async fn mirrored(&mut self, path: &str) -> Option<Reply> {
        let upstream = Arc::clone(&self.routed.upstream);
        for mirror in upstream.mirrors.iter().filter(|mirror| !mirror.rests(self.cache.now())) {
            let scope = mirror.scope(&self.routed.repository);
            let mut refused: Option<Refused> = None;
            loop {
                let (at, again) = (&mirror.at, refused.as_ref());
                let own = match at.authorization(self.cache, &Whose::Nobody, &scope, again).await {
                    Ok(own) => own,
                    Err(fault) => {
                        mirror.fails(self.cache, &fault.to_string());
                        break;
                    }
                };
                let mut inner = self.inner(&upstream.fetch(path), own.as_ref());
                let (fetch, failed) = (at.fetch(&mirror.path(path)), Arc::clone(&mirror.failed));
                if let Some(kept_for) = &mut inner.kept_for {
                    kept_for.source = Some(Arc::new(OtherSource { fetch, failed }));
                }
                let reply = serve::object(self.cache, inner).await;
                match reply.status {
                    StatusCode::OK
                    | StatusCode::PARTIAL_CONTENT
                    | StatusCode::NOT_MODIFIED
                    | StatusCode::RANGE_NOT_SATISFIABLE => return Some(self.told_client(reply)),
                    StatusCode::UNAUTHORIZED if refused.is_none() => {
                        refused = Some(Refused { headers: reply.headers, sent: own });
                        continue;
                    }
                    status if is_away(status) => {
                        mirror.fails(self.cache, &format!("it answers {}", status.as_u16()));
                    }
                    _ => {}
                }
                break;
            }
        }
        None
    }
}

fn is_tag(path: &str) -> bool {
    let named = path.rsplit('/').next().and_then(Reference::parse);
    matches!(named, Some(Reference::Tag(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::registry::upstream::tests::upstream;

    #[test]
    fn what_something_is_called_at_a_mirror() {
        let of = |prefix| Arc::into_inner(upstream("", "m", prefix)).unwrap();
        let plain = UpstreamMirror::new(of(""));
        assert_eq!(plain.path("/v2/a/b/manifests/v1"), "/v2/a/b/manifests/v1");
        let below = UpstreamMirror::new(of("hub"));
        assert_eq!(below.path("/v2/a/b/manifests/v1"), "/v2/hub/a/b/manifests/v1");
        assert_eq!(below.scope("a/b"), "repository:hub/a/b:pull");
    }

    #[test]
    fn one_that_failed_rests_for_a_while() {
        let mirror = UpstreamMirror::new(Arc::into_inner(upstream("", "m", "")).unwrap());
        assert!(!mirror.rests(5));
        mirror.failed.store(1000, Ordering::Relaxed);
        assert!(mirror.rests(1000) && mirror.rests(1000 + REST - 1));
        assert!(!mirror.rests(1000 + REST) && !mirror.rests(999));
    }
}
