//! What a scrape tells of jobs: containers that have a Docker socket of their own.
//!
//! `run` gathers the numbers and gives them to `Metrics::render_with`. What must stay true: there is one series for each
//! state and each kind of thing, whatever jobs there are.

use std::fmt;

use super::page::Page;

/// Now; of counters since the process began.
#[derive(Clone, Debug, Default)]
pub struct JobNumbers {
    /// By state.
    pub jobs: Vec<(&'static str, u64)>,
    /// Those that cannot be ended yet.
    pub failing: u64,
    pub ended: u64,
    /// By kind.
    pub removed: Vec<(&'static str, u64)>,
}

pub(super) fn put(page: &mut Page<'_>, numbers: &JobNumbers) -> fmt::Result {
    let jobs = numbers.jobs.iter().map(|(state, count)| ([("state", *state)], *count));
    page.gauges("dockgate_jobs", "Jobs that have a socket of their own", jobs)?;
    let help = "Jobs of which something cannot be removed yet";
    page.gauge("dockgate_jobs_failing", help, None, numbers.failing)?;
    let help = "Jobs of which nothing is left";
    page.counter("dockgate_jobs_ended", help, None, numbers.ended)?;
    let removed = numbers.removed.iter().map(|(kind, count)| ([("kind", *kind)], *count));
    page.counters("dockgate_jobs_removed", "Things of jobs that were removed", None, removed)
}
