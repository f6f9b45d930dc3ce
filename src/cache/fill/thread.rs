//! The thread that fetches.
//!
//! What must stay true: what an origin or the disk lets wait for holds up no client that reads
//! something else, for the workers never run it.

use std::io;

use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::cache::store::BoxFuture;

#[derive(Clone, Debug)]
pub struct Thread(UnboundedSender<BoxFuture<'static, ()>>);

impl Thread {
    /// It ends when nobody can give it work any more.
    pub fn spawn(name: &str) -> io::Result<Thread> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (sender, mut work) = unbounded_channel();
        std::thread::Builder::new().name(format!("fetch {name}")).spawn(move || {
            runtime.block_on(async {
                while let Some(one) = work.recv().await {
                    tokio::spawn(one);
                }
            });
        })?;
        Ok(Thread(sender))
    }

    pub fn run(&self, work: impl Future<Output = ()> + Send + 'static) {
        // It fails only when the thread has ended, and then the program does.
        let _ = self.0.send(Box::pin(work));
    }
}
