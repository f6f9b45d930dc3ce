//! Whether a container comes back by itself.
//!
//! What must stay true: `no` is always allowed; where retries are counted, none is without end.

use super::Judged;
use super::rules::Rules;
use crate::api::doc::Value;
use crate::config::Restart;
use crate::policy::Reason;

const RULE: &str = "limits.restart";

pub(super) fn create(rules: &Rules<'_>, root: &mut Value) -> Judged {
    let all = rules.all();
    let (force, default) = (&all.force.restart, &all.default.restart);
    if force.is_none() && default.is_none() && all.max.restart.is_none() {
        return Ok(());
    }
    // The engine takes no restart policy for what is removed at its end.
    let goes = root.get("HostConfig").and_then(|host| host.get("AutoRemove"));
    let goes = goes.is_some_and(|value| !value.is_zero());
    let Some(policy) = root.at_mut(&["HostConfig", "RestartPolicy"]) else { return Ok(()) };
    if let Some(forced) = force {
        *policy = value(forced);
        return Ok(());
    }
    // The CLI says `no` for those who say nothing.
    if let Some(default) = default
        && is_no(policy)
        && !goes
    {
        *policy = value(default);
    }
    within(rules, policy, "HostConfig.RestartPolicy")
}

pub(super) fn update(rules: &Rules<'_>, root: &mut Value) -> Judged {
    let Some(policy) = root.get_mut("RestartPolicy").filter(|policy| !policy.is_zero()) else {
        return Ok(());
    };
    match &rules.all().force.restart {
        Some(forced) if *policy != value(forced) && !(is_no(policy) && forced.name == "no") => {
            let why = format!("must stay `{}`", show(forced.name, forced.retries));
            Err(Reason::new(RULE, "RestartPolicy", why, ""))
        }
        Some(_) => Ok(()),
        None => within(rules, policy, "RestartPolicy"),
    }
}

fn within(rules: &Rules<'_>, policy: &mut Value, place: &'static str) -> Judged {
    let Some(allowed) = &rules.all().max.restart else { return Ok(()) };
    if is_no(policy) {
        return Ok(());
    }
    let asked = name(policy).to_owned();
    let retries = match policy.get("MaximumRetryCount") {
        None | Some(Value::Null) => 0,
        Some(count) => count.as_i64().unwrap_or(-1),
    };
    let same = allowed.iter().filter(|one| one.name == asked);
    for one in same {
        match one.retries {
            None => return Ok(()),
            Some(most) if (1..=most).contains(&retries) => return Ok(()),
            Some(most) if retries == 0 => {
                *policy = value(&Restart { name: one.name, retries: Some(most) });
                return Ok(());
            }
            Some(_) => {}
        }
    }
    let names: Vec<String> =
        allowed.iter().map(|one| format!("`{}`", show(one.name, one.retries))).collect();
    let asked = show(&asked, (retries != 0).then_some(retries));
    let why = match names.as_slice() {
        [] => format!("must be `no`, asked `{asked}`"),
        names => format!("must be within {}, asked `{asked}`", names.join(", ")),
    };
    Err(Reason { found: Some(asked.into()), ..Reason::new(RULE, place, why, "") })
}

fn name(policy: &Value) -> &str {
    policy.get("Name").and_then(Value::as_str).unwrap_or_default()
}

fn is_no(policy: &Value) -> bool {
    matches!(name(policy), "" | "no")
}

fn show(name: &str, retries: Option<i64>) -> String {
    retries.map_or_else(|| name.to_owned(), |retries| format!("{name}:{retries}"))
}

pub(super) fn value(restart: &Restart) -> Value {
    Value::Object(vec![
        ("Name".into(), Value::String(restart.name.to_owned())),
        ("MaximumRetryCount".into(), Value::Number(restart.retries.unwrap_or(0).into())),
    ])
}
