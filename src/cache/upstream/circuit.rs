//! Hosts that gave no answer in time, so that not everybody waits for them in vain.
//!
//! `Upstream` asks before each request and tells how it went. After a time-out nobody is sent there until
//! the host has answered a probe, which `Upstream` sends behind the scenes while somebody asks. What must
//! stay true: a host that has answered others since the request began is not held for dead because of one
//! URL; the table is bounded.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Fault;
use crate::cache::key::Scheme;

/// From here on, hosts that are not known to be dead are forgotten.
const MANY: usize = 1024;
/// Between two probes.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

type Name = (Scheme, Box<str>);

#[derive(Debug, Default)]
pub(super) struct Circuits(Mutex<HashMap<Name, HostHealth>>);

#[derive(Debug, Default)]
struct HostHealth {
    answered: Option<Instant>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    fault: Fault,
    /// Somebody has asked since the last probe.
    is_wanted: bool,
}

/// What is to be done about a host next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CircuitStep {
    Probe,
    /// It has answered, or nobody asks any more.
    Nothing,
}

impl Circuits {
    /// The reason why nobody is sent to a host at the moment.
    pub(super) fn check(&self, scheme: Scheme, host: &str) -> Result<(), Fault> {
        let mut all = self.all();
        let Some(open) = all.get_mut(&name(scheme, host)).and_then(|one| one.open.as_mut()) else {
            return Ok(());
        };
        open.is_wanted = true;
        let why = Box::new(open.fault.clone());
        Err(Fault::Down { host: host.to_owned(), why })
    }

    /// A head came.
    pub(super) fn answered(&self, scheme: Scheme, host: &str) {
        let (mut all, now) = (self.all(), Instant::now());
        if all.len() >= MANY {
            all.retain(|_, one| one.open.is_some());
        }
        let one = all.entry(name(scheme, host)).or_default();
        (one.answered, one.open) = (Some(now), None);
    }

    /// A request that began then has failed: whether the host is to be probed from now on.
    pub(super) fn failed(&self, scheme: Scheme, host: &str, began: Instant, fault: &Fault) -> bool {
        if !matches!(fault, Fault::ConnectTimeout { .. } | Fault::HeadTimeout(_)) {
            return false;
        }
        let mut all = self.all();
        if all.len() >= MANY {
            return false;
        }
        let one = all.entry(name(scheme, host)).or_default();
        if one.open.is_some() || one.answered.is_some_and(|answered| answered >= began) {
            return false;
        }
        one.open = Some(Open { fault: fault.clone(), is_wanted: true });
        true
    }

    /// After a pause: while somebody asks the host is probed, else the next request is the probe.
    pub(super) fn next(&self, scheme: Scheme, host: &str) -> CircuitStep {
        let mut all = self.all();
        let Some(one) = all.get_mut(&name(scheme, host)) else { return CircuitStep::Nothing };
        match &mut one.open {
            Some(open) if open.is_wanted => {
                open.is_wanted = false;
                CircuitStep::Probe
            }
            _ => {
                one.open = None;
                CircuitStep::Nothing
            }
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Name, HostHealth>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pauses before one probe after the other. A host that only did not answer is probed at once: one
/// URL of it may be slow.
pub(super) fn pauses(fault: &Fault) -> impl Iterator<Item = Duration> + use<> {
    let at_once = matches!(fault, Fault::HeadTimeout(_)).then_some(Duration::ZERO);
    let growing =
        std::iter::successors(Some(FIRST_PAUSE), |pause| Some((*pause * 2).min(LONGEST_PAUSE)));
    at_once.into_iter().chain(growing)
}

fn name(scheme: Scheme, host: &str) -> Name {
    (scheme, host.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP: Scheme = Scheme::Http;

    fn silence() -> Fault {
        Fault::HeadTimeout(Duration::from_secs(60))
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_with_the_first_time_out_and_closes_with_an_answer() {
        let circuits = Circuits::default();
        let began = Instant::now();
        circuits.check(HTTP, "a").unwrap();
        assert!(circuits.failed(HTTP, "a", began, &silence()));
        assert!(!circuits.failed(HTTP, "a", began, &silence()), "one probe at a time");
        let fault = circuits.check(HTTP, "a").unwrap_err();
        assert_eq!((fault.name(), fault.status().as_u16()), ("origin-down", 504));
        circuits.check(Scheme::Https, "a").unwrap();
        circuits.check(HTTP, "b").unwrap();
        assert_eq!(circuits.next(HTTP, "a"), CircuitStep::Probe);
        circuits.answered(HTTP, "a");
        circuits.check(HTTP, "a").unwrap();
        assert_eq!(circuits.next(HTTP, "a"), CircuitStep::Nothing);
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_asks_any_more_the_next_request_is_the_probe() {
        let circuits = Circuits::default();
        circuits.failed(HTTP, "a", Instant::now(), &silence());
        assert_eq!(circuits.next(HTTP, "a"), CircuitStep::Probe);
        assert_eq!(circuits.next(HTTP, "a"), CircuitStep::Nothing);
        circuits.check(HTTP, "a").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_slow_url_is_no_dead_host_and_other_faults_cost_nobody_time() {
        let circuits = Circuits::default();
        let began = Instant::now();
        circuits.answered(HTTP, "a");
        assert!(!circuits.failed(HTTP, "a", began, &silence()));
        for fault in [
            Fault::Closed("x".to_owned()),
            Fault::Connect { host: "a".to_owned(), why: "refused".to_owned() },
            Fault::HeadTooLarge,
        ] {
            assert!(!circuits.failed(HTTP, "b", began, &fault), "{fault}");
        }
    }

    #[test]
    fn probes_become_rarer() {
        let connect = Fault::ConnectTimeout { host: "a".to_owned(), wait: FIRST_PAUSE };
        let seconds: Vec<_> = pauses(&connect).take(7).map(|pause| pause.as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(pauses(&silence()).next(), Some(Duration::ZERO));
    }
}
