//! The names of all operations: routes by their operation ids in moby's OpenAPI files, and methods of gRPC.
//!
//! `api::table` and `api::buildkit` have a row for each; rules, logs and metrics call them so. What must stay true: a name
//! is never given to another operation.

macro_rules! endpoints {
    ($($(#[$meta:meta])* $name:ident),* $(,)?) => {
        /// One route of the Engine API, by its operation id in moby's OpenAPI files.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Endpoint {
            $($(#[$meta])* $name,)*
        }

        impl Endpoint {
            pub const ALL: &[Endpoint] = &[$(Endpoint::$name,)*];

            /// The name that configuration, logs and metrics use.
            pub const fn id(self) -> &'static str {
                match self {
                    $(Endpoint::$name => stringify!($name),)*
                }
            }
        }
    };
}

endpoints! {
    ContainerList,
    ContainerCreate,
    ContainerInspect,
    ContainerTop,
    ContainerLogs,
    ContainerChanges,
    ContainerExport,
    ContainerStats,
    ContainerResize,
    ContainerStart,
    ContainerStop,
    ContainerRestart,
    ContainerKill,
    ContainerUpdate,
    ContainerRename,
    ContainerPause,
    ContainerUnpause,
    ContainerAttach,
    ContainerAttachWebsocket,
    ContainerWait,
    ContainerDelete,
    ContainerArchiveInfo,
    ContainerArchive,
    PutContainerArchive,
    ContainerPrune,
    ContainerExec,
    ExecStart,
    ExecResize,
    ExecInspect,
    ImageList,
    ImageBuild,
    BuildPrune,
    ImageCreate,
    ImageInspect,
    ImageAttestations,
    ImageHistory,
    ImagePush,
    ImageTag,
    ImageDelete,
    ImageSearch,
    ImagePrune,
    ImageCommit,
    ImageGet,
    ImageGetAll,
    ImageLoad,
    DistributionInspect,
    Session,
    SystemAuth,
    SystemInfo,
    SystemVersion,
    SystemPing,
    SystemPingHead,
    SystemEvents,
    SystemDataUsage,
    VolumeList,
    VolumeCreate,
    VolumeInspect,
    VolumeUpdate,
    VolumeDelete,
    VolumePrune,
    NetworkList,
    NetworkInspect,
    NetworkDelete,
    NetworkCreate,
    NetworkConnect,
    NetworkDisconnect,
    NetworkPrune,
    PluginList,
    GetPluginPrivileges,
    PluginPull,
    PluginInspect,
    PluginDelete,
    PluginEnable,
    PluginDisable,
    PluginUpgrade,
    PluginCreate,
    PluginPush,
    PluginSet,
    NodeList,
    NodeInspect,
    NodeDelete,
    NodeUpdate,
    SwarmInspect,
    SwarmInit,
    SwarmJoin,
    SwarmLeave,
    SwarmUpdate,
    SwarmUnlockkey,
    SwarmUnlock,
    ServiceList,
    ServiceCreate,
    ServiceInspect,
    ServiceDelete,
    ServiceUpdate,
    ServiceLogs,
    TaskList,
    TaskInspect,
    TaskLogs,
    SecretList,
    SecretCreate,
    SecretInspect,
    SecretDelete,
    SecretUpdate,
    ConfigList,
    ConfigCreate,
    ConfigInspect,
    ConfigDelete,
    ConfigUpdate,

    // Routes without an operation id, because no specification has them; the source is moby's
    // router of the same name (`api/server/router/*`, from 29 on `daemon/server/router/*`).
    /// checkpoint router, experimental engines only
    CheckpointList,
    /// checkpoint router
    CheckpointCreate,
    /// checkpoint router
    CheckpointDelete,
    /// container router up to engine 25; an error since API 1.24
    ContainerCopy,
    /// build router
    BuildCancel,
    /// grpc router
    Grpc,
    /// network router: `/networks/`, the twin of `/networks`
    NetworkListSlash,
    /// system router: `OPTIONS` of any path
    SystemOptions,
    /// debug router, engines in debug mode only
    DebugVars,
    /// debug router
    DebugPprofIndex,
    /// debug router
    DebugPprofCmdline,
    /// debug router
    DebugPprofProfile,
    /// debug router
    DebugPprofSymbol,
    /// debug router
    DebugPprofTrace,
    /// debug router: any other profile by its name
    DebugPprofLookup,

    // Methods of gRPC (`api::buildkit`), by their own names where these say whose they are.
    Solve,
    SolveStatus,
    ControlSession,
    ListWorkers,
    BuilderInfo,
    DiskUsage,
    Prune,
    ListenBuildHistory,
    UpdateBuildHistory,
    BridgePing,
    BridgeInputs,
    BridgeSolve,
    BridgeReturn,
    BridgeEvaluate,
    BridgeReadFile,
    BridgeReadDir,
    BridgeStatFile,
    BridgeWarn,
    ResolveImageConfig,
    ResolveSourceMeta,
    NewContainer,
    ReleaseContainer,
    ExecProcess,
    ContentInfo,
    ContentList,
    ContentRead,
    HealthCheck,
    TraceExport,
}
