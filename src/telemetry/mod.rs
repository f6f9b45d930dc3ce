//! What an operator sees of the running program: diagnostics and the access log.
//!
//! `main` starts both; `gateway` writes one access record a call. What must stay true: no secret is
//! in either (no header values, no bodies, no query that can carry one), and a full pipe on stdout
//! never stops a call.

pub mod access;
pub mod diagnostics;
