//! A root certificate put where a container's programs look for those that they trust, and taken out again.
//!
//! `deeds` calls it (`Deed::Install`, `Deed::Uninstall`). What must stay true: all of it is one archive; what is there is
//! kept byte for byte in front of what is put, with its owner and permissions; nothing is written where something is
//! mounted; in a container whose programs run, no file is written that is not root's: one of them could put a link in
//! its place meanwhile. Neither ever refuses a call: what could not be done is told the policy.

mod archive;
mod pem;

use std::sync::Arc;
use std::time::Duration;

use crate::api::endpoint::Minor;
use crate::engine::{Engine, FileError, Inspected, Subject};
use crate::policy::facts::DeedResult;
use crate::policy::layout::{Layout, TrustFile, WantedInstall};
use crate::wire::trail::Trail;

use super::layouts::{Looking, MOST_FILE};
use archive::{Put, Undo};

/// For all that is done to one container.
const PATIENCE: Duration = Duration::from_secs(30);
/// Mounts of one container that are looked at.
const MOST_AVOIDED: usize = 64;
/// Bundles that a user's environment names.
const MOST_EXTRA: usize = 16;

pub(super) async fn install(
    engine: &Engine,
    version: Minor,
    wanted: &WantedInstall,
    trail: &Trail,
) -> DeedResult {
    in_time(Installing { engine, version, wanted, trail }.install()).await
}

pub(super) async fn uninstall(
    engine: &Engine,
    version: Minor,
    wanted: &WantedInstall,
    trail: &Trail,
) -> DeedResult {
    in_time(Installing { engine, version, wanted, trail }.uninstall()).await
}

async fn in_time(doing: impl Future<Output = Result<DeedResult, FileError>>) -> DeedResult {
    match tokio::time::timeout(PATIENCE, doing).await {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the engine takes too long".to_owned()),
    }
}

struct Installing<'a> {
    engine: &'a Engine,
    version: Minor,
    wanted: &'a WantedInstall,
    trail: &'a Trail,
}

/// What a container has now, beside its state.
struct Found {
    /// As it is wanted, of what is there now.
    wanted: WantedInstall,
    extra: Vec<TrustFile>,
}

impl Installing<'_> {
    async fn install(&self) -> Result<DeedResult, FileError> {
        let found = match self.find().await? {
            Ok(found) => found,
            Err(why) => return Ok(Err(why)),
        };
        let Found { wanted, extra } = &found;
        let mut put = Put::new(wanted);
        for file in wanted.layout.bundles.iter().chain(extra) {
            put.bundle(file);
        }
        for file in &wanted.layout.keystores {
            put.keystore(file);
        }
        put.own_files();
        self.send(put.end()).await
    }

    async fn uninstall(&self) -> Result<DeedResult, FileError> {
        let found = match self.find().await? {
            Ok(found) => found,
            Err(why) => return Ok(Err(why)),
        };
        let Found { wanted, extra } = &found;
        let mut looking = self.looking();
        let mut undo = Undo::new(wanted, &self.wanted.layout);
        if let Some(path) = wanted.home()
            && looking.has_file(&path).await?
            && let Some(file) = self
                .engine
                .file(self.version, &wanted.container, &path, MOST_FILE, self.trail)
                .await?
        {
            undo.also(&file.content);
        }
        for file in wanted.layout.bundles.iter().chain(extra) {
            undo.bundle(file);
        }
        for file in &wanted.layout.keystores {
            undo.keystore(file);
        }
        for path in undo.links() {
            if looking.has_file(&path).await? || looking.has_link(&path).await? {
                undo.hide(&path);
            }
        }
        for (path, _) in &wanted.files {
            if looking.has_file(path).await? {
                undo.empty(path);
            }
        }
        let (left, tar) = undo.end();
        let done = self.send(tar).await?;
        Ok(match left.first() {
            Some(path) if done.is_ok() => Err(format!("`{path}` cannot be put back")),
            _ => done,
        })
    }

    /// What there is now, without what is ours and what must be left alone.
    async fn find(&self) -> Result<Result<Found, String>, FileError> {
        let wanted = self.wanted;
        if wanted.avoid.len() > MOST_AVOIDED {
            return Ok(Err(format!("it has more than {MOST_AVOIDED} mounts")));
        }
        let mut looking = self.looking();
        let mut avoid = wanted.avoid.clone();
        for path in &wanted.avoid {
            avoid.extend(looking.place(path).await?.filter(|place| place != path));
        }
        let mut layout = Arc::clone(&wanted.layout);
        let mut is_watched = false;
        if !wanted.is_new {
            is_watched = self.runs().await?;
            let stores: Vec<&str> =
                wanted.layout.keystores.iter().map(|file| file.path.as_str()).collect();
            layout = Arc::new(looking.layout(None, &stores).await?);
        }
        let mut extra = Vec::new();
        for path in wanted.extra.iter().take(MOST_EXTRA) {
            looking.bundle(path, &mut extra).await?;
        }
        extra.retain(|file| layout.bundles.iter().all(|other| other.path != file.path));
        if is_watched {
            let mut safe = Layout::clone(&layout);
            safe.bundles.retain(is_roots);
            safe.keystores.retain(is_roots);
            extra.retain(is_roots);
            layout = Arc::new(safe);
        }
        let wanted = WantedInstall { layout, avoid, ..wanted.clone() };
        Ok(Ok(Found { wanted, extra }))
    }

    /// Whether programs run in it.
    async fn runs(&self) -> Result<bool, FileError> {
        let subject = Subject::Container(&self.wanted.container);
        let Inspected::Json(json) = self.engine.look_up(self.version, subject, self.trail).await?
        else {
            return Ok(true);
        };
        let is = |key| json.get("State").and_then(|state| state.get(key)?.as_bool());
        Ok(is("Running") != Some(false) && is("Paused") != Some(true))
    }

    fn looking(&self) -> Looking<'_> {
        Looking::new(self.engine, self.version, &self.wanted.container, self.trail)
    }

    async fn send(&self, tar: Result<Option<Vec<u8>>, String>) -> Result<DeedResult, FileError> {
        match tar {
            Ok(Some(tar)) => {
                let container = &self.wanted.container;
                let put = self.engine.put_archive(self.version, container, "/", &tar, self.trail);
                Ok(put.await?)
            }
            Ok(None) => Ok(Ok(())),
            Err(why) => Ok(Err(why)),
        }
    }
}

fn is_roots(file: &TrustFile) -> bool {
    file.uid == 0
}

#[cfg(test)]
mod tests;
