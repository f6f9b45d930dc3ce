//! Unix listeners: a socket file with the owner, group and mode that were asked for.
//!
//! What must stay true: the file is never reachable with any other mode, a file left by a dead
//! process is replaced in one step, and one that a living process serves is left alone.

use std::fs::{self, Metadata};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use rustix::fs::{Mode, OFlags};

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
        if !found.file_type().is_socket() {
            return Err(in_the_way(NO_SOCKET));
        }
        // Not ours to remove as long as the other process may go on.
        let is_left = AtomicBool::new(true);
        Ok(SocketFile { path: path.to_owned(), inode: found.ino(), is_left })
    }

    /// Takes away what a new mode does not have; all but the owner's, when the owner changes.
    pub(super) fn tighten(
        &self,
        mode: u32,
        owner: Option<u32>,
        group: Option<u32>,
    ) -> io::Result<()> {
        let (file, data) = self.open()?;
        let stays = is_owner(&data, owner, group);
        let least = data.mode() & mode & if stays { 0o777 } else { 0o700 };
        set_mode(&file, &data, least)
    }

    pub(super) fn set(&self, mode: u32, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
        let (file, data) = self.open()?;
        if !is_owner(&data, owner, group) {
            chown(&file, owner, group)?;
        }
        set_mode(&file, &data, mode)
    }

    /// A name for the file that cannot be led elsewhere: whoever may write to its folder could put a
    /// link in its place.
    fn open(&self) -> io::Result<(Held, Metadata)> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(&self.path, flags, Mode::empty())?;
        let held = Held { path: format!("/proc/self/fd/{}", file.as_raw_fd()).into(), _file: file };
        let data = fs::metadata(&held)?;
        match data.ino() == self.inode {
            true => Ok((held, data)),
            false => Err(io::Error::other("its socket file was replaced")),
        }
    }

    pub(super) fn own(&self) {
        self.is_left.store(false, Relaxed);
    }

    pub(super) fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode)
    }

    /// Does not remove it at the end.
    pub(super) fn leave(&self) {
        self.is_left.store(true, Relaxed);
    }
}

/// An open file, and a path that leads to it and nowhere else.
struct Held {
    path: PathBuf,
    _file: OwnedFd,
}

impl AsRef<Path> for Held {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

fn is_owner(data: &Metadata, owner: Option<u32>, group: Option<u32>) -> bool {
    owner.is_none_or(|owner| owner == data.uid()) && group.is_none_or(|group| group == data.gid())
}

/// Without `CAP_FOWNER` the mode of a file that was given away cannot even be set to what it is.
fn set_mode(file: &Held, data: &Metadata, mode: u32) -> io::Result<()> {
    match data.mode() & 0o777 == mode {
        true => Ok(()),
        false => fs::set_permissions(file, fs::Permissions::from_mode(mode)),
    }
}

pub(super) fn bind(
    path: &Path,
    mode: u32,
    owner: Option<u32>,
    group: Option<u32>,
) -> io::Result<(OwnedFd, SocketFile)> {
    remove_empty_directory(path);
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

/// Whoever connected, by `SO_PEERCRED`. A process of another pid namespace has no pid here.
pub(super) fn peer(socket: &OwnedFd) -> Peer {
    getsockopt(socket, PeerCredentials).map_or(Peer::Unknown, |who| {
        let pid = Some(who.pid()).filter(|pid| *pid > 0);
        Peer::Unix { uid: who.uid(), gid: who.gid(), pid }
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
        Ok(_) => Err(in_the_way("another process listens there. hint: `ss -xlp` tells which")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error),
    }
}

/// For a container that binds a socket which is not there an engine makes a directory in its place. Only an empty
/// one goes: rmdir(2) removes no other, and follows no link.
fn remove_empty_directory(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) && fs::remove_dir(path).is_ok()
    {
        tracing::info!("`{}` was an empty directory; a socket takes its place", path.display());
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
    fn an_empty_directory_in_its_place_goes_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        fs::create_dir(&path).unwrap();
        let bound = bind(&path, 0o600, None, None).unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
        drop(bound);
        fs::create_dir_all(path.join("inner")).unwrap();
        assert_eq!(bind(&path, 0o600, None, None).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(path.join("inner").is_dir(), "nothing below is touched");
        let empty = dir.path().join("empty");
        fs::create_dir(&empty).unwrap();
        let link = dir.path().join("link.sock");
        std::os::unix::fs::symlink(&empty, &link).unwrap();
        assert!(bind(&link, 0o600, None, None).is_err(), "a link is no directory");
        assert!(empty.is_dir());
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
