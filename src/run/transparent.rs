//! Transparent caches, as the world has them: an authority for each cache, who its clients are, and new certificates for
//! containers that live longer than an authority.
//!
//! `world` makes them anew with each configuration. What must stay true: what containers trust goes on after a reload; whoever
//! is not known for sure is nobody, and is passed on.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;

use super::jobs::JobHost;
use crate::ca::{Authority, AuthoritySettings, Generation};
use crate::cache::intercept::{Certificates, Clients, InterceptedClient};
use crate::config::{Config, Policy, TransparentCache};
use crate::engine::ContainerAddresses;
use crate::gateway::{Memory, reinstall};
use crate::job::Host as _;

/// How often it is looked whether authorities have changed, at most and at least.
const LOOKS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// In one lifetime of an authority.
const LOOKS_OF_LIFETIME: u32 = 60;

/// Of each cache that containers are sent to.
pub(super) fn authorities(
    config: &Config,
    before: &dyn Fn(&str) -> Option<Arc<Authority>>,
) -> BTreeMap<String, Arc<Authority>> {
    let mut all: BTreeMap<String, AuthoritySettings> = BTreeMap::new();
    for policy in policies(config) {
        let settings = all.entry(policy.cache.clone()).or_insert_with(|| AuthoritySettings {
            domains: Vec::new(),
            crl_base: match policy.address {
                IpAddr::V4(address) => format!("http://{address}"),
                IpAddr::V6(address) => format!("http://[{address}]"),
            },
            lifetime: config.ca.lifetime,
        });
        settings.domains.extend(policy.domains.iter().cloned());
    }
    let made = |(cache, settings): (String, AuthoritySettings)| {
        let authority = match before(&cache) {
            Some(before) => before.changed(settings),
            None => Authority::new(settings),
        };
        (cache, Arc::new(authority))
    };
    all.into_iter().map(made).collect()
}

/// Those of listeners, and those that hold in jobs.
pub(super) fn policies(config: &Config) -> impl Iterator<Item = &TransparentCache> {
    let own = config.listeners.iter().flat_map(|listener| &listener.policies);
    let inside = own.clone().filter_map(Policy::temporary).flat_map(|jobs| &jobs.policies);
    own.chain(inside).filter_map(Policy::transparent)
}

/// Whoever connects to one cache.
#[derive(Debug)]
pub(super) struct CacheClients {
    cache: String,
    memory: Arc<Memory>,
    addresses: Arc<ContainerAddresses>,
}

impl CacheClients {
    pub(super) fn new(
        cache: &str,
        memory: &Arc<Memory>,
        addresses: &Arc<ContainerAddresses>,
    ) -> CacheClients {
        let (memory, addresses) = (Arc::clone(memory), Arc::clone(addresses));
        CacheClients { cache: cache.to_owned(), memory, addresses }
    }
}

impl Clients for CacheClients {
    fn client<'a>(
        &'a self,
        address: IpAddr,
    ) -> Pin<Box<dyn Future<Output = Option<InterceptedClient>> + Send + 'a>> {
        Box::pin(async move {
            // An address of IPv4 on a socket of IPv6 is the same one.
            let container = self.addresses.find(address.to_canonical()).await?;
            let trusting = self.memory.trusting.of(&container, &self.cache)?;
            Some(InterceptedClient {
                container: container.to_string(),
                image: trusting.installed.image.clone(),
                tenant: trusting.installed.owner.as_deref().map(Arc::from),
                is_renewed: trusting.installed.is_renewed,
                certificates: Arc::new(OfGeneration(trusting.generation)),
            })
        })
    }

    fn crl(&self, path: &str) -> Option<Arc<[u8]>> {
        self.memory.trusting.authority(&self.cache)?.crl(path, SystemTime::now())
    }
}

#[derive(Debug)]
struct OfGeneration(Arc<Generation>);

impl Certificates for OfGeneration {
    fn id(&self) -> &str {
        self.0.id()
    }

    fn certificate(&self, server_name: &str) -> Option<Arc<CertifiedKey>> {
        self.0.leaf(server_name, SystemTime::now())
    }
}

/// Containers that are still there when half of an authority's life is over get the next one's certificate, until this
/// process drains.
pub(super) async fn renew(memory: Arc<Memory>, host: Arc<JobHost>, drain: CancellationToken) {
    let (shortest, longest) = LOOKS;
    let renewing = async {
        loop {
            let every = (host.ca_lifetime() / LOOKS_OF_LIFETIME).clamp(shortest, longest);
            tokio::time::sleep(every).await;
            let engine = host.engine();
            for outdated in memory.trusting.outdated() {
                reinstall(&memory, &engine, outdated).await;
            }
        }
    };
    drain.run_until_cancelled(renewing).await;
}
