//! Memory and swap.
//!
//! `MemorySwap` is the sum of both: 0 gives as much swap as memory, -1 gives swap without end
//! (`daemon/daemon_unix.go`, `adaptContainerSettings`). What must stay true: with memory capped swap is
//! too, and no update takes one number alone when it means something only with the other.

use super::Judged;
use super::numbers::{Unset, settle};
use super::rules::{Rules, above};
use super::sheet::{NumberField, NumberFields, slot};
use crate::config::Size;
use crate::policy::Reason;

const MEMORY: NumberField = slot("Memory", "memory");
const MEMORY_SWAP: NumberField = slot("MemorySwap", "memswap");

pub(super) fn judge(rules: &Rules<'_>, sheet: &mut NumberFields<'_>) -> Judged {
    let memory = settle(rules, sheet, MEMORY, Size::Memory, Unset::Unlimited)?;
    swap(rules, sheet, memory)
}

/// `memory` is what the engine gets; in an update 0 leaves it as it is.
fn swap(rules: &Rules<'_>, sheet: &mut NumberFields<'_>, memory: i64) -> Judged {
    let forced = rules.forced(Size::Swap);
    let cap = cap(rules);
    let default = rules.default(Size::Swap);
    let default = default.map(|default| cap.map_or(default, |cap| default.min(cap)));
    if forced.is_none() && cap.is_none() && default.is_none() {
        return Ok(());
    }
    let total = sheet.get(MEMORY_SWAP, Size::Swap)?.unwrap_or(0);
    let place = sheet.place(MEMORY_SWAP);
    if sheet.is_update() && memory == 0 {
        return alone(total, &place, sheet);
    }
    if memory == 0 && (forced.is_some() || cap.is_some()) {
        let why = "must be set: swap is limited, and is what a container has beyond its memory";
        return Err(Reason::new(Size::Swap.rule(), sheet.place(MEMORY), why, ""));
    }
    let fill = match (forced, total) {
        (Some(swap), 0) => Some(swap),
        (Some(swap), _) if sheet.is_update() && Some(total) != memory.checked_add(swap) => {
            let why = format!("must stay at {} beyond memory", Size::Swap.show(swap));
            return Err(Reason::new(Size::Swap.rule(), place, why, ""));
        }
        (Some(swap), _) => Some(swap),
        (None, 0) => default.filter(|_| !sheet.is_update()).or(cap.map(|cap| cap.min(memory))),
        (None, _) => None,
    };
    if let Some(swap) = fill {
        // Beyond 64 bits there is no such machine.
        sheet.set(MEMORY_SWAP, memory.saturating_add(swap));
        return Ok(());
    }
    let Some(cap) = cap else { return Ok(()) };
    // As docker says it: -1 is no limit.
    let beyond = if total < 0 { i64::MAX } else { total.saturating_sub(memory) };
    if beyond <= cap {
        return Ok(());
    }
    let asked = match total {
        ..0 => "no limit".to_owned(),
        _ => format!("{} beyond memory", Size::Swap.show(beyond)),
    };
    Err(above(Size::Swap, &place, cap, asked))
}

/// Without a word of its own swap is capped with memory, and as high.
fn cap(rules: &Rules<'_>) -> Option<i64> {
    let memory = || rules.forced(Size::Memory).or(rules.cap(Size::Memory));
    rules.cap(Size::Swap).or_else(memory)
}

/// An update of `MemorySwap` without `Memory`: what it comes to nobody can say here.
fn alone(total: i64, place: &str, sheet: &NumberFields<'_>) -> Judged {
    if total == 0 {
        return Ok(());
    }
    let why = format!("must come with `{}` while swap is limited", sheet.place(MEMORY));
    Err(Reason::new(Size::Swap.rule(), place.to_owned(), why, "give `--memory` too"))
}
