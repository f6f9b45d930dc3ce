//! `conservative`: nothing that elevates privileges.
//!
//! `run::plan` builds it from a file of rules. What must stay true: everything it wants is in that file, and
//! what the file does not name is refused; it asks for facts before it changes anything, and changes
//! nothing that it refuses.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "opinions of endpoints are data, and a test demands one of each; values and holds are plain"
)]

mod build;
mod defaults;
mod dockerfile;
mod edit;
mod fetch;
mod host;
mod judge;
mod learn;
mod made;
mod own;
mod pinned;
mod plain;
mod published;
mod redact;
mod registry;
mod rules;
mod seen;
mod sources;
mod state;
mod surroundings;
mod unheld;

use std::sync::Arc;

use super::builds::has_source_policies;
use super::facts::Made;
use super::{
    Answer, Context, Deed, Edit, Fact, Name, Policy, Question, Reads, Reason, Reply, RequestPart,
    RuleFinding, Verdict,
};
use crate::api::dockerfile::AskedBuild;
use crate::api::{Endpoint, Row, Typed};
use crate::config::{self, AllowedBind, Invalid, Ports};
use fetch::Fetches;
use judge::Judge;
pub use learn::LearnedRules;
use registry::Registries;
pub use rules::Rules;
pub use surroundings::Surroundings;

#[derive(Debug)]
pub struct Conservative {
    name: String,
    rules: Arc<Rules>,
    registries: Registries,
    fetches: Fetches,
    ports: Ports,
    binds: Vec<AllowedBind>,
    no_new_privileges: bool,
    around: Surroundings,
}

impl Conservative {
    /// Reads the rules; a complaint has its place in their file.
    pub fn new(
        name: &str,
        settings: &config::Conservative,
        around: &Surroundings,
    ) -> Result<Conservative, Invalid> {
        Ok(Conservative {
            name: name.to_owned(),
            rules: Rules::shared(settings.rules.as_ref())?,
            registries: Registries::new(settings.registries.clone()),
            fetches: Fetches::new(settings.fetch.as_deref()),
            ports: settings.ports,
            binds: settings.binds.clone(),
            no_new_privileges: settings.no_new_privileges,
            around: around.clone(),
        })
    }

    /// Why an operation is not allowed; where somebody audits, with all that was asked in it.
    fn refuse(&self, call: &Typed, cx: &Context<'_>) -> Vec<Reason> {
        let mut reason = self.not_allowed(call.endpoint(), call.row().path);
        if !cx.thorough {
            return vec![reason];
        }
        let found = RuleFinding {
            operation: call.endpoint().id().into(),
            part: RequestPart::Operation,
            place: String::new(),
            found: None,
            causes: Vec::new(),
        };
        reason.found = Some(found.into());
        let nothing_said = rules::Operation::default();
        let mut judge = Judge::default();
        judge.call(self, &nothing_said, call, cx);
        let mut reasons = vec![reason];
        reasons.extend(judge.reasons);
        reasons
    }

    /// Has BuildKit itself ask by these rules before it fetches anything.
    fn sources(&self, call: &Typed) -> Result<Edit, Reason> {
        const PLACE: &str = "SourcePolicy";
        let clients = call.doc().and_then(|doc| doc.at(&[PLACE]));
        let policy = sources::policy(clients, &self.registries, &self.fetches).ok_or_else(|| {
            let why =
                "must not have rules that allow beside rules that deny: their order would be lost";
            Reason::new("build.source-policy", PLACE, why, "leave out what allows")
        })?;
        Ok(Edit::Body(super::edit::keys(&[PLACE]), Some(policy)))
    }

    fn not_allowed(&self, endpoint: Endpoint, path: &'static str) -> Reason {
        match self.rules.refused.get(&endpoint) {
            Some(refusal) => {
                let rules::Refusal { id, why, hint } = refusal.clone();
                Reason::new(id, path, why, hint)
            }
            None => {
                let why =
                    format!("`{}` is not allowed by the rules of this listener", endpoint.id());
                Reason::new("rules.operation", path, why, "")
            }
        }
    }
}

/// Answers that later calls need.
const LEARNS: [Endpoint; 1] = [Endpoint::ContainerExec];
/// Answers with ids where users wrote names.
const SHOWS: [Endpoint; 1] = [Endpoint::ContainerInspect];

impl Policy for Conservative {
    fn name(&self) -> &str {
        &self.name
    }

    fn request(&self, call: &Typed, cx: &Context<'_>) -> Verdict {
        let Some(operation) = self.rules.operations.get(&call.endpoint()) else {
            return Verdict::Deny(self.refuse(call, cx));
        };
        let mut judge = Judge::default();
        judge.call(self, operation, call, cx);
        let Judge { reasons, asks, corrections, pinned, is_done, .. } = judge;
        if !reasons.is_empty() && (asks.is_empty() || !cx.thorough) {
            return Verdict::Deny(reasons);
        }
        if !asks.is_empty() {
            return Verdict::Ask(asks.into_iter().collect());
        }
        if is_done {
            return Verdict::Answer(Reply { status: 204, json: None });
        }
        let adds = self.no_new_privileges;
        let mut edits = edit::edits(call, operation, corrections, pinned, adds);
        match (has_source_policies(cx.engine), call.endpoint()) {
            (true, Endpoint::Solve) => match self.sources(call) {
                Ok(edit) => edits.push(edit),
                Err(reason) => return Verdict::deny(reason),
            },
            (false, Endpoint::Solve | Endpoint::BridgeSolve) | (_, Endpoint::ImageBuild) => {
                match unheld::judge(self, call, cx) {
                    Verdict::Pass(_) => {}
                    other => return other,
                }
            }
            _ => {}
        }
        Verdict::Pass(edits)
    }

    fn names(&self) -> Vec<Name> {
        self.rules.names()
    }

    fn reads_dockerfile(&self) -> bool {
        true
    }

    fn dockerfile(&self, build: &AskedBuild, file: &[u8], cx: &Context<'_>) -> Verdict {
        dockerfile::judge(self, file, build, cx)
    }

    fn credentials(&self, host: &str, cx: &Context<'_>) -> Verdict {
        registry::credentials(self, host, cx)
    }

    fn reads_answer(&self, row: &Row, _: &Context<'_>) -> Reads {
        let operation = self.rules.operations.get(&row.endpoint);
        let redacts = operation.is_some_and(|operation| !operation.redact.is_empty());
        if redacts || LEARNS.contains(&row.endpoint) || SHOWS.contains(&row.endpoint) {
            Reads::Whole
        } else {
            Reads::Nothing
        }
    }

    fn reads_body(&self, row: &Row, body: &[u8]) -> bool {
        let operation = self.rules.operations.get(&row.endpoint);
        let redacts = operation.is_some_and(|operation| !operation.redact.is_empty());
        redacts || !SHOWS.contains(&row.endpoint) || pinned::may_concern(body)
    }

    fn answer(&self, answer: &mut Answer<'_>, cx: &Context<'_>) -> Verdict {
        let endpoint = answer.call.endpoint();
        let Some(json) = answer.json.as_mut().filter(|_| (200..300).contains(&answer.status))
        else {
            return Verdict::pass();
        };
        if endpoint == Endpoint::ContainerInspect {
            pinned::show(json);
        }
        if let Some(operation) = self.rules.operations.get(&endpoint) {
            operation.redact.iter().for_each(|path| redact::remove(json, path));
        }
        if endpoint == Endpoint::ContainerExec
            && let Some(id) = json.get("Id").and_then(|id| id.as_str())
            && let Some(container) = answer.call.names().first()
        {
            let (listener, user) = (cx.listener.to_owned(), cx.identity.user().map(str::to_owned));
            let made = Made { listener, user, container: container.clone() };
            let (question, fact) = (Question::Exec(id.to_owned()), Fact::Exec(Arc::new(made)));
            return cx.once(Deed::Remember(question, fact));
        }
        Verdict::pass()
    }
}

/// One step of judging, where tests count them.
pub(super) fn count() {
    #[cfg(test)]
    tests::steps::count();
}

#[cfg(test)]
mod tests;
