//! What is written to a repository: uploads, mounts, manifests, deletions.
//!
//! `serve` calls it for a request that the rules allow. What must stay true: bodies of blobs pass as they come, to where the
//! upstream has said that the upload goes on and nowhere else; a manifest is read whole before the upstream sees any of
//! it; what is written is found again at once.

use http::header::LOCATION;
use http::{HeaderValue, Method, StatusCode};

use super::body::{NotWhole, collect};
use super::case::Case;
use super::errors::Code;
use super::judge::LetThrough;
use super::name::{Digest, Reference, is_repository};
use super::request::query_value;
use super::tags::{CONTENT_DIGEST, key_of};
use super::uploads::BegunUpload;
use crate::cache::key::Scheme;
use crate::cache::reply::Reply;
use crate::cache::route::Fetch;
use crate::cache::target::host_key;
use crate::cache::upstream::{RequestBody, resolve};
use crate::config::RegistryAction;
use crate::policy::namespace::image::Repository;

/// The specification (1.1, "Pushing Manifests") asks for at least this, and docker's registry takes no more.
const LONGEST_MANIFEST: usize = 4 << 20;

impl Case<'_> {
    /// Begins an upload, mounts a blob of another repository, or takes a whole blob at once.
    pub(super) async fn start(mut self) -> Reply {
        let query = self.request.query.clone();
        let digest = query_value(query.as_deref(), "digest");
        let digest = match digest.map(|text| Digest::parse(&text)) {
            None => None,
            Some(Some(digest)) => Some(digest),
            Some(None) => return self.refuse(Code::DigestInvalid, "`digest` is no digest"),
        };
        let (mut scope, mut asks) = (self.scope("pull,push"), Vec::new());
        let mounted = self.mount(query.as_deref());
        if let Some((blob, from)) = &mounted {
            asks.push(format!("mount={}&from={}", escaped(blob.as_str()), escaped(from)));
            scope.push_str(&format!(" repository:{from}:pull"));
        }
        asks.extend(digest.iter().map(|digest| format!("digest={}", escaped(digest.as_str()))));
        let query = (!asks.is_empty()).then(|| asks.join("&"));
        let path = self.path("blobs/uploads/");
        let (from, asked) = (self.upstream().fetch(&path), self.cache.now());
        // A body that has gone does not come again.
        let may_repeat = matches!(self.request.upload, RequestBody::Empty);
        let mut reply = self.send(&scope, &path, query.clone()).await;
        // "NAME_UNKNOWN" is the one 404 that the specification has for it.
        if reply.status == StatusCode::NOT_FOUND
            && may_repeat
            && let Some(ecr) = self.upstream().creates()
        {
            let made = ecr.create(self.cache, &self.routed.repository, asked).await;
            if let Err(why) = made {
                let why = format!("`{}` is not there, and cannot be made: {why}", self.name);
                return self.refuse(Code::Denied, &why);
            }
            reply = self.send(&scope, &path, query).await;
        }
        let blob = digest.or(mounted.map(|(blob, _)| blob));
        self.located(reply, &from, blob.as_ref())
    }

    /// Goes on with an upload, ends it, asks how far it is, or gives it up.
    pub(super) async fn upload(mut self, sealed: &str) -> Reply {
        let opened = self.registry.seal.open(sealed, &self.seal_for()).and_then(|url| fetch(&url));
        let Some(mut to) = opened else {
            let why =
                "this upload is not known here: it is another user's, or of another repository";
            return self.refuse(Code::UploadUnknown, why);
        };
        let digest = query_value(self.request.query.as_deref(), "digest");
        let digest = match digest.map(|text| Digest::parse(&text)) {
            None if self.request.method == Method::PUT => {
                return self.refuse(Code::DigestInvalid, "an upload ends with its `digest`");
            }
            None => None,
            Some(Some(digest)) => Some(digest),
            Some(None) => return self.refuse(Code::DigestInvalid, "`digest` is no digest"),
        };
        let from = to.clone();
        if let Some(digest) = digest.as_ref().filter(|_| self.request.method == Method::PUT) {
            to.target.push(if to.target.contains('?') { '&' } else { '?' });
            to.target.push_str(&format!("digest={}", escaped(digest.as_str())));
        }
        let (registry, cache) = (self.registry, self.cache);
        let _at_work = registry.uploads.at_work(cache, &from);
        let scope = self.scope("pull,push");
        let reply = self.send_to(&scope, &to).await;
        let is_given_up = self.request.method == Method::DELETE && reply.status.is_success();
        if is_given_up || reply.status == StatusCode::NOT_FOUND {
            registry.uploads.ended(&from);
        }
        self.located(reply, &from, digest.as_ref())
    }

    pub(super) async fn put_manifest(mut self, reference: &Reference) -> Reply {
        let upload = std::mem::take(&mut self.request.upload);
        let manifest = match collect(upload, LONGEST_MANIFEST).await {
            Ok(manifest) => manifest,
            Err(NotWhole::TooLong) => {
                let why = format!("a manifest has at most {LONGEST_MANIFEST} bytes");
                return self.refuse(Code::ManifestTooLarge, &why);
            }
            Err(why) => return self.refuse(Code::ManifestInvalid, why.as_str()),
        };
        if let Reference::Digest(digest) = reference
            && digest.sha256().is_some()
            && *digest != Digest::of(&manifest)
        {
            return self.refuse(Code::DigestInvalid, "the manifest does not have this digest");
        }
        let LetThrough { reference, manifest, turn: _turn } =
            match self.judged(reference, manifest).await {
                Ok(judged) => judged,
                Err(reply) => return *reply,
            };
        let digest = Digest::of(&manifest);
        self.request.upload = RequestBody::Whole(manifest);
        let (scope, path) =
            (self.scope("pull,push"), self.path(&format!("manifests/{}", reference.as_str())));
        let mut reply = self.send(&scope, &path, None).await;
        self.changed(&path).await;
        // What is pushed by a tag is there by its digest, too.
        let by_digest = self.path(&format!("manifests/{}", digest.as_str()));
        self.registry.absent.forget(&self.url(&by_digest));
        if Case::without_location(&mut reply).is_some() {
            let said = reply.headers.get(CONTENT_DIGEST).and_then(|value| value.to_str().ok());
            let named = said.unwrap_or(reference.as_str()).to_owned();
            self.locate(&mut reply, &format!("manifests/{named}"));
        }
        reply
    }

    pub(super) async fn delete(mut self, rest: &str) -> Reply {
        let (scope, path) = (self.scope("delete"), self.path(rest));
        let reply = self.send(&scope, &path, None).await;
        self.changed(&path).await;
        if let Some(digest) = rest.strip_prefix("manifests/").and_then(Digest::parse) {
            let key = key_of(self.upstream(), &path, &self.request.headers);
            self.registry.tags.forget_digest(self.cache, &key, &digest).await;
        }
        reply
    }

    /// What is asked for with `mount`, if `from` is of the same upstream and the client may read it; else the blob is
    /// uploaded as any other (the specification lets a registry not mount).
    fn mount(&self, query: Option<&str>) -> Option<(Digest, String)> {
        let blob = Digest::parse(&query_value(query, "mount")?)?;
        let from = query_value(query, "from").filter(|from| is_repository(from))?;
        let (from, routed) = match &self.asked {
            // Engines offer what any repository of the same registry's address has, whoever's it is.
            Some(asked) => {
                let of = Repository::parse(&from)?;
                let is_own = of.namespace == asked.namespace;
                let routed = self.registry.namespaces.route(self.registry, &of);
                (of.visible(), routed.filter(|_| is_own)?)
            }
            None => {
                let from =
                    self.registry.routes.canonical(&from, query_value(query, "ns").as_deref());
                let routed = self.registry.routes.find(&from)?;
                (from, routed)
            }
        };
        let routed = routed.of(&self.who);
        let is_same = std::sync::Arc::ptr_eq(&routed.upstream, &self.routed.upstream);
        let rules = &self.registry.rules;
        let may = rules.allow(&self.who, RegistryAction::Pull, &from);
        (is_same && may).then_some((blob, routed.repository))
    }

    /// Puts where it goes on, or what has come of it, in words of ours.
    fn located(&self, mut reply: Reply, from: &Fetch, blob: Option<&Digest>) -> Reply {
        let Some(location) = Case::without_location(&mut reply) else { return reply };
        if reply.status == StatusCode::CREATED {
            self.registry.uploads.ended(from);
            let said = reply.headers.get(CONTENT_DIGEST).and_then(|value| value.to_str().ok());
            let digest = blob.map(Digest::as_str).or(said).unwrap_or_default().to_owned();
            let rest = format!("blobs/{digest}");
            self.locate(&mut reply, &rest);
            // Docker looks for it before it sends it, and when it has.
            self.registry.absent.forget(&self.url(&self.path(&rest)));
            return reply;
        }
        let next = resolve(from, location.as_bytes());
        // What is to be written over TLS goes on over TLS.
        let next = next.filter(|next| from.scheme == Scheme::Http || next.scheme == Scheme::Https);
        let sealed = next.and_then(|next| {
            let url = format!("{}://{}{}", next.scheme.as_str(), next.host, next.target);
            let sealed = self.registry.seal.close(&url, &self.seal_for());
            self.registry.uploads.goes_on(self.cache, from, self.upload_of(next));
            sealed
        });
        match sealed {
            Some(sealed) => self.locate(&mut reply, &format!("blobs/uploads/{sealed}")),
            None => {
                let why = "the registry sends the upload to where it cannot go on";
                return self.refuse(Code::Unavailable(StatusCode::BAD_GATEWAY), why);
            }
        }
        reply
    }

    fn upload_of(&self, to: Fetch) -> BegunUpload {
        let upstream = std::sync::Arc::clone(&self.routed.upstream);
        // The distribution project's registry wants `delete` where an upload is given up.
        let scope = self.scope("pull,push,delete");
        BegunUpload { to, upstream, whose: self.whose.clone(), scope }
    }

    fn locate(&self, reply: &mut Reply, rest: &str) {
        if let Ok(location) = HeaderValue::try_from(format!("/v2/{}/{rest}", self.place())) {
            reply.headers.insert(LOCATION, location);
        }
    }

    /// For whom, and of what, an upload is.
    fn seal_for(&self) -> String {
        format!("{} {}\n{}", self.who.user().unwrap_or_default(), self.whose.turn(), self.place())
    }

    /// What is known of a URL is not known any more.
    async fn changed(&self, path: &str) {
        let key = key_of(self.upstream(), path, &self.request.headers);
        self.registry.absent.forget(&self.url(path));
        self.registry.tags.forget(self.cache, &key).await;
    }
}

/// Of a URL that was sealed here.
fn fetch(url: &str) -> Option<Fetch> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    let (host, target) = rest.split_at_checked(rest.find('/')?)?;
    Some(Fetch { scheme, host: host_key(host, scheme).ok()?, target: target.to_owned() })
}

fn escaped(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_url_is_read_as_it_was() {
        let there = fetch("https://a.example:8443/v2/x/blobs/uploads/1?_state=y%3D").unwrap();
        assert_eq!(there.host, "a.example:8443");
        assert_eq!(there.target, "/v2/x/blobs/uploads/1?_state=y%3D");
        for odd in ["", "ftp://a/x", "https://", "https://a", "https://a@b/x"] {
            assert!(fetch(odd).is_none(), "{odd}");
        }
        assert_eq!(escaped("sha256:ab/c"), "sha256%3Aab%2Fc");
    }
}
