//! The links of an HTML page, replaced; all else stays byte for byte.
//!
//! For pages that programs write for programs (PEP 503). What must stay true: only `href` of `<a>` and
//! `<base>` is looked at; what is no well-formed tag stays as it is.

use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// `<a>`
    Link,
    /// `<base>`: what relative links behind it are relative to.
    Base,
}

/// `text` gets each link, without its escapes; none leaves it as it is.
pub(super) fn links(body: &[u8], text: &dyn Fn(Tag, &str) -> Option<String>) -> Vec<u8> {
    let mut made = Vec::with_capacity(body.len() + body.len() / 4);
    let mut rest = body;
    while let Some(at) = rest.iter().position(|byte| *byte == b'<') {
        let (before, tag) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        made.extend_from_slice(before);
        let (tag, behind) = tag.split_at_checked(length(tag)).unwrap_or((tag, &[]));
        let replaced = href(tag).and_then(|(kind, place)| {
            let link = unescaped(std::str::from_utf8(tag.get(place.clone())?).ok()?)?;
            Some((place, escaped(&text(kind, link.trim())?)))
        });
        match replaced {
            Some((place, link)) => {
                made.extend_from_slice(tag.get(..place.start).unwrap_or_default());
                made.extend_from_slice(link.as_bytes());
                made.extend_from_slice(tag.get(place.end..).unwrap_or_default());
            }
            None => made.extend_from_slice(tag),
        }
        rest = behind;
    }
    made.extend_from_slice(rest);
    made
}

/// Of the tag or comment that begins here.
fn length(tag: &[u8]) -> usize {
    if tag.starts_with(b"<!--") {
        let end = tag.windows(3).skip(4).position(|part| part == b"-->");
        return end.map_or(tag.len(), |end| end + 7);
    }
    let mut quote = None;
    for (at, byte) in tag.iter().enumerate() {
        match (byte, quote) {
            (b'"' | b'\'', None) => quote = Some(*byte),
            (byte, Some(open)) if *byte == open => quote = None,
            (b'>', None) => return at + 1,
            _ => {}
        }
    }
    tag.len()
}

/// Where the value of `href` is in a tag that has one, without its quotes.
fn href(tag: &[u8]) -> Option<(Tag, Range<usize>)> {
    let name = tag.get(1..)?.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let mut at = 1 + name;
    let kind = match tag.get(1..at)? {
        name if name.eq_ignore_ascii_case(b"a") => Tag::Link,
        name if name.eq_ignore_ascii_case(b"base") => Tag::Base,
        _ => return None,
    };
    let skip = |mut at: usize| {
        while tag.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        at
    };
    loop {
        at = skip(at);
        let is_name = |byte: &&u8| !byte.is_ascii_whitespace() && !b"=>/".contains(byte);
        let attribute = at..at + tag.get(at..)?.iter().take_while(is_name).count();
        if attribute.is_empty() {
            // A slash that closes the tag, or its end.
            at += 1;
            tag.get(at)?;
            continue;
        }
        at = skip(attribute.end);
        if tag.get(at) != Some(&b'=') {
            continue;
        }
        at = skip(at + 1);
        let value = match tag.get(at)? {
            quote @ (b'"' | b'\'') => {
                let start = at + 1;
                let length = tag.get(start..)?.iter().position(|byte| byte == quote)?;
                at = start + length + 1;
                start..start + length
            }
            _ => {
                let is_value = |byte: &&u8| !byte.is_ascii_whitespace() && **byte != b'>';
                let length = tag.get(at..)?.iter().take_while(is_value).count();
                let start = at;
                at += length;
                start..at
            }
        };
        if tag.get(attribute)?.eq_ignore_ascii_case(b"href") {
            return Some((kind, value));
        }
    }
}

/// None for an escape that no URL needs: then the link is left alone.
fn unescaped(value: &str) -> Option<String> {
    let mut made = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, behind)) = rest.split_once('&') {
        made.push_str(before);
        // A bare `&` stands for itself.
        let Some((name, behind)) = behind.split_once(';').filter(|(name, _)| name.len() < 8) else {
            made.push('&');
            rest = behind;
            continue;
        };
        made.push(match name {
            "amp" | "#38" | "#x26" => '&',
            "quot" | "#34" | "#x22" => '"',
            "apos" | "#39" | "#x27" => '\'',
            "lt" | "#60" | "#x3c" => '<',
            "gt" | "#62" | "#x3e" => '>',
            "#43" | "#x2b" | "#x2B" => '+',
            "#61" | "#x3d" | "#x3D" => '=',
            "#x2f" | "#x2F" | "#47" => '/',
            _ => return None,
        });
        rest = behind;
    }
    made.push_str(rest);
    Some(made)
}

/// Also for a value that stands without quotes.
fn escaped(link: &str) -> String {
    let mut made = String::with_capacity(link.len());
    for letter in link.chars() {
        match letter {
            '&' => made.push_str("&amp;"),
            '"' => made.push_str("&quot;"),
            '\'' => made.push_str("&#39;"),
            '<' => made.push_str("&lt;"),
            '>' => made.push_str("&gt;"),
            ' ' => made.push_str("%20"),
            other => made.push(other),
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shout(_: Tag, text: &str) -> Option<String> {
        (!text.starts_with("no")).then(|| text.to_ascii_uppercase())
    }

    #[test]
    fn links_change_and_nothing_else() {
        for (body, wanted) in [
            (
                r#"<a href="x#sha256=1" data-x="y">x</a>"#,
                r#"<a href="X#SHA256=1" data-x="y">x</a>"#,
            ),
            ("<A\n HREF = 'x' >x</A>", "<A\n HREF = 'X' >x</A>"),
            (
                "<a data-requires-python=\"&gt;=3\" href=x>x</a>",
                "<a data-requires-python=\"&gt;=3\" href=X>x</a>",
            ),
            ("<a title=\"a > b\" href=\"x\">", "<a title=\"a > b\" href=\"X\">"),
            ("<a title='href=\"x\"' href='y'>", "<a title='href=\"x\"' href='Y'>"),
            ("<a hrefs=\"x\" download href=\"y\"/>", "<a hrefs=\"x\" download href=\"Y\"/>"),
            ("<a href=\"?a=1&amp;b\">", "<a href=\"?A=1&amp;B\">"),
            ("<a href=\"?a=1&b=2\">", "<a href=\"?A=1&amp;B=2\">"),
            ("<a href=\"x&hearts;\">", "<a href=\"x&hearts;\">"),
            (
                "<base href=\"x\"><abbr href=\"x\"><link href=\"x\">",
                "<base href=\"X\"><abbr href=\"x\"><link href=\"x\">",
            ),
            ("<!-- <a href=\"x\"> --><a href=\"y\">", "<!-- <a href=\"x\"> --><a href=\"Y\">"),
            ("<a href=\"no\">", "<a href=\"no\">"),
            ("a < b <a href=\"x", "a < b <a href=\"x"),
            ("<a", "<a"),
            ("<!--", "<!--"),
            ("<", "<"),
            ("", ""),
        ] {
            let made = links(body.as_bytes(), &shout);
            assert_eq!(String::from_utf8(made).unwrap(), wanted, "{body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_not_replaced_stays(body in "[a<>\"' =/!hrefHREF&;x-]{0,64}") {
            let made = links(body.as_bytes(), &|_, _| None);
            proptest::prop_assert_eq!(String::from_utf8(made).unwrap(), body);
        }
    }
}
