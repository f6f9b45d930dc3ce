//! Streams that end when a reload takes their user away: `revoke = "cut"` of a listener.
//!
//! `gateway` begins a `Session` with each call that is let in on such a listener, and waits for its end beside
//! the answer or the stream. What must stay true: whoever would be let in again as the same user is left
//! alone; whoever would not, or cannot be decided about for a minute, is cut; on other listeners it costs
//! nothing.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{AfterCall, ClientConnection, ListenerHandle, ListenerState};
use crate::auth::{Caller, Identity};
use crate::config::Revoke;
use crate::telemetry::access::{Record, Verdict};
use crate::wire::head::Lines;

/// How often, and for how long, is asked again what cannot be decided yet: a key set is fetched after a reload.
const RETRY: Duration = Duration::from_secs(5);
const TRIES: usize = 12;

/// Who makes a call, and all that it took to recognise them.
pub(super) struct Session {
    identity: Identity,
    caller: Caller,
    /// `Authorization`, where there was one: a token is judged by the new keys.
    credential: Lines,
    /// Of the state that let them in last.
    generation: u64,
    replaced: CancellationToken,
}

impl Session {
    pub(super) fn begin(
        state: &ListenerState,
        client: &ClientConnection,
        identity: &Identity,
        headers: &Lines,
    ) -> Option<Box<Session>> {
        (state.revoke == Revoke::Cut).then(|| {
            Box::new(Session {
                identity: identity.clone(),
                caller: client.caller.again(),
                credential: headers.only("authorization"),
                generation: state.generation,
                replaced: state.replaced.clone(),
            })
        })
    }

    /// Returns when the caller is let in no more.
    pub(super) async fn revoked(&mut self, handle: &ListenerHandle) {
        loop {
            self.replaced.cancelled().await;
            let state = handle.state();
            // The listener itself is gone.
            if state.generation == self.generation {
                break;
            }
            if state.revoke == Revoke::Cut && !self.is_let_in(&state).await {
                break;
            }
            (self.generation, self.replaced) = (state.generation, state.replaced.clone());
        }
        let state = handle.state();
        let (user, client) = (self.identity.user().unwrap_or("-"), &self.caller.peer);
        tracing::info!(listener = %state.listener, %client, user, "a stream is cut: its user is let in no more");
    }

    async fn is_let_in(&self, state: &ListenerState) -> bool {
        let certificates = &self.caller.certificates;
        if state.trust.as_ref().is_some_and(|trust| !trust.still_trusts(certificates)) {
            return false;
        }
        let Session { identity, caller, credential, .. } = self;
        for _ in 0..TRIES {
            let deciding = state.authentication.still_recognises(
                &state.listener,
                caller,
                credential,
                identity,
            );
            match deciding.await {
                Some(is_let_in) => return is_let_in,
                None => tokio::time::sleep(RETRY).await,
            }
        }
        false
    }

    /// What the log says of a call that was cut.
    pub(super) fn note(record: &mut Record) {
        record.verdict = Verdict::Reject;
        record.rule = None;
    }
}

/// An answer under way, which ends early when its user is let in no more.
pub(super) async fn until_revoked(
    session: &mut Session,
    handle: &ListenerHandle,
    answering: impl Future<Output = AfterCall>,
) -> Option<AfterCall> {
    tokio::select! {
        biased;
        next = answering => Some(next),
        () = session.revoked(handle) => None,
    }
}
