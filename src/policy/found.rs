//! What a rule has met and would have refused, for whoever audits.
//!
//! `conservative` makes one for each finding, the access log holds it as JSON, and `dockgate learn` makes
//! rules of it. What must stay true: nothing in it can be a secret: of a value that no rule names there is
//! only the place, of a map only its keys.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// What a reason is about. In a box: reasons are passed around as errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindingDetail {
    /// As a person reads it.
    Text(String),
    /// For `dockgate learn`.
    ByRule(RuleFinding),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleFinding {
    /// The operation by whose rules it was judged.
    pub operation: Cow<'static, str>,
    pub part: RequestPart,
    /// As a file of rules names it, such as `HostConfig.Mounts.*.Type`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// Of a list what was against the rule, of a map `{"keys": […]}`. Not there when it may be a secret or
    /// is too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Json>,
    /// Why something that exists could not have been made here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<RuleFinding>,
}

impl From<String> for Box<FindingDetail> {
    fn from(text: String) -> Box<FindingDetail> {
        Box::new(FindingDetail::Text(text))
    }
}

impl From<&str> for Box<FindingDetail> {
    fn from(text: &str) -> Box<FindingDetail> {
        text.to_owned().into()
    }
}

impl From<RuleFinding> for Box<FindingDetail> {
    fn from(found: RuleFinding) -> Box<FindingDetail> {
        Box::new(FindingDetail::ByRule(found))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestPart {
    /// All of it: the operation is not allowed.
    Operation,
    Path,
    Query,
    Header,
    Body,
}
