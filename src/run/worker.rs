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
use tokio_util::sync::CancellationToken;

use crate::gateway::Entrance;
use crate::listener::Listener;

#[derive(Debug)]
pub(super) struct Worker(UnboundedSender<Order>);

struct Order {
    listener: Listener,
    entrance: Arc<Entrance>,
    done: Sender<io::Result<()>>,
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

    /// Returns when the worker accepts from the listener.
    pub(super) fn serve(&self, listener: Listener, entrance: Arc<Entrance>) -> io::Result<()> {
        let (done, is_done) = std::sync::mpsc::channel();
        let is_gone = || io::Error::other("a worker has ended");
        let order = Order { listener, entrance, done };
        self.0.send(order).map_err(|_| is_gone())?;
        is_done.recv().unwrap_or_else(|_| Err(is_gone()))
    }
}

async fn obey(mut orders: UnboundedReceiver<Order>) {
    while let Some(Order { listener, entrance, done }) = orders.recv().await {
        let begun = listener.watch().map(|acceptor| {
            let tasks = entrance.house().tasks.clone();
            tasks.spawn(acceptor.serve(entrance));
        });
        let _ = done.send(begun);
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
