//! Swarm mode: where answers about services, tasks, nodes, secrets and configs name them.
//!
//! `api::table` puts these into its rows, beside what `api::swarm` says of requests. What must stay
//! true: what swarmkit stores is by id, and what a client wrote into a service may be a name.

use super::answer::{Form, IMAGE, Marks, id, name};
use super::container_answer::MOUNT;
use super::endpoint::Resource;

/// `POST /swarm/init` answers with a JSON text.
pub const INITIATED: Marks = id(Resource::Node);

pub const NODE: Marks = Marks::Fields(&[
    ("ID", id(Resource::Node)),
    ("Spec", Marks::Fields(&[("Name", name(Resource::Node))])),
    // a node is also found by its host's name (daemon/cluster/helpers.go)
    ("Description", Marks::Fields(&[("Hostname", name(Resource::Node))])),
]);

pub const NODES: Marks = Marks::Each(&NODE);

pub const SECRET: Marks = Marks::Fields(&[
    ("ID", id(Resource::Secret)),
    ("Spec", Marks::Fields(&[("Name", name(Resource::Secret))])),
]);

pub const SECRETS: Marks = Marks::Each(&SECRET);

/// The specification says `Id` of late; engines write `ID`, as moby's Go type has it.
pub const SECRET_CREATED: Marks =
    Marks::Fields(&[("ID", id(Resource::Secret)), ("Id", id(Resource::Secret))]);

pub const CONFIG: Marks = Marks::Fields(&[
    ("ID", id(Resource::Config)),
    ("Spec", Marks::Fields(&[("Name", name(Resource::Config))])),
]);

pub const CONFIGS: Marks = Marks::Each(&CONFIG);

pub const CONFIG_CREATED: Marks =
    Marks::Fields(&[("ID", id(Resource::Config)), ("Id", id(Resource::Config))]);

pub const SERVICE: Marks = Marks::Fields(&[
    ("ID", id(Resource::Service)),
    ("Spec", SERVICE_SPEC),
    ("PreviousSpec", SERVICE_SPEC),
    (
        "Endpoint",
        Marks::Fields(&[(
            "VirtualIPs",
            Marks::Each(&Marks::Fields(&[("NetworkID", id(Resource::Network))])),
        )]),
    ),
]);

pub const SERVICES: Marks = Marks::Each(&SERVICE);

pub const SERVICE_CREATED: Marks = Marks::Fields(&[("ID", id(Resource::Service))]);

const SERVICE_SPEC: Marks = Marks::Fields(&[
    ("Name", name(Resource::Service)),
    ("TaskTemplate", TASK_SPEC),
    // below 1.25 the networks stood here
    ("Networks", NETWORKS),
]);

const TASK_SPEC: Marks = Marks::Fields(&[
    ("ContainerSpec", CONTAINER_SPEC),
    ("PluginSpec", PLUGIN_SPEC),
    ("NetworkAttachmentSpec", Marks::Fields(&[("ContainerID", id(Resource::Container))])),
    ("Networks", NETWORKS),
]);

/// The engine makes a network's id of the name that the client wrote.
const NETWORKS: Marks = Marks::Each(&Marks::Fields(&[
    ("Target", Marks::Text(Resource::Network, Form::NameOrId)),
    ("Aliases", Marks::Each(&Marks::Text(Resource::Service, Form::Alias))),
]));

const PLUGIN_SPEC: Marks = Marks::Fields(&[
    ("Name", Marks::Text(Resource::Plugin, Form::Image)),
    ("Remote", Marks::Text(Resource::Plugin, Form::Image)),
]);

const CONTAINER_SPEC: Marks = Marks::Fields(&[
    ("Image", IMAGE),
    ("Mounts", Marks::Each(&MOUNT)),
    (
        "Secrets",
        Marks::Each(&Marks::Fields(&[
            ("SecretID", id(Resource::Secret)),
            ("SecretName", name(Resource::Secret)),
        ])),
    ),
    (
        "Configs",
        Marks::Each(&Marks::Fields(&[
            ("ConfigID", id(Resource::Config)),
            ("ConfigName", name(Resource::Config)),
        ])),
    ),
    (
        "Privileges",
        Marks::Fields(&[(
            "CredentialSpec",
            Marks::Fields(&[("Config", Marks::Text(Resource::Config, Form::NameOrId))]),
        )]),
    ),
]);

pub const TASK: Marks = Marks::Fields(&[
    ("ID", id(Resource::Task)),
    ("Name", name(Resource::Task)),
    ("ServiceID", id(Resource::Service)),
    ("NodeID", id(Resource::Node)),
    ("Spec", TASK_SPEC),
    (
        "Status",
        Marks::Fields(&[(
            "ContainerStatus",
            Marks::Fields(&[("ContainerID", id(Resource::Container))]),
        )]),
    ),
    ("NetworksAttachments", Marks::Each(&Marks::Fields(&[("Network", ATTACHED)]))),
    (
        "Volumes",
        Marks::Each(&Marks::Fields(&[
            ("ID", id(Resource::Volume)),
            ("Source", Marks::Text(Resource::Volume, Form::NameOrId)),
        ])),
    ),
]);

pub const TASKS: Marks = Marks::Each(&TASK);

/// A network as swarmkit has it (api/types/swarm/network.go), not as `GET /networks` shows it.
const ATTACHED: Marks = Marks::Fields(&[
    ("ID", id(Resource::Network)),
    (
        "Spec",
        Marks::Fields(&[
            ("Name", name(Resource::Network)),
            ("ConfigFrom", Marks::Fields(&[("Network", name(Resource::Network))])),
        ]),
    ),
]);
