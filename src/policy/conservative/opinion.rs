//! What `conservative` thinks of each endpoint.
//!
//! Read by `conservative` for every call. What must stay true: no wildcard: an endpoint that is new in
//! the table does not compile until it stands here.

use super::rules::{self, QueryRule, Rule};
use crate::api::Endpoint as E;

#[derive(Debug)]
pub(super) enum Opinion {
    /// Whatever it says.
    Allow,
    Refuse {
        rule: &'static str,
        why: &'static str,
    },
    /// Its query and its body are looked at.
    Judge {
        query: &'static [QueryRule],
        body: &'static [Rule],
    },
}

pub(super) fn of(endpoint: E) -> Opinion {
    match endpoint {
        E::ContainerCreate => Opinion::Judge { query: &[], body: rules::CREATE },
        E::ContainerExec => Opinion::Judge { query: &[], body: rules::EXEC },
        E::ContainerStart => Opinion::Judge { query: rules::START, body: &[] },
        E::VolumeCreate => Opinion::Judge { query: &[], body: rules::VOLUME },
        E::NetworkCreate => Opinion::Judge { query: &[], body: rules::NETWORK },
        E::ImageBuild => Opinion::Judge { query: rules::BUILD, body: &[] },
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
        | E::PluginCreate => {
            refuse("class.plugin", "plugins run as root on the host and are not allowed")
        }
        E::SwarmInit
        | E::SwarmJoin
        | E::SwarmLeave
        | E::SwarmInspect
        | E::SwarmUnlockkey
        | E::SwarmUpdate
        | E::SwarmUnlock
        | E::ServiceList
        | E::ServiceInspect
        | E::ServiceCreate
        | E::ServiceUpdate
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
        | E::VolumeUpdate => refuse("class.swarm", "swarm administration is not allowed"),
        E::Session | E::Grpc => refuse("class.buildkit", "BuildKit's own protocol is not allowed"),
        E::CheckpointList | E::CheckpointCreate | E::CheckpointDelete => {
            refuse("class.checkpoint", "checkpoints write to paths of the host and are not allowed")
        }
        E::DebugVars
        | E::DebugPprofIndex
        | E::DebugPprofCmdline
        | E::DebugPprofProfile
        | E::DebugPprofSymbol
        | E::DebugPprofTrace
        | E::DebugPprofLookup => {
            refuse("class.debug", "the engine's debug endpoints are not allowed")
        }
        E::SystemOptions
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
        | E::ContainerRestart
        | E::ContainerStop
        | E::ContainerWait
        | E::ContainerResize
        | E::ContainerAttach
        | E::ContainerCopy
        | E::ContainerRename
        | E::ContainerUpdate
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
        | E::NetworkConnect
        | E::NetworkDisconnect
        | E::NetworkPrune
        | E::NetworkDelete
        | E::VolumeList
        | E::VolumeInspect
        | E::VolumePrune
        | E::VolumeDelete => Opinion::Allow,
    }
}

const fn refuse(rule: &'static str, why: &'static str) -> Opinion {
    Opinion::Refuse { rule, why }
}
