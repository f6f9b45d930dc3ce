//! What a configuration comes to, before any socket is opened: certificates, keys, password files and
//! policies read and understood.
//!
//! `world` builds from it, and `dockgate check` stops here. What must stay true: no network, and what
//! can be wrong with a file that the configuration names is found here.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::Arc;

use anyhow::Context as _;
use aws_lc_rs::digest;

use super::jobs;
use crate::auth::{Authentication, Authenticators, Backoff};
use crate::cache::front;
use crate::cache::settings::Understood;
use crate::config::{
    self, ClientAuth, Complaints, Config, Invalid, Place, PolicyKind, Revoke, RuntimeListener,
};
use crate::engine::Address;
use crate::gateway::{self, Plugin, Plugins};
use crate::job::{Job, Jobs};
use crate::listener::tls::Server;
use crate::policy::conservative::Surroundings;
use crate::policy::temporary::{FILE, Guard, InJob, OwnMounts, PeerInJob, Sockets};
use crate::policy::{self, Chain, Link, authz, cases};

#[derive(Debug)]
pub struct Plan {
    pub(super) engine: Address,
    pub(super) listeners: Vec<ListenerPlan>,
    pub(super) caches: Vec<CachePart>,
    /// Of those that were opened at run time, what is said of each that goes.
    pub(super) closed: Vec<String>,
}

/// One cache's.
#[derive(Debug)]
pub(super) struct CachePart {
    pub(super) config: config::Cache,
    pub(super) understood: Understood,
    pub(super) tls: Option<Arc<Server>>,
    /// Of what its files hold.
    pub(super) fingerprint: Vec<u8>,
}

impl CachePart {
    fn of(config: &config::Cache) -> Result<CachePart, Invalid> {
        let understood = Understood::of(config)?;
        let tls = config.tls.as_ref().map(|tls| Server::new(tls, front::TLS)).transpose()?;
        let tls = tls.map(Arc::new);
        let fingerprint = fingerprint(config.files(), &[])?;
        Ok(CachePart { config: config.clone(), understood, tls, fingerprint })
    }
}

/// One listener's.
#[derive(Debug)]
pub(super) struct ListenerPlan {
    pub(super) config: config::Listener,
    /// What it was opened by, where that is not the configuration.
    pub(super) runtime: Option<RuntimeListener>,
    /// Of a job: the policy that it was opened by.
    pub(super) job: Option<String>,
    pub(super) tls: Option<Arc<Server>>,
    pub(super) authentication: Arc<Authentication>,
    pub(super) chain: Arc<Chain>,
    pub(super) plugins: Arc<Plugins>,
    /// Where it stands, which is for its policies.
    around: Surroundings,
    /// Of what its files, and those of its callers and the engine hold.
    fingerprint: Vec<u8>,
}

/// Connections of one job.
const MOST_OF_JOB: usize = 1024;

/// Of whom callers on a unix socket are: `auth::peer` reads them whenever they change, but not for a connection whose
/// caller it knows already.
const ACCOUNTS: [&str; 2] = ["/etc/passwd", "/etc/group"];

impl Plan {
    pub fn of(config: &Config) -> Result<Plan, Invalid> {
        Plan::after(config, &Backoff::default(), &[], None)
    }

    /// The same, for a process that knows who has guessed too often, and has opened these at run time.
    pub(super) fn after(
        config: &Config,
        backoff: &Backoff,
        runtime: &[RuntimeListener],
        jobs: Option<&Jobs>,
    ) -> Result<Plan, Invalid> {
        let mut complaints = Complaints::default();
        let engine = complaints.note(Address::new(&config.engine));
        let mut authenticators = Authenticators::after(backoff);
        let mut parts: Vec<Option<ListenerPlan>> = config
            .listeners
            .iter()
            .map(|one| complaints.note(ListenerPlan::of(config, one, &mut authenticators)))
            .collect();
        let mut closed = Vec::new();
        for one in runtime {
            match as_configured(config, one) {
                Ok(like) => {
                    let plan = ListenerPlan::of(config, &like, &mut authenticators);
                    let runtime = Some(one.clone());
                    parts.push(complaints.note(plan.map(|plan| ListenerPlan { runtime, ..plan })));
                }
                Err(why) => closed.push(format!("listener `{}` is closed: {why}", one.name)),
            }
        }
        for job in jobs.map(Jobs::all).unwrap_or_default().iter().filter(|job| job.is_served()) {
            let plan = jobs.map(|jobs| ListenerPlan::of_job(config, jobs, job));
            match plan {
                Some(Ok(plan)) => parts.push(Some(plan)),
                Some(Err(why)) => {
                    closed
                        .push(format!("the socket of job `{}` is closed: {why:#}", job.record.id));
                }
                None => {}
            }
        }
        let caches: Vec<Option<CachePart>> =
            config.caches.iter().map(|one| complaints.note(CachePart::of(one))).collect();
        complaints.or(())?;
        // Without a complaint nothing is missing.
        let missing = || Invalid::at(&config::Place::default(), "an incomplete plan", "");
        let engine = engine.ok_or_else(missing)?;
        let caches = caches.into_iter().flatten().collect();
        Ok(Plan { engine, listeners: parts.into_iter().flatten().collect(), caches, closed })
    }

    pub(super) fn runtime_listeners(&self) -> Vec<RuntimeListener> {
        self.listeners.iter().filter_map(|plan| plan.runtime.clone()).collect()
    }
}

impl ListenerPlan {
    /// Of one that is opened at run time.
    pub(super) fn like(
        whole: &Config,
        wanted: RuntimeListener,
        backoff: &Backoff,
    ) -> anyhow::Result<ListenerPlan> {
        let config = as_configured(whole, &wanted).map_err(anyhow::Error::msg)?;
        let plan = ListenerPlan::of(whole, &config, &mut Authenticators::after(backoff))?;
        Ok(ListenerPlan { runtime: Some(wanted), ..plan })
    }

    /// Of a job's own socket.
    pub(super) fn of_job(whole: &Config, jobs: &Jobs, job: &Job) -> anyhow::Result<ListenerPlan> {
        let record = &job.record;
        let settings = temporary(whole, &record.policy)?;
        let path = jobs.folder(record).join(FILE);
        let owner = record.process.as_ref().map(|of| of.uid);
        let config = config::Listener {
            name: jobs::listener_of(&record.id),
            // Whoever is in the container may use it: by their processes they are known.
            bind: config::Bind::Unix {
                path,
                mode: if owner.is_some() { 0o600 } else { 0o666 },
                owner,
                group: None,
            },
            tls: None,
            auth: Vec::new(),
            policies: settings.policies.clone(),
            max_connections: MOST_OF_JOB,
            revoke: Revoke::Cut,
            hosts: Vec::new(),
            insecure: false,
        };
        let plan = ListenerPlan::of(whole, &config, &mut Authenticators::default())?;
        let around = Surroundings {
            gives_sockets: true,
            jobs: jobs.dir_of(record).to_owned(),
            members: job.members.clone(),
            ..Surroundings::of(whole, &config)
        };
        let peers = PeerInJob::new(&record.id, &job.members, owner);
        let mut links = vec![Link::new(Box::new(peers))];
        links.extend(self::links(&config, &around)?);
        let sockets = Sockets { dir: around.jobs.clone(), own: around.own_socket.clone() };
        let mounts =
            OwnMounts::new(&record.id, &job.members, &sockets, Guard::new(&around.sockets));
        links.push(Link::new(Box::new(InJob::new(&record.id, sockets, settings.shares_cgroup))));
        let namespace = jobs::namespace(settings, &record.id)?.with_members(&job.members);
        links.push(Link::new(Box::new(namespace)));
        links.push(Link::new(Box::new(mounts)));
        let owner = record.user.as_deref().unwrap_or(&record.listener);
        Ok(ListenerPlan {
            job: Some(record.policy.clone()),
            authentication: Arc::new(Authentication::of_job(owner)),
            chain: Arc::new(Chain::new(links)),
            around,
            ..plan
        })
    }

    /// Its name in metrics: one for all that are like another, for they may be many.
    pub(super) fn label(&self) -> String {
        match (&self.runtime, &self.job) {
            (Some(runtime), _) => format!("{}/*", runtime.like),
            (None, Some(policy)) => format!("{policy}/*"),
            (None, None) => self.config.name.clone(),
        }
    }

    /// Why it may not be reached from other machines.
    pub(super) fn is_local(&self) -> Option<&'static str> {
        let tls = self.config.tls.as_ref();
        let needs_certificate =
            tls.is_some_and(|tls| matches!(tls.client, ClientAuth::Required { .. }));
        let is_guarded = needs_certificate || !self.config.auth.is_empty() || self.config.insecure;
        (!is_guarded).then_some("has no authentication. hint: add `auth`, or say `insecure = true`")
    }

    /// What strangers may call it by, where strangers are let in.
    pub(super) fn hosts(&self) -> Option<Arc<[String]>> {
        let is_open = self.authentication.is_open() && self.tls.is_none();
        is_open.then(|| self.config.hosts.iter().map(|host| host.to_ascii_lowercase()).collect())
    }

    fn of(
        whole: &Config,
        config: &config::Listener,
        authenticators: &mut Authenticators,
    ) -> Result<ListenerPlan, Invalid> {
        let mut complaints = Complaints::default();
        let tls = config.tls.as_ref().map(|tls| Server::new(tls, gateway::TLS)).transpose();
        let tls = complaints.note(tls);
        let authentication = complaints.note(Authentication::new(&config.auth, authenticators));
        let chain = complaints.note(chain(whole, config));
        let plugins = complaints.note(plugins(config));
        let files = config.files().into_iter().chain(whole.engine.files());
        let reads = config.auth.iter().any(config::Auth::reads_accounts);
        let accounts = if reads { &ACCOUNTS[..] } else { &[] };
        let fingerprint = complaints.note(fingerprint(files.collect(), accounts));
        complaints.or(ListenerPlan {
            config: config.clone(),
            runtime: None,
            job: None,
            tls: tls.flatten().map(Arc::new),
            authentication: Arc::new(authentication.unwrap_or_default()),
            chain: Arc::new(chain.unwrap_or_default()),
            plugins: Arc::new(plugins.unwrap_or_default()),
            around: Surroundings::of(whole, config),
            fingerprint: fingerprint.unwrap_or_default(),
        })
    }

    /// Whether nothing would be another with this one in its place. Where streams end with their user, everybody is
    /// looked at again with each reload: others than we may know that somebody has gone.
    pub(super) fn is_as(&self, other: &ListenerPlan) -> bool {
        self.config.revoke == Revoke::Keep
            && self.config == other.config
            && self.around == other.around
            && self.fingerprint == other.fingerprint
    }
}

/// The listener that it would be in the configuration.
fn as_configured(whole: &Config, wanted: &RuntimeListener) -> Result<config::Listener, String> {
    let like = whole.listeners.iter().find(|listener| listener.name == wanted.like);
    let like = like.ok_or_else(|| {
        let is_cache = whole.caches.iter().any(|cache| cache.name == wanted.like);
        let hint = if is_cache { ". hint: that is a cache" } else { "" };
        format!(
            "there is no listener `{}` in the configuration for it to be like{hint}",
            wanted.like
        )
    })?;
    // Elsewhere other things guard it than the mode of a file, or nothing does.
    let bind = wanted.bind(&like.bind).ok_or_else(|| {
        format!("listener `{}` is not on `unix://`, and what guards it guards no file", like.name)
    })?;
    let is_other =
        |one: &&config::Listener| one.name == wanted.name || one.bind.is_same_place(&bind);
    if let Some(other) = whole.listeners.iter().find(is_other) {
        return Err(format!(
            "listener `{}` of the configuration has its name or place",
            other.name
        ));
    }
    Ok(config::Listener { name: wanted.name.clone(), bind, ..like.clone() })
}

/// Of what these files hold now; of the latter it is nothing where they are not there.
fn fingerprint(files: Vec<&config::File>, others: &[&str]) -> Result<Vec<u8>, Invalid> {
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut add = |bytes: &[u8]| hash.update(digest::digest(&digest::SHA256, bytes).as_ref());
    for file in files {
        add(&file.read()?);
    }
    others.iter().for_each(|other| add(&std::fs::read(other).unwrap_or_default()));
    Ok(hash.finish().as_ref().to_vec())
}

/// A listener's policies, their files read and understood.
pub fn chain(config: &Config, listener: &config::Listener) -> Result<Chain, Invalid> {
    links(listener, &Surroundings::of(config, listener)).map(Chain::new)
}

fn links(listener: &config::Listener, around: &Surroundings) -> Result<Vec<Link>, Invalid> {
    let mut complaints = Complaints::default();
    let mut links = Vec::new();
    for policy in &listener.policies {
        if let Some(built) = complaints.note(policy::build(policy, around)) {
            links.push(if policy.audits { Link::auditing(built) } else { Link::new(built) });
        }
    }
    complaints.or(links)
}

/// What a `[policy.NAME]` that some listener has says of jobs.
pub(super) fn temporary<'c>(
    config: &'c Config,
    name: &str,
) -> anyhow::Result<&'c config::TemporaryListener> {
    let policies = config.listeners.iter().flat_map(|listener| &listener.policies);
    let found = policies.filter(|policy| policy.name == name).find_map(config::Policy::temporary);
    found.with_context(|| format!("no listener has a policy `{name}` for jobs any more"))
}

/// The same without the policies that ask a plugin, for `dockgate explain`: those are programs of others, which are not told
/// of what nobody has asked for. Their names are given too.
pub fn chain_without_plugins(
    config: &Config,
    listener: &config::Listener,
) -> Result<(Chain, Vec<String>), Invalid> {
    let asks = |policy: &&config::Policy| matches!(policy.kind, PolicyKind::Authz(_));
    let plugins = listener.policies.iter().filter(asks).map(|policy| policy.name.clone()).collect();
    let mut others = listener.clone();
    others.policies.retain(|policy| !asks(&policy));
    Ok((chain(config, &others)?, plugins))
}

/// Runs the tests that stand beside the files of policies: `ours_test.toml` beside `ours.rego`. How many
/// there were, or what went otherwise than expected.
pub fn policy_tests(config: &Config) -> Result<usize, Invalid> {
    let mut complaints = Complaints::default();
    let (mut count, mut done) = (0, HashSet::new());
    for listener in &config.listeners {
        let around = Surroundings::of(config, listener);
        for policy in listener.policies.iter().filter(|policy| done.insert(policy.name.clone())) {
            for file in policy.files() {
                count += complaints.note(tests_beside(file, policy, &around)).unwrap_or(0);
            }
        }
    }
    complaints.or(count)
}

/// The policy alone, as if it enforced.
fn tests_beside(
    file: &config::File,
    policy: &config::Policy,
    around: &Surroundings,
) -> Result<usize, Invalid> {
    let stem = file.path.file_stem().unwrap_or_default().to_string_lossy();
    let path = file.path.with_file_name(format!("{stem}_test.toml"));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(Invalid::at(&Place::in_file(&path), error, "")),
    };
    let chain = Chain::new(vec![Link::new(policy::build(policy, around)?)]);
    cases::run(&text, &path, &chain)
}

/// The plugins that a listener's policies ask.
fn plugins(listener: &config::Listener) -> Result<Plugins, Invalid> {
    let mut complaints = Complaints::default();
    let mut plugins = Plugins::default();
    for policy in &listener.policies {
        if let PolicyKind::Authz(config) = &policy.kind
            && let Some(plugin) = complaints.note(Plugin::new(config, authz::IMPLEMENTS))
        {
            plugins.insert(&policy.name, plugin);
        }
    }
    complaints.or(plugins)
}
