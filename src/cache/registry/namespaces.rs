//! What engines ask for in the name of namespaces: `dg…/host/repository` is that repository at that host.
//!
//! `serve` hands over each request for such a name. The policy `namespace` has made the name, and `gateway::grants` the
//! token. What must stay true: nothing of a namespace is given or taken without a token that names this repository and
//! what is done with it; the registry is asked with the credentials of who has made the call, and they go to no other
//! host than the one in the image's name, but where the operator says so.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::{HeaderMap, HeaderValue, Method, header};
use quick_cache::unsync::Cache as Bounded;

use super::Registry;
use super::case::Case;
use super::clients::{bearer, challenge};
use super::errors::{Code, error};
use super::request::{Operation, Thing};
use super::routes::{Routed, Routes};
use super::seen::{Call, UpstreamCounts};
use super::serve;
use super::tokens::Tokens;
use super::upstream::{Recognises, RegistryUpstream, Whose};
use crate::api::grammar::image::DOCKER_HUB;
use crate::auth::{Actions, ClientCredentials, FoundGrant, Grants};
use crate::cache::Cache;
use crate::cache::key::Scheme;
use crate::cache::reply::Reply;
use crate::cache::request::Request;
use crate::cache::stats::Outcome;
use crate::cache::target::host_key;
use crate::config::RegistryAction;
use crate::policy::namespace::image::{Repository, is_namespace};

/// Hosts that users have named.
const MOST_HOSTS: usize = 1_000;
/// Where Docker Hub's registry is.
const HUB_REGISTRY: &str = "registry-1.docker.io";

pub(super) struct Namespaces {
    grants: OnceLock<Arc<Grants>>,
    /// Registries that no `upstream` of the configuration is for.
    hosts: Mutex<Bounded<String, Arc<RegistryUpstream>>>,
}

impl Default for Namespaces {
    fn default() -> Namespaces {
        Namespaces { grants: OnceLock::new(), hosts: Mutex::new(Bounded::new(MOST_HOSTS)) }
    }
}

impl std::fmt::Debug for Namespaces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Namespaces").field("grants", &self.grants).finish_non_exhaustive()
    }
}

/// Whether a name is a namespace's, well-formed or not: no other client has such names.
pub(super) fn is_namespaced(name: &str) -> bool {
    name.split('/').next().is_some_and(is_namespace)
}

/// A request for one, from its token to its answer.
pub(super) async fn namespaced(
    cache: &Arc<Cache>,
    registry: &Registry,
    mut request: Request,
    (name, thing): (&str, &Thing),
    call: &mut Call,
) -> Reply {
    let account = cache.stats.account("-", &request.tenant, Outcome::Refused);
    let found = registry.namespaces.admitted(registry, &request, name, thing);
    let Some((asked, found)) = found else {
        call.refused("registry.namespace");
        let operation = Operation::Repository { name: name.to_owned(), thing: thing.clone() };
        let scope = serve::scope(&operation, &request);
        let why = "what namespaces have is for engines, while a call that asks for it runs";
        let mut reply = error(Code::Unauthorized, why, account);
        asks_for_token(&mut reply, registry, &request, scope.as_deref());
        return reply;
    };
    // It has done what it is for.
    request.headers.remove(header::AUTHORIZATION);
    let FoundGrant { who, credentials, .. } = found;
    let (visible, action) = (asked.visible(), thing.action(&request.method));
    call.recognised(&who);
    call.named(&visible);
    let denied = |call: &mut Call, account| {
        call.refused("registry.rule");
        error(Code::Denied, &serve::not_allowed(registry, &who, action, &visible), account)
    };
    if !registry.rules.is_empty() && !registry.rules.allow(&who, action, &visible) {
        return denied(call, account);
    }
    let Some(routed) = registry.namespaces.route(registry, &asked) else {
        let why = format!("`{visible}` is at no host that can be asked");
        return error(Code::NameUnknown, &why, account);
    };
    let routed = routed.of(&who);
    call.routed(&routed);
    let whose = whose(&routed.upstream, &asked.host, credentials.as_ref());
    if registry.rules.is_empty() && !may_without_rules(action, &routed.upstream, &whose) {
        return denied(call, account);
    }
    let (asked, denied_by) = (Some(asked), Arc::default());
    let case = Case {
        cache,
        registry,
        request,
        who,
        name: visible,
        asked,
        routed,
        whose,
        is_proven: false,
        denied_by,
    };
    serve::carried_out(case, thing, call).await
}

impl Namespaces {
    pub(super) fn takes_grants(&self, grants: &Arc<Grants>) {
        // The process has one for ever.
        let _ = self.grants.set(Arc::clone(grants));
    }

    /// What a ping is told where it is an engine's that comes for a namespace, or may be: engines show a token only where
    /// one is asked for.
    pub(super) fn ping(
        &self,
        cache: &Cache,
        registry: &Registry,
        request: &Request,
    ) -> Option<Reply> {
        let grants = self.grants.get()?;
        if bearer(request).is_some_and(|token| grants.look_up(&registry.name, token).is_some()) {
            return Some(serve::ping(cache, request));
        }
        let is_bare = !request.headers.contains_key(header::AUTHORIZATION);
        if !is_bare || !grants.has_any(&registry.name) {
            return None;
        }
        let account = cache.stats.account("-", &request.tenant, Outcome::Refused);
        let why = "a token is wanted: the token endpoint gives one";
        let mut reply = error(Code::Unauthorized, why, account);
        asks_for_token(&mut reply, registry, request, None);
        Some(reply)
    }

    /// The repository that is asked for and what its token says, where that is good for this.
    fn admitted(
        &self,
        registry: &Registry,
        request: &Request,
        name: &str,
        thing: &Thing,
    ) -> Option<(Repository, FoundGrant)> {
        let asked = Repository::parse(name)?;
        let found = self.grants.get()?.look_up(&registry.name, bearer(request)?)?;
        let is_for = found.grant.repository == name
            && is_among(found.grant.actions, thing.action(&request.method), &request.method);
        is_for.then_some((asked, found))
    }

    /// Where it is: at what the operator has named for it, else at the host itself, by TLS.
    pub(super) fn route(&self, registry: &Registry, asked: &Repository) -> Option<Routed> {
        let host = asked.host.to_ascii_lowercase();
        named(&registry.routes, &host, &asked.path).or_else(|| {
            let upstream = self.at_host(&host)?;
            Some(Routed { upstream, repository: asked.path.clone() })
        })
    }

    /// Whom a client's own credentials for a host are shown to when it pulls from there, in whose name, and as what the
    /// client knows that.
    pub(super) fn shown_to(
        &self,
        registry: &Registry,
        host: &str,
        own: &ClientCredentials,
    ) -> Option<(Arc<RegistryUpstream>, Whose, String)> {
        let url = format!("https://{}/v2/", registry_of(host)?);
        let named = named(&registry.routes, host, "").map(|routed| routed.upstream);
        // The operator's own are for pulls; a login is at the host itself then.
        [named, self.at_host(host)].into_iter().flatten().find_map(|upstream| {
            match whose(&upstream, host, Some(own)) {
                whose @ Whose::Client(_) => Some((upstream, whose, url.clone())),
                Whose::Own | Whose::Nobody => None,
            }
        })
    }

    fn at_host(&self, host: &str) -> Option<Arc<RegistryUpstream>> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = hosts.get(host) {
            return Some(Arc::clone(known));
        }
        let made = Arc::new(RegistryUpstream {
            name: host.to_owned(),
            scheme: Scheme::Https,
            host: registry_of(host)?,
            prefix: String::new(),
            recognises: Recognises::Client,
            id: format!("{host}\nof namespaces"),
            mirrors: Vec::new(),
            tenants: Vec::new(),
            tokens: Tokens::new(None),
            counts: UpstreamCounts::default(),
        });
        hosts.insert(host.to_owned(), Arc::clone(&made));
        Some(made)
    }
}

fn named(routes: &Routes, host: &str, path: &str) -> Option<Routed> {
    (!host.is_empty()).then(|| routes.find_named(&format!("{host}/{path}")))?
}

/// The host of a registry's API, as in `Key`.
fn registry_of(host: &str) -> Option<String> {
    match host {
        "" => None,
        DOCKER_HUB => Some(HUB_REGISTRY.to_owned()),
        host => host_key(host, Scheme::Https).ok(),
    }
}

/// In whose name an upstream is asked. The client's own credentials are for the host that the image's name says; to
/// another they go where the operator has said `credentials = "client"`.
fn whose(upstream: &RegistryUpstream, host: &str, own: Option<&ClientCredentials>) -> Whose {
    let is_there = upstream.scheme == Scheme::Https
        && registry_of(&host.to_ascii_lowercase()).is_some_and(|at| at == upstream.host);
    let own = own.filter(|_| is_there || !upstream.is_ours());
    let value = own.and_then(|own| HeaderValue::try_from(own.authorization()).ok());
    match value {
        Some(mut value) => {
            value.set_sensitive(true);
            Whose::Client(value)
        }
        None => upstream.whose(&HeaderMap::new()),
    }
}

/// Without rules nobody pushes to an upstream of the operator's with what dockgate has there; with credentials of their
/// own they do.
fn may_without_rules(action: RegistryAction, upstream: &RegistryUpstream, whose: &Whose) -> bool {
    action == RegistryAction::Pull || matches!(whose, Whose::Client(_)) || !upstream.is_ours()
}

/// Who pushes looks whether a blob is there.
fn is_among(actions: Actions, action: RegistryAction, method: &Method) -> bool {
    match action {
        RegistryAction::Pull => actions.pull || (actions.push && *method == Method::HEAD),
        RegistryAction::Push => actions.push,
        RegistryAction::Delete => false,
    }
}

fn asks_for_token(reply: &mut Reply, registry: &Registry, request: &Request, scope: Option<&str>) {
    if let Ok(challenge) = HeaderValue::try_from(challenge(registry, request, scope)) {
        reply.headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
}

#[cfg(test)]
mod tests {
    use super::super::upstream::tests::upstream;
    use super::*;

    fn client() -> ClientCredentials {
        ClientCredentials::login("ann", "secret").unwrap()
    }

    #[test]
    fn a_token_is_for_what_the_call_does() {
        let both = Actions { pull: true, push: true };
        for (actions, action, method, wanted) in [
            (Actions::PULL, RegistryAction::Pull, Method::GET, true),
            (Actions::PULL, RegistryAction::Push, Method::PUT, false),
            (Actions::PUSH, RegistryAction::Push, Method::POST, true),
            (Actions::PUSH, RegistryAction::Pull, Method::HEAD, true),
            (Actions::PUSH, RegistryAction::Pull, Method::GET, false),
            (both, RegistryAction::Pull, Method::GET, true),
            (both, RegistryAction::Delete, Method::DELETE, false),
        ] {
            assert_eq!(is_among(actions, action, &method), wanted, "{actions:?} {action:?}");
        }
    }

    #[test]
    fn a_host_is_asked_itself_where_the_operator_names_no_other() {
        let routes = Routes::new(vec![
            upstream("", "root.example", ""),
            upstream("ghcr.io", "mirror.example", "ghcr"),
            upstream("docker.io/team", "team.example", ""),
        ]);
        let at = |host, path| {
            let found = named(&routes, host, path)?;
            Some((found.upstream.host.clone(), found.repository))
        };
        let of = |host: &str, repository: &str| Some((host.to_owned(), repository.to_owned()));
        assert_eq!(at("ghcr.io", "a/b"), of("mirror.example", "ghcr/a/b"));
        assert_eq!(at("docker.io", "team/x"), of("team.example", "x"));
        assert_eq!(at("docker.io", "library/x"), None, "one for all names is for none of these");
        assert_eq!(at("", "a.b_c/x"), None);
        let namespaces = Namespaces::default();
        let hub = namespaces.at_host("docker.io").unwrap();
        assert_eq!((&*hub.host, hub.scheme), (HUB_REGISTRY, Scheme::Https));
        assert!(Arc::ptr_eq(&hub, &namespaces.at_host("docker.io").unwrap()), "it is one");
        assert_eq!(namespaces.at_host("quay.io:443").unwrap().host, "quay.io");
        assert!(namespaces.at_host("").is_none() && namespaces.at_host("x:99999999").is_none());
    }

    #[test]
    fn a_clients_credentials_go_to_the_host_that_its_image_names() {
        let is_shown = |upstream: &RegistryUpstream, host: &str| {
            matches!(whose(upstream, host, Some(&client())), Whose::Client(_))
        };
        let own = Namespaces::default().at_host("ghcr.io").unwrap();
        assert!(is_shown(&own, "ghcr.io") && is_shown(&own, "GHCR.io"));
        let mirror = upstream("ghcr.io", "mirror.example", "");
        assert!(!is_shown(&mirror, "ghcr.io"));
        assert!(is_shown(&upstream("ghcr.io", "ghcr.io", ""), "ghcr.io"));
        assert!(is_shown(&upstream("docker.io", HUB_REGISTRY, ""), "docker.io"));
        assert_eq!(whose(&own, "ghcr.io", None), Whose::Nobody);
        // who has none pushes nothing to what is the operator's
        for (upstream, whose, wanted) in [
            (&*own, Whose::Nobody, true),
            (&*mirror, Whose::Nobody, false),
            (&*mirror, Whose::Own, false),
            (&*mirror, Whose::Client(HeaderValue::from_static("Basic x")), true),
        ] {
            assert_eq!(may_without_rules(RegistryAction::Push, upstream, &whose), wanted);
            assert!(may_without_rules(RegistryAction::Pull, upstream, &whose));
        }
    }
}
