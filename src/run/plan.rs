//! What a configuration comes to, before any socket is opened: certificates, keys, password files and
//! policies read and understood.
//!
//! `world` builds from it, and `dockgate check` stops here. What must stay true: no network, and what
//! can be wrong with a file that the configuration names is found here.

use std::sync::Arc;

use crate::auth::{Door, Keepers};
use crate::config::{self, Config, Invalid};
use crate::engine::Address;
use crate::listener::tls::Server;
use crate::policy::conservative::Conservative;
use crate::policy::{Chain, Policy};

#[derive(Debug)]
pub struct Plan {
    pub(super) engine: Address,
    pub(super) listeners: Vec<Part>,
}

/// One listener's.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) config: config::Listener,
    pub(super) tls: Option<Arc<Server>>,
    pub(super) door: Arc<Door>,
    pub(super) chain: Arc<Chain>,
}

impl Plan {
    pub fn of(config: &Config) -> Result<Plan, Invalid> {
        let mut complaints = Invalid::default();
        let engine = note(&mut complaints, Address::new(&config.engine));
        let mut keepers = Keepers::default();
        let parts: Vec<Option<Part>> = config
            .listeners
            .iter()
            .map(|one| note(&mut complaints, Part::of(one, &mut keepers)))
            .collect();
        complaints.or(())?;
        // Without a complaint nothing is missing.
        let missing = || Invalid::at(&config::Place::default(), "an incomplete plan", "");
        let engine = engine.ok_or_else(missing)?;
        Ok(Plan { engine, listeners: parts.into_iter().flatten().collect() })
    }
}

impl Part {
    fn of(config: &config::Listener, keepers: &mut Keepers) -> Result<Part, Invalid> {
        let mut complaints = Invalid::default();
        let tls = config.tls.as_ref().map(Server::new).transpose();
        let tls = note(&mut complaints, tls);
        let door = note(&mut complaints, Door::new(&config.auth, keepers));
        let chain = Arc::new(chain(&config.policies));
        complaints.or(Part {
            config: config.clone(),
            tls: tls.flatten().map(Arc::new),
            door: Arc::new(door.unwrap_or_default()),
            chain,
        })
    }
}

fn note<T>(complaints: &mut Invalid, result: Result<T, Invalid>) -> Option<T> {
    result.map_err(|invalid| complaints.extend(invalid)).ok()
}

pub fn chain(policies: &[config::Policy]) -> Chain {
    Chain::new(policies.iter().map(|policy| build(*policy)).collect())
}

fn build(policy: config::Policy) -> Box<dyn Policy> {
    match policy {
        config::Policy::Conservative => Box::new(Conservative),
    }
}

pub(super) const fn policy_name(policy: config::Policy) -> &'static str {
    match policy {
        config::Policy::Conservative => "conservative",
    }
}
