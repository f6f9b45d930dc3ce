//! The builds that run, and what the engine may ask of their clients meanwhile: of the process, whichever worker serves them.
//!
//! `memory` has them; `send` and `grpc` begin one when every policy has let it through, before the engine has it, and
//! `callbacks` asks. What must stay true: a build ends by being dropped, so that no way to end forgets it; what one call of
//! a build has asked for counts until the last of its calls ends.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::Typed;
use crate::api::buildkit::session::CallbackKind;
use crate::policy::builds::{BegunBuild, BuildAsks};

#[derive(Debug, Default)]
pub(super) struct RunningBuilds {
    by_id: Mutex<HashMap<String, RunningBuild>>,
    /// Of those that have no id.
    unnamed: AtomicU64,
}

#[derive(Debug, Default)]
struct RunningBuild {
    calls: usize,
    sessions: BTreeSet<String>,
    asks: BuildAsks,
}

/// A call of a build, until it is dropped.
#[derive(Debug)]
pub(super) struct HeldBuild {
    builds: Arc<RunningBuilds>,
    id: String,
}

/// Why the engine may not ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotAsked {
    NoBuild,
    NoneAsks,
}

impl RunningBuilds {
    /// A call that builds something, as it goes to the engine. None of others.
    pub(super) fn begin(self: &Arc<RunningBuilds>, call: &Typed) -> Option<HeldBuild> {
        let BegunBuild { id, sessions, asks } = BegunBuild::of(call)?;
        // With a blank, which no id of a client's has.
        let unnamed = || format!("call {}", self.unnamed.fetch_add(1, Ordering::Relaxed));
        let id = id.unwrap_or_else(unnamed);
        let mut by_id = self.by_id();
        let build = by_id.entry(id.clone()).or_default();
        build.calls += 1;
        build.sessions.extend(sessions);
        build.asks.merge(asks);
        Some(HeldBuild { builds: Arc::clone(self), id })
    }

    /// Whether a build of this session can want this. By the id that the engine has it by.
    pub(super) fn may_ask(
        &self,
        session: &str,
        kind: CallbackKind,
        name: &str,
    ) -> Result<(), NotAsked> {
        let mut found = Err(NotAsked::NoBuild);
        for build in self.by_id().values().filter(|build| build.sessions.contains(session)) {
            if build.asks.covers(kind, name) {
                return Ok(());
            }
            found = Err(NotAsked::NoneAsks);
        }
        found
    }

    /// What the builds of this session push by themselves, as the engine has the names.
    pub(super) fn pushed(&self, session: &str) -> BTreeSet<String> {
        let by_id = self.by_id();
        let builds = by_id.values().filter(|build| build.sessions.contains(session));
        builds.flat_map(|build| build.asks.pushed().map(str::to_owned)).collect()
    }

    fn by_id(&self) -> MutexGuard<'_, HashMap<String, RunningBuild>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HeldBuild {
    fn drop(&mut self) {
        let mut by_id = self.builds.by_id();
        if let Some(build) = by_id.get_mut(&self.id) {
            build.calls = build.calls.saturating_sub(1);
            if build.calls == 0 {
                by_id.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::builds::tests::call;

    fn secret(builds: &RunningBuilds, session: &str) -> Result<(), NotAsked> {
        builds.may_ask(session, CallbackKind::Secret, "x")
    }

    #[test]
    fn a_session_is_asked_while_one_of_its_builds_runs_that_can_want_it() {
        let builds = Arc::new(RunningBuilds::default());
        let solve = |id: &str, frontend: &str| {
            let body = json!({"Ref": id, "Session": "s", "Frontend": frontend});
            builds.begin(&call("Control/Solve", body, "")).unwrap()
        };
        assert_eq!(secret(&builds, "s"), Err(NotAsked::NoBuild));
        let first = solve("a", "");
        assert_eq!(secret(&builds, "s"), Err(NotAsked::NoneAsks));
        let second = solve("b", "dockerfile.v0");
        assert_eq!(secret(&builds, "s"), Ok(()));
        assert_eq!(secret(&builds, "t"), Err(NotAsked::NoBuild));
        drop(second);
        assert_eq!(secret(&builds, "s"), Err(NotAsked::NoneAsks));
        drop(first);
        assert_eq!(secret(&builds, "s"), Err(NotAsked::NoBuild));
        assert!(builds.by_id().is_empty());
    }

    #[test]
    fn what_a_frontend_asks_for_counts_until_its_build_ends() {
        let builds = Arc::new(RunningBuilds::default());
        let bridged = || {
            let body = json!({"Frontend": "dockerfile.v0"});
            builds.begin(&call("LLBBridge/Solve", body, "a")).unwrap()
        };
        // It may be quicker than what begins its build.
        let early = bridged();
        assert_eq!(secret(&builds, "s"), Err(NotAsked::NoBuild));
        let solve = call("Control/Solve", json!({"Ref": "a", "Session": "s"}), "");
        let solve = builds.begin(&solve).unwrap();
        assert_eq!(secret(&builds, "s"), Ok(()));
        drop(early);
        assert_eq!(secret(&builds, "s"), Ok(()));
        let late = bridged();
        drop(solve);
        drop(late);
        assert_eq!(secret(&builds, "s"), Err(NotAsked::NoBuild));
        let none = call("Control/Status", json!({"Ref": "a"}), "");
        assert!(builds.begin(&none).is_none());
    }
}
