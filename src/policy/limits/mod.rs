//! `limits`: how much a container may have, what every one is given, and what it is marked with.
//!
//! In a chain behind `conservative`, or alone. What must stay true: whatever is let through stays within
//! the caps by every spelling of it, and what would mean "unlimited" is set or refused, never passed on.

mod builds;
mod cpus;
mod frontend;
mod graph;
mod log;
mod marks;
mod memory;
mod network;
mod numbers;
mod published;
mod restart;
mod rules;
mod sheet;
mod strip;
mod tmpfs;
mod ulimits;
mod words;

use super::edit::{self, Edit};
use super::{Context, Name, Policy, Reason, Slot, Verdict};
use crate::api::doc::Value;
use crate::api::endpoint::Makes;
use crate::api::query::Query;
use crate::api::{Endpoint, Typed};
use crate::config::{LimitRules, LimitsPolicy, Word};
use rules::Rules;
use sheet::NumberFields;

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

    fn request(&self, call: &Typed, cx: &Context<'_>) -> Verdict {
        let makes = call.row().makes();
        let rules = Rules::of(&self.settings, cx);
        let asked =
            cpus::asks(&rules, call, makes).or_else(|| published::asks(&rules, call, makes));
        if let Some(question) = asked {
            return Verdict::Ask(vec![question]);
        }
        if let Err(reason) = frontend::held(&rules, call, makes) {
            return Verdict::deny(reason);
        }
        let (judged, edits) = judge(&rules, call, makes);
        let reasons: Vec<_> = judged.into_iter().filter_map(Result::err).collect();
        if reasons.is_empty() { Verdict::Pass(edits) } else { Verdict::Deny(reasons) }
    }

    fn slot(&self, call: &Typed, cx: &Context<'_>) -> Option<Slot> {
        builds::slot(&self.name, &Rules::of(&self.settings, cx), call)
    }

    fn names(&self) -> Vec<Name> {
        let networks = |rules: &LimitRules| {
            let both = [&rules.force.words, &rules.default.words];
            let named = both.into_iter().filter_map(|words| words.get(&Word::Network));
            named.filter_map(Name::of_network_template).collect::<Vec<_>>()
        };
        self.settings.everyone().flat_map(networks).collect()
    }

    fn strip(&self, made: &mut Value, _: &Context<'_>) {
        self.settings.everyone().for_each(|rules| strip::strip(made, rules));
    }
}

type Judged = Result<(), Reason>;

/// What is against the call, and what it is changed to.
fn judge(rules: &Rules<'_>, call: &Typed, makes: Makes) -> (Vec<Judged>, Vec<Edit>) {
    let path = call.row().path;
    let name = call.names().first().cloned().unwrap_or_default();
    let unchanged = |judged| (vec![judged], Vec::new());
    match makes {
        Makes::Nothing | Makes::Image | Makes::Swarm | Makes::Plugin | Makes::Checkpoint => {
            (Vec::new(), Vec::new())
        }
        Makes::Service => unchanged(rules.no_services(path)),
        Makes::Endpoint => unchanged(network::connect(rules, &name)),
        Makes::Running if call.endpoint() == Endpoint::ExecProcess => {
            body(call, |root| frontend::process(rules, root))
        }
        Makes::Running => unchanged(published::start(rules, &name)),
        Makes::Build if call.endpoint() == Endpoint::NewContainer => {
            body(call, |root| frontend::new_container(rules, root))
        }
        Makes::Build if call.endpoint() != Endpoint::ImageBuild => {
            body(call, |root| frontend::solve(rules, call.endpoint(), root))
        }
        Makes::Build => {
            let mut query = call.query().clone();
            let judged = build(rules, &mut query);
            (judged, edit::between_queries(call.query(), &query))
        }
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

/// Without a body there is nothing to make, and the engine says so. The limits are written into a copy, and the edits
/// are what makes the call's own body the same.
fn body(call: &Typed, judge: impl FnOnce(&mut Value) -> Vec<Judged>) -> (Vec<Judged>, Vec<Edit>) {
    let Some(doc) = call.doc() else { return (Vec::new(), Vec::new()) };
    let mut root = doc.root.clone();
    let judged = judge(&mut root);
    (judged, edit::between(&doc.root, root))
}

fn build(rules: &Rules<'_>, query: &mut Query) -> Vec<Judged> {
    let mut judged = resources(rules, &mut NumberFields::Build(query));
    judged.extend([
        words::build(rules, query),
        network::build(rules, query),
        marks::build_labels(rules, query),
    ]);
    judged
}

fn create(rules: &Rules<'_>, root: &mut Value) -> Vec<Judged> {
    let mut judged = resources(rules, &mut NumberFields::Create(root));
    judged.extend([
        tmpfs::create(rules, root),
        words::create(rules, root),
        network::create(rules, root),
        published::create(rules, root),
        marks::labels(rules, root),
        marks::env(rules, root, false),
        log::create(rules, root),
        restart::create(rules, root),
    ]);
    judged
}

fn update(rules: &Rules<'_>, root: &mut Value, container: &str) -> Vec<Judged> {
    cpus::respell(rules, root, container);
    let mut judged = resources(rules, &mut NumberFields::Update(root));
    judged.extend([words::update(rules, root), restart::update(rules, root)]);
    judged
}

fn resources(rules: &Rules<'_>, sheet: &mut NumberFields<'_>) -> Vec<Judged> {
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
