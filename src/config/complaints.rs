//! What is wrong in a text that is read, collected: all of it at once, each with its place.
//!
//! Every reader of configuration has one `Complaints`: `config::check`, and those who read the files that a
//! configuration names (rules of policies and of caches). What must stay true: a complaint is never lost, for only
//! `or` gives a value, and gives none where something is wrong.

use std::fmt::Display;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;

use super::{Invalid, Place};

/// A text and where it comes from; by default one that stands nowhere, as arguments of the command line do.
#[derive(Clone, Copy, Debug, Default)]
pub struct SourceText<'t>(Option<(&'t Path, &'t str)>);

#[derive(Debug, Default)]
pub struct Complaints<'t> {
    source: SourceText<'t>,
    found: Invalid,
}

/// What a complaint may point at.
pub trait Position {
    fn place(&self, source: SourceText<'_>) -> Place;
}

impl<'t> SourceText<'t> {
    pub fn new(file: &'t Path, text: &'t str) -> SourceText<'t> {
        SourceText(Some((file, text)))
    }

    /// The place of a byte.
    pub fn place(self, at: usize) -> Place {
        self.0.map_or_else(Place::default, |(file, text)| Place::within(file, text, at))
    }

    /// That the text is no TOML, or not of the shape that is wanted.
    pub fn malformed(self, error: &toml::de::Error) -> Invalid {
        let at = error.span().map_or(0, |span| span.start);
        Invalid::at(&self.place(at), error.message().replace('\n', ", "), "")
    }
}

impl<'t> Complaints<'t> {
    pub fn about(source: SourceText<'t>) -> Complaints<'t> {
        Complaints { source, found: Invalid::default() }
    }

    /// `hint` may be empty.
    pub fn add(&mut self, at: impl Position, what: impl Display, hint: impl Display) {
        self.found.extend(Invalid::at(&at.place(self.source), what, hint));
    }

    /// What is wrong elsewhere too: the value, where there is one.
    pub fn note<T>(&mut self, result: Result<T, Invalid>) -> Option<T> {
        result.map_err(|invalid| self.found.extend(invalid)).ok()
    }

    /// A value if nothing is wrong.
    pub fn or<T>(self, value: T) -> Result<T, Invalid> {
        self.found.or(value)
    }
}

/// A byte of the text.
impl Position for usize {
    fn place(&self, source: SourceText<'_>) -> Place {
        source.place(*self)
    }
}

impl Position for Range<usize> {
    fn place(&self, source: SourceText<'_>) -> Place {
        source.place(self.start)
    }
}

impl<T> Position for &Spanned<T> {
    fn place(&self, source: SourceText<'_>) -> Place {
        source.place(self.span().start)
    }
}

/// One that was found before, perhaps in another text.
impl Position for &Place {
    fn place(&self, _: SourceText<'_>) -> Place {
        (*self).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_said_with_its_place_and_in_its_order() {
        let source = SourceText::new(Path::new("a.toml"), "x = 1\ny = 2\n");
        let mut complaints = Complaints::about(source);
        complaints.add(6..7, "wrong", "");
        complaints.add(0, "odd", "try");
        complaints.add(&Place::in_file(Path::new("b.toml")), "elsewhere", "");
        assert_eq!(complaints.note(Ok(1)), Some(1));
        assert_eq!(complaints.note::<()>(Err(Invalid::at(&Place::default(), "last", ""))), None);
        let said = complaints.or(()).unwrap_err().to_string();
        let wanted = "a.toml:2:1: wrong\na.toml:1:1: odd\n  hint: try\nb.toml: elsewhere\nlast";
        assert_eq!(said, wanted);
        assert_eq!(Complaints::default().or(2), Ok(2));
    }
}
