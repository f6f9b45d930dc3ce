//! Jobs, as the world has them: a listener for each, opened and closed by commands.
//!
//! `commands` says what is to be done; `job` looks after what is over. What must stay true: a job is in the ledger before
//! its socket listens, and its socket listens before the engine is asked for its container.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;

use super::commands::{Command, Commands};
use super::in_sight;
use super::inherit::Inherited;
use super::open_listeners::Wanted;
use super::plan::{ListenerPlan, temporary};
use super::world::World;
use crate::admin::OpenJob;
use crate::api::endpoint::NEWEST;
use crate::config::{Config, JobEnd, TemporaryListener};
use crate::engine::Engine;
use crate::job::ledger::{JobProcess, JobRecord};
use crate::job::{self, Host, Jobs, ProcessId, Rest};
use crate::policy::namespace::Namespaces;
use crate::policy::{JobDeed, WantedJob};
use crate::wire::trail::Trail;

impl World {
    pub(super) fn job(&mut self, deed: JobDeed) -> anyhow::Result<String> {
        match deed {
            JobDeed::Open(wanted) => self.job_for(wanted),
            JobDeed::Made { id, container } => {
                self.jobs.bind(&id, &container).map_err(anyhow::Error::msg)?;
                Ok(format!("job `{id}` is container `{container}`'s"))
            }
            JobDeed::End { id, container } => {
                let rest = self.jobs.without(&id, container.as_deref());
                match rest.map_err(anyhow::Error::msg)? {
                    Rest::Others => return Ok(format!("job `{id}` goes on")),
                    Rest::Over => {
                        self.jobs.end(&id).map_err(anyhow::Error::msg)?;
                        return Ok(format!("job `{id}` ends"));
                    }
                    Rest::Nothing => {}
                }
                // The engine has made nothing, and nobody could use its socket.
                self.close_job(&id);
                self.forget_job(&id);
                Ok(format!("job `{id}` has not begun"))
            }
        }
    }

    /// The id of the one that a call's container is of.
    pub(super) fn job_for(&mut self, wanted: WantedJob) -> anyhow::Result<String> {
        match self.jobs.join(&wanted) {
            Some(id) => Ok(id),
            None => self.open_job(wanted),
        }
    }

    fn open_job(&mut self, wanted: WantedJob) -> anyhow::Result<String> {
        let id = wanted.id.clone();
        let settings = temporary(&self.config, &wanted.policy)?;
        let (prefix, images) = namespace(settings, &id)?.prefixes(&namespace_of(&id));
        let WantedJob { policy, listener, user, engine, group, .. } = wanted;
        let record = JobRecord {
            id: id.clone(),
            policy,
            listener,
            user,
            engine,
            containers: Vec::new(),
            group,
            opener: ProcessId::own(),
            process: None,
            prefix,
            images,
            began: job::now(),
            ending: None,
            gone: None,
        };
        self.begin_job(record)
    }

    /// Of a process of the host; the policy, and what its namespace is called, are added here.
    pub(super) fn open_process_job(
        &mut self,
        record: JobRecord,
        policy: Option<&str>,
    ) -> anyhow::Result<String> {
        let is_same = |job: &job::Job| {
            let (one, other) = (record.process.as_ref(), job.record.process.as_ref());
            job.is_served() && one.map(JobProcess::key) == other.map(JobProcess::key)
        };
        if let Some(taken) = self.jobs.all().iter().find(|job| is_same(job)) {
            anyhow::bail!("job `{}` of this user has that name already", taken.record.id);
        }
        let policy = policy_for(&self.config, policy).map_err(anyhow::Error::msg)?;
        let settings = temporary(&self.config, &policy)?;
        let id = record.id.clone();
        let (prefix, images) = namespace(settings, &id)?.prefixes(&namespace_of(&id));
        let record = JobRecord { policy, prefix, images, ..record };
        let said = self.begin_job(record.clone())?;
        self.jobs.opened(&id);
        self.follow_process(record);
        Ok(said)
    }

    /// Until this process drains.
    pub(super) fn follow_process(&self, record: JobRecord) {
        if record.process.is_some() {
            let (drain, jobs) = (self.drain.child_token(), Arc::clone(&self.jobs));
            tokio::spawn(async move {
                drain.run_until_cancelled(job::follow_process(jobs, record)).await;
            });
        }
    }

    fn begin_job(&mut self, record: JobRecord) -> anyhow::Result<String> {
        in_sight::check_engine(self.engine.address())?;
        let id = record.id.clone();
        let most = self.config.jobs.most;
        let job = self.jobs.begin(record, most).map_err(anyhow::Error::msg)?;
        match self.listen_for(&job) {
            Ok(()) => Ok(id),
            Err(error) => {
                self.forget_job(&id);
                Err(error)
            }
        }
    }

    fn forget_job(&self, id: &str) {
        if let Some(job) = self.jobs.get(id) {
            let _ = std::fs::remove_dir_all(self.jobs.folder(&job.record));
        }
        self.jobs.forget(id);
    }

    fn listen_for(&mut self, job: &job::Job) -> anyhow::Result<()> {
        make_folder(&self.jobs, &job.record)?;
        let plan = ListenerPlan::of_job(&self.config, &self.jobs, job)?;
        let address = self.engine.address().clone();
        let wanted = vec![Wanted::listener(plan)];
        let (staged, left_out) = self.stage(wanted, &address, &mut Inherited::default())?;
        if let Some((what, error)) = left_out.into_iter().next() {
            return Err(error.context(format!("{what} cannot be opened")));
        }
        self.replace(staged, true, |_| true);
        Ok(())
    }

    /// Nobody comes in any more, and what goes on there is cut off.
    pub(super) fn close_job(&mut self, id: &str) -> String {
        let name = listener_of(id);
        self.replace(Vec::new(), true, |open| open.name != name);
        format!("closed the socket of job `{id}`")
    }
}

/// What a job's listener is called.
pub(super) fn listener_of(id: &str) -> String {
    format!("job-{id}")
}

/// The name of the namespace behind a job's socket.
fn namespace_of(id: &str) -> String {
    format!("job/{id}")
}

/// The namespace behind it.
pub(super) fn namespace(settings: &TemporaryListener, id: &str) -> anyhow::Result<Namespaces> {
    Ok(Namespaces::fixed("namespace", &settings.namespace, &namespace_of(id))?)
}

/// What is written of a job for a process, and the policy that was named for it: who asks for one must be root, or the
/// user whose process it is.
pub(super) async fn process_job(
    engine: &Engine,
    wanted: OpenJob,
) -> Result<(JobRecord, Option<String>), String> {
    let OpenJob { name, policy, pid, asker } = wanted;
    let gone = || format!("there is no process {pid}");
    let process = ProcessId::of(pid).ok_or_else(gone)?;
    let uid = job::uid_of(pid).ok_or_else(gone)?;
    if asker != 0 && asker != uid {
        return Err(format!(
            "process {pid} is another user's, and only root may open a job for it"
        ));
    }
    let trail = Trail::default();
    let version = engine.versions(&trail).await.map_err(|error| error.to_string())?;
    let version = version.newest.min(NEWEST);
    let which = engine.asked_which(version, &trail).await.map_err(|error| error.to_string())?;
    let engine = which.map(|which| which.id);
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| "the kernel gives no random bytes")?;
    let record = JobRecord {
        id: format!("{:016x}", u64::from_be_bytes(random)),
        policy: String::new(),
        listener: "-".to_owned(),
        user: Some(uid.to_string()),
        engine: engine.ok_or("the engine does not say which it is")?,
        containers: Vec::new(),
        group: None,
        opener: None,
        process: Some(JobProcess { name, uid, process }),
        prefix: String::new(),
        images: String::new(),
        began: job::now(),
        ending: None,
        gone: None,
    };
    Ok((record, policy))
}

/// The `[policy.NAME]` that says what holds in jobs: the one of this name, or the only one.
pub(super) fn policy_for(config: &Config, name: Option<&str>) -> Result<String, String> {
    let policies = config.listeners.iter().flat_map(|listener| &listener.policies);
    let all = policies.filter(|policy| policy.temporary().is_some()).map(|policy| &*policy.name);
    let all: BTreeSet<&str> = all.filter(|one| name.is_none_or(|name| name == *one)).collect();
    match (all.len(), all.first(), name) {
        (1, Some(one), _) => Ok((*one).to_owned()),
        (_, _, Some(name)) => {
            Err(format!("no listener has a policy `{name}` of kind `temporary-listener`"))
        }
        (0, ..) => {
            Err("no listener has a policy of kind `temporary-listener`, which says what holds"
                .to_owned())
        }
        _ => {
            let all: Vec<&str> = all.into_iter().collect();
            Err(format!("there are several policies. hint: `--policy`, one of {}", all.join(", ")))
        }
    }
}

/// The folder of a job's socket, which anybody in its container may look into.
pub(super) fn make_folder(jobs: &Jobs, job: &JobRecord) -> anyhow::Result<()> {
    let folder = jobs.folder(job);
    let make = |path: &Path, mode| DirBuilder::new().recursive(true).mode(mode).create(path);
    // The folders of all jobs are nobody's way to any of them: the engine binds each by itself.
    let all = folder.parent().unwrap_or(Path::new("/"));
    let made = all.parent().map_or(Ok(()), |around| make(around, 0o755));
    // Those of processes everybody may come to, and it is the socket's file that lets them in.
    let mode = if job.process.is_some() { 0o711 } else { 0o700 };
    let made = made.and_then(|()| make(all, mode)).and_then(|()| make(&folder, 0o755));
    made.with_context(|| format!("`{}` cannot be made", folder.display()))
}

/// What `job::reap` needs of the world, which goes on meanwhile.
pub(super) struct JobHost {
    commands: Commands,
    now: ArcSwap<HostView>,
}

struct HostView {
    engine: Engine,
    config: Config,
}

impl JobHost {
    pub(super) fn new(world: &World) -> Arc<JobHost> {
        let now = ArcSwap::from_pointee(HostView::of(world));
        Arc::new(JobHost { commands: world.commands.clone(), now })
    }

    /// Of an authority, by the configuration as it is now.
    pub(super) fn ca_lifetime(&self) -> Duration {
        self.now.load().config.ca.lifetime
    }

    /// The world has changed.
    pub(super) fn follow(&self, world: &World) {
        self.now.store(Arc::new(HostView::of(world)));
    }
}

impl HostView {
    fn of(world: &World) -> HostView {
        HostView { engine: world.engine.for_another_worker(), config: world.config.clone() }
    }
}

impl Host for JobHost {
    fn engine(&self) -> Engine {
        self.now.load().engine.for_another_worker()
    }

    fn close(&self, id: String) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let _ = self.commands.give(Command::CloseJob(id)).await;
        })
    }

    fn ends(&self, policy: &str) -> Option<JobEnd> {
        temporary(&self.now.load().config, policy).ok().map(|settings| settings.ends)
    }
}
