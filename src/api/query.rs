//! The query string, read as Go's `url.ParseQuery` reads it, or refused.
//!
//! `api::call` parses each request's query here and writes a new one from what it kept. What must
//! stay true: one reading only: no `;`, no bad escape, and of a parameter that dockerd reads one value of,
//! the first alone is judged and sent, as Go's `FormValue` takes the first.

use std::collections::HashSet;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::doc::{self, BadDoc};
use super::shape::Kind;

const VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Name and value of each parameter, in the client's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

/// More than any client sends: dockerode repeats a create body here, which has some hundreds of values.
const MOST_PARAMETERS: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadQuery {
    #[error("the query has more than {MOST_PARAMETERS} parameters")]
    TooMany,
    #[error("the query holds `;`")]
    Semicolon,
    #[error("the query holds an invalid escape")]
    Escape,
    #[error("the query holds invalid UTF-8 or a control character")]
    Text,
    #[error("query parameter `{0}`: {1}")]
    Json(String, BadDoc),
    #[error("query parameter `{0}` holds `{1}`, which no engine reads")]
    Unknown(String, String),
}

impl Query {
    pub fn parse(raw: &str) -> Result<Query, BadQuery> {
        if raw.contains(';') {
            return Err(BadQuery::Semicolon);
        }
        if raw.split('&').filter(|pair| !pair.is_empty()).nth(MOST_PARAMETERS).is_some() {
            return Err(BadQuery::TooMany);
        }
        let pairs = raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        Ok(Query(pairs.collect::<Result<_, _>>()?))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of a parameter, the first one where there are many.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// Every value of a parameter.
    pub fn all<'q>(&'q self, name: &str) -> impl Iterator<Item = &'q str> {
        self.iter().filter(move |(n, _)| *n == name).map(|(_, value)| value)
    }

    /// Gives a parameter this value and no other.
    pub fn set(&mut self, name: &str, value: String) {
        self.0.retain(|(n, _)| n != name);
        self.0.push((name.to_owned(), value));
    }

    /// Gives a parameter these values and no others.
    pub fn set_all(&mut self, name: &str, values: Vec<String>) {
        self.0.retain(|(n, _)| n != name);
        self.0.extend(values.into_iter().map(|value| (name.to_owned(), value)));
    }

    /// Reads values that are JSON as dockerd reads bodies, and writes them anew.
    pub fn rewrite_json(&mut self, kind: impl Fn(&str) -> Option<Kind>) -> Result<(), BadQuery> {
        for (name, value) in &mut self.0 {
            let Some(kind) = kind(name).filter(|_| !value.trim().is_empty()) else { continue };
            let parsed = doc::parse(value.as_bytes(), &kind);
            let doc = parsed.map_err(|error| BadQuery::Json(name.clone(), error))?;
            if let Some(unknown) = doc.unknown.iter().find(|unknown| !unknown.value.is_zero()) {
                return Err(BadQuery::Unknown(name.clone(), unknown.path.clone()));
            }
            *value = String::from_utf8(doc.render()).unwrap_or_default();
        }
        Ok(())
    }

    /// Keeps the parameters that `keep` wants.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) {
        self.0.retain(|(name, value)| keep(name, value));
    }

    /// Leaves the first value of each parameter, but for those that dockerd reads every value of.
    pub fn keep_first(&mut self, is_list: impl Fn(&str) -> bool) {
        let mut seen = HashSet::new();
        self.0.retain(|(name, _)| is_list(name) || seen.insert(name.clone()));
    }

    /// Appends `?a=b&c=d`, or nothing.
    pub fn render(&self, out: &mut String) {
        for (index, (name, value)) in self.0.iter().enumerate() {
            out.push(if index == 0 { '?' } else { '&' });
            out.extend(utf8_percent_encode(name, VALUE));
            out.push('=');
            out.extend(utf8_percent_encode(value, VALUE));
        }
    }
}

fn decode(part: &str) -> Result<String, BadQuery> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut input = part.bytes();
    while let Some(byte) = input.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(input.next()?).to_digit(16);
                let (high, low) = (digit(), digit());
                let value = high.zip(low).map(|(h, l)| h * 16 + l).ok_or(BadQuery::Escape)?;
                u8::try_from(value).map_err(|_| BadQuery::Escape)?
            }
            _ => byte,
        });
    }
    let text = String::from_utf8(bytes).map_err(|_| BadQuery::Text)?;
    // Line ends and tabs are data in `changes`, `message` or `buildargs`; a NUL never is.
    if text.contains('\0') { Err(BadQuery::Text) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_has_two_readings_is_refused() {
        assert_eq!(Query::parse("a=b;c=d"), Err(BadQuery::Semicolon));
        assert_eq!(Query::parse("a=%zz"), Err(BadQuery::Escape));
        assert_eq!(Query::parse("a=%4"), Err(BadQuery::Escape));
        assert_eq!(Query::parse("a=%ff"), Err(BadQuery::Text));
        assert_eq!(Query::parse("a=%00"), Err(BadQuery::Text));
    }

    #[test]
    fn the_first_value_counts_where_dockerd_reads_one() {
        let mut query = Query::parse("name=good&t=1&na%6de=evil&t=2&x=&x=3").unwrap();
        query.keep_first(|name| name == "t");
        let pairs: Vec<_> = query.iter().collect();
        assert_eq!(pairs, [("name", "good"), ("t", "1"), ("t", "2"), ("x", "")]);
    }

    #[test]
    fn parameters_are_bounded_in_number() {
        let most = vec!["t=1"; MOST_PARAMETERS].join("&");
        assert_eq!(Query::parse(&most).unwrap().iter().count(), MOST_PARAMETERS);
        assert_eq!(Query::parse(&(most + "&&t=1")), Err(BadQuery::TooMany));
    }

    #[test]
    fn plus_is_a_space_and_empty_is_not_absent() {
        let query = Query::parse("a=x+y%2B&b&c=&&").unwrap();
        let pairs: Vec<_> = query.iter().collect();
        assert_eq!(pairs, [("a", "x y+"), ("b", ""), ("c", "")]);
    }

    proptest! {
        #[test]
        fn parse_render_parse_is_the_identity(pairs in proptest::collection::vec(("[^\\x00]{1,8}", "[^\\x00]{0,12}"), 0..6)) {
            let query = Query(pairs);
            let mut text = String::new();
            query.render(&mut text);
            let parsed = Query::parse(text.strip_prefix('?').unwrap_or("")).unwrap();
            prop_assert_eq!(parsed, query);
        }

        #[test]
        fn no_query_panics(text in ".{0,80}") {
            let _ = Query::parse(&text);
        }
    }
}
