//! `[cache.NAME]` in terms of the cache: hosts, origins, rules and authorities, read and understood.
//!
//! `run` makes them before a cache starts, and `dockgate check` stops here. What must stay true: no
//! network; what can be wrong with a file or a name that the configuration gives is found here.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::{HeaderName, Uri};
use ipnet::IpNet;

use super::asked::host_key;
use super::hosts::{Hosts, Pattern};
use super::key::Scheme;
use super::mirror::{Http, Origin, Rules};
use super::route::Mirror;
use super::{Settings, fresh, store, upstream};
use crate::config::{Authorization, Cache, Invalid, Text};

/// All that a cache is made of, before anything is opened.
#[derive(Debug)]
pub struct Plan {
    pub settings: Settings,
    pub mirrors: Vec<Arc<dyn Mirror>>,
    pub upstream: upstream::Settings,
    pub store: store::Settings,
}

impl Plan {
    /// `id` is what `Via` and `CDN-Loop` name this gateway by. Proxies are the environment's business.
    pub fn of(config: &Cache, id: &str) -> Result<Plan, Invalid> {
        let mut complaints = Invalid::default();
        let rules = match &config.rules {
            Some(file) => Rules::load(file),
            None => Rules::builtin(),
        };
        let rules = note(&mut complaints, rules);
        let domains = config.domains.iter().map(pattern);
        let domains: Hosts = domains.filter_map(|one| note(&mut complaints, one)).collect();
        let mut origins = Vec::new();
        for (host, url) in &config.origins {
            let keys = note(&mut complaints, keys(host)).unwrap_or_default();
            if let Some(origin) = note(&mut complaints, origin(url, &config.allow_private)) {
                origins.extend(keys.into_iter().map(|key| (key, origin.clone())));
            }
        }
        let extra_roots = match &config.upstream_ca {
            Some(file) => note(&mut complaints, file.certificates()).unwrap_or_default(),
            None => Vec::new(),
        };
        if let Some(tls) = &config.tls {
            note(&mut complaints, tls.cert.certificates());
            note(&mut complaints, tls.key.private_key());
        }
        let next_hop = config.next_hop.as_ref().and_then(|url| note(&mut complaints, uri(url)));
        complaints.or(())?;
        let settings = Settings {
            domains,
            origins: origins.iter().map(|(host, _)| host.clone()).collect(),
            forward: config.forward,
            offline: config.offline,
            memory: config.memory,
            tenants: config
                .tenants
                .iter()
                .map(|(net, name)| (*net, name.as_str().into()))
                .collect(),
            id: id.to_owned(),
        };
        // Without a complaint there are rules.
        let rules = rules.map_or_else(Rules::builtin, Ok)?;
        Ok(Plan {
            settings,
            mirrors: vec![Arc::new(Http::new(rules, general(config), origins))],
            upstream: upstream::Settings {
                id: id.to_owned(),
                next_hop,
                extra_roots,
                allow_private: config.allow_private.clone(),
                per_host: config.connections_per_host,
                ..upstream::Settings::default()
            },
            store: store::Settings {
                dir: config.dir.clone(),
                size: config.size,
                free: config.free,
                fsync: config.fsync,
            },
        })
    }
}

fn general(config: &Cache) -> fresh::Rules {
    let targeted = config.targeted.iter();
    fresh::Rules {
        share_authorized: config.authorization == Authorization::Rfc9111,
        targeted: targeted.filter_map(|name| HeaderName::try_from(name).ok()).collect(),
        ..fresh::Rules::default()
    }
}

fn note<T>(complaints: &mut Invalid, result: Result<T, Invalid>) -> Option<T> {
    result.map_err(|invalid| complaints.extend(invalid)).ok()
}

fn pattern(domain: &Text) -> Result<Pattern, Invalid> {
    Pattern::parse(&domain.text).ok_or_else(|| {
        let hint = "such as `example.com`, `*.example.com`, `example.com:8080` or `*`";
        domain.invalid(format!("`{}` is not a host", domain.text), hint)
    })
}

/// How a host with an origin of its own may stand in a key: a scheme's own port is left out.
fn keys(host: &Text) -> Result<Vec<String>, Invalid> {
    let of = |scheme| {
        let hint = "one name, such as `example.com` or `localhost:8080`";
        host_key(&host.text, scheme)
            .map_err(|_| host.invalid(format!("`{}` is not a host", host.text), hint))
    };
    let mut keys = vec![of(Scheme::Http)?, of(Scheme::Https)?];
    keys.dedup();
    Ok(keys)
}

fn origin(url: &Text, allow_private: &[IpNet]) -> Result<Origin, Invalid> {
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
            Err(url.invalid(what, format!("add `allow_private = [\"{address}\"]`")))
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
