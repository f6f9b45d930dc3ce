//! The vocabulary of answers: in which places of them names and ids of which resource stand.
//!
//! Every resource file describes the answers of its routes in these words, beside what it says of
//! requests; `Row::names_in` walks an answer by them. What must stay true: answers are open, so a
//! place that is missing, null or of another kind is passed over and never an error; and the walk
//! is linear in the answer, whatever stands in it.

use std::fmt;
use std::mem;
use std::ops::Range;

use serde_json::Value;

use super::endpoint::{Resource, Row};
use super::grammar::image::{is_image_id, repository};
use super::grammar::mode::NetworkMode;
use super::grammar::mounts::{MountSource, source_of_bind};
use super::grammar::reference::{CONTAINER, Reference};

/// What stands at one place of an answer, and below it.
#[derive(Clone, Copy, Debug)]
pub enum Marks {
    /// Nothing that names anything.
    Nothing,
    /// A string that names a resource.
    Text(Resource, Form),
    /// The keys of a map name a resource.
    Keys(Resource, Form),
    /// An object: only the fields that matter, in the engine's own spelling.
    Fields(&'static [(&'static str, Marks)]),
    /// The elements of a list.
    Each(&'static Marks),
    /// The values of a map.
    Values(&'static Marks),
    /// Several descriptions of one place, applied in order.
    All(&'static [Marks]),
    /// An object in which the text of one field says what the others are.
    When(&'static str, &'static [(&'static str, Marks)]),
}

/// How a name is written into the text around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The text is the name.
    Name,
    /// The text is the id, or the name where the engine keeps what its client wrote.
    NameOrId,
    /// The text is the id.
    Id,
    /// The text is an id where it has all 64 digits of one, and otherwise something else.
    FullId,
    /// The text is an id where it is the first twelve digits of one, and otherwise something else.
    ShortId,
    /// `/name`; `/name/alias` for a link, of which the first part is a container's name.
    Slash,
    /// `repository:tag`, `repository@digest` or an id.
    Image,
    /// `container:name`, as in the modes of namespaces.
    ContainerMode,
    /// A network's name, where it is none of the words for which there is no network.
    NetworkMode,
    /// `name:/target:mode`, where the source is no path.
    Bind,
    /// `name:mode`.
    BeforeColon,
    /// `/name:/owner/alias`, of which this is the name.
    LinkTarget,
    /// `/name:/owner/alias`, of which this is the owner.
    LinkOwner,
    /// A name of DNS: a container's name, the first digits of its id, or a word of the user's.
    Alias,
    /// A path of the host that holds `/volumes/name/_data`.
    DataPath,
    /// Prose: between a beginning and an end stands what has a form of its own.
    Phrase(&'static [(&'static str, &'static str)], &'static Form),
}

/// A text that is the id of a resource.
pub const fn id(resource: Resource) -> Marks {
    Marks::Text(resource, Form::Id)
}

/// A text that is the name of a resource.
pub const fn name(resource: Resource) -> Marks {
    Marks::Text(resource, Form::Name)
}

/// A reference of an image, with a tag, with a digest, or an id.
pub const IMAGE: Marks = Marks::Text(Resource::Image, Form::Image);

/// One name or id that was found.
#[derive(Debug)]
pub struct FoundName<'a> {
    /// Where, from the answer's root.
    pub place: &'a [PlaceStep],
    pub resource: Resource,
    pub form: Form,
    /// The whole text, which may be changed.
    text: &'a mut String,
    part: Range<usize>,
}

/// One step of the way to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceStep {
    Field(&'static str),
    /// Any element of a list.
    Element,
    /// Any value of a map.
    Entry,
    /// Any key of a map.
    Key,
}

impl Row {
    /// Shows every name and id in an answer, or in one item of a stream, in the order of the table.
    ///
    /// If two keys of a map become the same, the later entry is kept.
    pub fn names_in(&self, answer: &mut Value, visit: &mut dyn FnMut(FoundName<'_>)) {
        Walk { place: Vec::new(), visit }.value(self.answers, answer);
    }
}

impl FoundName<'_> {
    /// The name or id itself, without what is written around it.
    pub fn name(&self) -> &str {
        self.text.get(self.part.clone()).unwrap_or_default()
    }

    /// All of the text in which it stands.
    pub fn text(&self) -> &str {
        self.text
    }

    /// Another name in the place of this one; what is around it stays.
    pub fn rename(&mut self, name: &str) {
        let Some(start) = self.text.get(..self.part.start) else { return };
        let Some(end) = self.text.get(self.part.end..) else { return };
        *self.text = [start, name, end].concat();
        self.part.end = self.part.start.saturating_add(name.len());
    }

    /// Another text in the place of all of it.
    pub fn replace(&mut self, text: String) {
        self.part = self.form.part(&text).unwrap_or_default();
        *self.text = text;
    }

    /// Whether it can only be an id: where the place holds both, 64 digits are one.
    pub fn is_id(&self) -> bool {
        self.form == Form::Id || is_image_id(self.name())
    }
}

impl fmt::Display for FoundName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = Place(self.place);
        write!(f, "{place} {} {}", self.resource, self.name())
    }
}

/// A place in the notation of `tests/data/answers.tsv`: `[].Networks{}.NetworkID`.
pub struct Place<'a>(pub &'a [PlaceStep]);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                PlaceStep::Field(name) if index == 0 => f.write_str(name)?,
                PlaceStep::Field(name) => write!(f, ".{name}")?,
                PlaceStep::Element => f.write_str("[]")?,
                PlaceStep::Entry => f.write_str("{}")?,
                PlaceStep::Key => f.write_str("{key}")?,
            }
        }
        Ok(())
    }
}

impl Form {
    /// Where in a text the name stands, if the text holds one.
    pub fn part(self, text: &str) -> Option<Range<usize>> {
        let part = match self {
            Form::Name | Form::NameOrId | Form::Id | Form::Alias => 0..text.len(),
            Form::FullId => is_image_id(text).then_some(0..text.len())?,
            Form::ShortId => is_short_id(text).then_some(0..text.len())?,
            Form::Slash => first_segment(text, 0),
            Form::Image => 0..repository(text)?.len(),
            Form::ContainerMode => Reference::parse(text, CONTAINER)?.place(text)?,
            Form::NetworkMode => network_of_mode(text)?,
            Form::Bind => volume_of_bind(text)?,
            Form::BeforeColon => Reference::parse(text, "")?.place(text)?,
            Form::LinkTarget => {
                let target = up_to(text, 0, ':');
                first_segment(text.get(target)?, 0)
            }
            Form::LinkOwner => first_segment(text, text.find(':')?.saturating_add(1)),
            Form::DataPath => volume_of_path(text)?,
            Form::Phrase(phrases, form) => {
                phrases.iter().find_map(|phrase| in_phrase(text, *phrase, *form))?
            }
        };
        (!part.is_empty()).then_some(part)
    }
}

/// What follows `start`, up to `end` or all of it.
fn up_to(text: &str, start: usize, end: char) -> Range<usize> {
    let found = text.get(start..).and_then(|rest| rest.find(end));
    start..found.map_or(text.len(), |at| start.saturating_add(at))
}

/// `/a/b` and `a/b`: `a`.
fn first_segment(text: &str, start: usize) -> Range<usize> {
    let slash = text.get(start..).is_some_and(|rest| rest.starts_with('/'));
    up_to(text, start.saturating_add(usize::from(slash)), '/')
}

fn is_short_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn network_of_mode(text: &str) -> Option<Range<usize>> {
    match NetworkMode::of(text) {
        NetworkMode::Default | NetworkMode::Container(_) | NetworkMode::Namespace(_) => None,
        NetworkMode::Bridge | NetworkMode::Host | NetworkMode::None | NetworkMode::Named(_) => {
            Some(0..text.len())
        }
    }
}

fn volume_of_bind(text: &str) -> Option<Range<usize>> {
    match source_of_bind(text) {
        (MountSource::Volume(name), _) => Some(0..name.len()),
        _ => None,
    }
}

/// `/var/lib/docker/volumes/name/_data`: only the driver `local` has such a path.
fn volume_of_path(text: &str) -> Option<Range<usize>> {
    let (folder, name) = text.strip_suffix("/_data")?.rsplit_once('/')?;
    let start = folder.ends_with("/volumes").then(|| folder.len().saturating_add(1))?;
    Some(start..start.saturating_add(name.len()))
}

fn in_phrase(text: &str, (start, end): (&str, &str), form: Form) -> Option<Range<usize>> {
    let inner = text.trim_end().strip_prefix(start)?.strip_suffix(end)?;
    let part = form.part(inner)?;
    let from = start.len();
    Some(from.saturating_add(part.start)..from.saturating_add(part.end))
}

struct Walk<'v> {
    place: Vec<PlaceStep>,
    visit: &'v mut dyn FnMut(FoundName<'_>),
}

impl Walk<'_> {
    fn value(&mut self, marks: Marks, value: &mut Value) {
        match (marks, value) {
            (Marks::All(all), value) => {
                for marks in all {
                    self.value(*marks, value);
                }
            }
            (Marks::Text(resource, form), Value::String(text)) => self.text(resource, form, text),
            (Marks::Fields(fields), Value::Object(map)) => {
                for (name, marks) in fields {
                    if let Some(value) = map.get_mut(*name) {
                        self.below(PlaceStep::Field(name), *marks, value);
                    }
                }
            }
            (Marks::Each(marks), Value::Array(list)) => {
                for value in list {
                    self.below(PlaceStep::Element, *marks, value);
                }
            }
            (Marks::Values(marks), Value::Object(map)) => {
                for (_, value) in map {
                    self.below(PlaceStep::Entry, *marks, value);
                }
            }
            (Marks::Keys(resource, form), Value::Object(map)) => {
                self.place.push(PlaceStep::Key);
                for (mut key, value) in mem::take(map) {
                    self.text(resource, form, &mut key);
                    map.insert(key, value);
                }
                self.place.pop();
            }
            (Marks::When(field, cases), value) => {
                let word = value.get(field).and_then(Value::as_str);
                let case = cases.iter().find(|(case, _)| Some(*case) == word);
                if let Some((_, marks)) = case {
                    self.value(*marks, value);
                }
            }
            _ => {}
        }
    }

    fn below(&mut self, step: PlaceStep, marks: Marks, value: &mut Value) {
        self.place.push(step);
        self.value(marks, value);
        self.place.pop();
    }

    fn text(&mut self, resource: Resource, form: Form, text: &mut String) {
        if let Some(part) = form.part(text) {
            (self.visit)(FoundName { place: &self.place, resource, form, text, part });
        }
    }
}

#[cfg(test)]
mod tests;
