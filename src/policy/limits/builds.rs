//! How many builds a caller may have at the same time.
//!
//! `policy::chain` asks it last. What must stay true: one build is one slot, by whichever of the engine's doors it comes.

use super::rules::Rules;
use crate::api::{Endpoint, Typed};
use crate::policy::Slot;

pub(super) fn slot(policy: &str, rules: &Rules<'_>, call: &Typed) -> Option<Slot> {
    let most = rules.all().max.builds?;
    // What frontends ask for within a build (`LLBBridge`) belongs to the `Solve` that began it.
    matches!(call.endpoint(), Endpoint::ImageBuild | Endpoint::Solve).then(|| Slot {
        policy: policy.to_owned(),
        listener: rules.cx.listener.to_owned(),
        user: rules.cx.identity.user().map(str::to_owned),
        most: usize::try_from(most).unwrap_or_default(),
        rule: "limits.builds",
        what: "builds",
        patience: Slot::A_MOMENT,
    })
}
