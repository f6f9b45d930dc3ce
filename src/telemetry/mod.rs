//! What an operator sees of the running program: diagnostics, the access log and the metrics.
//!
//! `main` starts them; `gateway` writes one access record a call and counts it. What must stay true:
//! no secret is in any of them (no header values, no bodies, no query that can carry one), and a full
//! pipe on stdout never stops a call.

pub mod access;
pub mod caches;
pub mod diagnostics;
pub mod metrics;
mod page;
mod process;
mod record;
mod sums;
mod tally;
