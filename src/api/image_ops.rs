//! Images: query parameters and headers.
//!
//! `api::table` puts these into its rows. What must stay true: parameters that the engine reads as
//! a list (`names`, `changes`, `platform`, `platforms`, `type`) are marked so, whatever the
//! specification says of them. An image name that is split over two parameters (`repo` and `tag`,
//! `fromImage` and `tag`) is marked on the first.

use super::endpoint::{Header, Param, Resource, h, q};
use super::shape::FILTERS;

pub const LIST_QUERY: &[Param] = &[
    q("all"),
    q("filters").json(FILTERS),
    // a name pattern, below 1.41 only
    q("filter").until(40).names(Resource::Image),
    q("shared-size").since(42),
    q("manifests").since(47),
    q("identity").since(54),
    // documented, read by no engine from 20.10 on
    q("digests").ignored(),
    // docker-py
    q("only_ids").ignored(),
];

pub const CREATE_QUERY: &[Param] = &[
    q("fromImage").names(Resource::Image),
    q("fromSrc"),
    q("repo").names(Resource::Image),
    q("tag"),
    // documented since 1.39 and 1.40, read at every version
    q("message"),
    q("changes").many(),
    q("platform").since(32),
    // dockerode repeats the options of its caller in the query, and the credentials with them
    q("authconfig").ignored(),
    q("abortSignal").ignored(),
];

pub const INSPECT_QUERY: &[Param] = &[q("manifests").since(48), q("platform").since(49)];

pub const HISTORY_QUERY: &[Param] = &[q("platform").since(48)];

pub const ATTESTATIONS_QUERY: &[Param] = &[q("platform").many(), q("type").many(), q("statement")];

pub const PUSH_QUERY: &[Param] = &[q("tag"), q("platform").since(46), q("abortSignal").ignored()];

pub const TAG_QUERY: &[Param] = &[q("repo").names(Resource::Image), q("tag")];

pub const DELETE_QUERY: &[Param] = &[q("force"), q("noprune"), q("platforms").many().since(50)];

pub const SEARCH_QUERY: &[Param] =
    &[q("term").means("docker.io/library"), q("limit"), q("filters").json(FILTERS)];

pub const GET_QUERY: &[Param] = &[q("platform").many().since(48)];

pub const GET_ALL_QUERY: &[Param] =
    &[q("names").many().names(Resource::Image), q("platform").many().since(48)];

pub const LOAD_QUERY: &[Param] =
    &[q("quiet"), q("platform").many().since(48), q("abortSignal").ignored()];

/// Credentials for one registry, base64url JSON.
pub const AUTH_HEADERS: &[Header] = &[h("x-registry-auth").names(Resource::Registry)];

/// Where the engine also hands `X-Meta-*` on to the registry.
pub const REGISTRY_HEADERS: &[Header] =
    &[h("x-registry-auth").names(Resource::Registry), h("x-meta-*")];
