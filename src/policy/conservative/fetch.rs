//! What a build may make the engine fetch by its address.
//!
//! `dockerfile` asks here. What must stay true: an address that is not decided by what is known of it is not allowed; the
//! engine follows redirects without asking anybody, so whoever is allowed is trusted not to send it inside.

use crate::api::dockerfile::{Expanded, Fetch, FetchKind};
use crate::wire::url::HttpUrl;

/// Hosts on which nobody but their owners can make a redirect that leads elsewhere. That leaves gitlab.com and codeberg.org
/// out, where an asset of a release is wherever whoever made it says.
const PUBLIC: &[&str] = &[
    "https://github.com/",
    "https://codeload.github.com/",
    "https://raw.githubusercontent.com/",
    "https://objects.githubusercontent.com/",
    "https://release-assets.githubusercontent.com/",
    "https://go.dev/",
    "https://dl.google.com/",
    "https://nodejs.org/",
    "https://registry.npmjs.org/",
    "https://files.pythonhosted.org/",
    "https://www.python.org/",
    "https://static.rust-lang.org/",
    "https://repo1.maven.org/",
    "https://repo.maven.apache.org/",
    "https://archive.apache.org/",
    "https://downloads.apache.org/",
    "https://dlcdn.apache.org/",
    "https://ftp.gnu.org/",
    "https://cdn.kernel.org/",
    "https://download.docker.com/",
    "https://releases.hashicorp.com/",
];

/// As the listener's configuration has it.
#[derive(Debug)]
pub(super) struct Fetches {
    prefixes: Vec<HttpUrl>,
    /// Somebody has chosen them.
    is_chosen: bool,
}

impl Fetches {
    pub(super) fn new(listed: Option<&[HttpUrl]>) -> Fetches {
        let public = || PUBLIC.iter().filter_map(|prefix| HttpUrl::parse(prefix)).collect();
        let prefixes = listed.map_or_else(public, <[HttpUrl]>::to_vec);
        Fetches { prefixes, is_chosen: listed.is_some() }
    }

    pub(super) fn allow(&self, one: &Fetch) -> bool {
        match one.kind {
            FetchKind::Url => self.cover(&one.name),
            // A repository names others (submodules), which the engine fetches too: the operator answers for it.
            FetchKind::Git => self.is_chosen && self.cover(&one.name),
            FetchKind::Base | FetchKind::Image | FetchKind::Frontend => false,
        }
    }

    /// Below what files may be fetched, and repositories.
    pub(super) fn files(&self) -> &[HttpUrl] {
        &self.prefixes
    }

    pub(super) fn repositories(&self) -> &[HttpUrl] {
        if self.is_chosen { &self.prefixes } else { &[] }
    }

    fn cover(&self, address: &Expanded) -> bool {
        let Some(url) = HttpUrl::parse(&address.known) else { return false };
        // What is not known yet may lead up again, but never to another host once there is a slash behind this one.
        let is_decided =
            |prefix: &HttpUrl| address.is_whole || prefix.path == "/" && url.path.starts_with('/');
        self.prefixes.iter().any(|prefix| prefix.covers(&url) && is_decided(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(fetches: &Fetches, kind: FetchKind, known: &str, is_whole: bool) -> bool {
        let name = Expanded { known: known.to_owned(), is_whole };
        fetches.allow(&Fetch { line: 1, kind, name, written: String::new() })
    }

    #[test]
    fn public_hosts_are_those_that_are_known_and_only_securely() {
        let public = Fetches::new(None);
        assert_eq!(public.prefixes.len(), PUBLIC.len(), "each is one");
        assert!(
            public.prefixes.iter().all(|one| one.is_prefix() && one.is_secure && one.path == "/")
        );
        let url = |known, is_whole| allows(&public, FetchKind::Url, known, is_whole);
        assert!(url("https://GitHub.com/a/b", true) && url("https://github.com/a", false));
        for bad in [
            "http://github.com/a",
            "https://github.com:8443/a",
            "https://github.com@10.0.0.1/",
            "https://github.com.evil.org/",
            "https://gitlab.com/a",
            "http://127.0.0.1/",
            "",
        ] {
            assert!(!url(bad, true), "{bad}");
        }
        for undecided in ["https://github.com", "https://", "https://github.com:", ""] {
            assert!(!url(undecided, false), "{undecided}");
        }
        assert!(!allows(&public, FetchKind::Git, "https://github.com/a/b.git", true), "submodules");
    }

    #[test]
    fn a_list_is_all_there_is() {
        let listed: Vec<HttpUrl> = ["http://10.0.0.1:8080/", "https://a/b/"]
            .iter()
            .map(|prefix| HttpUrl::parse(prefix).unwrap())
            .collect();
        let listed = Fetches::new(Some(&listed));
        assert!(allows(&listed, FetchKind::Url, "http://10.0.0.1:8080/x", false));
        assert!(allows(&listed, FetchKind::Url, "https://a/b/c", true));
        assert!(allows(&listed, FetchKind::Git, "https://a/b/c.git#d:e", true));
        assert!(!allows(&listed, FetchKind::Url, "https://a/b/", false), "`..` may follow");
        assert!(!allows(&listed, FetchKind::Url, "https://github.com/", true));
        assert!(!allows(&listed, FetchKind::Git, "git@a:b/c", true));
        assert!(!allows(&Fetches::new(Some(&[])), FetchKind::Url, "https://github.com/", true));
    }
}
