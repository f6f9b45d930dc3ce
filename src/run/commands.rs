//! What the running world is told to do, by whomever.
//!
//! Admin sockets and policies' deeds send; `run` holds the world, and does one after the other. What must stay
//! true: each has an answer, also when nobody is there any more to do it.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::config::RuntimeListener;
use crate::gateway::{Control, Told};
use crate::job::Jobs;
use crate::job::ledger::JobRecord;
use crate::policy::JobDeed;

#[derive(Debug)]
pub(super) enum Command {
    /// Reads the configuration again.
    Reload,
    Open(RuntimeListener),
    /// The listener of this name, which was opened at run time.
    Close(String),
    Job(JobDeed),
    /// A socket for a process of the host, by the policy of this name or the only one.
    OpenJob(Box<JobRecord>, Option<String>),
    /// The socket of this job.
    CloseJob(String),
}

impl Command {
    /// The call that it opens a job for.
    pub(super) fn opens_job(&self) -> Option<&str> {
        match self {
            Command::Job(JobDeed::Open(wanted)) => Some(&wanted.id),
            _ => None,
        }
    }
}

/// One, and who waits for what becomes of it.
pub(super) type CommandRequest = (Command, oneshot::Sender<Result<String, String>>);

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Commands {
    sender: mpsc::Sender<CommandRequest>,
    jobs: Arc<Jobs>,
}

impl Commands {
    pub(super) fn new(jobs: &Arc<Jobs>) -> (Commands, mpsc::Receiver<CommandRequest>) {
        let (sender, requests) = mpsc::channel(1);
        (Commands { sender, jobs: Arc::clone(jobs) }, requests)
    }

    /// What has changed, or why nothing has.
    pub(super) async fn give(&self, command: Command) -> Result<String, String> {
        let (done, is_done) = oneshot::channel();
        let gone = |_| "dockgate is stopping".to_owned();
        self.sender.send((command, done)).await.map_err(|_| gone(()))?;
        is_done.await.map_err(|_| gone(()))?
    }
}

impl Control for Commands {
    fn open(&self, listener: RuntimeListener) -> Told<'_> {
        Box::pin(async move { self.give(Command::Open(listener)).await.map(drop) })
    }

    fn job(&self, deed: JobDeed) -> Told<'_, String> {
        Box::pin(self.give(Command::Job(deed)))
    }

    fn opened(&self, call: &str) {
        self.jobs.opened(call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_when_nobody_is_there_any_more_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (jobs, _) = Jobs::of(dir.path(), dir.path()).unwrap();
        let (commands, requests) = Commands::new(&Arc::new(jobs));
        let asking = tokio::spawn({
            let commands = commands.clone();
            async move { commands.give(Command::Reload).await }
        });
        while requests.is_empty() {
            tokio::task::yield_now().await;
        }
        drop(requests);
        let stopping = Err("dockgate is stopping".to_owned());
        assert_eq!(asking.await.unwrap(), stopping, "waiting already");
        assert_eq!(commands.give(Command::Close("a".to_owned())).await, stopping);
    }
}
