//! Looks at jobs, several at a time.
//!
//! `reaper` begins them and is told when each has ended. What must stay true: no job is looked at twice at once, and of none
//! that something is heard of is the last look one from before; the sockets of those that end close first, however many are
//! still to be swept.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;

use super::super::{Job, JobPhase};

/// How many are looked at at once: one that has made very much holds up the others' ends by one of these.
const AT_ONCE: usize = 8;

/// Which job, and when to look again at the latest.
type RunningLook<'r> = Pin<Box<dyn Future<Output = (String, Duration)> + Send + 'r>>;

/// What is done with a job that is looked at.
pub(super) trait Looking: Sync {
    fn jobs(&self) -> Vec<Job>;

    /// Nobody comes in by its socket any more.
    fn close(&self, id: &str) -> impl Future<Output = ()> + Send;

    /// Gives when to look again at the latest.
    fn look(&self, id: &str) -> impl Future<Output = Duration> + Send;
}

/// The jobs that are being looked at, each once at a time.
pub(super) struct Looks<'r, L> {
    looking: &'r L,
    slots: &'r Semaphore,
    pub(super) running: FuturesUnordered<RunningLook<'r>>,
    busy: BTreeSet<String>,
    /// Those of which something was heard meanwhile.
    again: BTreeSet<String>,
}

/// Those of one `Looks`.
pub(super) fn slots() -> Semaphore {
    Semaphore::new(AT_ONCE)
}

impl<'r, L: Looking> Looks<'r, L> {
    pub(super) fn new(looking: &'r L, slots: &'r Semaphore) -> Looks<'r, L> {
        let (running, busy, again) = Default::default();
        Looks { looking, slots, running, busy, again }
    }

    pub(super) fn begin(&mut self, wanted: impl Fn(&Job) -> bool) {
        for job in self.looking.jobs().into_iter().filter(wanted) {
            let id = job.record.id;
            if !self.busy.insert(id.clone()) {
                self.again.insert(id);
                continue;
            }
            let (looking, slots) = (self.looking, self.slots);
            self.running.push(Box::pin(async move {
                // Nobody comes in any more, however long it takes until all is gone.
                if job.phase == JobPhase::Ending {
                    looking.close(&id).await;
                }
                let _slot = slots.acquire().await;
                let later = looking.look(&id).await;
                (id, later)
            }));
        }
    }

    pub(super) fn ended(&mut self, id: &str) {
        self.busy.remove(id);
        if self.again.remove(id) {
            self.begin(|job| job.record.id == id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::{FutureExt as _, StreamExt as _};

    use super::*;
    use crate::job::Jobs;
    use crate::job::tests::record;

    /// Looks that go on until they are let go, and what was done so far.
    struct Held {
        jobs: Jobs,
        done: Mutex<Vec<String>>,
        ends: Semaphore,
        _dir: tempfile::TempDir,
    }

    impl Held {
        /// So many jobs that end.
        fn of(count: usize) -> Held {
            let dir = tempfile::tempdir().unwrap();
            let (jobs, _) = Jobs::of(&dir.path().join("ledger"), &dir.path().join("s")).unwrap();
            for n in 0..count {
                let id = format!("{n:x}");
                jobs.begin(record(&id), count).unwrap();
                jobs.end(&id).unwrap();
            }
            Held { jobs, done: Mutex::default(), ends: Semaphore::new(0), _dir: dir }
        }

        fn add(&self, what: String) {
            self.done.lock().unwrap().push(what);
        }

        fn count(&self, what: &str) -> usize {
            self.done.lock().unwrap().iter().filter(|one| one.starts_with(what)).count()
        }
    }

    impl Looking for Held {
        fn jobs(&self) -> Vec<Job> {
            self.jobs.all()
        }

        async fn close(&self, id: &str) {
            self.add(format!("close {id}"));
        }

        async fn look(&self, id: &str) -> Duration {
            self.add(format!("look {id}"));
            self.ends.acquire().await.unwrap().forget();
            Duration::ZERO
        }
    }

    /// The next one that has ended, if any has; all of them come as far as they can.
    fn next(looks: &mut Looks<'_, Held>) -> Option<String> {
        Some(looks.running.next().now_or_never()??.0)
    }

    #[test]
    fn all_sockets_close_before_more_than_eight_are_looked_at() {
        let (held, slots) = (Held::of(11), slots());
        let mut looks = Looks::new(&held, &slots);
        looks.begin(|_| true);
        assert_eq!(next(&mut looks), None);
        assert_eq!((held.count("close"), held.count("look")), (11, 8));
        for more in 9..12 {
            held.ends.add_permits(1);
            let ended = next(&mut looks).unwrap();
            looks.ended(&ended);
            assert_eq!(next(&mut looks), None);
            assert_eq!(held.count("look"), more, "one comes for one that has ended");
        }
        held.ends.add_permits(8);
        let mut left = 0;
        while let Some(ended) = next(&mut looks) {
            looks.ended(&ended);
            left += 1;
        }
        assert_eq!((left, held.count("look"), looks.running.len()), (8, 11, 0));
    }

    #[test]
    fn a_job_that_something_is_heard_of_meanwhile_is_looked_at_once_more_and_never_twice_at_once() {
        let (held, slots) = (Held::of(1), slots());
        let mut looks = Looks::new(&held, &slots);
        looks.begin(|_| true);
        assert_eq!(next(&mut looks), None);
        looks.begin(|_| true);
        looks.begin(|_| true);
        assert_eq!(next(&mut looks), None);
        assert_eq!(held.count("look"), 1);
        held.ends.add_permits(1);
        assert_eq!(next(&mut looks).as_deref(), Some("0"));
        looks.ended("0");
        assert_eq!(next(&mut looks), None);
        assert_eq!(held.count("look"), 2, "for all that was heard meanwhile");
        held.ends.add_permits(1);
        assert_eq!(next(&mut looks).as_deref(), Some("0"));
        looks.ended("0");
        assert_eq!((next(&mut looks), held.count("look")), (None, 2));
    }

    #[test]
    fn a_job_that_is_open_keeps_its_socket_when_it_is_looked_at() {
        let (held, slots) = (Held::of(0), slots());
        held.jobs.begin(record("a"), 1).unwrap();
        held.jobs.opened("a");
        let mut looks = Looks::new(&held, &slots);
        looks.begin(|_| true);
        assert_eq!(next(&mut looks), None);
        assert_eq!((held.count("close"), held.count("look")), (0, 1));
    }
}
