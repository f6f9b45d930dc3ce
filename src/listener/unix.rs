//! Unix listeners: a socket file with the owner, group and mode that were asked for.
//!
//! What must stay true: the file never lets anybody in whom its mode does not, a file left by a dead
//! process is replaced, and one that a living process serves is left alone; whoever may write to
//! its folder leads nothing that is done here to another place; where nobody may, the socket's address is its path.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, openat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::folder::{Folder, Workshop, open_folder};
use crate::auth::Peer;

const NO_SOCKET: &str = "a file that is not a socket is in the way";
const LIVING: &str = "another process listens there. hint: `ss -xlp` tells which";
/// What a client's `sockaddr_un` holds (unix(7)), without the last zero.
const LONGEST_PATH: usize = 107;
/// As the standard library asks for; the kernel makes it `net.core.somaxconn` at most.
const BACKLOG: i32 = 4096;

/// The file of a listening socket; removed with it, unless another process has put its own there.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// The folder that it was put into, wherever that is now.
    folder: OwnedFd,
    /// Of the device and of the file.
    identity: (u64, u64),
    is_left: AtomicBool,
}

impl SocketFile {
    /// The file of a socket that another process bound.
    pub(super) fn of(path: &Path) -> io::Result<SocketFile> {
        let Folder { fd: folder, .. } = open_folder(folder_of(path), false)?;
        let found = fs::symlink_metadata(path)?;
        if !found.file_type().is_socket() {
            return Err(in_the_way(NO_SOCKET));
        }
        // Not ours to remove as long as the other process may go on.
        let is_left = AtomicBool::new(true);
        Ok(SocketFile { path: path.to_owned(), folder, identity: identity(&found), is_left })
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
        match identity(&data) == self.identity {
            true => Ok((held, data)),
            false => Err(io::Error::other("its socket file was replaced")),
        }
    }

    pub(super) fn own(&self) {
        self.is_left.store(false, Relaxed);
    }

    pub(super) fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|file| identity(&file) == self.identity)
    }

    /// Removes it, if it is still this one.
    pub(super) fn remove(&self) {
        let name = name_of(&self.path);
        let found = statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW);
        if found.is_ok_and(|file| (file.st_dev, file.st_ino) == self.identity) {
            let _ = unlinkat(&self.folder, name, AtFlags::empty());
        }
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
    if path.as_os_str().len() > LONGEST_PATH {
        let why = format!("its path has more than {LONGEST_PATH} bytes: no client can connect");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let Folder { fd: folder, is_closed } = open_folder(folder_of(path), true)?;
    remove_empty_directory(&folder, path);
    let stale = refuse_living(path)?;
    let rights = FileRights { mode, owner, group };
    let (listener, identity) = match is_closed {
        true => bind_in_place(&folder, path, stale, rights)?,
        false => bind_apart(&folder, name_of(path), rights)?,
    };
    rustix::io::ioctl_fionbio(&listener, true)?;
    let (path, is_left) = (path.to_owned(), AtomicBool::new(false));
    Ok((listener, SocketFile { path, folder, identity, is_left }))
}

/// Whoever connected, by `SO_PEERCRED`. A process of another pid namespace has no pid here.
pub(super) fn peer(socket: &OwnedFd) -> Peer {
    getsockopt(socket, PeerCredentials).map_or(Peer::Unknown, |who| {
        let pid = Some(who.pid()).filter(|pid| *pid > 0);
        Peer::Unix { uid: who.uid(), gid: who.gid(), pid }
    })
}

/// Bound by its path, which is the address that `ss` and clients' messages show for ever. What a dead process left is
/// moved away before; until it is listened to, the new file refuses connections as the old one did.
fn bind_in_place(
    folder: &OwnedFd,
    path: &Path,
    stale: Option<(u64, u64)>,
    rights: FileRights,
) -> io::Result<(OwnedFd, (u64, u64))> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // The file is born with the mode of the socket's own inode (`unix_bind_bsd` of Linux), whatever the umask.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    // It keeps the old file until the new one is there, which so is another one by its number too.
    let _workshop = stale.map(|stale| move_away(folder, name_of(path), stale)).transpose()?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?).map_err(|error| match error {
        Errno::ADDRINUSE => in_the_way(LIVING),
        other => other.into(),
    })?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(folder, name_of(path), flags, Mode::empty())?;
    let held = Held { path: format!("/proc/self/fd/{}", file.as_raw_fd()).into(), _file: file };
    rights.give(&held)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok((socket, identity(&fs::metadata(&held)?)))
}

fn move_away<'f>(folder: &'f OwnedFd, name: &OsStr, stale: (u64, u64)) -> io::Result<Workshop<'f>> {
    let workshop = Workshop::make(folder)?;
    renameat(folder, name, workshop.fd(), "s")?;
    let moved = statat(workshop.fd(), "s", AtFlags::SYMLINK_NOFOLLOW)?;
    if (moved.st_dev, moved.st_ino) != stale {
        // Another process has begun to serve there meanwhile.
        renameat_with(workshop.fd(), "s", folder, name, RenameFlags::NOREPLACE)?;
        return Err(in_the_way(LIVING));
    }
    Ok(workshop)
}

/// Where others may put links into the way: made in a folder that only we can enter, and moved into place.
fn bind_apart(
    folder: &OwnedFd,
    name: &OsStr,
    rights: FileRights,
) -> io::Result<(OwnedFd, (u64, u64))> {
    let workshop = Workshop::make(folder)?;
    let draft = workshop.path().join("s");
    let listener = UnixListener::bind(&draft)?;
    rights.give(&draft)?;
    let identity = identity(&fs::metadata(&draft)?);
    renameat(workshop.fd(), "s", folder, name)?;
    Ok((listener.into(), identity))
}

/// Whom a file is to belong to, and who may use it.
#[derive(Clone, Copy)]
struct FileRights {
    mode: u32,
    owner: Option<u32>,
    group: Option<u32>,
}

impl FileRights {
    fn give(self, file: impl AsRef<Path>) -> io::Result<()> {
        let file = file.as_ref();
        // While it is still ours: without `CAP_FOWNER` the mode of a file that was given away cannot be set.
        fs::set_permissions(file, fs::Permissions::from_mode(self.mode))?;
        match (self.owner, self.group) {
            (None, None) => Ok(()),
            (owner, group) => chown(file, owner, group),
        }
    }
}

/// What a dead process has left there.
fn refuse_living(path: &Path) -> io::Result<Option<(u64, u64)>> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(None) };
    if !found.file_type().is_socket() {
        return Err(in_the_way(NO_SOCKET));
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let client = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&client, &SocketAddrUnix::new(path)?) {
        // Full: whoever accepts nothing holds nobody up.
        Ok(()) | Err(Errno::AGAIN) => Err(in_the_way(LIVING)),
        Err(Errno::CONNREFUSED) => Ok(Some(identity(&found))),
        Err(error) => Err(error.into()),
    }
}

/// For a container that binds a socket which is not there an engine makes a directory in its place. Only an empty
/// one goes: rmdir(2) removes no other, and follows no link.
fn remove_empty_directory(folder: &OwnedFd, path: &Path) {
    if unlinkat(folder, name_of(path), AtFlags::REMOVEDIR).is_ok() {
        tracing::info!("`{}` was an empty directory; a socket takes its place", path.display());
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn name_of(path: &Path) -> &OsStr {
    path.file_name().unwrap_or(OsStr::from_bytes(b"."))
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

fn in_the_way(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, what)
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !self.is_left.load(Relaxed) {
            self.remove();
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
    fn a_living_socket_whose_backlog_is_full_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = || socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        let (server, address) = (socket(), SocketAddrUnix::new(&path).unwrap());
        rustix::net::bind(&server, &address).unwrap();
        rustix::net::listen(&server, 0).unwrap();
        let waiting: Vec<_> = (0..8).map(|_| socket()).collect();
        let full = waiting.iter().any(|client| connect(client, &address) == Err(Errno::AGAIN));
        assert!(full, "the kernel takes all of them");
        let refused = bind(&path, 0o600, None, None).unwrap_err();
        assert_eq!(refused.to_string(), LIVING);
    }

    #[test]
    fn its_address_is_its_path_where_nobody_else_may_write() {
        let dir = tempfile::tempdir().unwrap();
        let address = |path: &Path| {
            let (listener, file) = bind(path, 0o666, None, None).unwrap();
            let listener = UnixListener::from(listener);
            let address = listener.local_addr().unwrap().as_pathname().map(Path::to_owned);
            std::os::unix::net::UnixStream::connect(path).unwrap();
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o666);
            std::mem::forget(file);
            address.unwrap()
        };
        let path = dir.path().join("x.sock");
        assert_eq!(address(&path), path);
        assert_eq!(address(&path), path, "what a dead process left is replaced");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert_eq!(address(&link.join("x.sock")), link.join("x.sock"), "as below /var/run");
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let below = open.join("ours/x.sock");
        assert_ne!(address(&open.join("x.sock")), open.join("x.sock"));
        assert_ne!(address(&below), below, "the folder could be another one by now");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(address(&open.join("x.sock")), open.join("x.sock"), "as in /tmp");
    }

    #[test]
    fn a_path_that_no_client_can_name_is_refused_before_anything_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let length = LONGEST_PATH - dir.path().as_os_str().len() - "/new/".len();
        let long = dir.path().join("new").join("n".repeat(length + 1));
        assert!(bind(&long, 0o600, None, None).is_err());
        assert!(!dir.path().join("new").exists());
        let longest = dir.path().join("new").join("n".repeat(length));
        let _bound = bind(&longest, 0o600, None, None).unwrap();
        std::os::unix::net::UnixStream::connect(&longest).unwrap();
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
