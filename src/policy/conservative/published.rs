//! Ports of the host: which ones a container may take, and how many.
//!
//! `judge` asks here for `PortBindings` and `PublishAllPorts`. What must stay true: a container takes no port that
//! the listener does not give, and no more of them than the rule says, those that its image exposes included.

use super::Conservative;
use super::judge::{Judge, Judgement};
use crate::api::doc::Value;
use crate::config::Ports;
use crate::policy::ports::Published;
use crate::policy::{Context, Fact, Question};

pub(super) fn holds(
    judge: &mut Judge<'_>,
    with: &Conservative,
    most: i64,
    value: &Value,
    cx: &Context<'_>,
) -> Judgement {
    if !may_take(with.ports, value) {
        return Judgement::No;
    }
    let Some(body) = judge.whole_body() else { return Judgement::No };
    let mut published = Published::of_body(body);
    // Of a container that there is, the engine tells both together.
    if published.publishes_all && !judge.is_made {
        let image = body.get("Image").and_then(Value::as_str).unwrap_or_default();
        let question = Question::Image(image.to_owned());
        match cx.facts.get(&question) {
            None => {
                judge.ask(question, cx);
                return Judgement::Unknown;
            }
            Some(Fact::Json(image)) => published.and_of_image(image),
            // Nothing is made of it; if it appears before the engine looks, the start is judged by what was made.
            Some(Fact::Absent) => {}
            Some(_) => {
                let why = "cannot be judged: which ports does the image expose?";
                return Judgement::Because(why.to_owned());
            }
        }
    }
    let count = published.count();
    if i64::try_from(count).is_ok_and(|count| count <= most) {
        return Judgement::Yes;
    }
    Judgement::Because(format!("must publish at most {most} ports, would publish {count}"))
}

/// `PortBindings`, or `PublishAllPorts`.
fn may_take(allowed: Ports, value: &Value) -> bool {
    match value {
        Value::Bool(publishes) => !publishes || allowed != Ports::None,
        Value::Object(entries) => {
            let port = |one: &Value| {
                let host_port = one.get("HostPort").and_then(Value::as_str).unwrap_or_default();
                port(allowed, host_port)
            };
            let is_listed = |bindings: &Value| matches!(bindings, Value::List(_) | Value::Null);
            let all = |bindings: &Value| is_listed(bindings) && bindings.items().iter().all(port);
            entries.iter().all(|(_, bindings)| all(bindings))
                && (allowed != Ports::None || entries.is_empty())
        }
        Value::Null | Value::Number(_) | Value::String(_) | Value::List(_) => false,
    }
}

/// `80`, `8000-8010`, or nothing and `0` for one of the engine's choice.
fn port(allowed: Ports, host_port: &str) -> bool {
    let (first, last) = host_port.split_once('-').unwrap_or((host_port, host_port));
    match allowed {
        Ports::None => false,
        Ports::Any => true,
        _ if matches!(host_port, "" | "0") => true,
        Ports::Random => false,
        Ports::Between(low, high) => {
            let range = low..=high;
            let inside = |port: &str| port.parse::<u16>().is_ok_and(|port| range.contains(&port));
            inside(first) && inside(last)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_one_of_those_that_may_be_taken() {
        let between = Ports::Between(20_000, 20_010);
        for (allowed, port_, holds) in [
            (Ports::Random, "", true),
            (Ports::Random, "0", true),
            (Ports::Random, "80", false),
            (Ports::Random, "0-80", false),
            (Ports::Any, "80", true),
            (between, "20000-20010", true),
            (between, "20000-20011", false),
            (between, "", true),
            (between, "-20001", false),
            (between, "99999", false),
            (Ports::None, "", false),
        ] {
            assert_eq!(port(allowed, port_), holds, "{allowed:?} {port_}");
        }
    }
}
