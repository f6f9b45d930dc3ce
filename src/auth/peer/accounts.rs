//! The local accounts: `/etc/passwd` and `/etc/group`, read again whenever they have changed.
//!
//! No NSS: a static binary has none, and a directory that does not answer would hold up every call.
//! What must stay true: whoever was taken out of a group is out of it with their next connection.

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// More than any local account file; the rest of a larger one is not read.
const MOST: u64 = 16 << 20;

#[derive(Debug)]
pub(super) struct Accounts {
    passwd: PathBuf,
    group: PathBuf,
    last: Mutex<Option<([Stamp; 2], Arc<Known>)>>,
}

/// What both files said.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Names in the file's order: the first is the one that `getpwuid` gives.
    users: HashMap<u32, Vec<String>>,
    groups: HashMap<u32, Vec<String>>,
    primary: HashMap<u32, u32>,
    /// The primary group, then the others in the file's order.
    memberships: HashMap<u32, Vec<u32>>,
}

/// Device, inode, size and times of a file: another stamp, another content.
type Stamp = Option<(u64, u64, u64, (i64, i64), (i64, i64))>;

impl Accounts {
    /// `passwd` and `group` of this folder.
    pub(super) fn new(folder: &Path) -> Accounts {
        let (passwd, group) = (folder.join("passwd"), folder.join("group"));
        Accounts { passwd, group, last: Mutex::new(None) }
    }

    pub(super) fn known(&self) -> Arc<Known> {
        let stamps = [stamp(&self.passwd), stamp(&self.group)];
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((then, known)) if *then == stamps => Arc::clone(known),
            _ => {
                let known = Arc::new(Known::parse(&read(&self.passwd), &read(&self.group)));
                *last = Some((stamps, Arc::clone(&known)));
                known
            }
        }
    }
}

impl Known {
    fn parse(passwd: &str, group: &str) -> Known {
        let mut known = Known::default();
        let mut uids: HashMap<&str, u32> = HashMap::new();
        for line in passwd.lines() {
            let mut fields = line.split(':');
            let (Some(name), _, Some(Ok(uid)), Some(Ok(gid))) = (
                fields.next().filter(|name| !name.is_empty()),
                fields.next(),
                fields.next().map(str::parse::<u32>),
                fields.next().map(str::parse::<u32>),
            ) else {
                continue;
            };
            known.users.entry(uid).or_default().push(name.to_owned());
            known.primary.entry(uid).or_insert(gid);
            known.join(uid, gid);
            uids.entry(name).or_insert(uid);
        }
        for line in group.lines() {
            let mut fields = line.split(':');
            let (Some(name), _, Some(Ok(gid))) = (
                fields.next().filter(|name| !name.is_empty()),
                fields.next(),
                fields.next().map(str::parse::<u32>),
            ) else {
                continue;
            };
            known.groups.entry(gid).or_default().push(name.to_owned());
            for member in fields.next().unwrap_or_default().split(',') {
                if let Some(uid) = uids.get(member) {
                    known.join(*uid, gid);
                }
            }
        }
        known
    }

    fn join(&mut self, uid: u32, gid: u32) {
        let gids = self.memberships.entry(uid).or_default();
        if !gids.contains(&gid) {
            gids.push(gid);
        }
    }

    pub(super) fn names(&self, uid: u32) -> impl Iterator<Item = &str> {
        self.users.get(&uid).into_iter().flatten().map(String::as_str)
    }

    pub(super) fn group_names(&self, gid: u32) -> impl Iterator<Item = &str> {
        self.groups.get(&gid).into_iter().flatten().map(String::as_str)
    }

    /// Its first name, or the number.
    pub(super) fn group_name(&self, gid: u32) -> String {
        self.group_names(gid).next().map_or_else(|| gid.to_string(), str::to_owned)
    }

    pub(super) fn gids(&self, uid: u32) -> &[u32] {
        self.memberships.get(&uid).map_or(&[], Vec::as_slice)
    }

    pub(super) fn is_primary(&self, uid: u32, gid: u32) -> bool {
        self.primary.get(&uid) == Some(&gid)
    }
}

fn stamp(path: &Path) -> Stamp {
    let of = fs::metadata(path).ok()?;
    let (changed, modified) = ((of.ctime(), of.ctime_nsec()), (of.mtime(), of.mtime_nsec()));
    Some((of.dev(), of.ino(), of.size(), changed, modified))
}

/// Empty when it cannot be read: then there are only numbers.
fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    match fs::File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut bytes)) {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "accounts are known by number only");
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_lines_are_passed_over() {
        let passwd = "ann:x:1000:100::/:\n\n#c:x\nbob\nx:x:-1:0:\ny:x:1e3:0:\n:x:7:7::\n+::::::\n\
            z:x:8\n";
        let known = Known::parse(passwd, "g:x:5:ann,,nobody\n\n:x:6:ann\nh:x:x:ann\ng:x:5:ann\n");
        assert_eq!(known.users.len(), 1);
        assert_eq!(known.gids(1000), [100, 5]);
        assert_eq!(known.gids(7), [0_u32; 0]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(passwd in "([a-z:,0-9]{0,12}\n){0,6}", group in "([a-z:,0-9]{0,12}\n){0,6}") {
            let _ = Known::parse(&passwd, &group);
        }
    }
}
