//! The engine itself: events, disk usage, registry login, debug pages.
//!
//! `api::table` puts these into its rows. What must stay true: `/auth` makes the daemon connect to
//! `serveraddress`, so it names a registry.

use super::answer::{Form, IMAGE, Marks, id, name};
use super::container_answer::LIST as CONTAINERS;
use super::endpoint::{Param, Resource, q};
use super::image_ops;
use super::shape::{FILTERS, Kind, Object, f};
use super::volume;

/// An event of a swarm's own.
macro_rules! of_swarm {
    ($resource:ident) => {
        Marks::Fields(&[(
            "Actor",
            Marks::Fields(&[
                ("ID", id(Resource::$resource)),
                ("Attributes", Marks::Fields(&[("name", name(Resource::$resource))])),
            ]),
        )])
    };
}

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

/// A node's own place in its swarm.
pub const INFO: Marks = Marks::Fields(&[(
    "Swarm",
    Marks::Fields(&[
        ("NodeID", id(Resource::Node)),
        ("RemoteManagers", Marks::Each(&Marks::Fields(&[("NodeID", id(Resource::Node))]))),
    ]),
)]);

/// Lists up to 1.51; from 1.52 on totals, and the same lists in `Items` for those who ask.
pub const DATA_USAGE: Marks = Marks::Fields(&[
    ("Images", image_ops::LIST_ANSWER),
    ("Containers", CONTAINERS),
    ("Volumes", Marks::Each(&volume::ANSWER)),
    ("ImageUsage", Marks::Fields(&[("Items", image_ops::LIST_ANSWER)])),
    ("ContainerUsage", Marks::Fields(&[("Items", CONTAINERS)])),
    ("VolumeUsage", Marks::Fields(&[("Items", Marks::Each(&volume::ANSWER))])),
]);

/// One event: who it is about is said by `Type`, and what else it names by its attributes.
pub const EVENT: Marks = Marks::When(
    "Type",
    &[
        ("container", CONTAINER_EVENT),
        ("image", IMAGE_EVENT),
        ("volume", VOLUME_EVENT),
        ("network", NETWORK_EVENT),
        ("plugin", PLUGIN_EVENT),
        ("node", NODE_EVENT),
        ("service", SERVICE_EVENT),
        ("secret", SECRET_EVENT),
        ("config", CONFIG_EVENT),
    ],
);

/// `id` and `from` are what `Actor` says, once more, for clients below 1.22; gone since 1.52.
const CONTAINER_EVENT: Marks = Marks::Fields(&[
    (
        "Actor",
        Marks::Fields(&[
            ("ID", id(Resource::Container)),
            (
                "Attributes",
                Marks::Fields(&[
                    ("name", name(Resource::Container)),
                    ("oldName", Marks::Text(Resource::Container, Form::Slash)),
                    ("image", IMAGE),
                    ("execID", id(Resource::Exec)),
                    // of a commit, what was made
                    ("imageID", id(Resource::Image)),
                    ("imageRef", IMAGE),
                ]),
            ),
        ]),
    ),
    ("id", id(Resource::Container)),
    ("from", IMAGE),
]);

/// The reference for a pull and a push, the id for all else.
const IMAGE_EVENT: Marks = Marks::Fields(&[
    ("Actor", Marks::Fields(&[("ID", IMAGE), ("Attributes", Marks::Fields(&[("name", IMAGE)]))])),
    ("id", IMAGE),
    ("from", IMAGE),
]);

const VOLUME_EVENT: Marks = Marks::Fields(&[(
    "Actor",
    Marks::Fields(&[
        // a cluster's volume has its id here
        ("ID", Marks::Text(Resource::Volume, Form::NameOrId)),
        (
            "Attributes",
            Marks::Fields(&[
                ("container", id(Resource::Container)),
                ("name", name(Resource::Volume)),
            ]),
        ),
    ]),
)]);

const NETWORK_EVENT: Marks = Marks::Fields(&[(
    "Actor",
    Marks::Fields(&[
        ("ID", id(Resource::Network)),
        (
            "Attributes",
            Marks::Fields(&[
                ("name", name(Resource::Network)),
                ("container", id(Resource::Container)),
            ]),
        ),
    ]),
)]);

const PLUGIN_EVENT: Marks = Marks::Fields(&[(
    "Actor",
    Marks::Fields(&[
        ("ID", id(Resource::Plugin)),
        ("Attributes", Marks::Fields(&[("name", Marks::Text(Resource::Plugin, Form::Image))])),
    ]),
)]);

const NODE_EVENT: Marks = of_swarm!(Node);
const SERVICE_EVENT: Marks = of_swarm!(Service);
const SECRET_EVENT: Marks = of_swarm!(Secret);
const CONFIG_EVENT: Marks = of_swarm!(Config);
