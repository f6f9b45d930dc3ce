//! What is measured, in which order, against which bar.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::http::bad;
use crate::load::{self, Load, Sample};
use crate::process;
use crate::stream::{self, Transfer};
use crate::table::{Bar, Row, figure, median, ratios};
use crate::targets::Target;
use crate::way::Way;

pub(crate) const DIRECT: usize = 0;
pub(crate) const HAPROXY: usize = 1;
pub(crate) const DOCKGATE: usize = 2;
pub(crate) const NO_POLICY: usize = 3;

pub(crate) const MB: f64 = 1e6;

/// How long and how often.
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
    pub(crate) transfer_rounds: usize,
    pub(crate) bytes: u64,
    pub(crate) waves: usize,
    pub(crate) crowd: usize,
}

impl Effort {
    pub(crate) const FULL: Self = Self {
        rounds: 7,
        time: Duration::from_millis(800),
        transfer_rounds: 5,
        bytes: 1 << 30,
        waves: 10,
        crowd: 10_000,
    };
    pub(crate) const QUICK: Self = Self {
        rounds: 3,
        time: Duration::from_millis(250),
        transfer_rounds: 3,
        bytes: 1 << 28,
        waves: 10,
        crowd: 2_000,
    };
}

/// The run: its targets in the order of the columns, the rows so far, and what went wrong.
pub(crate) struct Run {
    pub(crate) targets: [Option<Target>; 4],
    /// What the targets run, for those that are started again with more doors.
    pub(crate) programs: [Option<PathBuf>; 4],
    pub(crate) effort: Effort,
    pub(crate) only: Option<String>,
    pub(crate) notes: Vec<String>,
    pub(crate) dir: PathBuf,
    pub(crate) missed: usize,
}

type Samples<T> = [Vec<T>; 4];

impl Run {
    pub(crate) fn everything(&mut self) {
        self.memory();
        self.exec();
        for connections in [1, 16, 64] {
            self.requests(
                &format!("ping, {connections} conn"),
                &get("/_ping"),
                200,
                connections,
                1.0,
            );
        }
        for connections in [1, 16, 64] {
            let request = get("/v1.45/containers/json");
            self.requests(&format!("list, {connections} conn"), &request, 200, connections, 0.8);
        }
        self.requests("fresh connection", &get("/_ping"), 200, 4, 1.2);
        self.requests("create", &create(), 201, 16, 1.5);
        self.rego();
        let mut growth: Samples<(bool, f64)> = Default::default();
        for (name, transfer, bar) in [
            ("attach, engine to client", Transfer::RawOut, 0.75),
            ("attach, client to engine", Transfer::RawIn, 0.75),
            ("attach, 32 KiB frames to client", Transfer::FramesOut, 0.4),
            ("upload (load)", Transfer::Upload, 0.5),
            ("download (save)", Transfer::Download, 0.4),
        ] {
            self.transfer(name, transfer, bar, &mut growth);
        }
        for (name, to_engine) in [("to client", false), ("to engine", true)] {
            let most = growth.each_ref().map(|all| {
                let of_this = all.iter().filter(|(to, _)| *to == to_engine);
                of_this.map(|(_, growth)| *growth).reduce(f64::max)
            });
            if most.iter().any(Option::is_some) {
                let row =
                    Row::new(format!("memory growth while data passes {name}, MB"), cells(&most));
                self.print(row.judge(most[DOCKGATE], " MB", Some(Bar::AtMost(16.0))));
            }
        }
        self.remains();
        self.doors();
    }

    /// One kind of request: processor time, rate and latency.
    fn requests(&mut self, name: &str, request: &[u8], status: u16, connections: usize, bar: f64) {
        let fresh = name.starts_with("fresh");
        let load = Load { request: Arc::from(request), status, connections, fresh };
        let (rounds, time) = (self.effort.rounds, self.effort.time);
        let Some(samples) = self.rounds(name, rounds, |target| {
            target.forget_log()?;
            let pid = target.pid();
            let sample = load::run(&target.socket, &load, time, || process::cpu_seconds(pid))?;
            match target.logged() {
                Some(bytes) if bytes < 20 * sample.requests => Err(bad("the access log is off")),
                _ => Ok(sample),
            }
        }) else {
            return;
        };
        let of = |take: fn(&Sample) -> f64| {
            samples.each_ref().map(|all| all.iter().map(take).collect::<Vec<f64>>())
        };
        let cost = of(|s| s.cost * 1e5 / s.requests as f64);
        let mut shown = cost.each_ref().map(|all| median(all.iter().copied()));
        shown[DIRECT] = None;
        let row = Row::new(format!("{name}: CPU s per 100,000"), cells(&shown));
        let judged = ratios(&cost[DOCKGATE], &cost[HAPROXY]);
        self.print(row.judge_all(&judged, "", Some(Bar::AtMost(bar))));
        self.policy_cost(name, &cost);
        let rate = of(|s| s.requests as f64 / s.seconds);
        let shown = rate.each_ref().map(|all| median(all.iter().copied()));
        let row = Row::new(format!("{name}: requests/s"), cells(&shown));
        self.print(row.judge_all(&ratios(&rate[DOCKGATE], &rate[HAPROXY]), "", None));
        let p50 = of(|s| s.p50_us).map(median);
        let p99 = of(|s| s.p99_us).map(median);
        let mut shown = cells(&p50);
        for (shown, p99) in shown.iter_mut().zip(p99) {
            if let Some(p99) = p99 {
                *shown = format!("{shown} / {}", figure(p99));
            }
        }
        let row = Row::new(format!("{name}: p50 / p99 µs (p50 added)"), shown);
        let added =
            samples[DOCKGATE].iter().zip(&samples[DIRECT]).map(|(a, b)| a.p50_us - b.p50_us);
        let bar = (name == "ping, 1 conn").then_some(Bar::AtMost(35.0));
        self.print(row.judge_all(&added.collect::<Vec<_>>(), " µs", bar));
    }

    /// What `conservative` costs a request: dockgate with it against dockgate without policies. Where one
    /// connection waits for each answer, waking up costs more than a policy, and less when more is done.
    fn policy_cost(&mut self, name: &str, cost: &Samples<f64>) {
        let most = match name {
            "create" => 40.0,
            "ping, 16 conn" | "list, 16 conn" => 5.0,
            _ => return,
        };
        let micros = |cost: &f64| cost * 10.0;
        let shown = cost.each_ref().map(|all| median(all.iter().map(micros)));
        let shown = [None, None, shown[DOCKGATE], shown[NO_POLICY]];
        let added: Vec<f64> = cost[DOCKGATE]
            .iter()
            .zip(&cost[NO_POLICY])
            .map(|(with, without)| micros(with) - micros(without))
            .collect();
        let row = Row::new(format!("{name}: CPU µs each, of it by the policy"), cells(&shown));
        self.print(row.judge_all(&added, " µs", Some(Bar::AtMost(most))));
    }

    /// One kind of transfer: throughput, processor time, and how memory grew meanwhile.
    fn transfer(
        &mut self,
        name: &str,
        transfer: Transfer,
        bar: f64,
        growth: &mut Samples<(bool, f64)>,
    ) {
        let (rounds, bytes) = (self.effort.transfer_rounds, self.effort.bytes);
        let Some(samples) = self.rounds(name, rounds, |target| {
            let (pid, before) = (target.pid(), process::rss_kib(target.pid())?);
            process::forget_peak(pid)?;
            let cpu = process::cpu_seconds(pid);
            let seconds = transfer.run(&Way::Unix(target.socket.clone()), bytes)?;
            let cpu = process::cpu_seconds(pid) - cpu;
            Ok((seconds, cpu, (process::peak_kib(pid)? - before).max(0.0) * 1024.0 / MB))
        }) else {
            return;
        };
        let gib = bytes as f64 / f64::from(1 << 30);
        let rate = samples.each_ref().map(|all| all.iter().map(|s| gib / s.0).collect::<Vec<_>>());
        let shown = rate.each_ref().map(|all| median(all.iter().copied()));
        let row = Row::new(format!("{name}: GiB/s"), cells(&shown));
        let judged = ratios(&rate[DOCKGATE], &rate[DIRECT]);
        self.print(row.judge_all(&judged, "", Some(Bar::AtLeast(bar))));
        let mut cost = samples.each_ref().map(|all| median(all.iter().map(|s| s.1 / gib)));
        cost[DIRECT] = None;
        self.print(Row::new(format!("{name}: CPU s per GiB"), cells(&cost)));
        for (grown, samples) in growth.iter_mut().zip(&samples).skip(1) {
            grown.extend(samples.iter().map(|s| (transfer.to_engine(), s.2)));
        }
    }

    /// Not timed: exec start with a JSON body and 4 MiB echoed intact. HAProxy drops the upgrade
    /// of a request with a body, so that a failure here is a finding, not a broken run.
    fn exec(&mut self) {
        let echo = |target: &Target| Ok(stream::exec_echo(&target.socket));
        let Some(samples) = self.rounds("exec", 1, echo) else {
            return;
        };
        let works = samples[DOCKGATE].first().map(|echoed| f64::from(u8::from(echoed.is_ok())));
        let cells = samples.map(|all| match all.first() {
            None => "–".to_string(),
            Some(Ok(())) => "works".to_string(),
            Some(Err(error)) => format!("fails: {error}"),
        });
        let row = Row::new("exec start with a body, 4 MiB echoed", cells);
        self.print(row.judge(works, "", Some(Bar::AtLeast(1.0))));
    }

    /// Runs `measure` on every target in turn, `rounds` times, so that what disturbs the machine
    /// disturbs all. A target that fails is left out and noted. `None` when `--only` excludes it.
    pub(crate) fn rounds<T>(
        &mut self,
        name: &str,
        rounds: usize,
        measure: impl Fn(&Target) -> io::Result<T>,
    ) -> Option<Samples<T>> {
        if self.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            return None;
        }
        let mut samples: Samples<T> = Default::default();
        let mut failed = [false; 4];
        for round in 0..rounds {
            for turn in 0..4 {
                let column = (turn + round) % 4;
                let Some(target) = self.targets[column].as_ref() else { continue };
                if failed[column] {
                    continue;
                }
                match measure(target) {
                    Ok(sample) => samples[column].push(sample),
                    Err(error) => {
                        if !self.dir.exists() {
                            self.notes.push(format!(
                                "{name} and all that follows: somebody has removed {}",
                                self.dir.display()
                            ));
                            self.targets = [const { None }; 4];
                            return None;
                        }
                        failed[column] = true;
                        samples[column].clear();
                        self.notes.push(format!("{name}, {}: {error}", target.name));
                    }
                }
            }
        }
        Some(samples)
    }

    pub(crate) fn print(&mut self, row: Row) {
        self.missed += usize::from(row.missed());
        println!("{row}");
    }
}

/// A request of the docker CLI without a body.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: api.moby.localhost\r\n\
         User-Agent: Docker-Client/28.5.2 (linux)\r\n\r\n"
    )
    .into_bytes()
}

/// `docker create --name x`.
pub(crate) fn create() -> Vec<u8> {
    let body = include_str!("create.json").trim_end();
    format!(
        "POST /v1.45/containers/create?name=x HTTP/1.1\r\nHost: api.moby.localhost\r\n\
         User-Agent: Docker-Client/28.5.2 (linux)\r\nContent-Length: {}\r\n\
         Content-Type: application/json\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub(crate) fn cells(values: &[Option<f64>; 4]) -> [String; 4] {
    values.map(|value| value.map_or_else(|| "–".to_string(), figure))
}
