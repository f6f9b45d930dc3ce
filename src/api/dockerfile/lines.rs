//! A Dockerfile, cut into instructions: comments, directives, continued lines, heredocs.
//!
//! `stages` follows them. What must stay true: the cuts are those of BuildKit's `parser.Parse` in the versions that dockerd
//! has had since 20.10, which also the classic builder uses; where those versions differ, a `Dialect` says how.

use super::Unreadable;
use super::words::{self, BLANK, Instruction};

/// How one generation of the parser reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect {
    heredocs: Heredocs,
    /// `# check=` is a directive, and others may follow it.
    checks: bool,
    /// What follows a list in JSON is not looked at.
    pub json_may_end_early: bool,
    /// The escape character of the file counts in flags too.
    pub escapes_flags: bool,
    /// An instruction that it does not know may be one that a newer engine knows.
    pub is_newest: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heredocs {
    None,
    /// `<<EOF`
    Tight,
    /// `<< EOF` too.
    Spaced,
}

/// A reading in which the engines of this dialect fail before they fetch anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    ByTheEngine,
    Unreadable(Unreadable),
}

#[derive(Debug)]
pub(super) struct Lines {
    pub escape: char,
    pub instructions: Vec<Instruction>,
}

const MOST_INSTRUCTIONS: usize = 8192;

impl Dialect {
    pub(super) const ALL: [Dialect; 4] = [
        Dialect::of(Heredocs::None, false, true, false),
        // 23 to 26
        Dialect::of(Heredocs::Tight, false, true, false),
        // 27
        Dialect::of(Heredocs::Tight, true, false, false),
        Dialect::of(Heredocs::Spaced, true, false, true),
    ];

    const fn of(heredocs: Heredocs, checks: bool, early: bool, escapes_flags: bool) -> Dialect {
        let is_newest = matches!(heredocs, Heredocs::Spaced);
        Dialect { heredocs, checks, json_may_end_early: early, escapes_flags, is_newest }
    }
}

impl From<Unreadable> for Failure {
    fn from(why: Unreadable) -> Failure {
        Failure::Unreadable(why)
    }
}

/// Refuses what engines do not agree on: a carriage return within a line, and other white space that some take for such.
pub(super) fn check(text: &str) -> Result<(), Unreadable> {
    let bare = |line: &str| line.strip_suffix("\r\n").or(line.strip_suffix('\n')).map(str::len);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let end = bare(line).unwrap_or_else(|| line.strip_suffix('\r').unwrap_or(line).len());
        let content = line.get(..end).unwrap_or_default();
        if content.contains(|c: char| c.is_ascii_control() && c != '\t') {
            return Err(Unreadable { line: index + 1, why: "has a control character in it" });
        }
    }
    Ok(())
}

pub(super) fn read(text: &str, dialect: Dialect) -> Result<Lines, Failure> {
    let mut directives = Directives::new(dialect);
    let mut instructions = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut raw = text.split_inclusive('\n').map(trim_end).enumerate();
    while let Some((index, line)) = raw.next() {
        let line = line.trim_start();
        directives.look_at(line, index + 1)?;
        if line.starts_with('#') {
            continue;
        }
        let (mut whole, mut goes_on) = continuation(line, directives.escape);
        if !goes_on && whole.is_empty() {
            continue;
        }
        while goes_on {
            let Some((_, line)) = raw.next() else { break };
            let bare = line.trim_start();
            if bare.is_empty() || bare.starts_with('#') {
                continue;
            }
            let part;
            (part, goes_on) = continuation(line, directives.escape);
            whole.push_str(&part);
        }
        let instruction = words::split(&whole, index + 1, directives.escape, dialect)?;
        for heredoc in heredocs(&whole, &instruction, directives.escape, dialect)? {
            let is_end = |(_, line): &(usize, &str)| heredoc.ends(line);
            if !raw.any(|line| is_end(&line)) {
                return Err(Failure::ByTheEngine);
            }
        }
        instructions.push(instruction);
        if instructions.len() > MOST_INSTRUCTIONS {
            let why = "is one instruction too many";
            return Err(Unreadable { line: index + 1, why }.into());
        }
    }
    Ok(Lines { escape: directives.escape, instructions })
}

fn trim_end(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

/// The line without the escape character at its end, and whether it had one. Two of them are none.
fn continuation(line: &str, escape: char) -> (String, bool) {
    let bare = line.trim_end_matches(BLANK);
    match bare.strip_suffix(escape) {
        Some(rest) if !rest.ends_with(escape) => (rest.to_owned(), true),
        _ => (line.to_owned(), false),
    }
}

/// Comments at the top that say how the file is read.
struct Directives {
    escape: char,
    checks: bool,
    is_over: bool,
    seen: Vec<String>,
}

impl Directives {
    fn new(dialect: Dialect) -> Directives {
        Directives { escape: '\\', checks: dialect.checks, is_over: false, seen: Vec::new() }
    }

    fn look_at(&mut self, line: &str, number: usize) -> Result<(), Failure> {
        if self.is_over {
            return Ok(());
        }
        let Some((name, value)) = line.strip_prefix('#').and_then(directive) else {
            // Only newer versions skip other blanks in front of a name.
            let comment = line.strip_prefix('#').unwrap_or_default();
            if comment.trim_start() != comment.trim_start_matches(BLANK) && comment.contains('=') {
                let why = "begins with white space that not all engines take for such";
                return Err(Unreadable { line: number, why }.into());
            }
            self.is_over = true;
            return Ok(());
        };
        let is_known =
            matches!(name.as_str(), "escape" | "syntax") || name == "check" && self.checks;
        if !is_known {
            self.is_over = true;
            return Ok(());
        }
        if self.seen.contains(&name) {
            return Err(Failure::ByTheEngine);
        }
        match (name.as_str(), value) {
            ("escape", "\\") => self.escape = '\\',
            ("escape", "`") => self.escape = '`',
            ("escape", _) => return Err(Failure::ByTheEngine),
            _ => {}
        }
        self.seen.push(name);
        Ok(())
    }
}

/// ` name = value ` of a comment; the name in lower case.
pub(super) fn directive(comment: &str) -> Option<(String, &str)> {
    let (name, value) = comment.trim_start_matches(BLANK).split_once('=')?;
    let (name, value) = (name.trim_end_matches(BLANK), value.trim_matches(BLANK));
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_name && !value.is_empty()).then(|| (name.to_ascii_lowercase(), value))
}

struct Heredoc {
    name: String,
    chomps: bool,
}

impl Heredoc {
    fn ends(&self, line: &str) -> bool {
        let line = if self.chomps { line.trim_start_matches('\t') } else { line };
        line == self.name
    }
}

/// Those whose content follows this line.
fn heredocs(
    line: &str,
    instruction: &Instruction,
    escape: char,
    dialect: Dialect,
) -> Result<Vec<Heredoc>, Failure> {
    if dialect.heredocs == Heredocs::None || !line.contains("<<") {
        return Ok(Vec::new());
    }
    let child = match instruction.name.as_str() {
        "onbuild" => Some(words::split(&instruction.args, instruction.line, escape, dialect)?),
        _ => None,
    };
    let holder = child.as_ref().unwrap_or(instruction);
    if !matches!(holder.name.as_str(), "add" | "copy" | "run") || holder.list(dialect)?.is_some() {
        return Ok(Vec::new());
    }
    let odd = |why| Failure::Unreadable(Unreadable { line: instruction.line, why });
    let is_spaced = dialect.heredocs == Heredocs::Spaced;
    let words = match words::shell_words(line, is_spaced) {
        words::ShellWords::Are(words) => words,
        words::ShellWords::Fail => return Ok(Vec::new()),
        words::ShellWords::Odd => {
            return Err(odd("has `<<` beside an expansion that is too involved to be sure"));
        }
    };
    let mut found = Vec::new();
    for word in words {
        let Some((number, rest)) = word.split_once("<<") else { continue };
        if !number.bytes().all(|b| b.is_ascii_digit()) || rest.contains('<') {
            continue;
        }
        let (chomps, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
        let rest = if is_spaced { rest.trim_start_matches(BLANK) } else { rest };
        if rest.is_empty() {
            continue;
        }
        let quoted = |quote| rest.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        let name = quoted('"').or(quoted('\'')).unwrap_or(rest);
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
        if name.is_empty() || !name.bytes().all(is_plain) {
            return Err(odd("has a `<<` whose end cannot be told for sure"));
        }
        found.push(Heredoc { name: name.to_owned(), chomps });
    }
    Ok(found)
}
