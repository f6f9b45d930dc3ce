//! What a registry's configuration says, in terms of its own: upstreams, rules, secrets out of their files.
//!
//! `cache::settings` reads it, before anything is opened. What must stay true: two upstreams never have the same name; no
//! complaint shows anything of what a file holds.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::ecr::{Ecr, EcrSettings, EcrSite, is_region};
use super::helper::Helper;
use super::judge::PushRule;
use super::mirrors::UpstreamMirror;
use super::name::{Pattern, is_repository};
use super::routes::Routes;
use super::rules::{AccessRule, Rules};
use super::seen::UpstreamCounts;
use super::tokens::Tokens;
use super::upstream::{Recognises, RegistryUpstream};
use crate::auth::{Authentication, Authenticators};
use crate::cache::key::Scheme;
use crate::cache::mirror::Origin;
use crate::cache::settings::{login_of, origin};
use crate::config::{
    self, Complaints, EcrCredentials, Invalid, Redirects, RegistryCredentials, Text,
};

/// All of a registry but for what is of its directory.
#[derive(Debug)]
pub struct RegistrySettings {
    pub(super) authentication: Authentication,
    pub(super) routes: Routes,
    pub(super) rules: Rules,
    pub(super) push_rules: Vec<PushRule>,
    /// In ms, as all times here.
    pub(super) access_ttl: u64,
    pub(super) tag_ttl: u64,
    pub(super) stale: u64,
    pub(super) negative_ttl: u64,
    pub(super) upload_ttl: u64,
    pub(super) redirects: Redirects,
    pub(super) catalog: bool,
}

impl RegistrySettings {
    pub fn of(
        config: &config::Registry,
        allow_private: &[IpNet],
    ) -> Result<Arc<RegistrySettings>, Invalid> {
        let mut complaints = Complaints::default();
        let authentication = Authentication::new(&config.auth, &mut Authenticators::default());
        let authentication = complaints.note(authentication).unwrap_or_default();
        let mut upstreams: Vec<Arc<RegistryUpstream>> = Vec::new();
        for one in &config.upstreams {
            let Some(made) = complaints.note(upstream(one, config, allow_private)) else {
                continue;
            };
            if upstreams.iter().any(|other| other.name == made.name) {
                let what = "there is another upstream with this name";
                complaints.note::<()>(Err(one.name.invalid(what, "")));
            }
            upstreams.push(Arc::new(made));
        }
        let rules = config.rules.iter().filter_map(|one| complaints.note(rule(one))).collect();
        let push_rules =
            config.push_rules.iter().filter_map(|one| complaints.note(PushRule::of(one))).collect();
        complaints.or(Arc::new(RegistrySettings {
            authentication,
            routes: Routes::new(upstreams),
            rules: Rules::new(rules),
            push_rules,
            access_ttl: ms(config.access_ttl),
            tag_ttl: ms(config.tag_ttl),
            stale: ms(config.stale),
            negative_ttl: ms(config.negative_ttl),
            upload_ttl: ms(config.upload_ttl),
            redirects: config.redirects,
            catalog: config.catalog,
        }))
    }
}

fn upstream(
    config: &config::RegistryUpstream,
    registry: &config::Registry,
    allow_private: &[IpNet],
) -> Result<RegistryUpstream, Invalid> {
    let name = &config.name;
    // A host alone is a name as well: `ghcr.io`.
    if !name.text.is_empty() && !is_repository(&format!("{}/x", name.text)) {
        let hint = "`/` for all names, a host such as `ghcr.io`, or a path such as `team`";
        return Err(name.invalid(format!("`{}` is no beginning of names", name.text), hint));
    }
    let Origin { scheme, host } = origin(&config.url, allow_private)?;
    let prefix = config.prefix.as_ref().map(|prefix| (prefix, prefix.text.trim_matches('/')));
    if let Some((place, prefix)) = prefix
        && !is_repository(prefix)
    {
        return Err(place.invalid(format!("`{prefix}` is no beginning of repositories"), ""));
    }
    let realm = match &config.realm {
        None => None,
        Some(realm) => Some(realm_of(realm, scheme, allow_private)?),
    };
    let recognises = match &config.credentials {
        RegistryCredentials::None => Recognises::Nobody,
        RegistryCredentials::Login(login) => Recognises::Login(login_of(login)?),
        RegistryCredentials::Client if !registry.auth.is_empty() => {
            let what = "clients' own credentials are for `auth` here, and not for an upstream";
            return Err(
                name.invalid(what, "a request has one `Authorization`: leave out one of them")
            );
        }
        RegistryCredentials::Client => Recognises::Client,
        RegistryCredentials::Helper(program) => {
            let helper = Helper::new(&program.text);
            let bad = || {
                let what = format!("`{}` is no name of a credential helper", program.text);
                program.invalid(what, "`ecr-login` is `docker-credential-ecr-login`")
            };
            Recognises::Helper(helper.ok_or_else(bad)?)
        }
        RegistryCredentials::Ecr(ecr) => {
            Recognises::Ecr(Arc::new(amazon(ecr, config, &host, allow_private)?))
        }
    };
    let whose = match &config.credentials {
        RegistryCredentials::None => "none".to_owned(),
        RegistryCredentials::Login(login) => format!("login {}", login.username.text),
        RegistryCredentials::Client => "client".to_owned(),
        RegistryCredentials::Helper(program) => format!("helper {}", program.text),
        RegistryCredentials::Ecr(ecr) => {
            format!("ecr {}", ecr.profile.as_ref().map_or("", |profile| &profile.text))
        }
    };
    let mut tenants = Vec::new();
    for config::UpstreamTenant { users, credentials } in &config.tenants {
        let like = config::RegistryUpstream {
            credentials: credentials.clone(),
            tenants: Vec::new(),
            ..config.clone()
        };
        tenants.push((users.clone(), Arc::new(upstream(&like, registry, allow_private)?)));
    }
    let mirrors = config.mirrors.iter().map(|url| mirror(url, allow_private));
    Ok(RegistryUpstream {
        tenants,
        mirrors: mirrors.collect::<Result<_, _>>()?,
        id: format!("{}\n{whose}", name.text),
        name: name.text.clone(),
        scheme,
        host,
        prefix: prefix.map(|(_, prefix)| format!("{prefix}/")).unwrap_or_default(),
        recognises,
        tokens: Tokens::new(realm),
        counts: UpstreamCounts::default(),
    })
}

/// `https://host`, perhaps with what stands before each repository there.
fn mirror(url: &Text, allow_private: &[IpNet]) -> Result<UpstreamMirror, Invalid> {
    let at = url.text.find("://").map_or(0, |at| at + 3);
    let end = url.text.get(at..).and_then(|rest| rest.find('/')).map(|end| at + end);
    let (site, path) = url.text.split_at_checked(end.unwrap_or(url.text.len())).unwrap_or_default();
    let path = path.trim_matches('/');
    if !path.is_empty() && !is_repository(path) {
        let what = format!("`{path}` is no beginning of repositories");
        return Err(url.invalid(what, "such as `https://mirror.example/hub`; `/v2` is left out"));
    }
    let site = Text { text: site.to_owned(), place: url.place.clone() };
    let Origin { scheme, host } = origin(&site, allow_private)?;
    let slash = if path.is_empty() { "" } else { "/" };
    Ok(UpstreamMirror::new(RegistryUpstream {
        name: String::new(),
        scheme,
        host,
        prefix: format!("{path}{slash}"),
        recognises: Recognises::Nobody,
        id: String::new(),
        tenants: Vec::new(),
        mirrors: Vec::new(),
        tokens: Tokens::new(None),
        counts: UpstreamCounts::default(),
    }))
}

/// Keys for Amazon's APIs sign, they are not sent: in clear only tokens would be told, to whom the operator names.
fn amazon(
    ecr: &EcrCredentials,
    config: &config::RegistryUpstream,
    host: &str,
    allow_private: &[IpNet],
) -> Result<Ecr, Invalid> {
    let region = match &ecr.region {
        Some(region) if !is_region(&region.text) => {
            return Err(
                region.invalid(format!("`{}` is no region", region.text), "such as `eu-west-1`")
            );
        }
        region => region.as_ref().map(|region| region.text.as_str()),
    };
    let site = match (EcrSite::of(host), region) {
        (Some(site), Some(region)) if site.region != region => {
            let place = ecr.region.as_ref().unwrap_or(&config.url);
            return Err(place.invalid(
                format!("`{host}` is in region `{}`", site.region),
                "leave out `region`",
            ));
        }
        (Some(site), _) => site,
        (None, Some(region)) => {
            EcrSite::elsewhere(region).ok_or_else(|| config.url.invalid("it has no region", ""))?
        }
        (None, None) => {
            let what = format!("`{host}` is no registry of Amazon's by its name");
            return Err(config.url.invalid(what, "say `region` in `credentials`"));
        }
    };
    if config.create_repository && site.is_public {
        return Err(config.url.invalid("`create_repository` is not for the public registry", ""));
    }
    let at = |url: &Option<Text>| {
        let made = url.as_ref().map(|url| origin(url, allow_private)).transpose()?;
        Ok::<_, Invalid>(made.map(|Origin { scheme, host }| (scheme, host)))
    };
    Ok(Ecr::new(EcrSettings {
        api: at(&ecr.endpoint)?,
        sts: at(&ecr.sts_endpoint)?,
        site,
        profile: ecr.profile.as_ref().map(|profile| profile.text.clone()),
        creates: config.create_repository,
    }))
}

/// A password that is for TLS is not told to another site in clear.
fn realm_of(
    realm: &Text,
    of: Scheme,
    allow_private: &[IpNet],
) -> Result<(Scheme, String), Invalid> {
    let Origin { scheme, host } = origin(realm, allow_private)?;
    if scheme == Scheme::Http && of == Scheme::Https {
        let what = format!("`{}` would hear in clear what is for `https`", realm.text);
        return Err(realm.invalid(what, "use `https://host`"));
    }
    Ok((scheme, host))
}

fn rule(config: &config::RegistryRule) -> Result<AccessRule, Invalid> {
    let mut complaints = Complaints::default();
    let repositories =
        config.repositories.iter().filter_map(|text| complaints.note(Pattern::of(text)));
    let repositories = repositories.collect();
    let (actions, users) = (config.actions.clone(), config.users.clone());
    complaints.or(AccessRule { repositories, actions, users, allow: config.allow })
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amazons(url: &str, credentials: EcrCredentials, create: bool) -> Result<String, String> {
        let config = config::RegistryUpstream {
            name: Text::from(""),
            url: Text::from(url),
            prefix: None,
            realm: None,
            mirrors: Vec::new(),
            credentials: RegistryCredentials::Ecr(credentials.clone()),
            create_repository: create,
            tenants: Vec::new(),
        };
        let host = url.trim_start_matches("https://");
        let made = amazon(&credentials, &config, host, &[]);
        made.map(|ecr| format!("{ecr:?}")).map_err(|why| why.to_string())
    }

    fn region(text: &str) -> EcrCredentials {
        EcrCredentials { region: Some(Text::from(text)), ..EcrCredentials::default() }
    }

    const PRIVATE: &str = "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com";

    #[test]
    fn a_mirror_is_an_origin_perhaps_with_a_path() {
        let of = |url: &str| {
            let made = mirror(&Text::from(url), &[]);
            made.map(|one| (one.at.host, one.at.prefix)).map_err(|why| why.to_string())
        };
        let is = |host: &str, prefix: &str| Ok((host.to_owned(), prefix.to_owned()));
        assert_eq!(of("https://m.example"), is("m.example", ""));
        assert_eq!(of("https://m.example:8443/"), is("m.example:8443", ""));
        assert_eq!(of("http://m.example/a/b/"), is("m.example", "a/b/"));
        for (url, wanted) in [
            ("m.example", "is not an origin"),
            ("https://m.example/A", "is no beginning of repositories"),
            ("https://m.example/a?b", "is no beginning of repositories"),
            ("https://10.0.0.1", "is not a public address"),
        ] {
            let why = of(url).unwrap_err();
            assert!(why.contains(wanted), "{url}: {why}");
        }
    }

    #[test]
    fn where_amazons_api_is_its_host_says_or_the_operator() {
        let own = amazons(PRIVATE, EcrCredentials::default(), true).unwrap();
        assert!(own.contains("\"api.ecr.eu-west-1.amazonaws.com\""), "{own}");
        assert!(amazons(PRIVATE, region("eu-west-1"), false).is_ok());
        let named = amazons("https://ecr.example", region("cn-north-1"), true).unwrap();
        assert!(named.contains("\"api.ecr.cn-north-1.amazonaws.com.cn\""), "{named}");
        let endpoint = Some(Text::from("http://127.0.0.1:5000"));
        let local = EcrCredentials { endpoint, ..region("eu-west-1") };
        for (url, credentials, create, wanted) in [
            (PRIVATE, region("us-east-1"), false, "is in region `eu-west-1`"),
            (PRIVATE, region("Eu/1"), false, "`Eu/1` is no region"),
            ("https://ecr.example", EcrCredentials::default(), false, "say `region`"),
            (
                "https://public.ecr.aws",
                EcrCredentials::default(),
                true,
                "not for the public registry",
            ),
            (PRIVATE, local, false, "allow_private"),
        ] {
            let said = amazons(url, credentials, create).unwrap_err();
            assert!(said.contains(wanted), "{said}");
        }
    }
}
