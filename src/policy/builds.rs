//! Builds and their sessions belong to whoever began them.
//!
//! In front of every chain that has a policy. To BuildKit the ids of sessions and builds are everybody's: whoever names
//! a session is given that client's files, credentials and secrets, whoever names a build its log and its results
//! (moby's builder-next and BuildKit's session manager compare nothing but the id). What must stay true: what was not
//! begun through this listener by this caller is answered as if it did not exist.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "most operations have nothing to do with builds; verdicts pass through"
)]

mod asks;
mod faults;
mod session;

pub use asks::{BegunBuild, BuildAsks};
pub use session::{BuildSession, build_session, has_source_policies, session_id};
use session::{client_id, renamed, renames};

use std::collections::BTreeSet;
use std::sync::Arc;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::edit::keys;
use super::facts::Owner;
use super::{Context, Deed, Edit, Fact, Item, Policy, Question, Reads, Reason, Verdict};
use crate::api::buildkit::BUILD_ID;
use crate::api::doc::Value;
use crate::api::endpoint::Resource;
use crate::api::{Endpoint, Row, Typed};

pub const SESSION: &str = "build.session";
pub const OTHERS: &str = "build.not-own";

/// In HTTP/1.1 and in gRPC's metadata.
pub const SESSION_ID: &str = "x-docker-expose-session-uuid";
const SHARED_KEY: &str = "x-docker-expose-session-sharedkey";
/// BuildKit's own are 25 letters and digits.
const LONGEST_ID: usize = 128;
/// Of one request; a client has one session, and a bake one for each of its targets.
const MOST_SESSIONS: usize = 32;
/// Of one line of the history; a build has some for each platform.
const MOST_SHOWN: usize = 64;

#[derive(Debug)]
pub(super) struct Builds;

impl Policy for Builds {
    /// As in the records of calls: it is no policy of the operator's.
    fn name(&self) -> &'static str {
        "closed-world"
    }

    fn request(&self, call: &Typed, cx: &Context<'_>) -> Verdict {
        if let Some(reason) = faults::fault(call) {
            return Verdict::deny(reason);
        }
        match call.endpoint() {
            Endpoint::Session => session(call, cx),
            // What comes of it is a session as well, and judged as one.
            Endpoint::ControlSession => about_to_open(call, cx),
            Endpoint::Solve => solve(call, cx),
            Endpoint::ImageBuild => by_query(call, cx),
            Endpoint::ListenBuildHistory => unlimited(call),
            Endpoint::ContentInfo | Endpoint::ContentRead => content(call, cx),
            Endpoint::SolveStatus | Endpoint::UpdateBuildHistory => {
                uses(&[], Some(named(call, "Ref").unwrap_or_default()), cx)
            }
            _ if call.row().headers.iter().any(|header| header.name == BUILD_ID) => {
                let build = call.headers().find(|(name, _)| *name == BUILD_ID);
                let build = build.and_then(|(_, id)| std::str::from_utf8(id).ok());
                in_sessions(call, Some(build.unwrap_or_default()), cx)
            }
            _ => Verdict::pass(),
        }
    }

    fn reads_answer(&self, row: &Row, _: &Context<'_>) -> Reads {
        match row.endpoint == Endpoint::ListenBuildHistory {
            true => Reads::Items,
            false => Reads::Nothing,
        }
    }

    /// Of the history, only what is the caller's own.
    fn item(&self, _: &Typed, item: &mut serde_json::Value, cx: &Context<'_>) -> Item {
        let build = item.pointer("/record/Ref").and_then(|build| build.as_str());
        let owner =
            build.and_then(|build| cx.facts.get(&Question::begun(Resource::BuildId, build)));
        if is_own(owner, cx) { Item::Keep } else { Item::Drop }
    }
}

/// A build, with all the sessions that it asks for what.
fn solve(call: &Typed, cx: &Context<'_>) -> Verdict {
    let edits = match in_sessions(call, None, cx) {
        Verdict::Pass(edits) => edits,
        other => return other,
    };
    let session = named(call, "Session").and_then(|id| renamed(id, cx)).cloned();
    let owner = Owner { session, ..caller(cx) };
    match begin(Resource::BuildId, named(call, "Ref"), owner, cx) {
        Verdict::Pass(_) => Verdict::Pass(edits),
        other => other,
    }
}

/// `POST /build`, by BuildKit as docker below 23 asks for it: in this form no engine has a source policy, so that its Dockerfile
/// is judged in its session. BuildKit keeps what it has read by the id of that, which is therefore another for each build.
fn by_query(call: &Typed, cx: &Context<'_>) -> Verdict {
    let edits = match in_sessions(call, None, cx) {
        Verdict::Pass(edits) => edits,
        other => return other,
    };
    let session = call.query().get("session").filter(|id| !id.is_empty());
    let is_by_buildkit = call.query().get("version") == Some("2");
    let (true, true, Some(id)) = (is_by_buildkit, has_source_policies(cx.engine), session) else {
        return Verdict::Pass(edits);
    };
    let session = match fresh(id, cx) {
        Ok(session) => session,
        Err(verdict) => return verdict,
    };
    let (question, engine_id) =
        (Question::begun(Resource::Session, &session.engine_id), session.engine_id.clone());
    let owner = Owner { session: Some(session), ..caller(cx) };
    match cx.once(Deed::Remember(question.clone(), Fact::Owner(Arc::new(owner)))) {
        // For the policies behind this one.
        Verdict::Pass(_) if cx.facts.get(&question).is_none() => Verdict::Ask(vec![question]),
        Verdict::Pass(_) => Verdict::Pass(vec![Edit::Query("session".into(), Some(engine_id))]),
        other => other,
    }
}

/// A session under an id that the engine has never had.
fn fresh(id: &str, cx: &Context<'_>) -> Result<Arc<BuildSession>, Verdict> {
    match cx.facts.get(&Question::Fresh) {
        Some(Fact::Fresh(fresh)) => Ok(Arc::new(BuildSession::new(id, fresh))),
        None => Err(Verdict::Ask(vec![Question::Fresh])),
        Some(_) => {
            let why = "cannot be given an id of its own";
            let reason = Reason { status: 502, ..Reason::new(SESSION, "id", why, "") };
            Err(Verdict::deny(reason))
        }
    }
}

/// What uses sessions that must be the caller's, by the ids that the engine has them by.
fn in_sessions(call: &Typed, build: Option<&str>, cx: &Context<'_>) -> Verdict {
    let all = sessions(call);
    if has_source_policies(cx.engine) {
        return uses(&all, build, cx);
    }
    let opened: Vec<&str> = all.iter().map(|id| client_id(id)).collect();
    match uses(&opened, build, cx) {
        Verdict::Pass(_) => {}
        other => return other,
    }
    let fixed = in_graphs(call);
    let is_there = |id: &str| {
        let session = renamed(id, cx);
        session.is_some_and(|session| session.engine_id == id || !fixed.contains(id))
    };
    match all.into_iter().find(|id| !is_there(id)) {
        Some(id) => Verdict::deny(absent(Resource::Session, id)),
        None => Verdict::Pass(renames(call, cx)),
    }
}

const SESSION_FIELDS: [&str; 3] = ["Session", "SourcePolicySession", "SessionID"];
/// Of a frontend's options: the session that a folder comes from.
const LOCAL: &str = "local-sessionid:";

/// BuildKit counts everybody's builds, of which few may be the caller's: with its limit the caller's own could be missing.
/// And engines whose BuildKit is older than its change 6614 end as a whole when they sort for a limit while a build is
/// being removed. They keep 50 builds or so, and buildx cuts what it gets.
fn unlimited(call: &Typed) -> Verdict {
    let is_limited = call.doc().is_some_and(|doc| doc.at(&["Limit"]).is_some());
    match is_limited {
        true => Verdict::Pass(vec![Edit::Body(keys(&["Limit"]), None)]),
        false => Verdict::pass(),
    }
}

/// Of the engine's content store, what the history has told this caller of.
fn content(call: &Typed, cx: &Context<'_>) -> Verdict {
    let digest = named(call, "digest").unwrap_or_default();
    let question = content_of(digest, &caller(cx));
    match cx.facts.get(&question) {
        None => Verdict::Ask(vec![question]),
        owner if is_own(owner, cx) => Verdict::pass(),
        // As containerd says it.
        Some(_) => {
            let why = format!("content {digest}: not found");
            Verdict::deny(Reason { status: 404, ..Reason::new(OTHERS, "", why, "") })
        }
    }
}

/// What a line of the history that its owner is shown lets that owner read: what it names in the content store.
pub fn shown(item: &serde_json::Value, owner: &Owner) -> Vec<Question> {
    let record = |place: &str| item.pointer(&format!("/record/{place}"));
    let results = record("Results").and_then(|all| all.as_object());
    let results = results.into_iter().flat_map(serde_json::Map::values).chain(record("Result"));
    let attestations = results.filter_map(|one| one.get("Attestations")?.as_array()).flatten();
    let whole = ["logs", "trace", "externalError"].into_iter().filter_map(record);
    let digests = whole.chain(attestations).filter_map(|one| one.get("digest")?.as_str());
    digests.take(MOST_SHOWN).map(|digest| content_of(digest, owner)).collect()
}

/// The same bytes may be of several callers' builds.
fn content_of(digest: &str, owner: &Owner) -> Question {
    let user = owner.user.as_deref().unwrap_or_default();
    Question::begun(Resource::BuildContent, &format!("{digest} {} {user}", owner.listener))
}

/// A session. Contexts that the engine keeps are found again by a key of the client's own choice (`SharedKey` of
/// BuildKit's session): what is kept for one caller is not for another who has heard of the key.
fn session(call: &Typed, cx: &Context<'_>) -> Verdict {
    let mut owner = caller(cx);
    let mut edits = Vec::new();
    if let (false, Some(id)) = (has_source_policies(cx.engine), opened(call)) {
        let session = match fresh(id, cx) {
            Ok(session) => session,
            Err(verdict) => return verdict,
        };
        let name = session.engine_id.clone().into_bytes();
        edits.push(Edit::Header(SESSION_ID, Some(name)));
        owner.session = Some(session);
    }
    let verdict = begin(Resource::Session, opened(call), owner, cx);
    if !matches!(verdict, Verdict::Pass(_)) {
        return verdict;
    }
    let key = call.headers().find(|(name, value)| *name == SHARED_KEY && !value.is_empty());
    if let Some((_, key)) = key {
        let mut own = key_of_caller(cx).into_bytes();
        // One that is opened again for a build has it already.
        own.extend_from_slice(key.strip_prefix(own.as_slice()).unwrap_or(key));
        edits.push(Edit::Header(SHARED_KEY, Some(own)));
    }
    Verdict::Pass(edits)
}

fn key_of_caller(cx: &Context<'_>) -> String {
    let plain = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let user = cx.identity.user().unwrap_or_default();
    format!("{}/{}/", plain(cx.listener), plain(user))
}

/// A call that a session is opened by when the engine is asked for it.
fn about_to_open(call: &Typed, cx: &Context<'_>) -> Verdict {
    if has_source_policies(cx.engine) {
        return begin(Resource::Session, opened(call), caller(cx), cx);
    }
    // It gets the engine's id for it then, and is not there before.
    let Some(id) = opened(call).filter(|id| is_id(id)) else {
        return begin(Resource::Session, None, caller(cx), cx);
    };
    let question = Question::begun(Resource::Session, id);
    match cx.facts.get(&question) {
        None => Verdict::Ask(vec![question]),
        Some(Fact::Absent) => Verdict::pass(),
        owner if is_own(owner, cx) => Verdict::pass(),
        Some(_) => Verdict::deny(taken(Resource::Session, id)),
    }
}

/// Something new, of which no other caller has the id.
fn begin(what: Resource, id: Option<&str>, owner: Owner, cx: &Context<'_>) -> Verdict {
    let Some(id) = id.filter(|id| is_id(id)) else {
        let why = format!(
            "must name the {what}, in at most {LONGEST_ID} letters, digits, `-`, `_` and `.`"
        );
        return Verdict::deny(Reason { status: 400, ..Reason::new(SESSION, "id", why, "") });
    };
    let (question, fact) = (Question::begun(what, id), Fact::Owner(Arc::new(owner)));
    let found = cx.facts.get(&question);
    // Where the engine has it by another id, a session that is opened again is another.
    let is_new = match found {
        None => return Verdict::Ask(vec![question]),
        Some(Fact::Absent) => true,
        Some(found) if *found == fact => return Verdict::pass(),
        // It was made for a build, which opens it now.
        Some(Fact::Owner(found))
            if found.is_of_a_build(id) && found.is_same_caller(&caller(cx)) =>
        {
            return Verdict::pass();
        }
        found => what == Resource::Session && is_own(found, cx),
    };
    match is_new {
        true => match cx.once(Deed::Remember(question, fact)) {
            // Another was quicker.
            Verdict::Deny(_) => Verdict::deny(taken(what, id)),
            verdict => verdict,
        },
        false => Verdict::deny(taken(what, id)),
    }
}

/// BuildKit looks a session up by what stands behind the first colon of its id (session/manager.go): one that is begun
/// with a colon is another one whenever it is used.
fn is_id(id: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(is_plain)
}

/// Sessions and a build that must be the caller's. A client asks for them before they have begun, side by side with
/// what begins them, and BuildKit waits too.
fn uses(sessions: &[&str], build: Option<&str>, cx: &Context<'_>) -> Verdict {
    if sessions.len() > MOST_SESSIONS {
        let why = format!("must not be more than {MOST_SESSIONS}");
        return Verdict::deny(Reason::new(SESSION, "sessions", why, ""));
    }
    let sessions = sessions.iter().map(|id| (Resource::Session, *id));
    let all: Vec<_> = sessions.chain(build.map(|id| (Resource::BuildId, id))).collect();
    let asks: Vec<Question> = all
        .iter()
        .map(|(what, id)| Question::awaited(*what, id))
        .filter(|question| cx.facts.get(question).is_none())
        .collect();
    if !asks.is_empty() {
        return Verdict::Ask(asks);
    }
    for (what, id) in all {
        if !is_own(cx.facts.get(&Question::awaited(what, id)), cx) {
            return Verdict::deny(absent(what, id));
        }
    }
    Verdict::pass()
}

fn caller(cx: &Context<'_>) -> Owner {
    Owner::new(cx.listener, cx.identity.user())
}

fn is_own(owner: Option<&Fact>, cx: &Context<'_>) -> bool {
    matches!(owner, Some(Fact::Owner(owner)) if owner.is_same_caller(&caller(cx)))
}

/// In BuildKit's words.
fn absent(what: Resource, id: &str) -> Reason {
    let (rule, why) = match what == Resource::Session {
        true => (SESSION, format!("no active session for {id}")),
        false => (OTHERS, format!("no such job {id}")),
    };
    Reason { status: 404, ..Reason::new(rule, "", why, "") }
}

fn taken(what: Resource, id: &str) -> Reason {
    let rule = if what == Resource::Session { SESSION } else { OTHERS };
    Reason { status: 409, ..Reason::new(rule, "", format!("{what} {id} already exists"), "") }
}

fn opened(call: &Typed) -> Option<&str> {
    let (_, id) = call.headers().find(|(name, _)| *name == SESSION_ID)?;
    std::str::from_utf8(id).ok()
}

fn named<'c>(call: &'c Typed, field: &str) -> Option<&'c str> {
    call.doc()?.at(&[field])?.as_str().filter(|name| !name.is_empty())
}

/// Every session that a request names, wherever in it.
fn sessions(call: &Typed) -> Vec<&str> {
    let mut all = BTreeSet::new();
    all.extend(call.query().get("session"));
    for field in SESSION_FIELDS {
        all.extend(named(call, field));
    }
    if let Some(doc) = call.doc() {
        // A frontend's options.
        each_map(&doc.root, &mut |key, value| {
            if key.starts_with(LOCAL) {
                all.extend(value.as_str());
            }
        });
    }
    all.extend(in_graphs(call));
    all.remove("");
    all.into_iter().collect()
}

/// Those that attributes of sources name, at any depth.
fn in_graphs(call: &Typed) -> BTreeSet<&str> {
    let mut all = BTreeSet::new();
    if let Some(doc) = call.doc() {
        each_map(&doc.root, &mut |key, value| {
            if is_of_a_session(key) {
                all.extend(value.as_str());
            }
        });
    }
    all
}

/// `local.session` and `oci.session` (solver/pb/attr.go), and whatever is named like them.
fn is_of_a_session(attribute: &str) -> bool {
    attribute.ends_with(".session") || attribute.ends_with(".sessionid")
}

fn each_map<'v>(value: &'v Value, see: &mut impl FnMut(&'v str, &'v Value)) {
    for (key, value) in value.entries() {
        see(key, value);
        each_map(value, see);
    }
    value.items().iter().for_each(|item| each_map(item, see));
}

#[cfg(test)]
pub(crate) mod tests;
