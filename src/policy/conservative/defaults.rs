//! What an engine fills in where its client says nothing: the same value, when a client sends it, is as good as none.
//!
//! `judge` asks for `engine-default`, `made` for what exists. Programs that make a container again send what an inspect answer
//! told them (Watchtower, Portainer). What must stay true: a list that hides less than the engine's own is no default; nothing is
//! taken for the engine's that its answers do not say.

use serde_json::Value as Json;

use super::judge::{Judge, Judgement};
use super::state::{known, text};
use crate::api::doc::Value;
use crate::policy::{Context, Question};

/// Runtimes that are the engine's own under any configuration (`daemon/runtime_unix.go` of moby).
const RUNC: &[&str] =
    &["runc", "io.containerd.runc.v2", "io.containerd.runc.v1", "io.containerd.runtime.v1.linux"];
/// What every engine from 20.10 on masks (`oci/defaults.go`): a list with all of these masks enough.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/scsi",
    "/sys/firmware",
];
const READ_ONLY: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
/// Which of a container's settings in a network are the engine's own answers and nothing that a client asks for.
const ANSWERED: &[&str] =
    &["EndpointID", "Gateway", "IPAddress", "IPv6Gateway", "GlobalIPv6Address", "DNSNames"];

/// Whether the value that is judged is what the engine would choose.
pub(super) fn holds(judge: &mut Judge<'_>, value: &Value, cx: &Context<'_>) -> Judgement {
    if matches!(value, Value::Null) || value.as_str() == Some("") {
        return Judgement::Yes;
    }
    let Some((field, around)) = judge.field_here() else { return Judgement::No };
    let said = value.as_str().unwrap_or_default();
    let holds = match field {
        "MaskedPaths" | "ReadonlyPaths" => {
            Ok(hides_enough(field, value.items().iter().filter_map(Value::as_str)))
        }
        // Not any of `RUNC`: on an engine with another default these are weaker than it.
        "Runtime" => says(judge, "DefaultRuntime", said, cx),
        "Type" => log_driver(judge, said, cx),
        // Engines before 25 never took one from here.
        "MacAddress" => {
            let is_copied =
                ANSWERED.iter().any(|key| around.get(key).is_some_and(|v| !v.is_zero()));
            if is_copied {
                judge.drop_here();
            }
            Ok(is_copied)
        }
        _ => Ok(false),
    };
    match holds {
        Ok(true) => Judgement::Yes,
        Ok(false) => Judgement::No,
        Err(open) => open,
    }
}

/// Whether a list has all that the engine's own has.
pub(super) fn hides_enough<'p>(field: &str, paths: impl Iterator<Item = &'p str>) -> bool {
    let default = if field == "MaskedPaths" { MASKED } else { READ_ONLY };
    let given: Vec<&str> = paths.collect();
    default.iter().all(|path| given.contains(path))
}

pub(super) fn runtime(
    judge: &mut Judge<'_>,
    name: &str,
    cx: &Context<'_>,
) -> Result<bool, Judgement> {
    Ok(RUNC.contains(&name) || says(judge, "DefaultRuntime", name, cx)?)
}

/// With cgroup v1 the engine's default is the host's, and no more than every container there has.
pub(super) fn cgroup_namespace(
    judge: &mut Judge<'_>,
    mode: &str,
    cx: &Context<'_>,
) -> Result<bool, Judgement> {
    Ok(mode == "host" && says(judge, "CgroupVersion", "1", cx)?)
}

pub(super) fn log_driver(
    judge: &mut Judge<'_>,
    driver: &str,
    cx: &Context<'_>,
) -> Result<bool, Judgement> {
    says(judge, "LoggingDriver", driver, cx)
}

/// Whether the engine says this of itself.
fn says(
    judge: &mut Judge<'_>,
    key: &str,
    value: &str,
    cx: &Context<'_>,
) -> Result<bool, Judgement> {
    let info: Option<&Json> = known(judge, Question::Info, cx)?;
    Ok(!value.is_empty() && info.is_some_and(|info| text(info, key) == value))
}
