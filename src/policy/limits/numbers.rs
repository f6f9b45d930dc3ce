//! Limits that are one number in one field: processes, shared memory, weight of block I/O.
//!
//! `memory` settles its number here too. What must stay true: force before default before cap; an
//! update changes no forced value.

use super::Judged;
use super::rules::{Rules, above};
use super::sheet::{NumberField, NumberFields, slot};
use crate::api::doc::Value;
use crate::config::Size;
use crate::policy::Reason;

const PIDS: NumberField = NumberField { field: "PidsLimit", query: None };
const SHM: NumberField = slot("ShmSize", "shmsize");
const BLKIO: NumberField = NumberField { field: "BlkioWeight", query: None };
/// The engine's own, unless it was started with another (`--default-shm-size`).
const ENGINE_SHM: i64 = 64 << 20;
/// Of the block I/O controller, where nothing is set.
const KERNEL_WEIGHT: i64 = 500;

/// What the engine makes of a number that is left out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unset {
    Unlimited,
    /// About this much; to be sure it is said.
    About(i64),
    /// This much.
    Exactly(i64),
}

/// In an update even 0 lifts the limit.
pub(super) fn pids(rules: &Rules<'_>, sheet: &mut NumberFields<'_>) -> Judged {
    if sheet.is_update() && sheet.get(PIDS, Size::Pids)? == Some(0) {
        if let Some(forced) = rules.forced(Size::Pids) {
            return Err(stays(Size::Pids, sheet.place(PIDS), forced));
        }
        if let Some(cap) = rules.cap(Size::Pids) {
            return Err(above(Size::Pids, &sheet.place(PIDS), cap, "no limit".to_owned()));
        }
    }
    settle(rules, sheet, PIDS, Size::Pids, Unset::Unlimited).map(|_| ())
}

pub(super) fn shm(rules: &Rules<'_>, sheet: &mut NumberFields<'_>) -> Judged {
    if sheet.is_update() {
        return Ok(());
    }
    settle(rules, sheet, SHM, Size::Shm, Unset::About(ENGINE_SHM)).map(|_| ())
}

pub(super) fn blkio(rules: &Rules<'_>, sheet: &mut NumberFields<'_>) -> Judged {
    settle(rules, sheet, BLKIO, Size::BlkioWeight, Unset::Exactly(KERNEL_WEIGHT))?;
    let devices = sheet.value("BlkioWeightDevice").map(Value::items).unwrap_or_default();
    for (index, device) in devices.iter().enumerate() {
        let weight = device.get("Weight").and_then(Value::as_i64).unwrap_or(0);
        let device = NumberField { field: "BlkioWeightDevice", query: None };
        let place = format!("{}.{index}.Weight", sheet.place(device));
        match rules.forced(Size::BlkioWeight) {
            Some(forced) if weight != forced => {
                return Err(stays(Size::BlkioWeight, place, forced));
            }
            Some(_) => {}
            None => rules.within(Size::BlkioWeight, &place, weight)?,
        }
    }
    Ok(())
}

/// Applies force, default and cap to one number, and tells what the engine gets.
pub(super) fn settle(
    rules: &Rules<'_>,
    sheet: &mut NumberFields<'_>,
    slot: NumberField,
    size: Size,
    unset: Unset,
) -> Result<i64, Reason> {
    if !sheet.has(slot) {
        return Ok(0);
    }
    let asked = sheet.get(slot, size)?.unwrap_or(0);
    let place = sheet.place(slot);
    if let Some(forced) = rules.forced(size) {
        if !sheet.is_update() {
            sheet.set(slot, forced);
            return Ok(forced);
        }
        return match asked {
            0 => Ok(0),
            _ if asked == forced => Ok(asked),
            _ => Err(stays(size, place, forced)),
        };
    }
    if asked != 0 {
        return rules.within(size, &place, asked).map(|()| asked);
    }
    let cap = rules.cap(size);
    let fill = rules.default(size).or(match unset {
        Unset::Unlimited => cap,
        Unset::About(usual) => cap.map(|cap| cap.min(usual)),
        Unset::Exactly(usual) => cap.filter(|cap| *cap < usual),
    });
    match fill {
        Some(fill) if !sheet.is_update() => {
            sheet.set(slot, fill);
            Ok(fill)
        }
        _ => Ok(0),
    }
}

pub(super) fn stays(size: Size, place: String, forced: i64) -> Reason {
    Reason::new(size.rule(), place, format!("must stay at {}", size.show(forced)), "")
}
