//! Whether the engine's processes can be seen from here: callers of jobs are known by theirs.
//!
//! `world` asks before jobs can be opened, and for each. What must stay true: where that cannot be told, because the engine
//! is away, nothing is refused; a job is not opened without an engine anyway.

use anyhow::bail;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

use crate::config::Config;
use crate::engine::Address;

/// Of a configuration with jobs: the engine must be in sight.
pub(super) fn check(config: &Config, engine: &Address) -> anyhow::Result<()> {
    let mut policies = config.listeners.iter().flat_map(|listener| &listener.policies);
    match policies.any(|policy| policy.temporary().is_some()) {
        true => check_engine(engine),
        false => Ok(()),
    }
}

pub(super) fn check_engine(engine: &Address) -> anyhow::Result<()> {
    if pid_of(engine) == Some(0) {
        bail!(
            "callers of jobs are known by their processes, and those of the engine's host cannot be seen from here: dockgate is \
             in a pid namespace of its own. hint: give its container the host's (`--pid=host`)"
        );
    }
    Ok(())
}

/// Of who listens there (`SO_PEERCRED`); 0 for a process that this pid namespace does not have. Nobody is waited for.
fn pid_of(engine: &Address) -> Option<i32> {
    let Address::Unix(path) = engine else { return None };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path.as_path()).ok()?).ok()?;
    Some(getsockopt(&socket, PeerCredentials).ok()?.pid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_is_away_is_no_reason_and_one_beside_us_is_in_sight() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let engine = Address::Unix(path.clone());
        assert!(pid_of(&engine).is_none() && check_engine(&engine).is_ok());
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(pid_of(&engine), i32::try_from(std::process::id()).ok());
        assert!(check_engine(&engine).is_ok());
        drop(listener);
        assert!(pid_of(&engine).is_none());
    }
}
