//! Variables in a word of a Dockerfile, replaced as BuildKit's `shell.Lex` does (`ProcessWord`).
//!
//! `stages` calls it. What must stay true: what is known of the result is its beginning, exactly; from the first variable
//! whose value only the build will know, nothing is said any more. Bounded in depth and in what it makes.

use std::cell::Cell;
use std::iter::Peekable;
use std::str::Chars;

use super::Expanded;

/// What is known of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    Is(Expanded),
    Unset,
    Unknown,
}

/// Engines fail at such a word, or read it differently.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unclear;

pub(super) struct Expander<'v> {
    pub escape: char,
    pub lookup: &'v dyn Fn(&str) -> Variable,
    /// How many characters may still be made.
    pub budget: &'v Cell<usize>,
}

/// Of one word; real ones have a few hundred bytes.
const MOST: usize = 16 * 1024;
const DEEPEST: usize = 16;

/// Ends a word where it becomes unknown.
enum Stop {
    Unknown,
    Unclear,
}

type Word<'t> = Peekable<Chars<'t>>;

impl Expander<'_> {
    pub(super) fn expand(&self, word: &str) -> Result<Expanded, Unclear> {
        let mut known = String::new();
        let mut chars = word.chars().peekable();
        match self.up_to(None, &mut chars, &mut known, 0) {
            Ok(()) => Ok(Expanded { known, is_whole: true }),
            Err(Stop::Unknown) => Ok(Expanded { known, is_whole: false }),
            Err(Stop::Unclear) => Err(Unclear),
        }
    }

    fn up_to(
        &self,
        end: Option<char>,
        chars: &mut Word<'_>,
        out: &mut String,
        depth: usize,
    ) -> Result<(), Stop> {
        if depth > DEEPEST {
            return Err(Stop::Unclear);
        }
        while let Some(c) = chars.next() {
            match c {
                c if Some(c) == end => return Ok(()),
                '\'' => loop {
                    match chars.next().ok_or(Stop::Unclear)? {
                        '\'' => break,
                        c => self.put(out, c)?,
                    }
                },
                '"' => self.double_quoted(chars, out, depth)?,
                '$' => self.dollar(chars, out, depth)?,
                c if c == self.escape => match chars.next() {
                    Some(c) => self.put(out, c)?,
                    None => break,
                },
                c => self.put(out, c)?,
            }
        }
        if end.is_none() { Ok(()) } else { Err(Stop::Unclear) }
    }

    fn double_quoted(
        &self,
        chars: &mut Word<'_>,
        out: &mut String,
        depth: usize,
    ) -> Result<(), Stop> {
        loop {
            match chars.next().ok_or(Stop::Unclear)? {
                '"' => return Ok(()),
                '$' => self.dollar(chars, out, depth)?,
                c if c == self.escape => {
                    let is_escaped =
                        |next: &char| matches!(next, '"' | '$') || *next == self.escape;
                    match chars.next_if(is_escaped) {
                        Some(next) => self.put(out, next)?,
                        None => self.put(out, c)?,
                    }
                }
                c => self.put(out, c)?,
            }
        }
    }

    /// Behind a `$`.
    fn dollar(&self, chars: &mut Word<'_>, out: &mut String, depth: usize) -> Result<(), Stop> {
        if chars.next_if_eq(&'{').is_none() {
            return match name(chars)? {
                name if name.is_empty() => self.put(out, '$'),
                name => self.put_value(out, (self.lookup)(&name)),
            };
        }
        let name = name(chars)?;
        if name.is_empty() {
            return Err(Stop::Unclear);
        }
        let value = (self.lookup)(&name);
        let (is_colon, operator) = match chars.next() {
            Some('}') => return self.put_value(out, value),
            Some(':') => (true, chars.next()),
            other => (false, other),
        };
        let is_unset = match &value {
            Variable::Unset => true,
            Variable::Is(Expanded { known, is_whole }) if is_colon && known.is_empty() => {
                if !is_whole {
                    return Err(Stop::Unknown);
                }
                true
            }
            Variable::Is(_) => false,
            Variable::Unknown => return Err(Stop::Unknown),
        };
        let mut word = String::new();
        match operator {
            Some('-' | '+' | '?') => match self.up_to(Some('}'), chars, &mut word, depth + 1) {
                Ok(()) => {}
                // What stands behind it is not looked for any more.
                Err(Stop::Unknown) if is_unset == (operator == Some('-')) => {
                    word.chars().try_for_each(|c| self.put(out, c))?;
                    return Err(Stop::Unknown);
                }
                Err(stop) => return Err(stop),
            },
            // Patterns, which only newer versions know.
            _ => return Err(Stop::Unknown),
        }
        match (operator, is_unset) {
            (Some('-'), true) | (Some('+'), false) => {
                word.chars().try_for_each(|c| self.put(out, c))
            }
            (Some('+'), true) => Ok(()),
            (Some('?'), true) => Err(Stop::Unclear),
            _ => self.put_value(out, value),
        }
    }

    fn put(&self, out: &mut String, c: char) -> Result<(), Stop> {
        let left = self.budget.get().checked_sub(1).ok_or(Stop::Unclear)?;
        self.budget.set(left);
        if out.len() >= MOST {
            return Err(Stop::Unknown);
        }
        out.push(c);
        Ok(())
    }

    fn put_value(&self, out: &mut String, value: Variable) -> Result<(), Stop> {
        match value {
            Variable::Unset => Ok(()),
            Variable::Unknown => Err(Stop::Unknown),
            Variable::Is(Expanded { known, is_whole }) => {
                known.chars().try_for_each(|c| self.put(out, c))?;
                if is_whole { Ok(()) } else { Err(Stop::Unknown) }
            }
        }
    }
}

/// What else the shell has for names (`$1`, `$@`) an image may have set.
fn name(chars: &mut Word<'_>) -> Result<String, Stop> {
    let mut name = String::new();
    match chars.peek() {
        Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => return Err(Stop::Unknown),
        Some(c) if c.is_numeric() || !c.is_ascii() => return Err(Stop::Unknown),
        _ => {}
    }
    while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
        name.push(c);
    }
    match chars.peek() {
        Some(c) if !c.is_ascii() => Err(Stop::Unknown),
        _ => Ok(name),
    }
}
