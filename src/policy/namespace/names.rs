//! The names of one namespace: what its users see, and what the engine has.
//!
//! Everything else in this folder writes and reads names here. What must stay true: a prefix has always the same width and
//! says nothing of whose it is; no name without it is a namespace's own; `shown` undoes `sent`.

use aws_lc_rs::hmac;
use regex::Regex;

/// The engine's network that a container has where it names none.
/// What the names begin with that are in the keys of a namespace's build cache.
pub(super) const CACHE_NAME: &str = "cache-";
pub(super) const BRIDGE: &str = "bridge";
/// Networks that every engine has, and that are no place to meet others.
pub(super) const PREDEFINED: [&str; 2] = ["host", "none"];
/// For people and for recovery; nothing is decided by it.
pub(super) const LABEL: &str = "io.dockgate.namespace";
/// 50 bits of a keyed hash: nobody can look for two namespaces with one prefix without the key.
const DIGITS: usize = 10;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Whose name is in a namespace, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tenant {
    /// As the template has it.
    pub name: String,
    prefix: String,
    /// Of the address that its ports are published at.
    host: [u8; 3],
    cache_name: String,
}

impl Tenant {
    pub(super) fn new(key: &hmac::Key, name: String) -> Tenant {
        let tag = hmac::sign(key, name.as_bytes());
        let digits = digits(tag.as_ref());
        let of_cache = hmac::sign(key, format!("build cache\0{name}").as_bytes());
        let (first, rest) = of_cache.as_ref().split_at(8.min(of_cache.as_ref().len()));
        let cache_name = format!("{CACHE_NAME}{}{}", self::digits(first), self::digits(rest));
        let byte = |index: usize| tag.as_ref().get(index).copied().unwrap_or_default();
        // Neither the first network of loopback, where everybody's is, nor the last.
        let host = [byte(8) % 253 + 1, byte(9), byte(10) & 0xfe];
        Tenant { name, prefix: format!("dg{digits}-"), host, cache_name }
    }

    /// A name of a host that nobody else can tell: what is built where it is known is found again by whoever knows it.
    pub(super) fn cache_name(&self) -> &str {
        &self.cache_name
    }

    /// Without the hyphen: the first part of the names of images.
    pub(super) fn id(&self) -> &str {
        self.prefix.strip_suffix('-').unwrap_or(&self.prefix)
    }

    /// What the engine has for a name that a user writes.
    pub(super) fn sent(&self, name: &str) -> String {
        [self.prefix.as_str(), name].concat()
    }

    /// An address of the host that is this namespace's own: for what is published at all of the host's, or at its loopback
    /// only. Of 2^22 pairs two namespaces may have one: their ports then collide as they would without.
    pub(super) fn address(&self, is_loopback: bool) -> String {
        let [a, b, c] = self.host;
        format!("127.{a}.{b}.{}", c | u8::from(is_loopback))
    }

    /// A number that is this name's in this namespace, and no other's but by chance.
    pub(super) fn place(&self, name: &str) -> usize {
        let digest =
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.sent(name).as_bytes());
        digest.as_ref().iter().take(4).fold(0, |number, byte| (number << 8) | usize::from(*byte))
    }

    /// What a user sees of a name that the engine has; nothing of what is not this namespace's.
    pub(super) fn shown<'t>(&self, name: &'t str) -> Option<&'t str> {
        name.strip_prefix(&self.prefix).filter(|name| !name.is_empty())
    }

    pub(super) fn is_own(&self, name: &str) -> bool {
        self.shown(name).is_some()
    }

    /// What the filter `name` of the engine's lists takes for the names of this namespace.
    pub(super) fn pattern(&self) -> String {
        format!("^/?{}", self.prefix)
    }

    /// A text of the engine's with this namespace's names as its users have them. In a query of an address that it tells
    /// of, a slash is `%2F`.
    pub(super) fn plain(&self, text: &str) -> String {
        let id = self.id();
        let text = text.replace(&self.prefix, "");
        ["%2F", "%2f"].iter().fold(text, |text, slash| text.replace(&format!("{id}{slash}"), ""))
    }
}

/// Whether a filter's value takes a name, as `filters.Args.Match` of moby has it: a regular expression anywhere in it.
pub(super) fn takes(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| {
        pattern == name || Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(name))
    })
}

/// The first bits of a hash, in base32.
fn digits(hash: &[u8]) -> String {
    let bits = hash.iter().take(8).fold(0u64, |bits, byte| (bits << 8) | u64::from(*byte));
    let digit = |index: usize| {
        let five = usize::try_from(bits >> (59 - 5 * index.min(11)) & 31).unwrap_or(0);
        char::from(ALPHABET.get(five).copied().unwrap_or(b'a'))
    };
    (0..DIGITS).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(name: &str) -> Tenant {
        Tenant::new(&hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]), name.to_owned())
    }

    #[test]
    fn a_prefix_is_opaque_and_of_one_width() {
        let prefixes: Vec<_> =
            ["a", "b", "a/b", &"long".repeat(99)].map(|name| tenant(name).sent("")).into();
        let form = Regex::new("^dg[a-z2-7]{10}-$").unwrap();
        for (index, prefix) in prefixes.iter().enumerate() {
            assert!(form.is_match(prefix), "{prefix}");
            assert!(!prefixes[..index].contains(prefix));
        }
        let other = hmac::Key::new(hmac::HMAC_SHA256, &[8; 32]);
        assert_ne!(tenant("a").address(false), tenant("b").address(false));
        assert_ne!(tenant("a").address(false), tenant("a").address(true));
        assert_ne!(Tenant::new(&other, "a".to_owned()).sent(""), prefixes[0]);
    }

    #[test]
    fn a_filter_takes_names_as_moby_does() {
        let takes = |pattern: &str, name| takes(&[pattern.to_owned()], name);
        assert!(takes("we", "web") && takes("^web$", "web") && takes("w.b", "web"));
        assert!(!takes("^eb", "web") && !takes("(", "web"));
        assert!(takes("(", "("));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_what_was_sent(name in ".{1,40}", one in "[a-z]{1,9}", two in "[a-z]{1,9}") {
            let (one, two) = (tenant(&one), tenant(&two));
            let sent = one.sent(&name);
            prop_assert_eq!(one.shown(&sent), Some(name.as_str()));
            prop_assert_eq!(two.shown(&sent).is_some(), one == two);
        }
    }
}
