//! One thread a core, each with its own runtime, its own connections to the engine and its own watch on
//! each listening socket.
//!
//! A connection stays on the thread that accepted it: no call ever waits for another processor, and
//! busy connections are dealt with in batches. (HAProxy and nginx do the same.)

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::listener::{Listener, Service};

#[derive(Debug)]
pub(super) struct Worker(UnboundedSender<Watch>);

/// Tells a worker to watch a socket.
struct Watch {
    listener: Listener,
    service: oneshot::Receiver<Arc<dyn Service>>,
    tasks: TaskTracker,
    done: Sender<io::Result<()>>,
}

/// A listener that a worker watches and does not accept from yet; dropped, it lets go of it.
pub(super) struct PendingListener(oneshot::Sender<Arc<dyn Service>>);

impl PendingListener {
    /// Accepts from now on.
    pub(super) fn start(self, service: Arc<dyn Service>) {
        // It fails only when the worker has ended, and then nobody accepts anything.
        let _ = self.0.send(service);
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
        let (pending, service) = oneshot::channel();
        let is_gone = || io::Error::other("a worker has ended");
        self.0.send(Watch { listener, service, tasks, done }).map_err(|_| is_gone())?;
        is_done.recv().unwrap_or_else(|_| Err(is_gone()))?;
        Ok(PendingListener(pending))
    }
}

async fn obey(mut commands: UnboundedReceiver<Watch>) {
    while let Some(Watch { listener, service, tasks, done }) = commands.recv().await {
        let watched = listener.watch().map(|acceptor| {
            tasks.spawn(async move {
                if let Ok(service) = service.await {
                    acceptor.serve(service).await;
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
