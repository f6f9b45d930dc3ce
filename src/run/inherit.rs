//! Listening sockets that are open already: from the service manager, or from the dockgate before us.
//!
//! `run` takes them before anything else is opened. What must stay true: each is used once, what
//! nobody wants is closed, and a service manager keeps one socket for each listener, the one that is
//! served.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use listenfd::ListenFd;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::PipeFlags;

use super::handover::Predecessor;
use crate::config::{Bind, CacheListen, Config};

/// What the name of a stored socket must not have (sd_notify(3), `FDNAME=`), and the escape itself:
/// two listeners never have one name.
const ESCAPED: &AsciiSet = &CONTROLS.add(b':').add(b'%');

/// The longest name of a stored socket; it is ignored when it is longer.
const MOST_NAME: usize = 255;
/// How long a service manager may take to close what it kept.
const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

#[derive(Debug, Default)]
pub(super) struct Inherited {
    sockets: Vec<(String, OwnedFd)>,
    /// What the process before this one remembers.
    pub(super) memory: Vec<String>,
    /// Who waits for us to take over.
    pub(super) predecessor: Option<Predecessor>,
}

impl Inherited {
    /// Reads the environment; before any thread is started, because it changes it.
    pub(super) fn take() -> io::Result<Inherited> {
        let mut sockets = from_service_manager()?;
        let predecessor = Predecessor::of_us();
        let mut memory = Vec::new();
        if let Some(predecessor) = &predecessor {
            let (theirs, remembered) = predecessor.legacy()?;
            sockets.extend(theirs);
            memory = remembered;
        }
        Ok(Inherited { sockets, memory, predecessor })
    }

    /// Closes what this configuration does not want, everywhere: the address may be in the way of
    /// another listener.
    pub(super) fn keep_wanted(&mut self, config: &Config) {
        let listeners = config.listeners.iter().map(|listener| listener.bind.clone());
        let caches = config.caches.iter().flat_map(|cache| &cache.listen).map(CacheListen::bind);
        let mut wanted: Vec<Vec<String>> = listeners
            .chain(config.admin.iter().cloned())
            .chain(caches)
            .map(|bind| names(&bind))
            .collect();
        let mut is_forgotten = false;
        self.sockets.retain(|(name, _)| {
            if let Some(at) = wanted.iter().position(|names| names.contains(name)) {
                wanted.swap_remove(at);
                return true;
            }
            tracing::warn!(name, "an inherited socket that no listener wants is closed");
            forget_name(name);
            is_forgotten = true;
            false
        });
        if is_forgotten && let Err(error) = wait_for_service_manager() {
            tracing::debug!(%error, "the service manager may still keep sockets");
        }
    }

    /// The socket that is meant for this.
    pub(super) fn find(&mut self, bind: &Bind) -> Option<OwnedFd> {
        let names = names(bind);
        let at = self.sockets.iter().position(|(name, _)| names.contains(name))?;
        Some(self.sockets.remove(at).1)
    }
}

/// What the socket for this is called: by a dockgate before us, by a service manager.
fn names(bind: &Bind) -> Vec<String> {
    let key = bind.to_string();
    match bind {
        Bind::Inherited { name } => vec![key, name.clone()],
        Bind::Unix { .. } | Bind::Tcp { .. } => vec![stored_name(&key), key],
    }
}

/// The name under which a service manager keeps a socket for us: printable ASCII without `:`.
fn stored_name(key: &str) -> String {
    utf8_percent_encode(key, ESCAPED).to_string()
}

/// Asks the service manager to keep a socket while we restart. Without one, or without
/// `FileDescriptorStoreMax=` in the unit, nothing happens.
pub(super) fn store(bind: &Bind, socket: impl AsFd) {
    use sd_notify::NotifyState::{FdName, FdStore};
    // The service manager has its own sockets anyway.
    if let Bind::Inherited { .. } = bind {
        return;
    }
    let name = stored_name(&bind.to_string());
    if name.len() > MOST_NAME {
        tracing::warn!("the name `{name}` is too long for the service manager to keep the socket");
        return;
    }
    // One that was bound anew, because the file of the old one was gone, takes its place. Otherwise
    // both would be passed next time, and the store would fill up.
    forget_name(&name);
    if let Err(error) = sd_notify::notify_with_fds(&[FdStore, FdName(&name)], &[socket.as_fd()]) {
        tracing::warn!(%error, "the service manager does not keep the socket `{name}`");
    }
}

/// Whether a service manager listens that may keep sockets: their files stay then.
pub(super) fn may_be_stored() -> bool {
    // Set by systemd 254 and later for units with a store; for older ones our unit sets it.
    std::env::var_os("FDSTORE").is_some_and(|most| !most.is_empty() && most != "0")
        && std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Asks the service manager to close a socket that it keeps.
pub(super) fn forget(bind: &Bind) {
    forget_name(&stored_name(&bind.to_string()));
}

fn forget_name(name: &str) {
    use sd_notify::NotifyState::{FdName, FdStoreRemove};
    let _ = sd_notify::notify(&[FdStoreRemove, FdName(name)]);
}

/// Returns when all that was said before has been done (`BARRIER=1`, sd_notify(3)).
fn wait_for_service_manager() -> io::Result<()> {
    let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let barrier = sd_notify::NotifyState::Custom("BARRIER=1");
    sd_notify::notify_with_fds(&[barrier], &[theirs.as_fd()])?;
    drop(theirs);
    // The other end is closed.
    let ready = poll(&mut [PollFd::new(&ours, PollFlags::empty())], Some(&PATIENCE))?;
    if ready == 0 { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
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
            Err(_) => match passed.take_tcp_listener(index) {
                Ok(socket) => socket.map(OwnedFd::from),
                Err(_) => return Err(no_stream(&name)),
            },
        };
        sockets.extend(socket.map(|socket| (name, socket)));
    }
    Ok(sockets)
}

fn no_stream(name: &str) -> io::Error {
    io::Error::other(format!(
        "the service manager passes `{name}`, which is neither a unix nor a TCP socket for streams. \
         hint: `ListenStream=` in the `.socket` unit"
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_printable_and_each_stands_for_one_place() {
        assert_eq!(stored_name("unix:///run/a.sock"), "unix%3A///run/a.sock");
        assert_eq!(stored_name("tcp://[::1]:80"), "tcp%3A//[%3A%3A1]%3A80");
        assert_ne!(stored_name("unix:///a:b"), stored_name("unix:///a%3Ab"));
        assert_eq!(stored_name("unix:///ä\n"), "unix%3A///%C3%A4%0A");
    }

    proptest! {
        #[test]
        fn a_name_is_what_a_service_manager_takes(key in "\\PC*") {
            let name = stored_name(&key);
            prop_assert!(name.bytes().all(|byte| (b' '..127).contains(&byte) && byte != b':'));
            let decoded = percent_encoding::percent_decode_str(&name).decode_utf8().unwrap();
            prop_assert_eq!(decoded.as_ref(), key.as_str());
        }
    }
}
