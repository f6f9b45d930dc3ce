//! What Linux says of this process, under the names that every Prometheus client library uses.
//!
//! `Metrics` asks at each scrape. What must stay true: what cannot be read is left out, not zero.

use rustix::process::{Resource, getrlimit};

/// The kernel's unit of time in `/proc`, `USER_HZ`: 100 on every architecture that Rust's Linux
/// targets have (the Go and Python client libraries count on it too).
const TICKS: f64 = 100.0;

#[derive(Debug, Default, PartialEq)]
pub(super) struct Process {
    pub cpu_seconds: Option<f64>,
    pub start_seconds: Option<f64>,
    pub resident_bytes: Option<u64>,
    pub open_fds: Option<u64>,
    pub max_fds: Option<u64>,
}

impl Process {
    pub(super) fn look() -> Process {
        let file = |name: &str| std::fs::read_to_string(name).unwrap_or_default();
        let stat = file("/proc/self/stat");
        let booted = booted(&file("/proc/stat"));
        let start = field(&stat, 22).zip(booted).map(|(ticks, booted)| booted + ticks / TICKS);
        let cpu = field(&stat, 14).zip(field(&stat, 15)).map(|(user, own)| (user + own) / TICKS);
        Process {
            cpu_seconds: cpu,
            start_seconds: start,
            resident_bytes: resident(&file("/proc/self/status")),
            // One of them is the listing's own.
            open_fds: std::fs::read_dir("/proc/self/fd")
                .ok()
                .map(|entries| (entries.count() as u64).saturating_sub(1)),
            max_fds: getrlimit(Resource::Nofile).current,
        }
    }
}

/// The n-th field of `proc_pid_stat(5)`, from 1. The second is the program's name, in brackets, and
/// may hold anything.
fn field(stat: &str, n: usize) -> Option<f64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_ascii_whitespace().nth(n.checked_sub(3)?)?.parse().ok()
}

fn booted(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_brackets_moves_no_field() {
        let stat = "7 (a) b (c) S 1 2 3 0 -1 4 5 6 7 8 250 50 0 0 20 0 3 0 12345 9 9";
        assert_eq!((field(stat, 14), field(stat, 15)), (Some(250.0), Some(50.0)));
        assert_eq!(field(stat, 22), Some(12345.0));
        assert_eq!(field("nothing", 14), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
        assert_eq!(resident("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_is_there() {
        let process = Process::look();
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 100_000), "{process:?}");
        assert!(process.open_fds.is_some_and(|count| count >= 3), "{process:?}");
        let started = process.start_seconds.unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert!((now.as_secs_f64() - started).abs() < 86_400.0, "{process:?}");
    }
}
