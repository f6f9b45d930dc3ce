//! Bodies that are read whole, into memory: those of requests within a time, at a rate, and all of them within
//! the budget.
//!
//! `request` collects JSON for the parser, `answer` what policies want to see. What must stay true: memory is
//! taken from the budget before it is used, and a sender that goes on sending little is not waited for.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::budget::{Full, Lease};
use super::{ClientConnection, ListenerState};
use crate::auth::PeerKey;
use crate::wire::framing::Framing;
use crate::wire::pump::{Inbox, PumpError};

/// What of a body is collected before its memory is a question of how much came.
const FIRST: usize = 16 * 1024;

/// Whose memory it is, and how much of it there may be.
pub(super) struct BodyQuota<'a> {
    pub state: &'a ListenerState,
    pub source: PeerKey,
    pub lease: &'a mut Option<Lease>,
    /// Of the body, in bytes.
    pub most: usize,
}

/// How fast a body must come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    begun: Instant,
    /// For all of it.
    time: Duration,
    /// After which the rate counts.
    grace: Duration,
    /// In bytes a second.
    rate: usize,
}

#[derive(Debug)]
pub(super) enum BodyError {
    TooLarge,
    TooSlow(Slow),
    Full(Full),
    Pump(PumpError),
}

/// Which bound was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Slow {
    #[error("the body took longer than {}", humantime::format_duration(*.0))]
    Time(Duration),
    #[error("the body came at less than {0} bytes a second")]
    Rate(usize),
}

impl Pace {
    pub(super) fn of(state: &ListenerState) -> Pace {
        let limits = &state.limits;
        let (time, grace, rate) = (limits.body_time, limits.header_time, limits.body_rate);
        Pace { begun: Instant::now(), time, grace, rate }
    }

    /// Until when more must have come than this.
    fn until(&self, came: usize) -> Instant {
        self.begun + self.time.min(self.at_rate(came))
    }

    fn at_rate(&self, came: usize) -> Duration {
        let earned = Duration::from_secs_f64(came as f64 / self.rate.max(1) as f64);
        self.grace.saturating_add(earned)
    }

    fn missed(&self, came: usize) -> Slow {
        match self.time <= self.at_rate(came) {
            true => Slow::Time(self.time),
            false => Slow::Rate(self.rate),
        }
    }
}

impl<'a> BodyQuota<'a> {
    /// For a body of this client's.
    pub(super) fn of(
        state: &'a ListenerState,
        client: &ClientConnection,
        lease: &'a mut Option<Lease>,
        most: usize,
    ) -> BodyQuota<'a> {
        BodyQuota { state, source: client.caller.peer.source(), lease, most }
    }

    /// Reads a whole body; the sender of an answer is trusted to send it.
    pub(super) async fn collect(
        mut self,
        from: &mut Inbox<'_>,
        framing: &mut Framing,
        pace: Option<Pace>,
        passed: &mut u64,
    ) -> Result<Vec<u8>, BodyError> {
        let mut body = Vec::new();
        let known = match framing {
            Framing::Length { left } => usize::try_from(*left).unwrap_or(usize::MAX),
            _ => 0,
        };
        if known > self.most {
            return Err(BodyError::TooLarge);
        }
        body.reserve_exact(known.min(FIRST));
        while !framing.is_done() {
            if from.buffer.is_empty() && !more(from, pace, body.len()).await? {
                return if framing.close() {
                    Ok(body)
                } else {
                    Err(BodyError::Pump(PumpError::Cut))
                };
            }
            self.make_room(&mut body, from.buffer.len(), known)?;
            let n = framing
                .take_payload(from.buffer.unread(), |part| body.extend_from_slice(part))
                .map_err(|error| BodyError::Pump(error.into()))?;
            *passed += n as u64;
            from.buffer.consume(n);
            if body.len() > self.most {
                return Err(BodyError::TooLarge);
            }
        }
        Ok(body)
    }

    /// For as much as is there to be read, which may be more than belongs to the body.
    fn make_room(
        &mut self,
        body: &mut Vec<u8>,
        waiting: usize,
        known: usize,
    ) -> Result<(), BodyError> {
        let wanted = body.len() + waiting;
        let wanted = if known > 0 { wanted.min(known) } else { wanted };
        if wanted <= body.capacity() {
            return Ok(());
        }
        let double = body.capacity().saturating_mul(2);
        let quota = wanted.max(if known > 0 { double.min(known) } else { double });
        let budget = &self.state.budgets.bodies;
        budget.cover(self.lease, self.source, quota).map_err(BodyError::Full)?;
        body.reserve_exact(quota - body.len());
        Ok(())
    }
}

async fn more(from: &mut Inbox<'_>, pace: Option<Pace>, came: usize) -> Result<bool, BodyError> {
    let read = match pace {
        None => from.more().await,
        Some(pace) => match timeout_at(pace.until(came), from.more()).await {
            Ok(read) => read,
            Err(_) => return Err(BodyError::TooSlow(pace.missed(came))),
        },
    };
    read.map_err(|error| BodyError::Pump(PumpError::Read(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_its_time_and_earns_it_by_coming() {
        let seconds = Duration::from_secs;
        let begun = Instant::now();
        let pace = Pace { begun, time: seconds(300), grace: seconds(30), rate: 1024 };
        assert_eq!(pace.until(0), begun + seconds(30));
        assert_eq!(pace.until(10 << 10), begun + seconds(40));
        assert_eq!(pace.missed(10 << 10), Slow::Rate(1024));
        assert_eq!(pace.until(4 << 20), begun + seconds(300), "and no more than that");
        assert_eq!(pace.missed(4 << 20), Slow::Time(seconds(300)));
        let hasty = Pace { time: seconds(2), ..pace };
        assert_eq!((hasty.until(0), hasty.missed(0)), (begun + seconds(2), Slow::Time(seconds(2))));
    }
}
