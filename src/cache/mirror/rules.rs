//! CacheRules for resources, by host and path: `policies/cache-rules.toml`, understood.
//!
//! `Http` asks for the rule of each request; the first of the file that fits holds. What must stay true:
//! a search costs one pass over the path, however many rules there are.

use std::path::Path;
use std::time::Duration;

use http::Method;
use regex::bytes::{Regex, RegexSet};

use super::read;
use crate::cache::hosts::HostSet;
use crate::cache::route::RequestTarget;
use crate::config::{File, Invalid};

/// What `extends` may name, and what is compiled in.
pub(super) const BUILTIN: &str = include_str!("../../../policies/cache-rules.toml");

#[derive(Debug)]
pub struct CacheRules {
    pub(super) rules: Vec<Rule>,
    /// Every pattern of every rule, in the rules' order.
    pub(super) patterns: RegexSet,
    /// Of each pattern: its rule.
    pub(super) rule_of: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Rule {
    pub name: String,
    /// Elsewhere the rule says nothing, or, for artifacts, less.
    pub hosts: HostSet,
    pub methods: Vec<Method>,
    pub treat: Treatment,
    pub stale: Option<Duration>,
    pub stale_if_error: Option<Duration>,
    pub negative: Option<Duration>,
    pub follow: bool,
    pub share_authorized: bool,
    pub query: Query,
    /// The patterns that hold what the body's SHA-256 is to be.
    pub digests: Vec<Regex>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    Artifact {
        /// On other hosts than the rule's it has heuristic freshness.
        elsewhere: bool,
    },
    Metadata {
        ttl: Option<Duration>,
        heuristic: bool,
    },
    Restricted,
    PassThrough,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Query {
    Kept,
    Ignored,
}

#[derive(Debug)]
pub(super) struct RuleMatch<'r> {
    pub rule: &'r Rule,
    /// Whether the host is one of the rule's.
    pub is_known: bool,
    pub sha256: Option<[u8; 32]>,
}

impl CacheRules {
    /// The rules that are compiled in.
    pub fn builtin() -> Result<CacheRules, Invalid> {
        CacheRules::parse(BUILTIN, Path::new("policies/cache-rules.toml"))
    }

    pub fn load(file: &File) -> Result<CacheRules, Invalid> {
        let text = String::from_utf8(file.read()?)
            .map_err(|_| file.invalid(format!("`{}` is not UTF-8", file.path.display()), ""))?;
        CacheRules::parse(&text, &file.path)
    }

    /// `path` stands in complaints.
    pub fn parse(text: &str, path: &Path) -> Result<CacheRules, Invalid> {
        read::rules(text, path)
    }

    /// The rules that say something of files also where their hosts are not known.
    pub fn ecosystems(&self) -> impl Iterator<Item = &str> {
        let is_one = |rule: &&Rule| matches!(rule.treat, Treatment::Artifact { elsewhere: true });
        self.rules.iter().filter(is_one).map(|rule| rule.name.as_str())
    }

    /// `host` is where the resource comes from.
    pub(super) fn find(&self, asked: &RequestTarget<'_>, host: &str) -> Option<RuleMatch<'_>> {
        let matched = self.patterns.matches(asked.path.as_bytes());
        matched.iter().find_map(|pattern| {
            let rule = self.rules.get(*self.rule_of.get(pattern)?)?;
            let is_known = rule.hosts.name(host);
            let is_for = is_known || matches!(rule.treat, Treatment::Artifact { elsewhere: true });
            let holds = is_for && rule.methods.contains(asked.method);
            holds.then(|| RuleMatch { rule, is_known, sha256: rule.digest_in(asked.path) })
        })
    }
}

impl Rule {
    fn digest_in(&self, path: &str) -> Option<[u8; 32]> {
        self.digests.iter().find_map(|pattern| {
            let found = pattern.captures(path.as_bytes())?.name("sha256")?;
            let mut digest = [0; 32];
            for (byte, pair) in digest.iter_mut().zip(found.as_bytes().chunks(2)) {
                *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
            }
            Some(digest)
        })
    }
}
