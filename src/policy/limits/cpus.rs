//! CPUs: `NanoCpus`, or `CpuQuota` of every `CpuPeriod`.
//!
//! What must stay true: both spellings are capped, and a limit of ours is spelt as quota and period,
//! because the engine refuses more `NanoCpus` than its machine has.

use super::Judged;
use super::numbers::stays;
use super::rules::{Rules, above};
use super::sheet::{NumberField, NumberFields, slot};
use crate::api::Typed;
use crate::api::doc::Value;
use crate::api::endpoint::Makes;
use crate::config::Size;
use crate::policy::{Fact, Question, Reason};

const NANO: NumberField = NumberField { field: "NanoCpus", query: None };
const QUOTA: NumberField = slot("CpuQuota", "cpuquota");
const PERIOD: NumberField = slot("CpuPeriod", "cpuperiod");
/// The kernel's, in microseconds.
const USUAL_PERIOD: i64 = 100_000;
const NANO_OF_A_CPU: i64 = 1_000_000_000;

pub(super) fn judge(rules: &Rules<'_>, sheet: &mut NumberFields<'_>) -> Judged {
    let nano = if sheet.has(NANO) { sheet.get(NANO, Size::Cpus)?.unwrap_or(0) } else { 0 };
    let quota = sheet.get(QUOTA, Size::Cpus)?.unwrap_or(0);
    let period = sheet.get(PERIOD, Size::Cpus)?.unwrap_or(0);
    match rules.forced(Size::Cpus) {
        Some(forced) if sheet.is_update() => {
            let rate = rate(quota, if period == 0 { USUAL_PERIOD } else { period });
            let same = match (nano, quota, period) {
                (0, 0, 0) => true,
                (0, 1.., _) => rate == Some(forced.into()),
                (_, 0, 0) => nano == forced,
                _ => false,
            };
            if !same {
                return Err(stays(Size::Cpus, sheet.place(NANO), forced));
            }
            if quota > 0 {
                sheet.set(PERIOD, if period == 0 { USUAL_PERIOD } else { period });
            }
            return Ok(());
        }
        Some(forced) => {
            set(sheet, forced, 0);
            return Ok(());
        }
        None => {}
    }
    let cap = rules.cap(Size::Cpus);
    no_real_time(cap, sheet)?;
    if (nano, quota) == (0, 0) && !sheet.is_update() {
        // A default for those who say nothing; a period is a word, though not of how much.
        if let Some(fill) = rules.default(Size::Cpus).or(cap) {
            within_period(cap, sheet, period)?;
            set(sheet, fill, period);
        }
        return Ok(());
    }
    let Some(cap) = cap else { return Ok(()) };
    rules.within(Size::Cpus, &sheet.place(NANO), nano)?;
    within_period(Some(cap), sheet, period)?;
    match (quota, period) {
        (0, 0) => Ok(()),
        (0, _) => {
            let why = format!("must come with `{}` while CPUs are limited", sheet.place(QUOTA));
            Err(Reason::new(Size::Cpus.rule(), sheet.place(PERIOD), why, "give `--cpu-quota` too"))
        }
        (..0, _) => Err(above(Size::Cpus, &sheet.place(QUOTA), cap, "no limit".to_owned())),
        _ => {
            // Alone it would count for whatever period the container has.
            let period = if period == 0 { USUAL_PERIOD } else { period };
            let asked = rate(quota, period);
            if asked.is_none_or(|asked| asked > cap.into()) {
                let asked = format!("{quota} of every {period} µs");
                return Err(above(Size::Cpus, &sheet.place(QUOTA), cap, asked));
            }
            sheet.set(PERIOD, period);
            Ok(())
        }
    }
}

/// Whether an update says CPUs in a way that may not be the container's.
pub(super) fn asks(rules: &Rules<'_>, call: &Typed, makes: Makes) -> Option<Question> {
    let all = rules.all();
    let fills = [&all.force.sizes, &all.default.sizes, &all.max.sizes];
    let nano = call.doc()?.at(&[NANO.field])?.as_i64()?;
    let is_ours = makes == Makes::Update
        && nano > 0
        && fills.iter().any(|sizes| sizes.contains_key(&Size::Cpus));
    let question = Question::Container(call.names().first()?.clone());
    (is_ours && rules.cx.facts.get(&question).is_none()).then_some(question)
}

/// The engine refuses to update `NanoCpus` of a container that was limited by quota, as ours are.
pub(super) fn respell(rules: &Rules<'_>, root: &mut Value, container: &str) {
    let question = Question::Container(container.to_owned());
    let Some(Fact::Json(made)) = rules.cx.facts.get(&question) else { return };
    let number = |field: &str| made.pointer(&format!("/HostConfig/{field}"));
    let has_quota = number(QUOTA.field).and_then(serde_json::Value::as_i64).unwrap_or(0) > 0;
    let said = |field: &str| root.get(field).is_some_and(|value| !value.is_zero());
    let nano = root.get(NANO.field).and_then(Value::as_i64).unwrap_or(0);
    if has_quota && nano > 0 && !said(QUOTA.field) && !said(PERIOD.field) {
        set(&mut NumberFields::Update(root), nano, 0);
    }
}

fn set(sheet: &mut NumberFields<'_>, nano: i64, period: i64) {
    let period = if period == 0 { USUAL_PERIOD } else { period };
    let quota = i128::from(nano) * i128::from(period) / i128::from(NANO_OF_A_CPU);
    if sheet.has(NANO) {
        sheet.set(NANO, 0);
    }
    sheet.set(PERIOD, period);
    // More than any machine has.
    sheet.set(QUOTA, i64::try_from(quota).unwrap_or(i64::MAX));
}

/// Billionths of a CPU.
fn rate(quota: i64, period: i64) -> Option<i128> {
    // Rounded up: a cap is not passed by a fraction.
    let (quota, period) = (i128::from(quota), i128::from(period));
    let scaled = quota.checked_mul(NANO_OF_A_CPU.into())?.checked_add(period - 1)?;
    scaled.checked_div(period)
}

fn within_period(cap: Option<i64>, sheet: &NumberFields<'_>, period: i64) -> Judged {
    match cap {
        Some(_) if period < 0 => {
            Err(Reason::new(Size::Cpus.rule(), sheet.place(PERIOD), "must not be negative", ""))
        }
        _ => Ok(()),
    }
}

/// What runs in real time is not counted against any quota.
fn no_real_time(cap: Option<i64>, sheet: &NumberFields<'_>) -> Judged {
    const RUNTIME: NumberField = NumberField { field: "CpuRealtimeRuntime", query: None };
    let is_said = sheet.value(RUNTIME.field).is_some_and(|value| !value.is_zero());
    match cap {
        Some(_) if is_said => {
            let why = "must be 0 while CPUs are limited";
            Err(Reason::new(Size::Cpus.rule(), sheet.place(RUNTIME), why, ""))
        }
        _ => Ok(()),
    }
}
