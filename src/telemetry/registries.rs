//! Numbers of the registries, for a scrape.
//!
//! `caches` puts them on the page behind those of the cache that a registry is. What must stay true: a repository is a
//! label only after a pull of it was answered, and only the first few hundred are.

use std::fmt;

use super::page::Page;

/// One registry, now.
#[derive(Clone, Debug, Default)]
pub struct RegistryNumbers {
    /// By upstream, action and result.
    pub requests: Vec<(String, &'static str, &'static str, u64)>,
    /// Manifests that were given, by repository.
    pub pulls: Vec<(String, u64)>,
    /// Tokens that were asked for, by upstream and result.
    pub tokens: Vec<(String, &'static str, u64)>,
    /// What authenticators said of clients, by their names and result.
    pub authentications: Vec<(String, &'static str, u64)>,
    /// Requests that an upstream has said it will still answer.
    pub remaining: Vec<(String, u64)>,
}

pub(super) fn put(page: &mut Page<'_>, all: &[(&str, &RegistryNumbers)]) -> fmt::Result {
    let requests = all.iter().flat_map(|(name, of)| {
        of.requests.iter().map(move |(upstream, action, result, count)| {
            let labels = [
                ("registry", *name),
                ("upstream", upstream.as_str()),
                ("action", *action),
                ("result", *result),
            ];
            (labels, *count)
        })
    });
    let help = "Requests to a registry that were answered, by what they came to";
    page.counters("dockgate_registry_requests", help, None, requests)?;
    let pulls = all.iter().flat_map(|(name, of)| {
        of.pulls.iter().map(move |(repository, count)| {
            ([("registry", *name), ("repository", repository.as_str())], *count)
        })
    });
    let help = "Manifests that were pulled, by repository";
    page.counters("dockgate_registry_pulls", help, None, pulls)?;
    let tokens = all.iter().flat_map(|(name, of)| {
        of.tokens.iter().map(move |(upstream, result, count)| {
            let labels =
                [("registry", *name), ("upstream", upstream.as_str()), ("result", *result)];
            (labels, *count)
        })
    });
    let help = "Tokens that were asked of upstreams";
    page.counters("dockgate_registry_tokens", help, None, tokens)?;
    let remaining = all.iter().flat_map(|(name, of)| {
        of.remaining.iter().map(move |(upstream, left)| {
            ([("registry", *name), ("upstream", upstream.as_str())], *left)
        })
    });
    let help = "Requests that an upstream will still answer, as it said last";
    page.gauges("dockgate_registry_ratelimit_remaining", help, remaining)
}
