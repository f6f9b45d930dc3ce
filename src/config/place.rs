//! Where something stands in a configuration, and what is wrong with it there.
//!
//! `config` makes places while it reads; whoever reads a file that the configuration names complains
//! with them. What must stay true: a complaint begins with `FILE:LINE:COL`, wherever it was found.

use std::fmt;
use std::path::{Path, PathBuf};

/// `FILE:LINE:COL`, or less where less is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place(String);

/// A file that the configuration names, and where it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub path: PathBuf,
    pub place: Place,
}

/// A text of the configuration, and where it stands. It may be a secret: `Debug` does not show it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Text {
    pub text: String,
    pub place: Place,
}

/// What is wrong with a configuration, and where; all of it at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Invalid(Vec<String>);

impl Place {
    pub fn new(file: &Path, line: usize, column: usize) -> Place {
        Place(format!("{}:{line}:{column}", file.display()))
    }

    /// The place of a byte of a file's text.
    pub fn within(file: &Path, text: &str, at: usize) -> Place {
        let before = text.get(..at.min(text.len())).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Place::new(file, before.matches('\n').count() + 1, column)
    }

    pub fn in_file(file: &Path) -> Place {
        Place(file.display().to_string())
    }
}

impl Invalid {
    /// One complaint; `hint` may be empty.
    pub fn at(place: &Place, what: impl fmt::Display, hint: impl fmt::Display) -> Invalid {
        let mut text = match place.0.as_str() {
            "" => what.to_string(),
            place => format!("{place}: {what}"),
        };
        let hint = hint.to_string();
        if !hint.is_empty() {
            text.push_str("\n  hint: ");
            text.push_str(&hint);
        }
        Invalid(vec![text])
    }

    pub fn extend(&mut self, more: Invalid) {
        self.0.extend(more.0);
    }

    /// A value if nothing is wrong.
    pub fn or<T>(self, value: T) -> Result<T, Invalid> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl File {
    /// The whole file; a complaint names the place where the configuration names it.
    pub fn read(&self) -> Result<Vec<u8>, Invalid> {
        std::fs::read(&self.path)
            .map_err(|error| self.invalid(format!("`{}`: {error}", self.path.display()), ""))
    }

    /// A complaint about this file as a whole.
    pub fn invalid(&self, what: impl fmt::Display, hint: impl fmt::Display) -> Invalid {
        Invalid::at(&self.place, what, hint)
    }
}

impl Text {
    /// A complaint about this text.
    pub fn invalid(&self, what: impl fmt::Display, hint: impl fmt::Display) -> Invalid {
        Invalid::at(&self.place, what, hint)
    }
}

/// One that stands nowhere.
impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text { text: text.to_owned(), place: Place::default() }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({})", self.place)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
