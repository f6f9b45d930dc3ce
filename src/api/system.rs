//! The engine itself: events, disk usage, registry login, debug pages.
//!
//! `api::table` puts these into its rows. What must stay true: `/auth` makes the daemon connect to
//! `serveraddress`, so it names a registry.

use super::endpoint::{Param, Resource, q};
use super::shape::{FILTERS, Kind, Object, f};

pub const EVENTS_QUERY: &[Param] =
    &[q("since"), q("until"), q("filters").json(FILTERS), q("abortSignal").ignored()];

pub const DATA_USAGE_QUERY: &[Param] = &[q("type").many().since(42), q("verbose").since(52)];

/// What Go's `net/http/pprof` reads.
pub const PPROF_QUERY: &[Param] = &[q("seconds"), q("debug"), q("gc")];

/// moby's `registry.AuthConfig`, whose keys are lower case.
pub const AUTH: &Object = &[
    f("username", Kind::Str),
    f("password", Kind::Str),
    f("auth", Kind::Str),
    // no engine from 25 on reads it; docker-py still sends it
    f("email", Kind::Str),
    f("serveraddress", Kind::Str).names(Resource::Registry).means("https://index.docker.io/v1/"),
    f("identitytoken", Kind::Str),
    f("registrytoken", Kind::Str),
    f("abortSignal", Kind::Any).ignored(),
];
