//! `kind = "transparent-cache"` and `[ca]`: which hosts containers find at which cache.
//!
//! Called by `check::policy`, before caches are checked: of them `cache_outlines` knows what is needed here. What must stay
//! true: a container is sent nowhere where nobody listens for what it will ask.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use toml::Spanned;

use super::super::Ca;
use super::super::policy::TransparentCache;
use super::super::raw::{self, cache::Cache as RawCache};
use super::Checking;
use super::policy::RawPolicy;

const LIFETIME: Duration = Duration::from_secs(48 * 3600);
/// Chains of two certificates a minute are what rotation is tested with.
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
const HTTP: u16 = 80;
const HTTPS: u16 = 443;
/// In a hosts file, and in a certificate's name constraints.
const MOST_DOMAINS: usize = 512;

/// What is known of a `[cache.NAME]` before it is checked.
pub(super) struct CacheOutline {
    name: String,
    /// As they are written.
    domains: Vec<String>,
    plain: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
    /// Whether what listens for TLS takes on what clients trust.
    intercepts: bool,
}

pub(super) fn cache_outlines(raw: &BTreeMap<Spanned<String>, RawCache>) -> Vec<CacheOutline> {
    let outline = |(name, cache): (&Spanned<String>, &RawCache)| {
        let listen = cache.listen.as_ref().map(|list| list.get_ref().as_slice());
        let addresses = |scheme: &str, port| {
            let of = |url: &Spanned<String>| address(url.get_ref().strip_prefix(scheme)?, port);
            listen.unwrap_or_default().iter().filter_map(of).collect()
        };
        CacheOutline {
            name: name.get_ref().clone(),
            domains: cache.domains.iter().flatten().map(|one| one.get_ref().clone()).collect(),
            plain: addresses("http://", HTTP),
            tls: addresses("https://", HTTPS),
            intercepts: cache.intercept.is_some(),
        }
    };
    raw.iter().map(outline).collect()
}

fn address(text: &str, port: u16) -> Option<SocketAddr> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let bare = text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    text.parse().ok().or_else(|| Some(SocketAddr::new(bare?, port)))
}

impl CacheOutline {
    fn serves(&self, domain: &str) -> bool {
        self.domains.iter().any(|one| {
            let below = one.strip_prefix("*.").and_then(|zone| domain.strip_suffix(zone));
            one == "*"
                || one.eq_ignore_ascii_case(domain)
                || below.is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        })
    }
}

impl Checking<'_> {
    pub(super) fn transparent(
        &mut self,
        policy: &Spanned<String>,
        raw: RawPolicy,
    ) -> Option<TransparentCache> {
        let Some(given) = raw.cache else {
            let what = format!("`[policy.{}]` needs `cache`", policy.get_ref());
            self.complaints.add(policy.span(), what, "the name of a `[cache.NAME]`");
            return None;
        };
        let name = self.text(&given);
        let caches = std::mem::take(&mut self.caches);
        let found = caches.iter().find(|cache| cache.name == name);
        let settings = match found {
            Some(cache) => self.redirected(policy, &given, raw.domains, raw.address, cache),
            None => {
                let what = format!("there is no `[cache.{name}]`");
                self.complaints.add(given.span(), what, "`cache` names a `[cache.NAME]`");
                None
            }
        };
        self.caches = caches;
        let (domains, address) = settings?;
        let buildkit = raw.buildkit.is_some_and(Spanned::into_inner);
        Some(TransparentCache { cache: name, domains, address, buildkit })
    }

    fn redirected(
        &mut self,
        policy: &Spanned<String>,
        named: &Spanned<String>,
        domains: Option<Spanned<Vec<Spanned<String>>>>,
        address: Option<Spanned<String>>,
        cache: &CacheOutline,
    ) -> Option<(Vec<String>, IpAddr)> {
        let Some(given) = domains.filter(|list| !list.get_ref().is_empty()) else {
            let what = format!("`[policy.{}]` needs `domains`", policy.get_ref());
            let hint = "the hosts that containers are to find at the cache, such as `[\"deb.debian.org\"]`";
            self.complaints.add(policy.span(), what, hint);
            return None;
        };
        if given.get_ref().len() > MOST_DOMAINS {
            let what = format!("`domains` has more than {MOST_DOMAINS} hosts");
            self.complaints.add(given.span(), what, "");
        }
        let mut domains = Vec::new();
        for one in given.get_ref() {
            let domain = self.text(one).to_ascii_lowercase();
            if !is_name(&domain) {
                let hint = "a name of the DNS without `*` and port: a hosts file knows no others";
                self.complaints.add(one.span(), format!("`{domain}` is not a host"), hint);
            } else if !cache.serves(&domain) {
                let what = format!("cache `{}` does not serve `{domain}`", cache.name);
                self.complaints.add(one.span(), what, "name it in the `domains` of the cache too");
            } else if !domains.contains(&domain) {
                domains.push(domain);
            }
        }
        if !cache.intercepts {
            let what = format!("cache `{}` has no `intercept`", cache.name);
            let hint = "what containers ask on port 443 must find somebody: say `intercept = \"on\"` and listen on `https://`";
            self.complaints.add(named.span(), what, hint);
        }
        let address = match address {
            Some(given) => self.reachable(&given),
            None => self.listened_on(named, cache),
        };
        Some((domains, address?))
    }

    fn reachable(&mut self, given: &Spanned<String>) -> Option<IpAddr> {
        let text = self.text(given);
        let address = text.parse().ok().filter(|one: &IpAddr| is_reachable(*one));
        if address.is_none() {
            let what = format!("`{text}` is no address that a container reaches");
            self.complaints.add(given.span(), what, "such as `172.17.0.1`, the bridge's");
        }
        address
    }

    /// The one that it listens on at both ports.
    fn listened_on(&mut self, named: &Spanned<String>, cache: &CacheOutline) -> Option<IpAddr> {
        let at = |all: &[SocketAddr], port| -> Vec<IpAddr> {
            let fit = all.iter().filter(|one| one.port() == port && is_reachable(one.ip()));
            fit.map(SocketAddr::ip).collect()
        };
        let (plain, tls) = (at(&cache.plain, HTTP), at(&cache.tls, HTTPS));
        let both = plain.iter().find(|one| tls.contains(one)).copied();
        if both.is_none() {
            let what = format!(
                "cache `{}` does not listen on ports {HTTP} and {HTTPS} of one address that a container reaches",
                cache.name
            );
            let hint = "such as `listen = [\"http://172.17.0.1:80\", \"https://172.17.0.1:443\"]`; where the host redirects these ports, say `address`";
            self.complaints.add(named.span(), what, hint);
        }
        both
    }

    pub(super) fn ca(&mut self, raw: raw::Ca) -> Ca {
        let at = raw.lifetime.as_ref().map(Spanned::span);
        let lifetime = self.duration(raw.lifetime, LIFETIME);
        if let Some(at) = at.filter(|_| !(SHORTEST..=LONGEST).contains(&lifetime)) {
            self.complaints.add(at, "must be between `1m` and `30d`", "");
        }
        Ca { lifetime }
    }
}

/// Not the host's own loopback, which is another one in each container.
fn is_reachable(address: IpAddr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && !address.is_multicast()
}

/// Labels of the DNS, at least one of which is no number.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253
        && text.split('.').all(is_label)
        && text.bytes().any(|b| b.is_ascii_alphabetic())
}
