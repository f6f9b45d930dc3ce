//! The API versions that dockgate knows, and no others.
//!
//! First in every chain that has a policy. The same body means different things at different
//! versions, so each call is asked by one version that the tables know, and clients are told of no
//! newer one. What must stay true: refusals are the engine's own words, which clients understand.

use super::{Answer, Context, Edit, Policy, Reads, Reason, Verdict};
use crate::api::endpoint::{AnswerKind, Minor, NEWEST, OLDEST, Versions};
use crate::api::{Endpoint, Row, Typed};

#[derive(Debug)]
pub(super) struct KnownVersions;

impl Policy for KnownVersions {
    fn name(&self) -> &'static str {
        "versions"
    }

    fn request(&self, call: &Typed, cx: &Context<'_>) -> Verdict {
        let spoken = spoken(cx.engine);
        if call.row().answer == AnswerKind::Grpc {
            // Methods have no version but their own name's.
            return Verdict::pass();
        }
        match call.version() {
            None => return Verdict::Pass(vec![Edit::Version(spoken.newest)]),
            Some(minor) if minor > spoken.newest => {
                return refuse(format!(
                    "client version 1.{minor} is too new. Maximum supported API version is 1.{}",
                    spoken.newest
                ));
            }
            Some(minor) if minor < spoken.oldest => {
                return refuse(format!(
                    "client version 1.{minor} is too old. Minimum supported API version is 1.{}, \
                     please upgrade your client to a newer version",
                    spoken.oldest
                ));
            }
            Some(_) => {}
        }
        Verdict::pass()
    }

    /// Most engines speak nothing that dockgate does not; their answers stream past.
    fn reads_answer(&self, row: &Row, cx: &Context<'_>) -> Reads {
        let tells = matches!(
            row.endpoint,
            Endpoint::SystemPing | Endpoint::SystemPingHead | Endpoint::SystemVersion
        );
        if tells && spoken(cx.engine) != cx.engine { Reads::Whole } else { Reads::Nothing }
    }

    fn answer(&self, answer: &mut Answer<'_>, cx: &Context<'_>) -> Verdict {
        let spoken = spoken(cx.engine);
        if answer.api_version.is_some() {
            answer.api_version = Some(format!("1.{}", spoken.newest));
        }
        let Some(json) = &mut answer.json else { return Verdict::pass() };
        clamp(json, spoken);
        let components = json.get_mut("Components").and_then(serde_json::Value::as_array_mut);
        for component in components.into_iter().flatten() {
            if component.get("Name").and_then(|name| name.as_str()) == Some("Engine")
                && let Some(details) = component.get_mut("Details")
            {
                clamp(details, spoken);
            }
        }
        Verdict::pass()
    }
}

/// What both the engine and dockgate speak.
fn spoken(engine: Versions) -> Versions {
    Versions { newest: engine.newest.min(NEWEST), oldest: engine.oldest.max(OLDEST) }
}

fn clamp(json: &mut serde_json::Value, spoken: Versions) {
    let mut set = |key: &str, minor: Minor| {
        if let Some(value) = json.get_mut(key) {
            *value = format!("1.{minor}").into();
        }
    };
    set("ApiVersion", spoken.newest);
    set("MinAPIVersion", spoken.oldest);
}

/// The engine says this with 400 and without our name: clients look for the words.
fn refuse(message: String) -> Verdict {
    Verdict::deny(Reason { status: 400, ..Reason::new("api.version", "", message, "") })
}
