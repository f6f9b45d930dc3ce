//! What the cache does for requests that a registry makes of it.
//!
//! `serve` hands the cache requests in an upstream's own words, and the cache asks this what they are. What must stay true:
//! what is named by its digest is kept, and is what the digest says; nothing else is kept here. Blobs are kept once for an
//! upstream: that a repository has one is not said by its being kept (`content` knows), while manifests are each repository's.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, header};

use super::name::Digest;
use crate::cache::fresh::FreshnessRules;
use crate::cache::key::Key;
use crate::cache::route::{Fetch, Kind, Mirror, RequestTarget, RewriteHeaders, Route};
use crate::config::Redirects;

#[derive(Debug)]
pub(super) struct ByDigest {
    redirects: Redirects,
    headers: Arc<dyn RewriteHeaders>,
}

impl ByDigest {
    pub(super) fn new(redirects: Redirects) -> ByDigest {
        ByDigest { redirects, headers: Arc::new(AsContent) }
    }
}

impl Mirror for ByDigest {
    fn route(&self, asked: &RequestTarget<'_>) -> Option<Route> {
        let content = content_of(asked);
        let target = match asked.query {
            Some(query) => format!("{}?{query}", asked.path),
            None => asked.path.to_owned(),
        };
        let is_kept = content.is_some() && self.redirects == Redirects::Follow;
        Some(Route {
            key: Key {
                partition: asked.partition,
                scheme: asked.scheme,
                host: asked.host.into(),
                path: match shared(asked.path).filter(|_| is_kept) {
                    Some(shared) => shared.into(),
                    None => asked.path.into(),
                },
                query: asked.query.map(Into::into),
            },
            kind: if is_kept { Kind::Permitted } else { Kind::PassThrough },
            failed: None,
            source: Fetch { scheme: asked.scheme, host: asked.host.to_owned(), target },
            verify: content.filter(|_| is_kept),
            rewrite: None,
            headers: is_kept.then(|| Arc::clone(&self.headers)),
            rules: FreshnessRules { share_authorized: true, ..FreshnessRules::default() },
            negative: None,
            follow: is_kept,
        })
    }
}

/// The SHA-256 that a path of a blob or manifest names.
fn content_of(asked: &RequestTarget<'_>) -> Option<[u8; 32]> {
    let reads = asked.method == http::Method::GET || asked.method == http::Method::HEAD;
    (reads && asked.query.is_none()).then(|| named(asked.path))?
}

/// Whether a request to read this may be answered of what is kept.
pub(super) fn is_content(target: &str) -> bool {
    named(target).is_some()
}

/// Where a blob is kept once for all repositories that have it. No repository is called so.
pub(super) fn shared(path: &str) -> Option<String> {
    named(path)?;
    let (repository, digest) = path.rsplit_once('/')?;
    let is_blob = repository.ends_with("/blobs");
    is_blob.then(|| format!("/v2/_/blobs/{digest}"))
}

fn named(path: &str) -> Option<[u8; 32]> {
    let (rest, digest) = path.rsplit_once('/')?;
    let is_content = rest.ends_with("/blobs") || rest.ends_with("/manifests");
    is_content.then(|| Digest::parse(digest)?.sha256())?
}

/// What an upstream says of how to keep it is said of a URL; by its digest it is the same for ever, whoever asked, in
/// whatever form they would have liked it.
#[derive(Debug)]
struct AsContent;

impl RewriteHeaders for AsContent {
    fn rewrite(&self, headers: &mut HeaderMap) {
        for name in &OF_THE_URL {
            headers.remove(name);
        }
    }
}

const OF_THE_URL: [HeaderName; 6] = [
    header::CACHE_CONTROL,
    header::EXPIRES,
    header::PRAGMA,
    header::SET_COOKIE,
    header::VARY,
    header::CONTENT_LOCATION,
];

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::cache::key::{Partition, Scheme};

    fn kind(method: Method, path: &str, query: Option<&str>, redirects: Redirects) -> Route {
        let asked = RequestTarget {
            method: &method,
            scheme: Scheme::Https,
            host: "a",
            path,
            query,
            headers: &HeaderMap::new(),
            partition: Partition::Shared,
        };
        ByDigest::new(redirects).route(&asked).unwrap()
    }

    #[test]
    fn what_is_named_by_its_digest_is_kept_and_verified() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for place in ["blobs", "manifests"] {
            let path = format!("/v2/x/y/{place}/{digest}");
            let route = kind(Method::GET, &path, None, Redirects::Follow);
            assert_eq!(
                (route.kind, route.verify, route.follow),
                (Kind::Permitted, Some([0xab; 32]), true)
            );
            let route = kind(Method::GET, &path, None, Redirects::Pass);
            assert_eq!((route.kind, route.verify, route.follow), (Kind::PassThrough, None, false));
            for (method, query) in
                [(Method::DELETE, None), (Method::PUT, None), (Method::GET, Some("x"))]
            {
                assert_eq!(kind(method, &path, query, Redirects::Follow).kind, Kind::PassThrough);
            }
        }
        let of = |path: &str| kind(Method::GET, path, None, Redirects::Follow).key.path;
        let shared = of(&format!("/v2/x/y/blobs/{digest}"));
        assert_eq!(&*shared, format!("/v2/_/blobs/{digest}"));
        assert_eq!(of(&format!("/v2/z/blobs/{digest}")), shared);
        let manifest = format!("/v2/x/y/manifests/{digest}");
        assert_eq!(&*of(&manifest), manifest, "each repository has its own");
        for path in
            ["/v2/x/manifests/latest", "/v2/x/tags/list", &format!("/v2/x/referrers/{digest}")]
        {
            assert_eq!(kind(Method::GET, path, None, Redirects::Follow).kind, Kind::PassThrough);
        }
    }
}
