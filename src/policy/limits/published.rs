//! How many ports of the host a container takes.
//!
//! Each is up to two processes of the engine that no limit of the container reaches. What must stay true: what
//! an image exposes counts where all ports are published; a container that was made elsewhere, or from an image
//! that was replaced, is counted again when it starts.

use super::Judged;
use super::rules::Rules;
use crate::api::Typed;
use crate::api::doc::Value;
use crate::api::endpoint::Makes;
use crate::policy::ports::Published;
use crate::policy::{Fact, Question, Reason};

const RULE: &str = "limits.ports";

/// What must be known first.
pub(super) fn asks(rules: &Rules<'_>, call: &Typed, makes: Makes) -> Option<Question> {
    rules.all().max.ports?;
    let question = match makes {
        Makes::Running => Question::Container(call.names().first()?.clone()),
        Makes::Container => {
            let body = &call.doc()?.root;
            if !Published::of_body(body).publishes_all {
                return None;
            }
            image(body)
        }
        Makes::Nothing
        | Makes::Update
        | Makes::Exec
        | Makes::Build
        | Makes::Image
        | Makes::Volume
        | Makes::Network
        | Makes::Endpoint
        | Makes::Service
        | Makes::Swarm
        | Makes::Plugin
        | Makes::Checkpoint => return None,
    };
    rules.cx.facts.get(&question).is_none().then_some(question)
}

pub(super) fn create(rules: &Rules<'_>, root: &Value) -> Judged {
    let Some(cap) = rules.all().max.ports else { return Ok(()) };
    let mut published = Published::of_body(root);
    if published.publishes_all {
        match rules.cx.facts.get(&image(root)) {
            Some(Fact::Json(image)) => published.and_of_image(image),
            // The engine makes nothing of it, or the start counts what it has made.
            Some(Fact::Absent) => {}
            _ => return Err(unknown("HostConfig.PublishAllPorts")),
        }
    }
    within(cap, &published, "HostConfig.PortBindings")
}

pub(super) fn start(rules: &Rules<'_>, name: &str) -> Judged {
    let Some(cap) = rules.all().max.ports else { return Ok(()) };
    match rules.cx.facts.get(&Question::Container(name.to_owned())) {
        Some(Fact::Json(made)) => within(cap, &Published::of_container(made), "container"),
        // For the engine to refuse.
        Some(Fact::Absent) => Ok(()),
        _ => Err(unknown("container")),
    }
}

fn image(root: &Value) -> Question {
    let image = root.get("Image").and_then(Value::as_str).unwrap_or_default();
    Question::Image(image.to_owned())
}

fn within(cap: i64, published: &Published<'_>, place: &'static str) -> Judged {
    let count = published.count();
    if i64::try_from(count).is_ok_and(|count| count <= cap) {
        return Ok(());
    }
    let why = format!("must publish at most {cap} ports, would publish {count}");
    let hint = "publish the ports that are needed (`-p`) instead of all (`-P`)";
    Err(Reason { found: Some(count.to_string().into()), ..Reason::new(RULE, place, why, hint) })
}

fn unknown(place: &'static str) -> Reason {
    Reason::new(RULE, place, "cannot be judged: which ports would it publish?", "")
}
