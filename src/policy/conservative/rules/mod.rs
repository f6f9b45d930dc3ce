//! The rules of a file such as `policies/conservative.toml`, understood.
//!
//! `Rules::builtin` and `Rules::load` make them at the start; `judge` follows them with each call. What must
//! stay true: what a file does not name is not in here, and so refused; every name in a file is one of the
//! endpoint tables.

mod allowed;
mod page;
mod read;
mod shared;
mod tree;
mod write;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use crate::api::doc::Value;
use crate::api::endpoint::Resource;
use crate::api::shape::Kind;
use crate::api::{Endpoint, container};
use crate::config::{File, Invalid};
use crate::policy::Name;
use crate::policy::named::each_field;

pub(super) use allowed::{Allowed, Pattern, Scalar};
use read::{BUILTIN, Raw};
pub(super) use write::quote;

#[derive(Debug)]
pub struct Rules {
    pub(super) operations: BTreeMap<Endpoint, Operation>,
    pub(super) refused: BTreeMap<Endpoint, Refusal>,
    /// Not allowed themselves, but what exists is judged by them: those that `only` left out.
    judging: BTreeMap<Endpoint, Operation>,
    /// What the mounts of a container that there is may be: its `Binds` or its `Mounts`.
    pub(super) mounts_of_made: Option<Rule>,
}

/// What may be said with one operation.
#[derive(Debug, Default)]
pub(super) struct Operation {
    /// Of the first thing that the path names.
    pub path: Option<PathRule>,
    pub query: Vec<(&'static str, Rule)>,
    pub headers: Vec<(&'static str, Rule)>,
    pub body: Node,
    /// Where the body gets a value when it has none.
    pub fills: Vec<(Vec<&'static str>, Value)>,
    /// What the engine takes where the client says nothing, with the rule of that place.
    pub absent_query: Vec<(&'static str, &'static str, Rule)>,
    pub absent_body: Vec<Absent>,
    /// Keys from the root of the answer; `*` for every element.
    pub redact: Vec<Vec<String>>,
}

#[derive(Debug)]
pub(super) struct Absent {
    pub path: Vec<&'static str>,
    pub means: &'static str,
    pub rule: Rule,
}

#[derive(Debug)]
pub(super) enum PathRule {
    /// It could have been made here.
    Own,
    /// The same, but what it refers to may be gone: to stop it or to remove it.
    OwnToEnd,
    Is(Rule),
}

/// One place in a body, and what is below it.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub rule: Option<Rule>,
    /// By name, sorted; of a map of texts, what is said of a key.
    pub fields: Vec<(Cow<'static, str>, Node)>,
    /// Every element of a list, every value of a map.
    pub each: Option<Box<Node>>,
}

#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// Stable, such as `container.privileged`; empty for what allows everything.
    pub id: String,
    pub must: Requirement,
    /// What is allowed, in a sentence that goes on from the field's name.
    pub why: String,
    pub hint: String,
}

#[derive(Clone, Debug)]
pub(super) enum Requirement {
    BeAnything,
    /// Whatever it is, it is not sent.
    BeDropped,
    BeZero,
    /// Not even an empty list.
    BeNull,
    /// One of these; for a list or a map, every element.
    Be(Vec<Allowed>),
}

/// Why an operation is not allowed at all.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub id: String,
    pub why: String,
    pub hint: String,
}

impl Rules {
    /// The rules that are compiled in.
    pub fn builtin() -> Result<Rules, Invalid> {
        tree::grow(Raw::builtin()?)
    }

    fn text(file: &File) -> Result<String, Invalid> {
        String::from_utf8(file.read()?)
            .map_err(|_| file.invalid(format!("`{}` is not UTF-8", file.path.display()), ""))
    }

    /// By which rules something is judged that this operation makes: also where the operation itself is
    /// not allowed, as long as no file refuses it by name.
    pub(super) fn making(&self, endpoint: Endpoint) -> Option<&Operation> {
        self.operations.get(&endpoint).or_else(|| self.judging.get(&endpoint))
    }

    /// What the rules of a container or a build have by name.
    pub(super) fn names(&self) -> Vec<Name> {
        let mut names = Vec::new();
        let mut note = |resource, field: &str, rule: Option<&Rule>| {
            let Some(Rule { must: Requirement::Be(allowed), .. }) = rule else { return };
            let texts = allowed.iter().flat_map(|one| match one {
                Allowed::OneOf(items) => items.as_slice(),
                _ => &[],
            });
            let texts = texts.filter_map(Scalar::as_str);
            names.extend(texts.filter_map(|text| Name::of_field(resource, field, text)));
        };
        if let Some(create) = self.making(Endpoint::ContainerCreate) {
            each_field(Kind::Object(container::CREATE), &mut |path, resource| {
                let node = path.iter().try_fold(&create.body, |node, name| node.field(name));
                note(
                    resource,
                    path.last().unwrap_or(&""),
                    node.and_then(|node| node.rule.as_ref()),
                );
            });
        }
        if let Some(build) = self.operations.get(&Endpoint::ImageBuild) {
            let rule = build.query.iter().find(|(name, _)| *name == "networkmode");
            note(Resource::Network, "networkmode", rule.map(|(_, rule)| rule));
        }
        names
    }

    /// `path` stands in complaints.
    pub(super) fn parse(text: &str, path: &Path) -> Result<Rules, Invalid> {
        tree::grow(Raw::parse(text, path)?)
    }
}

impl Rule {
    /// Whether nothing at all is not enough.
    pub(super) fn demands(&self) -> bool {
        let demands =
            |one: &Allowed| matches!(one, Allowed::FiltersWith(_) | Allowed::EngineDefault);
        matches!(&self.must, Requirement::Be(allowed) if allowed.iter().any(demands))
    }
}

impl Node {
    pub(super) fn field(&self, name: &str) -> Option<&Node> {
        let index = self.fields.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        self.fields.get(index).map(|(_, node)| node)
    }

    /// Whether what is below is judged one by one.
    pub(super) fn looks_inside(&self) -> bool {
        !self.fields.is_empty() || self.each.is_some()
    }
}

#[cfg(test)]
mod tests;
