//! BuildKit's requests as types: one row a gRPC method, and the shapes of their messages.
//!
//! `api::table` puts the methods behind the routes, so that policies judge them in the same words; `gateway` reads their
//! messages by these shapes. What must stay true: the names and numbers are those of BuildKit's own definitions, and a
//! method that is not here does not exist.

mod control;
pub mod filesync;
mod frontend;
mod ops;
pub mod session;
mod texts;

pub use control::{HISTORY_EVENT, SOLVE};
pub use ops::{DEFINITION, operation_bytes};
pub use texts::{STATUS_TEXTS, texts};

use super::endpoint::{AnswerKind, BodyKind, Class, Header, Makes, Method, Resource, Row, h, row};
use super::shape::{Kind, Object, n};
use super::table::Endpoint as E;

/// In LLBBridge's calls, whose build they belong to (`buildid.go` of BuildKit's gateway frontend).
pub const BUILD_ID: &str = "buildkit-controlapi-buildid";

const OF_A_BUILD: &[Header] = &[h(BUILD_ID).names(Resource::BuildId)];

/// The methods that a client may call of the engine.
pub const METHODS: &[Row] = &[
    // moby.buildkit.v1.Control
    method("/moby.buildkit.v1.Control/Solve", E::Solve, control::SOLVE).making(Makes::Build),
    method("/moby.buildkit.v1.Control/Status", E::SolveStatus, control::STATUS),
    method("/moby.buildkit.v1.Control/Session", E::ControlSession, &[])
        .body(BodyKind::Raw)
        .headers(super::build::SESSION_HEADERS),
    method("/moby.buildkit.v1.Control/ListWorkers", E::ListWorkers, control::LIST_WORKERS),
    method("/moby.buildkit.v1.Control/Info", E::BuilderInfo, &[]),
    method("/moby.buildkit.v1.Control/DiskUsage", E::DiskUsage, control::DISK_USAGE),
    method("/moby.buildkit.v1.Control/Prune", E::Prune, control::PRUNE),
    method("/moby.buildkit.v1.Control/ListenBuildHistory", E::ListenBuildHistory, control::HISTORY),
    method(
        "/moby.buildkit.v1.Control/UpdateBuildHistory",
        E::UpdateBuildHistory,
        control::UPDATE_HISTORY,
    ),
    // moby.buildkit.v1.frontend.LLBBridge
    bridge("/moby.buildkit.v1.frontend.LLBBridge/Ping", E::BridgePing, &[]),
    bridge("/moby.buildkit.v1.frontend.LLBBridge/Inputs", E::BridgeInputs, &[]),
    bridge("/moby.buildkit.v1.frontend.LLBBridge/Solve", E::BridgeSolve, frontend::SOLVE)
        .making(Makes::Build),
    bridge("/moby.buildkit.v1.frontend.LLBBridge/Return", E::BridgeReturn, frontend::RETURN),
    bridge("/moby.buildkit.v1.frontend.LLBBridge/Evaluate", E::BridgeEvaluate, frontend::REF),
    bridge("/moby.buildkit.v1.frontend.LLBBridge/ReadFile", E::BridgeReadFile, frontend::READ_FILE),
    bridge("/moby.buildkit.v1.frontend.LLBBridge/ReadDir", E::BridgeReadDir, frontend::READ_DIR),
    bridge("/moby.buildkit.v1.frontend.LLBBridge/StatFile", E::BridgeStatFile, frontend::STAT_FILE),
    bridge("/moby.buildkit.v1.frontend.LLBBridge/Warn", E::BridgeWarn, frontend::WARN),
    bridge(
        "/moby.buildkit.v1.frontend.LLBBridge/ResolveImageConfig",
        E::ResolveImageConfig,
        frontend::RESOLVE_IMAGE_CONFIG,
    ),
    bridge(
        "/moby.buildkit.v1.frontend.LLBBridge/ResolveSourceMeta",
        E::ResolveSourceMeta,
        frontend::RESOLVE_SOURCE_META,
    ),
    bridge(
        "/moby.buildkit.v1.frontend.LLBBridge/NewContainer",
        E::NewContainer,
        frontend::NEW_CONTAINER,
    )
    .making(Makes::Build),
    bridge(
        "/moby.buildkit.v1.frontend.LLBBridge/ReleaseContainer",
        E::ReleaseContainer,
        frontend::RELEASE_CONTAINER,
    ),
    bridge("/moby.buildkit.v1.frontend.LLBBridge/ExecProcess", E::ExecProcess, frontend::EXEC)
        .making(Makes::Running),
    // of the engine's content store (containerd's api/services/content/v1)
    method("/containerd.services.content.v1.Content/Info", E::ContentInfo, CONTENT_INFO),
    method("/containerd.services.content.v1.Content/List", E::ContentList, CONTENT_LIST),
    method("/containerd.services.content.v1.Content/Read", E::ContentRead, CONTENT_READ),
    // what clients ask first (grpc's health/v1), and what they tell of themselves (OpenTelemetry)
    method("/grpc.health.v1.Health/Check", E::HealthCheck, HEALTH),
    method("/opentelemetry.proto.collector.trace.v1.TraceService/Export", E::TraceExport, &[])
        .body(BodyKind::Raw),
];

/// The row of a method, by its path.
pub fn find(path: &str) -> Option<&'static Row> {
    METHODS.iter().find(|row| row.path == path)
}

const fn method(path: &'static str, endpoint: E, request: &'static Object) -> Row {
    row(Method::Post, path, endpoint, Class::BuildKit, AnswerKind::Grpc)
        .making(Makes::Nothing)
        .body(BodyKind::Message(request))
}

const fn bridge(path: &'static str, endpoint: E, request: &'static Object) -> Row {
    method(path, endpoint, request).headers(OF_A_BUILD)
}

const CONTENT_INFO: &Object = &[n(1, "digest", Kind::Str).names(Resource::BuildContent)];

const CONTENT_LIST: &Object = &[n(1, "filters", Kind::List(&Kind::Str))];

const CONTENT_READ: &Object = &[
    n(1, "digest", Kind::Str).names(Resource::BuildContent),
    n(2, "offset", Kind::Int),
    n(3, "size", Kind::Int),
];

const HEALTH: &Object = &[n(1, "service", Kind::Str)];

#[cfg(test)]
mod tests;
