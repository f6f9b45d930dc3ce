//! Ends jobs whose containers are gone, and removes what was made through their sockets.
//!
//! `run` starts it once. It follows the engine's events, and looks at every job whenever it connects, every minute, and
//! when it is told to. What must stay true: whatever ends when, a job whose container is gone is swept until nothing is
//! left; with another engine than the job's nothing is touched.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value as Json, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ledger::JobRecord;
use super::sweep::{Swept, sweep};
use super::{Job, JobPhase, Jobs, now};
use crate::api::endpoint::{Minor, NEWEST, Resource};
use crate::config::JobEnd;
use crate::engine::{Engine, EngineError, Inspected, Subject};
use crate::policy::temporary::LABEL;
use crate::wire::trail::Trail;

/// How often every job is looked at, whatever the events say.
const EVERY: Duration = Duration::from_secs(60);
/// Between two tries to reach an engine that is away, and to remove what it does not let go.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two looks at what a process before this one has begun.
const PREDECESSOR: Duration = Duration::from_secs(5);
/// For how long a job is remembered that is gone: a call that was under way may still make something.
const REMEMBERED: u64 = 3600;

/// What the reaper needs of the rest of the program.
pub trait Host: Send + Sync {
    /// The engine as it is configured now.
    fn engine(&self) -> Engine;

    /// Nobody comes in by the job's socket any more, and what goes on there is cut off: the engine may still end a call.
    fn close(&self, id: String) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// When jobs of this policy are over; none where the configuration has no such policy any more.
    fn ends(&self, policy: &str) -> Option<JobEnd>;
}

/// Until `stop`.
pub async fn reap(jobs: Arc<Jobs>, host: Arc<dyn Host>, stop: CancellationToken) {
    stop.run_until_cancelled(async {
        loop {
            let reaper = Reaper { jobs: &jobs, host: &*host };
            if let Err(error) = reaper.follow().await {
                tracing::debug!(%error, "jobs cannot be looked after");
            }
            // Woken by a job that ends meanwhile, it tries again as well.
            let _ = tokio::time::timeout(PAUSE, jobs.due.notified()).await;
        }
    })
    .await;
}

struct Reaper<'r> {
    jobs: &'r Jobs,
    host: &'r dyn Host,
}

/// What becomes of a job that is looked at.
enum Next {
    Stays,
    /// Looked at again after this long.
    Later(Duration),
    Ends,
}

impl Reaper<'_> {
    /// As long as the engine tells of its events.
    async fn follow(&self) -> Result<(), EngineError> {
        if self.jobs.all().is_empty() {
            self.jobs.due.notified().await;
        }
        let engine = self.host.engine();
        let version = engine.versions(&Trail::default()).await?.newest.min(NEWEST);
        let filters = json!({ "type": ["container", "network", "volume", "image"] }).to_string();
        let mut events = engine.events(version, &filters).await?;
        let on = On { engine: &engine, version };
        let mut next = self.look(&on, |_| true).await?;
        loop {
            let looked = tokio::select! {
                event = events.next() => match event {
                    Some(event) => {
                        let ids = self.concerned(&event);
                        if ids.is_empty() {
                            continue;
                        }
                        self.look(&on, |job| ids.contains(&job.record.id)).await?
                    }
                    None => return Ok(()),
                },
                () = self.jobs.due.notified() => self.look(&on, Job::is_due).await?,
                () = tokio::time::sleep_until(next) => {
                    next = Instant::now() + EVERY;
                    self.look(&on, |job| job.phase != JobPhase::Gone || is_old(job)).await?
                }
            };
            next = next.min(looked);
        }
    }

    /// The jobs that an event may be the end of, or that are gone and may have left what it tells of.
    fn concerned(&self, event: &Json) -> Vec<String> {
        let text = |path: &str| event.pointer(path).and_then(Json::as_str).unwrap_or_default();
        let (action, id) = (text("/Action"), text("/Actor/ID"));
        let name = match text("/Type") {
            "container" | "network" => text("/Actor/Attributes/name"),
            "volume" => id,
            _ => text("/Actor/Attributes/name"),
        };
        let concerns = |job: &Job| match job.phase {
            JobPhase::Gone => {
                let is_own =
                    name.starts_with(&job.record.prefix) || name.starts_with(&job.record.images);
                // Any container that is made may be the one that it waited for.
                let may_be_its = job.record.may_have_more() && text("/Type") == "container";
                (is_own && matches!(action, "create" | "tag" | "pull" | "rename"))
                    || (may_be_its && action == "create")
            }
            // Made by the process before: whoever is in it is served at once.
            JobPhase::Opening if !job.is_here => text("/Type") == "container" && action == "create",
            _ => {
                let is_its = job.members.has(id);
                is_its && matches!(action, "destroy" | "die")
            }
        };
        self.jobs.all().into_iter().filter(concerns).map(|job| job.record.id).collect()
    }

    /// Looks at these; gives when to look again at the latest.
    async fn look(
        &self,
        on: &On<'_>,
        wanted: impl Fn(&Job) -> bool,
    ) -> Result<Instant, EngineError> {
        let mut next = EVERY;
        let mut known = None;
        for job in self.jobs.all().iter().filter(|job| wanted(job)) {
            let engine = match &known {
                Some(engine) => engine,
                None => known.insert(on.engine_id().await?),
            };
            if job.record.engine != *engine {
                let why =
                    "the engine is another than the one that it began on: nothing of it is removed";
                let _ = self.jobs.failed(&job.record.id, why);
                continue;
            }
            match self.look_at(on, job).await {
                Ok(looked) => {
                    self.jobs.succeeded(&job.record.id);
                    if let Next::Later(later) = looked {
                        next = next.min(later);
                    }
                }
                Err(error) => {
                    let said = error.to_string();
                    // Once for each reason: it is tried again and again.
                    if job.error.as_ref() != Some(&said) {
                        tracing::warn!(job = job.record.id, %error, "a job cannot be ended yet");
                    }
                    next = next.min(PAUSE * self.jobs.failed(&job.record.id, &said));
                }
            }
        }
        Ok(Instant::now() + next)
    }

    async fn look_at(&self, on: &On<'_>, job: &Job) -> anyhow::Result<Next> {
        let id = &job.record.id;
        let next = match job.phase {
            JobPhase::Opening if job.is_here => Next::Stays,
            JobPhase::Opening => self.has_come(on, job).await?,
            JobPhase::Ending => Next::Ends,
            JobPhase::Open => self.is_over(on, job).await?,
            JobPhase::Gone => {
                // Asked for by a call that was cut off, and made when the job was over already.
                for late in on.others_of(&job.record, self.jobs).await? {
                    on.remove_container(&late).await?;
                }
                let swept = self.swept(on, &job.record).await?;
                if !swept.is_nothing() {
                    told(&job.record, swept, "what came late of a job is removed");
                }
                if is_old(job) {
                    self.jobs.forget(id);
                }
                Next::Stays
            }
        };
        if let Next::Ends = next {
            if !self.jobs.ends(job) {
                return Ok(Next::Stays);
            }
            self.host.close(id.clone()).await;
            self.swept(on, &job.record).await?;
            remove_folder(&self.jobs.folder(&job.record))?;
            if let Some(swept) = self.jobs.gone(id).map_err(anyhow::Error::msg)? {
                told(&job.record, swept, "a job has ended");
            }
        }
        Ok(next)
    }

    /// What was removed counts, also when something is left.
    async fn swept(&self, on: &On<'_>, record: &JobRecord) -> anyhow::Result<Swept> {
        let mut swept = Swept::default();
        let result = sweep(on.engine, on.version, record, &mut swept).await;
        self.jobs.swept(&record.id, swept);
        result?;
        Ok(swept)
    }

    /// Of a job whose container another process has asked for. When that has ended, nobody waits for it any more: one
    /// that the engine still makes is removed when it comes.
    async fn has_come(&self, on: &On<'_>, job: &Job) -> anyhow::Result<Next> {
        Ok(match self.bind_others(on, job).await? {
            true => Next::Stays,
            false if job.record.is_being_made() => Next::Later(PREDECESSOR),
            false => Next::Ends,
        })
    }

    async fn is_over(&self, on: &On<'_>, job: &Job) -> anyhow::Result<Next> {
        let id = &job.record.id;
        if let Some(of) = &job.record.process {
            return Ok(if of.process.is_there() { Next::Stays } else { Next::Ends });
        }
        // Whoever made one has not heard of it, or was not there any more when it was made.
        if self.bind_others(on, job).await? {
            return Ok(Next::Stays);
        }
        let ends = self.host.ends(&job.record.policy);
        let (mut gone, mut next) = (Vec::new(), Next::Ends);
        for container in &job.record.containers {
            let Some(found) = on.look_up(Subject::Container(container)).await? else {
                gone.push(container.clone());
                continue;
            };
            let its = match ends {
                Some(JobEnd::Die { grace }) => since_it_ran(&found, grace),
                Some(JobEnd::Destroy) | None => Next::Stays,
            };
            next = next.or_longer(its);
        }
        if gone.len() < job.record.containers.len() {
            self.jobs.left(id, &gone).map_err(anyhow::Error::msg)?;
        }
        Ok(next)
    }

    /// Whether there are containers of it that nobody has told of.
    async fn bind_others(&self, on: &On<'_>, job: &Job) -> anyhow::Result<bool> {
        let id = &job.record.id;
        let others = on.others_of(&job.record, self.jobs).await?;
        for container in &others {
            self.jobs.bind(id, container).map_err(anyhow::Error::msg)?;
        }
        Ok(!others.is_empty())
    }
}

impl Next {
    /// Of two containers of a job.
    fn or_longer(self, other: Next) -> Next {
        match (self, other) {
            (Next::Stays, _) | (_, Next::Stays) => Next::Stays,
            (Next::Later(one), Next::Later(other)) => Next::Later(one.max(other)),
            (Next::Later(one), Next::Ends) | (Next::Ends, Next::Later(one)) => Next::Later(one),
            (Next::Ends, Next::Ends) => Next::Ends,
        }
    }
}

/// Whether nothing can come of it any more.
fn is_old(job: &Job) -> bool {
    job.record.gone.is_some_and(|gone| gone + REMEMBERED < now())
}

/// Of a container that is to run, or the job is over.
fn since_it_ran(container: &Json, grace: Duration) -> Next {
    let state = |key: &str| container.get("State").and_then(|state| state.get(key));
    let is_over = state("Running") == Some(&Json::Bool(false))
        && !matches!(state("Status").and_then(Json::as_str), Some("created" | "restarting"));
    let finished = state("FinishedAt").and_then(Json::as_str);
    let finished = finished.and_then(|time| humantime::parse_rfc3339(time).ok());
    match finished.filter(|_| is_over) {
        None => Next::Stays,
        Some(finished) => match (finished + grace).duration_since(SystemTime::now()) {
            Ok(left) if !left.is_zero() => Next::Later(left),
            _ => Next::Ends,
        },
    }
}

struct On<'e> {
    engine: &'e Engine,
    version: Minor,
}

impl On<'_> {
    async fn engine_id(&self) -> Result<String, EngineError> {
        let info = self.engine.look_up(self.version, Subject::Info, &Trail::default()).await?;
        let Inspected::Json(info) = info else { return Ok(String::new()) };
        Ok(info.get("ID").and_then(Json::as_str).unwrap_or_default().to_owned())
    }

    async fn look_up(&self, subject: Subject<'_>) -> anyhow::Result<Option<Json>> {
        match self.engine.look_up(self.version, subject, &Trail::default()).await? {
            Inspected::Json(json) => Ok(Some(json)),
            Inspected::Nothing => Ok(None),
            Inspected::Failed(why) => anyhow::bail!("what the engine says cannot be read: {why}"),
        }
    }

    async fn remove_container(&self, id: &str) -> anyhow::Result<()> {
        let trail = Trail::default();
        let removed = self.engine.remove(self.version, Resource::Container, id, &trail).await?;
        removed.map_err(anyhow::Error::msg)
    }

    /// The containers that were made with this job's folder, besides those that are known. Others may have it from one of
    /// those (`--volumes-from`): they have not the label, which no client can set.
    async fn others_of(&self, job: &JobRecord, jobs: &Jobs) -> anyhow::Result<Vec<String>> {
        if !job.may_have_more() {
            return Ok(Vec::new());
        }
        let (id, folder) = (&job.id, jobs.folder(job));
        let folder = folder.to_string_lossy();
        let filter = json!({ "volume": [folder], "label": [format!("{LABEL}={id}")] }).to_string();
        let list = self.look_up(Subject::List(Resource::Container, Some(&filter))).await?;
        let all = list.as_ref().and_then(Json::as_array).into_iter().flatten();
        let found = all.filter(|one| is_made_with(one, id, &folder));
        let ids = found.filter_map(|one| one.get("Id")?.as_str()).map(str::to_owned);
        Ok(ids.filter(|one| !job.containers.contains(one)).collect())
    }
}

fn is_made_with(listed: &Json, id: &str, folder: &str) -> bool {
    let label = listed.get("Labels").and_then(|labels| labels.get(LABEL)).and_then(Json::as_str);
    let mounts = listed.get("Mounts").and_then(Json::as_array).into_iter().flatten();
    let mut sources = mounts.filter_map(|mount| mount.get("Source")?.as_str());
    label == Some(id) && sources.any(|source| source == folder)
}

fn remove_folder(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn told(job: &JobRecord, swept: Swept, what: &str) {
    let Swept { containers, networks, volumes, images } = swept;
    let (id, listener) = (&job.id, &job.listener);
    tracing::info!(job = id, %listener, containers, networks, volumes, images, "{what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_folder_from_another_is_not_its_container() {
        let one = |label: Json, source: &str| json!({ "Labels": label, "Mounts": [{ "Source": source, "Destination": "/run/jobs/0a" }] });
        let own = json!({ LABEL: "0a" });
        assert!(is_made_with(&one(own.clone(), "/run/jobs/0a"), "0a", "/run/jobs/0a"));
        assert!(!is_made_with(&one(json!({}), "/run/jobs/0a"), "0a", "/run/jobs/0a"));
        assert!(!is_made_with(&one(json!({ LABEL: "0b" }), "/run/jobs/0a"), "0a", "/run/jobs/0a"));
        assert!(!is_made_with(&one(own, "/srv"), "0a", "/run/jobs/0a"), "mounted there only");
    }

    #[test]
    fn a_container_that_does_not_run_is_given_its_grace() {
        let state = |status: &str, finished: &str| json!({ "State": { "Running": status == "running", "Status": status, "FinishedAt": finished } });
        let grace = Duration::from_secs(3600);
        let long_ago = "2001-01-01T00:00:00Z";
        assert!(matches!(since_it_ran(&state("exited", long_ago), grace), Next::Ends));
        for stays in ["created", "running", "restarting"] {
            assert!(matches!(since_it_ran(&state(stays, long_ago), grace), Next::Stays), "{stays}");
        }
        let now = humantime::format_rfc3339(SystemTime::now()).to_string();
        assert!(matches!(since_it_ran(&state("exited", &now), grace), Next::Later(_)));
    }

    #[test]
    fn a_job_of_several_containers_ends_with_the_last_of_them() {
        let later = |seconds| Next::Later(Duration::from_secs(seconds));
        assert!(matches!(Next::Ends.or_longer(Next::Ends), Next::Ends));
        assert!(matches!(Next::Ends.or_longer(Next::Stays), Next::Stays));
        assert!(matches!(Next::Stays.or_longer(later(1)), Next::Stays));
        for next in [later(1).or_longer(later(5)), Next::Ends.or_longer(later(5))] {
            assert!(matches!(next, Next::Later(left) if left.as_secs() == 5));
        }
    }
}
