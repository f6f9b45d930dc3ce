//! Where a container's output goes, and how much of it is kept on the engine's disk.
//!
//! What must stay true: a capped log has a size that the engine reads as dockgate does; drivers that keep
//! no files of their own have none to cap.

use super::Judged;
use super::rules::Rules;
use crate::api::doc::Value;
use crate::config::{LogSetting, units};
use crate::policy::Reason;

const RULE: &str = "limits.log";
/// Those that write files, and the engine's default, which is one of them unless it was configured.
const WITH_FILES: &[&str] = &["", "json-file", "local"];

pub(super) fn create(rules: &Rules<'_>, root: &mut Value) -> Judged {
    let all = rules.all();
    let max = &all.max;
    if all.force.log.is_none()
        && all.default.log.is_none()
        && max.log_size.is_none()
        && max.log_files.is_none()
    {
        return Ok(());
    }
    let Some(config) = root.at_mut(&["HostConfig", "LogConfig"]) else { return Ok(()) };
    if let Some(forced) = &all.force.log {
        force(config, forced);
        return Ok(());
    }
    if config.is_zero()
        && let Some(default) = &all.default.log
    {
        force(config, default);
    }
    if !WITH_FILES.contains(&driver(config)) {
        return Ok(());
    }
    cap(config, "max-size", max.log_size, &units::bytes, &units::show_bytes)?;
    cap(config, "max-file", max.log_files, &|text| text.parse().ok(), &|files| files.to_string())
}

/// Driver and options, and of the client's options those that mean something to this driver too.
fn force(config: &mut Value, setting: &LogSetting) {
    let is_same = driver(config) == setting.driver;
    let mut options = match config.get("Config") {
        Some(Value::Object(options)) if is_same => options.clone(),
        _ => Vec::new(),
    };
    options.retain(|(name, _)| !setting.options.contains_key(name.as_ref()));
    let ours = setting.options.iter();
    options.extend(ours.map(|(name, value)| (name.clone().into(), Value::String(value.clone()))));
    *config = Value::Object(vec![
        ("Type".into(), Value::String(setting.driver.clone())),
        ("Config".into(), Value::Object(options)),
    ]);
}

fn driver(config: &Value) -> &str {
    config.get("Type").and_then(Value::as_str).unwrap_or_default()
}

fn cap(
    config: &mut Value,
    name: &'static str,
    cap: Option<i64>,
    read: &dyn Fn(&str) -> Option<i64>,
    show: &dyn Fn(i64) -> String,
) -> Judged {
    let Some(cap) = cap else { return Ok(()) };
    let place = config.at_mut(&["Config", name]);
    let Some(place) = place else { return Ok(()) };
    let Some(asked) = place.as_str() else {
        *place = Value::String(show(cap));
        return Ok(());
    };
    if read(asked).is_some_and(|asked| 0 < asked && asked <= cap) {
        return Ok(());
    }
    let why = format!("must be at most {}, asked {asked}", show(cap));
    let reason = Reason::new(RULE, format!("HostConfig.LogConfig.Config.{name}"), why, "");
    Err(Reason { found: Some(asked.into()), ..reason })
}
