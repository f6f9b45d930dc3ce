//! Amazon's registry as an upstream: its tokens, and repositories that are made when they are first pushed to.
//!
//! `upstream` asks for the login of a request, `push` for a repository. `site` says where the API is, `chain` whose keys
//! sign what `api` asks, `state` for how long a token is used. What must stay true: one request at a time asks for a
//! token, whoever gives up meanwhile; each is bounded in time and bytes; nothing secret is in a log or in `Debug`.

mod api;
mod chain;
mod keys;
mod metadata;
mod profiles;
mod site;
mod state;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::{Mutex as Turn, oneshot};
use tokio::time::timeout;

use api::Api;
use chain::{Chain, Variables};
pub(super) use site::{EcrSite, is_region};
use state::{Need, TokenState};

use super::turns::Turns;
use super::upstream::RegistryUpstream;
use crate::cache::Cache;
use crate::cache::key::Scheme;
use crate::cache::upstream::{Fault, Upstream};

/// All of it: keys of a machine, of a role, a token.
const TIME: Duration = Duration::from_secs(30);
/// From here on, what was made is forgotten.
const MANY: usize = 1024;

pub(super) struct Ecr {
    site: EcrSite,
    /// Where its API is, and that of roles.
    api: (Scheme, String),
    sts: (Scheme, String),
    profile: Option<String>,
    creates: bool,
    variables: Variables,
    state: Mutex<TokenState>,
    turn: Arc<Turn<()>>,
    /// When repositories were made.
    made: Mutex<HashMap<String, u64>>,
    makes: Turns,
}

/// What the configuration says of it.
pub(super) struct EcrSettings {
    pub site: EcrSite,
    pub api: Option<(Scheme, String)>,
    pub sts: Option<(Scheme, String)>,
    pub profile: Option<String>,
    pub creates: bool,
}

impl Ecr {
    pub(super) fn new(settings: EcrSettings) -> Ecr {
        let EcrSettings { site, api, sts, profile, creates } = settings;
        Ecr {
            api: api.unwrap_or_else(|| (Scheme::Https, site.api.clone())),
            sts: sts.unwrap_or_else(|| (Scheme::Https, site.sts.clone())),
            site,
            profile,
            creates,
            variables: Arc::new(|name| std::env::var(name).ok()),
            state: Mutex::default(),
            turn: Arc::default(),
            made: Mutex::default(),
            makes: Turns::default(),
        }
    }

    /// What goes with a request to `upstream`. `refused`: what it did not take.
    pub(super) async fn login(
        self: &Arc<Self>,
        cache: &Arc<Cache>,
        upstream: &RegistryUpstream,
        refused: Option<&HeaderValue>,
    ) -> Result<HeaderValue, Fault> {
        let (host, counts) = (&upstream.host, &upstream.counts);
        let need = || self.state().need(refused, cache.now());
        let fault = |why| Fault::Credentials { host: host.clone(), why };
        match need() {
            Need::Use(login) => return Ok(login),
            Need::Failed(why) => return Err(fault(why)),
            Need::Ask { .. } => {}
        }
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let forced = match need() {
            Need::Use(login) => return Ok(login),
            Need::Failed(why) => return Err(fault(why)),
            Need::Ask { forced } => forced,
        };
        let (answer, answered) = oneshot::channel();
        let (ecr, cache, named) = (Arc::clone(self), Arc::clone(cache), host.clone());
        let thread = cache.thread.clone();
        thread.run(async move {
            let _turn = turn;
            let asked = ecr.token(&cache.upstream, cache.now()).await;
            if let Err(why) = &asked {
                tracing::warn!(registry = %named, why, "there is no new token");
            }
            let is_new = asked.is_ok();
            let outcome = ecr.state().learn(asked, forced, cache.now());
            let _ = answer.send((is_new, outcome));
        });
        let ended = |_| (false, Err("the process ends".to_owned()));
        let (is_new, outcome) = answered.await.unwrap_or_else(ended);
        let counted = if is_new { &counts.tokens } else { &counts.refused_tokens };
        counted.fetch_add(1, Ordering::Relaxed);
        outcome.map_err(fault)
    }

    /// Whether a token that is refused may be one that has expired.
    pub(super) fn may_force(&self, now: u64) -> bool {
        self.state().may_force(now)
    }

    pub(super) fn creates(&self) -> bool {
        self.creates
    }

    /// Makes a repository, unless somebody has since `asked`; or says why not.
    pub(super) async fn create(
        self: &Arc<Self>,
        cache: &Arc<Cache>,
        repository: &str,
        asked: u64,
    ) -> Result<(), String> {
        let turn = self.makes.take(repository).await;
        if self.made().get(repository).is_some_and(|at| *at >= asked) {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        let (ecr, cache, repository) = (Arc::clone(self), Arc::clone(cache), repository.to_owned());
        let thread = cache.thread.clone();
        thread.run(async move {
            let _turn = turn;
            let outcome = ecr.make(&cache.upstream, &repository, cache.now()).await;
            match &outcome {
                Ok(()) => {
                    tracing::info!(repository, "a repository is made");
                    let mut made = ecr.made();
                    if made.len() >= MANY {
                        made.clear();
                    }
                    made.insert(repository, cache.now());
                }
                Err(why) => tracing::warn!(repository, why, "a repository cannot be made"),
            }
            let _ = answer.send(outcome);
        });
        answered.await.unwrap_or_else(|_| Err("the process ends".to_owned()))
    }

    async fn token(&self, upstream: &Upstream, now: u64) -> Result<state::EcrToken, String> {
        let api = self.asks(upstream, now);
        let ask = async { api.token(&self.chain(&api).keys().await?).await };
        timeout(TIME, ask).await.unwrap_or_else(|_| Err(late()))
    }

    async fn make(&self, upstream: &Upstream, repository: &str, now: u64) -> Result<(), String> {
        let api = self.asks(upstream, now);
        let ask = async { api.create(&self.chain(&api).keys().await?, repository).await };
        timeout(TIME, ask).await.unwrap_or_else(|_| Err(late()))
    }

    fn asks<'a>(&'a self, upstream: &'a Upstream, now: u64) -> Api<'a> {
        Api { upstream, site: &self.site, ecr: &self.api, sts: &self.sts, now: keys::time(now) }
    }

    fn chain<'a>(&'a self, api: &'a Api<'a>) -> Chain<'a> {
        Chain { variables: &self.variables, profile: self.profile.as_deref(), api }
    }

    fn state(&self) -> MutexGuard<'_, TokenState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn made(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn late() -> String {
    format!("there is no answer within {TIME:?}")
}

/// Nothing of its token.
impl fmt::Debug for Ecr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ecr").field("site", &self.site).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
