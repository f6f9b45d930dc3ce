//! Where images keep the certificates that their programs trust: found out once for each image.
//!
//! `facts` asks (`Question::Layout`). What must stay true: the container that is made to be looked into is removed
//! whatever becomes of the call that asks (it is looked into by a task of its own); those who ask for one image at the
//! same time wait for one answer; what is kept is bounded in bytes, and a content that many images share is kept once;
//! nobody waits longer than `PATIENCE`.

mod kept;
mod look;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Semaphore, watch};

use super::ListenerState;
use crate::api::endpoint::{Minor, NEWEST, Resource, Versions};
use crate::api::grammar::image::sha256;
use crate::engine::{Engine, Inspected, Subject};
use crate::policy::Fact;
use crate::policy::layout::Layout;
use crate::wire::trail::Trail;
use kept::KeptLayouts;
pub(super) use look::{Looking, MOST_FILE};

/// For all that is asked about an image.
const PATIENCE: Duration = Duration::from_secs(30);
/// Containers that are looked into side by side.
const AT_ONCE: usize = 2;
/// No probe lives that long: one that is older was left.
const LEFT_AFTER: Duration = Duration::from_secs(600);

/// What is known of images, and what is being found out: one for the process.
#[derive(Debug)]
pub(super) struct Layouts {
    kept: Mutex<KeptLayouts>,
    flights: Mutex<HashMap<String, watch::Receiver<Option<Fact>>>>,
    turns: Semaphore,
}

impl Default for Layouts {
    fn default() -> Layouts {
        let (kept, flights) = Default::default();
        Layouts { kept, flights, turns: Semaphore::new(AT_ONCE) }
    }
}

/// An image that is looked at; when this is dropped, others may try.
struct LookedAt {
    layouts: Arc<Layouts>,
    image: String,
    tell: watch::Sender<Option<Fact>>,
}

/// Of one call, on one engine.
#[derive(Clone)]
struct Probing {
    version: Minor,
    image: String,
    trail: Trail,
}

pub(super) async fn find(
    state: &ListenerState,
    engine: Versions,
    image: &str,
    trail: &Trail,
) -> Fact {
    // Of an engine that does nothing.
    if state.witness.is_some() {
        return Fact::Absent;
    }
    if sha256(image).is_none() {
        return Fact::Failed(format!("`{image}` is no image's id"));
    }
    let layouts = &state.memory.layouts;
    if let Some(known) = layouts.known(image) {
        return Fact::Layout(known);
    }
    let mut told = match layouts.join(image) {
        Ok(told) => told,
        Err(looked_at) => {
            let told = looked_at.tell.subscribe();
            let engine_itself = state.engine.for_another_worker();
            let (version, trail) = (engine.newest.min(NEWEST), trail.clone());
            let probing = Probing { version, image: image.to_owned(), trail };
            state.tasks.spawn(async move {
                let fact = probing.found(&engine_itself, &looked_at.layouts).await;
                looked_at.tell.send_replace(Some(fact));
            });
            told
        }
    };
    let fact = told.wait_for(Option::is_some).await.ok().and_then(|fact| fact.clone());
    fact.unwrap_or_else(|| Fact::Failed("the gateway ends".to_owned()))
}

impl Layouts {
    fn known(&self, image: &str) -> Option<Arc<Layout>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(image)
    }

    fn keep(&self, image: &str, layout: Layout) -> Arc<Layout> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(image, layout)
    }

    /// Who looks at this image already, or the right to.
    fn join(self: &Arc<Layouts>, image: &str) -> Result<watch::Receiver<Option<Fact>>, LookedAt> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = flights.get(image) {
            return Ok(told.clone());
        }
        let (tell, told) = watch::channel(None);
        flights.insert(image.to_owned(), told);
        Err(LookedAt { layouts: Arc::clone(self), image: image.to_owned(), tell })
    }
}

impl Drop for LookedAt {
    fn drop(&mut self) {
        let mut flights = self.layouts.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.remove(&self.image);
    }
}

impl Probing {
    async fn found(&self, engine: &Engine, layouts: &Layouts) -> Fact {
        let Ok(_turn) = layouts.turns.acquire().await else {
            return Fact::Failed("the gateway ends".to_owned());
        };
        match self.layout(engine).await {
            Ok(layout) => Fact::Layout(layouts.keep(&self.image, layout)),
            Err(why) => Fact::Failed(why),
        }
    }

    async fn layout(&self, engine: &Engine) -> Result<Layout, String> {
        let Probing { version, image, trail } = self;
        let inspecting = engine.look_up(*version, Subject::Image(image), trail);
        let java_home = match within(inspecting).await? {
            Inspected::Json(json) => variable(&json, "JAVA_HOME"),
            Inspected::Nothing => return Err("there is no such image".to_owned()),
            Inspected::Failed(why) => return Err(why),
        };
        if let Err(why) = within(engine.sweep_probes(*version, long_ago(), trail)).await {
            tracing::debug!(%why, "containers that were left cannot be looked for");
        }
        let container = self.make(engine).await?;
        let mut looking = Looking::new(engine, *version, &container, trail);
        let looked = within(looking.layout(java_home.as_deref(), &[])).await;
        match engine.remove(*version, Resource::Container, &container, trail).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => tracing::warn!(%why, container, "a probe cannot be removed"),
            Err(why) => tracing::warn!(%why, container, "a probe cannot be removed"),
        }
        looked
    }

    /// Not given up: a container whose id is not known could not be removed.
    async fn make(&self, engine: &Engine) -> Result<String, String> {
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| "there are no random bytes".to_owned())?;
        let unique = format!("{:016x}", u64::from_be_bytes(random));
        let made = engine.make_probe(self.version, &self.image, &unique, &self.trail).await;
        made.map_err(|error| error.to_string())?
    }
}

/// What the engine says in time.
async fn within<T, E: std::fmt::Display>(
    asking: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("the engine takes too long".to_owned()),
    }
}

fn long_ago() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.saturating_sub(LEFT_AFTER).as_secs()
}

/// Of an image's environment.
fn variable(inspected: &serde_json::Value, name: &str) -> Option<String> {
    let env = inspected.get("Config")?.get("Env")?.as_array()?;
    let mut said = env.iter().filter_map(|one| one.as_str()?.split_once('='));
    said.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_asks_for_the_same_image_waits_for_one_answer_and_for_none_that_was_lost() {
        let layouts = Arc::new(Layouts::default());
        let Err(first) = layouts.join("a") else { panic!("nobody looks yet") };
        let Ok(mut second) = layouts.join("a") else { panic!("somebody looks") };
        assert!(layouts.join("b").is_err(), "another image");
        first.tell.send_replace(Some(Fact::Absent));
        drop(first);
        assert_eq!(second.wait_for(Option::is_some).await.unwrap().clone(), Some(Fact::Absent));
        let Err(third) = layouts.join("a") else { panic!("it is over") };
        let Ok(mut fourth) = layouts.join("a") else { panic!("somebody looks") };
        drop(third);
        assert!(fourth.wait_for(Option::is_some).await.is_err());
    }

    #[test]
    fn the_first_of_a_variable_counts() {
        let image =
            serde_json::json!({ "Config": { "Env": ["A", "JAVA_HOME=/j=k", "JAVA_HOME=/l"] } });
        assert_eq!(variable(&image, "JAVA_HOME").as_deref(), Some("/j=k"));
        assert_eq!(variable(&image, "JAVA"), None);
        assert_eq!(variable(&serde_json::json!({}), "JAVA_HOME"), None);
    }
}
