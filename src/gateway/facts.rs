//! What policies ask to know: found out here, once for each call.
//!
//! `gateway` calls it between two steps of a decision. What must stay true: bounded in number; what
//! cannot be found out is an `Answer::Failed`, and an engine that is away is the engine's own refusal.

use std::path::Path;
use std::sync::Arc;

use super::House;
use super::refusal::Refusal;
use crate::api::endpoint::{NEWEST, Versions};
use crate::engine::{Found, Subject};
use crate::policy::{Answer, Context, Facts, Question, Reason};

/// Of one call: a create body may name many volumes and containers, and each of these others.
const MOST_FACTS: usize = 128;

/// Answers every question; `facts` then has them all.
pub(super) async fn find_out(
    house: &House,
    engine: Versions,
    questions: Vec<Question>,
    facts: &mut Facts,
) -> Result<(), Refusal> {
    if facts.len() + questions.len() > MOST_FACTS {
        let why = format!("names more than {MOST_FACTS} other things, directly or not");
        return Err(Refusal::Denied(vec![Reason::new("facts.too-many", "request", why, "")]));
    }
    for question in questions {
        if facts.get(&question).is_none() {
            let answer = Box::pin(answer(house, engine, &question)).await?;
            facts.insert(question, answer);
        }
    }
    Ok(())
}

async fn answer(house: &House, engine: Versions, question: &Question) -> Result<Answer, Refusal> {
    let subject = match question {
        Question::Container(name) => Subject::Container(name),
        Question::Network(name) => Subject::Network(name),
        Question::Volume(name) => Subject::Volume(name),
        Question::Info => Subject::Info,
        Question::HostPath(path) => return Ok(resolve(path)),
        Question::Exec(_) => return Ok(house.memory.recall(question).unwrap_or(Answer::Absent)),
        Question::Plugin { name, method, body } => {
            return Ok(house.plugins.ask(name, method, body).await);
        }
    };
    let found = house.engine.look_up(engine.newest.min(NEWEST), subject).await?;
    Ok(match found {
        Found::Json(json) => Answer::Json(Arc::new(json)),
        Found::Nothing => Answer::Absent,
        Found::Failed(why) => Answer::Failed(why),
    })
}

/// On the machine that the engine runs on too; the policy knows whether that is this one.
fn resolve(path: &Path) -> Answer {
    match std::fs::canonicalize(path) {
        Ok(path) => Answer::Path(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Answer::Absent,
        Err(error) => Answer::Failed(error.to_string()),
    }
}

/// The same for all steps of one decision.
pub(super) fn context<'a>(
    house: &'a House,
    identity: &'a crate::auth::Identity,
    engine: Versions,
    facts: &'a Facts,
) -> Context<'a> {
    Context::new(identity, &house.listener, engine, facts)
}
