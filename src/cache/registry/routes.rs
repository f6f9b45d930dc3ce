//! Which upstream a name is of, and what it is called there.
//!
//! Pure; `serve` asks for each name that a request has. What must stay true: a name has one upstream, and two
//! upstreams never give the same name.

use std::sync::Arc;

use super::rules::is_among;
use super::upstream::RegistryUpstream;
use crate::auth::Identity;
use crate::cache::key::Scheme;

#[derive(Clone, Debug)]
pub(super) struct Routed {
    pub upstream: Arc<RegistryUpstream>,
    /// As the upstream calls it.
    pub repository: String,
}

impl Routed {
    /// The same, with the credentials that are for this caller.
    pub(super) fn of(self, who: &Identity) -> Routed {
        let groups: Vec<&str> = who.groups().iter().map(String::as_str).collect();
        let mut tenants = self.upstream.tenants.iter();
        let own = tenants.find(|(users, _)| is_among(Some(users), who.user(), &groups));
        match own.map(|(_, upstream)| Arc::clone(upstream)) {
            Some(upstream) => Routed { upstream, ..self },
            None => self,
        }
    }
}

/// Of one registry.
#[derive(Debug, Default)]
pub(super) struct Routes(Vec<Arc<RegistryUpstream>>);

impl Routes {
    /// The longest name first: it is the one that a request means.
    pub(super) fn new(mut upstreams: Vec<Arc<RegistryUpstream>>) -> Routes {
        upstreams.sort_by_key(|upstream| std::cmp::Reverse(upstream.name.len()));
        Routes(upstreams)
    }

    /// A name as rules and records know it: with the registry in front that containerd says it means (`?ns=`), where a
    /// mirror is for several; and of Docker Hub's own images with the `library/` that nobody writes. Each repository
    /// has one.
    pub(super) fn canonical(&self, name: &str, namespace: Option<&str>) -> String {
        let named = namespace.and_then(|namespace| self.named(namespace));
        let name = match named {
            Some(upstream) => format!("{}/{name}", upstream.name),
            None => name.to_owned(),
        };
        match self.split(&name) {
            Some((upstream, rest)) if upstream.is_hub() && !rest.contains('/') => {
                let first = name.strip_suffix(rest).unwrap_or_default();
                format!("{first}library/{rest}")
            }
            _ => name,
        }
    }

    /// Of a canonical name.
    pub(super) fn find(&self, name: &str) -> Option<Routed> {
        let (upstream, rest) = self.split(name)?;
        Some(Routed { upstream: Arc::clone(upstream), repository: upstream.there(rest) })
    }

    /// The same among those that are for some names only.
    pub(super) fn find_named(&self, name: &str) -> Option<Routed> {
        self.find(name).filter(|routed| !routed.upstream.name.is_empty())
    }

    fn split<'n>(&self, name: &'n str) -> Option<(&Arc<RegistryUpstream>, &'n str)> {
        self.0.iter().find_map(|upstream| {
            let rest = match upstream.name.as_str() {
                "" => name,
                first => name.strip_prefix(first)?.strip_prefix('/')?,
            };
            Some((upstream, rest))
        })
    }

    /// The one for all names, which a catalog can be asked of.
    pub(super) fn root(&self) -> Option<&Arc<RegistryUpstream>> {
        self.0.iter().find(|upstream| upstream.name.is_empty())
    }

    /// Whether one of them recognises clients by their own credentials.
    pub(super) fn asks_clients(&self) -> bool {
        self.asking_clients().next().is_some()
    }

    pub(super) fn asking_clients(&self) -> impl Iterator<Item = &Arc<RegistryUpstream>> {
        self.0.iter().filter(|upstream| !upstream.is_ours())
    }

    /// As a client calls what is kept under this scheme, host and path of an upstream.
    pub(super) fn called(&self, scheme: Scheme, host: &str, path: &str) -> Option<String> {
        let (place, reference) = path.strip_prefix("/v2/")?.rsplit_once('/')?;
        let named = |repository: &str| {
            self.0.iter().find_map(|upstream| {
                let is_there = upstream.scheme == scheme && upstream.host == host;
                let rest = repository.strip_prefix(&upstream.prefix).filter(|_| is_there)?;
                let slash = if upstream.name.is_empty() { "" } else { "/" };
                Some(format!("{}{slash}{rest}", upstream.name))
            })
        };
        match (place.strip_suffix("/manifests"), place.strip_suffix("/blobs")) {
            (Some(repository), _) if reference.contains(':') => {
                Some(format!("{}@{reference}", named(repository)?))
            }
            (Some(repository), _) => Some(format!("{}:{reference}", named(repository)?)),
            // What several repositories have is none's.
            (None, Some(repository)) if repository != "_" => named(repository),
            _ => None,
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<RegistryUpstream>> {
        let tenants = self.0.iter().flat_map(|upstream| &upstream.tenants);
        self.0.iter().chain(tenants.map(|(_, upstream)| upstream))
    }

    fn named(&self, name: &str) -> Option<&Arc<RegistryUpstream>> {
        self.0.iter().find(|upstream| !name.is_empty() && upstream.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::registry::upstream::tests::upstream;

    fn find(routes: &Routes, name: &str, namespace: Option<&str>) -> Option<(String, String)> {
        let found = routes.find(&routes.canonical(name, namespace))?;
        Some((found.upstream.host.clone(), found.repository))
    }

    #[test]
    fn the_longest_name_has_it() {
        let routes = Routes::new(vec![
            upstream("", "root.example", ""),
            upstream("ghcr.io", "ghcr.io", ""),
            upstream("ghcr.io/team", "own.example", "org"),
            upstream("docker.io", "registry-1.docker.io", ""),
        ]);
        let at = |host: &str, name: &str| Some((host.to_owned(), name.to_owned()));
        assert_eq!(find(&routes, "ghcr.io/x/y", None), at("ghcr.io", "x/y"));
        assert_eq!(find(&routes, "ghcr.io/team/y", None), at("own.example", "org/y"));
        assert_eq!(find(&routes, "ghcr.io/teams/y", None), at("ghcr.io", "teams/y"));
        assert_eq!(find(&routes, "a/b", None), at("root.example", "a/b"));
        assert_eq!(
            find(&routes, "docker.io/busybox", None),
            at("registry-1.docker.io", "library/busybox")
        );
        assert_eq!(find(&routes, "docker.io/a/b", None), at("registry-1.docker.io", "a/b"));
        assert_eq!(find(&routes, "x/y", Some("ghcr.io")), at("ghcr.io", "x/y"));
        assert_eq!(find(&routes, "x/y", Some("quay.io")), at("root.example", "x/y"));
    }

    #[test]
    fn a_repository_has_one_name_for_rules() {
        let routes = Routes::new(vec![
            upstream("", "root.example", ""),
            upstream("prod", "prod.example", ""),
            upstream("docker.io", "registry-1.docker.io", ""),
        ]);
        for (name, namespace, canonical) in [
            ("x/y", Some("prod"), "prod/x/y"),
            ("prod/x/y", None, "prod/x/y"),
            ("prod/x/y", Some("other"), "prod/x/y"),
            ("busybox", Some("docker.io"), "docker.io/library/busybox"),
            ("docker.io/busybox", None, "docker.io/library/busybox"),
            ("docker.io/library/busybox", None, "docker.io/library/busybox"),
            ("docker.io/a/b", None, "docker.io/a/b"),
            ("busybox", None, "busybox"),
            ("x", Some(""), "x"),
        ] {
            assert_eq!(routes.canonical(name, namespace), canonical, "{name} {namespace:?}");
        }
    }

    #[test]
    fn what_is_kept_is_called_as_clients_do() {
        let routes = Routes::new(vec![
            upstream("docker.io", "registry-1.docker.io", ""),
            upstream("team", "own.example", "platform"),
            upstream("", "root.example", ""),
        ]);
        let called = |host, path| routes.called(Scheme::Https, host, path);
        for (host, path, name) in [
            ("registry-1.docker.io", "/v2/library/x/manifests/v1", "docker.io/library/x:v1"),
            ("own.example", "/v2/platform/x/manifests/sha256:1", "team/x@sha256:1"),
            ("own.example", "/v2/platform/x/blobs/sha256:1", "team/x"),
            ("root.example", "/v2/a/b/manifests/v1", "a/b:v1"),
        ] {
            assert_eq!(called(host, path).as_deref(), Some(name), "{path}");
        }
        for (host, path) in [
            ("root.example", "/v2/_/blobs/sha256:1"),
            ("own.example", "/v2/other/manifests/v1"),
            ("other.example", "/v2/a/manifests/v1"),
            ("root.example", "/x"),
        ] {
            assert_eq!(called(host, path), None, "{path}");
        }
        assert_eq!(routes.called(Scheme::Http, "root.example", "/v2/a/manifests/v1"), None);
    }

    #[test]
    fn without_a_root_other_names_are_nobodys() {
        let routes = Routes::new(vec![upstream("ghcr.io", "ghcr.io", "")]);
        assert!(find(&routes, "x/y", None).is_none() && find(&routes, "ghcr.io", None).is_none());
        assert!(routes.root().is_none());
    }
}
