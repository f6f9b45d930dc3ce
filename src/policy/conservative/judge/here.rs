//! Where the judge stands in a call, and what becomes of the value that it has in hand.
//!
//! Predicates and their helpers come here. What must stay true: of what exists nothing is changed; nothing is changed
//! before nothing speaks against the call.

use super::{Correction, Edit, Judge, PathStep};
use crate::api::Endpoint;
use crate::api::doc::{self, Value};
use crate::policy::edit::Segment;

impl<'j> Judge<'j> {
    /// The body that is judged.
    pub(in crate::policy::conservative) fn whole_body(&self) -> Option<&'j Value> {
        self.body
    }

    /// Puts a mount in the place of the bind or mount that is judged.
    pub(in crate::policy::conservative) fn mount_here(&mut self, mount: Value) {
        match self.path.last() {
            _ if self.is_made => {}
            Some(PathStep::Index(index)) if self.path.iter().any(|step| step.is("Binds")) => {
                self.corrections.push(Correction::Mount(*index, mount));
            }
            _ => self.edit(Edit::Body(self.own_path(), Some(mount))),
        }
    }

    /// The value at a key of what is judged, once it is allowed.
    pub(in crate::policy::conservative) fn put_here(&mut self, key: &'static str, value: Value) {
        if !self.is_made {
            let mut steps = self.own_path();
            steps.push(Segment::Key(key.into()));
            self.edit(Edit::Body(steps, Some(value)));
        }
    }

    /// The key of the body's field that is judged, and what it stands in.
    pub(in crate::policy::conservative) fn field_here(&self) -> Option<(&'j str, &'j Value)> {
        let (last, way) = self.path.split_last()?;
        let PathStep::Key(field) = last else { return None };
        let around = way.iter().try_fold(self.body?, |value, step| match step {
            PathStep::Key(key) | PathStep::Each(key) => value.get(key),
            PathStep::Index(index) => value.items().get(*index),
            PathStep::Query(_) | PathStep::Header(_) | PathStep::Name(_) => None,
        })?;
        Some((field, around))
    }

    /// Puts another text in the place of the value that is judged, once it is allowed.
    pub(in crate::policy::conservative) fn replace_here(
        &mut self,
        key: Option<&'static str>,
        text: String,
    ) {
        if self.is_made {
            return;
        }
        let mut steps = self.own_path();
        steps.extend(key.map(|key| Segment::Key(key.into())));
        self.edit(Edit::Body(steps, Some(Value::String(text))));
    }

    /// Whether what the call makes has the name in it. Clients take a `404` to a create for a missing image, and pull.
    pub(in crate::policy::conservative) fn is_named_in_a_whole(&self) -> bool {
        self.is_made
            || [Endpoint::ContainerCreate, Endpoint::ImageBuild]
                .iter()
                .any(|one| one.id() == self.operation)
    }

    pub(in crate::policy::conservative) fn edit(&mut self, edit: Edit) {
        self.corrections.push(Correction::Edit(edit));
    }

    pub(in crate::policy::conservative) fn drop_here(&mut self) {
        let steps = self.own_path();
        self.edit(Edit::Body(steps, None));
    }

    pub(in crate::policy::conservative) fn own_path(&self) -> Vec<Segment> {
        let own = |step: &PathStep<'_>| match step {
            PathStep::Key(key) | PathStep::Each(key) => {
                Some(Segment::Key((*key).to_owned().into()))
            }
            PathStep::Index(index) => Some(Segment::Index(*index)),
            PathStep::Query(_) | PathStep::Header(_) | PathStep::Name(_) => None,
        };
        self.path.iter().filter_map(own).collect()
    }

    /// Where the judge stands, as messages say it.
    pub(in crate::policy::conservative) fn here(&self) -> String {
        let step = |step: &PathStep<'_>| match step {
            PathStep::Key(key) | PathStep::Each(key) => doc::clipped(key).into_owned(),
            PathStep::Index(index) => index.to_string(),
            PathStep::Query(name) => format!("?{name}"),
            PathStep::Header(name) => format!("header `{name}`"),
            PathStep::Name(name) => format!("`{}`", doc::clipped(name)),
        };
        self.path.iter().map(step).collect::<Vec<_>>().join(".")
    }

    /// Where the judge stands, as files of rules say it.
    pub(in crate::policy::conservative) fn place(&self) -> String {
        let step = |step: &PathStep<'j>| match step {
            PathStep::Key(key) => Some(*key),
            PathStep::Each(_) | PathStep::Index(_) => Some("*"),
            PathStep::Query(name) | PathStep::Header(name) => Some(*name),
            PathStep::Name(_) => None,
        };
        self.path.iter().filter_map(step).collect::<Vec<_>>().join(".")
    }
}
