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

use crate::cache::front::Gate;
use crate::gateway::Entrance;
use crate::listener::Listener;

#[derive(Debug)]
pub(super) struct Worker(UnboundedSender<Order>);

enum Order {
    Listen {
        listener: Listener,
        entrance: oneshot::Receiver<Arc<Entrance>>,
        tasks: TaskTracker,
        done: Sender<io::Result<()>>,
    },
    Cache(Arc<Gate>, OwnedFd),
}

/// A listener that a worker watches and does not accept from yet; dropped, it lets go of it.
#[derive(Debug)]
pub(super) struct Ticket(oneshot::Sender<Arc<Entrance>>);

impl Ticket {
    /// Accepts from now on.
    pub(super) fn redeem(self, entrance: Arc<Entrance>) {
        // It fails only when the worker has ended, and then nobody accepts anything.
        let _ = self.0.send(entrance);
    }
}

impl Worker {
    /// Starts a thread that serves what it is told to, until `stop`.
    pub(super) fn spawn(stop: CancellationToken) -> io::Result<Worker> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (sender, orders) = unbounded_channel();
        std::thread::Builder::new().name("worker".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = obey(orders) => {}
                    () = tick() => {}
                    () = stop.cancelled() => {}
                }
            });
        })?;
        Ok(Worker(sender))
    }

    /// Makes ready to accept: all of it that can fail.
    pub(super) fn watch(&self, listener: Listener, tasks: TaskTracker) -> io::Result<Ticket> {
        let (done, is_done) = std::sync::mpsc::channel();
        let (ticket, entrance) = oneshot::channel();
        let is_gone = || io::Error::other("a worker has ended");
        self.0.send(Order::Listen { listener, entrance, tasks, done }).map_err(|_| is_gone())?;
        is_done.recv().unwrap_or_else(|_| Err(is_gone()))?;
        Ok(Ticket(ticket))
    }

    /// Accepts for a cache from now on, until its gate drains.
    pub(super) fn serve(&self, gate: Arc<Gate>, socket: OwnedFd) {
        // It fails only when the worker has ended, and then nobody accepts anything.
        let _ = self.0.send(Order::Cache(gate, socket));
    }
}

async fn obey(mut orders: UnboundedReceiver<Order>) {
    while let Some(order) = orders.recv().await {
        let (listener, entrance, tasks, done) = match order {
            Order::Listen { listener, entrance, tasks, done } => (listener, entrance, tasks, done),
            Order::Cache(gate, socket) => {
                tokio::spawn(async move {
                    if let Err(error) = gate.serve(socket).await {
                        tracing::error!(%error, "a cache cannot accept");
                    }
                });
                continue;
            }
        };
        let watched = listener.watch().map(|acceptor| {
            tasks.spawn(async move {
                if let Ok(entrance) = entrance.await {
                    acceptor.serve(entrance).await;
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
