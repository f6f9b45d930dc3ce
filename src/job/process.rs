//! A process of this machine, known again whatever is started meanwhile.
//!
//! The ledger holds whose call opens a job, and whose socket it is where that is no container. What must stay true: a
//! process that ended is never taken for one that has its number now; what cannot be told has ended.

use std::fs;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;

use crate::wire::io::watch;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    pub pid: i32,
    /// In clock ticks since the machine was started (field 22 of proc_pid_stat(5)).
    start: u64,
    /// Which start of the machine.
    boot: String,
}

impl ProcessId {
    /// None of one that is not there any more.
    pub fn of(pid: i32) -> Option<ProcessId> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, start) = read(&stat)?;
        // A zombie has ended, and only its parent has not looked.
        (!matches!(state, "Z" | "X")).then_some(ProcessId { pid, start, boot })
    }

    pub fn own() -> Option<ProcessId> {
        ProcessId::of(i32::try_from(std::process::id()).ok()?)
    }

    pub fn is_there(&self) -> bool {
        ProcessId::of(self.pid).as_ref() == Some(self)
    }
}

/// Whose a process is: its effective user.
pub fn uid_of(pid: i32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Until it has ended. Where that cannot be waited for, the reaper finds it.
pub(super) async fn ended(process: &ProcessId) {
    let handle = Pid::from_raw(process.pid).map(|pid| pidfd_open(pid, PidfdFlags::NONBLOCK));
    // Only of what is open nobody else can get the number.
    if !process.is_there() {
        return;
    }
    match handle.and_then(Result::ok).map(|fd| watch(fd, Interest::READABLE)) {
        Some(Ok(watched)) => {
            let _ = watched.readable().await;
        }
        _ => std::future::pending().await,
    }
}

/// State and start. The second field is a name, and may have anything in it.
fn read(stat: &str) -> Option<(&str, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_change_what_is_read() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20";
        assert_eq!(read(&format!("5 (sh) {rest}")), Some(("S", 777)));
        assert_eq!(read(&format!("5 (a) Z 9 (b) {rest}")), Some(("S", 777)));
        assert_eq!(read("5 (sh) S 1 2"), None);
        assert_eq!(read(""), None);
    }

    #[test]
    fn one_that_ended_is_not_there_nor_is_another_with_its_number() {
        let own = ProcessId::own().unwrap();
        assert_eq!(uid_of(own.pid), Some(rustix::process::geteuid().as_raw()));
        assert!(own.is_there());
        assert!(!ProcessId { start: own.start + 1, ..own.clone() }.is_there());
        assert!(!ProcessId { boot: "other".to_owned(), ..own }.is_there());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let known = ProcessId::of(pid);
        child.wait().unwrap();
        assert!(known.is_none_or(|known| !known.is_there()));
        assert_eq!(ProcessId::of(pid), None);
        assert_eq!(ProcessId::of(-1), None);
    }
}
