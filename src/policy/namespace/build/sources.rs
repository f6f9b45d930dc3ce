//! Which images a build reads, as BuildKit's own source policy: rules that turn what a Dockerfile names into the namespace's.
//!
//! BuildKit asks by the policy before it looks an image up, wherever its name comes from (sourcepolicy/engine.go), engines do
//! from 24 on. A rule that converts ends the walk, and all rules are asked anew about the result, until none changes it.
//! What must stay true: nothing that a user can write is left as it is, but what is shared and what is the namespace's own
//! already; ours stand in front, for BuildKit keeps of two rules with one pattern the first one's conditions.

use std::borrow::Cow;
use std::collections::BTreeMap;

use regex::escape;

use super::super::look::Looked;
use super::super::request::Request;
use crate::api::doc::Value;

const SCHEME: &str = "docker-image://";

/// Ours, and then what the client or the policies in front of this one say, about the names as they are then.
pub(super) fn policy(given: Option<&Value>, request: &Request<'_>) -> Looked<Value> {
    let own = request.with.prefix(request.tenant);
    let shared =
        request.with.settings.shared.iter().filter_map(|pattern| KeptName::of_pattern(pattern));
    let mut kept = vec![KeptName { text: own.clone(), end: End::Anywhere }];
    for one in shared {
        // Of two that begin alike, one would have to be told from the other behind that.
        if !kept.iter().any(|other| other.begins_like(&one)) {
            kept.push(one);
        }
    }
    let all: Vec<(&str, End)> = kept.iter().map(|one| (one.text.as_str(), one.end)).collect();
    let mut rules = Vec::new();
    if let Some(outside) = outside(&all) {
        let to = format!("{SCHEME}{own}${{1}}");
        rules.push(convert(&format!("^{SCHEME}({outside})"), to));
    }
    // A repository has no port in its name.
    let ported = format!("^({SCHEME}{}[A-Za-z0-9.-]+):([0-9]+)/", escape(&own));
    rules.push(convert(&ported, "${1}__${2}/".to_owned()));
    let given = given.and_then(|policy| policy.get("rules")).map(Value::items).unwrap_or_default();
    for rule in given {
        let about_own = about_own(rule, &own);
        rules.push(rule.clone());
        rules.extend(about_own);
    }
    // Whatever other ways there are to name an image.
    rules.push(rule("DENY", "^docker-image[^:]", Vec::new()));
    // A store of the client's that names layers which it does not hold gets the engine's, whoever's these are.
    rules.push(rule("DENY", "^oci-layout:", Vec::new()));
    Ok(object([("version", Value::Number(1.into())), ("rules", Value::List(rules))]))
}

/// What may be named as it is.
struct KeptName {
    text: String,
    end: End,
}

/// How a name goes on behind a text that it begins with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Anywhere,
    /// It is the whole repository: a tag or a digest may follow.
    Repository,
    /// Within one component.
    Component,
}

impl KeptName {
    /// Of `host/name`, `host/name/*`, `host/name/**`; others are not understood here, and not shared with builds.
    fn of_pattern(pattern: &str) -> Option<KeptName> {
        let (text, end) = match (pattern.strip_suffix("/**"), pattern.strip_suffix('*')) {
            (Some(text), _) => (format!("{text}/"), End::Anywhere),
            (None, Some(text)) => (text.to_owned(), End::Component),
            (None, None) => (pattern.to_owned(), End::Repository),
        };
        let is_plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:".contains(&b));
        (is_plain && text.contains('/')).then_some(KeptName { text, end })
    }

    fn begins_like(&self, other: &KeptName) -> bool {
        self.text.starts_with(&other.text) || other.text.starts_with(&self.text)
    }
}

/// A pattern of all beginnings that none of these has. RE2 has no other way to say `not`. None: there are none.
fn outside(kept: &[(&str, End)]) -> Option<String> {
    if let Some((_, end)) = kept.iter().find(|(text, _)| text.is_empty()) {
        return match end {
            End::Anywhere => None,
            End::Repository => Some("[^:@]".to_owned()),
            End::Component => Some("[^:@]*/".to_owned()),
        };
    }
    let mut next: BTreeMap<char, Vec<(&str, End)>> = BTreeMap::new();
    for (text, end) in kept {
        let mut rest = text.chars();
        if let Some(first) = rest.next() {
            next.entry(first).or_default().push((rest.as_str(), *end));
        }
    }
    let firsts: String = next.keys().map(|c| format!("\\x{:02x}", u32::from(*c))).collect();
    let mut ways = vec!["$".to_owned(), format!("[^{firsts}]")];
    for (first, kept) in &next {
        if let Some(behind) = outside(kept) {
            ways.push(format!("{}{behind}", escape(&first.to_string())));
        }
    }
    Some(format!("(?:{})", ways.join("|")))
}

/// The same rule about a name that has been converted; None for one that is not about images.
fn about_own(rule: &Value, own: &str) -> Option<Value> {
    let mut rule = rule.clone();
    let selector = rule.get_mut("selector")?;
    let is_pattern = selector.get("match_type").and_then(Value::as_str) == Some("REGEX");
    let identifier = selector.get_mut("identifier")?;
    let text = identifier.as_str()?;
    let sent = match is_pattern {
        true => {
            // `conservative` gives each pattern a name.
            let (name, bare) = text.split_once(">)").unwrap_or(("", text));
            let (name, bare) = match name.strip_prefix("(?P<") {
                Some(name) => (format!("(?P<{name}>)"), bare),
                None => (String::new(), text),
            };
            let rest = bare.strip_prefix('^')?.strip_prefix(SCHEME)?;
            format!("{name}^{SCHEME}{}{}", escape(own), without_ports(rest))
        }
        false => format!("{SCHEME}{own}{}", text.strip_prefix(SCHEME)?),
    };
    *identifier = Value::String(sent);
    Some(rule)
}

/// A pattern in which a host's port may stand as it does in a repository.
fn without_ports(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.char_indices().peekable();
    while let Some((_, c)) = chars.next() {
        // Not of `(?:` or `(?i:`.
        let is_group = out.ends_with("(?") || out.ends_with("(?i");
        let is_port = chars.peek().is_some_and(|(_, next)| next.is_ascii_digit() || *next == '[');
        match c == ':' && is_port && !is_group {
            true => out.push_str("(?::|__)"),
            false => out.push(c),
        }
    }
    out
}

fn convert(pattern: &str, to: String) -> Value {
    rule("CONVERT", pattern, vec![("updates", object([("identifier", Value::String(to))]))])
}

fn rule(action: &'static str, pattern: &str, more: Vec<(&'static str, Value)>) -> Value {
    let text = |text: &str| Value::String(text.to_owned());
    let selector = object([("identifier", text(pattern)), ("match_type", text("REGEX"))]);
    object([("action", text(action)), ("selector", selector)].into_iter().chain(more))
}

fn object(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Object(entries.into_iter().map(|(key, value)| (Cow::Borrowed(key), value)).collect())
}

#[cfg(test)]
mod tests;
