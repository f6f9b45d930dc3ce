//! Looks at jobs, several at a time.
//!
//! `reaper` begins them and is told when each has ended. What must stay true: no job is looked at twice at once, and of none
//! that something is heard of is the last look one from before.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;

use super::super::{Job, JobPhase};
use super::{On, Reaper};
use crate::engine::EngineError;

/// Which job, and when to look again at the latest.
type RunningLook<'r> = Pin<Box<dyn Future<Output = (String, Duration)> + Send + 'r>>;

/// The jobs that are being looked at, each once at a time.
pub(super) struct Looks<'r> {
    reaper: &'r Reaper<'r>,
    on: &'r On<'r>,
    slots: &'r Semaphore,
    pub(super) running: FuturesUnordered<RunningLook<'r>>,
    busy: BTreeSet<String>,
    /// Those of which something was heard meanwhile.
    again: BTreeSet<String>,
}

impl<'r> Looks<'r> {
    pub(super) fn new(reaper: &'r Reaper<'r>, on: &'r On<'r>, slots: &'r Semaphore) -> Looks<'r> {
        let (running, busy, again) = Default::default();
        Looks { reaper, on, slots, running, busy, again }
    }

    pub(super) async fn begin(&mut self, wanted: impl Fn(&Job) -> bool) -> Result<(), EngineError> {
        let all = self.reaper.jobs.all();
        let mut wanted = all.into_iter().filter(wanted).peekable();
        if wanted.peek().is_none() {
            return Ok(());
        }
        let engine: Arc<str> = self.on.engine_id().await?.into();
        for job in wanted {
            let id = job.record.id;
            if !self.busy.insert(id.clone()) {
                self.again.insert(id);
                continue;
            }
            let (reaper, on, slots) = (self.reaper, self.on, self.slots);
            let engine = Arc::clone(&engine);
            self.running.push(Box::pin(async move {
                // Nobody comes in any more, however long it takes until all is gone.
                if job.phase == JobPhase::Ending {
                    reaper.host.close(id.clone()).await;
                }
                let _slot = slots.acquire().await;
                let later = reaper.look(on, &id, &engine).await;
                (id, later)
            }));
        }
        Ok(())
    }

    pub(super) async fn ended(&mut self, id: &str) -> Result<(), EngineError> {
        self.busy.remove(id);
        match self.again.remove(id) {
            true => self.begin(|job| job.record.id == id).await,
            false => Ok(()),
        }
    }
}
