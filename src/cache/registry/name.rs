//! Names of the distribution API: repositories, tags, digests, and patterns of repositories.
//!
//! Pure. `request` reads paths with it, `rules` and `routes` compare. What must stay true: what passes here can
//! stand in a path as it is, and has one spelling. The grammar is that of the distribution specification 1.1,
//! "Pulling manifests", and of its reference implementation (`distribution/reference`).

use crate::config::{Invalid, Text};

/// Of a whole name, with the host that dockerd leaves out of it.
const LONGEST_NAME: usize = 255;
const LONGEST_TAG: usize = 128;

/// `sha256:…` or `sha512:…`, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Digest(String);

/// What a manifest is asked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    Tag(String),
    Digest(Digest),
}

impl Digest {
    pub(super) fn parse(text: &str) -> Option<Digest> {
        let (algorithm, hex) = text.split_once(':')?;
        let length = match algorithm {
            "sha256" => 64,
            "sha512" => 128,
            _ => return None,
        };
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (hex.len() == length && hex.bytes().all(is_hex)).then(|| Digest(text.to_owned()))
    }

    pub(super) fn of(bytes: &[u8]) -> Digest {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Digest(format!("sha256:{hex}"))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Of a SHA-256: its bytes.
    pub(super) fn sha256(&self) -> Option<[u8; 32]> {
        let hex = self.0.strip_prefix("sha256:")?;
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(bytes)
    }
}

impl Reference {
    pub(super) fn parse(text: &str) -> Option<Reference> {
        match Digest::parse(text) {
            Some(digest) => Some(Reference::Digest(digest)),
            None => is_tag(text).then(|| Reference::Tag(text.to_owned())),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Reference::Tag(tag) => tag,
            Reference::Digest(digest) => digest.as_str(),
        }
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/…)*`; the first component may be a host with a port, by which some
/// clients of a proxy ask.
pub(super) fn is_repository(name: &str) -> bool {
    let mut components = name.split('/');
    let first = components.next().unwrap_or_default();
    name.len() <= LONGEST_NAME
        && (is_component(first) || (name.contains('/') && is_host(first)))
        && components.all(is_component)
}

fn is_component(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends =
        text.bytes().next().is_some_and(is_plain) && text.bytes().last().is_some_and(is_plain);
    let mut separators = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    ends && separators.all(|separator| {
        matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
    })
}

/// A name or an address with a port.
fn is_host(text: &str) -> bool {
    let (name, port) = text.rsplit_once(':').unwrap_or((text, "1"));
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
    !name.is_empty()
        && name.bytes().all(is_name)
        && !name.starts_with(['.', '-'])
        && !name.contains("..")
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`
pub(super) fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= LONGEST_TAG
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

/// A pattern of repositories: `*` is anything within a component, `**` any components.
#[derive(Clone, Debug)]
pub(super) struct Pattern(globset::GlobMatcher);

impl Pattern {
    pub(super) fn parse(text: &str) -> Option<Pattern> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:*{},".contains(&byte);
        if text.is_empty() || !text.bytes().all(is_plain) {
            return None;
        }
        let glob = globset::GlobBuilder::new(text).literal_separator(true).build().ok()?;
        Some(Pattern(glob.compile_matcher()))
    }

    /// Of the configuration.
    pub(super) fn of(text: &Text) -> Result<Pattern, Invalid> {
        Pattern::parse(&text.text).ok_or_else(|| {
            let what = format!("`{}` is no pattern of repositories", text.text);
            text.invalid(what, "such as `library/*`, `team/**` or `**`")
        })
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_those_of_the_specification() {
        for name in [
            "a",
            "a/b",
            "a-b/c__d",
            "a--b.c_d",
            "127.0.0.1:5000/x",
            "ghcr.io/Org/x".to_lowercase().as_str(),
        ] {
            assert!(is_repository(name), "{name}");
        }
        let long = "a".repeat(256);
        for name in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "A",
            "a/B",
            "a_",
            "-a",
            "a..b",
            "a___b",
            "a:5000",
            "a/b:1/c",
            "a b",
            "a/../b",
            "a%2f",
            "ü",
            &long,
            "a:0/b",
            "x:99999/b",
        ] {
            assert!(!is_repository(name), "{name}");
        }
    }

    #[test]
    fn a_reference_is_a_tag_or_a_digest() {
        let hex = "0123456789abcdef".repeat(4);
        assert!(matches!(Reference::parse(&format!("sha256:{hex}")), Some(Reference::Digest(_))));
        assert!(matches!(Reference::parse("v1.2_3-x"), Some(Reference::Tag(_))));
        let long = "a".repeat(129);
        for text in [
            "",
            ".a",
            "-a",
            "a:b",
            "sha256:0",
            &format!("sha256:{}", hex.to_uppercase()),
            &long,
            "a/b",
        ] {
            assert_eq!(Reference::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_digest_is_what_the_bytes_have() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").as_str(), empty);
        assert_eq!(Digest::parse(empty).unwrap().sha256().unwrap()[..2], [0xe3, 0xb0]);
    }

    #[test]
    fn a_star_stays_within_a_component() {
        let matches = |pattern: &str, name: &str| Pattern::parse(pattern).unwrap().matches(name);
        assert!(matches("library/*", "library/x") && !matches("library/*", "library/x/y"));
        assert!(
            matches("**", "a/b/c")
                && matches("team/**", "team/a/b")
                && !matches("team/**", "teams/a")
        );
        assert!(
            matches("{a,b}/x", "b/x")
                && Pattern::parse("a[").is_none()
                && Pattern::parse("").is_none()
        );
    }

    proptest! {
        #[test]
        fn a_name_can_stand_in_a_path(name in "[a-z0-9._/:A-Z-]{0,40}") {
            if is_repository(&name) {
                prop_assert!(!name.split('/').any(|part| part.is_empty() || part == "." || part == ".."));
            }
        }
    }
}
