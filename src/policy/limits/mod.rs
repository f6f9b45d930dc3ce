//! `limits`: how much a container may have, what every one is given, and what it is marked with.
//!
//! In a chain behind `conservative`, or alone. What must stay true: whatever is let through stays within
//! the caps by every spelling of it, and what would mean "unlimited" is set or refused, never passed on.

mod cpus;
mod endpoints;
mod log;
mod marks;
mod memory;
mod network;
mod numbers;
mod restart;
mod rules;
mod sheet;
mod strip;
mod tmpfs;
mod ulimits;
mod words;

use super::{Context, Policy, Reason, Verdict};
use crate::api::Typed;
use crate::api::doc::Value;
use crate::api::query::Query;
use crate::config::LimitsPolicy;
use endpoints::Makes;
use rules::Rules;
use sheet::Sheet;

#[derive(Debug)]
pub struct Limits {
    name: String,
    settings: LimitsPolicy,
}

impl Limits {
    pub fn new(name: &str, settings: &LimitsPolicy) -> Limits {
        Limits { name: name.to_owned(), settings: settings.clone() }
    }
}

impl Policy for Limits {
    fn name(&self) -> &str {
        &self.name
    }

    fn request(&self, call: &mut Typed, cx: &Context<'_>) -> Verdict {
        let makes = endpoints::makes(call.endpoint());
        if makes == Makes::Nothing {
            return Verdict::Continue;
        }
        let rules = Rules::of(&self.settings, cx);
        if let Some(question) = cpus::asks(&rules, call, makes) {
            return Verdict::Ask(vec![question]);
        }
        let mut reasons = Vec::new();
        for judged in judge(&rules, call, makes) {
            reasons.extend(judged.err());
        }
        if reasons.is_empty() { Verdict::Continue } else { Verdict::Deny(reasons) }
    }

    fn strip(&self, made: &mut Value, _: &Context<'_>) {
        let groups = self.settings.groups.iter().map(|(_, rules)| rules);
        for rules in groups.chain(self.settings.users.values()).chain([&self.settings.general]) {
            strip::strip(made, rules);
        }
    }
}

type Judged = Result<(), Reason>;

fn judge(rules: &Rules<'_>, call: &mut Typed, makes: Makes) -> Vec<Judged> {
    let path = call.row().path;
    let name = call.names().first().cloned().unwrap_or_default();
    match makes {
        Makes::Nothing => Vec::new(),
        Makes::Service => vec![rules.no_services(path)],
        Makes::Endpoint => vec![network::connect(rules, &name)],
        Makes::Build => build(rules, call.query_mut()),
        Makes::Container => body(call, |root| create(rules, root)),
        Makes::Update => body(call, |root| update(rules, root, &name)),
        Makes::Exec => {
            body(call, |root| vec![marks::env(rules, root, true), words::exec(rules, root)])
        }
        Makes::Volume => {
            body(call, |root| vec![marks::labels(rules, root), tmpfs::volume(rules, root)])
        }
        Makes::Network => body(call, |root| vec![marks::labels(rules, root)]),
    }
}

/// Without a body there is nothing to make, and the engine says so.
fn body(call: &mut Typed, judge: impl FnOnce(&mut Value) -> Vec<Judged>) -> Vec<Judged> {
    call.doc_mut().map(|doc| judge(&mut doc.root)).unwrap_or_default()
}

fn build(rules: &Rules<'_>, query: &mut Query) -> Vec<Judged> {
    let mut judged = resources(rules, &mut Sheet::Build(query));
    judged.extend([
        words::build(rules, query),
        network::build(rules, query),
        marks::build_labels(rules, query),
    ]);
    judged
}

fn create(rules: &Rules<'_>, root: &mut Value) -> Vec<Judged> {
    let mut judged = resources(rules, &mut Sheet::Create(root));
    judged.extend([
        tmpfs::create(rules, root),
        words::create(rules, root),
        network::create(rules, root),
        marks::labels(rules, root),
        marks::env(rules, root, false),
        log::create(rules, root),
        restart::create(rules, root),
    ]);
    judged
}

fn update(rules: &Rules<'_>, root: &mut Value, container: &str) -> Vec<Judged> {
    cpus::respell(rules, root, container);
    let mut judged = resources(rules, &mut Sheet::Update(root));
    judged.extend([words::update(rules, root), restart::update(rules, root)]);
    judged
}

fn resources(rules: &Rules<'_>, sheet: &mut Sheet<'_>) -> Vec<Judged> {
    vec![
        memory::judge(rules, sheet),
        cpus::judge(rules, sheet),
        numbers::pids(rules, sheet),
        numbers::shm(rules, sheet),
        numbers::blkio(rules, sheet),
        ulimits::judge(rules, sheet),
    ]
}

#[cfg(test)]
mod tests;
