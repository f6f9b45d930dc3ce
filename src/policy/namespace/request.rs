//! A call on its way in: whatever it names is this namespace's, or not there.
//!
//! `Namespaces` calls it. What must stay true: each operation of the table stands in `edits`, and what is not understood
//! there is refused; nothing goes on by a name or an id that was not looked at here.

use serde_json::json;

use super::look::{self, Found, Looked, str_of};
use super::names::{LABEL, Tenant};
use super::{
    Namespaces, build, create, guests, images, lists, login, network, prune, quota, volumes,
};
use crate::api::doc::Value;
use crate::api::endpoint::Resource;
use crate::api::grammar::reference::{is_id, without_slash};
use crate::api::{Endpoint, Typed};
use crate::policy::{Context, Edit, Question, Reason, Reply, Verdict, edit};

const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";

/// A call, and whose it is.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub with: &'a Namespaces,
    pub tenant: &'a Tenant,
    pub call: &'a Typed,
    pub cx: &'a Context<'a>,
}

impl Request<'_> {
    pub(super) fn judge(&self) -> Verdict {
        self.edits().map_or_else(|verdict| verdict, Verdict::Pass)
    }

    fn edits(&self) -> Looked<Vec<Edit>> {
        use Endpoint as E;
        quota::held(self)?;
        match self.call.endpoint() {
            E::SystemInfo
            | E::SystemVersion
            | E::SystemPing
            | E::SystemPingHead
            | E::SystemOptions
            | E::ImageSearch
            | E::SystemDataUsage => Ok(Vec::new()),
            // Sessions and builds are their caller's (`policy::builds`).
            E::Session
            | E::Grpc
            | E::SolveStatus
            | E::ControlSession
            | E::ListWorkers
            | E::BuilderInfo
            | E::ListenBuildHistory
            | E::UpdateBuildHistory
            | E::BridgePing
            | E::BridgeInputs
            | E::BridgeReturn
            | E::BridgeEvaluate
            | E::BridgeReadFile
            | E::BridgeReadDir
            | E::BridgeStatFile
            | E::BridgeWarn
            | E::ResolveImageConfig
            | E::ResolveSourceMeta
            | E::ReleaseContainer
            | E::ExecProcess
            | E::HealthCheck
            | E::TraceExport
            // By digest, of what a build of the caller's own has left (`policy::builds`).
            | E::ContentInfo
            | E::ContentRead => Ok(Vec::new()),
            E::SystemAuth => login::judge(self),
            E::DistributionInspect => images::distribution(self),
            E::ImagePush => images::push(self),
            E::ImagePrune => images::prune(self),
            E::ImageBuild => build::classic::query(self),
            E::BuildCancel => build::classic::cancel(self),
            E::Solve => build::solve(self),
            E::NewContainer => build::new_container(self),
            E::BridgeSolve => build::bridge(self),
            E::BuildPrune | E::DiskUsage | E::Prune => Err(build::cache(self)),
            E::SystemEvents => lists::events(self),
            E::ContainerList => lists::containers(self),
            E::NetworkList | E::NetworkListSlash => {
                network::bridge(self)?;
                lists::named(self)
            }
            E::VolumeList => lists::volumes(self),
            E::ImageList => lists::images(self),
            E::ContainerInspect
            | E::ContainerTop
            | E::ContainerLogs
            | E::ContainerChanges
            | E::ContainerExport
            | E::ContainerStats
            | E::ContainerResize
            | E::ContainerStop
            | E::ContainerRestart
            | E::ContainerKill
            | E::ContainerUpdate
            | E::ContainerPause
            | E::ContainerUnpause
            | E::ContainerWait
            | E::ContainerArchiveInfo
            | E::ContainerArchive
            | E::PutContainerArchive
            | E::ContainerExec
            | E::ContainerCopy => self.path(Request::container),
            E::ContainerStart => self.start(),
            E::ContainerAttach | E::ContainerAttachWebsocket => self.attach(),
            E::ContainerDelete => self.remove_container(),
            E::ContainerRename => self.rename(),
            E::ContainerCreate => create::container(self),
            E::ContainerPrune => prune::containers(self),
            E::ExecStart | E::ExecResize | E::ExecInspect => self.exec(),
            E::NetworkInspect => self.path(|request, name| network::named(request, name)),
            E::NetworkCreate => network::make(self),
            E::NetworkConnect | E::NetworkDisconnect => network::connect(self),
            E::NetworkDelete => network::delete(self),
            E::NetworkPrune => prune::networks(self),
            E::VolumeCreate => self.make_volume(),
            E::VolumeInspect | E::VolumeDelete => self.path(Request::known_volume),
            E::VolumePrune => prune::volumes(self),
            E::ImageInspect | E::ImageHistory => self.path(images::used),
            // Clients look there last for a name that they know nothing else of.
            E::PluginInspect => {
                let name = self.call.names().first().map(String::as_str).unwrap_or_default();
                Err(says(404, format!("plugin \"{name}\" not found")))
            }
            E::PluginList => Err(Verdict::Answer(Reply { status: 200, json: Some(json!([])) })),
            E::ImageDelete => images::delete(self),
            E::ImageTag => images::tag(self),
            E::ImageCommit => images::commit(self),
            E::ImageCreate => images::create(self),
            E::ImageGet => self.path(images::used),
            E::ImageGetAll => images::get_all(self),
            // What it names is looked at on its way (`archive`).
            E::ImageLoad => Ok(Vec::new()),
            E::ImageAttestations
            | E::ContentList
            | E::VolumeUpdate
            | E::GetPluginPrivileges
            | E::PluginPull
            | E::PluginDelete
            | E::PluginEnable
            | E::PluginDisable
            | E::PluginUpgrade
            | E::PluginCreate
            | E::PluginPush
            | E::PluginSet
            | E::SwarmInit
            | E::SwarmJoin
            | E::CheckpointList
            | E::CheckpointCreate
            | E::CheckpointDelete
            | E::DebugVars
            | E::DebugPprofIndex
            | E::DebugPprofCmdline
            | E::DebugPprofProfile
            | E::DebugPprofSymbol
            | E::DebugPprofTrace
            | E::DebugPprofLookup => {
                let path = self.call.row().path;
                let why = format!("`{}` is not for namespaces", self.call.endpoint().id());
                Err(Verdict::deny(Reason::new("namespace.operation", path, why, "")))
            }
            // Of the swarm that the engine may be in a namespace has nothing (moby daemon/cluster/errors.go).
            E::SwarmLeave => Err(says(503, "This node is not part of a swarm".to_owned())),
            E::NodeList
            | E::NodeInspect
            | E::NodeDelete
            | E::NodeUpdate
            | E::SwarmInspect
            | E::SwarmUpdate
            | E::SwarmUnlockkey
            | E::SwarmUnlock
            | E::ServiceList
            | E::ServiceCreate
            | E::ServiceInspect
            | E::ServiceDelete
            | E::ServiceUpdate
            | E::ServiceLogs
            | E::TaskList
            | E::TaskInspect
            | E::TaskLogs
            | E::SecretList
            | E::SecretCreate
            | E::SecretInspect
            | E::SecretDelete
            | E::SecretUpdate
            | E::ConfigList
            | E::ConfigCreate
            | E::ConfigInspect
            | E::ConfigDelete
            | E::ConfigUpdate => Err(says(503, NO_SWARM.to_owned())),
        }
    }

    /// What the path names, by what the engine is to be asked for.
    fn path(&self, sent: impl Fn(&Self, &str) -> Looked<String>) -> Looked<Vec<Edit>> {
        let name = self.call.names().first().map(String::as_str).unwrap_or_default();
        Ok(vec![Edit::Name(0, sent(self, name)?)])
    }

    /// What the engine is to be asked for in a container's place.
    pub(super) fn container(&self, text: &str) -> Looked<String> {
        let name = without_slash(text);
        match look::directly(self.tenant, Resource::Container, name, self.cx)? {
            // It may be a guest's name, which is to be looked for where the namespace has none by it.
            Some(sent) if !self.with.has_guests() => Ok(sent),
            _ => self.container_id(text),
        }
    }

    /// The id of a container; where it is not there, the name that it would have: the engine says so in its own words. For
    /// what is kept, and would lead to whatever has the name later.
    pub(super) fn container_id(&self, text: &str) -> Looked<String> {
        match look::container(self.tenant, text, self.cx)? {
            Found::Own(json) => Ok(str_of(json, "Id").to_owned()),
            Found::Absent => match guests::container(&self.with.members, text, self.cx)? {
                Found::Own(json) => guests::id_for(self, json),
                Found::Absent => Ok(self.tenant.sent(without_slash(text))),
                Found::Several => Err(self.several(text)),
            },
            Found::Several => Err(self.several(text)),
        }
    }

    /// What the engine is to be asked for in a network's place.
    pub(super) fn network(&self, text: &str) -> Looked<String> {
        match look::directly(self.tenant, Resource::Network, text, self.cx)? {
            Some(sent) if !self.with.has_guests() => Ok(sent),
            _ => self.network_id(text),
        }
    }

    /// As `container_id`.
    pub(super) fn network_id(&self, text: &str) -> Looked<String> {
        match guests::any_network(self, text)? {
            Found::Own(json) => Ok(str_of(json, "Id").to_owned()),
            Found::Absent => Ok(self.tenant.sent(text)),
            Found::Several => Err(self.several(text)),
        }
    }

    /// The name of a volume that is looked at; the engine says whether it is there.
    fn known_volume(&self, name: &str) -> Looked<String> {
        if !is_plain(name) {
            return Err(says(404, format!("get {name}: no such volume")));
        }
        self.volume_sent(name)
    }

    /// The name of a volume that is mounted or made, whether it is there or not.
    pub(super) fn volume(&self, name: &str) -> Looked<String> {
        self.volume_name(name)?;
        self.volume_sent(name)
    }

    /// The engine's own name for a volume: of those that it has named by itself it is the same.
    pub(super) fn volume_sent(&self, name: &str) -> Looked<String> {
        let known = match is_id(name) {
            true => look::volume(self.tenant, name, self.cx)?,
            false => None,
        };
        Ok(known.unwrap_or_else(|| self.tenant.sent(name)))
    }

    /// A name that a container may have, as the engine would say it of the visible one: behind a prefix it takes more.
    pub(super) fn container_name<'n>(&self, name: &'n str) -> Looked<&'n str> {
        let bare = without_slash(name);
        if is_plain(bare) {
            return Ok(bare);
        }
        let why =
            format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
        Err(says(400, why))
    }

    fn volume_name(&self, name: &str) -> Looked<()> {
        if is_plain(name) {
            return Ok(());
        }
        if name.len() == 1 {
            let why = format!(
                "create {name}: volume name is too short, names should be at least two alphanumeric characters"
            );
            return Err(says(400, why));
        }
        let why = format!(
            "create {name}: \"{name}\" includes invalid characters for a local volume name, only \
             \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
        );
        Err(says(400, why))
    }

    /// Marks what is made with its namespace, for people.
    pub(super) fn label(&self, root: &mut Value) {
        if let Some(label) = root.at_mut(&["Labels", LABEL]) {
            *label = Value::String(self.tenant.name.clone());
        }
    }

    pub(super) fn several(&self, text: &str) -> Verdict {
        says(500, format!("Multiple IDs found with provided prefix: {text}"))
    }

    pub(super) fn refuse(&self, field: &'static str, what: &str) -> Verdict {
        let why = format!("must not be {what} in a namespace");
        Verdict::deny(Reason::new("namespace.foreign", field, why, ""))
    }

    /// The engine's word on one that is not there is no JSON, and so not translated.
    fn attach(&self) -> Looked<Vec<Edit>> {
        let name = self.call.names().first().map(String::as_str).unwrap_or_default();
        // By its id it is said as its user has written it.
        if is_id(name) && look::indexed(self.tenant, Resource::Container, name, self.cx)?.is_some()
        {
            return Ok(Vec::new());
        }
        match look::container(self.tenant, name, self.cx)? {
            Found::Absent => {
                self.container(name)?;
                Err(says(404, format!("No such container: {name}")))
            }
            Found::Own(_) | Found::Several => self.path(Request::container_id),
        }
    }

    /// A checkpoint is a folder of the host's, by its name or by its path.
    fn start(&self) -> Looked<Vec<Edit>> {
        let query = self.call.query();
        let is_said = |name| query.get(name).is_some_and(|text: &str| !text.is_empty());
        if is_said("checkpoint") || is_said("checkpoint-dir") {
            return Err(self.refuse("?checkpoint", "a checkpoint"));
        }
        self.path(Request::container)
    }

    fn remove_container(&self) -> Looked<Vec<Edit>> {
        if self
            .call
            .query()
            .get("link")
            .is_some_and(|link| !matches!(link, "" | "0" | "false" | "False" | "no" | "none"))
        {
            return Err(self.refuse("?link", "a link of the engine's default bridge"));
        }
        self.path(Request::container)
    }

    fn rename(&self) -> Looked<Vec<Edit>> {
        let name = self.call.query().get("name").unwrap_or_default();
        let mut edits = self.path(Request::container)?;
        if name.is_empty() {
            return Ok(edits);
        }
        let bare = without_slash(name);
        if !is_plain(bare) {
            let why = format!(
                "Error when allocating new name: Invalid container name (/{bare}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
            );
            return Err(says(400, why));
        }
        let sent = self.tenant.sent(bare);
        edits.push(Edit::Query("name".into(), Some(sent)));
        Ok(edits)
    }

    fn exec(&self) -> Looked<Vec<Edit>> {
        let id = self.call.names().first().map(String::as_str).unwrap_or_default();
        match look::exec(self.tenant, id, self.cx)? {
            Found::Own(_) => Ok(Vec::new()),
            Found::Absent | Found::Several => {
                Err(says(404, format!("No such exec instance: {id}")))
            }
        }
    }

    fn make_volume(&self) -> Looked<Vec<Edit>> {
        let root = self.call.doc().map(|doc| doc.root.clone()).unwrap_or(Value::Null);
        let is_swarms = root.get("ClusterVolumeSpec").is_some_and(|spec| !spec.is_zero());
        if is_swarms {
            return Err(self.refuse("ClusterVolumeSpec", "a swarm's volume"));
        }
        let mut changed = root.clone();
        let name = root.get("Name").and_then(Value::as_str).unwrap_or_default();
        let sent = match name {
            "" => {
                let fresh = match self.cx.facts.get(&Question::Fresh) {
                    None => return Err(Verdict::Ask(vec![Question::Fresh])),
                    Some(crate::policy::Fact::Fresh(text)) => text.repeat(2),
                    Some(_) => return Err(says(500, "no random name can be had".to_owned())),
                };
                if self.cx.engine.newest >= 42
                    && let Some(label) = changed.at_mut(&["Labels", ANONYMOUS])
                {
                    *label = Value::String(String::new());
                }
                self.tenant.sent(&fresh)
            }
            name => self.volume(name)?,
        };
        quota::volume(self, &sent)?;
        if let Some(place) = changed.at_mut(&["Name"]) {
            *place = Value::String(sent);
        }
        if let Some(labels) = changed.get_mut("Labels") {
            volumes::without_ours(labels);
        }
        self.label(&mut changed);
        Ok(edit::between(&root, changed))
    }

    /// All that this namespace has of a kind.
    pub(super) fn all(&self, resource: Resource) -> Looked<&[serde_json::Value]> {
        look::list(resource, json!({ "name": [self.tenant.pattern()] }), self.cx)
    }
}

/// What the engine puts on volumes that it has named by itself (`volume/service` of moby, since 23).
pub(super) const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// `[a-zA-Z0-9][a-zA-Z0-9_.-]+` (`names.RestrictedNamePattern` of moby).
pub(super) fn is_plain(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    name.len() > 1
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(is_plain)
}

/// In the engine's place, as it would say it.
pub(super) fn says(status: u16, message: String) -> Verdict {
    Verdict::Answer(Reply { status, json: Some(json!({ "message": message })) })
}
