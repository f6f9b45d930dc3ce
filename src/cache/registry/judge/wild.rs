//! A pattern of tags, labels and the like: `*` is any characters, everything else stands for itself.
//!
//! Pure. What must stay true: a text is compared with the whole pattern.

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wild(String);

impl Wild {
    pub(super) fn all(texts: &[String]) -> Vec<Wild> {
        texts.iter().map(|text| Wild(text.clone())).collect()
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return self.0 == text };
        let Some(mut left) = text.strip_prefix(first) else { return false };
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        for part in middle.split('*') {
            // The first place leaves the most for those behind it.
            let Some((_, behind)) = left.split_once(part) else { return false };
            left = behind;
        }
        left.ends_with(last)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Wild {
    fn from(text: &str) -> Wild {
        Wild(text.to_owned())
    }
}

/// Whether one of them does.
pub(super) fn any(patterns: &[Wild], text: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(text))
}

/// For a message: what would have been right.
pub(super) fn listed(patterns: &[Wild]) -> String {
    let all: Vec<String> = patterns.iter().map(|one| format!("`{}`", one.as_str())).collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_is_any_characters() {
        for (pattern, text, is_one) in [
            ("v1", "v1", true),
            ("v1", "v10", false),
            ("v*", "v", true),
            ("v*", "v1/2", true),
            ("v*", "xv", false),
            ("*", "", true),
            ("**", "x", true),
            ("https://*", "https://a/b", true),
            ("*-rc*", "v1-rc2", true),
            ("*-rc*", "v1", false),
            ("a*a", "a", false),
            ("a*b*a", "aba", true),
            ("a*b*a", "abba", true),
            ("a*b*c", "acb", false),
            ("[a]?", "a1", false),
            ("[a]?", "[a]?", true),
        ] {
            assert_eq!(Wild::from(pattern).matches(text), is_one, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn it_is_what_the_same_pattern_as_a_regex_is(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
            let regex = format!("^{}$", pattern.replace('*', ".*"));
            let is_one = regex::Regex::new(&regex).unwrap().is_match(&text);
            prop_assert_eq!(Wild::from(pattern.as_str()).matches(&text), is_one);
        }
    }
}
