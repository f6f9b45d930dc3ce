//! The predicates of a rule: what a value may be.
//!
//! `read` makes them of a file's words; those that need only the value are decided here, the others by
//! `judge`, which knows the call. What must stay true: a value of a type that a predicate does not expect
//! does not hold.

use std::collections::BTreeMap;

use regex::Regex;
use toml::de::{DeInteger, DeValue};

use crate::api::doc::Value;
use crate::config::units;

/// Published by one container, where a file of rules says no number.
const MOST_PORTS: i64 = 100;

pub(super) const WORDS: &str = "`any`, `zero`, `null`, `one-of`, `at-least`, `at-most`, `size`, \
    `matches`, `not-matches`, `keys-match`, `keys-not-match`, `outside`, `capabilities`, `ulimits`, `retries`, \
    `volume-options`, `tmpfs-options`, `changes`, `filters`, `filters-with`, `registry`, `build-source`, `exporter`, `cache`, `ports`, \
    `named-volume`, `allowed-bind`, `own-socket`, `own-container`, `own-network`, `new-network`, \
    `no-host-mounts`, `engine-default`";

#[derive(Clone, Debug)]
pub(in super::super) enum Allowed {
    OneOf(Vec<Scalar>),
    Range {
        least: Option<i64>,
        most: Option<i64>,
    },
    /// Bytes as people write them, within these.
    Size(i64, i64),
    Matches(Pattern),
    NotMatches(Pattern),
    KeysMatch(Pattern),
    KeysNotMatch(Pattern),
    /// A path, cleaned, that is none of these and below none of them.
    Outside(Vec<String>),
    /// With or without `CAP_`, in any case.
    Capabilities(Vec<String>),
    /// Soft and hard at most this; -1 is no limit.
    Ulimits(BTreeMap<String, i64>),
    /// A restart policy that gives up after this many.
    Retries(i64),
    VolumeOptions,
    TmpfsOptions(Vec<String>),
    /// Lines of a Dockerfile that begin with these.
    Changes(Vec<String>),
    /// Filters without what is costly as a regular expression.
    Filters,
    /// Filters with one of these keys.
    FiltersWith(Vec<String>),
    /// In an image's name or a search term.
    RegistryOfName,
    /// In each of several names, with commas between them.
    RegistryOfNames,
    /// The address of a login.
    RegistryAddress,
    /// What a build may get something from.
    BuildSource,
    /// Where what was built may go.
    Exporter,
    /// Where a build's cache may come from and go.
    Cache,
    /// Those that the listener may take, and no more than this many.
    Ports(i64),
    NamedVolume,
    Bind,
    /// The engine's usual socket: the container gets the listener's own.
    OwnSocket,
    /// A container that could have been made here, behind this prefix.
    OwnContainer(String),
    OwnNetwork,
    /// A name that no network has, and that is not the beginning of the id of one.
    NewNetwork,
    /// Anything, as long as no path of the host is mounted.
    NoHostMounts,
    /// What this engine fills in by itself: a value of the whole place, never an element.
    EngineDefault,
}

#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Scalar {
    Text(String),
    Number(i64),
    Bool(bool),
}

/// A regular expression for the whole of a text.
#[derive(Clone, Debug)]
pub(in super::super) struct Pattern {
    source: String,
    regex: Regex,
}

/// A predicate by its word, none if there is no such word.
pub(super) fn read(word: &str, value: &DeValue<'_>) -> Result<Option<Allowed>, String> {
    Ok(Some(match word {
        "one-of" => Allowed::OneOf(list(value, scalar)?),
        "size" => match list(value, |one| units::bytes(one.as_str()?))?.as_slice() {
            [least, most] => Allowed::Size(*least, *most),
            _ => {
                return Err(
                    "must be the least and the most, such as `[\"64k\", \"1g\"]`".to_owned()
                );
            }
        },
        "matches" => Allowed::Matches(Pattern::new(value)?),
        "not-matches" => Allowed::NotMatches(Pattern::new(value)?),
        "keys-match" => Allowed::KeysMatch(Pattern::new(value)?),
        "keys-not-match" => Allowed::KeysNotMatch(Pattern::new(value)?),
        "outside" => Allowed::Outside(list(value, text)?),
        "capabilities" => Allowed::Capabilities(list(value, text)?),
        "ulimits" => Allowed::Ulimits(ulimits(value)?),
        "retries" => Allowed::Retries(integer(value).ok_or("must be an integer")?),
        "tmpfs-options" => Allowed::TmpfsOptions(list(value, text)?),
        "changes" => Allowed::Changes(list(value, text)?),
        "filters" => yes(value, Allowed::Filters)?,
        "filters-with" => Allowed::FiltersWith(list(value, text)?),
        "own-container" => Allowed::OwnContainer(text(value).ok_or("must be a prefix, or empty")?),
        "volume-options" => yes(value, Allowed::VolumeOptions)?,
        "registry" => match value.as_str() {
            Some("name") => Allowed::RegistryOfName,
            Some("names") => Allowed::RegistryOfNames,
            Some("address") => Allowed::RegistryAddress,
            _ => return Err("must be `name`, `names` or `address`".to_owned()),
        },
        "ports" => match integer(value) {
            Some(most) => Allowed::Ports(most),
            None => yes(value, Allowed::Ports(MOST_PORTS))?,
        },
        "build-source" => yes(value, Allowed::BuildSource)?,
        "exporter" => yes(value, Allowed::Exporter)?,
        "cache" => yes(value, Allowed::Cache)?,
        "named-volume" => yes(value, Allowed::NamedVolume)?,
        "allowed-bind" => yes(value, Allowed::Bind)?,
        "own-socket" => yes(value, Allowed::OwnSocket)?,
        "own-network" => yes(value, Allowed::OwnNetwork)?,
        "new-network" => yes(value, Allowed::NewNetwork)?,
        "no-host-mounts" => yes(value, Allowed::NoHostMounts)?,
        "engine-default" => yes(value, Allowed::EngineDefault)?,
        _ => return Ok(None),
    }))
}

fn list<T>(value: &DeValue<'_>, item: fn(&DeValue<'_>) -> Option<T>) -> Result<Vec<T>, String> {
    let items = value.as_array().map(|items| items.iter().map(|one| item(one.get_ref())).collect());
    items.flatten().ok_or_else(|| "must be a list of such values".to_owned())
}

fn yes(value: &DeValue<'_>, allowed: Allowed) -> Result<Allowed, String> {
    match value.as_bool() {
        Some(true) => Ok(allowed),
        _ => Err("must be `true`, or left out".to_owned()),
    }
}

fn ulimits(value: &DeValue<'_>) -> Result<BTreeMap<String, i64>, String> {
    let one = |name: &str, value: &DeValue<'_>| Some((name.to_owned(), integer(value)?));
    let table = value.as_table();
    let all = table.map(|t| t.iter().map(|(k, v)| one(k.get_ref(), v.get_ref())).collect());
    all.flatten().ok_or_else(|| "must be a table of names and integers".to_owned())
}

fn text(value: &DeValue<'_>) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn scalar(value: &DeValue<'_>) -> Option<Scalar> {
    match value {
        DeValue::String(text) => Some(Scalar::Text(text.to_string())),
        DeValue::Boolean(value) => Some(Scalar::Bool(*value)),
        DeValue::Integer(number) => decimal(number).map(Scalar::Number),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    value.as_integer().and_then(decimal)
}

fn decimal(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

impl Pattern {
    fn new(value: &DeValue<'_>) -> Result<Pattern, String> {
        Pattern::of(text(value).ok_or("must be a regular expression in a string")?)
    }

    pub(in super::super) fn of(source: String) -> Result<Pattern, String> {
        let regex = Regex::new(&format!("(?s)^(?:{source})$"));
        let regex = regex.map_err(|error| error.to_string().replace('\n', " "))?;
        Ok(Pattern { source, regex })
    }

    pub(in super::super) fn source(&self) -> &str {
        &self.source
    }

    pub(in super::super) fn holds(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

impl Scalar {
    pub(in super::super) fn as_str(&self) -> Option<&str> {
        match self {
            Scalar::Text(text) => Some(text),
            Scalar::Number(_) | Scalar::Bool(_) => None,
        }
    }

    pub(in super::super) fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Scalar::Text(wanted), Value::String(text)) => wanted == text,
            (Scalar::Bool(wanted), Value::Bool(given)) => wanted == given,
            (Scalar::Number(wanted), Value::Number(given)) => given.as_i64() == Some(*wanted),
            // In a query everything is text.
            (Scalar::Number(wanted), Value::String(text)) => text.parse() == Ok(*wanted),
            _ => false,
        }
    }
}

impl Allowed {
    /// Whether, of a list, it is for each element.
    pub(in super::super) fn is_of_elements(&self) -> bool {
        match self {
            Allowed::OneOf(_)
            | Allowed::Matches(_)
            | Allowed::NotMatches(_)
            | Allowed::Size(..)
            | Allowed::Outside(_)
            | Allowed::Capabilities(_)
            | Allowed::RegistryOfName
            | Allowed::RegistryOfNames
            | Allowed::RegistryAddress
            | Allowed::OwnContainer(_)
            | Allowed::Changes(_)
            | Allowed::NewNetwork
            | Allowed::NamedVolume
            | Allowed::Bind
            | Allowed::OwnSocket
            | Allowed::EngineDefault => true,
            Allowed::Range { .. }
            | Allowed::KeysMatch(_)
            | Allowed::KeysNotMatch(_)
            | Allowed::Ulimits(_)
            | Allowed::Retries(_)
            | Allowed::VolumeOptions
            | Allowed::TmpfsOptions(_)
            | Allowed::Filters
            | Allowed::FiltersWith(_)
            | Allowed::BuildSource
            | Allowed::Exporter
            | Allowed::Cache
            | Allowed::Ports(_)
            | Allowed::OwnNetwork
            | Allowed::NoHostMounts => false,
        }
    }

    /// Words that go on from "must be".
    pub(in super::super) fn describe(&self) -> String {
        let named = |items: &[String]| {
            items.iter().map(|item| format!("`{item}`")).collect::<Vec<_>>().join(", ")
        };
        match self {
            Allowed::OneOf(items) => {
                let items: Vec<_> = items.iter().map(Scalar::describe).collect();
                match items.split_last() {
                    Some((last, [])) => last.clone(),
                    Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
                    None => "empty".to_owned(),
                }
            }
            Allowed::Range { least: Some(least), most: Some(most) } => format!("{least} to {most}"),
            Allowed::Range { least: Some(least), most: None } => format!("at least {least}"),
            Allowed::Range { least: None, most: Some(most) } => format!("at most {most}"),
            Allowed::Range { least: None, most: None } => "a number".to_owned(),
            Allowed::Size(least, most) => {
                format!("{} to {}", units::show_bytes(*least), units::show_bytes(*most))
            }
            Allowed::Matches(pattern) => format!("like `{}`", pattern.source),
            Allowed::NotMatches(pattern) => format!("unlike `{}`", pattern.source),
            Allowed::KeysMatch(pattern) => format!("named like `{}`", pattern.source),
            Allowed::KeysNotMatch(pattern) => format!("named unlike `{}`", pattern.source),
            Allowed::Outside(paths) => format!("outside of {}", named(paths)),
            Allowed::Capabilities(names) => format!("one of {}", named(names)),
            Allowed::Ulimits(limits) => {
                let one = |(name, most): (&String, &i64)| match most {
                    -1 => format!("`{name}`"),
                    most => format!("`{name}` up to {most}"),
                };
                format!("one of {}", limits.iter().map(one).collect::<Vec<_>>().join(", "))
            }
            Allowed::Retries(most) => format!("at most {most} tries"),
            Allowed::VolumeOptions => "a size or a tmpfs".to_owned(),
            Allowed::TmpfsOptions(names) => format!("one of {}", named(names)),
            Allowed::Changes(names) => format!("lines of {}", named(names)),
            Allowed::Filters => {
                "filters without repetition in braces, at most 256, each at most 1024 bytes"
                    .to_owned()
            }
            Allowed::FiltersWith(names) => format!("a filter by {}", named(names)),
            Allowed::RegistryOfName | Allowed::RegistryAddress => {
                "a registry that the listener may use".to_owned()
            }
            Allowed::RegistryOfNames => "registries that the listener may use".to_owned(),
            Allowed::Ports(most) => format!("ports that the listener may take, at most {most}"),
            Allowed::BuildSource => "a source that the listener may fetch from".to_owned(),
            Allowed::Exporter => "an exporter with known options".to_owned(),
            Allowed::Cache => "a cache of a known kind".to_owned(),
            Allowed::NamedVolume => "a named volume that could have been made here".to_owned(),
            Allowed::Bind => "a path of the host that was given away".to_owned(),
            Allowed::OwnSocket => {
                "the engine's socket, for which the listener's own is put".to_owned()
            }
            Allowed::OwnContainer(prefix) => {
                format!("`{prefix}NAME` of a container that could have been made here")
            }
            Allowed::OwnNetwork => "a network that could have been made here".to_owned(),
            Allowed::NewNetwork => "a name that no network has, and no id begins with".to_owned(),
            Allowed::EngineDefault => "what the engine itself would choose".to_owned(),
            Allowed::NoHostMounts => "empty where a path of the host is mounted".to_owned(),
        }
    }
}

impl Scalar {
    fn describe(&self) -> String {
        match self {
            Scalar::Text(text) => format!("`{text}`"),
            Scalar::Number(number) => number.to_string(),
            Scalar::Bool(value) => value.to_string(),
        }
    }
}
