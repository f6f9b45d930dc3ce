//! What the running world is told to do, by whomever.
//!
//! Admin sockets and policies' deeds send; `run` holds the world, and does one after the other. What must stay
//! true: each has an answer, also when nobody is there any more to do it.

use tokio::sync::{mpsc, oneshot};

use crate::config::RuntimeListener;
use crate::gateway::{Control, Told};

#[derive(Debug)]
pub(super) enum Command {
    /// Reads the configuration again.
    Reload,
    Open(RuntimeListener),
    /// The listener of this name, which was opened at run time.
    Close(String),
}

/// One, and who waits for what becomes of it.
pub(super) type CommandRequest = (Command, oneshot::Sender<Result<String, String>>);

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Commands(mpsc::Sender<CommandRequest>);

impl Commands {
    pub(super) fn new() -> (Commands, mpsc::Receiver<CommandRequest>) {
        let (sender, requests) = mpsc::channel(1);
        (Commands(sender), requests)
    }

    /// What has changed, or why nothing has.
    pub(super) async fn give(&self, command: Command) -> Result<String, String> {
        let (done, is_done) = oneshot::channel();
        let gone = |_| "dockgate is stopping".to_owned();
        self.0.send((command, done)).await.map_err(|_| gone(()))?;
        is_done.await.map_err(|_| gone(()))?
    }
}

impl Control for Commands {
    fn open(&self, listener: RuntimeListener) -> Told<'_> {
        Box::pin(async move { self.give(Command::Open(listener)).await.map(drop) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_when_nobody_is_there_any_more_is_told() {
        let (commands, requests) = Commands::new();
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
