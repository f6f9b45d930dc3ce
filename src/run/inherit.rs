//! Listening sockets that are open already: from the service manager, or from the dockgate before us.
//!
//! `run` takes them before anything else is opened. What must stay true: each is used once, and what
//! nobody wants is closed.

use std::io;
use std::os::fd::OwnedFd;

use listenfd::ListenFd;

use super::handover::Predecessor;
use crate::config::Bind;

#[derive(Debug, Default)]
pub(super) struct Inherited {
    sockets: Vec<(String, OwnedFd)>,
    /// Who waits for us to take over.
    pub(super) predecessor: Option<Predecessor>,
}

impl Inherited {
    /// Reads the environment; before any thread is started, because it changes it.
    pub(super) fn take() -> io::Result<Inherited> {
        let mut sockets = from_service_manager()?;
        let predecessor = Predecessor::of_us();
        if let Some(predecessor) = &predecessor {
            sockets.extend(predecessor.sockets()?);
        }
        Ok(Inherited { sockets, predecessor })
    }

    /// The socket that is meant for this.
    pub(super) fn find(&mut self, bind: &Bind) -> Option<OwnedFd> {
        let key = bind.to_string();
        let names = match bind {
            Bind::Inherited { name } => vec![key, name.clone()],
            Bind::Unix { .. } | Bind::Tcp { .. } => vec![stored_name(&key), key],
        };
        let at = self.sockets.iter().position(|(name, _)| names.contains(name))?;
        Some(self.sockets.swap_remove(at).1)
    }

    /// Closes what is left.
    pub(super) fn drop_rest(&mut self) {
        for (name, _) in self.sockets.drain(..) {
            tracing::info!(name, "an inherited socket that no listener wants was closed");
            forget(&name);
        }
    }
}

/// The name under which a service manager keeps a socket for us: printable, without `:`
/// (sd_pid_notify_with_fds(3)).
fn stored_name(key: &str) -> String {
    key.replace(':', "=")
}

/// Asks the service manager to keep a socket while we restart. Without one, or without
/// `FileDescriptorStoreMax=` in the unit, nothing happens.
pub(super) fn store(bind: &Bind, socket: impl std::os::fd::AsFd) {
    use sd_notify::NotifyState::{FdName, FdStore};
    // The service manager has its own sockets anyway.
    if let Bind::Inherited { .. } = bind {
        return;
    }
    let name = stored_name(&bind.to_string());
    if let Err(error) = sd_notify::notify_with_fds(&[FdStore, FdName(&name)], &[socket.as_fd()]) {
        tracing::warn!(%error, "the service manager does not keep the socket `{name}`");
    }
}

/// Whether a service manager listens that may keep sockets: their files stay then.
pub(super) fn may_be_stored() -> bool {
    // Set by systemd 254 and later for units with a store.
    std::env::var_os("FDSTORE").is_some_and(|most| most != "0")
}

/// Asks the service manager to close a socket that it keeps.
pub(super) fn forget(name: &str) {
    use sd_notify::NotifyState::{FdName, FdStoreRemove};
    let _ = sd_notify::notify(&[FdStoreRemove, FdName(&stored_name(name))]);
}

/// Socket activation and the file descriptor store (sd_listen_fds(3)).
fn from_service_manager() -> io::Result<Vec<(String, OwnedFd)>> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..passed.len() {
        let name = names.next().unwrap_or_default().to_owned();
        let socket: Option<OwnedFd> = match passed.take_unix_listener(index) {
            Ok(socket) => socket.map(OwnedFd::from),
            Err(_) => passed.take_tcp_listener(index)?.map(OwnedFd::from),
        };
        sockets.extend(socket.map(|socket| (name, socket)));
    }
    Ok(sockets)
}
