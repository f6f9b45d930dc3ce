//! What the messages of one connection take that are read whole.
//!
//! `call` takes from it before a message is collected. What must stay true: nobody waits for it, since two
//! calls that each hold half a message would wait for each other.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::messages::RESOURCE_EXHAUSTED;
use super::reply::H2Reply;

pub(super) struct HeldMessages(Arc<Semaphore>);

impl HeldMessages {
    pub(super) fn new(bytes: usize) -> HeldMessages {
        HeldMessages(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    /// Holds so many bytes until it is dropped.
    pub(super) fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, H2Reply> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.0).try_acquire_many_owned(bytes).map_err(|_| {
            let message = "dockgate: the messages of this connection take too much at once";
            H2Reply::grpc(RESOURCE_EXHAUSTED, message)
        })
    }
}
