//! Docker plugins that policies ask (moby's `pkg/plugins`): greeted once, then asked with each call.
//!
//! `run::plan` builds them, `facts` asks. What must stay true: no network when one is built; an answer
//! is bounded in size and time; a plugin that does not say that it is of the wanted kind is not asked,
//! and one that failed is greeted anew, for it may be another.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;

use crate::api::json;
use crate::config::{self, Invalid};
use crate::http_client::{AskError, HttpClient};
use crate::policy::Fact;

/// How dockerd asks for an answer in the plugins' protocol.
const ACCEPT: &str = "application/vnd.docker.plugins.v1.2+json";
/// Of an answer's body.
const MOST: usize = 64 * 1024;
/// Questions to one plugin at one time; more wait, within the deadline.
const AT_ONCE: usize = 64;

/// The plugins of one listener, by the names of the policies that ask them.
#[derive(Debug, Default)]
pub struct Plugins(HashMap<String, Plugin>);

#[derive(Debug)]
pub struct Plugin {
    client: HttpClient,
    timeout: Duration,
    implements: &'static str,
    greeted: AtomicBool,
    at_once: Semaphore,
}

impl Plugins {
    pub fn insert(&mut self, name: &str, plugin: Plugin) {
        self.0.insert(name.to_owned(), plugin);
    }

    pub(super) async fn ask(&self, name: &str, method: &str, body: &str) -> Fact {
        let Some(plugin) = self.0.get(name) else {
            return Fact::Failed("nobody can be asked".to_owned());
        };
        match plugin.ask(method, body).await {
            Ok(json) => Fact::Json(Arc::new(json)),
            Err(why) => Fact::Failed(why),
        }
    }
}

impl Plugin {
    /// `implements`: the kind of plugin that it must be.
    pub fn new(config: &config::Authz, implements: &'static str) -> Result<Plugin, Invalid> {
        let client = HttpClient::new(&config.url, config.ca.as_ref(), config.timeout)?;
        if client.has_path() {
            return Err(config.url.invalid("the URL of a plugin has no path", ""));
        }
        Ok(Plugin {
            client,
            timeout: config.timeout,
            implements,
            greeted: AtomicBool::new(false),
            at_once: Semaphore::new(AT_ONCE),
        })
    }

    async fn ask(&self, method: &str, body: &str) -> Result<Value, String> {
        let asking = async {
            let _permit = self.at_once.acquire().await.map_err(|error| error.to_string())?;
            if !self.greeted.load(Relaxed) {
                self.greet().await?;
                self.greeted.store(true, Relaxed);
            }
            self.post(method, body).await
        };
        let late = |_| format!("there is no answer within {:?}", self.timeout);
        let answer = tokio::time::timeout(self.timeout, asking).await.map_err(late).flatten();
        if answer.is_err() {
            self.greeted.store(false, Relaxed);
        }
        answer
    }

    async fn greet(&self) -> Result<(), String> {
        let manifest = self.post("Plugin.Activate", "").await?;
        let kinds = manifest.get("Implements").and_then(Value::as_array);
        match kinds.is_some_and(|kinds| kinds.iter().any(|kind| *kind == self.implements)) {
            true => Ok(()),
            false => Err(format!("the plugin does not implement `{}`", self.implements)),
        }
    }

    async fn post(&self, method: &str, body: &str) -> Result<Value, String> {
        let path = format!("/{method}");
        let asking = self.client.post_to(&path, ACCEPT, body.as_bytes().to_vec(), MOST);
        let (status, answer) = asking.await.map_err(|error| match error {
            // As of the deadline around all of it.
            AskError::Late(_) => error.to_string(),
            _ => format!("{method}: {error}"),
        })?;
        let json = json::read::<Value>(&answer);
        match (status, json) {
            (200, Ok(json)) => Ok(json),
            (200, Err(_)) => Err(format!("{method}: the answer is no JSON")),
            (_, json) => {
                let said = json.ok().and_then(|json| Some(json.get("Err")?.as_str()?.to_owned()));
                let said = said.map_or(String::new(), |said| format!(": {said}"));
                Err(format!("{method}: the answer's status is {status}{said}"))
            }
        }
    }
}
