//! Containers: where answers about them name containers and all else.
//!
//! `api::table` puts these into its rows, beside what `api::container` says of requests. What must
//! stay true: a place where an engine writes a name is here, whether the specification says so or
//! not (`table::tests::answers` has the list).

use super::answer::{Form, IMAGE, Marks, id, name};
use super::endpoint::Resource;
use super::network::ENDPOINT_ANSWERS;

/// A container in `GET /containers/json` and `GET /system/df`.
pub const SUMMARY: Marks = Marks::Fields(&[
    ("Id", id(Resource::Container)),
    // with `/other/alias` for each link of another container to it
    ("Names", Marks::Each(&Marks::Text(Resource::Container, Form::Slash))),
    // what the client wrote, or the id where this name means another image now
    ("Image", IMAGE),
    ("ImageID", id(Resource::Image)),
    ("HostConfig", Marks::Fields(&[("NetworkMode", NETWORK_MODE)])),
    ("NetworkSettings", NETWORK_SETTINGS),
    ("Mounts", MOUNTS),
]);

pub const LIST: Marks = Marks::Each(&SUMMARY);

pub const INSPECT: Marks = Marks::Fields(&[
    ("Id", id(Resource::Container)),
    ("Name", Marks::Text(Resource::Container, Form::Slash)),
    ("Image", id(Resource::Image)),
    ("ExecIDs", Marks::Each(&id(Resource::Exec))),
    ("Config", CONFIG),
    ("HostConfig", HOST_CONFIG),
    ("NetworkSettings", NETWORK_SETTINGS),
    ("Mounts", MOUNTS),
]);

pub const CREATED: Marks = Marks::Fields(&[("Id", id(Resource::Container))]);

pub const PRUNED: Marks =
    Marks::Fields(&[("ContainersDeleted", Marks::Each(&id(Resource::Container)))]);

/// `Name` has a slash before it, as in inspect answers.
pub const STATS: Marks = Marks::Fields(&[
    ("id", id(Resource::Container)),
    ("name", Marks::Text(Resource::Container, Form::Slash)),
]);

pub const CHECKPOINTS: Marks = Marks::Each(&Marks::Fields(&[("Name", name(Resource::Checkpoint))]));

const CONFIG: Marks = Marks::Fields(&[
    // the first digits of the id, where the client says nothing
    ("Hostname", Marks::Text(Resource::Container, Form::Alias)),
    ("Image", IMAGE),
]);

const HOST_CONFIG: Marks = Marks::Fields(&[
    ("Binds", Marks::Each(&Marks::Text(Resource::Volume, Form::Bind))),
    ("NetworkMode", NETWORK_MODE),
    ("IpcMode", CONTAINER_MODE),
    ("PidMode", CONTAINER_MODE),
    // docker 1.10 and later; no Linux engine sets it by itself
    ("Cgroup", CONTAINER_MODE),
    ("VolumesFrom", Marks::Each(&Marks::Text(Resource::Container, Form::BeforeColon))),
    ("Links", Marks::Each(&LINK)),
    ("Mounts", Marks::Each(&MOUNT)),
]);

const CONTAINER_MODE: Marks = Marks::Text(Resource::Container, Form::ContainerMode);

const NETWORK_MODE: Marks =
    Marks::All(&[Marks::Text(Resource::Network, Form::NetworkMode), CONTAINER_MODE]);

const LINK: Marks = Marks::All(&[
    Marks::Text(Resource::Container, Form::LinkTarget),
    Marks::Text(Resource::Container, Form::LinkOwner),
]);

const NETWORK_SETTINGS: Marks = Marks::Fields(&[("Networks", ENDPOINT_ANSWERS)]);

/// `HostConfig.Mounts` as the client wrote them, and the mounts of a service.
pub const MOUNT: Marks = Marks::When(
    "Type",
    &[
        ("volume", Marks::Fields(&[("Source", name(Resource::Volume))])),
        ("cluster", Marks::Fields(&[("Source", Marks::Text(Resource::Volume, Form::NameOrId))])),
        ("image", Marks::Fields(&[("Source", IMAGE)])),
    ],
);

/// `Mounts` as they are: the name is the reference that the client wrote (daemon/volumes.go).
const MOUNTS: Marks = Marks::Each(&Marks::When(
    "Type",
    &[
        (
            "volume",
            Marks::Fields(&[
                ("Name", name(Resource::Volume)),
                ("Source", Marks::Text(Resource::Volume, Form::DataPath)),
            ]),
        ),
        ("cluster", Marks::Fields(&[("Name", name(Resource::Volume))])),
        ("image", Marks::Fields(&[("Name", IMAGE)])),
    ],
));
