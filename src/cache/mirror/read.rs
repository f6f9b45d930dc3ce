//! A file of rules as it is written: TOML, with the place of each word.
//!
//! What must stay true: an unknown key, a value that makes no sense and a key that would do nothing are
//! complaints with line and column, all at once; `extends` puts the file's own rules before the built-in
//! ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use http::Method;
use regex::bytes::{Regex, RegexBuilder, RegexSetBuilder};
use serde::Deserialize;
use toml::Spanned;

use super::glob;
use super::rules::{BUILTIN, CacheRules, Query, Rule, Treatment};
use crate::cache::hosts::{HostSet, Pattern};
use crate::config::{Complaints, Invalid, Place, SourceText};

/// A missing file may appear at any time.
const LONGEST_NEGATIVE: Duration = Duration::from_secs(3600);
/// Of an automaton; the built-in rules need a small part of it.
const MOST_BYTES: usize = 16 << 20;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawFile {
    extends: Option<Spanned<String>>,
    hosts: BTreeMap<String, Vec<Spanned<String>>>,
    rule: Vec<RawRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    name: Spanned<String>,
    hosts: Option<Vec<Spanned<String>>>,
    paths: Spanned<Vec<Spanned<String>>>,
    methods: Option<Vec<Spanned<String>>>,
    kind: Option<Spanned<String>>,
    elsewhere: Option<Spanned<String>>,
    ttl: Option<Spanned<String>>,
    revalidate: Option<Spanned<String>>,
    heuristic: Option<Spanned<bool>>,
    stale: Option<Spanned<String>>,
    stale_if_error: Option<Spanned<String>>,
    negative: Option<Spanned<String>>,
    #[serde(default)]
    follow: bool,
    share_authorized: Option<Spanned<bool>>,
    query: Option<Spanned<String>>,
    verify: Option<Spanned<String>>,
}

pub(super) fn rules(text: &str, path: &Path) -> Result<CacheRules, Invalid> {
    let mut reading = Reading::of(path, text);
    let mut file = reading.file()?;
    let mut builtin = None;
    if let Some(extends) = &file.extends {
        match extends.get_ref().as_str() {
            "builtin" => {
                let path = Path::new("policies/cache-rules.toml");
                let reading = Reading::of(path, BUILTIN);
                builtin = Some((reading.file()?, reading));
            }
            _ => reading.complaints.add(extends, "must be `builtin`", ""),
        }
    }
    if let Some((builtin, _)) = &builtin {
        for (group, hosts) in &builtin.hosts {
            // A place in another file: nothing is wrong with those.
            file.hosts.entry(group.clone()).or_default().extend(hosts.iter().cloned());
        }
    }
    let groups = reading.groups(&file.hosts);
    let mut all: Vec<(Rule, Vec<Regex>)> = Vec::new();
    for raw in &file.rule {
        if all.iter().any(|(rule, _)| rule.name == *raw.name.get_ref()) {
            let what = format!("two rules are named `{}`", raw.name.get_ref());
            reading.complaints.add(&raw.name, what, "");
        }
        all.extend(reading.rule(raw, &groups));
    }
    reading.complaints.or(())?;
    if let Some((builtin, mut reading)) = builtin {
        for raw in &builtin.rule {
            if !all.iter().any(|(rule, _)| rule.name == *raw.name.get_ref()) {
                all.extend(reading.rule(raw, &groups));
            }
        }
        reading.complaints.or(())?;
    }
    assemble(all).map_err(|what| Invalid::at(&Place::in_file(path), what, "use fewer patterns"))
}

fn assemble(all: Vec<(Rule, Vec<Regex>)>) -> Result<CacheRules, regex::Error> {
    let (mut rules, mut patterns, mut rule_of) = (Vec::new(), Vec::new(), Vec::new());
    for (index, (rule, of_rule)) in all.into_iter().enumerate() {
        rules.push(rule);
        rule_of.extend(of_rule.iter().map(|_| index));
        patterns.extend(of_rule.iter().map(|pattern| pattern.as_str().to_owned()));
    }
    let patterns = RegexSetBuilder::new(patterns).unicode(false).size_limit(MOST_BYTES).build()?;
    Ok(CacheRules { rules, patterns, rule_of })
}

struct Reading<'r> {
    text: &'r str,
    source: SourceText<'r>,
    complaints: Complaints<'r>,
}

impl<'r> Reading<'r> {
    fn of(path: &'r Path, text: &'r str) -> Reading<'r> {
        let source = SourceText::new(path, text);
        Reading { text, source, complaints: Complaints::about(source) }
    }

    fn file(&self) -> Result<RawFile, Invalid> {
        toml::from_str(self.text).map_err(|error| self.source.malformed(&error))
    }

    fn groups(
        &mut self,
        raw: &BTreeMap<String, Vec<Spanned<String>>>,
    ) -> BTreeMap<String, Vec<Pattern>> {
        let group = |(name, hosts): (&String, &Vec<Spanned<String>>)| {
            let hosts = hosts.iter().filter_map(|host| self.host(host)).collect();
            (name.clone(), hosts)
        };
        raw.iter().map(group).collect()
    }

    fn host(&mut self, host: &Spanned<String>) -> Option<Pattern> {
        let pattern = Pattern::parse(host.get_ref());
        if pattern.is_none() {
            let what = format!("`{}` is not a host", host.get_ref());
            self.complaints.add(host, what, "such as `example.com`, `*.example.com` or `*`");
        }
        pattern
    }

    fn rule(
        &mut self,
        raw: &RawRule,
        groups: &BTreeMap<String, Vec<Pattern>>,
    ) -> Option<(Rule, Vec<Regex>)> {
        self.check_keys(raw);
        let patterns: Vec<Regex> =
            raw.paths.get_ref().iter().filter_map(|path| self.pattern(path)).collect();
        if raw.paths.get_ref().is_empty() {
            self.complaints.add(
                &raw.paths,
                "no paths: the rule says nothing",
                "`/**` is every path",
            );
        }
        let is_verified = raw.verify.is_some();
        let holds_digest = |pattern: &&Regex| pattern.capture_names().flatten().next().is_some();
        if let Some(verify) = &raw.verify {
            if verify.get_ref() != "sha256" {
                self.complaints.add(verify, "must be `sha256`", "");
            } else if !patterns.iter().all(|pattern| holds_digest(&pattern)) {
                self.complaints.add(verify, "a path without `<sha256>` says nothing to verify", "");
            }
        }
        let rule = Rule {
            name: raw.name.get_ref().clone(),
            hosts: self.hosts(raw, groups),
            methods: self.methods(raw),
            treat: self.treat(raw)?,
            stale: self.duration(raw.stale.as_ref()),
            stale_if_error: self.duration(raw.stale_if_error.as_ref()),
            negative: self.negative(raw),
            follow: raw.follow,
            share_authorized: raw.share_authorized.as_ref().is_some_and(|share| *share.get_ref()),
            query: self.query(raw),
            digests: patterns
                .iter()
                .filter(|one| is_verified && holds_digest(one))
                .cloned()
                .collect(),
        };
        Some((rule, patterns))
    }

    /// A key that another one makes void is a mistake.
    fn check_keys(&mut self, raw: &RawRule) {
        let kind = raw.kind.as_ref().map_or("metadata", |kind| kind.get_ref().as_str());
        let durations = [
            ("ttl", &raw.ttl, &["metadata"][..]),
            ("revalidate", &raw.revalidate, &["metadata"]),
            ("stale", &raw.stale, &["metadata"]),
            ("stale_if_error", &raw.stale_if_error, &["metadata"]),
            ("negative", &raw.negative, &["metadata", "artifact"]),
            ("elsewhere", &raw.elsewhere, &["artifact"]),
            ("query", &raw.query, &["metadata", "artifact"]),
            ("verify", &raw.verify, &["artifact"]),
        ];
        for (key, value, kinds) in durations {
            if let Some(value) = value
                && !kinds.contains(&kind)
            {
                self.complaints.add(
                    value,
                    format!("`{key}` does nothing for `kind = \"{kind}\"`"),
                    "",
                );
            }
        }
        let flags = [
            ("heuristic", &raw.heuristic, &["metadata"][..]),
            ("share_authorized", &raw.share_authorized, &["metadata", "artifact"]),
        ];
        for (key, value, kinds) in flags {
            if let Some(value) = value
                && !kinds.contains(&kind)
            {
                self.complaints.add(
                    value,
                    format!("`{key}` does nothing for `kind = \"{kind}\"`"),
                    "",
                );
            }
        }
        if let (Some(ttl), Some(_)) = (&raw.ttl, &raw.revalidate) {
            self.complaints.add(ttl, "`ttl` and `revalidate` contradict each other", "");
        }
        if let (Some(heuristic), true) =
            (&raw.heuristic, raw.ttl.is_some() || raw.revalidate.is_some())
        {
            self.complaints.add(
                heuristic,
                "`heuristic` does nothing beside `ttl` or `revalidate`",
                "",
            );
        }
    }

    fn treat(&mut self, raw: &RawRule) -> Option<Treatment> {
        let Some(kind) = &raw.kind else { return Some(self.metadata(raw)) };
        match kind.get_ref().as_str() {
            "metadata" => Some(self.metadata(raw)),
            "artifact" => {
                if let Some(elsewhere) = &raw.elsewhere {
                    if elsewhere.get_ref() != "heuristic" {
                        self.complaints.add(elsewhere, "must be `heuristic`", "");
                    }
                    if raw.hosts.is_none() {
                        let what = "`elsewhere` does nothing for a rule of all hosts";
                        self.complaints.add(elsewhere, what, "");
                    }
                }
                Some(Treatment::Artifact { elsewhere: raw.elsewhere.is_some() })
            }
            "pass" => Some(Treatment::PassThrough),
            other => {
                let what = format!("`{other}` is not a kind of resource");
                self.complaints.add(kind, what, "`metadata`, `artifact` or `pass`");
                None
            }
        }
    }

    fn metadata(&mut self, raw: &RawRule) -> Treatment {
        let ttl = match &raw.revalidate {
            Some(revalidate) => {
                if revalidate.get_ref() != "always" {
                    self.complaints.add(revalidate, "must be `always`", "");
                }
                Some(Duration::ZERO)
            }
            None => self.duration(raw.ttl.as_ref()),
        };
        let heuristic = raw.heuristic.as_ref().is_some_and(|heuristic| *heuristic.get_ref());
        Treatment::Metadata { ttl, heuristic }
    }

    fn pattern(&mut self, path: &Spanned<String>) -> Option<Regex> {
        let made = glob::expression(path.get_ref()).and_then(|expression| {
            let mut builder = RegexBuilder::new(&expression);
            builder
                .unicode(false)
                .size_limit(MOST_BYTES)
                .build()
                .map_err(|_| "is too large, or has `<sha256>` twice".to_owned())
        });
        match made {
            Ok(pattern) => Some(pattern),
            Err(what) => {
                let what = format!("`{}`: {what}", path.get_ref());
                self.complaints.add(path, what, "such as `/**/pool/**/*.{deb,dsc}`");
                None
            }
        }
    }

    fn hosts(&mut self, raw: &RawRule, groups: &BTreeMap<String, Vec<Pattern>>) -> HostSet {
        let Some(hosts) = &raw.hosts else { return HostSet::any() };
        let mut all = Vec::new();
        for host in hosts {
            match host.get_ref().strip_prefix('@').map(|group| groups.get(group)) {
                None => all.extend(self.host(host)),
                Some(Some(group)) => all.extend(group.iter().cloned()),
                Some(None) => {
                    let what = format!("there is no group `{}` in `[hosts]`", host.get_ref());
                    self.complaints.add(host, what, "");
                }
            }
        }
        all.into_iter().collect()
    }

    fn methods(&mut self, raw: &RawRule) -> Vec<Method> {
        let Some(given) = &raw.methods else { return vec![Method::GET, Method::HEAD] };
        let mut methods = Vec::new();
        for one in given {
            let method = Method::from_bytes(one.get_ref().as_bytes()).ok();
            let is_stored = matches!(method, Some(Method::GET | Method::HEAD));
            let passes = raw.kind.as_ref().is_some_and(|kind| kind.get_ref() == "pass");
            match method {
                Some(method) if is_stored || passes => methods.push(method),
                _ => {
                    let what = format!("answers to `{}` are not stored", one.get_ref());
                    self.complaints.add(
                        one,
                        what,
                        "other methods than `GET` and `HEAD` are for `kind = \"pass\"`",
                    );
                }
            }
        }
        methods
    }

    fn negative(&mut self, raw: &RawRule) -> Option<Duration> {
        let negative = self.duration(raw.negative.as_ref());
        if let (Some(given), Some(longest)) = (&raw.negative, negative)
            && longest > LONGEST_NEGATIVE
        {
            self.complaints.add(given, "what is missing may appear: at most `1h`", "");
        }
        negative
    }

    fn query(&mut self, raw: &RawRule) -> Query {
        match raw.query.as_ref().map(|query| (query, query.get_ref().as_str())) {
            None | Some((_, "keep")) => Query::Kept,
            Some((_, "ignore")) => Query::Ignored,
            Some((query, _)) => {
                self.complaints.add(query, "must be `keep` or `ignore`", "");
                Query::Kept
            }
        }
    }

    fn duration(&mut self, given: Option<&Spanned<String>>) -> Option<Duration> {
        let given = given?;
        let duration = humantime::parse_duration(given.get_ref()).ok();
        if duration.is_none() {
            let what = format!("`{}` is not a duration", given.get_ref());
            self.complaints.add(given, what, "such as `30s` or `5m`");
        }
        duration
    }
}
