//! The policies of one listener in their order, and the evidence that they were asked.
//!
//! `gateway` holds a chain for each listener. What must stay true: `decide` is the only maker of a
//! `Permitted`; with any policy in the chain a call is typed, names only what the tables know, and
//! asks by an API version that they know.

use std::ops::Deref;

use super::versions::KnownVersions;
use super::{Context, Policy, Reason, Reply, Verdict};
use crate::api::{Call, Class, Typed};

/// Something that every policy of its listener has allowed.
#[derive(Debug)]
pub struct Permitted<T>(T);

/// A connection that dockgate does not look into.
#[derive(Debug)]
pub struct Tunnel(());

#[derive(Debug, Default)]
pub struct Chain {
    policies: Vec<Box<dyn Policy>>,
}

impl Chain {
    /// A chain of these policies, or of none: a byte-faithful pass-through.
    pub fn new(mut policies: Vec<Box<dyn Policy>>) -> Chain {
        if !policies.is_empty() {
            policies.insert(0, Box::new(KnownVersions));
        }
        Chain { policies }
    }

    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// Asks every policy in turn; the first refusal ends it.
    pub fn decide(&self, mut call: Call, cx: &Context<'_>) -> Result<Permitted<Call>, Reason> {
        if self.is_empty() {
            return Ok(Permitted(call));
        }
        let Call::Typed(typed) = &mut call else {
            return Err(Reason::new("closed-world.call", "request", "must be parsed", ""));
        };
        closed_world(typed)?;
        for policy in &self.policies {
            match policy.request(typed, cx) {
                Verdict::Continue => {}
                Verdict::Deny(reason) => return Err(reason),
            }
        }
        Ok(Permitted(call))
    }

    /// Whether a connection may carry HTTP/2, which nobody looks into.
    pub fn tunnel(&self) -> Option<Permitted<Tunnel>> {
        self.is_empty().then_some(Permitted(Tunnel(())))
    }

    /// Whether any policy wants to see answers to this call.
    pub fn reads_answer(&self, call: &Call, cx: &Context<'_>) -> bool {
        let reads = |row| self.policies.iter().any(|policy| policy.reads_answer(row, cx));
        call.row().is_some_and(reads)
    }

    /// Shows an answer to the policies, the last one first.
    pub fn answer(&self, reply: &mut Reply, cx: &Context<'_>) -> Result<(), Reason> {
        let row = reply.row;
        let readers = self.policies.iter().rev().filter(|policy| policy.reads_answer(row, cx));
        for policy in readers {
            policy.answer(reply, cx)?;
        }
        Ok(())
    }
}

impl<T> Deref for Permitted<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// What dockgate does not know is not sent, whatever the policies are: the next engine may read it.
fn closed_world(call: &Typed) -> Result<(), Reason> {
    if call.class() == Class::BuildKit {
        return Err(Reason::new(
            "build.buildkit",
            call.row().path,
            "must not be used while a policy is active: dockgate cannot look into it yet",
            "set `DOCKER_BUILDKIT=0` to use the classic builder",
        ));
    }
    let unknown = call.doc().map(|doc| doc.unknown.as_slice()).unwrap_or_default();
    if let Some(field) = unknown.iter().find(|field| !field.value.is_zero()) {
        return Err(Reason::new(
            "closed-world.field",
            field.path.clone(),
            "is not a field of the Engine API that dockgate knows",
            "leave it out",
        ));
    }
    if let Some(name) = call.unknown_query().first() {
        return Err(Reason::new(
            "closed-world.query",
            format!("?{name}"),
            "is not a query parameter of the Engine API that dockgate knows",
            "leave it out",
        ));
    }
    Ok(())
}
