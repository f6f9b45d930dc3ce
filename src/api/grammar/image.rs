//! References of images: `registry.example/repository:tag@digest`, or an id.
//!
//! `conservative` asks for the registry, `api::answer` for what stands before the tag. What must
//! stay true: a host is read where dockerd reads one, and an id is no repository.

use super::reference::is_id;

/// Where names without a host are.
pub const DOCKER_HUB: &str = "docker.io";

/// The host in an image's name or a search term.
pub fn host_of_name(name: &str) -> &str {
    // moby's `reference.splitDockerDomain` and `registry.splitReposSearchTerm`: a first part is a host when
    // it looks like one. Upper case cannot be a repository.
    let looks_like_host = |first: &str| {
        first.contains(['.', ':'])
            || first == "localhost"
            || first.bytes().any(|b| b.is_ascii_uppercase())
    };
    match name.split_once('/') {
        Some((first, _)) if looks_like_host(first) => first,
        _ => DOCKER_HUB,
    }
}

/// The host in the address of a login: `https://registry.example.com/v1/`, or its host alone. Only these
/// two schemes are cut off, and in lower case only: in front of anything else moby puts `https://`
/// (`registry.newIndexInfo`), and a host would be read out of what is a scheme here.
pub fn host_of_address(address: &str) -> &str {
    let bare = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"));
    let bare = bare.unwrap_or(address);
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b".-:[]/_".contains(&b);
    // Nobody's: a user's name, a query, another scheme.
    if bare.contains("://") || !bare.bytes().all(is_plain) {
        return "";
    }
    bare.split('/').next().unwrap_or_default()
}

/// What stands before the tag and the digest; all of an id. None where there is none (`<none>:<none>`).
pub fn repository(text: &str) -> Option<&str> {
    if text.starts_with("<none>") || text.starts_with("<missing>") {
        return None;
    }
    if is_image_id(text) {
        return Some(text);
    }
    let text = text.split_once('@').map_or(text, |(tagged, _)| tagged);
    // a colon before the last slash is a port's
    match text.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => Some(repository),
        _ => Some(text),
    }
}

/// The digits of an id, without the name of its digest.
pub fn digits(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}

/// The digits of a digest by SHA-256, which says so.
pub fn sha256(digest: &str) -> Option<&str> {
    digest.strip_prefix("sha256:").filter(|digits| is_id(digits))
}

/// A whole id, with or without the name of its digest.
pub fn is_image_id(text: &str) -> bool {
    is_id(digits(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_at_the_host_where_dockerd_would_look() {
        for (name, host) in [
            ("alpine", "docker.io"),
            ("alpine:3.18", "docker.io"),
            ("library/alpine:3", "docker.io"),
            ("ghcr.io/a/b@sha256:00", "ghcr.io"),
            ("169.254.169.254/latest/meta-data", "169.254.169.254"),
            ("localhost/x", "localhost"),
            ("db:5000/x", "db:5000"),
            ("[::1]:5000/x", "[::1]:5000"),
            ("Host/x", "Host"),
        ] {
            assert_eq!(host_of_name(name), host, "{name}");
        }
        for (address, host) in [
            ("https://index.docker.io/v1/", "index.docker.io"),
            ("http://127.0.0.1:9000", "127.0.0.1:9000"),
            ("registry.example.com", "registry.example.com"),
            ("http://docker.io@10.0.0.1/", ""),
            ("10.0.0.1?x=docker.io", ""),
            ("127.0.0.1://docker.io", ""),
            ("HTTP://docker.io", ""),
            ("http://http://docker.io", ""),
            ("db", "db"),
        ] {
            assert_eq!(host_of_address(address), host, "{address}");
        }
    }

    #[test]
    fn a_repository_ends_before_its_tag_or_its_digest() {
        for (text, wanted) in [
            ("a", Some("a")),
            ("a:1", Some("a")),
            ("h:5000/a", Some("h:5000/a")),
            ("h:5000/a:1@sha256:00", Some("h:5000/a")),
            ("a@sha256:00", Some("a")),
            // two tags are no reference, and the last one is one
            ("a:1:2", Some("a:1")),
            ("<none>@<none>", None),
            ("", Some("")),
        ] {
            assert_eq!(repository(text), wanted, "{text}");
        }
    }
}
