//! The file as it is written: a mirror of the TOML, with the place of each value.
//!
//! Only `config::check` reads it. What must stay true: unknown keys are refused here, by serde.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::check::Complaint;
use crate::telemetry::{access, diagnostics};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    pub engine: Engine,
    pub listener: Vec<Listener>,
    pub policy: BTreeMap<String, Spanned<Policy>>,
    pub limits: Limits,
    pub log: Log,
    pub drain_timeout: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Engine {
    pub url: Option<Spanned<String>>,
    pub patience: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    pub name: Spanned<String>,
    pub url: Spanned<String>,
    pub mode: Option<Spanned<String>>,
    pub owner: Option<Spanned<String>>,
    pub group: Option<Spanned<String>>,
    pub policies: Option<Vec<Spanned<String>>>,
    pub max_connections: Option<Spanned<i64>>,
    #[serde(default)]
    pub insecure: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub kind: Spanned<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub header_bytes: Option<Spanned<i64>>,
    pub header_time: Option<Spanned<String>>,
    pub json_body: Option<Spanned<i64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub format: diagnostics::Format,
    pub access: access::Format,
}

pub(super) fn parse(text: &str) -> Result<Raw, Vec<Complaint>> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        vec![Complaint::new(at, error.message().replace('\n', ", "), "")]
    })
}
