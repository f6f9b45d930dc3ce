//! Networks: their query parameters and JSON bodies.
//!
//! `api::table` puts these into its rows; `api::container` borrows the endpoint shape. What must
//! stay true: the endpoint's read-only fields are known fields, since clients copy an inspect
//! answer back into a create or connect body, and `NetworkID` there may contradict the map's key.

use super::answer::{Form, Marks, id, name};
use super::endpoint::{Param, Resource, q};
use super::shape::{Kind, LABELS, Object, STRINGS, f};

/// The engine reads these two from the URL alone, never from a form body.
pub const INSPECT_QUERY: &[Param] = &[q("verbose").since(28), q("scope").since(31)];

pub const CREATE: &Object = &[
    f("Name", Kind::Str).names(Resource::Network),
    // engines from 25 on always check, but testcontainers-node and others still ask for it
    f("CheckDuplicate", Kind::Bool),
    f("Driver", Kind::Str).means("bridge"),
    // this, ConfigOnly and ConfigFrom: in moby since 17.06 (1.30), in the specification since 1.41
    f("Scope", Kind::Str).since(30),
    // the engine clears it below 1.48
    f("EnableIPv4", Kind::Bool).since(47),
    f("EnableIPv6", Kind::Bool),
    f("IPAM", Kind::Object(IPAM)),
    f("Internal", Kind::Bool),
    f("Attachable", Kind::Bool).since(27),
    f("Ingress", Kind::Bool).since(29),
    f("ConfigOnly", Kind::Bool).since(30),
    f("ConfigFrom", Kind::Object(CONFIG_FROM)).since(30),
    f("Options", LABELS),
    f("Labels", LABELS),
    f("abortSignal", Kind::Any).ignored(),
];

pub const CONNECT: &Object = &[
    f("Container", Kind::Str).names(Resource::Container),
    f("EndpointConfig", Kind::Object(ENDPOINT)),
    f("abortSignal", Kind::Any).ignored(),
];

pub const DISCONNECT: &Object = &[
    f("Container", Kind::Str).names(Resource::Container),
    f("Force", Kind::Bool),
    f("abortSignal", Kind::Any).ignored(),
];

/// A container's place in one network (moby's `network.EndpointSettings`).
pub const ENDPOINT: &Object = &[
    f("IPAMConfig", Kind::Object(ENDPOINT_IPAM)),
    f("Links", STRINGS).names(Resource::Container),
    f("Aliases", STRINGS),
    f("MacAddress", Kind::Str),
    f("DriverOpts", LABELS).since(32),
    f("GwPriority", Kind::Int).since(48),
    f("NetworkID", Kind::Str).names(Resource::Network),
    // what follows is for the engine to fill in
    f("EndpointID", Kind::Str),
    f("Gateway", Kind::Str),
    f("IPAddress", Kind::Str),
    f("IPPrefixLen", Kind::Int),
    f("IPv6Gateway", Kind::Str),
    f("GlobalIPv6Address", Kind::Str),
    f("GlobalIPv6PrefixLen", Kind::Int),
    f("DNSNames", STRINGS).since(44),
];

/// Network name or id -> endpoint.
pub const ENDPOINT_MAP: Kind = Kind::Map(&Kind::Object(ENDPOINT));

const ENDPOINT_IPAM: &Object =
    &[f("IPv4Address", Kind::Str), f("IPv6Address", Kind::Str), f("LinkLocalIPs", STRINGS)];

const IPAM: &Object = &[
    f("Driver", Kind::Str),
    f("Options", LABELS),
    f("Config", Kind::List(&Kind::Object(IPAM_POOL))),
];

const IPAM_POOL: &Object = &[
    f("Subnet", Kind::Str),
    f("IPRange", Kind::Str),
    f("Gateway", Kind::Str),
    f("AuxiliaryAddresses", LABELS),
];

const CONFIG_FROM: &Object = &[f("Network", Kind::Str).names(Resource::Network)];

/// A network as `GET /networks/{id}` shows it.
pub const ANSWER: Marks = Marks::Fields(&[
    ("Id", id(Resource::Network)),
    ("Name", name(Resource::Network)),
    ("ConfigFrom", Marks::Fields(&[("Network", name(Resource::Network))])),
    (
        "Containers",
        Marks::All(&[
            // an endpoint without a container has `ep-` and its own id as its key (libnetwork)
            Marks::Keys(Resource::Container, Form::Id),
            Marks::Values(&Marks::Fields(&[("Name", name(Resource::Container))])),
        ]),
    ),
    (
        "Services",
        Marks::All(&[
            Marks::Keys(Resource::Service, Form::Name),
            Marks::Values(&Marks::Fields(&[("Tasks", Marks::Each(&TASK))])),
        ]),
    ),
]);

const TASK: Marks = Marks::Fields(&[("Name", name(Resource::Task))]);

pub const LIST_ANSWER: Marks = Marks::Each(&ANSWER);

pub const CREATED: Marks = Marks::Fields(&[("Id", id(Resource::Network))]);

/// Names, not ids (daemon/prune.go).
pub const PRUNED: Marks =
    Marks::Fields(&[("NetworksDeleted", Marks::Each(&name(Resource::Network)))]);

/// `NetworkSettings.Networks` of a container.
pub const ENDPOINT_ANSWERS: Marks = Marks::All(&[
    // what the client wrote when it made the container: the id too, until it is started
    Marks::Keys(Resource::Network, Form::NameOrId),
    Marks::Values(&Marks::Fields(&[
        ("NetworkID", id(Resource::Network)),
        ("Links", Marks::Each(&Marks::Text(Resource::Container, Form::BeforeColon))),
        ("Aliases", Marks::Each(&Marks::Text(Resource::Container, Form::Alias))),
        ("DNSNames", Marks::Each(&Marks::Text(Resource::Container, Form::Alias))),
    ])),
]);
