//! dockerd, from here: the only way by which anything is sent to it.
//!
//! `gateway` sends what was permitted; dockgate's own questions go through `own`, which no client
//! bytes can reach. What must stay true: `send` takes nothing but `Permitted<Call>`, which only
//! `policy::Chain::decide` makes:
//!
//! ```compile_fail,E0308
//! # async fn bypass(engine: &dockgate::engine::Engine, call: dockgate::api::Call) {
//! let trail = dockgate::wire::trail::Trail::default();
//! let _ = engine.send(call, &trail).await; // expected `Permitted<Call>`, found `Call`
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

mod addresses;
mod change;
mod connect;
mod events;
mod files;
mod own;
mod pool;
mod pull;
mod tls;
mod watch;

use std::sync::Arc;
use std::time::Duration;

pub use addresses::ContainerAddresses;
pub use connect::Address;
pub use files::{FileError, PathKind};
pub use own::{Inspected, Subject, WhichEngine};
pub use pool::Conn;
pub use watch::Entry;

use crate::api::Call;
use crate::api::endpoint::{Minor, Versions};
use crate::policy::Permitted;
use crate::wire::trail::Trail;

/// The first API version whose engines take gRPC without an upgrade (29.2).
const NATIVE_SINCE: Minor = 53;

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
    versions: own::VersionCache,
    watch: watch::Watch,
    /// Held while dockgate makes a network: older engines make two of one name for two that ask at once.
    networks: tokio::sync::Mutex<()>,
}

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nobody listens, or whoever did is gone: 502.
    #[error("cannot reach the engine at `{address}`: {cause}")]
    Refused { address: String, cause: String, is_forbidden: bool },
    /// Somebody listens and says nothing: 504. `asked` is what dockgate wanted to know itself.
    #[error("the engine at `{address}` does not answer{}", neither(.asked))]
    Silent { address: String, asked: Option<String> },
    /// It answers others, but not this question of dockgate's own: 504.
    #[error("the engine at `{address}` has not said {asked} within {}, but answers pings", humantime::format_duration(*.waited))]
    Busy { address: String, asked: String, waited: Duration },
    /// What listens there sends everything back here: 508.
    #[error("the engine's address `{address}` leads back to this gateway")]
    Loop { address: String },
}

fn neither(asked: &Option<String>) -> String {
    asked.as_ref().map(|asked| format!(", neither a ping nor {asked}")).unwrap_or_default()
}

impl EngineError {
    /// What the user can do.
    pub fn hint(&self) -> &'static str {
        match self {
            EngineError::Refused { is_forbidden: true, .. } => {
                "dockgate's user may not use that socket: put it into the socket's group"
            }
            EngineError::Refused { .. } | EngineError::Silent { .. } => "is dockerd running?",
            EngineError::Busy { .. } => {
                "the engine is busy with it: try again, or raise `engine.patience`"
            }
            EngineError::Loop { .. } => "`engine.url` must be the address of dockerd itself",
        }
    }
}

impl Engine {
    pub fn new(address: Address, patience: Duration) -> Engine {
        let (versions, watch, networks) = Default::default();
        let shared = Arc::new(Inner { address, patience, versions, watch, networks });
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
    /// answer comes, and the rest of the body goes. One for HTTP/2 carries whatever both sides say.
    pub async fn send(&self, call: Permitted<Call>, trail: &Trail) -> Result<Conn, EngineError> {
        if matches!(*call, Call::Http2) {
            // What goes through it cannot say where it has been: two gateways that tunnel to each other would go
            // on until they have no descriptors left.
            Box::pin(self.refuse_loop()).await?;
            return self.connect().await;
        }
        let mut bytes = call.render();
        trail.put(&mut bytes);
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

    /// Whether it takes gRPC without an upgrade, on the socket itself (`daemon/command/httphandler.go` of moby). Over TLS
    /// that is for clients that have agreed on HTTP/2 (ALPN), which ours do not.
    pub fn takes_grpc(&self, versions: Versions) -> bool {
        let is_tls = matches!(self.shared.address, Address::Tls(..));
        versions.newest >= NATIVE_SINCE && !is_tls
    }

    /// A connection for gRPC without an upgrade. For a call of `/grpc` or `/session`, which says that it may be opened.
    pub async fn open_grpc(&self, _: &Permitted<Call>) -> Result<Conn, EngineError> {
        Box::pin(self.refuse_loop()).await?;
        self.connect().await
    }

    /// Takes a connection back whose answer was read to its end.
    pub fn keep(&self, conn: Conn) {
        self.pool.put(conn);
    }

    async fn connect(&self) -> Result<Conn, EngineError> {
        // Boxed: nearly all calls have a connection, and do not carry what it takes to make one.
        let connecting = Box::pin(self.shared.address.connect());
        match tokio::time::timeout(self.shared.patience, connecting).await {
            Ok(Ok(stream)) => Ok(Conn::new(stream)),
            Ok(Err(error)) => {
                self.shared.versions.forget();
                let is_forbidden = error.kind() == std::io::ErrorKind::PermissionDenied;
                let (address, cause) = (self.place(), error.to_string());
                Err(EngineError::Refused { address, cause, is_forbidden })
            }
            Err(_) => Err(self.silent()),
        }
    }

    pub fn refused(&self, cause: &dyn std::error::Error) -> EngineError {
        let (address, cause) = (self.place(), cause.to_string());
        EngineError::Refused { address, cause, is_forbidden: false }
    }

    pub fn silent(&self) -> EngineError {
        EngineError::Silent { address: self.place(), asked: None }
    }

    fn place(&self) -> String {
        self.shared.address.to_string()
    }
}
