//! dockerd, from here: the only door through which anything is sent to it.
//!
//! `gateway` sends what was permitted; dockgate's own questions go through `own`, which no client
//! bytes can reach. What must stay true: `send` takes nothing but `Permitted<Call>`, which only
//! `policy::Chain::decide` makes:
//!
//! ```compile_fail,E0308
//! # async fn bypass(engine: &dockgate::engine::Engine, call: dockgate::api::Call) {
//! let _ = engine.send(call).await; // expected `Permitted<Call>`, found `Call`
//! # }
//! ```
//!
//! ```compile_fail,E0423
//! # fn bypass(call: dockgate::api::Call) {
//! let _ = dockgate::policy::Permitted(call); // its field is private
//! # }
//! ```
//!
//! ```compile_fail,E0451
//! # fn bypass(row: Option<&'static dockgate::api::Row>, head: dockgate::wire::head::RequestHead) {
//! let _ = dockgate::api::Verbatim { head, row }; // only `api` makes calls
//! # }
//! ```

mod connect;
mod own;
mod pool;
mod tls;

use std::sync::Arc;
use std::time::Duration;

pub use connect::Address;
pub use own::{Found, Subject};
pub use pool::Conn;

use crate::api::Call;
use crate::policy::Permitted;

/// One engine, and this worker's connections to it.
#[derive(Debug)]
pub struct Engine {
    shared: Arc<Inner>,
    pool: pool::Pool,
}

#[derive(Debug)]
struct Inner {
    address: Address,
    /// How long the engine may be silent before it is asked whether it is alive.
    patience: Duration,
    versions: own::Cache,
}

#[derive(Debug, thiserror::Error)]
pub enum Away {
    /// Nobody listens, or whoever did is gone: 502.
    #[error("cannot reach the engine at `{address}`: {cause}")]
    Refused { address: String, cause: String },
    /// Somebody listens and says nothing: 504.
    #[error("the engine at `{address}` does not answer")]
    Silent { address: String },
}

impl Engine {
    pub fn new(address: Address, patience: Duration) -> Engine {
        let versions = own::Cache::default();
        let shared = Arc::new(Inner { address, patience, versions });
        Engine { shared, pool: pool::Pool::default() }
    }

    /// The same engine for another worker: a connection stays with the worker that opened it.
    pub fn for_another_worker(&self) -> Engine {
        Engine { shared: Arc::clone(&self.shared), pool: pool::Pool::default() }
    }

    pub fn address(&self) -> &Address {
        &self.shared.address
    }

    pub fn patience(&self) -> Duration {
        self.shared.patience
    }

    /// Sends a call's head, and its body where that is JSON; gives the connection on which the
    /// answer comes, and the rest of the body goes.
    pub async fn send(&self, call: Permitted<Call>) -> Result<Conn, Away> {
        let bytes = call.render();
        // A write that fails has not given the engine a whole request: it is safe to repeat. On a
        // unix socket it does fail when the engine has closed its end.
        if let Some(mut conn) = self.pool.take() {
            match conn.write(&bytes).await {
                Ok(()) => return Ok(conn),
                // The engine was restarted, perhaps as another version.
                Err(_) => self.shared.versions.forget(),
            }
        }
        let mut conn = self.connect().await?;
        conn.write(&bytes).await.map_err(|error| self.refused(&error))?;
        Ok(conn)
    }

    /// A connection that carries whatever both sides say, for a client that speaks HTTP/2 to a
    /// listener without policies.
    pub async fn tunnel(&self, _: Permitted<crate::policy::Tunnel>) -> Result<Conn, Away> {
        self.connect().await
    }

    /// Takes a connection back whose answer was read to its end.
    pub fn keep(&self, conn: Conn) {
        self.pool.put(conn);
    }

    async fn connect(&self) -> Result<Conn, Away> {
        // Boxed: nearly all calls have a connection, and do not carry what it takes to make one.
        let connecting = Box::pin(self.shared.address.connect());
        match tokio::time::timeout(self.shared.patience, connecting).await {
            Ok(Ok(stream)) => Ok(Conn::new(stream)),
            Ok(Err(error)) => {
                self.shared.versions.forget();
                Err(self.refused(&error))
            }
            Err(_) => Err(self.silent()),
        }
    }

    pub fn refused(&self, cause: &dyn std::error::Error) -> Away {
        Away::Refused { address: self.shared.address.to_string(), cause: cause.to_string() }
    }

    pub fn silent(&self) -> Away {
        Away::Silent { address: self.shared.address.to_string() }
    }
}
