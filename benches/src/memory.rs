//! The rows about memory and open files: of fresh processes, with idle streams, at the end.

use std::io;
use std::time::{Duration, Instant};

use crate::plan::{DIRECT, DOCKGATE, MB, Run, cells};
use crate::process;
use crate::stream;
use crate::table::{Bar, Row};
use crate::targets::Target;

const STREAMS: usize = 1000;

impl Run {
    /// Memory and open files of fresh processes, then with idle streams.
    pub(crate) fn memory(&mut self) {
        let waves = self.effort.waves;
        let Some(samples) = self.rounds("memory", 1, |target| idle_streams(target, waves)) else {
            return;
        };
        let of = |take: fn(&Idle) -> f64| {
            let mut all = samples.each_ref().map(|all| all.first().map(take));
            all[DIRECT] = None;
            all
        };
        for (metric, take, unit, bar) in [
            ("idle, resident MB", (|i| i.start_mb) as fn(&Idle) -> f64, " MB", Some(8.0)),
            ("idle hijacked stream, KiB each (first 1,000)", |i| i.first_kib, " KiB", Some(8.0)),
            ("the same, 1,000 more after ten waves", |i| i.later_kib, " KiB", Some(8.0)),
            ("memory kept when all are closed, MB", |i| i.kept_mb, " MB", None),
            // A pool of pipes, two for each worker thread, is no leak; one of 11,000 streams is.
            ("open files left when all are closed", |i| i.files_left, "", Some(8.0)),
            ("hijacks opened per second", |i| i.per_second, "/s", None),
        ] {
            let all = of(take);
            let row = Row::new(metric, cells(&all));
            self.print(row.judge(all[DOCKGATE], unit, bar.map(Bar::AtMost)));
        }
    }

    /// What is left of the load when it is over, against the start of the process.
    pub(crate) fn remains(&mut self) {
        let Some(samples) = self.rounds("remains", 1, |target| {
            std::thread::sleep(Duration::from_millis(250));
            let grown = process::open_files(target.pid())? as f64 - target.idle_files as f64;
            Ok((process::rss_kib(target.pid())? * 1024.0 / MB, grown))
        }) else {
            return;
        };
        for (metric, take) in [
            ("at the end of the run: resident MB", (|r| r.0) as fn(&(f64, f64)) -> f64),
            ("at the end of the run: open files more than at its start", |r| r.1),
        ] {
            let mut all = samples.each_ref().map(|all| all.first().map(take));
            all[DIRECT] = None;
            self.print(Row::new(metric, cells(&all)));
        }
    }
}

struct Idle {
    start_mb: f64,
    first_kib: f64,
    later_kib: f64,
    kept_mb: f64,
    files_left: f64,
    per_second: f64,
}

fn idle_streams(target: &Target, waves: usize) -> io::Result<Idle> {
    let (pid, each) = (target.pid(), STREAMS as f64);
    let (memory, files) = (process::rss_kib(pid)?, process::open_files(pid)?);
    let mut open_kib = Vec::new();
    let mut opening = Duration::ZERO;
    for _ in 0..=waves {
        let begin = Instant::now();
        let streams = stream::open_idle(&target.socket, STREAMS)?;
        opening += begin.elapsed();
        open_kib.push((process::rss_kib(pid)? - memory) / each);
        drop(streams);
        settle(pid, files)?;
    }
    Ok(Idle {
        start_mb: target.idle_kib * 1024.0 / MB,
        first_kib: open_kib.first().copied().unwrap_or(0.0),
        later_kib: open_kib.last().copied().unwrap_or(0.0),
        kept_mb: (process::rss_kib(pid)? - memory) * 1024.0 / MB,
        files_left: process::open_files(pid)? as f64 - files as f64,
        per_second: each * (waves + 1) as f64 / opening.as_secs_f64(),
    })
}

/// Waits until the process has no more than `files` open, or closes no more of them.
fn settle(pid: u32, files: usize) -> io::Result<()> {
    let (mut last, mut since) = (usize::MAX, Instant::now());
    while since.elapsed() < Duration::from_millis(500) {
        let open = process::open_files(pid)?;
        if open <= files {
            break;
        }
        if open != last {
            (last, since) = (open, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
