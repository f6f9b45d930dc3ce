//! What policies ask to know: found out here, once for each call.
//!
//! `gateway` calls it between two steps of a decision. What must stay true: bounded in number; what
//! cannot be found out is an `Answer::Failed`, and an engine that is away is the engine's own refusal.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::House;
use super::refusal::Refusal;
use crate::api::endpoint::{NEWEST, Versions};
use crate::engine::{Found, Subject};
use crate::policy::{Answer, Context, Facts, Question};
use crate::wire::trail::Trail;

/// Of one call. Policies have bounds of their own, which they explain better.
const MOST_FACTS: usize = 512;
/// How long the file system may take to say where a path leads.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers every question; `facts` then has them all.
pub(super) async fn find_out(
    house: &House,
    engine: Versions,
    questions: Vec<Question>,
    trail: &Trail,
    facts: &mut Facts,
) -> Result<(), Refusal> {
    for question in questions {
        if facts.get(&question).is_some() {
            continue;
        }
        let answer = match facts.len() < MOST_FACTS {
            true => Box::pin(answer(house, engine, &question, trail)).await?,
            // For the policy to refuse, or to write down.
            false => Answer::Failed(format!("there are more than {MOST_FACTS} other questions")),
        };
        facts.insert(question, answer);
    }
    Ok(())
}

async fn answer(
    house: &House,
    engine: Versions,
    question: &Question,
    trail: &Trail,
) -> Result<Answer, Refusal> {
    let subject = match question {
        Question::Container(name) => Subject::Container(name),
        Question::Network(name) => Subject::Network(name),
        Question::Volume(name) => Subject::Volume(name),
        Question::Info => Subject::Info,
        Question::HostPath(path) => return Ok(resolve(path.clone()).await),
        Question::Exec(_) => return Ok(house.memory.recall(question).unwrap_or(Answer::Absent)),
        Question::Plugin { name, method, body } => {
            return Ok(house.plugins.ask(name, method, body).await);
        }
    };
    let found = house.engine.look_up(engine.newest.min(NEWEST), subject, trail).await?;
    Ok(match found {
        Found::Json(json) => Answer::Json(Arc::new(json)),
        Found::Nothing => Answer::Absent,
        Found::Failed(why) => Answer::Failed(why),
    })
}

/// On the machine that the engine runs on too; the policy knows whether that is this one. A file system that
/// is away keeps a thread of its own waiting, no other call.
async fn resolve(path: PathBuf) -> Answer {
    let resolving = tokio::task::spawn_blocking(move || std::fs::canonicalize(path));
    match tokio::time::timeout(PATIENCE, resolving).await {
        Ok(Ok(Ok(path))) => Answer::Path(path),
        Ok(Ok(Err(error))) if error.kind() == std::io::ErrorKind::NotFound => Answer::Absent,
        Ok(Ok(Err(error))) => Answer::Failed(error.to_string()),
        Ok(Err(_)) | Err(_) => Answer::Failed("the file system does not answer".to_owned()),
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
