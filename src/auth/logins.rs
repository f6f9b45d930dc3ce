//! Whether a client's own name and password are good at a registry, which one of ours asks.
//!
//! `gateway::facts` asks here, and `run` says who answers. What must stay true: a name and a password go to nobody but the
//! registry that the client has named.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use super::credentials::ClientCredentials;

pub enum LoginAnswer {
    Good,
    /// In the words of an engine that has asked by itself.
    Refused(String),
    /// Nobody knows.
    Failed(String),
}

pub type Checking = Pin<Box<dyn Future<Output = LoginAnswer> + Send>>;

/// A registry of ours.
pub trait ChecksLogins: Send + Sync + fmt::Debug {
    /// At this host, as it stands in names of images.
    fn check(&self, host: &str, own: ClientCredentials) -> Checking;
}

/// Registries of ours by their names in the configuration.
#[derive(Debug, Default)]
pub struct Logins(Mutex<HashMap<String, Arc<dyn ChecksLogins>>>);

impl Logins {
    pub fn replace(&self, all: HashMap<String, Arc<dyn ChecksLogins>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }

    pub async fn check(&self, registry: &str, host: &str, own: ClientCredentials) -> LoginAnswer {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(registry).cloned();
        match asked {
            Some(asked) => asked.check(host, own).await,
            None => LoginAnswer::Failed(format!("there is no registry `{registry}`")),
        }
    }
}
