//! What a rule can want of a value.
//!
//! Called by `conservative` with the body that will be sent. What must stay true: a value of a type
//! that a predicate does not expect is refused, and absent, null and zero values pass everywhere.

use super::rules::Rule;
use crate::api::doc::Value;
use crate::policy::Reason;

#[derive(Debug)]
pub(super) enum Must {
    BeZero,
    /// Not even an empty list.
    BeNull,
    NotBeHost,
    BeOneOf(&'static [&'static str]),
    /// Capabilities to add: only these, with or without `CAP_`, in any case.
    AddOnly(&'static [&'static str]),
    /// Security options: only `no-new-privileges`.
    OnlyTighten,
    /// Binds: `volume:/path`, `/path`, never `/host/path:/path`.
    BindVolumesOnly,
}

/// Checks every value that the rule's path reaches.
pub(super) fn check(rule: &Rule, root: &Value) -> Result<(), Reason> {
    walk(rule, rule.path, root)
}

fn walk(rule: &Rule, path: &[&str], value: &Value) -> Result<(), Reason> {
    match path.split_first() {
        None => judge(rule, value),
        Some((&"*", rest)) => value.items().iter().try_for_each(|item| walk(rule, rest, item)),
        Some((key, rest)) => match value.get(key) {
            Some(value) => walk(rule, rest, value),
            None => Ok(()),
        },
    }
}

fn judge(rule: &Rule, value: &Value) -> Result<(), Reason> {
    let text = value.as_str().unwrap_or_default();
    let (holds, why) = match &rule.must {
        Must::BeZero => (value.is_zero(), zero_of(value).into()),
        Must::BeNull => (*value == Value::Null, "must be null or left out".into()),
        Must::NotBeHost => (text != "host", "must not be `host`".into()),
        Must::BeOneOf(list) => (list.contains(&text), format!("must be {}", choice(list))),
        Must::AddOnly(list) => (
            all(value, |item| list.contains(&capability(item).as_str())),
            "must stay within Docker's default set".into(),
        ),
        Must::OnlyTighten => {
            (all(value, only_tightens), "must be empty or `no-new-privileges`".into())
        }
        Must::BindVolumesOnly => {
            (all(value, |bind| !binds_the_host(bind)), "must not name a path of the host".into())
        }
    };
    let is_typed = matches!(value, Value::Null | Value::String(_));
    let wants_text = matches!(rule.must, Must::NotBeHost | Must::BeOneOf(_));
    if holds && (is_typed || !wants_text) {
        return Ok(());
    }
    Err(Reason::new(rule.id, rule.path.join("."), why, rule.hint))
}

fn all(list: &Value, holds: impl Fn(&str) -> bool) -> bool {
    match list {
        Value::Null => true,
        // Null in a list of strings is Go's empty string.
        Value::List(items) => items.iter().all(|item| holds(item.as_str().unwrap_or_default())),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => false,
    }
}

/// `cap_sys_admin`, `CAP_SYS_ADMIN` and `SYS_ADMIN` are one (`oci/caps/utils.go`).
fn capability(name: &str) -> String {
    let upper = name.trim().to_ascii_uppercase();
    upper.strip_prefix("CAP_").map(str::to_owned).unwrap_or(upper)
}

/// dockerd takes `=` and, from older times, `:` between name and value.
fn only_tightens(option: &str) -> bool {
    ["no-new-privileges", "no-new-privileges=true", "no-new-privileges:true"].contains(&option)
}

/// A bind is `source:target[:options]`; a source with a slash is a path, one without a volume. A
/// lone target makes an anonymous volume.
fn binds_the_host(bind: &str) -> bool {
    bind.split_once(':').is_some_and(|(source, _)| {
        source.is_empty() || source.contains(['/', '\\']) || source.starts_with(['.', '~'])
    })
}

fn zero_of(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "must be false",
        Value::Number(_) => "must be 0",
        Value::Null | Value::String(_) | Value::List(_) | Value::Object(_) => "must be empty",
    }
}

fn choice(list: &[&str]) -> String {
    let named: Vec<_> =
        list.iter().filter(|item| !item.is_empty()).map(|i| format!("`{i}`")).collect();
    match named.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "empty".to_owned(),
    }
}
