//! What a build says beside its Dockerfile, kept until that file comes.
//!
//! `policy` makes one of a request to build, `gateway` keeps it beside the context or the session that the file comes from.
//! What must stay true: whatever a Dockerfile's fetches depend on is here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use super::{BuildSettings, Builder};
use crate::api::Typed;
use crate::api::doc::{self, Value};
use crate::api::query::Query;
use crate::api::shape::LABELS;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedBuild {
    pub builder: Builder,
    /// Build arguments that have a value.
    pub args: BTreeMap<String, String>,
    pub target: String,
    /// The Dockerfile's path, as the builder is told; empty is `Dockerfile`.
    pub filename: String,
    /// What it pulls, and as whom: for policies that pull in its place.
    pub pulls: AskedPulls,
}

/// How a build by query has its images pulled.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AskedPulls {
    /// Also what is there.
    pub always: bool,
    pub platform: String,
    /// The client's `X-Registry-Config`.
    pub logins: Vec<u8>,
}

/// Never what is in the header.
impl fmt::Debug for AskedPulls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AskedPulls(always: {}, {})", self.always, self.platform)
    }
}

/// Of a call whose images a policy pulls: the engine is not told to. What the notes say is `AskedPulls`.
pub const PULLS_NOTE: &str = "images that are pulled";
pub const LOGINS_NOTE: &str = "logins that they are pulled with";

impl AskedBuild {
    /// Of `POST /build`. None where its build arguments cannot be read.
    pub fn of_query(query: &Query) -> Option<AskedBuild> {
        let said = |name: &str| query.get(name).unwrap_or_default();
        let builder = match said("version") {
            "2" => Builder::BuildKit,
            _ => Builder::Classic,
        };
        let (target, filename) = (said("target").to_owned(), said("dockerfile").to_owned());
        let (args, pulls) = (arguments(said("buildargs"))?, AskedPulls::default());
        Some(AskedBuild { builder, args, target, filename, pulls })
    }

    /// The same as policies have changed it.
    pub fn of_call(call: &Typed) -> Option<AskedBuild> {
        let platform = call.query().get("platform").unwrap_or_default().to_owned();
        let logins = call.note(LOGINS_NOTE).unwrap_or_default().as_bytes().to_vec();
        let pulls = AskedPulls { always: call.note(PULLS_NOTE).is_some(), platform, logins };
        Some(AskedBuild { pulls, ..AskedBuild::of_query(call.query())? })
    }

    /// Of the options of BuildKit's Dockerfile frontend.
    pub fn of_options(options: &Value) -> AskedBuild {
        let said = |name| options.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let args = options.entries().iter().filter_map(|(name, value)| {
            Some((name.strip_prefix("build-arg:")?.to_owned(), value.as_str()?.to_owned()))
        });
        AskedBuild {
            builder: Builder::BuildKit,
            args: args.collect(),
            target: said("target"),
            filename: said("filename"),
            pulls: AskedPulls::default(),
        }
    }

    pub fn settings(&self) -> BuildSettings<'_> {
        BuildSettings { builder: self.builder, args: &self.args, target: &self.target }
    }
}

fn arguments(json: &str) -> Option<BTreeMap<String, String>> {
    if json.is_empty() {
        return Some(BTreeMap::new());
    }
    let doc = doc::parse(json.as_bytes(), &LABELS).ok()?;
    let pair = |(name, value): &(Cow<'static, str>, Value)| {
        value.as_str().map(|value| (name.clone().into_owned(), value.to_owned()))
    };
    match &doc.root {
        Value::Null | Value::Object(_) => {
            Some(doc.root.entries().iter().filter_map(pair).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_query_and_options_say_the_same() {
        let query = |args: &str| {
            let mut query = Query::default();
            for (name, value) in [("version", "2"), ("target", "t"), ("dockerfile", "d/F")] {
                query.set(name, value.to_owned());
            }
            query.set("buildargs", args.to_owned());
            AskedBuild::of_query(&query)
        };
        let options = json!({"target": "t", "filename": "d/F", "build-arg:A": "1", "label:A": "2"});
        let options = doc::parse(options.to_string().as_bytes(), &LABELS).unwrap();
        assert_eq!(query(r#"{"A":"1","B":null}"#), Some(AskedBuild::of_options(&options.root)));
        for bad in ["{", "[]", r#"{"A":1}"#, "x"] {
            assert_eq!(query(bad), None, "{bad}");
        }
        assert!(query("null").unwrap().args.is_empty() && query("").unwrap().args.is_empty());
    }
}
