//! Before a push becomes visible: its manifest is judged by every push rule that is for it.
//!
//! `push` asks at `PUT manifest`, when all blobs are there and nothing names them yet. The story is `Case::judged`:
//! `manifest` and `facts` say what is pushed, `demands`, the operator's own rules and the outside `hook` whether it may be,
//! `changes` as what. What must stay true: what is not understood, or not judged in time, does not become visible; what
//! becomes visible is what was judged, with nothing changed but annotations and the tag that rules set.

mod changes;
mod demands;
mod facts;
mod hook;
mod manifest;
mod rule;
mod wild;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Deserialize as _;
use tokio::sync::OwnedMutexGuard;

use self::changes::Changes;
use self::facts::Pushed;
use self::manifest::{PushedConfig, PushedManifest};
pub(super) use self::rule::PushRule;
use super::case::Case;
use super::errors::Code;
use super::name::{Digest, Reference};
use super::tags::CONTENT_DIGEST;
use crate::cache::reply::Reply;

/// Of a config: descriptions of images have some KiB.
const LONGEST_CONFIG: usize = 8 << 20;
/// Of what the operator's own rules are shown.
const LONGEST_INPUT: usize = 2 << 20;
/// For reading a config, whatever the upstream does.
const PATIENCE: Duration = Duration::from_secs(60);
/// All forms: a tag that an upstream does not show in the form asked for would look free.
const ANY_FORM: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.v1+prettyjws, \
    application/vnd.docker.distribution.manifest.v1+json, */*";

/// What may become visible.
pub(super) struct LetThrough {
    pub reference: Reference,
    pub manifest: Bytes,
    /// Held until it is: nobody else here may set the same tag meanwhile.
    pub turn: Option<OwnedMutexGuard<()>>,
}

/// Why not: the rule, its field, and what is wrong.
struct Objection<'r> {
    rule: &'r str,
    field: &'static str,
    why: String,
}

impl Case<'_> {
    /// `bytes`: a manifest that has the digest that it is pushed by, if it is.
    pub(super) async fn judged(
        &self,
        asked: &Reference,
        bytes: Bytes,
    ) -> Result<LetThrough, Box<Reply>> {
        let rules = self.registry.push_rules.iter();
        let rules: Vec<&PushRule> =
            rules.filter(|rule| rule.is_for(&self.who, &self.name)).collect();
        if rules.is_empty() {
            return Ok(LetThrough { reference: asked.clone(), manifest: bytes, turn: None });
        }
        let manifest = self.understood(&bytes)?;
        let mut pushed = self.pushed(asked, &bytes, manifest);
        let config = match rules.iter().any(|rule| rule.needs_config()) {
            true => self.config(&mut pushed).await?,
            false => None,
        };
        let (wanted, against) = self.asked_of(&rules, &pushed, &bytes, config.as_deref()).await;
        if !against.is_empty() {
            return Err(self.objected(asked, &against));
        }
        let wrong = |why: String| self.not_pushed(asked, &why);
        let reference = wanted.reference(&pushed, asked).map_err(wrong)?;
        let manifest = wanted.manifest(&pushed, &bytes).map_err(wrong)?;
        let turn = self.may_be_set(&rules, asked, &reference, &manifest).await?;
        Ok(LetThrough { reference, manifest, turn })
    }

    /// A manifest of one reading.
    fn understood(&self, bytes: &Bytes) -> Result<PushedManifest, Box<Reply>> {
        let mut told = self.request.headers.get_all(header::CONTENT_TYPE).into_iter();
        let (first, second) = (told.next(), told.next());
        let read = || {
            if second.is_some() {
                return Err("the request says two forms of the manifest".to_owned());
            }
            let told = first.map(HeaderValue::to_str).transpose();
            let told = told.map_err(|_| "the request's `Content-Type` is no text".to_owned())?;
            let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
            PushedManifest::read(told, text)
        };
        read().map_err(|why| Box::new(self.refuse(Code::ManifestInvalid, &why)))
    }

    fn pushed(&self, asked: &Reference, bytes: &Bytes, manifest: PushedManifest) -> Pushed {
        let (tag, digest) = match asked {
            Reference::Tag(tag) => (Some(tag.clone()), Digest::of(bytes).as_str().to_owned()),
            Reference::Digest(digest) => (None, digest.as_str().to_owned()),
        };
        Pushed {
            registry: self.registry.name.clone(),
            repository: self.name.clone(),
            reference: asked.as_str().to_owned(),
            tag,
            digest,
            user: self.who.user().map(str::to_owned),
            groups: self.who.groups().to_vec(),
            manifest,
            image: None,
        }
    }

    /// The blob of an image's config, as the upstream has it.
    async fn config(&self, pushed: &mut Pushed) -> Result<Option<String>, Box<Reply>> {
        let Some(blob) = &pushed.manifest.config else { return Ok(None) };
        let invalid = |why: &str| {
            let why = format!("the config `{}`: {why}", blob.digest);
            Box::new(self.refuse(Code::ManifestInvalid, &why))
        };
        if blob.size > LONGEST_CONFIG as u64 {
            return Err(invalid("it is too long to be judged"));
        }
        let digest = Digest::parse(&blob.digest).filter(|digest| digest.sha256().is_some());
        let digest = digest.ok_or_else(|| invalid("it is named by no SHA-256"))?;
        let path = self.path(&format!("blobs/{}", digest.as_str()));
        let asking = self.question(Method::GET, &path, HeaderMap::new(), true, LONGEST_CONFIG);
        let answer = match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(fault)) => return Err(Box::new(self.refused_or_failed(&fault))),
            Err(_) => return Err(invalid("the registry does not give it in time")),
        };
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(invalid("the registry does not have it")),
            status => return Err(Box::new(self.as_told(status, Code::BlobUnknown))),
        }
        if Digest::of(&answer.body) != digest || answer.body.len() as u64 != blob.size {
            return Err(invalid("the registry gives something else"));
        }
        let text = std::str::from_utf8(&answer.body).map_err(|_| invalid("it is not UTF-8"))?;
        pushed.image = Some(PushedConfig::read(text).map_err(|why| invalid(&why))?);
        Ok(Some(text.to_owned()))
    }

    /// What rules want changed, and what speaks against it. Outside programs are asked only when nothing else does.
    async fn asked_of<'r>(
        &self,
        rules: &[&'r PushRule],
        pushed: &Pushed,
        bytes: &Bytes,
        config: Option<&str>,
    ) -> (Changes, Vec<Objection<'r>>) {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let (mut wanted, mut against) = (Changes::default(), Vec::new());
        for rule in rules {
            let mut object = |field, why| against.push(Objection { rule: &rule.name, field, why });
            for (field, why) in rule.demands.unmet(pushed, self.cache.now()) {
                object(field, why);
            }
            match rule.changes(pushed) {
                Ok(changes) => wanted.extend(changes),
                Err((field, why)) => object(field, why),
            }
            let Some(policy) = &rule.policy else { continue };
            if text.len() + config.map_or(0, str::len) > LONGEST_INPUT {
                object("policy", "it is too long to be judged".to_owned());
                continue;
            }
            match policy.judge(&pushed.document(text, config, "")) {
                Ok(None) => {}
                Ok(Some(patch)) => match Changes::deserialize(patch) {
                    Ok(changes) => wanted.extend(changes),
                    Err(_) => object(
                        "policy",
                        "`patch` has what is neither `annotations` nor `tag`".to_owned(),
                    ),
                },
                Err(reasons) => reasons.into_iter().for_each(|why| object("policy", why)),
            }
        }
        for rule in rules.iter().filter(|_| against.is_empty()) {
            let Some(hook) = &rule.hook else { continue };
            match hook.ask(&pushed.document(text, config, &hook.base)).await {
                Ok(changes) => wanted.extend(changes),
                Err(why) => {
                    against.push(Objection { rule: &rule.name, field: "hook", why });
                    break;
                }
            }
        }
        (wanted, against)
    }

    /// That the tag is free, or is this already, where a rule lets no tag be set anew. `asked` is what the client says.
    async fn may_be_set(
        &self,
        rules: &[&PushRule],
        asked: &Reference,
        reference: &Reference,
        manifest: &Bytes,
    ) -> Result<Option<OwnedMutexGuard<()>>, Box<Reply>> {
        let Reference::Tag(tag) = reference else { return Ok(None) };
        let is_fixed = |rule: &&&PushRule| wild::any(&rule.immutable, tag);
        let Some(rule) = rules.iter().find(is_fixed) else { return Ok(None) };
        let path = self.path(&format!("manifests/{tag}"));
        let turn = self.registry.turns.take(&format!("set {}{path}", self.upstream().host)).await;
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(ANY_FORM));
        let answer = self.question(Method::HEAD, &path, headers, true, LONGEST_CONFIG).await;
        let answer = answer.map_err(|fault| Box::new(self.refused_or_failed(&fault)))?;
        let why = match answer.status {
            StatusCode::NOT_FOUND => return Ok(Some(turn)),
            StatusCode::OK => {
                let is = answer.headers.get(CONTENT_DIGEST).and_then(|is| is.to_str().ok());
                match is {
                    Some(is) if is == Digest::of(manifest).as_str() => return Ok(Some(turn)),
                    Some(is) => format!("`{tag}` is `{is}` and may not become another"),
                    None => format!("`{tag}` is there, and the registry does not say what it is"),
                }
            }
            status => return Err(Box::new(self.as_told(status, Code::NotFound))),
        };
        let field = "immutable";
        Err(self.objected(asked, &[Objection { rule: &rule.name, field, why }]))
    }

    fn objected(&self, asked: &Reference, against: &[Objection<'_>]) -> Box<Reply> {
        let (registry, repository) = (&self.registry.name, &self.name);
        for Objection { rule, field, .. } in against {
            tracing::info!(%registry, %repository, %rule, %field, "a push is refused");
        }
        let reasons = against.iter().map(|one| {
            let Objection { rule, field, why } = one;
            format!("{why} (`{field}` of push rule `{rule}`)")
        });
        if let Some(first) = against.first() {
            let _ = self.denied_by.set(first.rule.to_owned());
        }
        self.not_pushed(asked, &reasons.collect::<Vec<_>>().join("; "))
    }

    fn not_pushed(&self, asked: &Reference, why: &str) -> Box<Reply> {
        let joint = if matches!(asked, Reference::Tag(_)) { ':' } else { '@' };
        let message = format!("`{}{joint}{}` is not let through: {why}", self.name, asked.as_str());
        Box::new(self.refuse(Code::Denied, &message))
    }
}
