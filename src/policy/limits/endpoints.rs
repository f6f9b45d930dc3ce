//! What each endpoint makes, as far as limits care.
//!
//! Read by `limits` for every call. What must stay true: no wildcard: an endpoint that is new in the
//! table does not compile until it stands here.

use crate::api::Endpoint as E;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Makes {
    Nothing,
    Container,
    /// Other limits for a container that there is.
    Update,
    Exec,
    /// Containers, one for each `RUN`.
    Build,
    Volume,
    Network,
    /// Processes, of a container that there is.
    Running,
    /// A container's place in another network.
    Endpoint,
    /// Containers that no limit reaches.
    Service,
}

pub(super) fn makes(endpoint: E) -> Makes {
    match endpoint {
        E::ContainerCreate => Makes::Container,
        E::ContainerUpdate => Makes::Update,
        E::ContainerExec => Makes::Exec,
        E::ImageBuild => Makes::Build,
        E::VolumeCreate => Makes::Volume,
        E::NetworkCreate => Makes::Network,
        E::NetworkConnect => Makes::Endpoint,
        E::ServiceCreate | E::ServiceUpdate => Makes::Service,
        E::ContainerStart | E::ContainerRestart => Makes::Running,
        E::PluginList
        | E::PluginInspect
        | E::GetPluginPrivileges
        | E::PluginDelete
        | E::PluginEnable
        | E::PluginDisable
        | E::PluginPull
        | E::PluginPush
        | E::PluginUpgrade
        | E::PluginSet
        | E::PluginCreate
        | E::SwarmInit
        | E::SwarmJoin
        | E::SwarmLeave
        | E::SwarmInspect
        | E::SwarmUnlockkey
        | E::SwarmUpdate
        | E::SwarmUnlock
        | E::ServiceList
        | E::ServiceInspect
        | E::ServiceDelete
        | E::ServiceLogs
        | E::NodeList
        | E::NodeInspect
        | E::NodeDelete
        | E::NodeUpdate
        | E::TaskList
        | E::TaskInspect
        | E::TaskLogs
        | E::SecretList
        | E::SecretCreate
        | E::SecretDelete
        | E::SecretInspect
        | E::SecretUpdate
        | E::ConfigList
        | E::ConfigCreate
        | E::ConfigDelete
        | E::ConfigInspect
        | E::ConfigUpdate
        | E::VolumeUpdate
        | E::Session
        | E::Grpc
        | E::CheckpointList
        | E::CheckpointCreate
        | E::CheckpointDelete
        | E::DebugVars
        | E::DebugPprofIndex
        | E::DebugPprofCmdline
        | E::DebugPprofProfile
        | E::DebugPprofSymbol
        | E::DebugPprofTrace
        | E::DebugPprofLookup
        | E::SystemOptions
        | E::SystemPing
        | E::SystemPingHead
        | E::SystemInfo
        | E::SystemVersion
        | E::SystemEvents
        | E::SystemDataUsage
        | E::SystemAuth
        | E::ContainerArchiveInfo
        | E::ContainerList
        | E::ContainerExport
        | E::ContainerChanges
        | E::ContainerInspect
        | E::ContainerTop
        | E::ContainerLogs
        | E::ContainerStats
        | E::ContainerAttachWebsocket
        | E::ContainerArchive
        | E::ContainerKill
        | E::ContainerPause
        | E::ContainerUnpause
        | E::ContainerStop
        | E::ContainerWait
        | E::ContainerResize
        | E::ContainerAttach
        | E::ContainerCopy
        | E::ContainerRename
        | E::ContainerPrune
        | E::PutContainerArchive
        | E::ContainerDelete
        | E::ImageCommit
        | E::ExecInspect
        | E::ExecStart
        | E::ExecResize
        | E::ImageList
        | E::ImageGetAll
        | E::ImageGet
        | E::ImageHistory
        | E::ImageInspect
        | E::ImageAttestations
        | E::ImageLoad
        | E::ImageCreate
        | E::ImagePush
        | E::ImageTag
        | E::ImagePrune
        | E::ImageDelete
        | E::ImageSearch
        | E::DistributionInspect
        | E::BuildPrune
        | E::BuildCancel
        | E::NetworkList
        | E::NetworkListSlash
        | E::NetworkInspect
        | E::NetworkDisconnect
        | E::NetworkPrune
        | E::NetworkDelete
        | E::VolumeList
        | E::VolumeInspect
        | E::VolumePrune
        | E::VolumeDelete => Makes::Nothing,
    }
}
