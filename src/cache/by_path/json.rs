//! The strings under one key of a JSON document, replaced; all else stays byte for byte.
//!
//! A registry's document may have megabytes: it is not made into a tree. What must stay true: a string is
//! only taken for a value where the key stands before it, with a colon.

/// `text` gets each value; none leaves it as it is.
pub(super) fn values(body: &[u8], key: &str, text: &dyn Fn(&str) -> Option<String>) -> Vec<u8> {
    let mut made = Vec::with_capacity(body.len() + body.len() / 8);
    let mut rest = body;
    let mut is_after_key = false;
    while let Some(at) = rest.iter().position(|byte| *byte == b'"') {
        let (before, string) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        let is_value = is_after_key && before.trim_ascii() == b":";
        made.extend_from_slice(before);
        let (literal, behind) = string.split_at_checked(length(string)).unwrap_or((string, &[]));
        let replaced =
            if is_value { decoded(literal).and_then(|value| text(&value)) } else { None };
        match replaced.and_then(|text| serde_json::to_string(&text).ok()) {
            Some(text) => made.extend_from_slice(text.as_bytes()),
            None => made.extend_from_slice(literal),
        }
        is_after_key = !is_value && decoded_is(literal, key);
        rest = behind;
    }
    made.extend_from_slice(rest);
    made
}

/// Of the literal that begins here, with its quotes.
fn length(string: &[u8]) -> usize {
    let mut is_escaped = false;
    for (at, byte) in string.iter().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    string.len()
}

fn decoded(literal: &[u8]) -> Option<String> {
    serde_json::from_str(std::str::from_utf8(literal).ok()?).ok()
}

/// Keys are hardly ever written with escapes.
fn decoded_is(literal: &[u8], key: &str) -> bool {
    let inner = literal.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\""));
    match inner {
        Some(inner) if inner.contains(&b'\\') => decoded(literal).is_some_and(|text| text == key),
        inner => inner == Some(key.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shout(text: &str) -> Option<String> {
        text.starts_with("http").then(|| text.to_ascii_uppercase())
    }

    #[test]
    fn values_of_the_key_change_and_nothing_else() {
        for (body, wanted) in [
            (r#"{"url":"http://a"}"#, r#"{"url":"HTTP://A"}"#),
            (r#"{ "url" : "http:\/\/a" , "x":1}"#, r#"{ "url" : "HTTP://A" , "x":1}"#),
            (r#"{"u\u0072l":"http://a"}"#, r#"{"u\u0072l":"HTTP://A"}"#),
            (r#"{"x":"url","y":"http://a"}"#, r#"{"x":"url","y":"http://a"}"#),
            (r#"["url","http://a"]"#, r#"["url","http://a"]"#),
            (r#"{"url":["http://a"]}"#, r#"{"url":["http://a"]}"#),
            (r#"{"url":{"url":"http://a"}}"#, r#"{"url":{"url":"HTTP://A"}}"#),
            (r#"{"url":"url","x":"http://a"}"#, r#"{"url":"url","x":"http://a"}"#),
            (r#"{"x":"\"url\":","url":"no"}"#, r#"{"x":"\"url\":","url":"no"}"#),
            (r#"{"url":"http://a"#, r#"{"url":"http://a"#),
            (r#"{"url":"http://a\"#, r#"{"url":"http://a\"#),
            ("", ""),
        ] {
            let made = values(body.as_bytes(), "url", &shout);
            assert_eq!(String::from_utf8(made).unwrap(), wanted, "{body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_not_replaced_stays(body: Vec<u8>) {
            proptest::prop_assert_eq!(values(&body, "url", &|_| None), body);
        }
    }
}
