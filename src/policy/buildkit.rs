//! BuildKit's protocol, which dockgate cannot look into yet: refused where a policy is enforced.
//!
//! In front of every chain that has a policy. What must stay true: BuildKit is refused in whatever form it is asked for, for
//! what is built by it is seen by no other policy.

use super::{Context, Policy, Reason, Verdict};
use crate::api::{Class, Endpoint, Typed};

/// The rule of the refusal.
pub const BUILDKIT: &str = "build.buildkit";

#[derive(Debug)]
pub(super) struct BuildKit;

impl Policy for BuildKit {
    /// As in the records of calls: it is no policy of the operator's.
    fn name(&self) -> &'static str {
        "closed-world"
    }

    fn request(&self, call: &Typed, _: &Context<'_>) -> Verdict {
        asks_for(call).map_or_else(Verdict::pass, |field| Verdict::deny(refusal(field)))
    }
}

/// The refusal of BuildKit, wherever it is asked for.
pub fn refusal(field: &'static str) -> Reason {
    Reason::new(
        BUILDKIT,
        field,
        "BuildKit must not be used while a policy is active: dockgate cannot look into it yet",
        "set `DOCKER_BUILDKIT=0` to use the classic builder",
    )
}

/// By its protocol, or by a build whose context travels in that protocol (`newImageBuildOptions` and
/// `builder-next/builder.go` of moby).
fn asks_for(call: &Typed) -> Option<&'static str> {
    if call.class() == Class::BuildKit {
        return Some(call.row().path);
    }
    let asks =
        |name, values: &[&str]| call.query().get(name).is_some_and(|value| values.contains(&value));
    let is_build = call.endpoint() == Endpoint::ImageBuild;
    match is_build {
        true if asks("version", &["2"]) => Some("?version"),
        true if asks("remote", &["client-session", "upload-request"]) => Some("?remote"),
        true | false => None,
    }
}
