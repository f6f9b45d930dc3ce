//! What policies want done: carried out here, one after the other, and reported back to them.
//!
//! `gateway` calls it between two steps of a decision, and before an answer goes out. What must stay true: bounded in
//! number; a deed that fails is reported and ends the others of the same step; an engine that is away is the engine's own
//! refusal.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use super::ListenerState;
use super::grants;
use super::install;
use super::refusal::Refusal;
use super::trusting;
use crate::api::endpoint::{NEWEST, Versions};
use crate::auth::Identity;
use crate::config::RuntimeListener;
use crate::engine::{Inspected, Subject};
use crate::policy::facts::{DeedResult, Secret};
use crate::policy::{Deed, Fact, Facts, JobDeed, Question, TrustFact, TrustQuestion, WantedPull};
use crate::wire::trail::Trail;

/// What comes of what the rest of the program was told.
pub type Told<'a, T = ()> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// What the rest of the program can be told: `run` does it.
pub trait Control: Send + Sync + fmt::Debug {
    /// Opens a listener; it listens when the answer is there.
    fn open(&self, listener: RuntimeListener) -> Told<'_>;

    /// What becomes of a job; of one that is opened, or joined, its id.
    fn job(&self, deed: JobDeed) -> Told<'_, String>;

    /// The call that has opened or joined a job with this id of its own has ended, however it ended.
    fn opened(&self, call: &str);
}

/// What a call has until it ends: given back by being dropped.
pub(super) type HeldByCall = Box<dyn Send + Sync>;

/// A call that has a job opened: whether its container was made is known when this is dropped.
#[derive(Debug)]
struct OpeningJob {
    control: Arc<dyn Control>,
    id: String,
}

impl Drop for OpeningJob {
    fn drop(&mut self) {
        self.control.opened(&self.id);
    }
}

/// Of one call: a prune removes many things.
const MOST_DEEDS: usize = 4096;

/// What the call has from then on until it ends is put among what is `held`.
pub(super) async fn carry_out(
    state: &ListenerState,
    (identity, engine): (&Identity, Versions),
    deeds: Vec<Deed>,
    trail: &Trail,
    facts: &mut Facts,
    held: &mut Vec<HeldByCall>,
) -> Result<(), Refusal> {
    for deed in deeds {
        if facts.outcome(&deed).is_some() {
            continue;
        }
        let outcome = match facts.outcomes() < MOST_DEEDS {
            true => match deed.plain() {
                Deed::Grant(wanted) => {
                    grants::issue(&state.memory.grants, wanted, identity).map(|(grant, header)| {
                        held.push(Box::new(grant));
                        facts.insert(deed.granted(wanted), header);
                    })
                }
                Deed::Pull(wanted) => {
                    facts.forget(&deed.question(Question::Image(wanted.reference.clone())));
                    pull(state, (identity, engine), wanted, trail).await?
                }
                Deed::Job(job) => told(state, job, facts, held).await,
                plain => carry_out_one(state, engine, plain, trail, held).await?,
            },
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
    held: &mut Vec<HeldByCall>,
) -> Result<DeedResult, Refusal> {
    let version = engine.newest.min(NEWEST);
    Ok(match deed {
        Deed::Remember(Question::Indexed(resource, id), Fact::Json(made)) => {
            let name = made.get("Name").and_then(serde_json::Value::as_str).unwrap_or_default();
            state.engine.has_made(*resource, id, name);
            Ok(())
        }
        Deed::Remember(
            Question::Trust(TrustQuestion::Installed(_)),
            Fact::Trust(TrustFact::Installed(installed)),
        ) => {
            state.memory.trusting.given(Arc::clone(installed));
            Ok(())
        }
        Deed::Remember(question, fact) => state.memory.keep(question.clone(), fact.clone()),
        Deed::Bind(session, build) => session.bind(build),
        Deed::Remove(resource, name) => {
            state.engine.remove(version, *resource, name, trail).await?
        }
        Deed::RemoveUnused(resource, name) => {
            state.engine.remove_unused(version, *resource, name, trail).await?
        }
        Deed::Tag { image, name } => state.engine.tag(version, image, name, trail).await?,
        Deed::CreateNetwork { body, .. } => {
            state.engine.create_network(version, body, trail).await?
        }
        Deed::PutArchive { container, path, tar } => {
            state.engine.put_archive(version, container, path, tar, trail).await?
        }
        Deed::OpenListener(listener) => state.control.open(listener.clone()).await,
        Deed::Link { container, links, to } => {
            state.engine.put_links(version, container, links, to, trail).await?
        }
        Deed::Install(wanted) => {
            let done = Box::pin(install::install(&state.engine, version, wanted, trail)).await;
            if let Err(why) = &done {
                let container = &wanted.container;
                tracing::warn!(%container, why, "it does not trust the cache: what it asks by HTTPS is passed on");
            }
            done
        }
        Deed::Uninstall(wanted) => {
            let out = trusting::take_out(&state.memory, &state.engine, &wanted.container).await;
            held.extend(out.map(|out| Box::new(out) as HeldByCall));
            let done = Box::pin(install::uninstall(&state.engine, version, wanted, trail)).await;
            let looked =
                || state.engine.look_up(version, Subject::Container(&wanted.container), trail);
            match done {
                // That it is gone the engine says itself.
                Err(_) if matches!(Box::pin(looked()).await, Ok(Inspected::Nothing)) => Ok(()),
                done => done,
            }
        }
        Deed::Take(slot) => match state.memory.slots.take(slot).await {
            Some(slot) => {
                held.push(Box::new(slot));
                Ok(())
            }
            None => Err("all are taken".to_owned()),
        },
        Deed::Grant(_) | Deed::Pull(_) | Deed::Job(_) | Deed::OfEngine(_) => {
            Err("it is not held".to_owned())
        }
    })
}

async fn told(
    state: &ListenerState,
    job: &JobDeed,
    facts: &mut Facts,
    held: &mut Vec<HeldByCall>,
) -> DeedResult {
    let JobDeed::Open(wanted) = job else {
        return state.control.job(job.clone()).await.map(drop);
    };
    let control = Arc::clone(&state.control);
    held.push(Box::new(OpeningJob { control, id: wanted.id.clone() }));
    let id = state.control.job(job.clone()).await?;
    facts.insert(Question::Job(wanted.id.clone()), Fact::Json(Arc::new(id.into())));
    Ok(())
}

/// Where the registry is ours, with a token that is good for as long as the pull takes.
async fn pull(
    state: &ListenerState,
    (identity, engine): (&Identity, Versions),
    WantedPull { reference, platform, grant }: &WantedPull,
    trail: &Trail,
) -> Result<DeedResult, Refusal> {
    let issued = grant.as_ref().map(|one| grants::issue(&state.memory.grants, one, identity));
    let (_held, header) = match issued.transpose() {
        Ok(Some((held, Fact::Header(Secret(header))))) => (Some(held), Some(header)),
        Ok(_) => (None, None),
        Err(why) => return Ok(Err(why)),
    };
    let image = (reference.as_str(), platform.as_str());
    let version = engine.newest.min(NEWEST);
    Ok(state.engine.pull(version, image, header.as_deref(), trail).await?)
}
