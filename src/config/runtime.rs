//! A listener that was opened while the program ran: as one of the configuration, at another place.
//!
//! `run` opens it when it is told to, and hands it over to the process that comes after. What must stay true:
//! everything of it that the configuration does not say stands in `key`, which goes with its socket.

use std::path::PathBuf;

use super::Bind;

/// Before the key of such a listener; no key of another begins so.
const PREFIX: &str = "run-time ";
const LONGEST_NAME: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeListener {
    /// No other listener has it.
    pub name: String,
    /// The listener of the configuration that it is like: its authentication, policies, limits and owner.
    pub like: String,
    pub path: PathBuf,
    /// Of the socket's file; none: as the other's.
    pub mode: Option<u32>,
}

/// Octal, of a file.
pub(super) fn file_mode(text: &str) -> Option<u32> {
    let is_octal = text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    u32::from_str_radix(text, 8).ok().filter(|bits| is_octal && *bits <= 0o777)
}

impl RuntimeListener {
    /// A listener as somebody asks for it, or what is wrong with that.
    pub fn new(
        name: &str,
        like: &str,
        url: &str,
        mode: Option<&str>,
    ) -> Result<RuntimeListener, String> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(is_plain) {
            return Err(format!(
                "`{name}` is no name for a listener. hint: at most {LONGEST_NAME} letters, digits, `-`, `_` and `.`"
            ));
        }
        let Some(path) = url.strip_prefix("unix://").filter(|path| path.starts_with('/')) else {
            return Err(format!("`{url}` is not a place for it. hint: use `unix:///path`"));
        };
        if path.bytes().any(|byte| byte.is_ascii_control()) {
            return Err("there is a control character in the path".to_owned());
        }
        let mode = match mode.map(|mode| (mode, file_mode(mode))) {
            Some((mode, None)) => {
                return Err(format!("`{mode}` is not a file mode. hint: such as `0660`"));
            }
            given => given.and_then(|(_, bits)| bits),
        };
        let path = PathBuf::from(path);
        Ok(RuntimeListener { name: name.to_owned(), like: like.to_owned(), path, mode })
    }

    /// By which it is known again.
    pub fn key(&self) -> String {
        let mode = self.mode.map_or_else(|| "-".to_owned(), |mode| format!("{mode:o}"));
        format!("{PREFIX}{} {} {mode} unix://{}", self.name, self.like, self.path.display())
    }

    pub fn of_key(key: &str) -> Option<RuntimeListener> {
        let mut words = key.strip_prefix(PREFIX)?.splitn(4, ' ');
        let (name, like, mode, url) = (words.next()?, words.next()?, words.next()?, words.next()?);
        RuntimeListener::new(name, like, url, Some(mode).filter(|mode| *mode != "-")).ok()
    }

    /// Where it listens, with all that it does not say itself as `like` has it.
    pub fn bind(&self, like: &Bind) -> Option<Bind> {
        match like {
            Bind::Unix { mode, owner, group, .. } => Some(Bind::Unix {
                path: self.path.clone(),
                mode: self.mode.unwrap_or(*mode),
                owner: *owner,
                group: *group,
            }),
            Bind::Tcp { .. } | Bind::Inherited { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_none_is_refused_with_a_hint() {
        let new = |name, url, mode| RuntimeListener::new(name, "ci", url, mode);
        assert!(new("job-1", "unix:///run/j.sock", Some("0666")).is_ok());
        for (name, url, mode) in [
            ("", "unix:///j", None),
            ("a b", "unix:///j", None),
            ("a/b", "unix:///j", None),
            ("a", "unix://j", None),
            ("a", "tcp://127.0.0.1:1", None),
            ("a", "/j", None),
            ("a", "unix:///j", Some("888")),
            ("a", "unix:///j", Some("1777")),
            ("a", "unix:///j", Some("")),
            ("a", "unix:///j", Some("+666")),
        ] {
            let refused = new(name, url, mode);
            assert!(refused.is_err_and(|why| why.contains("hint: ")), "{name} {url} {mode:?}");
        }
        assert!(new("a", "unix:///a\nb", None).is_err());
        assert!(new(&"n".repeat(65), "unix:///j", None).is_err());
    }

    #[test]
    fn the_mode_and_owner_are_those_of_the_other_unless_said() {
        let like = Bind::Unix { path: "/l".into(), mode: 0o640, owner: Some(1), group: Some(2) };
        let mut one = RuntimeListener::new("a", "l", "unix:///a", None).unwrap();
        let bind = |mode| Bind::Unix { path: "/a".into(), mode, owner: Some(1), group: Some(2) };
        assert_eq!(one.bind(&like), Some(bind(0o640)));
        one.mode = Some(0o600);
        assert_eq!(one.bind(&like), Some(bind(0o600)));
        assert_eq!(one.bind(&Bind::Tcp { address: "127.0.0.1:1".to_owned() }), None);
    }

    proptest! {
        #[test]
        fn a_key_tells_all_of_it(
            name in "[a-z0-9._-]{1,20}",
            like in "[a-z0-9._-]{1,20}",
            path in "/[ -~]{0,40}",
            mode in proptest::option::of(0u32..=0o777),
        ) {
            let one = RuntimeListener { name, like, path: path.into(), mode };
            prop_assert_eq!(RuntimeListener::of_key(&one.key()), Some(one));
        }

        #[test]
        fn another_key_is_none_of_it(key in "\\PC*") {
            if let Some(one) = RuntimeListener::of_key(&key) {
                prop_assert!(key.starts_with(PREFIX));
                prop_assert_eq!(RuntimeListener::of_key(&one.key()), Some(one));
            }
        }
    }
}
