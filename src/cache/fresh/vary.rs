//! Variants of one URL (RFC 9111 §4.1).
//!
//! `serve` writes `variant` into what is stored, and the store asks with it. What must stay true: two
//! requests have the same variant only if every origin must understand them as the same.

use http::header::{
    ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE, HeaderMap,
    HeaderName, PROXY_AUTHORIZATION, VARY,
};

use super::directives::cut_member;

/// What the response was chosen by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Vary {
    /// `*`, or what cannot be read.
    Everything,
    /// Sorted, each once.
    Fields(Vec<HeaderName>),
}

impl Vary {
    pub(super) fn of(response: &HeaderMap) -> Vary {
        let mut names = Vec::new();
        for line in response.get_all(VARY) {
            for member in line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                match HeaderName::from_bytes(member) {
                    Ok(_) if member == b"*" => return Vary::Everything,
                    Ok(name) => names.push(name),
                    Err(_) if member.is_empty() => {}
                    Err(_) => return Vary::Everything,
                }
            }
        }
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        Vary::Fields(names)
    }
}

/// The request's fields that the response was chosen by, sorted, each once; none for `*`, which
/// `may_store` refuses.
pub fn vary_names(response: &HeaderMap) -> Vec<HeaderName> {
    match Vary::of(response) {
        Vary::Everything => Vec::new(),
        Vary::Fields(names) => names,
    }
}

/// What stands for the value of a field wherever a variant is written down; none: the value itself, which
/// is nobody's secret.
pub type Seal<'s> = &'s dyn Fn(&HeaderName, &[u8]) -> Option<String>;

/// These fields of a request, in a form in which it does not matter how they were written.
pub fn variant(
    names: &[HeaderName],
    request: &HeaderMap,
    seal: Seal<'_>,
) -> Vec<(String, Option<String>)> {
    names.iter().map(|name| (name.as_str().to_owned(), normalised(name, request, seal))).collect()
}

fn normalised(name: &HeaderName, request: &HeaderMap, seal: Seal<'_>) -> Option<String> {
    if !request.contains_key(name) {
        return None;
    }
    let lines: Vec<&[u8]> = request.get_all(name).iter().map(|line| line.as_bytes()).collect();
    let value = lines.join(&b","[..]);
    let text = match *name {
        // The partition tells credentials apart, and they are not written to disk.
        AUTHORIZATION | COOKIE | PROXY_AUTHORIZATION => b"present".to_vec(),
        ACCEPT_LANGUAGE | ACCEPT_ENCODING | ACCEPT_CHARSET => preferences(&value),
        // Origins choose the first of equals: its order means something.
        ACCEPT => members(&value).iter().map(|it| compact(it)).collect::<Vec<_>>().join(&b","[..]),
        _ => members(&value).join(&b","[..]),
    };
    // As Latin-1, so that different bytes stay different text.
    let clear = |text: Vec<u8>| text.into_iter().map(char::from).collect();
    Some(seal(name, &text).unwrap_or_else(|| clear(text)))
}

/// The members of a list without the whitespace around them.
fn members(value: &[u8]) -> Vec<&[u8]> {
    let mut members = Vec::new();
    let mut rest = value;
    while let Some(cut) = cut_member(rest) {
        members.push(cut.member.trim_ascii());
        rest = cut.rest;
    }
    members
}

/// A list of languages, codings or character sets: case, order, repetition and `q=1` say nothing.
fn preferences(value: &[u8]) -> Vec<u8> {
    let lower = value.to_ascii_lowercase();
    let mut list: Vec<Vec<u8>> = members(&lower).into_iter().map(compact).collect();
    list.retain(|member| !member.is_empty());
    list.iter_mut().for_each(shorten_weight);
    list.sort_unstable();
    list.dedup();
    list.join(&b","[..])
}

/// Without whitespace, but for that in quoted strings.
fn compact(member: &[u8]) -> Vec<u8> {
    let mut quoted = false;
    let mut escaped = false;
    let mut kept = Vec::with_capacity(member.len());
    for byte in member {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b' ' | b'\t' if !quoted => continue,
            _ => {}
        }
        kept.push(*byte);
    }
    kept
}

/// `;q=0.80` as `;q=0.8`, and `;q=1.000` not at all.
fn shorten_weight(member: &mut Vec<u8>) {
    let Some(at) = member.windows(3).position(|part| part == b";q=") else { return };
    while member.contains(&b'.') && member.last() == Some(&b'0') {
        member.pop();
    }
    if member.last() == Some(&b'.') {
        member.pop();
    }
    if member.get(at..) == Some(b";q=1") {
        member.truncate(at);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn vary(lines: &[&str]) -> Vary {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(VARY, HeaderValue::from_str(line).unwrap());
        }
        Vary::of(&headers)
    }

    fn one(name: &'static str, lines: &[&[u8]]) -> Option<String> {
        let name = HeaderName::from_static(name);
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&name, HeaderValue::from_bytes(line).unwrap());
        }
        variant(&[name], &headers, &|_, _| None).remove(0).1
    }

    #[test]
    fn names_are_sorted_and_each_is_there_once() {
        let Vary::Fields(names) = vary(&["X-B , accept,", "", "x-b,Cookie"]) else { panic!() };
        assert_eq!(names, ["accept", "cookie", "x-b"]);
        assert_eq!(vary(&[]), Vary::Fields(Vec::new()));
    }

    #[test]
    fn a_star_anywhere_or_what_cannot_be_read_is_everything() {
        for lines in [&["*"][..], &[",*"], &["", "*"], &["x, *"], &["*, x"], &["x y"], &["x;y"]] {
            assert_eq!(vary(lines), Vary::Everything, "{lines:?}");
        }
    }

    #[test]
    fn a_field_that_is_not_there_is_not_an_empty_one() {
        assert_eq!(one("x-a", &[]), None);
        assert_eq!(one("x-a", &[b""]), Some(String::new()));
    }

    #[test]
    fn lines_and_space_around_commas_say_nothing() {
        for lines in [&[&b"a, b"[..]][..], &[b"a,b"], &[b"a", b"b"], &[b"  a ,\tb "]] {
            assert_eq!(one("x-a", lines).as_deref(), Some("a,b"), "{lines:?}");
        }
        assert_eq!(one("x-a", &[b"\"a, b\" , c"]).as_deref(), Some("\"a, b\",c"));
        assert_ne!(one("x-a", &[b"a,b"]), one("x-a", &[b"b,a"]));
        assert_ne!(one("x-a", &[b"a,b"]), one("x-a", &[b"A,b"]));
        assert_ne!(one("x-a", &[b"\xe9"]), one("x-a", &["\u{e9}".as_bytes()]));
    }

    #[test]
    fn of_languages_and_codings_case_order_and_full_weight_say_nothing() {
        let same: [&[u8]; 5] = [
            b"da, en-gb;q=0.80",
            b"en-GB; q=0.8,DA",
            b"da;q=1, en-gb;q=0.8",
            b"DA;q=1.000 , en-gb ;Q=.8",
            b"da,da,,en-gb;q=0.8",
        ];
        for value in same.iter().take(3).chain([&same[4]]) {
            assert_eq!(one("accept-language", &[value]).as_deref(), Some("da,en-gb;q=0.8"));
        }
        assert_ne!(one("accept-language", &[same[3]]), one("accept-language", &[same[0]]));
        assert_eq!(one("accept-encoding", &[b"gzip, br"]), one("accept-encoding", &[b"BR,gzip"]));
        assert_ne!(one("accept-encoding", &[b"gzip;q=0"]), one("accept-encoding", &[b"gzip"]));
        assert_ne!(one("accept-encoding", &[b""]), one("accept-encoding", &[]));
    }

    #[test]
    fn of_accept_the_order_counts() {
        assert_eq!(
            one("accept", &[b"text/html ; level=1, */*"]).as_deref(),
            Some("text/html;level=1,*/*")
        );
        assert_ne!(one("accept", &[b"a/b, c/d"]), one("accept", &[b"c/d, a/b"]));
    }

    #[test]
    fn what_is_sealed_is_normalised_first() {
        let name = HeaderName::from_static("x-a");
        let mut headers = HeaderMap::new();
        headers.insert(&name, HeaderValue::from_static("a ,  b"));
        let seal = |of: &HeaderName, value: &[u8]| Some(format!("{of} {}", value.len()));
        assert_eq!(variant(&[name], &headers, &seal)[0].1.as_deref(), Some("x-a 3"));
    }

    #[test]
    fn credentials_are_not_in_a_variant() {
        assert_eq!(one("authorization", &[b"Basic c2VjcmV0"]).as_deref(), Some("present"));
        assert_eq!(one("cookie", &[b"a=secret"]).as_deref(), Some("present"));
        assert_eq!(one("cookie", &[]), None);
    }
}
