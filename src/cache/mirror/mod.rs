//! The generic mirror, `http`: any host's resources as HTTP has them, and what a file of rules adds.
//!
//! `serve` asks it last of all mirrors. What must stay true: it knows no ecosystem, only rules; and
//! without a rule a route says no more than RFC 9111.

mod glob;
mod read;
mod rules;

use std::collections::HashMap;
use std::time::Duration;

use super::asker;
use super::fresh;
use super::key::{Key, Scheme};
use super::route::{Fetch, Kind, Mirror, RequestTarget, Route};
pub use rules::CacheRules;
use rules::{Query, Rule, Treatment};

#[derive(Debug)]
pub struct Http {
    rules: CacheRules,
    general: fresh::FreshnessRules,
    /// Where the resources of some hosts really are.
    origins: HashMap<Box<str>, Origin>,
    /// Rules whose files are kept for a while also of hosts that nobody knows and that say nothing of them.
    ecosystems: Vec<String>,
    /// Whether what no rule is about has heuristic freshness.
    guesses: bool,
}

/// How long a file with a version in its name is fresh that its host says nothing of.
const UNDATED: Duration = Duration::from_secs(60 * 60);
/// The same for what no rule is about and that says when it changed: it may be an index.
const LONGEST_GUESS: Duration = Duration::from_secs(5 * 60);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub scheme: Scheme,
    /// As in `Key`.
    pub host: String,
}

impl Http {
    /// `general` holds for what no rule says otherwise of; `origins` by host as in `Key`.
    pub fn new(
        rules: CacheRules,
        general: fresh::FreshnessRules,
        origins: impl IntoIterator<Item = (String, Origin)>,
    ) -> Http {
        let origins = origins.into_iter().map(|(host, origin)| (host.into(), origin)).collect();
        Http { rules, general, origins, ecosystems: Vec::new(), guesses: false }
    }

    /// With the names of rules that say what to do with their files elsewhere.
    pub fn with_ecosystems(self, ecosystems: Vec<String>) -> Http {
        Http { ecosystems, ..self }
    }

    /// With heuristic freshness, for some minutes, of what no rule is about.
    pub fn guessing(self) -> Http {
        Http { guesses: true, ..self }
    }

    /// Whether the resources of this host are somewhere else.
    pub fn has_origin(&self, host: &str) -> bool {
        self.origins.contains_key(host)
    }

    /// Where the resource is: the rules are about that host.
    fn origin<'a>(&'a self, asked: &RequestTarget<'a>) -> (Scheme, &'a str) {
        match self.origins.get(asked.host) {
            Some(origin) => (origin.scheme, &origin.host),
            None => (asked.scheme, asked.host),
        }
    }
}

impl Mirror for Http {
    fn route(&self, asked: &RequestTarget<'_>) -> Option<Route> {
        let (scheme, host) = self.origin(asked);
        let found = self.rules.find(asked, host);
        let rule = found.as_ref().map(|found| found.rule);
        let ignores_query = rule.is_some_and(|rule| rule.query == Query::Ignored);
        let is_known = found.as_ref().is_some_and(|found| found.is_known);
        let (kind, mut rules) = self.freshness(rule, is_known);
        // What is asked for with credentials may be anything: its origin says how long, or nobody.
        let is_shared = !asker::says_who(asked.headers);
        if self.guesses && is_shared && rule.is_none() {
            rules.heuristic = true;
            rules.heuristic_most = LONGEST_GUESS;
        }
        let is_listed = rule.is_some_and(|rule| self.ecosystems.contains(&rule.name));
        if is_listed && !is_known && is_shared {
            rules.heuristic_undated = UNDATED;
        }
        let key = Key {
            partition: asked.partition,
            scheme: asked.scheme,
            host: asked.host.into(),
            path: asked.path.into(),
            query: asked.query.filter(|_| !ignores_query).map(Into::into),
        };
        let target = match asked.query {
            Some(query) => format!("{}?{query}", asked.path),
            None => asked.path.to_owned(),
        };
        Some(Route {
            key,
            kind,
            failed: None,
            source: Fetch { scheme, host: host.to_owned(), target },
            verify: found.as_ref().and_then(|found| found.sha256),
            rewrite: None,
            headers: None,
            rules,
            negative: rule.and_then(|rule| rule.negative),
            follow: rule.is_some_and(|rule| rule.follow),
        })
    }
}

impl Http {
    fn freshness(&self, rule: Option<&Rule>, is_known: bool) -> (Kind, fresh::FreshnessRules) {
        let mut rules = self.general.clone();
        let Some(rule) = rule else { return (GENERAL, rules) };
        rules.share_authorized |= rule.share_authorized;
        if let Some(stale) = rule.stale {
            rules.stale_while_revalidate = stale;
        }
        if let Some(stale) = rule.stale_if_error {
            rules.stale_if_error = stale;
        }
        let kind = match rule.treat {
            Treatment::PassThrough => Kind::PassThrough,
            Treatment::Restricted => Kind::Restricted,
            Treatment::Artifact { .. } if is_known => Kind::Artifact,
            Treatment::Artifact { .. } => {
                rules.heuristic = true;
                GENERAL
            }
            Treatment::Metadata { ttl, heuristic } => {
                rules.heuristic |= heuristic;
                Kind::Metadata { ttl, stale: rule.stale.unwrap_or_default() }
            }
        };
        (kind, rules)
    }
}

/// What RFC 9111 says and nothing else.
const GENERAL: Kind = Kind::Metadata { ttl: None, stale: Duration::ZERO };

#[cfg(test)]
mod tests;
