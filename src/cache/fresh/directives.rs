//! `Cache-Control` of requests and responses, and the fields of RFC 9213 that go before it.
//!
//! Used by all of `fresh`. What must stay true: the stricter reading wins. A number that cannot be read
//! is zero where it would give freshness, a directive twice with different values likewise, and a
//! string that is not closed hides nothing.

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use super::FreshnessRules;
use super::date::{FOREVER, seconds};
use super::fields::is_needed;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    pub max_age: Option<u64>,
    pub s_maxage: Option<u64>,
    pub stale_while_revalidate: Option<u64>,
    pub stale_if_error: Option<u64>,
    pub min_fresh: Option<u64>,
    /// Without a value: as stale as may be.
    pub max_stale: Option<u64>,
    pub no_store: bool,
    /// Without a list of fields.
    pub no_cache: bool,
    /// Without a list of fields.
    pub private: bool,
    /// The fields that `no-cache` and `private` name.
    pub withheld: Vec<HeaderName>,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub immutable: bool,
    pub only_if_cached: bool,
    /// Whether `Expires` counts: not beside a targeted field.
    pub targeted: bool,
}

impl Directives {
    /// `Cache-Control` as it stands.
    pub(super) fn of(headers: &HeaderMap) -> Directives {
        let mut directives = Directives::default();
        for value in headers.get_all(CACHE_CONTROL) {
            directives.read(value.as_bytes());
        }
        directives
    }

    /// What a shared cache obeys: the first targeted field that can be read, else `Cache-Control`.
    pub(super) fn of_response(headers: &HeaderMap, rules: &FreshnessRules) -> Directives {
        let targeted = rules.targeted.iter().find_map(|name| Directives::targeted(headers, name));
        targeted.unwrap_or_else(|| Directives::of(headers))
    }

    /// Whether the origin forbids to use it stale (RFC 9111 §4.2.4).
    pub(super) fn never_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.s_maxage.is_some() || self.no_cache
    }

    fn read(&mut self, value: &[u8]) {
        let mut rest = value;
        while let Some(cut) = cut_member(rest) {
            if cut.unclosed {
                // What follows the quote may be directives: the strict ones are obeyed.
                self.max_age = Some(0);
                cut.member.split(|byte| *byte == b',').for_each(|member| self.read_member(member));
                return;
            }
            self.read_member(cut.member);
            rest = cut.rest;
        }
    }

    fn read_member(&mut self, member: &[u8]) {
        let at = member.iter().position(|byte| *byte == b'=');
        let (name, value) = match at.and_then(|at| member.split_at_checked(at)) {
            Some((name, value)) => (name, value.get(1..)),
            None => (member, None),
        };
        // A space before the `=` breaks the grammar; one after it does so in `seconds`.
        let spaced = name.last().is_some_and(u8::is_ascii_whitespace);
        let number = || value.filter(|_| !spaced).and_then(unquoted).and_then(|it| seconds(&it));
        match name.trim_ascii().to_ascii_lowercase().as_slice() {
            b"max-age" => shortest(&mut self.max_age, number()),
            b"s-maxage" => shortest(&mut self.s_maxage, number()),
            b"stale-while-revalidate" => shortest(&mut self.stale_while_revalidate, number()),
            b"stale-if-error" => shortest(&mut self.stale_if_error, number()),
            b"min-fresh" => {
                self.min_fresh = Some(number().unwrap_or(FOREVER).max(self.min_fresh.unwrap_or(0)));
            }
            b"max-stale" => {
                let limit = if value.is_none() { FOREVER } else { number().unwrap_or(0) };
                self.max_stale = Some(limit.min(self.max_stale.unwrap_or(FOREVER)));
            }
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache |= !self.withhold(value),
            b"private" => self.private |= !self.withhold(value),
            b"public" => self.public = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand = true,
            b"immutable" => self.immutable = true,
            b"only-if-cached" => self.only_if_cached = true,
            _ => {}
        }
    }

    /// Takes the fields of `no-cache="…"`. False if there are none, or one that a stored response
    /// cannot do without: then all of it is meant.
    fn withhold(&mut self, value: Option<&[u8]>) -> bool {
        let Some(list) = value.and_then(unquoted) else { return false };
        let mut names = Vec::new();
        for name in list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            match HeaderName::from_bytes(name) {
                Ok(name) if !is_needed(&name) => names.push(name),
                Err(_) if name.is_empty() => {}
                _ => return false,
            }
        }
        let some = !names.is_empty();
        self.withheld.append(&mut names);
        some
    }

    /// A structured field of RFC 9213: one that breaks its grammar, or is empty, is as if it were not there.
    fn targeted(headers: &HeaderMap, name: &HeaderName) -> Option<Directives> {
        let lines: Vec<&[u8]> = headers.get_all(name).iter().map(|line| line.as_bytes()).collect();
        let dictionary: Dictionary = Parser::new(&lines.join(&b","[..])).parse().ok()?;
        if dictionary.is_empty() {
            return None;
        }
        let mut directives = Directives { targeted: true, ..Directives::default() };
        for (key, entry) in &dictionary {
            let ListEntry::Item(item) = entry else { continue };
            directives.read_item(key.as_str(), &item.bare_item)?;
        }
        Some(directives)
    }

    fn read_item(&mut self, key: &str, item: &BareItem) -> Option<()> {
        let number = || match item {
            BareItem::Integer(number) => {
                Some(Some(u64::try_from(i64::from(*number)).unwrap_or(0).min(FOREVER)))
            }
            _ => None,
        };
        let flag = || match item {
            BareItem::Boolean(set) => Some(*set),
            _ => None,
        };
        match key {
            "max-age" => self.max_age = number()?,
            "s-maxage" => self.s_maxage = number()?,
            "stale-while-revalidate" => self.stale_while_revalidate = number()?,
            "stale-if-error" => self.stale_if_error = number()?,
            "no-store" => self.no_store = flag()?,
            // With a list of fields, all of it is meant.
            "no-cache" => self.no_cache = flag().unwrap_or(true),
            "private" => self.private = flag().unwrap_or(true),
            "public" => self.public = flag()?,
            "must-revalidate" => self.must_revalidate = flag()?,
            "proxy-revalidate" => self.proxy_revalidate = flag()?,
            "must-understand" => self.must_understand = flag()?,
            "immutable" => self.immutable = flag()?,
            _ => {}
        }
        Some(())
    }
}

/// A value twice is the same value, or none; none is zero.
fn shortest(slot: &mut Option<u64>, value: Option<u64>) {
    let value = value.unwrap_or(0);
    *slot = match *slot {
        Some(earlier) if earlier != value => Some(0),
        _ => Some(value),
    };
}

pub(super) struct Cut<'a> {
    pub member: &'a [u8],
    pub rest: &'a [u8],
    /// A quoted string begins in it and does not end.
    pub unclosed: bool,
}

/// The first member of a list; commas within quoted strings belong to it.
pub(super) fn cut_member(value: &[u8]) -> Option<Cut<'_>> {
    if value.is_empty() {
        return None;
    }
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in value.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                let member = value.get(..at)?;
                return Some(Cut { member, rest: value.get(at + 1..)?, unclosed: false });
            }
            _ => {}
        }
    }
    Some(Cut { member: value, rest: &[], unclosed: quoted })
}

/// A directive's value: a token as it is, of a quoted string what it says.
fn unquoted(value: &[u8]) -> Option<Vec<u8>> {
    let value = value.trim_ascii_end();
    let Some(inner) = value.strip_prefix(b"\"") else { return Some(value.to_vec()) };
    let inner = inner.strip_suffix(b"\"")?;
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => text.push(*bytes.next()?),
            b'"' => return None,
            _ => text.push(*byte),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(lines: &[&str]) -> Directives {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, HeaderValue::from_str(line).unwrap());
        }
        Directives::of(&headers)
    }

    fn targeted(value: &str) -> Directives {
        let mut headers = HeaderMap::new();
        headers.insert("cdn-cache-control", HeaderValue::from_str(value).unwrap());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Directives::of_response(&headers, &FreshnessRules::default())
    }

    #[test]
    fn numbers_are_read_and_what_is_none_gives_no_freshness() {
        for (value, max_age) in [
            ("max-age=60", Some(60)),
            ("MAX-Age=060", Some(60)),
            ("max-age=\"60\"", Some(60)),
            ("max-age=\"6\\0\"", Some(60)),
            (" , ,max-age=60 ,", Some(60)),
            ("x, y=\"a,b\", max-age=60", Some(60)),
            ("x=\"max-age=60\"", None),
            ("x=\"a\\\", max-age=60\"", None),
            ("max-age=60, x=\"max-age=90\"", Some(60)),
            ("maxage=60", None),
            ("max-age", Some(0)),
            ("max-age=", Some(0)),
            ("max-age=-60", Some(0)),
            ("max-age='60'", Some(0)),
            ("max-age=60.0", Some(0)),
            ("max-age=6x", Some(0)),
            ("max-age =60", Some(0)),
            ("max-age= 60", Some(0)),
            ("max-age=60=60", Some(0)),
            ("max-age=\"60", Some(0)),
            ("max-age=60, max-age=60", Some(60)),
            ("max-age=60, max-age=61", Some(0)),
            ("max-age=60, x=\"no-store", Some(0)),
        ] {
            assert_eq!(read(&[value]).max_age, max_age, "{value}");
        }
        assert_eq!(read(&["max-age=60", "max-age=1"]).max_age, Some(0), "lines are one list");
        assert_eq!(read(&["s-maxage=9, max-age=1"]).s_maxage, Some(9));
    }

    #[test]
    fn a_string_that_is_not_closed_hides_no_directive() {
        let directives = read(&["max-age=60, x=\"a, no-store, private"]);
        assert!(directives.no_store && directives.private);
        assert_eq!(directives.max_age, Some(0));
        assert!(!read(&["x=\"no-store\""]).no_store);
    }

    #[test]
    fn fields_are_withheld_by_name_or_all_of_it_is_meant() {
        let directives = read(&["no-cache=\"x-a, X-B\", private=x-c"]);
        assert_eq!(directives.withheld, ["x-a", "x-b", "x-c"]);
        assert!(!directives.no_cache && !directives.private);
        for value in
            ["no-cache", "no-cache=", "no-cache=\"\"", "no-cache=\"a b\"", "no-cache=\"x-a, vary\""]
        {
            assert!(read(&[value]).no_cache, "{value}");
        }
        assert!(read(&["private=\"content-encoding\""]).private);
        assert!(read(&["no-cache=\"x-a\", no-cache"]).no_cache);
    }

    #[test]
    fn of_a_request_the_stricter_number_counts() {
        assert_eq!(read(&["max-stale"]).max_stale, Some(FOREVER));
        assert_eq!(read(&["max-stale=5, max-stale"]).max_stale, Some(5));
        assert_eq!(read(&["max-stale=x"]).max_stale, Some(0));
        assert_eq!(read(&["min-fresh=5, min-fresh=9"]).min_fresh, Some(9));
        assert_eq!(read(&["min-fresh=x"]).min_fresh, Some(FOREVER));
    }

    #[test]
    fn a_targeted_field_goes_before_cache_control() {
        let directives = targeted("max-age=60, foo, must-revalidate;x=1");
        assert!(directives.targeted && directives.must_revalidate && !directives.no_store);
        assert_eq!(directives.max_age, Some(60));
        assert_eq!(targeted("max-age=999999999999").max_age, Some(999_999_999_999));
        assert_eq!(targeted("max-age=-1").max_age, Some(0));
        assert!(targeted("private=\"x-a\"").private);
        assert!(!targeted("private=?0").private);
    }

    #[test]
    fn a_targeted_field_that_cannot_be_read_is_as_if_it_were_not_there() {
        for value in [
            "",
            "max-age=60, &",
            "max-age=\"60\"",
            "Max-Age=60",
            "max-age =60",
            "no-store=1",
            "max-age",
        ] {
            let directives = targeted(value);
            assert!(directives.no_store && !directives.targeted, "{value}");
        }
    }

    #[test]
    fn the_first_targeted_field_that_is_there_wins() {
        let rules = FreshnessRules {
            targeted: ["a-cache-control", "b-cache-control"].map(HeaderName::from_static).into(),
            ..FreshnessRules::default()
        };
        let mut headers = HeaderMap::new();
        headers.insert("b-cache-control", HeaderValue::from_static("max-age=2"));
        assert_eq!(Directives::of_response(&headers, &rules).max_age, Some(2));
        headers.insert("a-cache-control", HeaderValue::from_static("max-age=1"));
        assert_eq!(Directives::of_response(&headers, &rules).max_age, Some(1));
    }
}
