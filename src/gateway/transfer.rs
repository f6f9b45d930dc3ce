//! The folder of a Dockerfile on its way from a client to the engine, the file held back until it has been judged.
//!
//! `callbacks` has one for each transfer, where BuildKit itself holds a build to no rules. What must stay true: the engine
//! gets no byte of a Dockerfile that was not judged whole, and what it may have kept of one from before it asks for anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::HeaderMap;

use super::budget::Lease;
use super::callbacks::refuse;
use super::refusal::Refusal;
use super::{ListenerState, context};
use crate::api::buildkit::filesync::{BadFileSync, FileSync, Passing};
use crate::api::dockerfile::AskedBuild;
use crate::api::endpoint::Versions;
use crate::auth::Identity;
use crate::buildkit::terminate::{CallEnd, Exchange, H2Reply, Judged, ReadsMessages};
use crate::policy::Reason;
use crate::telemetry::access::Record;
use crate::wire::trail::Trail;

/// Of a transfer: clients send files in pieces of 32 KiB.
const MOST_PACKET: usize = 1 << 20;
/// A Dockerfile as it comes, as a whole, and in its packet.
const TAKES: usize = 3;

pub(super) struct DockerfileSync {
    state: Arc<ListenerState>,
    identity: Identity,
    engine: Versions,
    build: AskedBuild,
    sync: FileSync,
    lease: Option<Lease>,
    /// Of its refusal.
    record: Record,
}

impl DockerfileSync {
    /// What was begun with this build.
    pub(super) fn new(
        state: Arc<ListenerState>,
        (identity, engine): (Identity, Versions),
        build: AskedBuild,
        record: Record,
    ) -> DockerfileSync {
        let sync = FileSync::new(&build.filename);
        DockerfileSync { state, identity, engine, build, sync, lease: None, record }
    }
    async fn pass(&mut self, packet: &[u8]) -> Result<Option<Bytes>, Refusal> {
        match self.sync.sent(packet, unique_time()).map_err(misplaced)? {
            Passing::Hold => Ok(None),
            Passing::Pass(packet) => {
                let (source, takes) = (self.identity.peer().source(), TAKES * self.sync.held());
                self.state.budgets.bodies.cover(&mut self.lease, source, takes)?;
                Ok(Some(packet.into()))
            }
            Passing::Whole { file, packet } => {
                let (state, trail) = (&self.state, Trail::default());
                let of = (&self.build, file.as_slice());
                match context::judge(state, &self.identity, self.engine, &trail, of).await? {
                    None => Ok(Some(packet.into())),
                    // Its length has been said.
                    Some(_) => {
                        let why = "cannot be changed on its way through a session";
                        let reason = Reason::new("build.dockerfile", "Dockerfile", why, "");
                        Err(Refusal::Denied(vec![reason]))
                    }
                }
            }
        }
    }
}

impl Exchange for DockerfileSync {
    fn reads(&self) -> ReadsMessages {
        ReadsMessages::Each(MOST_PACKET)
    }

    /// Of the engine's.
    fn request(&mut self, message: Bytes) -> BoxFuture<'_, Result<Judged, H2Reply>> {
        let asked = self.sync.asked(&message).map_err(misplaced);
        let judged = match asked {
            Ok(()) => Ok(Judged::Send(message)),
            Err(refusal) => Err(refuse(&self.state, &mut self.record, &refusal)),
        };
        Box::pin(std::future::ready(judged))
    }

    fn metadata(&mut self, _: &mut HeaderMap) {}

    fn reads_answer(&self) -> ReadsMessages {
        ReadsMessages::Each(MOST_PACKET)
    }

    /// Of the client's.
    fn answer(&mut self, message: Bytes) -> BoxFuture<'_, Result<Option<Bytes>, H2Reply>> {
        Box::pin(async move {
            let passed = Box::pin(self.pass(&message)).await;
            passed.map_err(|refusal| refuse(&self.state, &mut self.record, &refusal))
        })
    }

    fn ended(&mut self, _: CallEnd) {}
}

fn misplaced(error: BadFileSync) -> Refusal {
    let hint = "send the Dockerfile as a file of its own";
    Refusal::Denied(vec![Reason::new("build.dockerfile", "Dockerfile", error.to_string(), hint)])
}

/// In nanoseconds, and no other one's.
fn unique_time() -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
    let later = |last: i64| Some(now.max(last.saturating_add(1)));
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    later(last.unwrap_or_default()).unwrap_or(now)
}
