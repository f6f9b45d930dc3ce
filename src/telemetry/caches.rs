//! What a scrape tells of the caching proxy.
//!
//! `run` gathers the numbers and gives them to `Metrics::render_with`. What must stay true: the numbers
//! of counters never fall, whatever is reloaded; what becomes a label is bounded in number by who gives
//! it.

use std::fmt;

use prometheus_client::registry::Unit;

use super::page::Page;
use super::registries::{self, RegistryNumbers};

/// One cache, now.
#[derive(Clone, Debug, Default)]
pub struct CacheNumbers {
    pub name: String,
    /// Requests by domain and result.
    pub requests: Vec<(String, &'static str, u64)>,
    /// Body bytes by direction.
    pub bytes: Vec<(&'static str, u64)>,
    pub origin_requests: u64,
    /// By reason.
    pub not_stored: Vec<(String, u64)>,
    pub evicted: u64,
    pub disk_errors: u64,
    pub in_flight: u64,
    pub objects: u64,
    pub stored_bytes: u64,
    pub limit_bytes: u64,
    /// If it is one.
    pub registry: Option<RegistryNumbers>,
}

/// What authenticators of registries have decided; a registry is called as in records of calls.
pub(super) fn authentications(caches: &[CacheNumbers]) -> Vec<(String, &str, &'static str, u64)> {
    let of = |cache: &'_ CacheNumbers| format!("registry {}", cache.name);
    let all = caches.iter().filter_map(|cache| Some((of(cache), cache.registry.as_ref()?)));
    all.flat_map(|(name, registry)| {
        registry
            .authentications
            .iter()
            .map(move |(method, result, count)| (name.clone(), method.as_str(), *result, *count))
    })
    .collect()
}

pub(super) fn put(page: &mut Page<'_>, caches: &[CacheNumbers]) -> fmt::Result {
    let requests = caches.iter().flat_map(|cache| {
        cache.requests.iter().map(|(domain, result, count)| {
            let labels =
                [("cache", cache.name.as_str()), ("domain", domain.as_str()), ("result", *result)];
            (labels, *count)
        })
    });
    let help = "Requests to a cache that have ended, by what they came to";
    page.counters("dockgate_cache_requests", help, None, requests)?;
    let bytes = caches.iter().flat_map(|cache| {
        cache.bytes.iter().map(|(direction, bytes)| {
            ([("cache", cache.name.as_str()), ("direction", *direction)], *bytes)
        })
    });
    let help = "Body bytes: sent to clients, saved of them, fetched from origins, stored of them";
    page.counters("dockgate_cache", help, Some(&Unit::Bytes), bytes)?;
    let not_stored = caches.iter().flat_map(|cache| {
        cache.not_stored.iter().map(|(reason, count)| {
            ([("cache", cache.name.as_str()), ("reason", reason.as_str())], *count)
        })
    });
    let help = "Answers of origins that were not stored, by the reason";
    page.counters("dockgate_cache_not_stored", help, None, not_stored)?;
    let each = |number: fn(&CacheNumbers) -> u64| {
        caches.iter().map(move |cache| ([("cache", cache.name.as_str())], number(cache)))
    };
    let help = "Requests of a cache to origins";
    page.counters("dockgate_cache_origin_requests", help, None, each(|of| of.origin_requests))?;
    let help = "Objects that had to give way to others";
    page.counters("dockgate_cache_evictions", help, None, each(|of| of.evicted))?;
    let help = "Errors of a cache's disk; answers pass by it";
    page.counters("dockgate_cache_disk_errors", help, None, each(|of| of.disk_errors))?;
    let help = "Requests of a cache to origins that are on their way";
    page.gauges("dockgate_cache_in_flight", help, each(|of| of.in_flight))?;
    page.gauges("dockgate_cache_objects", "Objects that are stored", each(|of| of.objects))?;
    let help = "What the objects of a cache take on the disk";
    page.gauges("dockgate_cache_stored_bytes", help, each(|of| of.stored_bytes))?;
    let help = "What they may take";
    page.gauges("dockgate_cache_limit_bytes", help, each(|of| of.limit_bytes))?;
    let registries: Vec<(&str, &RegistryNumbers)> = caches
        .iter()
        .filter_map(|cache| Some((cache.name.as_str(), cache.registry.as_ref()?)))
        .collect();
    registries::put(page, &registries)
}
