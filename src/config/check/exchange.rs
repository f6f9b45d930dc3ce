//! `[limits]`: how large requests may be, how slow, and how much of them may be in memory.
//!
//! Called by `check::check`. What must stay true: a single request of the largest size that is allowed has room
//! when nobody else is there; otherwise its bound would be another one than it says.

use toml::{Spanned, Value};

use super::super::units::show_bytes;
use super::super::{Limits, raw};
use super::Checking;

/// One client may hold half of what there is, and a head grows by doubling.
const FOLD: usize = 4;

impl Checking<'_> {
    pub(super) fn limits(&mut self, raw: raw::Limits) -> Limits {
        let default = Limits::default();
        let limits = Limits {
            header_bytes: self.size(raw.header_bytes, default.header_bytes),
            header_time: self.duration(raw.header_time, default.header_time),
            json_body: self.size(raw.json_body, default.json_body),
            json_elements: self.size(raw.json_elements, default.json_elements),
            body_time: self.duration(raw.body_time, default.body_time),
            body_rate: self.memory(raw.body_rate.as_ref(), default.body_rate),
            head_memory: self.memory(raw.head_memory.as_ref(), default.head_memory),
            head_memory_total: self
                .memory(raw.head_memory_total.as_ref(), default.head_memory_total),
            body_memory: self.memory(raw.body_memory.as_ref(), default.body_memory),
            body_memory_total: self
                .memory(raw.body_memory_total.as_ref(), default.body_memory_total),
        };
        let (head, json) = (("header_bytes", limits.header_bytes), ("json_body", limits.json_body));
        for (given, name, of, most) in [
            (&raw.head_memory, "head_memory", head, limits.head_memory),
            (&raw.head_memory_total, "head_memory_total", head, limits.head_memory_total),
            (&raw.body_memory, "body_memory", json, limits.body_memory),
            (&raw.body_memory_total, "body_memory_total", json, limits.body_memory_total),
        ] {
            self.room_for(given.as_ref(), name, of, most);
        }
        limits
    }

    /// Where only the other value is given, it is the one that does not fit.
    fn room_for(
        &mut self,
        given: Option<&Spanned<Value>>,
        name: &str,
        (of, one): (&str, usize),
        most: usize,
    ) {
        let least = one.saturating_mul(FOLD);
        if most < least {
            let shown = show_bytes(i64::try_from(least).unwrap_or(i64::MAX));
            let at = given.map_or(0..0, Spanned::span);
            let what = format!("`{name}` must be at least {FOLD} times `{of}`, that is {shown}");
            self.complaints.add(at, what, "one client may hold no more than half of it");
        }
    }

    fn memory(&mut self, given: Option<&Spanned<Value>>, default: usize) -> usize {
        let read = given.and_then(|given| self.bytes(given, 1..=i64::MAX));
        read.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(default)
    }
}
