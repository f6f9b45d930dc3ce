//! The endpoint table: every route of Engine API 1.24 to 1.55, one row each.
//!
//! `api::call` matches a request against it, first row first; every policy matches on `Endpoint`.
//! What must stay true: the patterns are moby's own and in the order in which moby's router tries
//! them, so that dockgate and dockerd never disagree about which route a path is. `tests.rs`
//! compares the table with moby's specifications and with the routes that real engines register.

mod ids;

pub use ids::Endpoint;

use super::endpoint::{
    AnswerKind, BodyKind, Class, Header, Makes, Method, Resource, Row, h, q, row,
};
use super::shape::FILTERS;
use super::{
    build, buildkit, container, container_answer, exec, image_ops, network, plugin, swarm,
    swarm_answer, system, volume,
};

use AnswerKind::{
    HijackH2c, HijackTcp, Json as Values, JsonStream, None as Nothing, RawStream, Tar, Text,
    WebSocket,
};
use BodyKind::{Json, JsonList, Raw, Tar as TarBody};
use Class as C;
use Endpoint as E;
use Makes as M;
use Method::{Delete, Get, Head, Options, Post, Put};

const CONTAINER: &[Resource] = &[Resource::Container];
const EXEC: &[Resource] = &[Resource::Exec];
const IMAGE: &[Resource] = &[Resource::Image];
const NETWORK: &[Resource] = &[Resource::Network];
const NODE: &[Resource] = &[Resource::Node];
const PLUGIN: &[Resource] = &[Resource::Plugin];
const SECRET: &[Resource] = &[Resource::Secret];
const CONFIG: &[Resource] = &[Resource::Config];
const SERVICE: &[Resource] = &[Resource::Service];
const TASK: &[Resource] = &[Resource::Task];
const VOLUME: &[Resource] = &[Resource::Volume];

/// Which of several JSON encodings of a stream the client wants (engines 29 and later).
const ACCEPT: &[Header] = &[h("accept")];
/// The handshake; dockerd checks no origin, but answers with it.
const WEBSOCKET: &[Header] =
    &[h("origin"), h("sec-websocket-key"), h("sec-websocket-protocol"), h("sec-websocket-version")];

/// First match wins, as in moby's router.
pub static TABLE: &[Row] = TABLE_ROWS;

const TABLE_ROWS: &[Row] = &[
    // checkpoints: before the containers, whose greedy DELETE would take theirs
    row(Get, "/containers/{name:.*}/checkpoints", E::CheckpointList, C::Checkpoint, Values)
        .of(CONTAINER)
        .query(container::CHECKPOINT_QUERY)
        .answers(container_answer::CHECKPOINTS),
    row(Post, "/containers/{name:.*}/checkpoints", E::CheckpointCreate, C::Checkpoint, Nothing)
        .making(M::Checkpoint)
        .of(CONTAINER)
        .body(Json(container::CHECKPOINT)),
    row(
        Delete,
        "/containers/{name}/checkpoints/{checkpoint}",
        E::CheckpointDelete,
        C::Checkpoint,
        Nothing,
    )
    .of(&[Resource::Container, Resource::Checkpoint])
    .query(container::CHECKPOINT_QUERY),
    // containers and execs
    row(Head, "/containers/{name:.*}/archive", E::ContainerArchiveInfo, C::Container, Nothing)
        .of(CONTAINER)
        .query(container::ARCHIVE_QUERY),
    row(Get, "/containers/json", E::ContainerList, C::Container, Values)
        .query(container::LIST_QUERY)
        .answers(container_answer::LIST),
    row(Get, "/containers/{name:.*}/export", E::ContainerExport, C::Container, Tar).of(CONTAINER),
    row(Get, "/containers/{name:.*}/changes", E::ContainerChanges, C::Container, Values)
        .of(CONTAINER),
    row(Get, "/containers/{name:.*}/json", E::ContainerInspect, C::Container, Values)
        .of(CONTAINER)
        .query(&[q("size")])
        .answers(container_answer::INSPECT),
    row(Get, "/containers/{name:.*}/top", E::ContainerTop, C::Container, Values)
        .of(CONTAINER)
        .query(&[q("ps_args")]),
    row(Get, "/containers/{name:.*}/logs", E::ContainerLogs, C::Container, RawStream)
        .of(CONTAINER)
        .query(container::LOGS_QUERY)
        .headers(ACCEPT),
    row(Get, "/containers/{name:.*}/stats", E::ContainerStats, C::Container, JsonStream)
        .of(CONTAINER)
        .query(container::STATS_QUERY)
        .answers(container_answer::STATS),
    row(
        Get,
        "/containers/{name:.*}/attach/ws",
        E::ContainerAttachWebsocket,
        C::Container,
        WebSocket,
    )
    .of(CONTAINER)
    .query(container::ATTACH_WS_QUERY)
    .headers(WEBSOCKET),
    row(Get, "/exec/{id:.*}/json", E::ExecInspect, C::Exec, Values).of(EXEC).answers(exec::ANSWER),
    row(Get, "/containers/{name:.*}/archive", E::ContainerArchive, C::Container, Tar)
        .of(CONTAINER)
        .query(container::ARCHIVE_QUERY),
    row(Post, "/containers/create", E::ContainerCreate, C::ContainerCreate, Values)
        .making(M::Container)
        .body(Json(container::CREATE))
        .query(container::CREATE_QUERY)
        .answers(container_answer::CREATED),
    row(Post, "/containers/{name:.*}/kill", E::ContainerKill, C::Container, Nothing)
        .making(M::Nothing)
        .of(CONTAINER)
        .query(&[q("signal")]),
    row(Post, "/containers/{name:.*}/pause", E::ContainerPause, C::Container, Nothing)
        .making(M::Nothing)
        .of(CONTAINER),
    row(Post, "/containers/{name:.*}/unpause", E::ContainerUnpause, C::Container, Nothing)
        .making(M::Nothing)
        .of(CONTAINER),
    row(Post, "/containers/{name:.*}/restart", E::ContainerRestart, C::Container, Nothing)
        .making(M::Running)
        .of(CONTAINER)
        .query(container::STOP_QUERY),
    row(Post, "/containers/{name:.*}/start", E::ContainerStart, C::Container, Nothing)
        .making(M::Running)
        .of(CONTAINER)
        .query(container::START_QUERY),
    row(Post, "/containers/{name:.*}/stop", E::ContainerStop, C::Container, Nothing)
        .making(M::Nothing)
        .of(CONTAINER)
        .query(container::STOP_QUERY),
    row(Post, "/containers/{name:.*}/wait", E::ContainerWait, C::Container, Values)
        .making(M::Nothing)
        .of(CONTAINER)
        .query(container::WAIT_QUERY),
    row(Post, "/containers/{name:.*}/resize", E::ContainerResize, C::Container, Nothing)
        .making(M::Nothing)
        .of(CONTAINER)
        .query(exec::RESIZE_QUERY),
    row(Post, "/containers/{name:.*}/attach", E::ContainerAttach, C::Container, HijackTcp)
        .making(M::Nothing)
        .of(CONTAINER)
        .query(container::ATTACH_QUERY),
    row(Post, "/containers/{name:.*}/copy", E::ContainerCopy, C::Container, Tar)
        .making(M::Nothing)
        .of(CONTAINER)
        .body(Json(container::COPY))
        .dropping_unknown()
        .until(44),
    row(Post, "/containers/{name:.*}/exec", E::ContainerExec, C::Exec, Values)
        .making(M::Exec)
        .of(CONTAINER)
        .body(Json(exec::CREATE))
        .answers(exec::CREATED),
    row(Post, "/exec/{name:.*}/start", E::ExecStart, C::Exec, HijackTcp)
        .making(M::Nothing)
        .of(EXEC)
        .body(Json(exec::START))
        .dropping_unknown(),
    row(Post, "/exec/{name:.*}/resize", E::ExecResize, C::Exec, Nothing)
        .making(M::Nothing)
        .of(EXEC)
        .query(exec::RESIZE_QUERY),
    row(Post, "/containers/{name:.*}/rename", E::ContainerRename, C::Container, Nothing)
        .making(M::Nothing)
        .of(CONTAINER)
        .query(&[q("name").names(Resource::Container)]),
    row(Post, "/containers/{name:.*}/update", E::ContainerUpdate, C::Container, Values)
        .making(M::Update)
        .of(CONTAINER)
        .body(Json(container::UPDATE)),
    row(Post, "/containers/prune", E::ContainerPrune, C::Container, Values)
        .making(M::Nothing)
        .query(&[q("filters").json(FILTERS)])
        .since(25)
        .answers(container_answer::PRUNED),
    row(Post, "/commit", E::ImageCommit, C::ContainerCreate, Values)
        .making(M::Image)
        .body(Json(container::COMMIT))
        .dropping_unknown()
        .query(container::COMMIT_QUERY)
        .answers(image_ops::COMMITTED),
    row(Put, "/containers/{name:.*}/archive", E::PutContainerArchive, C::Container, Nothing)
        .making(M::Nothing)
        .of(CONTAINER)
        .body(TarBody)
        .query(container::ARCHIVE_PUT_QUERY),
    row(Delete, "/containers/{name:.*}", E::ContainerDelete, C::Container, Nothing)
        .of(CONTAINER)
        .query(container::DELETE_QUERY),
    // images
    row(Get, "/images/json", E::ImageList, C::Image, Values)
        .query(image_ops::LIST_QUERY)
        .answers(image_ops::LIST_ANSWER),
    row(Get, "/images/search", E::ImageSearch, C::Registry, Values)
        .query(image_ops::SEARCH_QUERY)
        .headers(image_ops::REGISTRY_HEADERS),
    row(Get, "/images/get", E::ImageGetAll, C::Image, Tar).query(image_ops::GET_ALL_QUERY),
    row(Get, "/images/{name:.*}/get", E::ImageGet, C::Image, Tar)
        .of(IMAGE)
        .query(image_ops::GET_QUERY),
    row(Get, "/images/{name:.*}/history", E::ImageHistory, C::Image, Values)
        .of(IMAGE)
        .query(image_ops::HISTORY_QUERY)
        .answers(image_ops::HISTORY_ANSWER),
    row(Get, "/images/{name:.*}/json", E::ImageInspect, C::Image, Values)
        .of(IMAGE)
        .query(image_ops::INSPECT_QUERY)
        .answers(image_ops::INSPECT_ANSWER),
    row(Get, "/images/{name:.*}/attestations", E::ImageAttestations, C::Image, Values)
        .of(IMAGE)
        .query(image_ops::ATTESTATIONS_QUERY)
        .since(55),
    row(Post, "/images/load", E::ImageLoad, C::Image, JsonStream)
        .making(M::Image)
        .body(TarBody)
        .query(image_ops::LOAD_QUERY)
        .answers(image_ops::LOADED),
    row(Post, "/images/create", E::ImageCreate, C::Image, JsonStream)
        .making(M::Image)
        .body(TarBody)
        .query(image_ops::CREATE_QUERY)
        .headers(image_ops::REGISTRY_HEADERS)
        .answers(image_ops::CREATED),
    row(Post, "/images/{name:.*}/push", E::ImagePush, C::Image, JsonStream)
        .making(M::Nothing)
        .of(IMAGE)
        .query(image_ops::PUSH_QUERY)
        .headers(image_ops::REGISTRY_HEADERS)
        .answers(image_ops::PUSHED),
    row(Post, "/images/{name:.*}/tag", E::ImageTag, C::Image, Nothing)
        .making(M::Image)
        .of(IMAGE)
        .query(image_ops::TAG_QUERY),
    row(Post, "/images/prune", E::ImagePrune, C::Image, Values)
        .making(M::Nothing)
        .query(&[q("filters").json(FILTERS)])
        .since(25)
        .answers(image_ops::PRUNED),
    row(Delete, "/images/{name:.*}", E::ImageDelete, C::Image, Values)
        .of(IMAGE)
        .query(image_ops::DELETE_QUERY)
        .answers(image_ops::DELETED),
    row(Get, "/distribution/{name:.*}/json", E::DistributionInspect, C::Registry, Values)
        .of(IMAGE)
        .headers(image_ops::AUTH_HEADERS)
        .since(30),
    // the engine
    row(Options, "/{anyroute:.*}", E::SystemOptions, C::Info, Nothing),
    row(Get, "/_ping", E::SystemPing, C::Info, Text),
    row(Head, "/_ping", E::SystemPingHead, C::Info, Nothing).since(40),
    row(Get, "/events", E::SystemEvents, C::System, JsonStream)
        .query(system::EVENTS_QUERY)
        .headers(ACCEPT)
        .answers(system::EVENT),
    row(Get, "/info", E::SystemInfo, C::Info, Values).answers(system::INFO),
    row(Get, "/version", E::SystemVersion, C::Info, Values),
    row(Get, "/system/df", E::SystemDataUsage, C::System, Values)
        .query(system::DATA_USAGE_QUERY)
        .answers(system::DATA_USAGE),
    row(Post, "/auth", E::SystemAuth, C::System, Values)
        .making(M::Nothing)
        .body(Json(system::AUTH))
        .dropping_unknown(),
    // volumes
    row(Get, "/volumes", E::VolumeList, C::Volume, Values)
        .query(&[q("filters").json(FILTERS)])
        .answers(volume::LIST_ANSWER),
    row(Get, "/volumes/{name:.*}", E::VolumeInspect, C::Volume, Values)
        .of(VOLUME)
        .answers(volume::ANSWER),
    row(Post, "/volumes/create", E::VolumeCreate, C::Volume, Values)
        .making(M::Volume)
        .body(Json(volume::CREATE))
        .answers(volume::ANSWER),
    row(Post, "/volumes/prune", E::VolumePrune, C::Volume, Values)
        .making(M::Nothing)
        .query(&[q("filters").json(FILTERS)])
        .since(25)
        .answers(volume::PRUNED),
    row(Put, "/volumes/{name:.*}", E::VolumeUpdate, C::Volume, Nothing)
        .making(M::Swarm)
        .of(VOLUME)
        .body(Json(volume::UPDATE))
        .query(volume::UPDATE_QUERY)
        .since(42),
    row(Delete, "/volumes/{name:.*}", E::VolumeDelete, C::Volume, Nothing)
        .of(VOLUME)
        .query(&[q("force")]),
    // builds
    row(Post, "/build", E::ImageBuild, C::Build, JsonStream)
        .making(M::Build)
        .body(TarBody)
        .query(build::BUILD_QUERY)
        .headers(build::BUILD_HEADERS)
        .answers(build::PROGRESS),
    row(Post, "/build/prune", E::BuildPrune, C::Build, Values)
        .making(M::Nothing)
        .query(build::PRUNE_QUERY)
        .since(31),
    row(Post, "/build/cancel", E::BuildCancel, C::Build, Nothing)
        .making(M::Nothing)
        .query(build::CANCEL_QUERY),
    row(Post, "/session", E::Session, C::BuildKit, HijackH2c)
        .making(M::Nothing)
        .body(Raw)
        .headers(build::SESSION_HEADERS)
        .since(31),
    row(Post, "/grpc", E::Grpc, C::BuildKit, HijackH2c).making(M::Nothing).body(Raw),
    // swarm
    row(Post, "/swarm/init", E::SwarmInit, C::Swarm, Values)
        .making(M::Swarm)
        .body(Json(swarm::INIT))
        .answers(swarm_answer::INITIATED),
    row(Post, "/swarm/join", E::SwarmJoin, C::Swarm, Nothing)
        .making(M::Swarm)
        .body(Json(swarm::JOIN)),
    row(Post, "/swarm/leave", E::SwarmLeave, C::Swarm, Nothing)
        .making(M::Nothing)
        .query(&[q("force")]),
    row(Get, "/swarm", E::SwarmInspect, C::Swarm, Values),
    row(Get, "/swarm/unlockkey", E::SwarmUnlockkey, C::Swarm, Values),
    row(Post, "/swarm/update", E::SwarmUpdate, C::Swarm, Nothing)
        .making(M::Swarm)
        .body(Json(swarm::SPEC))
        .query(swarm::UPDATE_QUERY),
    row(Post, "/swarm/unlock", E::SwarmUnlock, C::Swarm, Nothing)
        .making(M::Nothing)
        .body(Json(swarm::UNLOCK)),
    row(Get, "/services", E::ServiceList, C::Swarm, Values)
        .query(swarm::SERVICE_LIST_QUERY)
        .answers(swarm_answer::SERVICES),
    row(Get, "/services/{id}", E::ServiceInspect, C::Swarm, Values)
        .of(SERVICE)
        .query(swarm::SERVICE_INSPECT_QUERY)
        .answers(swarm_answer::SERVICE),
    row(Post, "/services/create", E::ServiceCreate, C::Swarm, Values)
        .making(M::Service)
        .body(Json(swarm::SERVICE))
        .headers(swarm::AUTH_HEADERS)
        .answers(swarm_answer::SERVICE_CREATED),
    row(Post, "/services/{id}/update", E::ServiceUpdate, C::Swarm, Values)
        .making(M::Service)
        .of(SERVICE)
        .body(Json(swarm::SERVICE))
        .query(swarm::SERVICE_UPDATE_QUERY)
        .headers(swarm::AUTH_HEADERS),
    row(Delete, "/services/{id}", E::ServiceDelete, C::Swarm, Nothing).of(SERVICE),
    row(Get, "/services/{id}/logs", E::ServiceLogs, C::Swarm, RawStream)
        .of(SERVICE)
        .query(swarm::LOGS_QUERY),
    row(Get, "/nodes", E::NodeList, C::Swarm, Values)
        .query(&[q("filters").json(FILTERS)])
        .answers(swarm_answer::NODES),
    row(Get, "/nodes/{id}", E::NodeInspect, C::Swarm, Values).of(NODE).answers(swarm_answer::NODE),
    row(Delete, "/nodes/{id}", E::NodeDelete, C::Swarm, Nothing).of(NODE).query(&[q("force")]),
    row(Post, "/nodes/{id}/update", E::NodeUpdate, C::Swarm, Nothing)
        .making(M::Swarm)
        .of(NODE)
        .body(Json(swarm::NODE))
        .query(swarm::VERSION_QUERY),
    row(Get, "/tasks", E::TaskList, C::Swarm, Values)
        .query(&[q("filters").json(FILTERS)])
        .answers(swarm_answer::TASKS),
    row(Get, "/tasks/{id}", E::TaskInspect, C::Swarm, Values).of(TASK).answers(swarm_answer::TASK),
    row(Get, "/tasks/{id}/logs", E::TaskLogs, C::Swarm, RawStream)
        .of(TASK)
        .query(swarm::LOGS_QUERY)
        .since(29),
    row(Get, "/secrets", E::SecretList, C::Swarm, Values)
        .query(&[q("filters").json(FILTERS)])
        .since(25)
        .answers(swarm_answer::SECRETS),
    row(Post, "/secrets/create", E::SecretCreate, C::Swarm, Values)
        .making(M::Swarm)
        .body(Json(swarm::SECRET))
        .since(25)
        .answers(swarm_answer::SECRET_CREATED),
    row(Delete, "/secrets/{id}", E::SecretDelete, C::Swarm, Nothing).of(SECRET).since(25),
    row(Get, "/secrets/{id}", E::SecretInspect, C::Swarm, Values)
        .of(SECRET)
        .since(25)
        .answers(swarm_answer::SECRET),
    row(Post, "/secrets/{id}/update", E::SecretUpdate, C::Swarm, Nothing)
        .making(M::Swarm)
        .of(SECRET)
        .body(Json(swarm::SECRET))
        .query(swarm::VERSION_QUERY)
        .since(25),
    row(Get, "/configs", E::ConfigList, C::Swarm, Values)
        .query(&[q("filters").json(FILTERS)])
        .since(30)
        .answers(swarm_answer::CONFIGS),
    row(Post, "/configs/create", E::ConfigCreate, C::Swarm, Values)
        .making(M::Swarm)
        .body(Json(swarm::CONFIG))
        .since(30)
        .answers(swarm_answer::CONFIG_CREATED),
    row(Delete, "/configs/{id}", E::ConfigDelete, C::Swarm, Nothing).of(CONFIG).since(30),
    row(Get, "/configs/{id}", E::ConfigInspect, C::Swarm, Values)
        .of(CONFIG)
        .since(30)
        .answers(swarm_answer::CONFIG),
    row(Post, "/configs/{id}/update", E::ConfigUpdate, C::Swarm, Nothing)
        .making(M::Swarm)
        .of(CONFIG)
        .body(Json(swarm::CONFIG))
        .query(swarm::VERSION_QUERY)
        .since(30),
    // plugins
    row(Get, "/plugins", E::PluginList, C::Plugin, Values)
        .query(&[q("filters").json(FILTERS).since(28)])
        .answers(plugin::LIST_ANSWER),
    row(Get, "/plugins/{name:.*}/json", E::PluginInspect, C::Plugin, Values)
        .of(PLUGIN)
        .answers(plugin::ANSWER),
    row(Get, "/plugins/privileges", E::GetPluginPrivileges, C::Plugin, Values)
        .query(plugin::PRIVILEGES_QUERY)
        .headers(image_ops::REGISTRY_HEADERS),
    row(Delete, "/plugins/{name:.*}", E::PluginDelete, C::Plugin, Nothing)
        .of(PLUGIN)
        .query(&[q("force")]),
    row(Post, "/plugins/{name:.*}/enable", E::PluginEnable, C::Plugin, Nothing)
        .making(M::Plugin)
        .of(PLUGIN)
        .query(&[q("timeout")]),
    row(Post, "/plugins/{name:.*}/disable", E::PluginDisable, C::Plugin, Nothing)
        .making(M::Nothing)
        .of(PLUGIN)
        .query(&[q("force").since(28)]),
    row(Post, "/plugins/pull", E::PluginPull, C::Plugin, JsonStream)
        .making(M::Plugin)
        .body(JsonList(&plugin::PRIVILEGES))
        .query(plugin::PULL_QUERY)
        .headers(image_ops::REGISTRY_HEADERS),
    row(Post, "/plugins/{name:.*}/push", E::PluginPush, C::Plugin, JsonStream)
        .making(M::Nothing)
        .of(PLUGIN)
        .headers(image_ops::REGISTRY_HEADERS),
    row(Post, "/plugins/{name:.*}/upgrade", E::PluginUpgrade, C::Plugin, JsonStream)
        .making(M::Plugin)
        .of(PLUGIN)
        .body(JsonList(&plugin::PRIVILEGES))
        .query(plugin::UPGRADE_QUERY)
        .headers(image_ops::REGISTRY_HEADERS)
        .since(26),
    row(Post, "/plugins/{name:.*}/set", E::PluginSet, C::Plugin, Nothing)
        .making(M::Plugin)
        .of(PLUGIN)
        .body(JsonList(&plugin::SETTINGS)),
    row(Post, "/plugins/create", E::PluginCreate, C::Plugin, Nothing)
        .making(M::Plugin)
        .body(TarBody)
        .query(plugin::CREATE_QUERY),
    // networks
    row(Get, "/networks", E::NetworkList, C::Network, Values)
        .query(&[q("filters").json(FILTERS)])
        .answers(network::LIST_ANSWER),
    row(Get, "/networks/", E::NetworkListSlash, C::Network, Values)
        .query(&[q("filters").json(FILTERS)])
        .answers(network::LIST_ANSWER),
    row(Get, "/networks/{id:.+}", E::NetworkInspect, C::Network, Values)
        .of(NETWORK)
        .query(network::INSPECT_QUERY)
        .answers(network::ANSWER),
    row(Post, "/networks/create", E::NetworkCreate, C::Network, Values)
        .making(M::Network)
        .body(Json(network::CREATE))
        .answers(network::CREATED),
    row(Post, "/networks/{id:.*}/connect", E::NetworkConnect, C::Network, Nothing)
        .making(M::Endpoint)
        .of(NETWORK)
        .body(Json(network::CONNECT)),
    row(Post, "/networks/{id:.*}/disconnect", E::NetworkDisconnect, C::Network, Nothing)
        .making(M::Nothing)
        .of(NETWORK)
        .body(Json(network::DISCONNECT))
        .dropping_unknown(),
    row(Post, "/networks/prune", E::NetworkPrune, C::Network, Values)
        .making(M::Nothing)
        .query(&[q("filters").json(FILTERS)])
        .since(25)
        .answers(network::PRUNED),
    row(Delete, "/networks/{id:.*}", E::NetworkDelete, C::Network, Nothing).of(NETWORK),
    // debug pages
    row(Get, "/debug/vars", E::DebugVars, C::Debug, Values),
    row(Get, "/debug/pprof/", E::DebugPprofIndex, C::Debug, Text),
    row(Get, "/debug/pprof/cmdline", E::DebugPprofCmdline, C::Debug, Text),
    row(Get, "/debug/pprof/profile", E::DebugPprofProfile, C::Debug, RawStream)
        .query(system::PPROF_QUERY),
    row(Get, "/debug/pprof/symbol", E::DebugPprofSymbol, C::Debug, Text),
    row(Get, "/debug/pprof/trace", E::DebugPprofTrace, C::Debug, RawStream)
        .query(system::PPROF_QUERY),
    row(Get, "/debug/pprof/{name}", E::DebugPprofLookup, C::Debug, RawStream)
        .query(system::PPROF_QUERY),
];

/// All that a client may ask for: the routes, and the methods of gRPC.
pub fn all() -> impl Iterator<Item = &'static Row> {
    TABLE.iter().chain(buildkit::METHODS)
}

/// A route that may change something does not compile without a word of what it makes.
const _: () = {
    let mut rows = TABLE_ROWS;
    while let [row, rest @ ..] = rows {
        assert!(row.makes.is_some(), "`.making(…)` is missing");
        rows = rest;
    }
};

#[cfg(test)]
mod tests;
