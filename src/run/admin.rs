//! What the admin sockets tell and do: the world, seen from outside.
//!
//! `run` opens them, on the main thread. What must stay true: a reload is done by the one who holds
//! the world, and only asked for here.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::world::World;
use crate::admin::{self, Later, State};
use crate::engine::Engine;
use crate::listener::Socket;
use crate::telemetry::metrics::Metrics;

/// A probe is not to wait as long as a call may.
const PROBE: Duration = Duration::from_secs(3);

/// Somebody who waits for the end of a reload.
pub(super) type Asked = oneshot::Sender<Result<String, String>>;

/// The admin sockets that are being served. The file of a unix socket stays as long as its `Socket`
/// is here: readiness is asked for during a drain too.
pub(super) struct Desk {
    serving: HashMap<String, (CancellationToken, Socket)>,
    clerk: Arc<Clerk>,
}

struct Clerk {
    metrics: Metrics,
    view: ArcSwap<View>,
    reloads: mpsc::Sender<Asked>,
    drain: CancellationToken,
}

/// What can be seen of the world.
struct View {
    engine: Engine,
    listeners: Vec<(String, Socket)>,
}

impl View {
    fn of(world: &World) -> View {
        View { engine: world.engine.for_another_worker(), listeners: world.listeners() }
    }
}

impl Desk {
    /// Serves nothing yet; wishes to reload come out of the other end.
    pub(super) fn new(world: &World) -> (Desk, mpsc::Receiver<Asked>) {
        let (reloads, asked) = mpsc::channel(1);
        let view = ArcSwap::from_pointee(View::of(world));
        let (metrics, drain) = (world.metrics.clone(), world.drain.clone());
        let clerk = Arc::new(Clerk { metrics, view, reloads, drain });
        (Desk { serving: HashMap::new(), clerk }, asked)
    }

    /// Serves what the world has now, and no more.
    pub(super) fn follow(&mut self, world: &World) -> io::Result<()> {
        self.clerk.view.store(Arc::new(View::of(world)));
        let wanted: Vec<String> = world.admin.iter().map(|(bind, _)| bind.to_string()).collect();
        self.serving.retain(|place, (stop, _)| {
            let stays = wanted.contains(place);
            if !stays {
                stop.cancel();
            }
            stays
        });
        for ((_, socket), place) in world.admin.iter().zip(wanted) {
            if self.serving.contains_key(&place) {
                continue;
            }
            let stop = CancellationToken::new();
            let state = Arc::clone(&self.clerk) as Arc<dyn State>;
            let serving = admin::serve(socket.duplicate()?, socket.is_unix(), state, stop.clone());
            tokio::spawn(serving);
            self.serving.insert(place, (stop, socket.clone()));
        }
        Ok(())
    }

    /// Holds no listening socket any more: they are to close.
    pub(super) fn let_go(&self) {
        let engine = self.clerk.view.load().engine.for_another_worker();
        self.clerk.view.store(Arc::new(View { engine, listeners: Vec::new() }));
    }

    /// Leaves the sockets to another process.
    pub(super) fn close(&mut self) {
        self.serving.drain().for_each(|(_, (stop, _))| stop.cancel());
    }
}

impl State for Clerk {
    fn metrics(&self) -> String {
        self.metrics.render()
    }

    fn ready(&self) -> Later<'_, Vec<(String, Result<(), String>)>> {
        let view = self.view.load_full();
        Box::pin(async move {
            let alive = tokio::time::timeout(PROBE, view.engine.is_alive()).await;
            let engine = match alive {
                Ok(true) => Ok(()),
                _ => Err(format!("`{}` does not answer", view.engine.address())),
            };
            let bound = view
                .listeners
                .iter()
                .map(|(name, socket)| (format!("listener {name}"), socket.is_reachable()));
            std::iter::once(("engine".to_owned(), engine)).chain(bound).collect()
        })
    }

    fn reload(&self) -> Later<'_, Result<String, String>> {
        Box::pin(async move {
            let (done, is_done) = oneshot::channel();
            let gone = |_| "dockgate is stopping".to_owned();
            self.reloads.send(done).await.map_err(|_| gone(()))?;
            is_done.await.map_err(|_| gone(()))?
        })
    }

    fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }
}
