//! How a value names another container, and the same with its id in the name's place.
//!
//! `conservative` and `api::answer` read values here. `judge` writes them anew: parsed and rebuilt, never substituted, or `container:con` would
//! become `<id>tainer:con`. What must stay true: what this finds is what dockerd looks up.

use std::ops::Range;

/// `container:NAME`, `NAME:alias` of a link, `NAME:mode` of `VolumesFrom`, or `NAME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference<'t> {
    prefix: &'t str,
    pub name: &'t str,
    /// With its colon.
    rest: &'t str,
}

/// As long as an id of the engine's: SHA-256 in lower-case hexadecimal.
const ID: usize = 64;

/// Before the name in the modes of namespaces.
pub const CONTAINER: &str = "container:";

impl<'t> Reference<'t> {
    /// None where the prefix is another.
    pub fn parse(text: &'t str, prefix: &'t str) -> Option<Reference<'t>> {
        let tail = text.strip_prefix(prefix)?;
        let (name, rest) = match tail.find(':') {
            Some(colon) if prefix.is_empty() => tail.split_at(colon),
            _ => (tail, ""),
        };
        let name = without_slash(name);
        Some(Reference { prefix, name, rest })
    }

    /// Where the name stands in the text that was parsed.
    pub fn place(&self, text: &str) -> Option<Range<usize>> {
        let end = text.len().checked_sub(self.rest.len())?;
        Some(end.checked_sub(self.name.len())?..end)
    }

    pub fn with_id(&self, id: &str) -> String {
        let Reference { prefix, rest, .. } = self;
        format!("{prefix}{id}{rest}")
    }

    /// A link without an alias has the name for one (`opts.ParseLink` of moby).
    pub fn link_with_id(&self, id: &str) -> String {
        match self.rest {
            "" => format!("{id}:{}", self.name),
            _ => self.with_id(id),
        }
    }
}

/// The engine writes names of containers with a slash in front, and takes them so.
pub fn without_slash(name: &str) -> &str {
    name.strip_prefix('/').unwrap_or(name)
}

/// Whether it can be nothing but a whole id: names of this form are refused when they are given.
pub fn is_id(name: &str) -> bool {
    name.len() == ID && is_hexadecimal(name)
}

/// Whether an id could begin like this.
pub fn is_hexadecimal(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_replaced_and_nothing_else() {
        for (text, prefix, name, pinned) in [
            ("container:con", "container:", "con", "container:ID"),
            ("container:container", "container:", "container", "container:ID"),
            ("container:/web", "container:", "web", "container:ID"),
            ("container:a:b", "container:", "a:b", "container:ID"),
            ("ro:ro", "", "ro", "ID:ro"),
            ("/web:rw", "", "web", "ID:rw"),
            ("web", "", "web", "ID"),
            ("db:db:db", "", "db", "ID:db:db"),
        ] {
            let reference = Reference::parse(text, prefix).unwrap();
            assert_eq!((reference.name, &*reference.with_id("ID")), (name, pinned), "{text}");
        }
        assert_eq!(Reference::parse("host", "container:"), None);
        let link = |text| Reference::parse(text, "").unwrap().link_with_id("ID");
        assert_eq!((&*link("db"), &*link("/db"), &*link("db:x")), ("ID:db", "ID:db", "ID:x"));
    }

    #[test]
    fn an_id_is_64_lower_case_digits() {
        assert!(is_id(&"a0".repeat(32)));
        for name in ["", "a0", &"A0".repeat(32), &"a0".repeat(33), &"g0".repeat(32)] {
            assert!(!is_id(name), "{name}");
        }
        assert!(is_hexadecimal("db") && !is_hexadecimal("dbx") && !is_hexadecimal(""));
    }
}
