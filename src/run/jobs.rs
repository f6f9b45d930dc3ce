//! Jobs, as the world has them: a listener for each, opened and closed by commands.
//!
//! `commands` says what is to be done; `job` looks after what is over. What must stay true: a job is in the ledger before
//! its socket listens, and its socket listens before the engine is asked for its container.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::ArcSwap;

use super::commands::{Command, Commands};
use super::inherit::Inherited;
use super::open_listeners::Wanted;
use super::plan::{ListenerPlan, temporary};
use super::world::World;
use crate::config::{Config, JobEnd, TemporaryListener};
use crate::engine::Engine;
use crate::job::ledger::JobRecord;
use crate::job::{self, Host, Jobs, ProcessId};
use crate::policy::namespace::Namespaces;
use crate::policy::{JobDeed, WantedJob};

impl World {
    pub(super) fn job(&mut self, deed: JobDeed) -> anyhow::Result<String> {
        match deed {
            JobDeed::Open(wanted) => self.open_job(wanted),
            JobDeed::Made { id, container } => {
                self.jobs.bind(&id, &container).map_err(anyhow::Error::msg)?;
                Ok(format!("job `{id}` is container `{container}`'s"))
            }
            JobDeed::End(id) => {
                if self.jobs.get(&id).is_some_and(|job| job.record.container.is_some()) {
                    self.jobs.end(&id).map_err(anyhow::Error::msg)?;
                    return Ok(format!("job `{id}` ends"));
                }
                // The engine has made nothing, and nobody could use its socket.
                self.close_job(&id);
                let _ = std::fs::remove_dir_all(self.jobs.folder(&id));
                self.jobs.forget(&id);
                Ok(format!("job `{id}` has not begun"))
            }
        }
    }

    fn open_job(&mut self, wanted: WantedJob) -> anyhow::Result<String> {
        let id = wanted.id.clone();
        let settings = temporary(&self.config, &wanted.policy)?;
        let (prefix, images) = namespace(settings, &id)?.prefixes(&namespace_of(&id));
        let WantedJob { policy, listener, user, engine, .. } = wanted;
        let record = JobRecord {
            id: id.clone(),
            policy,
            listener,
            user,
            engine,
            container: None,
            opener: ProcessId::own(),
            prefix,
            images,
            began: job::now(),
            ending: None,
            gone: None,
        };
        let most = self.config.jobs.most;
        let job = self.jobs.begin(record, most).map_err(anyhow::Error::msg)?;
        match self.listen_for(&job) {
            Ok(said) => Ok(said),
            Err(error) => {
                let _ = std::fs::remove_dir_all(self.jobs.folder(&id));
                self.jobs.forget(&id);
                Err(error)
            }
        }
    }

    fn listen_for(&mut self, job: &job::Job) -> anyhow::Result<String> {
        make_folder(&self.jobs, &job.record.id)?;
        let plan = ListenerPlan::of_job(&self.config, &self.jobs, job)?;
        let address = self.engine.address().clone();
        let wanted = vec![Wanted::listener(plan)];
        let (staged, left_out) = self.stage(wanted, &address, &mut Inherited::default())?;
        if let Some((what, error)) = left_out.into_iter().next() {
            return Err(error.context(format!("{what} cannot be opened")));
        }
        Ok(self.replace(staged, true, |_| true).concat())
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

/// The folder of a job's socket, which anybody in its container may look into.
pub(super) fn make_folder(jobs: &Jobs, id: &str) -> anyhow::Result<()> {
    let folder = jobs.folder(id);
    let make = |path: &Path, mode| DirBuilder::new().recursive(true).mode(mode).create(path);
    // The folders of all jobs are nobody's way to any of them: the engine binds each by itself.
    let all = folder.parent().unwrap_or(Path::new("/"));
    let made = all.parent().map_or(Ok(()), |around| make(around, 0o755));
    let made = made.and_then(|()| make(all, 0o700)).and_then(|()| make(&folder, 0o755));
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
