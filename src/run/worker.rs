//! One thread a core, each with its own runtime, its own connections to the engine and its own watch on
//! each listening socket.
//!
//! A connection stays on the thread that accepted it: no call ever waits for another processor, and
//! busy connections are dealt with in batches. (HAProxy and nginx do the same.)

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cache::front::CacheListener;
use crate::gateway::ListenerHandle;
use crate::listener::Listener;

#[derive(Debug)]
pub(super) struct Worker(UnboundedSender<WorkerCommand>);

enum WorkerCommand {
    Listen {
        listener: Listener,
        handle: oneshot::Receiver<Arc<ListenerHandle>>,
        tasks: TaskTracker,
        done: Sender<io::Result<()>>,
    },
    Cache(Arc<CacheListener>, OwnedFd),
}

/// A listener that a worker watches and does not accept from yet; dropped, it lets go of it.
#[derive(Debug)]
pub(super) struct PendingListener(oneshot::Sender<Arc<ListenerHandle>>);

impl PendingListener {
    /// Accepts from now on.
    pub(super) fn start(self, handle: Arc<ListenerHandle>) {
        // It fails only when the worker has ended, and then nobody accepts anything.
        let _ = self.0.send(handle);
    }
}

impl Worker {
    /// Starts a thread that serves what it is told to, until `stop`.
    pub(super) fn spawn(stop: CancellationToken) -> io::Result<Worker> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (sender, commands) = unbounded_channel();
        std::thread::Builder::new().name("worker".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = obey(commands) => {}
                    () = tick() => {}
                    () = stop.cancelled() => {}
                }
            });
        })?;
        Ok(Worker(sender))
    }

    /// Makes ready to accept: all of it that can fail.
    pub(super) fn watch(
        &self,
        listener: Listener,
        tasks: TaskTracker,
    ) -> io::Result<PendingListener> {
        let (done, is_done) = std::sync::mpsc::channel();
        let (pending, handle) = oneshot::channel();
        let is_gone = || io::Error::other("a worker has ended");
        self.0
            .send(WorkerCommand::Listen { listener, handle, tasks, done })
            .map_err(|_| is_gone())?;
        is_done.recv().unwrap_or_else(|_| Err(is_gone()))?;
        Ok(PendingListener(pending))
    }

    /// Accepts for a cache from now on, until its gate drains.
    pub(super) fn serve(&self, listener: Arc<CacheListener>, socket: OwnedFd) {
        // It fails only when the worker has ended, and then nobody accepts anything.
        let _ = self.0.send(WorkerCommand::Cache(listener, socket));
    }
}

async fn obey(mut commands: UnboundedReceiver<WorkerCommand>) {
    while let Some(command) = commands.recv().await {
        let (listener, handle, tasks, done) = match command {
            WorkerCommand::Listen { listener, handle, tasks, done } => {
                (listener, handle, tasks, done)
            }
            WorkerCommand::Cache(listener, socket) => {
                tokio::spawn(async move {
                    if let Err(error) = listener.serve(socket).await {
                        tracing::error!(%error, "a cache cannot accept");
                    }
                });
                continue;
            }
        };
        let watched = listener.watch().map(|acceptor| {
            tasks.spawn(async move {
                if let Ok(handle) = handle.await {
                    acceptor.serve(handle).await;
                }
            });
        });
        let _ = done.send(watched);
    }
    // Nobody is left to give orders, but connections may be.
    std::future::pending().await
}

/// Keeps the next timer near. tokio wakes its driver, with a system call and a context switch,
/// whenever a timer is set that is due before all others; with this one they never are, and every
/// call sets two.
async fn tick() {
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    loop {
        ticks.tick().await;
    }
}
