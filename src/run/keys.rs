//! The key that namespaces' prefixes are made with, where the operator has given none: made once, at the first start.
//!
//! `run` calls it before it plans. What must stay true: a key that is there is never written over, for with another one
//! nobody would find their things again; nobody but its owner reads it; a start that cannot keep it does not happen.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::config::{Config, Invalid};

/// As many as HMAC-SHA256 has use for (RFC 2104 §3).
const BYTES: usize = 32;

pub(super) fn make_missing(config: &Config) -> Result<(), Invalid> {
    for policy in config.listeners.iter().flat_map(|listener| &listener.policies) {
        let Some(key) = policy.made_key().filter(|key| !key.path.exists()) else { continue };
        make(&key.path).map_err(|error| {
            let what = format!(
                "the key of namespaces cannot be kept in `{}`: {error}",
                key.path.display()
            );
            key.invalid(&what, "name a file with `key = …`, of 32 random bytes")
        })?;
    }
    Ok(())
}

fn make(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut key = [0; BYTES];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| io::Error::other("no random bytes can be had"))?;
    // Whole, or not there: a half of one would be another key.
    let draft = folder.join(format!(".namespace.key.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = file.write_all(&key).and_then(|()| file.sync_all());
    // Another process may have been faster: its key stands.
    let linked = written.and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    fs::remove_file(&draft)?;
    linked?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_its_owners() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/namespace.key");
        make(&path).unwrap();
        let key = fs::read(&path).unwrap();
        assert_eq!(key.len(), BYTES);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        make(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), key);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
