//! The thread that fetches.
//!
//! What must stay true: what an origin or the disk lets wait for holds up no client that reads
//! something else, for the workers never run it.

use std::io;

use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_util::task::TaskTracker;

use crate::cache::store::BoxFuture;

#[derive(Clone, Debug)]
pub struct Thread {
    work: UnboundedSender<BoxFuture<'static, ()>>,
    /// A process that ends waits for it.
    tasks: TaskTracker,
}

impl Thread {
    /// It ends when nobody can give it work any more.
    pub fn spawn(name: &str, tasks: TaskTracker) -> io::Result<Thread> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (sender, mut work) = unbounded_channel();
        std::thread::Builder::new().name(format!("fetch {name}")).spawn(move || {
            runtime.block_on(async {
                while let Some(one) = work.recv().await {
                    tokio::spawn(one);
                }
            });
        })?;
        Ok(Thread { work: sender, tasks })
    }

    /// What runs elsewhere, and a process that ends waits for.
    pub fn awaited<T, F: Future<Output = T>>(
        &self,
        work: F,
    ) -> impl Future<Output = T> + use<T, F> {
        self.tasks.track_future(work)
    }

    pub fn run(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.run_untracked(self.tasks.track_future(work));
    }

    /// What no process waits for.
    pub fn run_untracked(&self, work: impl Future<Output = ()> + Send + 'static) {
        // It fails only when the thread has ended, and then the program does.
        let _ = self.work.send(Box::pin(work));
    }
}
