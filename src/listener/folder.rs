//! Folders of socket files, held open: what is done in one is done in no other, whatever becomes of its path.
//!
//! `unix` puts sockets into them. What must stay true: no link of another user is followed on the way to a folder, and
//! nobody else can put anything into a workshop.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, mkdirat, openat, readlinkat, unlinkat,
};
use rustix::io::Errno;

/// As the kernel does (`MAXSYMLINKS`).
const MOST_LINKS: usize = 40;
const FLAGS: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A folder, held open.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) fd: OwnedFd,
    /// Whether nobody but root and us can lead its path elsewhere, or change what is in it.
    pub(super) is_closed: bool,
}

/// Walks an absolute path; what is missing is made, if it is to be, with mode 0755.
pub(super) fn open_folder(path: &Path, makes: bool) -> io::Result<Folder> {
    let mut at = root()?;
    let mut closed = is_closed(&fstat(&at)?);
    let mut rest = parts(path);
    let mut links = 0;
    while let Some(part) = rest.pop() {
        let next = match openat(&at, &part, FLAGS, Mode::empty()) {
            Err(Errno::NOENT) if makes => make(&at, &part)?,
            found => found?,
        };
        let data = fstat(&next)?;
        match FileType::from_raw_mode(data.st_mode) {
            FileType::Directory => {
                at = next;
                closed &= is_closed(&data);
            }
            FileType::Symlink => {
                links += 1;
                if !is_trusted(data.st_uid) {
                    let why = format!("`{}` is a link of another user", part.display());
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
                }
                if links > MOST_LINKS {
                    return Err(Errno::LOOP.into());
                }
                let target = readlinkat(&next, "", Vec::new())?;
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                if target.is_absolute() {
                    at = root()?;
                }
                rest.extend(parts(&target));
            }
            _ => return Err(Errno::NOTDIR.into()),
        }
    }
    Ok(Folder { fd: at, is_closed: closed })
}

/// Whether nobody but root and us can put another file in the place of one that is in this folder: only they may write to it,
/// or its entries are their owners' alone (sticky).
fn is_closed(data: &Stat) -> bool {
    let mode = Mode::from_raw_mode(data.st_mode);
    let may_others = mode.intersects(Mode::WGRP | Mode::WOTH) && !mode.contains(Mode::SVTX);
    is_trusted(data.st_uid) && !may_others
}

fn root() -> io::Result<OwnedFd> {
    Ok(openat(CWD, "/", FLAGS | OFlags::DIRECTORY, Mode::empty())?)
}

/// The last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut names: Vec<OsString> = names.collect();
    names.reverse();
    names
}

fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

fn make(at: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    mkdirat(at, name, Mode::from_raw_mode(0o755))?;
    let made = openat(at, name, FLAGS | OFlags::DIRECTORY, Mode::empty())?;
    // Another one may stand there by now, and is left as it is.
    if fstat(&made)?.st_uid == rustix::process::geteuid().as_raw() {
        fs::set_permissions(path_of(&made), fs::Permissions::from_mode(0o755))?;
    }
    Ok(made)
}

/// Leads to what is open, and nowhere else.
fn path_of(fd: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

/// A new folder that only we can enter; removed with this.
pub(super) struct Workshop<'f> {
    folder: &'f OwnedFd,
    name: String,
    fd: OwnedFd,
}

impl Workshop<'_> {
    pub(super) fn make(folder: &OwnedFd) -> io::Result<Workshop<'_>> {
        // Nobody can have made it before.
        let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
        let name = format!(".dockgate-{}-{random:x}", std::process::id());
        mkdirat(folder, &name, Mode::RWXU)?;
        let fd = openat(folder, &name, FLAGS | OFlags::DIRECTORY, Mode::empty())?;
        let data = fstat(&fd)?;
        let is_ours = data.st_uid == rustix::process::geteuid().as_raw();
        if !is_ours || Mode::from_raw_mode(data.st_mode).intersects(Mode::RWXG | Mode::RWXO) {
            return Err(io::Error::other("somebody else has put another folder in our way"));
        }
        Ok(Workshop { folder, name, fd })
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Short: a socket address holds 107 bytes.
    pub(super) fn path(&self) -> PathBuf {
        path_of(&self.fd)
    }
}

impl Drop for Workshop<'_> {
    fn drop(&mut self) {
        let _ = unlinkat(&self.fd, "s", AtFlags::empty());
        let _ = unlinkat(self.folder, &self.name, AtFlags::REMOVEDIR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, chown, lchown, symlink};

    fn inode(fd: &OwnedFd) -> u64 {
        fs::metadata(path_of(fd)).unwrap().ino()
    }

    #[test]
    fn links_are_followed_as_the_kernel_does_but_for_those_of_others() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        symlink("a", at("relative")).unwrap();
        symlink(at("relative/b/.."), at("absolute")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let wanted = fs::metadata(at("a/b")).unwrap().ino();
        for path in ["a/b", "relative/b", "absolute/b", "absolute/../a/./b"] {
            assert_eq!(inode(&open_folder(&at(path), false).unwrap().fd), wanted, "{path}");
        }
        assert!(open_folder(&at("loop/x"), true).is_err());
        assert!(open_folder(&at("a/c"), false).is_err());
        open_folder(&at("a/c/d"), true).unwrap();
        assert_eq!(fs::metadata(at("a/c/d")).unwrap().permissions().mode() & 0o777, 0o755);
        fs::write(at("file"), "").unwrap();
        assert!(open_folder(&at("file/x"), true).is_err());
        // Only root gives links away.
        if rustix::process::geteuid().is_root() {
            lchown(at("relative"), Some(65534), None).unwrap();
            let refused = open_folder(&at("relative/b"), true).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{refused}");
            chown(at("a"), Some(65534), None).unwrap();
            open_folder(&at("a/b"), true).unwrap();
        }
    }

    #[test]
    fn a_workshop_is_where_it_was_made_wherever_its_name_leads() {
        let dir = tempfile::tempdir().unwrap();
        let folder = open_folder(dir.path(), false).unwrap().fd;
        let workshop = Workshop::make(&folder).unwrap();
        let name = dir.path().join(&workshop.name);
        assert_eq!(fs::metadata(&name).unwrap().permissions().mode() & 0o777, 0o700);
        fs::rename(&name, dir.path().join("away")).unwrap();
        fs::create_dir(dir.path().join("other")).unwrap();
        symlink("other", &name).unwrap();
        fs::write(workshop.path().join("x"), "").unwrap();
        assert!(dir.path().join("away/x").exists() && !dir.path().join("other/x").exists());
    }
}
