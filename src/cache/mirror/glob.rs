//! Patterns of paths: `/**/pool/**/*.{deb,dsc}`, `/packages/<hex:2>/<hex:2>/<hex:60>/*`.
//!
//! `rules` turns those of a file into one automaton. What must stay true: a pattern matches whole paths;
//! `*` never crosses a `/`.

/// The expression for a pattern, or what is wrong with it.
pub(super) fn expression(pattern: &str) -> Result<String, String> {
    if !pattern.starts_with('/') {
        return Err("does not begin with `/`".to_owned());
    }
    let mut out = "^".to_owned();
    let mut rest = pattern;
    let mut is_in_braces = false;
    while let Some(next) = rest.chars().next() {
        if rest == "/**" {
            out.push_str("/.*");
            break;
        }
        if let Some(after) = rest.strip_prefix("/**/") {
            out.push_str("/(?:.*/)?");
            rest = after;
            continue;
        }
        if rest.starts_with("**") {
            return Err("`**` stands for whole segments only".to_owned());
        }
        if let Some(after) = rest.strip_prefix('<') {
            let (class, after) = after.split_once('>').ok_or("`<` without `>`")?;
            out.push_str(&named_class(class)?);
            rest = after;
            continue;
        }
        match (next, is_in_braces) {
            ('*', _) => out.push_str("[^/]*"),
            ('{', true) => return Err("`{` within `{`".to_owned()),
            ('{', false) => out.push_str("(?:"),
            ('}', false) => return Err("`}` without `{`".to_owned()),
            ('}', true) => out.push(')'),
            (',', true) => out.push('|'),
            (' ' | '?' | '#' | '\\', _) => return Err(format!("`{next}` is in no path")),
            (plain, _) => out.push_str(&regex::escape(plain.encode_utf8(&mut [0; 4]))),
        }
        is_in_braces = next == '{' || (is_in_braces && next != '}');
        rest = rest.get(next.len_utf8()..).unwrap_or_default();
    }
    if is_in_braces {
        return Err("`{` without `}`".to_owned());
    }
    out.push('$');
    Ok(out)
}

fn named_class(class: &str) -> Result<String, String> {
    match class {
        "sha256" => Ok("(?P<sha256>[0-9a-f]{64})".to_owned()),
        "digits" => Ok("[0-9]+".to_owned()),
        _ => match class.strip_prefix("hex:").and_then(|count| count.parse::<u8>().ok()) {
            Some(count) if count > 0 => Ok(format!("[0-9a-f]{{{count}}}")),
            _ => Err(format!("there is no `<{class}>`: `<sha256>`, `<hex:N>` and `<digits>` are")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let expression = expression(pattern).unwrap();
        regex::Regex::new(&expression).unwrap().is_match(path)
    }

    #[test]
    fn stars_braces_and_classes_match_what_they_say() {
        for (pattern, yes, no) in [
            ("/a", &["/a"][..], &["/a/", "/ab", "//a", "/b/a"][..]),
            ("/*.deb", &["/x.deb", "/.deb"], &["/a/x.deb", "/x.debx", "/xdeb"]),
            ("/**/*.deb", &["/x.deb", "/a/b/x.deb", "//x.deb"], &["/x.deb/y"]),
            ("/**/p/**/x", &["/p/x", "/a/p/b/c/x"], &["/ap/x", "/p/ax"]),
            ("/a/**", &["/a/", "/a/b/c"], &["/a", "/ab"]),
            ("/{a,b*}.x{,.sig}", &["/a.x", "/bb.x.sig"], &["/c.x", "/a.x.", "/{a}.x"]),
            ("/<hex:2>/<digits>", &["/0f/12"], &["/0F/12", "/0/1", "/0ff/1", "/00/"]),
            ("/a+(b)[c]", &["/a+(b)[c]"], &["/aab"]),
        ] {
            yes.iter().for_each(|path| assert!(matches(pattern, path), "{pattern} {path}"));
            no.iter().for_each(|path| assert!(!matches(pattern, path), "{pattern} {path}"));
        }
    }

    #[test]
    fn what_makes_no_sense_is_no_pattern() {
        for bad in [
            "", "a", "**/a", "/a**", "/**a", "/{a", "/a}", "/{a{b}}", "/<hex>", "/<hex:0>", "/<x",
            "/a b", "/a?b",
        ] {
            assert!(expression(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_pattern_makes_an_expression_or_a_complaint(pattern in "/[a*/{},<>:hex0-9.+\\[\\]()|^$\u{e9}-]{0,20}") {
            if let Ok(expression) = expression(&pattern) {
                prop_assert!(regex::bytes::RegexBuilder::new(&expression).unicode(false).build().is_ok(), "{}", expression);
            }
        }
    }
}
