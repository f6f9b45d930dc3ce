//! A registry: a cache that speaks the OCI distribution API in front of others that do.
//!
//! A cache whose configuration is a `[registry.NAME]` has one, and `cache::serve` gives it every request. The story is
//! `serve::answer`: `request` says what is asked, `clients` who asks, `rules` whether they may, `routes` of whom; `pull` and
//! `push` carry it out by requests in the upstream's own words, which go through the cache as any other. What must stay
//! true: what is stored is given to those only who may read it upstream (`access`), is what its digest says (`by_digest`),
//! and credentials go to nobody but the upstream that they are for (`upstream`, `tokens`).

mod absent;
mod access;
mod ask;
mod body;
mod by_digest;
mod case;
mod clients;
mod content;
mod ecr;
mod errors;
mod helper;
mod judge;
mod logins;
mod mirrors;
mod name;
mod namespaces;
mod pull;
mod push;
mod request;
mod routes;
mod rules;
mod sealed;
mod seen;
mod serve;
mod settings;
mod tags;
mod tokens;
mod turns;
mod uploads;
mod upstream;
mod writes;

use std::ops::Deref;
use std::sync::Arc;

use aws_lc_rs::hmac;

use absent::Absent;
use access::Access;
use by_digest::ByDigest;
pub(super) use logins::LoginChecks;
use namespaces::Namespaces;
use sealed::Seal;
use seen::RegistrySeen;
pub(super) use serve::answer;
pub use settings::RegistrySettings;
use tags::Tags;
use turns::Turns;
use uploads::Uploads;
use writes::Writes;

use super::key::Key;
use super::route::Mirror;
use crate::auth::{Grants, OwnTokens};
use crate::telemetry::access::Log;
use crate::telemetry::registries::RegistryNumbers;

#[derive(Debug)]
pub struct Registry {
    name: String,
    settings: Arc<RegistrySettings>,
    tokens: OwnTokens,
    seal: Seal,
    access: Access,
    absent: Absent,
    tags: Tags,
    turns: Turns,
    seen: RegistrySeen,
    uploads: Uploads,
    namespaces: Namespaces,
}

impl Registry {
    /// `secret`: of the registry's directory. None where nothing can be sealed with it.
    pub fn new(name: &str, settings: &Arc<RegistrySettings>, secret: &[u8]) -> Option<Registry> {
        let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"tokens of a registry");
        Some(Registry {
            name: name.to_owned(),
            tokens: OwnTokens::new(name, key.as_ref()),
            seal: Seal::new(secret)?,
            access: Access::new(settings.access_ttl),
            absent: Absent::new(settings.negative_ttl, Writes::of_this_process()),
            tags: Tags::new(Writes::of_this_process()),
            turns: Turns::default(),
            seen: RegistrySeen::default(),
            uploads: Uploads::new(settings.upload_ttl),
            namespaces: Namespaces::default(),
            settings: Arc::clone(settings),
        })
    }

    /// Where records of requests go from now on.
    pub fn log_to(&self, log: Log) {
        self.seen.log_to(log);
    }

    /// As a client calls what is stored under this key.
    pub fn called(&self, key: &Key) -> Option<String> {
        self.routes.called(key.scheme, &key.host, &key.path)
    }

    /// What is stored was removed.
    pub fn purged(&self) {
        self.tags.forget_known();
    }

    /// By which tokens engines come for what namespaces have, from now on. Without, none does.
    pub fn takes_grants(&self, grants: &Arc<Grants>) {
        self.namespaces.takes_grants(grants);
    }

    /// What it has done until now.
    pub fn numbers(&self) -> RegistryNumbers {
        self.seen.numbers(self.routes.all().map(|one| (one.host.as_str(), &one.counts)))
    }

    /// What the cache does for a registry's requests.
    pub fn mirror(&self) -> Arc<dyn Mirror> {
        Arc::new(ByDigest::new(self.redirects))
    }
}

/// The URL of what is kept once for all repositories, if this is of one that has it.
pub(super) fn shared(of: &Key) -> Option<String> {
    let path = by_digest::shared(&of.path).filter(|_| of.query.is_none())?;
    Some(format!("{}://{}{path}", of.scheme.as_str(), of.host))
}

/// What the configuration says.
impl Deref for Registry {
    type Target = RegistrySettings;

    fn deref(&self) -> &RegistrySettings {
        &self.settings
    }
}
