//! Patterns as Go's `path.Match` reads them: `*` and `?` stop at a `/`, `[a-z]` and `[^a-z]`, `\` before a sign.
//!
//! Filters of lists are such patterns (`reference` of images). What must stay true: what matches and what is no pattern is
//! so in Go 1.19 to 1.24.

use std::iter::Peekable;
use std::str::Chars;

/// `syntax error in pattern`, as Go says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct BadPattern;

pub fn matches(pattern: &str, text: &str) -> Result<bool, BadPattern> {
    let tokens = parse(pattern)?;
    let text: Vec<char> = text.chars().collect();
    // Where the last star stands, and how much it has taken: the one before it needs no other look.
    let (mut at, mut token, mut star) = (0, 0, None);
    loop {
        match (tokens.get(token), text.get(at)) {
            (None, None) => return Ok(true),
            (Some(GlobPart::Star), _) => {
                star = Some((token, at));
                token += 1;
                continue;
            }
            (Some(one), Some(c)) if one.takes(*c) => {
                at += 1;
                token += 1;
                continue;
            }
            _ => {}
        }
        match star {
            Some((of, taken)) if text.get(taken).is_some_and(|c| *c != '/') => {
                star = Some((of, taken + 1));
                (at, token) = (taken + 1, of + 1);
            }
            _ => return Ok(false),
        }
    }
}

#[derive(Debug)]
enum GlobPart {
    Star,
    Any,
    One(char),
    /// Whether it is one of these; else it is none of them.
    Class(bool, Vec<(char, char)>),
}

impl GlobPart {
    fn takes(&self, c: char) -> bool {
        match self {
            GlobPart::Star => false,
            GlobPart::Any => c != '/',
            GlobPart::One(one) => *one == c,
            GlobPart::Class(is_one, ranges) => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) == *is_one
            }
        }
    }
}

fn parse(pattern: &str) -> Result<Vec<GlobPart>, BadPattern> {
    let (mut tokens, mut rest) = (Vec::new(), pattern.chars().peekable());
    while let Some(c) = rest.next() {
        tokens.push(match c {
            '*' => GlobPart::Star,
            '?' => GlobPart::Any,
            '[' => class(&mut rest)?,
            '\\' => GlobPart::One(rest.next().ok_or(BadPattern)?),
            c => GlobPart::One(c),
        });
    }
    Ok(tokens)
}

fn class(rest: &mut Peekable<Chars<'_>>) -> Result<GlobPart, BadPattern> {
    let is_one = rest.next_if_eq(&'^').is_none();
    let mut ranges = Vec::new();
    // Without one range at least `]` begins it.
    while ranges.is_empty() || rest.peek() != Some(&']') {
        let low = sign(rest)?;
        let high = match rest.next_if_eq(&'-') {
            Some(_) => sign(rest)?,
            None => low,
        };
        ranges.push((low, high));
        if rest.peek().is_none() {
            return Err(BadPattern);
        }
    }
    rest.next();
    Ok(GlobPart::Class(is_one, ranges))
}

fn sign(rest: &mut Peekable<Chars<'_>>) -> Result<char, BadPattern> {
    match rest.next() {
        None | Some('-' | ']') => Err(BadPattern),
        Some('\\') => rest.next().ok_or(BadPattern),
        Some(c) => Ok(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of Go's own table (`path/match_test.go`).
    #[test]
    fn what_matches_is_what_matches_in_go() {
        for (pattern, text, wanted) in [
            ("abc", "abc", Ok(true)),
            ("*", "abc", Ok(true)),
            ("*c", "abc", Ok(true)),
            ("a*", "a", Ok(true)),
            ("a*", "abc", Ok(true)),
            ("a*", "ab/c", Ok(false)),
            ("a*/b", "abc/b", Ok(true)),
            ("a*/b", "a/c/b", Ok(false)),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", Ok(true)),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", Ok(true)),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", Ok(false)),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", Ok(false)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Ok(true)),
            ("a*b?c*x", "abxbbxdbxebxczzy", Ok(false)),
            ("ab[c]", "abc", Ok(true)),
            ("ab[b-d]", "abc", Ok(true)),
            ("ab[e-g]", "abc", Ok(false)),
            ("ab[^c]", "abc", Ok(false)),
            ("ab[^b-d]", "abc", Ok(false)),
            ("ab[^e-g]", "abc", Ok(true)),
            ("a\\*b", "a*b", Ok(true)),
            ("a\\*b", "ab", Ok(false)),
            ("a?b", "a☺b", Ok(true)),
            ("a[^a]b", "a☺b", Ok(true)),
            ("a???b", "a☺b", Ok(false)),
            ("[a-ζ]*", "α", Ok(true)),
            ("*[a-ζ]", "A", Ok(false)),
            ("a?b", "a/b", Ok(false)),
            ("a*b", "a/b", Ok(false)),
            ("[\\]a]", "]", Ok(true)),
            ("[\\-]", "-", Ok(true)),
            ("[x\\-]", "x", Ok(true)),
            ("[x\\-]", "-", Ok(true)),
            ("[x\\-]", "z", Ok(false)),
            ("[\\-x]", "a", Ok(false)),
            ("[]a]", "]", Err(BadPattern)),
            ("[-]", "-", Err(BadPattern)),
            ("[x-]", "x", Err(BadPattern)),
            ("[-x]", "x", Err(BadPattern)),
            ("\\", "a", Err(BadPattern)),
            ("[a-b-c]", "a", Err(BadPattern)),
            ("[", "a", Err(BadPattern)),
            ("[^", "a", Err(BadPattern)),
            ("[^bc", "a", Err(BadPattern)),
            ("a[", "a", Err(BadPattern)),
            ("a[", "ab", Err(BadPattern)),
            ("a[", "x", Err(BadPattern)),
            ("a/b[", "x", Err(BadPattern)),
            ("*x", "xxx", Ok(true)),
        ] {
            assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_longer_than_few() {
        let (pattern, text) = ("*a".repeat(30) + "b", "a".repeat(2_000));
        assert_eq!(matches(&pattern, &text), Ok(false));
    }
}
