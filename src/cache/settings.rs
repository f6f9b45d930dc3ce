//! `[cache.NAME]` in terms of the cache: hosts, origins, rules and authorities, read and understood.
//!
//! `run` makes them before a cache starts, and `dockgate check` stops here. What must stay true: no
//! network; what can be wrong with a file or a name that the configuration gives is found here.

use std::net::{IpAddr, Ipv4Addr};

use std::sync::Arc;

use http::Uri;
use ipnet::IpNet;
use rustls::pki_types::CertificateDer;

use super::by_path::{ByPath, OwnNames, Registries, Site};
use super::fresh;
use super::hosts::{HostSet, Pattern};
use super::intercept::{Fingerprint, NoFingerprint};
use super::key::Scheme;
use super::mirror::{CacheRules, Http, Origin};
use super::registry::RegistrySettings;
use super::target::host_key;
use super::upstream::credentials::OriginCredentials;
use crate::config::{Authorization, Cache, CacheListen, Complaints, Invalid, PathMirror, Text};

mod credentials;

pub(super) use credentials::login_of;

#[derive(Debug)]
pub struct Understood {
    /// What may be target for; also where redirects may lead.
    pub domains: HostSet,
    /// The mirror of last resort.
    pub http: Arc<Http>,
    /// Registries below paths of the cache's own.
    pub by_path: Option<Arc<ByPath>>,
    /// What makes a registry of it.
    pub registry: Option<Arc<RegistrySettings>>,
    pub next_hop: Option<Uri>,
    /// What some origins are shown.
    pub credentials: Vec<Arc<OriginCredentials>>,
    /// Kinds of clients that are never intercepted.
    pub never_intercept: Vec<Fingerprint>,
    /// Trusted beside the system's authorities.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

impl Understood {
    pub fn of(config: &Cache) -> Result<Understood, Invalid> {
        let mut complaints = Complaints::default();
        let rules = match &config.rules {
            Some(file) => CacheRules::load(file),
            None => CacheRules::builtin(),
        };
        let rules = complaints.note(rules);
        let ecosystems = rules.as_ref().map(|rules| ecosystems(&config.ecosystems, rules));
        let ecosystems = ecosystems.and_then(|all| complaints.note(all)).unwrap_or_default();
        let domains = config.domains.iter().map(pattern);
        let asked_for = config.origins.iter().map(|(host, _)| named_host(host));
        let patterns: Vec<Pattern> =
            domains.chain(asked_for).filter_map(|one| complaints.note(one)).collect();
        let origins: Vec<(String, Origin)> = config
            .origins
            .iter()
            .filter_map(|(host, url)| {
                let origin = complaints.note(origin(url, &config.allow_private))?;
                Some((host, origin))
            })
            .flat_map(|(host, origin)| keys(host).map(move |key| (key, origin.clone())))
            .collect();
        for (host, _) in &config.origins {
            complaints.note(can_be_asked(host, config));
        }
        let extra_roots = match &config.upstream_ca {
            Some(file) => complaints.note(file.certificates()).unwrap_or_default(),
            None => Vec::new(),
        };
        if let Some(tls) = &config.tls {
            complaints.note(tls.cert.certificates());
            complaints.note(tls.key.private_key());
        }
        let never = config.never_intercept.iter().map(|text| {
            let hint = "as in the line that tells of a refusal";
            text.text.parse().map_err(|error: NoFingerprint| text.invalid(error, hint))
        });
        let never_intercept: Vec<_> = never.filter_map(|one| complaints.note(one)).collect();
        let next_hop = config.next_hop.as_ref().and_then(|url| complaints.note(uri(url)));
        let credentials = complaints.note(credentials::read(config)).unwrap_or_default();
        let general = fresh::FreshnessRules {
            share_authorized: config.authorization == Authorization::Rfc9111,
            // They were found to be names of fields before.
            targeted: config.targeted.iter().filter_map(|name| name.parse().ok()).collect(),
            ..fresh::FreshnessRules::default()
        };
        let registries =
            config.mirror.as_ref().map(|mirror| registries(mirror, &config.allow_private));
        let registries = registries.and_then(|registries| complaints.note(registries));
        let registry = config.registry.as_ref().and_then(|registry| {
            complaints.note(RegistrySettings::of(registry, &config.allow_private))
        });
        complaints.or(())?;
        // Without a complaint there are rules.
        let rules = rules.map_or_else(CacheRules::builtin, Ok)?;
        let http =
            Arc::new(Http::new(rules, general, origins).guessing().with_ecosystems(ecosystems));
        let by_path = registries.map(|(named, registries)| {
            let own = OwnNames { named, ports: config.listen.iter().filter_map(port).collect() };
            Arc::new(ByPath::new(own, registries, Arc::clone(&http)))
        });
        let domains = patterns.into_iter().collect();
        Ok(Understood {
            domains,
            http,
            by_path,
            registry,
            next_hop,
            credentials,
            never_intercept,
            extra_roots,
        })
    }
}

/// What `[cache.NAME.mirror]` says, and the names in it for the cache itself.
fn registries(
    config: &PathMirror,
    allow_private: &[IpNet],
) -> Result<(HostSet, Registries), Invalid> {
    let mut complaints = Complaints::default();
    let named = config.hosts.iter().filter_map(|host| complaints.note(named_host(host)));
    let named = named.collect();
    let mut sites = |urls: &[Text]| -> Vec<Site> {
        let site = |url| complaints.note(site(url, allow_private));
        urls.iter().filter_map(site).collect()
    };
    let (pypi, npm, crates) = (sites(&config.pypi), sites(&config.npm), sites(&config.crates));
    let (deb, mut files) = (sites(&config.deb), sites(&config.files));
    let first = |sites: &Vec<Site>| sites.first().cloned();
    let registries = Registries {
        pypi: first(&pypi),
        npm: first(&npm),
        crates: first(&crates),
        deb,
        files: {
            files.extend([pypi, npm, crates].into_iter().flatten());
            files
        },
    };
    complaints.or(())?;
    Ok((named, registries))
}

/// An origin, perhaps with a path.
fn site(url: &Text, allow_private: &[IpNet]) -> Result<Site, Invalid> {
    let at = url.text.find("://").map_or(0, |at| at + 3);
    let end =
        url.text.get(at..).and_then(|rest| rest.find('/')).map_or(url.text.len(), |end| at + end);
    let (site, path) = url.text.split_at_checked(end).unwrap_or((&url.text, ""));
    let path = path.trim_end_matches('/');
    let is_path = |byte: u8| byte.is_ascii_graphic() && !b"?#%\\".contains(&byte);
    if !path.bytes().all(is_path) || path.contains("/.") || path.contains("//") {
        return Err(url.invalid(format!("`{}` has a path that cannot be", url.text), ""));
    }
    let site = Text { text: site.to_owned(), place: url.place.clone() };
    let Origin { scheme, host } = origin(&site, allow_private)?;
    Ok(Site { scheme, host, path: path.to_owned() })
}

fn port(listen: &CacheListen) -> Option<u16> {
    listen.address()?.rsplit_once(':')?.1.parse().ok()
}

/// Each is the name of a rule that says something of files elsewhere.
fn ecosystems(named: &[Text], rules: &CacheRules) -> Result<Vec<String>, Invalid> {
    let mut complaints = Complaints::default();
    for name in named {
        if !rules.ecosystems().any(|known| known == name.text) {
            let known: Vec<String> = rules.ecosystems().map(|known| format!("`{known}`")).collect();
            let what = format!("there is no ecosystem `{}` in the rules", name.text);
            let hint = format!("there are {}", known.join(", "));
            complaints.note::<()>(Err(name.invalid(what, hint)));
        }
    }
    complaints.or(())?;
    Ok(named.iter().map(|name| name.text.clone()).collect())
}

fn pattern(domain: &Text) -> Result<Pattern, Invalid> {
    Pattern::parse(&domain.text).ok_or_else(|| {
        let hint = "such as `example.com`, `*.example.com`, `example.com:8080` or `*`";
        domain.invalid(format!("`{}` is not a host", domain.text), hint)
    })
}

/// A host with an origin of its own: one name, without a star.
fn named_host(host: &Text) -> Result<Pattern, Invalid> {
    let bad = || host.invalid(format!("`{}` is not a host", host.text), "such as `example.com`");
    match host.text.contains('*') {
        true => Err(bad()),
        false => Pattern::parse(&host.text).ok_or_else(bad),
    }
}

/// Who asks a port of ours names it: a port that nothing listens on is never named. (A name without one
/// may be behind something that listens on 80 and 443 for us; a forward proxy is asked for any.)
fn can_be_asked(host: &Text, config: &Cache) -> Result<(), Invalid> {
    let behind = host.text.rsplit_once(']').map_or(host.text.as_str(), |(_, behind)| behind);
    let named = behind.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    // Of all, where all of them are known.
    let ports: Option<Vec<u16>> = config.listen.iter().map(port).collect();
    match (named, ports) {
        (Some(named), Some(ports)) if !config.forward && !ports.contains(&named) => {
            let what =
                format!("nobody can ask for `{}`: nothing in `listen` has its port", host.text);
            let hint = "the port is the one that clients ask the cache by";
            Err(host.invalid(what, hint))
        }
        _ => Ok(()),
    }
}

/// How a host may stand in a key: a scheme's own port is left out.
fn keys(host: &Text) -> impl Iterator<Item = String> {
    let of = |scheme| host_key(&host.text, scheme).ok();
    let (http, https) = (of(Scheme::Http), of(Scheme::Https));
    let other = https.filter(|https| Some(https) != http.as_ref());
    http.into_iter().chain(other)
}

pub(super) fn origin(url: &Text, allow_private: &[IpNet]) -> Result<Origin, Invalid> {
    let bad = || {
        let hint = "use `http://host:port` or `https://host:port`, without a path";
        url.invalid(format!("`{}` is not an origin", url.text), hint)
    };
    let (scheme, rest) = match url.text.split_once("://") {
        Some(("http", rest)) => (Scheme::Http, rest),
        Some(("https", rest)) => (Scheme::Https, rest),
        _ => return Err(bad()),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let host = host_key(rest, scheme).map_err(|_| bad())?;
    match address_of(&host).filter(|address| is_private(*address)) {
        Some(address) if !allow_private.iter().any(|network| network.contains(&address)) => {
            let what = format!("`{}` is not a public address", url.text);
            Err(url.invalid(what, format!("add `allow_private = [\"{address}\"]` beside `listen`")))
        }
        _ => Ok(Origin { scheme, host }),
    }
}

fn address_of(host: &str) -> Option<IpAddr> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    };
    if name == "localhost" {
        return Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    name.trim_matches(['[', ']']).parse().ok()
}

/// What is surely refused later: `upstream` knows all of it.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified()
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.is_unspecified()
        }
    }
}

fn uri(url: &Text) -> Result<Uri, Invalid> {
    url.text.parse().map_err(|_| url.invalid("this is not an address of a proxy", ""))
}

#[cfg(test)]
mod tests;
