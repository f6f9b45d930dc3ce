//! References of images as the engine reads them: host, repository, tag, digest, each where it is.
//!
//! `policy::namespace::image` rewrites them, and names of images are understood in one place here. The grammar is that of
//! the distribution project (`reference/normalize.go` and `reference/regexp.go` of `distribution/reference`, which moby
//! uses from 25 on). What must stay true: what this takes an engine takes, with the same host and the same repository;
//! what it refuses is refused in the engine's own words.

use std::fmt;

use super::image::DOCKER_HUB;
use super::reference::{is_hexadecimal, is_id};

/// Of a name with its host; engines before 25 count the host, later ones do not.
pub const LONGEST_NAME: usize = 255;

const LONGEST_TAG: usize = 128;
/// What Docker Hub's own repositories have in front, which nobody writes.
const OFFICIAL: &str = "library/";
/// What `docker.io` was called once.
const OLD_HUB: &str = "index.docker.io";

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageReference {
    /// With its port. Empty where the first part looks like a host and is none (`a.b_c/x`): engines take that, and find
    /// nothing there.
    pub host: String,
    /// With the `library/` that Docker Hub's own have.
    pub repository: String,
    pub tag: Option<String>,
    pub digest: Option<String>,
}

/// Why a text is no reference, as engines say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadReference {
    Format,
    /// Of this repository; None where engines do not name it.
    Uppercase(Option<String>),
    /// An id is no name.
    Id(String),
    /// A name has at most so many characters.
    TooLong(usize),
    Algorithm,
    DigestLength,
    DigestFormat,
}

/// What names an image in a path or a body: dockerd reads it in this order (`GetImage` of its image stores).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskedImage {
    /// The whole id, with the name of its digest.
    Id(String),
    /// A name, and if there is none of that name the beginning of an id, without the name of its digest.
    NameOrPrefix(ImageReference, String),
    Name(ImageReference),
}

impl AskedImage {
    pub fn parse(text: &str) -> Result<AskedImage, BadReference> {
        if is_id(text) {
            return Ok(AskedImage::Id(format!("{SHA256}:{text}")));
        }
        if check_digest(text).is_ok() {
            return Ok(AskedImage::Id(text.to_owned()));
        }
        let name = ImageReference::parse(text)?;
        let prefix = text.split_once(':').filter(|(algorithm, _)| *algorithm == SHA256);
        let prefix = prefix.map_or(text, |(_, prefix)| prefix);
        Ok(match is_hexadecimal(prefix) {
            true => AskedImage::NameOrPrefix(name, prefix.to_owned()),
            false => AskedImage::Name(name),
        })
    }
}

impl ImageReference {
    /// `ParseNormalizedNamed`.
    pub fn parse(text: &str) -> Result<ImageReference, BadReference> {
        if is_id(text) {
            return Err(BadReference::Id(text.to_owned()));
        }
        let (host, rest) = split_host(text);
        let named = rest.split_once(':').map_or(&*rest, |(named, _)| named);
        if named.chars().any(char::is_uppercase) {
            return Err(BadReference::Uppercase(Some(named.to_owned())));
        }
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (&*rest, None),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        let is_reference =
            is_path(repository) && tag.is_none_or(is_tag) && digest.is_none_or(looks_like_digest);
        // The longest match of the engine's expression: what is no host may be a part of the path.
        let (host, repository) = match is_host(host) {
            _ if !is_reference => return Err(BadReference::Format),
            true => (host, repository.to_owned()),
            false if is_component(host) => ("", format!("{host}/{repository}")),
            false if is_component(&host.to_ascii_lowercase()) => {
                return Err(BadReference::Uppercase(None));
            }
            false => return Err(BadReference::Format),
        };
        if host.len() + 1 + repository.len() > LONGEST_NAME {
            return Err(BadReference::TooLong(LONGEST_NAME));
        }
        digest.map_or(Ok(()), check_digest)?;
        Ok(ImageReference {
            host: host.to_owned(),
            repository,
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }

    /// The name as docker prints it: without what everybody leaves out (`FamiliarName`).
    pub fn familiar_name(&self) -> String {
        match (&*self.host, self.repository.strip_prefix(OFFICIAL)) {
            (DOCKER_HUB, Some(own)) if !own.contains('/') => own.to_owned(),
            (DOCKER_HUB | "", _) => self.repository.clone(),
            (host, _) => format!("{host}/{}", self.repository),
        }
    }

    /// The name with all that stands in front: `docker.io/library/alpine`.
    pub fn name(&self) -> String {
        match &*self.host {
            "" => self.repository.clone(),
            host => format!("{host}/{}", self.repository),
        }
    }

    /// What stands behind the name: `:tag@digest`.
    pub fn suffix(&self) -> String {
        let part = |sign: &str, part: &Option<String>| {
            part.as_ref().map(|part| format!("{sign}{part}")).unwrap_or_default()
        };
        part(":", &self.tag) + &part("@", &self.digest)
    }

    /// As docker prints it (`FamiliarString`).
    pub fn familiar(&self) -> String {
        self.familiar_name() + &self.suffix()
    }

    /// The same with what a `tag` of a query says in the place of its tag: a tag, or a digest.
    pub fn with_tag(self, tag: &str) -> Result<ImageReference, BadReference> {
        if tag.is_empty() {
            return Ok(self);
        }
        match check_digest(tag) {
            Ok(()) => Ok(ImageReference { tag: None, digest: Some(tag.to_owned()), ..self }),
            Err(_) if is_tag(tag) => Ok(ImageReference { tag: Some(tag.to_owned()), ..self }),
            Err(_) => Err(BadReference::Format),
        }
    }
}

/// As dockerd prints it, whose version decides about the words: `is_new` from API 1.44 on.
impl BadReference {
    pub fn said(&self, is_new: bool) -> String {
        match self {
            BadReference::Uppercase(Some(_)) if !is_new => {
                "invalid reference format: repository name must be lowercase".to_owned()
            }
            bad => bad.to_string(),
        }
    }
}

impl fmt::Display for BadReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadReference::Format => f.write_str("invalid reference format"),
            BadReference::Uppercase(Some(name)) => {
                write!(f, "invalid reference format: repository name ({name}) must be lowercase")
            }
            BadReference::Uppercase(None) => f.write_str("repository name must be lowercase"),
            BadReference::Id(id) => {
                let why = "cannot specify 64-byte hexadecimal strings";
                write!(f, "invalid repository name ({id}), {why}")
            }
            BadReference::TooLong(most) => {
                write!(f, "repository name must not be more than {most} characters")
            }
            BadReference::Algorithm => f.write_str("unsupported digest algorithm"),
            BadReference::DigestLength => f.write_str("invalid checksum digest length"),
            BadReference::DigestFormat => f.write_str("invalid checksum digest format"),
        }
    }
}

/// `splitDockerDomain`.
fn split_host(text: &str) -> (&str, String) {
    let (host, rest) = match text.split_once('/') {
        Some((OLD_HUB, rest)) => (DOCKER_HUB, rest),
        Some((first, rest)) if may_be_host(first) => (first, rest),
        _ => (DOCKER_HUB, text),
    };
    match host == DOCKER_HUB && !rest.contains('/') {
        true => (host, format!("{OFFICIAL}{rest}")),
        false => (host, rest.to_owned()),
    }
}

fn may_be_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.chars().any(char::is_uppercase)
}

/// A name of labels, an IPv4 address, or an IPv6 address in brackets; with a port or without.
pub fn is_host(text: &str) -> bool {
    let (name, port) = match text.rfind(']').map(|end| text.split_at(end + 1)) {
        Some((address, port)) => (address, port),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let has_port = |port: &str| {
        port.strip_prefix(':')
            .is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    (port.is_empty() || has_port(port)) && (is_ipv6(name) || name.split('.').all(is_label))
}

/// What could stand between the brackets is as little checked by engines.
fn is_ipv6(name: &str) -> bool {
    let inside = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inside.is_some_and(|inside| {
        !inside.is_empty() && inside.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':')
    })
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_path(path: &str) -> bool {
    path.split('/').all(is_component)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
pub fn is_component(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(is_plain)
        && text.ends_with(is_plain)
        && text.split(is_plain).all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
        })
}

/// `[\w][\w.-]{0,127}`
fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= LONGEST_TAG
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

/// `[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*[:][[:xdigit:]]{32,}`
fn looks_like_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphabetic())
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    algorithm.split(['-', '_', '+', '.']).all(is_word)
        && hex.len() >= 32
        && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

const SHA256: &str = "sha256";

/// `digest.Parse` of go-digest.
fn check_digest(text: &str) -> Result<(), BadReference> {
    let (algorithm, hex) = text.split_once(':').ok_or(BadReference::DigestFormat)?;
    let length = match algorithm {
        SHA256 => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return Err(BadReference::Algorithm),
    };
    match (hex.len() == length, is_hexadecimal(hex)) {
        (false, _) => Err(BadReference::DigestLength),
        (true, false) => Err(BadReference::DigestFormat),
        (true, true) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex() -> String {
        "ab".repeat(32)
    }

    #[test]
    fn a_name_has_the_host_and_the_repository_that_the_engine_finds() {
        for (text, host, repository, familiar) in [
            ("x", "docker.io", "library/x", "x"),
            ("a/b", "docker.io", "a/b", "a/b"),
            ("docker.io/x", "docker.io", "library/x", "x"),
            ("index.docker.io/x", "docker.io", "library/x", "x"),
            ("library/x", "docker.io", "library/x", "x"),
            ("library/a/b", "docker.io", "library/a/b", "library/a/b"),
            ("docker.io", "docker.io", "library/docker.io", "docker.io"),
            ("localhost", "docker.io", "library/localhost", "localhost"),
            ("localhost/x", "localhost", "x", "localhost/x"),
            ("ghcr.io/a/b", "ghcr.io", "a/b", "ghcr.io/a/b"),
            ("Host.io/x", "Host.io", "x", "Host.io/x"),
            ("HOST/x", "HOST", "x", "HOST/x"),
            ("[::1]:5000/x", "[::1]:5000", "x", "[::1]:5000/x"),
            ("[::1]/x", "[::1]", "x", "[::1]/x"),
            ("x:99999999999/y", "x:99999999999", "y", "x:99999999999/y"),
            ("a/b__c", "docker.io", "a/b__c", "a/b__c"),
            ("a.b_c/x", "", "a.b_c/x", "a.b_c/x"),
            ("docker.io/localhost/x", "docker.io", "localhost/x", "localhost/x"),
        ] {
            let found = ImageReference::parse(text).unwrap();
            assert_eq!((&*found.host, &*found.repository), (host, repository), "{text}");
            assert_eq!(found.familiar(), familiar, "{text}");
        }
    }

    #[test]
    fn a_tag_and_a_digest_stand_behind_it() {
        let digest = format!("sha256:{}", hex());
        let text = format!("db:5000/x:1.0-a@{digest}");
        let found = ImageReference::parse(&text).unwrap();
        assert_eq!(
            (found.tag.as_deref(), found.digest.as_deref()),
            (Some("1.0-a"), Some(&*digest))
        );
        assert_eq!((found.familiar(), found.name()), (text, "db:5000/x".to_owned()));
        let x = ImageReference::parse("x:1").unwrap();
        assert_eq!(x.clone().with_tag("2").unwrap().familiar(), "x:2");
        assert_eq!(x.clone().with_tag(&digest).unwrap().familiar(), format!("x@{digest}"));
        assert_eq!(x.with_tag(".2"), Err(BadReference::Format));
    }

    /// As engines 20.10 and 28 answered when they were asked to tag and to pull it.
    #[test]
    fn what_the_engine_refuses_is_refused_in_its_words() {
        let (id, long, sha) = (hex(), "a".repeat(256), format!("a@sha256:{}", "ab".repeat(31)));
        for (text, said) in [
            ("Foo", "invalid reference format: repository name (library/Foo) must be lowercase"),
            ("foo/Bar", "invalid reference format: repository name (foo/Bar) must be lowercase"),
            ("A:1", "invalid reference format: repository name (library/A) must be lowercase"),
            ("X_y.z/x", "repository name must be lowercase"),
            ("", "invalid reference format"),
            ("a//b", "invalid reference format"),
            ("a_", "invalid reference format"),
            (".a", "invalid reference format"),
            ("-a", "invalid reference format"),
            ("a:b:c", "invalid reference format"),
            ("a:", "invalid reference format"),
            ("a:.x", "invalid reference format"),
            ("a/b___c", "invalid reference format"),
            ("a@sha256:00", "invalid reference format"),
            ("docker.io/", "invalid reference format"),
            ("docker.io/library/", "invalid reference format"),
            ("ghcr.io:/x", "invalid reference format"),
            ("x..y/z", "invalid reference format"),
            ("http://x/y", "invalid reference format"),
            ("[::1/x", "invalid reference format"),
            ("[::1%25eth0]/x", "invalid reference format"),
            ("a.b_c:5/x", "invalid reference format"),
            ("é", "invalid reference format"),
            (&long, "repository name must not be more than 255 characters"),
            ("a@md5:00112233445566778899aabbccddeeff", "unsupported digest algorithm"),
            (&sha, "invalid checksum digest length"),
            (
                &id,
                &format!(
                    "invalid repository name ({id}), cannot specify 64-byte hexadecimal strings"
                ),
            ),
        ] {
            assert_eq!(ImageReference::parse(text).unwrap_err().to_string(), said, "{text}");
        }
        let old = ImageReference::parse("Foo").unwrap_err().said(false);
        assert_eq!(old, "invalid reference format: repository name must be lowercase");
    }

    #[test]
    fn what_could_be_a_name_is_one_before_it_is_the_beginning_of_an_id() {
        let id = |text: &str| AskedImage::Id(text.to_owned());
        let name = |text: &str| ImageReference::parse(text).unwrap();
        let or = |text: &str, prefix: &str| AskedImage::NameOrPrefix(name(text), prefix.to_owned());
        let (hex, sha512) = (hex(), format!("sha512:{}", "0".repeat(128)));
        let (whole, short) = (format!("sha256:{hex}"), "ab".repeat(31));
        for (text, asked) in [
            (&*hex, id(&whole)),
            (&whole, id(&whole)),
            (&sha512, id(&sha512)),
            ("0", or("0", "0")),
            ("cafe", or("cafe", "cafe")),
            ("sha256:cafe", or("sha256:cafe", "cafe")),
            (&short, or(&short, &short)),
            ("cafe:1", AskedImage::Name(name("cafe:1"))),
            ("sha256:xyz", AskedImage::Name(name("sha256:xyz"))),
            ("alpine", AskedImage::Name(name("alpine"))),
        ] {
            assert_eq!(AskedImage::parse(text), Ok(asked), "{text}");
        }
        assert!(AskedImage::parse("CAFE").is_err() && AskedImage::parse("").is_err());
    }
}
