//! What an operator sees of the running program: diagnostics, the access log and the metrics.
//!
//! `main` starts them; `gateway` writes one access record a call and counts it. What must stay true:
//! no secret is in any of them (no header values, no bodies, no query that can carry one), nothing
//! that a client chose can move a terminal's cursor, and a full or closed pipe never stops a call.

pub mod access;
pub mod caches;
pub mod diagnostics;
mod fields;
pub mod jobs;
pub mod metrics;
mod page;
pub mod printable;
mod process;
mod record;
pub mod registries;
mod sums;
mod tally;
