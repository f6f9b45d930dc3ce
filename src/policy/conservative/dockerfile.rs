//! A build's Dockerfile, judged by what it makes the engine fetch.
//!
//! `Conservative::dockerfile` calls it before the engine has the file. What must stay true: images are judged as pulls are,
//! and what cannot be told is refused, with its line.

use serde_json::Value as Json;

use super::Conservative;
use super::judge::{Judge, Judgement};
use super::registry;
use crate::api::dockerfile::{self, AskedBuild, BuildSettings, Fetch, FetchKind};
use crate::api::grammar::image;
use crate::policy::{Context, Fact, Question, Reason, Verdict};

/// Judges a Dockerfile, wherever it comes from.
pub(super) fn judge(
    with: &Conservative,
    file: &[u8],
    build: &AskedBuild,
    cx: &Context<'_>,
) -> Verdict {
    let settings = &build.settings();
    let found = match dockerfile::fetches(file, settings) {
        Ok(found) => found,
        Err(unreadable) => {
            let why = format!("{}: what the build fetches cannot be told", unreadable.why);
            return Verdict::deny(Reason::new(UNREADABLE, place(unreadable.line), why, ""));
        }
    };
    let mut judge = Judge::default();
    for one in &found {
        let place = place(one.line);
        if let Some(reason) = fetch(&mut judge, with, one, &place, cx) {
            judge.push(reason);
        } else if one.kind == FetchKind::Base && one.name.is_whole {
            triggers(&mut judge, with, one, settings, cx);
        }
    }
    match (judge.reasons.is_empty(), judge.asks.is_empty()) {
        (false, _) => Verdict::Deny(judge.reasons),
        (true, false) => Verdict::Ask(judge.asks.into_iter().collect()),
        (true, true) => Verdict::pass(),
    }
}

const UNREADABLE: &str = "build.dockerfile";

fn place(line: usize) -> String {
    format!("Dockerfile:{line}")
}

fn fetch(
    judge: &mut Judge<'_>,
    with: &Conservative,
    one: &Fetch,
    place: &str,
    cx: &Context<'_>,
) -> Option<Reason> {
    match one.kind {
        FetchKind::Base | FetchKind::Image => image(judge, with, one, place, cx),
        FetchKind::Url | FetchKind::Git => {
            (!with.fetches.allow(one)).then(|| not_allowed(one, place))
        }
        // A program that fetches what it likes, where nothing but this file is judged.
        FetchKind::Frontend => Some(not_allowed(one, place)),
    }
}

/// What the image that a stage begins with has the build do. One that is not there yet nobody can look at.
fn triggers(
    judge: &mut Judge<'_>,
    with: &Conservative,
    base: &Fetch,
    settings: &BuildSettings<'_>,
    cx: &Context<'_>,
) {
    let question = Question::Image(base.name.known.clone());
    let (place, name) = (place(base.line), &base.written);
    let image = match cx.facts.get(&question) {
        None => return judge.ask(question, cx),
        Some(Fact::Absent) => return,
        Some(Fact::Json(image)) => image,
        Some(_) => {
            let why = format!("`{name}`: the engine does not say what it has builds do");
            return judge.push(Reason::new(UNREADABLE, place, why, ""));
        }
    };
    let listed = image.pointer("/Config/OnBuild").and_then(Json::as_array);
    for trigger in listed.into_iter().flatten().filter_map(Json::as_str) {
        let place = format!("{place}: `{name}` has `ONBUILD`");
        match dockerfile::triggered(trigger, settings) {
            Ok(found) => {
                for one in &found {
                    let reason = fetch(judge, with, one, &place, cx);
                    reason.into_iter().for_each(|reason| judge.push(reason));
                }
            }
            Err(unreadable) => {
                let why = format!("{}: what the build fetches cannot be told", unreadable.why);
                judge.push(Reason::new(UNREADABLE, place, why, ""));
            }
        }
    }
}

/// A name that is an id is nothing that can be pulled.
fn image(
    judge: &mut Judge<'_>,
    with: &Conservative,
    one: &Fetch,
    place: &str,
    cx: &Context<'_>,
) -> Option<Reason> {
    if one.name.is_whole && image::is_image_id(&one.name.known) {
        return None;
    }
    let name = &one.written;
    let (why, hint) = match one.registry() {
        None => (
            format!("`{name}`: its registry depends on what only the build will know"),
            "write the name of the image out, or give its variables a value in front of the first `FROM`",
        ),
        Some(host) => match registry::judge(judge, with, host, cx) {
            Judgement::Yes | Judgement::Unknown => return None,
            Judgement::Because(why) | Judgement::Absent(why) => (format!("`{name}`: {why}"), ""),
            Judgement::No => (
                format!("`{name}` is not of a registry that builds may use"),
                "ask the operator for it (`registries` of the policy)",
            ),
        },
    };
    Some(Reason::new("registry.host", place.to_owned(), why, hint))
}

fn not_allowed(one: &Fetch, place: &str) -> Reason {
    let name = &one.written;
    let (id, why, hint) = match one.kind {
        FetchKind::Frontend => (
            "build.frontend",
            format!("`{name}` must not read the Dockerfile of a build that has no source policy"),
            "leave the line out: the engine has a frontend of its own",
        ),
        _ if one.name.is_whole => (
            "build.fetch",
            format!("`{name}` is not among the addresses that builds may fetch"),
            "fetch it by `RUN`, or ask the operator for it (`fetch` of the policy)",
        ),
        _ => (
            "build.fetch",
            format!("`{name}`: what is fetched depends on what only the build will know"),
            "use `COPY` for files of the context; of an address, write at least its host out",
        ),
    };
    Reason::new(id, place.to_owned(), why, hint)
}
