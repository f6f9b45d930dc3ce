//! `authz`: an existing Docker AuthZ plugin decides, asked in the engine's own words (moby's
//! `pkg/authorization`): before a call is sent, and before its answer is passed on.
//!
//! `run::plan` builds it; `gateway::plugins` carries its questions. What must stay true: the plugin sees
//! of a call what the engine gets, with the whole of a JSON body, however long; whatever is no clear yes
//! is a refusal.

mod message;

use std::borrow::Cow;
use std::sync::Arc;

use super::{Answer, Context, Fact, Policy, Question, Reads, Reason, Verdict};
use crate::api::endpoint::AnswerKind;
use crate::api::table::Endpoint;
use crate::api::{Row, Typed};
use message::{PluginRequest, PluginResponse};

/// What a plugin must say of itself when it is greeted.
pub const IMPLEMENTS: &str = "authz";

const REQUEST: Phase = Phase { method: "AuthZPlugin.AuthZReq", rule: "authz.request" };
const RESPONSE: Phase = Phase { method: "AuthZPlugin.AuthZRes", rule: "authz.response" };

struct Phase {
    method: &'static str,
    rule: &'static str,
}

#[derive(Debug)]
pub struct Authz {
    name: Arc<str>,
}

impl Authz {
    /// `name`: the policy's, by which the client is told who refuses.
    pub fn new(name: &str) -> Authz {
        Authz { name: name.into() }
    }

    fn ask(&self, phase: &Phase, asked: Option<&PluginRequest>, cx: &Context<'_>) -> Verdict {
        let Some(body) = asked.and_then(PluginRequest::render) else {
            return self.failed("what it would be asked cannot be written");
        };
        let name = Arc::clone(&self.name);
        let question = Question::Plugin { name, method: phase.method, body };
        let said = match cx.facts.get(&question) {
            None => return Verdict::Ask(vec![question]),
            Some(Fact::Json(json)) => PluginResponse::read(json),
            Some(Fact::Failed(why)) => return self.failed(why),
            Some(
                Fact::Absent
                | Fact::Path(_)
                | Fact::Paths(_)
                | Fact::Addresses(_)
                | Fact::Exec(_)
                | Fact::Owner(_)
                | Fact::Fresh(_)
                | Fact::Header(_)
                | Fact::Layout(_),
            ) => {
                return self.failed("it was not asked");
            }
        };
        match said {
            Ok(PluginResponse { err: Some(err), .. }) => self.failed(&err),
            Ok(PluginResponse { allow: true, .. }) => Verdict::pass(),
            Ok(PluginResponse { msg, .. }) => {
                let why = format!("authorization denied by plugin {}: {msg}", self.name);
                Verdict::deny(Reason::new(phase.rule, "", why, ""))
            }
            Err(why) => self.failed(why),
        }
    }

    /// With dockerd's words and status for a plugin that fails.
    fn failed(&self, why: &str) -> Verdict {
        let why: Cow<'static, str> =
            format!("plugin {} failed with error: {why}", self.name).into();
        Verdict::deny(Reason { status: 500, ..Reason::new("authz.failed", "", why, "") })
    }
}

impl Policy for Authz {
    fn name(&self) -> &str {
        &self.name
    }

    fn request(&self, call: &Typed, cx: &Context<'_>) -> Verdict {
        self.ask(&REQUEST, PluginRequest::of(call, cx.identity).as_ref(), cx)
    }

    fn reads_answer(&self, row: &Row, _cx: &Context<'_>) -> Reads {
        // Its head comes at once and is waited for, its body when the container ends.
        if row.endpoint == Endpoint::ContainerWait {
            return Reads::Status;
        }
        match row.answer {
            AnswerKind::Json | AnswerKind::None => Reads::Whole,
            // What came of it is said when it is over.
            AnswerKind::Grpc => Reads::Nothing,
            AnswerKind::Text
            | AnswerKind::JsonStream
            | AnswerKind::RawStream
            | AnswerKind::Tar
            | AnswerKind::HijackTcp
            | AnswerKind::HijackH2c
            | AnswerKind::WebSocket => Reads::Status,
        }
    }

    fn answer(&self, answer: &mut Answer<'_>, cx: &Context<'_>) -> Verdict {
        let asked = PluginRequest::of(answer.call, cx.identity).map(|asked| asked.answered(answer));
        self.ask(&RESPONSE, asked.as_ref(), cx)
    }
}

#[cfg(test)]
mod tests;
