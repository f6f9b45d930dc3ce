//! Builds by BuildKit that there is no source policy to hold them by.
//!
//! `Conservative` asks for each build that an engine below 24 is to do, and for each in the form of docker below 23. There `gateway` shows the Dockerfile to the policies on
//! its way through the session, and this says what for. What must stay true: a Dockerfile comes from nowhere but the
//! session of its build, and no other program reads it; what a build fetches besides is in its request, and judged there.

use std::sync::Arc;

use super::judge::{Judge, Judgement};
use super::{Conservative, build};
use crate::api::buildkit::BUILD_ID;
use crate::api::doc::{self, Value};
use crate::api::dockerfile::AskedBuild;
use crate::api::shape::{Kind, LABELS, Object, f};
use crate::api::{Endpoint, Typed};
use crate::policy::builds::{self, BuildSession};
use crate::policy::{Context, Deed, Fact, Question, Reason, Verdict};

const RULE: &str = "build.source-policy";
const BUILDKIT: &str = "build.buildkit";
const OUTPUTS: &str = "build.outputs";
const OLD: &str =
    "on an engine older than 24, where nothing else holds the build to what is allowed here";

pub(super) fn judge(with: &Conservative, call: &Typed, cx: &Context<'_>) -> Verdict {
    match call.endpoint() {
        Endpoint::ImageBuild => by_query(with, call, cx),
        Endpoint::Solve => {
            let session = call.doc().and_then(|doc| doc.at(&["Session"])?.as_str());
            by_options(call, "FrontendAttrs", session.and_then(|id| cx.facts.session(id)), cx)
        }
        _ => by_options(call, "FrontendOpt", of_build(call, cx), cx),
    }
}

/// The session of the build that a frontend's call belongs to.
fn of_build<'c>(call: &Typed, cx: &Context<'c>) -> Option<&'c Arc<BuildSession>> {
    let (_, id) = call.headers().find(|(name, _)| *name == BUILD_ID)?;
    let id = std::str::from_utf8(id).ok()?;
    match cx.facts.get(&Question::awaited(crate::api::endpoint::Resource::BuildId, id)) {
        Some(Fact::Owner(owner)) => owner.session.as_ref(),
        _ => None,
    }
}

/// A frontend is a program that reads a Dockerfile and fetches what it likes: BuildKit's own fetches what stands there. A
/// graph fetches what its operations name, each of which is judged.
fn by_options(
    call: &Typed,
    place: &'static str,
    session: Option<&Arc<BuildSession>>,
    cx: &Context<'_>,
) -> Verdict {
    let at = |field| call.doc().and_then(|doc| doc.at(&[field])).filter(|value| !value.is_zero());
    let rules = ["SourcePolicy", "SourcePolicies", "SourcePolicySession"];
    if let Some(field) = rules.into_iter().find(|field| at(field).is_some()) {
        let why = "must not be set on an engine older than 24, which asks by no such rules";
        return Verdict::deny(Reason::new(RULE, field, why, ""));
    }
    match at("Frontend").and_then(Value::as_str) {
        None => return Verdict::pass(),
        Some("dockerfile.v0") => {}
        Some(_) => {
            let why = format!("must be `dockerfile.v0` {OLD}");
            return Verdict::deny(Reason::new(RULE, "Frontend", why, ""));
        }
    }
    if at("FrontendInputs").is_some() {
        let why = format!("must be empty {OLD}");
        return Verdict::deny(Reason::new(RULE, "FrontendInputs", why, ""));
    }
    let nothing = Value::Null;
    let options = at(place).unwrap_or(&nothing);
    let moves = |(key, value): &&(std::borrow::Cow<'static, str>, Value)| {
        let family = key.split_once(':').map(|(family, _)| family);
        // Buildx says the name that it has anyway, for a Dockerfile from its standard input.
        let is_usual = key == "dockerfilekey" && value.as_str() == Some("dockerfile");
        !value.is_zero()
            && !is_usual
            && (MOVING.contains(&key.as_ref())
                || matches!(family, Some("context" | "input" | "input-metadata")))
    };
    if let Some((key, _)) = options.entries().iter().find(moves) {
        let why = format!("must not be set {OLD}");
        let hint = "send the context, and leave named contexts and other frontends out; or set `DOCKER_BUILDKIT=0`";
        return Verdict::deny(Reason::new(RULE, format!("{place}.{key}"), why, hint));
    }
    bind(session, &AskedBuild::of_options(options), cx)
}

/// What makes the Dockerfile come from elsewhere, or another program read it (BuildKit's frontend/dockerfile/builder).
const MOVING: &[&str] =
    &["context", "contextkey", "dockerfilekey", "source", "cmdline", "build-arg:BUILDKIT_SYNTAX"];

/// `POST /build`, as docker below 23 asks for BuildKit.
fn by_query(with: &Conservative, call: &Typed, cx: &Context<'_>) -> Verdict {
    let said = |name: &str| call.query().get(name).unwrap_or_default();
    let (session, remote, outputs) = (said("session"), said("remote"), said("outputs"));
    if said("version") != "2" {
        return match (session.is_empty() && remote.is_empty(), outputs.is_empty()) {
            (true, true) => Verdict::pass(),
            (true, false) => Verdict::deny(Reason::new(OUTPUTS, "?outputs", "must not be set", "")),
            (false, _) => {
                let why = "must not be set for the classic builder, which has no sessions";
                Verdict::deny(Reason::new(BUILDKIT, "?session", why, ""))
            }
        };
    }
    if !with.rules.operations.contains_key(&Endpoint::Session) {
        return Verdict::deny(with.not_allowed(Endpoint::Session, "/session"));
    }
    if remote != "client-session" {
        let why = "must be `client-session` for BuildKit, for nobody looks at another context";
        let hint = "send the context from a folder, or set `DOCKER_BUILDKIT=0`";
        return Verdict::deny(Reason::new(BUILDKIT, "?remote", why, hint));
    }
    let asked = AskedBuild::of_query(call.query());
    let caches: Option<Vec<String>> = match said("cachefrom") {
        "" => Some(Vec::new()),
        json => serde_json::from_str::<Option<_>>(json).ok().map(Option::unwrap_or_default),
    };
    let (Some(asked), Some(caches)) = (asked, caches) else {
        let why = "must be JSON that can be read";
        return Verdict::deny(Reason::new(BUILDKIT, "?buildargs, ?cachefrom", why, ""));
    };
    // What scans a build is an image, which BuildKit takes by no rules here (frontend/attestations).
    if let Some(name) = asked.args.keys().find(|name| name.starts_with("BUILDKIT_ATTEST_")) {
        let why = format!("must not have `{name}` where BuildKit asks by no source policy");
        let hint = "use a newer docker with buildx for attestations";
        return Verdict::deny(Reason::new(BUILDKIT, "?buildargs", why, hint));
    }
    // The classic builder takes these from its own images, BuildKit from registries.
    let mut judge = Judge::default();
    match exporters(&mut judge, with, outputs, cx) {
        Judgement::Yes => {}
        Judgement::Unknown => return Verdict::Ask(judge.asks.into_iter().collect()),
        Judgement::No | Judgement::Because(_) | Judgement::Absent(_) => {
            let why = "must be of known types with known options, and push to allowed registries only, securely";
            return Verdict::deny(Reason::new(OUTPUTS, "?outputs", why, ""));
        }
    }
    match build::all_registries(&mut judge, with, caches.iter().map(String::as_str), cx) {
        Judgement::Yes => bind(cx.facts.session(session), &asked, cx),
        Judgement::Unknown => Verdict::Ask(judge.asks.into_iter().collect()),
        Judgement::No | Judgement::Because(_) | Judgement::Absent(_) => {
            let why = "must name images of registries that builds may use";
            Verdict::deny(Reason::new("registry.host", "?cachefrom", why, ""))
        }
    }
}

/// `[{"Type": "local", "Attrs": {…}}]`
fn exporters(
    judge: &mut Judge<'_>,
    with: &Conservative,
    json: &str,
    cx: &Context<'_>,
) -> Judgement {
    const OUTPUT: &Object = &[f("Type", Kind::Str), f("Attrs", LABELS)];
    const TYPES: &[&str] = &["moby", "image", "docker", "local", "tar", "oci"];
    if json.is_empty() {
        return Judgement::Yes;
    }
    let Ok(doc) = doc::parse(json.as_bytes(), &Kind::List(&Kind::Object(OUTPUT))) else {
        return Judgement::No;
    };
    let is_known = |one: &Value| {
        one.get("Type").and_then(Value::as_str).is_some_and(|kind| TYPES.contains(&kind))
    };
    if !doc.unknown.is_empty() || !doc.root.items().iter().all(is_known) {
        return Judgement::No;
    }
    let judged = doc.root.items().iter().map(|one| build::exporter(judge, with, one, cx));
    judged.fold(Judgement::Yes, |all, one| match (all, one) {
        (Judgement::Yes | Judgement::Unknown, Judgement::Unknown) => Judgement::Unknown,
        (Judgement::Unknown, Judgement::Yes) => Judgement::Unknown,
        (Judgement::Yes, one) => one,
        (Judgement::Unknown, no) | (no, _) => no,
    })
}

/// Has the session's Dockerfile judged for this build.
fn bind(session: Option<&Arc<BuildSession>>, asked: &AskedBuild, cx: &Context<'_>) -> Verdict {
    let Some(session) = session else {
        let why = "must be one that the Dockerfile is sent in, where nothing else holds the build to what is allowed here";
        return Verdict::deny(Reason::new(builds::SESSION, "Session", why, ""));
    };
    let deed = Deed::Bind(Arc::clone(session), Arc::new(asked.clone()));
    match cx.facts.outcome(&deed) {
        None => Verdict::Do(vec![deed]),
        Some(Ok(())) => Verdict::pass(),
        Some(Err(why)) => {
            let hint = "open a session for each build";
            Verdict::deny(Reason::new(builds::SESSION, "Session", why.clone(), hint))
        }
    }
}

#[cfg(test)]
mod tests;
