//! A push rule, ready: whom and what it is for, what it demands, asks and changes.
//!
//! `settings` makes them of the configuration. What must stay true: what can be known to be wrong with one is a complaint
//! before anything is pushed.

use super::changes::{Changes, filled, template_is_wrong};
use super::demands::Demands;
use super::facts::Pushed;
use super::hook::Hook;
use super::wild::Wild;
use crate::auth::Identity;
use crate::cache::registry::name::{Digest, Pattern};
use crate::cache::registry::rules::is_among;
use crate::config::{self, Complaints, Invalid, Text};
use crate::policy::{OwnRules, own_rules};

#[derive(Debug)]
pub(in crate::cache::registry) struct PushRule {
    pub(super) name: String,
    /// None: all.
    repositories: Option<Vec<Pattern>>,
    users: Option<Vec<String>>,
    pub(super) demands: Demands,
    pub(super) immutable: Vec<Wild>,
    annotations: Vec<(String, String)>,
    tag: Option<String>,
    pub(super) policy: Option<Box<dyn OwnRules>>,
    pub(super) hook: Option<Hook>,
}

impl PushRule {
    pub(in crate::cache::registry) fn of(config: &config::PushRule) -> Result<PushRule, Invalid> {
        let mut complaints = Complaints::default();
        let repositories = config.repositories.as_ref().map(|all| {
            let patterns = all.iter().filter_map(|text| complaints.note(Pattern::of(text)));
            patterns.collect()
        });
        let layers = config.base_layers.iter().flatten().chain(&config.forbidden_layers);
        for layer in layers.filter(|layer| Digest::parse(&layer.text).is_none()) {
            let what = format!("`{}` is no digest of a layer", layer.text);
            complaints.note::<()>(Err(layer.invalid(what, "`sha256:` and 64 hexadecimal digits")));
        }
        for template in config.set_annotations.values().chain(&config.rewrite_tag) {
            complaints.note(is_template(template));
        }
        let policy = config.policy.as_ref().and_then(|policy| complaints.note(own_rules(policy)));
        let hook = config.hook.as_ref().and_then(|hook| complaints.note(Hook::new(hook)));
        let annotations = config.set_annotations.iter();
        complaints.or(PushRule {
            name: config.name.clone(),
            repositories,
            users: config.users.clone(),
            demands: Demands::of(config),
            immutable: Wild::all(&config.immutable),
            annotations: annotations
                .map(|(name, text)| (name.clone(), text.text.clone()))
                .collect(),
            tag: config.rewrite_tag.as_ref().map(|tag| tag.text.clone()),
            policy,
            hook,
        })
    }

    pub(super) fn is_for(&self, who: &Identity, repository: &str) -> bool {
        let repositories = self.repositories.as_ref();
        let groups: Vec<&str> = who.groups().iter().map(String::as_str).collect();
        is_among(self.users.as_deref(), who.user(), &groups)
            && repositories.is_none_or(|all| all.iter().any(|one| one.matches(repository)))
    }

    pub(super) fn needs_config(&self) -> bool {
        self.demands.need_config() || self.policy.is_some() || self.hook.is_some()
    }

    /// What the configuration says is changed; with the field that cannot be filled.
    pub(super) fn changes(&self, pushed: &Pushed) -> Result<Changes, (&'static str, String)> {
        if pushed.tag.is_none() {
            return Ok(Changes::default());
        }
        let mut changes = Changes::default();
        for (name, template) in &self.annotations {
            let value = filled(template, pushed).map_err(|why| ("set_annotations", why))?;
            changes.annotations.insert(name.clone(), value);
        }
        let tag = self.tag.as_ref().map(|template| filled(template, pushed)).transpose();
        changes.tag = tag.map_err(|why| ("rewrite_tag", why))?;
        Ok(changes)
    }
}

fn is_template(text: &Text) -> Result<(), Invalid> {
    match template_is_wrong(&text.text) {
        None => Ok(()),
        Some(what) => {
            let hint = "there are `{tag}`, `{user}`, `{repository}`, `{registry}` and `{digest}`";
            Err(text.invalid(what, hint))
        }
    }
}
