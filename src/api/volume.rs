//! Volumes: their query parameters and JSON bodies.
//!
//! `api::table` puts these into its rows. What must stay true: `DriverOpts` is the user's own map;
//! for the driver `local` it can mount any path of the host.

use super::answer::{Form, Marks, id, name};
use super::endpoint::{Param, Resource, q};
use super::shape::{Kind, LABELS, Object, STRINGS, f};

/// The engine reads it from the URL alone, never from a form body.
pub const UPDATE_QUERY: &[Param] = &[q("version")];

pub const CREATE: &Object = &[
    f("Name", Kind::Str).names(Resource::Volume),
    f("Driver", Kind::Str).means("local"),
    f("DriverOpts", LABELS),
    f("Labels", LABELS),
    f("ClusterVolumeSpec", Kind::Object(CLUSTER_SPEC)).since(42),
    f("abortSignal", Kind::Any).ignored(),
];

pub const UPDATE: &Object = &[f("Spec", Kind::Object(CLUSTER_SPEC))];

/// A CSI volume of a swarm. The specification nests all of it below `AccessMode`; moby's Go type,
/// which decides, does not.
pub const CLUSTER_SPEC: &Object = &[
    f("Group", Kind::Str),
    f("AccessMode", Kind::Object(ACCESS_MODE)),
    f("AccessibilityRequirements", Kind::Object(TOPOLOGY_REQUIREMENT)),
    f("CapacityRange", Kind::Object(CAPACITY_RANGE)),
    f("Secrets", Kind::List(&Kind::Object(CLUSTER_SECRET))),
    f("Availability", Kind::Str),
];

const ACCESS_MODE: &Object = &[
    f("Scope", Kind::Str),
    f("Sharing", Kind::Str),
    f("MountVolume", Kind::Object(MOUNT_VOLUME)),
    f("BlockVolume", Kind::Object(&[])),
];

const MOUNT_VOLUME: &Object = &[f("FsType", Kind::Str), f("MountFlags", STRINGS)];

const TOPOLOGY_REQUIREMENT: &Object =
    &[f("Requisite", Kind::List(&TOPOLOGY)), f("Preferred", Kind::List(&TOPOLOGY))];

const TOPOLOGY: Kind = Kind::Object(&[f("Segments", LABELS)]);

const CAPACITY_RANGE: &Object = &[f("RequiredBytes", Kind::Int), f("LimitBytes", Kind::Int)];

const CLUSTER_SECRET: &Object =
    &[f("Key", Kind::Str), f("Secret", Kind::Str).names(Resource::Secret)];

/// A volume as `GET /volumes/{name}` shows it.
pub const ANSWER: Marks = Marks::Fields(&[
    ("Name", name(Resource::Volume)),
    ("Mountpoint", Marks::Text(Resource::Volume, Form::DataPath)),
    ("ClusterVolume", CLUSTER_ANSWER),
]);

const CLUSTER_ANSWER: Marks = Marks::Fields(&[
    ("ID", id(Resource::Volume)),
    (
        "Spec",
        Marks::Fields(&[(
            "Secrets",
            Marks::Each(&Marks::Fields(&[(
                "Secret",
                Marks::Text(Resource::Secret, Form::NameOrId),
            )])),
        )]),
    ),
    ("PublishStatus", Marks::Each(&Marks::Fields(&[("NodeID", id(Resource::Node))]))),
]);

pub const LIST_ANSWER: Marks = Marks::Fields(&[("Volumes", Marks::Each(&ANSWER))]);

pub const PRUNED: Marks =
    Marks::Fields(&[("VolumesDeleted", Marks::Each(&name(Resource::Volume)))]);
