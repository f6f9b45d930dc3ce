//! Ends jobs whose containers are gone, and removes what was made through their sockets.
//!
//! `run` starts it once. It follows the engine's events, and looks at every job whenever it connects, every minute, and
//! when it is told to. What must stay true: whatever ends when, a job whose container is gone is swept until nothing is
//! left; with another engine than the job's nothing is touched.

mod looks;

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use serde_json::{Value as Json, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ledger::JobRecord;
use super::sweep::{Swept, sweep};
use super::{Job, JobPhase, Jobs, now};
use crate::api::endpoint::{Minor, NEWEST, Resource};
use crate::api::grammar::mounts::{self, MountSource};
use crate::api::grammar::reference::without_slash;
use crate::config::JobEnd;
use crate::engine::{Engine, EngineError, Inspected, Subject};
use crate::policy::temporary::{LABEL, in_cgroupfs};
use crate::wire::trail::Trail;
use looks::{Looking, Looks, slots};

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
        // Another engine cannot be there before these events end.
        let which = engine.asked_which(version, &Trail::default()).await?;
        let id = which.map(|which| which.id).unwrap_or_default();
        let on = On { engine: &engine, version, id };
        let (following, slots) = (Following { reaper: self, on: &on }, slots());
        let mut looks = Looks::new(&following, &slots);
        looks.begin(|_| true);
        let mut next = Instant::now() + EVERY;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => {
                        let ids = self.concerned(&event);
                        if !ids.is_empty() {
                            looks.begin(|job| ids.contains(&job.record.id));
                        }
                    }
                    None => return Ok(()),
                },
                () = self.jobs.due.notified() => looks.begin(Job::is_due),
                Some((id, later)) = looks.running.next() => {
                    next = next.min(Instant::now() + later);
                    looks.ended(&id);
                }
                () = tokio::time::sleep_until(next) => {
                    next = Instant::now() + EVERY;
                    looks.begin(|job| job.phase != JobPhase::Gone || is_old(job));
                }
            }
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
        // The one that it waits for, or another of its group; its label says so, and what it has does (`others_of`).
        let labelled =
            event.get("Actor").and_then(|actor| actor.get("Attributes")?.get(LABEL)?.as_str());
        let may_be_its = |job: &Job| {
            action == "create"
                && labelled == Some(&*job.record.id)
                && job.record.may_have_more()
                && !job.members.has(id)
        };
        let concerns = |job: &Job| match job.phase {
            JobPhase::Gone => {
                let is_own =
                    name.starts_with(&job.record.prefix) || name.starts_with(&job.record.images);
                (is_own && matches!(action, "create" | "tag" | "pull" | "rename"))
                    || may_be_its(job)
            }
            // Made by the process before: whoever is in it is served at once.
            JobPhase::Opening if !job.is_here => may_be_its(job),
            _ => {
                let is_its = job.members.has(id);
                (is_its && matches!(action, "destroy" | "die")) || may_be_its(job)
            }
        };
        self.jobs.all().into_iter().filter(concerns).map(|job| job.record.id).collect()
    }

    /// Looks at one, as it is now; gives when to look again at the latest.
    async fn look(&self, on: &On<'_>, id: &str) -> Duration {
        let Some(job) = self.jobs.get(id) else { return EVERY };
        if job.record.engine != on.id {
            let why =
                "the engine is another than the one that it began on: nothing of it is removed";
            let _ = self.jobs.failed(id, why);
            return EVERY;
        }
        match self.look_at(on, &job).await {
            Ok(looked) => {
                self.jobs.succeeded(id);
                if let Next::Later(later) = looked { later } else { EVERY }
            }
            Err(error) => {
                let said = error.to_string();
                // Once for each reason: it is tried again and again.
                if job.error.as_ref() != Some(&said) {
                    tracing::warn!(job = id, %error, "a job cannot be ended yet");
                }
                PAUSE * self.jobs.failed(id, &said)
            }
        }
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
            remove_cgroups(id);
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

/// The engine, for as long as it tells of its events.
struct On<'e> {
    engine: &'e Engine,
    version: Minor,
    /// The engine's own; empty where it does not say.
    id: String,
}

struct Following<'r> {
    reaper: &'r Reaper<'r>,
    on: &'r On<'r>,
}

impl Looking for Following<'_> {
    fn jobs(&self) -> Vec<Job> {
        self.reaper.jobs.all()
    }

    async fn close(&self, id: &str) {
        self.reaper.host.close(id.to_owned()).await;
    }

    async fn look(&self, id: &str) -> Duration {
        self.reaper.look(self.on, id).await
    }
}

impl On<'_> {
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

    /// The containers that were made with this job's folder, besides those that are known.
    async fn others_of(&self, job: &JobRecord, jobs: &Jobs) -> anyhow::Result<Vec<String>> {
        if !job.may_have_more() {
            return Ok(Vec::new());
        }
        let (id, folder) = (&job.id, jobs.folder(job));
        let folder = folder.to_string_lossy();
        let filter = json!({ "volume": [folder], "label": [format!("{LABEL}={id}")] }).to_string();
        let list = self.look_up(Subject::List(Resource::Container, Some(&filter))).await?;
        let all = list.as_ref().and_then(Json::as_array).into_iter().flatten();
        let ids = all.filter_map(|one| one.get("Id")?.as_str());
        let mut others = Vec::new();
        for one in ids.filter(|one| !job.containers.iter().any(|known| known == one)) {
            let made = self.look_up(Subject::Container(one)).await?;
            if made.is_some_and(|made| is_its_own(&made, job, &folder)) {
                others.push(one.to_owned());
            }
        }
        Ok(others)
    }
}

/// Whether a container was made with this folder by dockgate: an image may give one the label, another container the
/// folder (`--volumes-from`), and what the job has made has both, by the job's names.
fn is_its_own(made: &Json, job: &JobRecord, folder: &str) -> bool {
    let text = |path: &str| made.pointer(path).and_then(Json::as_str).unwrap_or_default();
    let label = made.pointer("/Config/Labels").and_then(|labels| labels.get(LABEL)?.as_str());
    let binds = made.pointer("/HostConfig/Binds").and_then(Json::as_array).into_iter().flatten();
    let mut sources = binds.filter_map(|bind| Some(mounts::source_of_bind(bind.as_str()?).0));
    label == Some(&*job.id)
        && !without_slash(text("/Name")).starts_with(&job.prefix)
        && sources.any(|source| source == MountSource::Host(folder))
}

fn remove_folder(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Empty by now, in each hierarchy that is mounted here. One that is not there, or that somebody else has put something
/// into, is nothing of ours.
fn remove_cgroups(job: &str) {
    let root = Path::new("/sys/fs/cgroup");
    let below = std::fs::read_dir(root).into_iter().flatten().flatten().map(|one| one.path());
    for hierarchy in std::iter::once(root.to_owned()).chain(below) {
        let _ = std::fs::remove_dir(hierarchy.join(in_cgroupfs(job).trim_start_matches('/')));
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
    fn who_has_a_label_or_a_folder_from_elsewhere_is_not_its_container() {
        let (folder, id) = ("/run/jobs/0a", "0a");
        let job = super::super::tests::record(id);
        let made = |name: &str, label: &str, bind: &str| {
            json!({
                "Name": format!("/{name}"), "Config": { "Labels": { LABEL: label } },
                "HostConfig": { "Binds": [bind] },
                "Mounts": [{ "Type": "bind", "Source": folder, "Destination": "/run/dockgate" }],
            })
        };
        let bind = "/run/jobs/0a:/run/dockgate:ro";
        assert!(is_its_own(&made("runner-1", id, bind), &job, folder));
        for other in [
            made("runner-1", "0b", bind),
            // By `--volumes-from`, of an image with the label.
            made("spy", id, "v:/x"),
            made("spy", id, "/srv:/run/jobs/0a"),
            // Of the job, which asked for its socket.
            made("dg0a-web", id, bind),
            json!({}),
        ] {
            assert!(!is_its_own(&other, &job, folder), "{other}");
        }
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
