//! `[[registry.NAME.push_rule]]`: what is demanded of pushes.
//!
//! What must stay true: a demand that cannot be read is a complaint, and never one that always holds; what goes to an
//! outside program beyond loopback goes over TLS.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;

use super::super::Text;
use super::super::push::{Hook, PushPolicy, PushRule};
use super::super::raw::push as raw;
use super::super::units;
use super::Checking;

const POLICY_TIME: Duration = Duration::from_millis(100);
const HOOK_TIME: Duration = Duration::from_secs(10);

impl Checking<'_> {
    pub(super) fn push_rules(&mut self, raw: Vec<Spanned<raw::PushRule>>) -> Vec<PushRule> {
        let mut rules: Vec<PushRule> = Vec::new();
        for (at, raw) in raw.into_iter().enumerate() {
            let span = raw.span();
            let rule = self.push_rule(at, raw.into_inner());
            if rules.iter().any(|other| other.name == rule.name) {
                let what = format!("there is another push rule `{}`", rule.name);
                self.complaints.add(span.clone(), what, "");
            }
            let (name, repositories, users) =
                (rule.name.clone(), rule.repositories.clone(), rule.users.clone());
            if rule == (PushRule { name, repositories, users, ..PushRule::default() }) {
                let hint =
                    "such as `tags`, `immutable`, `max_size`, `require_labels`, `policy`, `hook`";
                self.complaints.add(span, "this rule demands and changes nothing", hint);
            }
            rules.push(rule);
        }
        rules
    }

    fn push_rule(&mut self, at: usize, raw: raw::PushRule) -> PushRule {
        let name = match &raw.name {
            Some(name) => self.text(name),
            None => (at + 1).to_string(),
        };
        let timeout = raw.policy_timeout.as_ref().filter(|_| raw.policy.is_none());
        if let Some(timeout) = timeout {
            self.complaints.add(timeout.span(), "`policy_timeout` is for `policy`", "");
        }
        let timeout = self.duration(raw.policy_timeout, POLICY_TIME);
        let policy = raw.policy.map(|file| PushPolicy { file: self.file(&file), timeout });
        PushRule {
            name,
            repositories: raw.repositories.map(|all| self.all_placed(&all)),
            users: self.some_texts(raw.users),
            tags: self.some_texts(raw.tags),
            immutable: self.some_texts(raw.immutable).unwrap_or_default(),
            media_types: self.some_texts(raw.media_types),
            platforms: self.platforms(raw.platforms),
            max_size: self.push_size(raw.max_size.as_ref()),
            max_layer_size: self.push_size(raw.max_layer_size.as_ref()),
            max_layers: raw.max_layers.map(|most| self.size(Some(most), 1)),
            max_age: raw.max_age.map(|age| self.duration(Some(age), Duration::ZERO)),
            require_labels: self.label_texts(raw.require_labels),
            forbid_labels: self.some_texts(raw.forbid_labels).unwrap_or_default(),
            base_layers: raw.base_layers.map(|all| self.all_placed(&all)),
            forbidden_layers: self.all_placed(&raw.forbidden_layers.unwrap_or_default()),
            set_annotations: self.annotations(raw.set_annotations),
            rewrite_tag: raw.rewrite_tag.map(|tag| self.placed(&tag)),
            policy,
            hook: raw.hook.map(|hook| self.hook(hook.into_inner())),
        }
    }

    fn some_texts(&mut self, raw: Option<Vec<Spanned<String>>>) -> Option<Vec<String>> {
        raw.map(|all| all.iter().map(|one| self.text(one)).collect())
    }

    fn all_placed(&mut self, raw: &[Spanned<String>]) -> Vec<Text> {
        raw.iter().map(|one| self.placed(one)).collect()
    }

    fn label_texts(
        &mut self,
        raw: Option<BTreeMap<String, Spanned<String>>>,
    ) -> BTreeMap<String, String> {
        let raw = raw.unwrap_or_default().into_iter();
        raw.map(|(name, value)| (name, self.text(&value))).collect()
    }

    fn annotations(
        &mut self,
        raw: Option<BTreeMap<String, Spanned<String>>>,
    ) -> BTreeMap<String, Text> {
        let raw = raw.unwrap_or_default().into_iter();
        raw.map(|(name, value)| (name, self.placed(&value))).collect()
    }

    fn platforms(&mut self, raw: Option<Vec<Spanned<String>>>) -> Option<Vec<String>> {
        for one in raw.iter().flatten() {
            if !matches!(one.get_ref().split('/').count(), 2 | 3) {
                let what = format!("`{}` is no platform", one.get_ref());
                self.complaints.add(one.span(), what, "such as `linux/amd64` or `linux/arm/v7`");
            }
        }
        self.some_texts(raw)
    }

    fn push_size(&mut self, raw: Option<&Spanned<String>>) -> Option<u64> {
        let raw = raw?;
        let text = self.text(raw);
        let size = units::bytes(&text).and_then(|size| u64::try_from(size).ok());
        if size.is_none() {
            let what = format!("`{text}` is no size");
            self.complaints.add(raw.span(), what, "such as `500m` or `2g`");
        }
        size
    }

    fn hook(&mut self, raw: raw::Hook) -> Hook {
        let url = self.text(&raw.url);
        let host = url.strip_prefix("http://").map(|rest| rest.split(['/', ':']).next());
        if host.is_some_and(|host| !matches!(host, Some("127.0.0.1" | "localhost"))) {
            let what = format!("`{url}`: an outside program is asked over `https://`");
            self.complaints.add(raw.url.span(), what, "or on loopback, or a unix socket");
        }
        if let Some(ca) = raw.ca.as_ref().filter(|_| !url.starts_with("https://")) {
            self.complaints.add(ca.span(), "`ca` is for `https://`", "");
        }
        if let Some(base) = &raw.base
            && !base.get_ref().contains("://")
        {
            let what = "`base` is what stands before `/v2/…`";
            self.complaints.add(base.span(), what, "such as `https://registry.example:5000`");
        }
        let base = raw.base.as_ref().map(|base| self.text(base)).unwrap_or_default();
        Hook {
            url: self.placed(&raw.url),
            timeout: self.duration(raw.timeout, HOOK_TIME),
            ca: raw.ca.map(|ca| self.file(&ca)),
            base: base.trim_end_matches('/').to_owned(),
        }
    }
}
