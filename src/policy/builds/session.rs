//! A client's session under the name that the engine has it by, and the one build that its Dockerfile is judged for.
//!
//! For builds without source policies. `Builds` makes one for each opening, and on engines that have such policies for each build
//! by query, which has none; `conservative` says what is built in it, and `gateway` reads the Dockerfile by that. BuildKit keeps what it has read under the id of the session (`CacheKey` in its
//! source/local): under an id that a client chooses, a Dockerfile could be read that was judged for another build, or
//! before a restart. What must stay true: no two of them have one id there, and a session builds in one way only.

use std::sync::{Arc, OnceLock};

use super::{LOCAL, SESSION_FIELDS, named, opened};
use crate::api::doc::Value;
use crate::api::dockerfile::AskedBuild;
use crate::api::endpoint::{Resource, Versions};
use crate::api::{Endpoint, Typed};
use crate::policy::edit::{Segment, keys};
use crate::policy::facts::DeedResult;
use crate::policy::{Context, Edit, Fact, Question};

#[derive(Debug)]
pub struct BuildSession {
    pub engine_id: String,
    build: OnceLock<AskedBuild>,
}

impl BuildSession {
    /// The client's id, for whoever reads the engine's log, and something that nobody had before.
    pub fn new(id: &str, fresh: &str) -> BuildSession {
        BuildSession { engine_id: format!("{id}.{fresh}"), build: OnceLock::new() }
    }

    /// From now on a Dockerfile in it is one of this build.
    pub fn bind(&self, build: &AskedBuild) -> DeedResult {
        match self.build.get_or_init(|| build.clone()) == build {
            true => Ok(()),
            false => Err("it builds in another way already".to_owned()),
        }
    }

    pub fn build(&self) -> Option<&AskedBuild> {
        self.build.get()
    }
}

impl PartialEq for BuildSession {
    fn eq(&self, other: &BuildSession) -> bool {
        self.engine_id == other.engine_id
    }
}

impl Eq for BuildSession {}

/// The session that the caller has opened by this id, or that the engine has by it.
pub(super) fn renamed<'c>(id: &str, cx: &Context<'c>) -> Option<&'c Arc<BuildSession>> {
    let client_id = client_id(id);
    match cx.facts.get(&Question::awaited(Resource::Session, client_id)) {
        Some(Fact::Owner(owner)) => {
            owner.session.as_ref().filter(|session| id == client_id || id == session.engine_id)
        }
        _ => None,
    }
}

/// Of the graphs that a client sends nothing can be changed: `in_graphs` has their sessions. Those that it got from a
/// frontend have the engine's id; by the client's own no session is there.
pub(super) fn renames(call: &Typed, cx: &Context<'_>) -> Vec<Edit> {
    let other = |id: &str| renamed(id, cx).map(|session| session.engine_id.clone());
    let mut edits = Vec::new();
    if let Some(id) = call.query().get("session").and_then(other) {
        edits.push(Edit::Query("session".into(), Some(id)));
    }
    for field in SESSION_FIELDS {
        if let Some(id) = named(call, field).and_then(other) {
            edits.push(Edit::Body(keys(&[field]), Some(Value::String(id))));
        }
    }
    for field in ["FrontendAttrs", "FrontendOpt"] {
        let options = call.doc().and_then(|doc| doc.at(&[field]));
        for (key, value) in options.map(Value::entries).unwrap_or_default() {
            if let (true, Some(id)) = (key.starts_with(LOCAL), value.as_str().and_then(other)) {
                let mut place = keys(&[field]);
                place.push(Segment::Key(key.clone()));
                edits.push(Edit::Body(place, Some(Value::String(id))));
            }
        }
    }
    edits
}

/// Whether BuildKit itself asks by rules before it fetches anything.
pub fn has_source_policies(engine: Versions) -> bool {
    engine.newest >= SOURCE_POLICIES_SINCE
}

/// The session that a build by query is in, where that is one of its own.
pub fn build_session(call: &Typed) -> Option<(&str, &str)> {
    let engine_id =
        call.query().get("session").filter(|_| call.endpoint() == Endpoint::ImageBuild)?;
    Some((client_id(engine_id), engine_id)).filter(|(client_id, engine_id)| client_id != engine_id)
}

/// The ids of a session that is opened, of which the engine has the second one.
pub fn session_id(call: &Typed) -> Option<(&str, &str)> {
    let engine_id = opened(call)?;
    Some((client_id(engine_id), engine_id))
}

/// The first API version whose engines do (24.0).
const SOURCE_POLICIES_SINCE: u16 = 43;
/// Of the id that the engine has it by; any other is the client's own.
pub(super) fn client_id(id: &str) -> &str {
    match id.rsplit_once('.') {
        Some((client_id, fresh)) if fresh.len() == 32 => client_id,
        _ => id,
    }
}
