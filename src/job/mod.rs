//! Jobs: containers that have a Docker socket of their own, and everything that was made through it.
//!
//! `run` opens a listener for each and tells what becomes of it; `reaper` looks after those that end. What must stay true:
//! the ledger knows of a job before the engine does; a job is forgotten when nothing of it can be left.

pub mod ledger;
mod process;
mod reaper;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use crate::config::open_jobs_dir;
use crate::policy::WantedJob;
use crate::policy::temporary::Members;
use ledger::{JobRecord, Ledger};
pub use process::{ProcessId, uid_of};
pub use reaper::{Host, reap};
use sweep::Swept;

/// As a power of two: what an engine does not let go is tried once a minute in the end.
const MOST_PAUSES: u32 = 6;

/// The jobs that there are.
#[derive(Debug)]
pub struct Jobs {
    ledger: Ledger,
    dir: PathBuf,
    open_dir: PathBuf,
    jobs: Mutex<BTreeMap<String, Job>>,
    counts: Mutex<JobCounts>,
    /// Told when there is something for the reaper to look at.
    due: Notify,
}

#[derive(Clone, Debug)]
pub struct Job {
    pub record: JobRecord,
    /// For who judges calls on its socket.
    pub members: Members,
    pub phase: JobPhase,
    /// Whether the call that makes its first container is one of this process.
    is_here: bool,
    /// The calls of this process that make containers of it.
    calls: BTreeSet<String>,
    /// Why it could not be ended yet, and how often that was tried.
    pub error: Option<String>,
    tries: u32,
    /// Of it, by this process.
    swept: Swept,
}

/// Since the process began.
#[derive(Clone, Copy, Debug, Default)]
pub struct JobCounts {
    /// Of which nothing was left.
    pub ended: u64,
    pub removed: Swept,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobPhase {
    /// The call that makes its container runs.
    Opening,
    Open,
    Ending,
    /// Nothing is left of it. It is remembered, for what may come of calls that were under way.
    Gone,
}

impl JobPhase {
    pub fn as_str(self) -> &'static str {
        match self {
            JobPhase::Opening => "opening",
            JobPhase::Open => "open",
            JobPhase::Ending => "ending",
            JobPhase::Gone => "gone",
        }
    }
}

/// What there is of a job besides a call that has come to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Other containers, or calls that make some.
    Others,
    /// It had none but this one.
    Over,
    /// It has had none.
    Nothing,
}

impl Jobs {
    /// Those of the ledger; what is wrong with it is told.
    pub fn of(ledger: &Path, dir: &Path) -> std::io::Result<(Jobs, Vec<String>)> {
        let ledger = Ledger::new(ledger);
        let (records, wrong) = ledger.read()?;
        let known = records.into_iter().map(|record| (record.id.clone(), Job::known(record)));
        let jobs = Mutex::new(known.collect());
        let (dir, open_dir) = (dir.to_owned(), open_jobs_dir(dir));
        let (counts, due) = (Mutex::default(), Notify::new());
        Ok((Jobs { ledger, dir, open_dir, jobs, counts, due }, wrong))
    }

    /// The folder of a job's socket, which its containers have.
    pub fn folder(&self, record: &JobRecord) -> PathBuf {
        crate::policy::temporary::folder(self.dir_of(record), &record.id)
    }

    /// Where it is.
    pub fn dir_of(&self, record: &JobRecord) -> &Path {
        match record.process {
            Some(_) => &self.open_dir,
            None => &self.dir,
        }
    }

    /// Written down: the engine may be asked for its container.
    pub fn begin(&self, record: JobRecord, most: usize) -> Result<Job, String> {
        let mut jobs = self.lock();
        let open = jobs.values().filter(|job| job.phase != JobPhase::Gone).count();
        if open >= most {
            return Err(format!("there are {open} jobs, and no more are opened (`jobs.sockets`)"));
        }
        self.put(&record)?;
        let id = record.id.clone();
        let calls = BTreeSet::from([id.clone()]);
        let job = Job { phase: JobPhase::Opening, is_here: true, calls, ..Job::known(record) };
        jobs.insert(id, job.clone());
        Ok(job)
    }

    /// The open job that a call's container is to be one of. It does not end before the call does.
    pub fn join(&self, wanted: &WantedJob) -> Option<String> {
        wanted.group.as_ref()?;
        let mut jobs = self.lock();
        let job = jobs.values_mut().find(|job| {
            let JobRecord { policy, listener, user, engine, group, .. } = &job.record;
            let whose = (policy, listener, user, engine, group);
            let WantedJob { policy, listener, user, engine, group, .. } = wanted;
            job.is_served() && whose == (policy, listener, user, engine, group)
        })?;
        job.calls.insert(wanted.id.clone());
        Some(job.record.id.clone())
    }

    /// Nothing has come of a call, or this container, which is removed.
    pub fn without(&self, id: &str, container: Option<&str>) -> Result<Rest, String> {
        let mut jobs = self.lock();
        let Some(job) = jobs.get_mut(id) else { return Ok(Rest::Nothing) };
        let mut record = job.record.clone();
        record.containers.retain(|one| Some(one.as_str()) != container);
        if record.containers.is_empty() && job.calls.len() < 2 {
            let is_new = job.record.containers.is_empty();
            return Ok(if is_new { Rest::Nothing } else { Rest::Over });
        }
        self.change(job, record)?;
        Ok(Rest::Others)
    }

    /// This container is one of its own.
    pub fn bind(&self, id: &str, container: &str) -> Result<(), String> {
        let mut jobs = self.lock();
        let job = jobs.get_mut(id).ok_or_else(|| format!("there is no job `{id}`"))?;
        if !job.is_served() {
            return Err(format!("job `{id}` was ended meanwhile"));
        }
        if !job.members.has(container) {
            let mut record = job.record.clone();
            let is_first = record.containers.is_empty();
            record.containers.push(container.to_owned());
            match is_first {
                // Whose container has its label and its folder is looked up as well (`On::others_of`).
                true => {
                    self.ledger.note(&record).map_err(unwritten)?;
                    job.changed(record);
                }
                false => self.change(job, record)?,
            }
        }
        if !job.is_here && job.phase == JobPhase::Opening {
            job.phase = JobPhase::Open;
        }
        Ok(())
    }

    /// A call that was to make a container of it has ended: whether there is one is looked up where nobody has said.
    pub fn opened(&self, call: &str) {
        for job in self.lock().values_mut() {
            let is_its = job.calls.remove(call) || job.record.id == call;
            if is_its && job.calls.is_empty() && job.phase == JobPhase::Opening {
                job.phase = JobPhase::Open;
            }
        }
        self.due.notify_one();
    }

    /// It is over: what is left of it is removed.
    pub fn end(&self, id: &str) -> Result<(), String> {
        let mut jobs = self.lock();
        let job = jobs.get_mut(id).ok_or_else(|| format!("there is no job `{id}`"))?;
        self.end_now(job);
        drop(jobs);
        self.due.notify_one();
        Ok(())
    }

    /// Nothing was made of it.
    pub fn forget(&self, id: &str) {
        self.lock().remove(id);
        if let Err(error) = self.ledger.remove(id) {
            tracing::error!(job = id, %error, "the ledger keeps a job that is gone");
        }
    }

    /// The reaper has seen that it is over; not if a container has come since it looked, or may.
    fn ends(&self, seen: &Job) -> bool {
        let mut jobs = self.lock();
        let Some(job) = jobs.get_mut(&seen.record.id) else { return false };
        if job.calls.is_empty() && job.record.containers == seen.record.containers {
            self.end_now(job);
        }
        job.phase == JobPhase::Ending
    }

    /// Written down first, for it must not be open again after a restart. Where the ledger cannot be written it ends all
    /// the same.
    fn end_now(&self, job: &mut Job) {
        if job.is_served() {
            job.record.ending = Some(now());
            job.phase = JobPhase::Ending;
            job.members.end();
            // What was wrong before, such as an engine that was away, holds up no end.
            (job.error, job.tries) = (None, 0);
            if let Err(error) = self.put(&job.record) {
                tracing::error!(job = job.record.id, %error, "a job ends, and after a restart it would be open again");
            }
        }
    }

    /// Of its containers these are gone, and others are there.
    fn left(&self, id: &str, gone: &[String]) -> Result<(), String> {
        let mut jobs = self.lock();
        let Some(job) = jobs.get_mut(id) else { return Ok(()) };
        let mut record = job.record.clone();
        record.containers.retain(|one| !gone.contains(one));
        self.change(job, record)
    }

    pub fn all(&self) -> Vec<Job> {
        self.lock().values().cloned().collect()
    }

    pub fn get(&self, id: &str) -> Option<Job> {
        self.lock().get(id).cloned()
    }

    pub fn counts(&self) -> JobCounts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This was removed of it.
    fn swept(&self, id: &str, swept: Swept) {
        if let Some(job) = self.lock().get_mut(id) {
            job.swept.add(swept);
        }
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).removed.add(swept);
    }

    /// Nothing is left of it; gives what was removed, if that is news.
    fn gone(&self, id: &str) -> Result<Option<Swept>, String> {
        let mut jobs = self.lock();
        let Some(job) = jobs.get_mut(id) else { return Ok(None) };
        let record = JobRecord { gone: Some(now()), ..job.record.clone() };
        if self.put(&record).is_err() {
            // On a disk that is full: nothing is left of it, and its own record makes room for the new one.
            self.ledger.remove(id).map_err(|error| format!("the ledger is kept: {error}"))?;
            if let Err(why) = self.put(&record) {
                tracing::error!(job = id, "a job is gone, and after a restart forgotten: {why}");
            }
        }
        (job.record, job.phase, job.error, job.tries) = (record, JobPhase::Gone, None, 0);
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).ended += 1;
        Ok(Some(job.swept))
    }

    /// It was looked after.
    fn succeeded(&self, id: &str) {
        if let Some(job) = self.lock().get_mut(id) {
            (job.error, job.tries) = (None, 0);
        }
    }

    /// How many pauses there are to be before the next try.
    fn failed(&self, id: &str, why: &str) -> u32 {
        match self.lock().get_mut(id) {
            Some(job) => {
                job.error = Some(why.to_owned());
                job.tries = job.tries.saturating_add(1);
                1 << job.tries.min(MOST_PAUSES)
            }
            None => 1,
        }
    }

    fn change(&self, job: &mut Job, record: JobRecord) -> Result<(), String> {
        if record != job.record {
            self.put(&record)?;
            job.changed(record);
        }
        Ok(())
    }

    fn put(&self, record: &JobRecord) -> Result<(), String> {
        self.ledger.put(record).map_err(unwritten)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    /// As the ledger has it.
    fn known(record: JobRecord) -> Job {
        // The process before may still make it: until it has ended, its call goes on.
        let may_come = record.lacks_container() && record.is_being_made();
        let phase = match record.gone {
            Some(_) => JobPhase::Gone,
            None if record.ending.is_some() => JobPhase::Ending,
            None if may_come => JobPhase::Opening,
            None => JobPhase::Open,
        };
        let members = Members::of(&record.containers);
        let (calls, swept) = Default::default();
        Job { record, members, phase, is_here: false, calls, error: None, tries: 0, swept }
    }

    /// It is written down.
    fn changed(&mut self, record: JobRecord) {
        self.members.set(&record.containers);
        self.record = record;
    }

    /// Whether the reaper is waited for.
    fn is_due(&self) -> bool {
        match self.phase {
            JobPhase::Ending => self.error.is_none(),
            JobPhase::Open => self.record.lacks_container(),
            JobPhase::Opening | JobPhase::Gone => false,
        }
    }

    /// Whether its socket is to be open.
    pub fn is_served(&self) -> bool {
        matches!(self.phase, JobPhase::Opening | JobPhase::Open)
    }
}

fn unwritten(error: std::io::Error) -> String {
    format!("the ledger cannot be written: {error}")
}

/// Ends the job of a process when that ends.
pub async fn follow_process(jobs: Arc<Jobs>, record: JobRecord) {
    let Some(of) = &record.process else { return };
    process::ended(&of.process).await;
    let _ = jobs.end(&record.id);
}

/// In seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
