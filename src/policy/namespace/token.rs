//! Tokens that BuildKit asks the client of a build for, where the registry is the one that the namespace's images come by.
//!
//! `Namespaces` calls it. What must stay true: a token is for one repository, which is this namespace's; it lets be pushed
//! only what the build has said that it pushes.

use std::collections::BTreeSet;

use super::image::{ImageNames, Repository};
use super::names::Tenant;
use super::{NO_REGISTRY_HINT, Namespaces};
use crate::policy::{Reason, WantedGrant};

const RULE: &str = "namespace.registry";

pub(super) fn wanted(
    with: &Namespaces,
    tenant: &Tenant,
    scopes: &[&str],
    pushed: &BTreeSet<String>,
) -> Result<WantedGrant, Reason> {
    let Some(registry) = &with.settings.registry else {
        let why = "no registry is named in this namespace's policy";
        return Err(Reason::new(RULE, "image", why, NO_REGISTRY_HINT));
    };
    let own = with.images(tenant);
    let asked = asked(scopes).filter(|scope| scope.repository.namespace == tenant.id());
    let Some(Scope { repository, pull, push }) = asked else {
        let why = "must be asked for one repository of this namespace's, to pull or to push it";
        return Err(Reason::new(RULE, "token", why, ""));
    };
    if push && !pushed.iter().any(|name| is_of(&own, name, &repository)) {
        let why = format!(
            "must not be asked for to push `{}`: no build that runs has said that it pushes that",
            repository.visible()
        );
        return Err(Reason::new(RULE, "token", why, ""));
    }
    let (registry, address) = (registry.name.clone(), registry.address.clone());
    let (header, logins) = (None, None);
    Ok(WantedGrant { registry, address, repository, pull, push, header, logins })
}

/// Whether an image, by the name that the engine has for it, is in this repository.
fn is_of(own: &ImageNames, name: &str, repository: &Repository) -> bool {
    own.visible(name).is_some_and(|reference| own.repository(&reference) == *repository)
}

/// `repository:NAME:pull,push`, as the distribution project has it.
struct Scope {
    repository: Repository,
    pull: bool,
    push: bool,
}

/// What a token is for. Whoever pushes says beside it what else the layers could be mounted from; our registry asks no token
/// for that.
fn asked(scopes: &[&str]) -> Option<Scope> {
    let words = scopes.iter().flat_map(|scope| scope.split_ascii_whitespace());
    let all: Vec<Scope> = words.map(Scope::parse).collect::<Option<_>>()?;
    let pushes = all.iter().any(|scope| scope.push);
    let mut meant = all.into_iter().filter(|scope| scope.push == pushes);
    let one = meant.next();
    one.filter(|_| meant.next().is_none())
}

impl Scope {
    fn parse(text: &str) -> Option<Scope> {
        let mut parts = text.split(':');
        let (Some("repository"), Some(name), Some(actions), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let mut scope = Scope { repository: Repository::parse(name)?, pull: false, push: false };
        for action in actions.split(',') {
            match action {
                "pull" => scope.pull = true,
                "push" => scope.push = true,
                _ => return None,
            }
        }
        Some(scope)
    }
}

#[cfg(test)]
mod tests {
    use super::super::build::tests::Case;
    use super::*;

    #[test]
    fn a_token_is_for_one_repository_of_the_namespaces_own() {
        let case = Case::with_registry();
        case.request(|request| {
            let own = request.tenant.id();
            let app = format!("127.0.0.1:5454/{own}/ghcr.io/x/app");
            let pushed = BTreeSet::from([format!("{app}:1"), "ghcr.io/x/other".to_owned()]);
            let ask = |scopes: &[&str]| {
                let scopes: Vec<String> =
                    scopes.iter().map(|scope| scope.replace("OWN", own)).collect();
                let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
                let got = wanted(request.with, request.tenant, &scopes, &pushed);
                got.map(|got| (got.repository.visible(), got.pull, got.push))
                    .map_err(|why| why.message())
            };
            let is = |name: &str, pull, push| Ok((name.to_owned(), pull, push));
            let hub = "docker.io/library/a";
            assert_eq!(ask(&["repository:OWN/docker.io/library/a:pull"]), is(hub, true, false));
            assert_eq!(
                ask(&["repository:OWN/ghcr.io/x/app:pull,push"]),
                is("ghcr.io/x/app", true, true)
            );
            // what layers may be mounted from stands beside it
            let both = "repository:OWN/docker.io/library/a:pull repository:OWN/ghcr.io/x/app:push";
            assert_eq!(ask(&[both]), is("ghcr.io/x/app", false, true));
            for bad in [
                &["repository:OWN/docker.io/library/a:pull,push"][..],
                &["repository:OWN/ghcr.io/x/other:push"],
                &["repository:dgaaaaaaaaaa/docker.io/library/a:pull"],
                &["repository:library/a:pull"],
                &["repository:OWN/ghcr.io/x/app:delete"],
                &["repository:OWN/ghcr.io/x/app:*"],
                &["repository:OWN/ghcr.io/x/app"],
                &["registry:catalog:*"],
                &["repository:OWN/ghcr.io/x/a:pull", "repository:OWN/ghcr.io/x/b:pull"],
                &[""],
                &[],
            ] {
                let why = ask(bad).unwrap_err();
                assert!(why.contains("(rule namespace.registry)"), "{bad:?} {why}");
                assert!(!why.contains("dg"), "{bad:?} {why}");
            }
        });
    }
}
