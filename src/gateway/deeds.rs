//! What policies want done: carried out here, one after the other, and reported back to them.
//!
//! `gateway` calls it between two steps of a decision, and before an answer goes out. What must stay true: bounded in
//! number; a deed that fails is reported and ends the others of the same step; an engine that is away is the engine's own
//! refusal.

use super::ListenerState;
use super::refusal::Refusal;
use crate::api::endpoint::{NEWEST, Versions};
use crate::policy::facts::DeedResult;
use crate::policy::{Deed, Facts};
use crate::wire::trail::Trail;

/// Of one call: a prune removes many things.
const MOST_DEEDS: usize = 4096;

pub(super) async fn carry_out(
    state: &ListenerState,
    engine: Versions,
    deeds: Vec<Deed>,
    trail: &Trail,
    facts: &mut Facts,
) -> Result<(), Refusal> {
    for deed in deeds {
        if facts.outcome(&deed).is_some() {
            continue;
        }
        let outcome = match facts.outcomes() < MOST_DEEDS {
            true => carry_out_one(state, engine, &deed, trail).await?,
            false => Err(format!("there are more than {MOST_DEEDS} other things to do")),
        };
        let is_failed = outcome.is_err();
        facts.report(deed, outcome);
        if is_failed {
            break;
        }
    }
    Ok(())
}

async fn carry_out_one(
    state: &ListenerState,
    engine: Versions,
    deed: &Deed,
    trail: &Trail,
) -> Result<DeedResult, Refusal> {
    let version = engine.newest.min(NEWEST);
    Ok(match deed {
        Deed::Remember(question, fact) => {
            state.memory.keep(question.clone(), fact.clone());
            Ok(())
        }
        Deed::Remove(resource, name) => {
            state.engine.remove(version, *resource, name, trail).await?
        }
        Deed::PutArchive { container, path, tar } => {
            state.engine.put_archive(version, container, path, tar, trail).await?
        }
    })
}
