//! Rules that several listeners have: they take megabytes, and those that are opened at run time may be many.
//!
//! `Conservative::new` takes them. What must stay true: only the same text of the same file is the same; what nobody has
//! any more is forgotten.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{BUILTIN, Rules};
use crate::config::{File, Invalid};

struct KnownRules {
    path: PathBuf,
    text: String,
    rules: Weak<Rules>,
}

static KNOWN: Mutex<Vec<KnownRules>> = Mutex::new(Vec::new());

impl Rules {
    /// Those of a file, or those that are compiled in.
    pub(in crate::policy::conservative) fn shared(
        file: Option<&File>,
    ) -> Result<Arc<Rules>, Invalid> {
        match file {
            Some(file) => find_or_read(&Rules::text(file)?, &file.path),
            None => find_or_read(BUILTIN, Path::new("policies/conservative.toml")),
        }
    }
}

fn find_or_read(text: &str, path: &Path) -> Result<Arc<Rules>, Invalid> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|one| one.rules.strong_count() > 0);
    let same = known.iter().find(|one| one.path == path && one.text == text);
    if let Some(rules) = same.and_then(|one| one.rules.upgrade()) {
        return Ok(rules);
    }
    let rules = Arc::new(Rules::parse(text, path)?);
    let (path, text) = (path.to_owned(), text.to_owned());
    known.push(KnownRules { path, text, rules: Arc::downgrade(&rules) });
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_of_the_same_file_is_read_once_while_somebody_has_it() {
        let read = |text: &str, path: &str| find_or_read(text, Path::new(path)).unwrap();
        let (text, other) =
            ("extends = \"conservative\"\n", "# none\nextends = \"conservative\"\n");
        let first = read(text, "a.toml");
        assert!(Arc::ptr_eq(&first, &read(text, "a.toml")));
        assert!(!Arc::ptr_eq(&first, &read(other, "a.toml")));
        assert!(!Arc::ptr_eq(&first, &read(text, "b.toml")));
        let gone = Arc::downgrade(&first);
        drop(first);
        read(text, "b.toml");
        assert!(gone.upgrade().is_none());
        assert!(find_or_read("x", Path::new("a.toml")).is_err());
        assert!(find_or_read("x", Path::new("a.toml")).is_err(), "and not remembered");
    }
}
