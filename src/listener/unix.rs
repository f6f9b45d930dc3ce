//! Unix listeners: a socket file with the owner, group and mode that were asked for.
//!
//! What must stay true: the file is never reachable with any other mode, a file left by a dead
//! process is replaced in one step, and one that a living process serves is left alone.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::auth::Peer;

const NO_SOCKET: &str = "a file that is not a socket is in the way";

/// The file of a listening socket; removed with it, unless another process has put its own there.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
    is_left: AtomicBool,
}

impl SocketFile {
    /// The file of a socket that another process bound.
    pub(super) fn of(path: &Path) -> io::Result<SocketFile> {
        let found = fs::symlink_metadata(path)?;
        // `change` would follow a link to somebody else's file.
        if !found.file_type().is_socket() {
            return Err(in_the_way(NO_SOCKET));
        }
        let inode = found.ino();
        Ok(SocketFile { path: path.to_owned(), inode, is_left: AtomicBool::new(false) })
    }

    pub(super) fn change(
        &self,
        mode: u32,
        owner: Option<u32>,
        group: Option<u32>,
    ) -> io::Result<()> {
        // Without `CAP_FOWNER` the mode of a file that was given away cannot even be set to what it is.
        let now = fs::symlink_metadata(&self.path)?;
        let is_owned = owner.is_none_or(|owner| owner == now.uid());
        if !is_owned || group.is_some_and(|group| group != now.gid()) {
            chown(&self.path, owner, group)?;
        }
        if mode != now.mode() & 0o7777 {
            fs::set_permissions(&self.path, fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    }

    pub(super) fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode)
    }

    /// Does not remove it at the end.
    pub(super) fn leave(&self) {
        self.is_left.store(true, Relaxed);
    }
}

pub(super) fn bind(
    path: &Path,
    mode: u32,
    owner: Option<u32>,
    group: Option<u32>,
) -> io::Result<(OwnedFd, SocketFile)> {
    refuse_living(path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    make_folder(folder)?;
    // Made under another name, in a folder that only we can enter, and moved into place: no moment
    // with the wrong mode, and a stale file is replaced in the same step.
    let workshop = folder.join(format!(".dockgate-{}", std::process::id()));
    let made = prepare(&workshop, path, mode, owner, group);
    let _ = fs::remove_dir_all(&workshop);
    let (listener, inode) = made?;
    listener.set_nonblocking(true)?;
    Ok((
        listener.into(),
        SocketFile { path: path.to_owned(), inode, is_left: AtomicBool::new(false) },
    ))
}

/// Whoever connected, by `SO_PEERCRED`.
pub(super) fn peer(socket: &OwnedFd) -> Peer {
    rustix::net::sockopt::socket_peercred(socket).map_or(Peer::Unknown, |who| {
        let (uid, gid, pid) = (who.uid.as_raw(), who.gid.as_raw(), who.pid.as_raw_nonzero().get());
        Peer::Unix { uid, gid, pid: Some(pid) }
    })
}

fn prepare(
    workshop: &Path,
    path: &Path,
    mode: u32,
    owner: Option<u32>,
    group: Option<u32>,
) -> io::Result<(UnixListener, u64)> {
    let _ = fs::remove_dir_all(workshop);
    fs::create_dir(workshop)?;
    fs::set_permissions(workshop, fs::Permissions::from_mode(0o700))?;
    // Short: a socket address holds 107 bytes.
    let draft = workshop.join("s");
    let listener = UnixListener::bind(&draft)?;
    fs::set_permissions(&draft, fs::Permissions::from_mode(mode))?;
    if owner.is_some() || group.is_some() {
        chown(&draft, owner, group)?;
    }
    let inode = fs::metadata(&draft)?.ino();
    fs::rename(&draft, path)?;
    Ok((listener, inode))
}

fn refuse_living(path: &Path) -> io::Result<()> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(in_the_way(NO_SOCKET));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(in_the_way("another process listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error),
    }
}

fn in_the_way(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, what)
}

fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !self.is_left.load(Relaxed) && self.is_there() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/x.sock");
        let (listener, file) = bind(&path, 0o600, None, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777,
            0o755
        );
        let again = bind(&path, 0o600, None, None).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
        std::mem::forget(file);
        drop(listener);
        let (_listener, file) = bind(&path, 0o666, None, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing left behind");
        drop(file);
        assert!(!path.exists(), "removed at exit");
    }

    #[test]
    fn the_file_of_a_successor_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        let (listener, file) = bind(&path, 0o600, None, None).unwrap();
        drop(listener);
        let (_successor, _kept) = bind(&path, 0o600, None, None).unwrap();
        drop(file);
        assert!(path.exists());
        fs::write(dir.path().join("plain"), "").unwrap();
        assert!(bind(&dir.path().join("plain"), 0o600, None, None).is_err());
    }
}
