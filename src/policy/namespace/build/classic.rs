//! Builds of the classic builder: what is said beside the context, and the Dockerfile in it.
//!
//! `request` calls it, and `Namespaces` with the Dockerfile on its way to the engine. What must stay true: no image is read by
//! a name that was not given it here, those that an image's own triggers (`ONBUILD`) name among them.

use serde_json::Value as Json;

use super::super::look::{self, Looked};
use super::super::names::{BRIDGE, Tenant};
use super::super::request::Request;
use super::super::{Namespaces, images, nameless, network};
use super::{refuse, target};
use crate::api::dockerfile::{
    self, AskedBuild, BuildSettings, Builder, Fetch, FetchKind, Unreadable,
};
use crate::api::grammar::reference::{CONTAINER, Reference};
use crate::policy::{Context, Edit, Question, Reason, Verdict};

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
    edits.push(Edit::Query("networkmode".into(), Some(mode(request, said("networkmode"))?)));
    if !said("buildid").is_empty() {
        edits.push(Edit::Query("buildid".into(), Some(request.tenant.sent(said("buildid")))));
    }
    Ok(edits)
}

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
    let bases = found.iter().filter(|one| one.kind == FetchKind::Base && one.name.is_whole);
    for base in bases {
        match triggers(with, tenant, (base, &settings), cx) {
            Ok(()) => {}
            Err(verdict) => return verdict,
        }
    }
    Verdict::pass()
}

fn triggers(
    with: &Namespaces,
    tenant: &Tenant,
    (base, settings): (&Fetch, &BuildSettings<'_>),
    cx: &Context<'_>,
) -> Looked<()> {
    let name = &base.name.known;
    let deny = |why: String, hint: &'static str| {
        let place = format!("Dockerfile:{}", base.line);
        Verdict::deny(Reason::new(DOCKERFILE, place, why, hint))
    };
    let sent = rename(with, tenant, name).unwrap_or_else(|| name.clone());
    let Some(image) = look::known(Question::Image(sent), cx)? else {
        let why = format!("`{name}` is not there, and nobody can tell what it has a build do");
        return Err(deny(why, "pull it first"));
    };
    let listed = image.pointer("/Config/OnBuild").and_then(Json::as_array);
    for trigger in listed.into_iter().flatten().filter_map(Json::as_str) {
        let found = dockerfile::triggered(trigger, settings);
        let is_image = |one: &Fetch| matches!(one.kind, FetchKind::Base | FetchKind::Image);
        if found.is_ok_and(|found| !found.iter().any(is_image)) {
            continue;
        }
        let why = format!("`{name}` has an `ONBUILD` that reads another image");
        return Err(deny(why, "use BuildKit for it"));
    }
    Ok(())
}

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
