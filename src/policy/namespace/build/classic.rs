//! Builds of the classic builder: what is said beside the context, and the Dockerfile in it.
//!
//! `request` calls it, and `Namespaces` with the Dockerfile on its way to the engine. What must stay true: no image is read by
//! a name that was not given it here, those that an image's own triggers (`ONBUILD`) name among them.

use serde_json::Value as Json;

use super::super::image::ImageReference;
use super::super::look::{self, Looked};
use super::super::names::{BRIDGE, Tenant};
use super::super::request::Request;
use super::super::{Namespaces, images, nameless, network, show};
use super::{refuse, target};
use crate::api::dockerfile::{
    self, AskedBuild, BuildSettings, Builder, Fetch, FetchKind, LOGINS_NOTE, PULLS_NOTE, Unreadable,
};
use crate::api::grammar::reference::{CONTAINER, Reference};
use crate::policy::{Context, Deed, Edit, Question, Reason, Verdict, WantedGrant, WantedPull};

const DOCKERFILE: &str = "namespace.dockerfile";

pub(in super::super) fn query(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let query = request.call.query();
    let said = |name: &str| query.get(name).unwrap_or_default();
    if said("version") == "2" {
        let why =
            "must not be 2 in a namespace: BuildKit cannot be told there what images are called";
        return Err(refuse(
            "?version",
            why,
            "use `docker buildx build`, or set `DOCKER_BUILDKIT=0`",
        ));
    }
    if !said("remote").is_empty() {
        let why = "must be empty in a namespace: the Dockerfile is not seen there";
        return Err(refuse("?remote", why, "send the context"));
    }
    // They are BuildKit's.
    for (name, field) in [("outputs", "?outputs"), ("session", "?session")] {
        if !said(name).is_empty() {
            return Err(refuse(field, "must be empty where the classic builder builds", ""));
        }
    }
    // What a step has run in would be left behind as nobody's.
    let on = |name: &'static str| Edit::Query(name.into(), Some("1".to_owned()));
    let mut edits = vec![on("rm"), on("forcerm")];
    let mut names = Vec::new();
    for name in query.all("t").filter(|name| !name.is_empty()) {
        names.push(target(request, name)?);
    }
    if names.is_empty() {
        names.push(nameless::fresh(request)?);
    }
    edits.push(Edit::Queries("t".into(), names));
    if let Ok(names) = serde_json::from_str::<Vec<String>>(said("cachefrom")) {
        let sent = names.iter().map(|name| images::named(request, name));
        let sent = sent.collect::<Looked<Vec<String>>>()?;
        edits.push(Edit::Query("cachefrom".into(), serde_json::to_string(&sent).ok()));
    }
    edits.extend(pulls(request));
    edits.push(Edit::Query("networkmode".into(), Some(mode(request, said("networkmode"))?)));
    if !said("buildid").is_empty() {
        edits.push(Edit::Query("buildid".into(), Some(request.tenant.sent(said("buildid")))));
    }
    Ok(edits)
}

/// The engine pulls nothing by itself, and needs no client's credentials: what a Dockerfile names is there before it comes.
fn pulls(request: &Request<'_>) -> Vec<Edit> {
    let mut edits = vec![Edit::Query("pull".into(), None), Edit::Header(LOGINS, None)];
    let is_off = |text: &str| matches!(text, "" | "0" | "no" | "false" | "none");
    if request.call.query().get("pull").is_some_and(|text| !is_off(text)) {
        edits.push(Edit::Note(PULLS_NOTE, String::new()));
    }
    let logins = request.call.headers().find(|(name, _)| *name == LOGINS);
    if let Some(text) = logins.and_then(|(_, value)| std::str::from_utf8(value).ok()) {
        edits.push(Edit::Note(LOGINS_NOTE, text.to_owned()));
    }
    edits
}

const LOGINS: &str = "x-registry-config";

pub(in super::super) fn cancel(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let id = request.call.query().get("id").unwrap_or_default();
    Ok(vec![Edit::Query("id".into(), Some(request.tenant.sent(id)))])
}

/// Where `RUN` is in a network.
fn mode(request: &Request<'_>, mode: &str) -> Looked<String> {
    match mode {
        "" | "default" | BRIDGE => {
            network::bridge(request)?;
            Ok(request.tenant.sent(BRIDGE))
        }
        "host" | "none" => Ok(mode.to_owned()),
        mode => match Reference::parse(mode, CONTAINER) {
            Some(reference) => Ok(reference.with_id(&request.container(reference.name)?)),
            None => request.network(mode),
        },
    }
}

/// What the images that stages begin with have a build read.
pub(in super::super) fn judge(
    with: &Namespaces,
    tenant: &Tenant,
    (build, file): (&AskedBuild, &[u8]),
    cx: &Context<'_>,
) -> Verdict {
    if build.builder == Builder::BuildKit {
        let why = "is for BuildKit, which cannot be told here what images are called";
        return refuse("Dockerfile", why, "set `DOCKER_BUILDKIT=0`");
    }
    let settings = build.settings();
    let found = match dockerfile::fetches(file, &settings) {
        Ok(found) => found,
        Err(why) => return Verdict::deny(unreadable(&why)),
    };
    // Nothing is pulled for what is refused.
    if let Err(reason) = sent(with, tenant, build, file) {
        return Verdict::deny(reason);
    }
    let is_image = |one: &&Fetch| matches!(one.kind, FetchKind::Base | FetchKind::Image);
    for one in found.iter().filter(is_image).filter(|one| one.name.is_whole) {
        let place = NamedImage { with, tenant, build, line: one.line, name: &one.name.known, cx };
        let looked = place.image().and_then(|image| match one.kind {
            FetchKind::Base => place.triggers(image, &settings),
            _ => Ok(()),
        });
        if let Err(verdict) = looked {
            return verdict;
        }
    }
    Verdict::pass()
}

/// Where a Dockerfile names an image.
struct NamedImage<'a> {
    with: &'a Namespaces,
    tenant: &'a Tenant,
    build: &'a AskedBuild,
    line: usize,
    name: &'a str,
    cx: &'a Context<'a>,
}

impl<'a> NamedImage<'a> {
    /// As the engine has it, which has pulled it where that was needed.
    fn image(&self) -> Looked<&'a Json> {
        let pull = self.pull()?;
        let Some(pull) = pull else {
            let sent = rename(self.with, self.tenant, self.name);
            let found =
                look::known(Question::Image(sent.unwrap_or(self.name.to_owned())), self.cx)?;
            return found.ok_or_else(|| self.deny(ABSENT, "pull it first"));
        };
        let found = look::known(Question::Image(pull.reference.clone()), self.cx)?;
        let is_kept = !self.build.pulls.always || pull.grant.is_none();
        let deed = Deed::Pull(pull);
        match (self.cx.facts.outcome(&deed), found) {
            (Some(Ok(())), Some(image)) => Ok(image),
            (None, Some(image)) if is_kept => Ok(image),
            (None, _) => Err(Verdict::Do(vec![deed])),
            (Some(Ok(())), None) => Err(self.deny(ABSENT, "")),
            (Some(Err(why)), _) => {
                let why = show::message(self.with, self.tenant, why);
                Err(self.deny(&format!("cannot be pulled: {why}"), ""))
            }
        }
    }

    /// By what it is pulled; None where nothing is. What is shared is pulled by a tag, once, and for the engine's platform.
    fn pull(&self) -> Looked<Option<WantedPull>> {
        let own = self.with.images(self.tenant);
        let parsed = own.visible(self.name).map_or_else(|| ImageReference::parse(self.name), Ok);
        let reference = parsed.map_err(|bad| self.deny(&format!("is no image: {bad}"), ""))?;
        let reference = match (&reference.tag, &reference.digest) {
            (None, None) => ImageReference { tag: Some("latest".to_owned()), ..reference },
            _ => reference,
        };
        if self.with.is_shared(self.name) {
            let is_by_tag = reference.digest.is_none();
            let (reference, platform) = (reference.familiar(), String::new());
            return Ok(is_by_tag.then_some(WantedPull { reference, platform, grant: None }));
        }
        let Some(registry) = &self.with.settings.registry else { return Ok(None) };
        let repository = own.repository(&reference);
        let grant = WantedGrant {
            registry: registry.name.clone(),
            address: registry.address.clone(),
            repository,
            pull: true,
            push: false,
            header: None,
            logins: Some(self.build.pulls.logins.clone()),
        };
        let sent = own.sent_reference(&reference);
        let reference = sent.map_err(|bad| self.deny(&format!("is no image: {bad}"), ""))?;
        let platform = self.build.pulls.platform.clone();
        Ok(Some(WantedPull { reference, platform, grant: Some(grant) }))
    }

    /// What it has a build do that begins with it.
    fn triggers(&self, image: &Json, settings: &BuildSettings<'_>) -> Looked<()> {
        let listed = image.pointer("/Config/OnBuild").and_then(Json::as_array);
        for trigger in listed.into_iter().flatten().filter_map(Json::as_str) {
            let found = dockerfile::triggered(trigger, settings);
            let is_image = |one: &Fetch| matches!(one.kind, FetchKind::Base | FetchKind::Image);
            if found.is_ok_and(|found| !found.iter().any(is_image)) {
                continue;
            }
            let why = "has an `ONBUILD` that reads another image";
            return Err(self.deny(why, "use BuildKit for it"));
        }
        Ok(())
    }

    fn deny(&self, why: &str, hint: &'static str) -> Verdict {
        let place = format!("Dockerfile:{}", self.line);
        Verdict::deny(Reason::new(DOCKERFILE, place, format!("`{}` {why}", self.name), hint))
    }
}

const ABSENT: &str = "is not there, and nobody can tell what it has a build do";

/// The Dockerfile with the engine's names of the images in it.
pub(in super::super) fn sent(
    with: &Namespaces,
    tenant: &Tenant,
    build: &AskedBuild,
    file: &[u8],
) -> Result<Option<Vec<u8>>, Reason> {
    dockerfile::renamed(file, &build.settings(), &|name| rename(with, tenant, name))
        .map_err(|why| unreadable(&why))
}

/// None for what may stay.
fn rename(with: &Namespaces, tenant: &Tenant, name: &str) -> Option<String> {
    let stays = name.starts_with(&with.prefix(tenant)) || with.is_shared(name);
    // What is no reference, or too long for one with the prefix, is none with it either: the engine says so.
    let refused = |_| format!("{}{name}", with.prefix(tenant));
    (!stays).then(|| with.images(tenant).sent(name).unwrap_or_else(refused))
}

fn unreadable(why: &Unreadable) -> Reason {
    Reason::new(DOCKERFILE, format!("Dockerfile:{}", why.line), why.why, "")
}
