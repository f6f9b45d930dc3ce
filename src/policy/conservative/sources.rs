//! The rules of a listener, as BuildKit's own source policy.
//!
//! What a Dockerfile, a frontend or a nested build fetches is known to nobody before BuildKit comes to it: `FROM`, `ADD`,
//! `COPY --from`, `# syntax=`. BuildKit asks the policy of the build before it fetches anything (sourcepolicy/engine.go),
//! engines do from 24 on. `Conservative` puts this one behind the client's own. What must stay true: of the rules that
//! match, the last one counts, so that nothing the client says comes after ours but what denies; of two rules with one
//! pattern BuildKit asks by the conditions of the first (`selectorCache`), so that ours stand in front as well, and no two
//! of ours have the same; what is not allowed in so many words is denied.

use std::borrow::Cow;

use regex::escape;

use super::fetch::Fetches;
use super::registry::Registries;
use crate::api::buildkit::session::UPLOADS;
use crate::api::doc::Value;
use crate::wire::url::HttpUrl;

/// The client's rules, ours, and again those of the client's that deny. None where that would change what the client
/// means: a rule that allows, behind one that denies, has no place then.
pub(super) fn policy(
    client: Option<&Value>,
    registries: &Registries,
    fetches: &Fetches,
) -> Option<Value> {
    let theirs =
        client.and_then(|policy| policy.get("rules")).map(Value::items).unwrap_or_default();
    let action = |rule: &Value| rule.get("action").and_then(Value::as_str).map(str::to_owned);
    let allows = |rule: &&Value| matches!(action(rule).as_deref(), None | Some("ALLOW"));
    let denies = |rule: &&Value| action(rule).as_deref() == Some("DENY");
    if theirs.iter().any(|rule| allows(&rule)) && theirs.iter().any(|rule| denies(&rule)) {
        return None;
    }
    let ours = apart(ours(registries, fetches));
    let mut rules = ours.clone();
    rules.extend_from_slice(theirs);
    rules.extend(ours);
    rules.extend(theirs.iter().filter(denies).cloned());
    let version = client.and_then(|policy| policy.get("version")).cloned();
    Some(object([
        ("version", version.unwrap_or(Value::Number(1.into()))),
        ("rules", Value::List(rules)),
    ]))
}

/// Each with a pattern of its own: an empty group has a name.
fn apart(mut rules: Vec<Value>) -> Vec<Value> {
    for (index, rule) in rules.iter_mut().enumerate() {
        let identifier =
            rule.get_mut("selector").and_then(|selector| selector.get_mut("identifier"));
        if let Some(Value::String(pattern)) = identifier {
            *pattern = format!("(?P<r{index}>){pattern}");
        }
    }
    rules
}

fn ours(registries: &Registries, fetches: &Fetches) -> Vec<Value> {
    let mut rules = vec![rule("DENY", "", &[]), rule("ALLOW", "^(local|oci-layout)://", &[])];
    rules.push(rule("ALLOW", &format!("^{UPLOADS}"), &[]));
    for host in registries.patterns() {
        rules.push(rule("ALLOW", &format!("^docker-image://{host}/"), &[]));
    }
    for host in registries.denied() {
        rules.push(rule("DENY", &format!("^docker-image://{host}/"), &[]));
    }
    for url in fetches.files() {
        let scheme = if url.is_secure { "https" } else { "http" };
        let place = place(url);
        rules.push(rule("ALLOW", &format!("^{scheme}://{place}"), &[]));
    }
    for url in fetches.repositories() {
        rules.push(rule("ALLOW", &format!("^git://{}", place(url)), &[]));
    }
    // Where a repository really is stands in an attribute, whatever the identifier says (source/git/source.go).
    rules.push(rule("DENY", "^git://", &[("git.fullurl", ".")]));
    rules.push(rule("DENY", "^git://", &[("git.bundle", ".")]));
    for url in fetches.repositories() {
        let scheme = if url.is_secure { "https" } else { "http" };
        let (identifier, place) = (format!("^git://{}", place(url)), place(url));
        let at = format!("^({scheme}://|git://|ssh://([A-Za-z0-9_.-]+@)?){place}");
        rules.push(rule("ALLOW", &identifier, &[("git.fullurl", &at)]));
        let (host, path) = (escape(&url.host), escape(url.path.trim_start_matches('/')));
        let as_scp = format!("^[A-Za-z0-9_.-]+@{host}:/?{path}{}", end(url));
        rules.push(rule("ALLOW", &identifier, &[("git.fullurl", &as_scp)]));
    }
    if fetches.files().iter().any(|url| url.path != "/") {
        // Parts that lead up again, or that may once a server has decoded them.
        rules.push(rule(
            "DENY",
            r"(?i)^(https?|git)://[^?#]*(/\.\.?(/|$|\?|#)|%2e|%2f|%5c|\\)",
            &[],
        ));
        rules.push(rule(
            "DENY",
            "^git://",
            &[("git.fullurl", r"(?i)(/\.\.?(/|$|#)|%2e|%2f|%5c|\\)")],
        ));
    }
    rules
}

/// A prefix as a regular expression: with its port where that is not the usual one.
fn place(url: &HttpUrl) -> String {
    let usual = if url.is_secure { 443 } else { 80 };
    let port = if url.port == usual { String::new() } else { format!(":{}", url.port) };
    format!("(?i:{}){port}{}{}", escape(&url.host), escape(&url.path), end(url))
}

/// Behind a prefix. One that does not end in a slash is a file, or a folder.
fn end(url: &HttpUrl) -> &'static str {
    if url.path.ends_with('/') { "" } else { "(/|[?#]|$)" }
}

fn rule(action: &'static str, pattern: &str, attributes: &[(&'static str, &str)]) -> Value {
    let constraints = attributes.iter().map(|(key, value)| {
        object([("key", text(key)), ("value", text(value)), ("condition", text("MATCHES"))])
    });
    let mut selector = vec![("identifier", text(pattern)), ("match_type", text("REGEX"))];
    let constraints: Vec<Value> = constraints.collect();
    if !constraints.is_empty() {
        selector.push(("constraints", Value::List(constraints)));
    }
    object([("action", text(action)), ("selector", object(selector))])
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn object(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Object(entries.into_iter().map(|(key, value)| (Cow::Borrowed(key), value)).collect())
}

#[cfg(test)]
mod tests;
