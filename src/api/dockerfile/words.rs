//! One instruction of a Dockerfile, taken apart: its name, its flags, its words.
//!
//! `lines` and `stages` call it. What must stay true: words end where BuildKit's `split_command.go` and `line_parsers.go` let
//! them end, and quotes stay in them until variables are replaced (`expand`).

use super::Unreadable;
use super::lines::Dialect;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    /// In lower case.
    pub name: String,
    pub flags: Vec<String>,
    pub args: String,
    pub line: usize,
}

/// What a line is cut into where heredocs are looked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ShellWords {
    Are(Vec<String>),
    /// The parser's lexer gives up, and then there are no heredocs.
    Fail,
    /// It cannot be told.
    Odd,
}

/// `reWhitespace` of the parser; the rest of it is refused beforehand.
pub(super) const BLANK: [char; 2] = [' ', '\t'];

impl Instruction {
    /// The flags of this name.
    pub(super) fn flags(&self, name: &str) -> impl Iterator<Item = &str> {
        self.flags
            .iter()
            .filter_map(move |flag| flag.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('='))
    }

    /// Its arguments, where they are a list in JSON.
    pub(super) fn list(&self, dialect: Dialect) -> Result<Option<Vec<String>>, Unreadable> {
        let args = self.args.trim_start();
        if !args.starts_with('[') {
            return Ok(None);
        }
        let odd = |why| Err(Unreadable { line: self.line, why });
        let mut values = serde_json::Deserializer::from_str(args).into_iter::<serde_json::Value>();
        let first = values.next();
        let is_all = args.get(values.byte_offset()..).is_some_and(|rest| rest.trim().is_empty());
        match first {
            Some(Ok(_)) if !is_all && !dialect.json_may_end_early => Ok(None),
            Some(Ok(serde_json::Value::Array(items))) => {
                let texts: Option<Vec<String>> =
                    items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
                match texts {
                    Some(texts) => Ok(Some(texts)),
                    None => odd("has a list of something else than texts"),
                }
            }
            // Half of a surrogate pair is a character to Go, and an error here.
            _ if args.contains("\\u") => odd("has a list with escapes that cannot be read"),
            _ => Ok(None),
        }
    }

    /// Its arguments as a list, or cut at blanks.
    pub(super) fn list_or_words(&self, dialect: Dialect) -> Result<Vec<String>, Unreadable> {
        Ok(match self.list(dialect)? {
            Some(list) => list,
            None => self.words().map(str::to_owned).collect(),
        })
    }

    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.args.split(BLANK).filter(|word| !word.is_empty())
    }
}

/// The name of an instruction, its flags and the rest.
pub(super) fn split(
    text: &str,
    line: usize,
    escape: char,
    dialect: Dialect,
) -> Result<Instruction, Unreadable> {
    let text = text.trim();
    let (name, rest) = text.split_once(BLANK).unwrap_or((text, ""));
    let rest = rest.trim_start_matches(BLANK);
    let escape = if dialect.escapes_flags { escape } else { '\\' };
    let Some((flags, args)) = flags(rest, escape) else {
        return Err(Unreadable { line, why: "has a flag that is not ASCII" });
    };
    Ok(Instruction { name: name.to_ascii_lowercase(), flags, args: args.trim().to_owned(), line })
}

/// Words that begin with two dashes, without their quotes; and what follows them. The parser goes byte by byte here, so
/// other characters than ASCII would fall apart.
fn flags(text: &str, escape: char) -> Option<(Vec<String>, &str)> {
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches(|c: char| c.is_ascii_whitespace());
    while rest.starts_with("--") {
        let mut word = String::new();
        let mut is_quoted = false;
        let mut quote = None;
        let mut end = rest.len();
        let mut chars = rest.char_indices();
        while let Some((at, mut c)) = chars.next() {
            if !c.is_ascii() {
                return None;
            }
            match quote {
                None if c.is_ascii_whitespace() => {
                    end = at;
                    break;
                }
                None if c == '"' || c == '\'' => {
                    (quote, is_quoted) = (Some(c), true);
                    continue;
                }
                Some(open) if c == open => {
                    quote = None;
                    continue;
                }
                _ => {}
            }
            if c == escape {
                match chars.next() {
                    // One at the very end is skipped.
                    None => break,
                    Some((_, next)) if !next.is_ascii() => return None,
                    Some((_, next)) => c = next,
                }
            }
            word.push(c);
        }
        rest = rest.get(end..).unwrap_or_default();
        if word == "--" {
            return Some((found, rest));
        }
        if is_quoted || !word.is_empty() {
            found.push(word);
        }
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
    }
    Some((found, rest))
}

/// The words of `ARG` and `ENV` (`parseWords`): quotes keep blanks, and stay.
pub(super) fn quoted_words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        if c == escape && quote != Some('\'') {
            // Both stay; one at the very end goes.
            let Some(next) = chars.next() else { break };
            word.push(c);
            word.push(next);
            continue;
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// As `heredocsFromLine` cuts a line: the shell's words with their quotes and escapes, and in newer versions with the blanks
/// behind `<<`.
pub(super) fn shell_words(line: &str, is_spaced: bool) -> ShellWords {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                word.push(c);
                loop {
                    let Some(c) = chars.next() else { return ShellWords::Fail };
                    word.push(c);
                    if c == '\'' {
                        break;
                    }
                }
            }
            '"' => {
                word.push(c);
                loop {
                    let Some(c) = chars.next() else { return ShellWords::Fail };
                    word.push(c);
                    match c {
                        '"' => break,
                        '$' if chars.peek() == Some(&'{') => return ShellWords::Odd,
                        '\\' => word.extend(chars.next_if(|c| matches!(c, '"' | '$' | '\\'))),
                        _ => {}
                    }
                }
            }
            '$' if chars.peek() == Some(&'{') => {
                let rest: String = chars.by_ref().take_while(|c| *c != '}').collect();
                let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let name = rest.strip_prefix('{').unwrap_or_default();
                if name.is_empty() || !name.chars().all(is_plain) {
                    return ShellWords::Odd;
                }
                word.push_str(name);
            }
            '\\' => {
                word.push(c);
                word.extend(chars.next());
            }
            '<' if chars.peek() == Some(&'<') => {
                chars.next();
                word.push_str("<<");
                while is_spaced && matches!(chars.peek(), Some(' ' | '\t')) {
                    word.extend(chars.next());
                }
            }
            c if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    ShellWords::Are(words)
}
