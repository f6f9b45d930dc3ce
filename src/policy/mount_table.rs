//! `/proc/PID/mountinfo`: what is mounted below a path, where else it is mounted, and with which options (proc(5)).
//!
//! `gateway::facts` reads the file for policies, `run` for its warnings; `conservative` decides. Pure. What must
//! stay true: a line that cannot be read is no mount of less: the whole answer is none.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

#[derive(Debug, PartialEq, Eq)]
pub struct Mounted {
    pub point: PathBuf,
    /// Its file system, and which part of that it shows.
    device: String,
    root: PathBuf,
    /// Of this mount, not of its file system: `rw`, `nosuid`, …
    options: Vec<String>,
}

#[derive(Debug)]
pub struct MountTable(Vec<Mounted>);

impl MountTable {
    pub fn parse(text: &[u8]) -> Option<MountTable> {
        let lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        lines.map(mounted).collect::<Option<Vec<_>>>().map(MountTable)
    }

    /// Mount points below a path, not the path itself.
    pub fn below(&self, path: &Path) -> Vec<PathBuf> {
        let is_below = |one: &&Mounted| one.point != path && one.point.starts_with(path);
        self.0.iter().filter(is_below).map(|one| one.point.clone()).collect()
    }

    /// By which other paths the same files are found as at this one, which leads over no link, or some of what is below it:
    /// what is mounted at several places has several.
    pub fn aliases(&self, path: &Path) -> Vec<PathBuf> {
        let Some(holds) = self.holds(path) else { return Vec::new() };
        let Ok(rest) = path.strip_prefix(&holds.point) else { return Vec::new() };
        let within = joined(&holds.root, rest);
        let same = self.0.iter().filter(|one| one.device == holds.device);
        let places = same.filter_map(|one| match within.strip_prefix(&one.root) {
            Ok(rest) => Some(joined(&one.point, rest)),
            Err(_) => one.root.starts_with(&within).then(|| one.point.clone()),
        });
        places.filter(|place| place != path).collect()
    }

    /// The deepest; of several at one place the last covers the others.
    fn holds(&self, path: &Path) -> Option<&Mounted> {
        let around = self.0.iter().filter(|one| path.starts_with(&one.point));
        around.max_by_key(|one| one.point.components().count())
    }

    /// Of these options, those that the mount which holds a path does not have.
    pub fn lacks<'o>(&self, path: &Path, options: &[&'o str]) -> Vec<&'o str> {
        let Some(holds) = self.holds(path) else { return Vec::new() };
        let is_missing = |option: &&&str| !holds.options.iter().any(|one| one == **option);
        options.iter().filter(is_missing).copied().collect()
    }
}

/// `36 35 98:0 /root /point rw,nosuid shared:1 - ext4 /dev/sda rw`.
fn mounted(line: &[u8]) -> Option<Mounted> {
    let mut fields = line.split(|b| *b == b' ');
    let device = String::from_utf8_lossy(fields.nth(2)?).into_owned();
    let mut path = || Some(PathBuf::from(OsString::from_vec(unescape(fields.next()?)?)));
    let (root, point) = (path()?, path()?);
    let options = String::from_utf8_lossy(fields.next()?).into_owned();
    Some(Mounted { point, device, root, options: options.split(',').map(str::to_owned).collect() })
}

/// `join` of nothing would add a slash.
fn joined(path: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { path.to_owned() } else { path.join(rest) }
}

/// `\040` is a space: the kernel writes space, tab, line end and backslash so.
fn unescape(field: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        if *first != b'\\' {
            out.push(*first);
            rest = behind;
            continue;
        }
        let digits = std::str::from_utf8(behind.get(..3)?).ok()?;
        out.push(u8::from_str_radix(digits, 8).ok()?);
        rest = behind.get(3..)?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        2 1 0:5 / /srv/cc rw,nosuid - tmpfs t rw\n\
        3 2 0:6 / /srv/cc/a\\040b ro,nosuid,nodev master:3 shared:4 - tmpfs t rw\n\
        4 1 0:7 / /srv/ccache rw - tmpfs t rw\n\
        5 1 0:8 / /srv/cc rw,nodev - tmpfs over rw\n";

    #[test]
    fn what_is_below_a_path_is_compared_by_component() {
        let table = MountTable::parse(TABLE).unwrap();
        assert_eq!(table.below(Path::new("/srv/cc")), [Path::new("/srv/cc/a b")]);
        assert_eq!(table.below(Path::new("/srv")).len(), 4);
        assert_eq!(table.below(Path::new("/srv/cc/a b")), Vec::<PathBuf>::new());
        assert_eq!(table.below(Path::new("/etc")), Vec::<PathBuf>::new());
    }

    #[test]
    fn options_are_those_of_the_mount_that_holds_the_path() {
        let table = MountTable::parse(TABLE).unwrap();
        let lacks = |path: &str| table.lacks(Path::new(path), &["nosuid", "nodev"]);
        assert_eq!(lacks("/etc"), ["nosuid", "nodev"]);
        assert_eq!(lacks("/srv/cc/x"), ["nosuid"], "the one that was mounted over it");
        assert_eq!(lacks("/srv/cc/a b/x"), Vec::<&str>::new());
    }

    #[test]
    fn what_is_mounted_twice_is_found_by_both_paths() {
        let text = b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
            2 1 0:5 / /run rw - tmpfs t rw\n\
            3 1 0:5 /dockgate /mnt/d rw - tmpfs t rw\n\
            4 1 0:5 /dockgate/jobs/0a /mnt/0a rw - tmpfs t rw\n\
            5 1 0:5 /other /mnt/o rw - tmpfs t rw\n\
            6 1 8:1 /run/dockgate /mnt/under rw - ext4 /dev/sda1 rw\n";
        let table = MountTable::parse(text).unwrap();
        let also = |path: &str| table.aliases(Path::new(path));
        assert_eq!(also("/run/dockgate/jobs"), ["/mnt/d/jobs", "/mnt/0a"].map(PathBuf::from));
        assert_eq!(also("/mnt/d/jobs"), ["/run/dockgate/jobs", "/mnt/0a"].map(PathBuf::from));
        assert_eq!(also("/srv/x"), Vec::<PathBuf>::new());
    }

    #[test]
    fn what_cannot_be_read_is_no_table() {
        for bad in ["1 0 8:1 / /a\\04", "1 0 8:1 / /a\\0x1 rw", "1 0 8:1", "x"] {
            assert!(MountTable::parse(bad.as_bytes()).is_none(), "{bad}");
        }
        let mine = std::fs::read("/proc/self/mountinfo").unwrap();
        assert!(!MountTable::parse(&mine).unwrap().below(Path::new("/")).is_empty());
    }
}
