//! What `/proc` says about a process: processor time, memory, open files.

use std::fs;
use std::io;

use crate::http::bad;

/// Seconds of processor time of all threads, also of those that have ended. `schedstat` counts
/// nanoseconds but forgets ended threads; `stat` remembers them but counts ticks of 10 ms.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let ticks = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = ticks.rsplit(')').next().unwrap_or_default();
    let field = |n| fields.split_whitespace().nth(n).and_then(|f: &str| f.parse::<f64>().ok());
    let coarse = (field(11).unwrap_or(0.0) + field(12).unwrap_or(0.0)) / 100.0;
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanos = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    let fine = nanos.sum::<u64>() as f64 / 1e9;
    fine.max(coarse - 0.02)
}

/// Resident memory in KiB, now.
pub(crate) fn rss_kib(pid: u32) -> io::Result<f64> {
    status_kib(pid, "VmRSS:")
}

/// Resident memory in KiB, the most since `forget_peak`.
pub(crate) fn peak_kib(pid: u32) -> io::Result<f64> {
    status_kib(pid, "VmHWM:")
}

pub(crate) fn forget_peak(pid: u32) -> io::Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

pub(crate) fn open_files(pid: u32) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

fn status_kib(pid: u32, key: &str) -> io::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| bad(format!("no {key} in /proc/{pid}/status")))
}
