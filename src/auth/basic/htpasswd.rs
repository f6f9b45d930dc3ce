//! The htpasswd file: `user:hash`, one a line; empty lines and lines that begin with `#` are passed
//! over.
//!
//! `Basic::new` reads it, `dockgate passwd` makes lines for it. What must stay true: all lines are
//! complained about at once, each with its number, and none with its hash; what is made is read.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use bcrypt::Version;

use super::hash::{BCRYPT_LONGEST, Hash};
use crate::auth::is_name;
use crate::config::{Complaints, Invalid, Place};

/// Above OWASP's minimum; a quarter of a second on a machine of today.
const COST: u32 = 12;

/// Why there is no line for a user and a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLine {
    #[error("this is no user name: 1 to 256 bytes, no `:`, no `#` at its start, nothing invisible")]
    User,
    #[error("the password is empty")]
    Empty,
    #[error("the password has more than {BCRYPT_LONGEST} bytes, which bcrypt does not read")]
    Long,
    #[error("there are control characters in the password")]
    Control,
    #[error("the system gives no random numbers")]
    Random,
}

/// `USER:$2y$12$…`, without a line end.
pub fn line(user: &str, password: &str) -> Result<String, NoLine> {
    if !is_user(user) {
        return Err(NoLine::User);
    }
    match password.len() {
        0 => return Err(NoLine::Empty),
        1..=BCRYPT_LONGEST => {}
        _ => return Err(NoLine::Long),
    }
    if password.chars().any(char::is_control) {
        return Err(NoLine::Control);
    }
    let hash = bcrypt::hash_with_result(password, COST).map_err(|_| NoLine::Random)?;
    Ok(format!("{user}:{}", hash.format_for_version(Version::TwoY)))
}

/// Whether there can be a line for a user.
pub fn is_user(name: &str) -> bool {
    is_name(name) && !name.contains(':') && !name.starts_with('#')
}

/// `path` stands in the complaints.
pub(super) fn parse(path: &Path, content: &[u8]) -> Result<HashMap<String, Hash>, Invalid> {
    let mut complaints = Complaints::default();
    let mut users: HashMap<String, (usize, Hash)> = HashMap::new();
    for (number, line) in (1..).zip(content.split(|b| *b == b'\n')) {
        let line = line.trim_ascii_end();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let mut complain = |what: String| {
            let hint = "make the line with `dockgate passwd USER`, or with `htpasswd -nBC 12 USER`";
            complaints.add(&Place::new(path, number, 1), what, hint);
        };
        match read(line) {
            Err(what) => complain(what),
            Ok((user, hash)) => match users.entry(user.to_owned()) {
                Entry::Vacant(place) => {
                    place.insert((number, hash));
                }
                Entry::Occupied(other) => {
                    complain(format!("user `{user}` is already on line {}", other.get().0));
                }
            },
        }
    }
    complaints.or(users.into_iter().map(|(user, (_, hash))| (user, hash)).collect())
}

fn read(line: &[u8]) -> Result<(&str, Hash), String> {
    let text = std::str::from_utf8(line).map_err(|_| "this line is not UTF-8".to_owned())?;
    let (user, hash) = text.split_once(':').ok_or("this line is not `user:hash`".to_owned())?;
    if !is_name(user) {
        // Not repeated: it may be anything.
        return Err("what stands before the `:` is no user name".to_owned());
    }
    Ok((user, Hash::parse(hash)?))
}
