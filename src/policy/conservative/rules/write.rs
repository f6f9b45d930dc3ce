//! A rule as a file would have it: one line of TOML.
//!
//! `learn` writes files with it. What must stay true: what is written here is read by `read` as the same
//! rule.

use super::allowed::Scalar;
use super::{Allowed, Requirement, Rule};
use crate::api::doc::Value;
use crate::config::units;

impl Rule {
    pub(in super::super) fn to_toml(&self, fill: Option<&Value>) -> String {
        let mut keys: Vec<String> = match &self.must {
            Requirement::BeAnything if fill.is_none() => return "\"any\"".to_owned(),
            Requirement::BeAnything => Vec::new(),
            Requirement::BeDropped => return "\"drop\"".to_owned(),
            Requirement::BeZero => vec!["zero = true".to_owned()],
            Requirement::BeNull => vec!["null = true".to_owned()],
            Requirement::Be(allowed) => allowed.iter().map(predicate).collect(),
        };
        match fill {
            Some(Value::String(text)) => keys.push(format!("fill = {}", quote(text))),
            Some(Value::Bool(value)) => keys.push(format!("fill = {value}")),
            _ => {}
        }
        for (key, text) in [("rule", &self.id), ("why", &self.why), ("hint", &self.hint)] {
            if !text.is_empty() {
                keys.push(format!("{key} = {}", quote(text)));
            }
        }
        format!("{{ {} }}", keys.join(", "))
    }
}

/// A basic string of TOML. That is one of JSON, but for DEL.
pub(in super::super) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

pub(in super::super) fn list(texts: &[String]) -> String {
    let quoted: Vec<_> = texts.iter().map(|text| quote(text)).collect();
    format!("[{}]", quoted.join(", "))
}

fn predicate(allowed: &Allowed) -> String {
    match allowed {
        Allowed::OneOf(items) => {
            let items: Vec<_> = items.iter().map(scalar).collect();
            format!("one-of = [{}]", items.join(", "))
        }
        Allowed::Range { least, most } => {
            let least = least.map(|least| format!("at-least = {least}"));
            let most = most.map(|most| format!("at-most = {most}"));
            least.into_iter().chain(most).collect::<Vec<_>>().join(", ")
        }
        Allowed::Size(least, most) => {
            format!("size = [\"{}\", \"{}\"]", units::show_bytes(*least), units::show_bytes(*most))
        }
        Allowed::Matches(pattern) => format!("matches = {}", quote(pattern.source())),
        Allowed::NotMatches(pattern) => format!("not-matches = {}", quote(pattern.source())),
        Allowed::KeysMatch(pattern) => format!("keys-match = {}", quote(pattern.source())),
        Allowed::KeysNotMatch(pattern) => format!("keys-not-match = {}", quote(pattern.source())),
        Allowed::Outside(paths) => format!("outside = {}", list(paths)),
        Allowed::Capabilities(names) => format!("capabilities = {}", list(names)),
        Allowed::Ulimits(limits) => {
            let one = |(name, most): (&String, &i64)| format!("{} = {most}", quote(name));
            format!("ulimits = {{ {} }}", limits.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        Allowed::Retries(most) => format!("retries = {most}"),
        Allowed::VolumeOptions => "volume-options = true".to_owned(),
        Allowed::TmpfsOptions(names) => format!("tmpfs-options = {}", list(names)),
        Allowed::Changes(names) => format!("changes = {}", list(names)),
        Allowed::Filters => "filters = true".to_owned(),
        Allowed::FiltersWith(names) => format!("filters-with = {}", list(names)),
        Allowed::RegistryOfName => "registry = \"name\"".to_owned(),
        Allowed::RegistryOfNames => "registry = \"names\"".to_owned(),
        Allowed::RegistryAddress => "registry = \"address\"".to_owned(),
        Allowed::Ports(most) => format!("ports = {most}"),
        Allowed::BuildSource => "build-source = true".to_owned(),
        Allowed::Exporter => "exporter = true".to_owned(),
        Allowed::Cache => "cache = true".to_owned(),
        Allowed::NamedVolume => "named-volume = true".to_owned(),
        Allowed::Bind => "allowed-bind = true".to_owned(),
        Allowed::OwnSocket => "own-socket = true".to_owned(),
        Allowed::OwnContainer(prefix) => format!("own-container = {}", quote(prefix)),
        Allowed::OwnNetwork => "own-network = true".to_owned(),
        Allowed::NewNetwork => "new-network = true".to_owned(),
        Allowed::EngineDefault => "engine-default = true".to_owned(),
        Allowed::NoHostMounts => "no-host-mounts = true".to_owned(),
    }
}

fn scalar(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Text(text) => quote(text),
        Scalar::Number(number) => number.to_string(),
        Scalar::Bool(value) => value.to_string(),
    }
}
