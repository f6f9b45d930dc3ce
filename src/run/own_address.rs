//! A listener is never the engine's own socket: everybody who came in would be sent to where they came from.
//!
//! `world` asks before it opens a socket and after. `config` has compared what is written; here it is what the
//! kernel says, device and inode, whatever the paths are called. What must stay true: the engine's socket file is
//! not replaced, also while the engine is stopped.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::config::{self, Bind};
use crate::engine::Address;
use crate::listener::Socket;

/// Before anything is made there.
pub(super) fn refuse_file(bind: &Bind, engine: &Address) -> io::Result<()> {
    let (Bind::Unix { path, .. }, Address::Unix(engine)) = (bind, engine) else { return Ok(()) };
    if is_same_file(path, engine) { Err(is_engines(path)) } else { Ok(()) }
}

/// Of a socket that is open: also one that was handed over, or that a name led to.
pub(super) fn refuse_socket(socket: &Socket, engine: &Address) -> io::Result<()> {
    let place = socket.place();
    let is_same = match (place.split_once("://"), engine) {
        (Some(("unix", path)), Address::Unix(engine)) => is_same_file(Path::new(path), engine),
        (Some(("tcp", address)), Address::Tcp(_) | Address::Tls(..)) => {
            config::is_same(&Bind::Tcp { address: address.to_owned() }, &engine.to_string())
        }
        _ => false,
    };
    if is_same { Err(is_engines(Path::new(place))) } else { Ok(()) }
}

/// Two names of one file, or of one place in one folder where no file is yet.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let inode = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    let place = |path: &Path| Some((inode(path.parent()?)?, path.file_name()?.to_owned()));
    let is_both = |one: Option<_>, other: Option<_>| one.is_some() && one == other;
    is_both(inode(one), inode(other)) || (place(one).is_some() && place(one) == place(other))
}

fn is_engines(path: &Path) -> io::Error {
    let what = format!("`{}` is the engine's own socket: listen elsewhere", path.display());
    io::Error::new(io::ErrorKind::AddrInUse, what)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_file_is_the_engines_by_whatever_name() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("folder")).unwrap();
        std::os::unix::fs::symlink(at("folder"), at("link")).unwrap();
        let refused = |path: &str, engine: &str| {
            let bind = Bind::Unix { path: at(path), mode: 0o600, owner: None, group: None };
            refuse_file(&bind, &Address::Unix(at(engine))).is_err()
        };
        assert!(refused("link/e", "folder/e"), "where no file is yet");
        assert!(!refused("link/f", "folder/e"));
        // A file that a stopped engine has left is not taken for a stale one of ours.
        drop(UnixListener::bind(at("folder/e")).unwrap());
        fs::hard_link(at("folder/e"), at("hard")).unwrap();
        std::os::unix::fs::symlink(at("folder/e"), at("soft")).unwrap();
        for name in ["folder/e", "link/e", "hard", "soft"] {
            assert!(refused(name, "folder/e") && refused("folder/e", name), "{name}");
        }
        assert!(!refused("folder/g", "folder/e"));
    }
}
