//! Images: query parameters and headers.
//!
//! `api::table` puts these into its rows. What must stay true: parameters that the engine reads as
//! a list (`names`, `changes`, `platform`, `platforms`, `type`) are marked so, whatever the
//! specification says of them. An image name that is split over two parameters (`repo` and `tag`,
//! `fromImage` and `tag`) is marked on the first.

use super::answer::{Form, IMAGE, Marks, id};
use super::endpoint::{Header, Param, Resource, h, q};
use super::shape::FILTERS;

pub const LIST_QUERY: &[Param] = &[
    q("all"),
    q("filters").json(FILTERS),
    // a name pattern, below 1.41 only
    q("filter").until(40).names(Resource::Image),
    q("shared-size").since(42),
    q("manifests").since(47),
    q("identity").since(54),
    // documented, read by no engine from 20.10 on
    q("digests").ignored(),
    // docker-py
    q("only_ids").ignored(),
];

pub const CREATE_QUERY: &[Param] = &[
    q("fromImage").names(Resource::Image),
    q("fromSrc"),
    q("repo").names(Resource::Image),
    q("tag"),
    // documented since 1.39 and 1.40, read at every version
    q("message"),
    q("changes").many(),
    q("platform").since(32),
    // dockerode repeats the options of its caller in the query, and the credentials with them
    q("authconfig").ignored(),
    q("abortSignal").ignored(),
];

pub const INSPECT_QUERY: &[Param] = &[q("manifests").since(48), q("platform").since(49)];

pub const HISTORY_QUERY: &[Param] = &[q("platform").since(48)];

pub const ATTESTATIONS_QUERY: &[Param] = &[q("platform").many(), q("type").many(), q("statement")];

pub const PUSH_QUERY: &[Param] = &[q("tag"), q("platform").since(46), q("abortSignal").ignored()];

pub const TAG_QUERY: &[Param] = &[q("repo").names(Resource::Image), q("tag")];

pub const DELETE_QUERY: &[Param] = &[q("force"), q("noprune"), q("platforms").many().since(50)];

pub const SEARCH_QUERY: &[Param] =
    &[q("term").means("docker.io/library"), q("limit"), q("filters").json(FILTERS)];

pub const GET_QUERY: &[Param] = &[q("platform").many().since(48)];

pub const GET_ALL_QUERY: &[Param] =
    &[q("names").many().names(Resource::Image), q("platform").many().since(48)];

pub const LOAD_QUERY: &[Param] =
    &[q("quiet"), q("platform").many().since(48), q("abortSignal").ignored()];

/// Credentials for one registry, base64url JSON.
pub const AUTH_HEADERS: &[Header] = &[h("x-registry-auth").names(Resource::Registry)];

/// Where the engine also hands `X-Meta-*` on to the registry.
pub const REGISTRY_HEADERS: &[Header] =
    &[h("x-registry-auth").names(Resource::Registry), h("x-meta-*")];

const IMAGES: Marks = Marks::Each(&IMAGE);

/// An image in `GET /images/json` and `GET /system/df`.
pub const SUMMARY: Marks = Marks::Fields(&[
    ("Id", id(Resource::Image)),
    ("ParentId", id(Resource::Image)),
    ("RepoTags", IMAGES),
    ("RepoDigests", IMAGES),
    ("Manifests", MANIFESTS),
]);

pub const LIST_ANSWER: Marks = Marks::Each(&SUMMARY);

/// What the containerd image store has of an image, by platform.
const MANIFESTS: Marks = Marks::Each(&Marks::Fields(&[
    ("ID", id(Resource::Image)),
    ("ImageData", Marks::Fields(&[("Containers", Marks::Each(&id(Resource::Container)))])),
]));

pub const INSPECT_ANSWER: Marks = Marks::Fields(&[
    ("Id", id(Resource::Image)),
    ("Parent", id(Resource::Image)),
    ("RepoTags", IMAGES),
    ("RepoDigests", IMAGES),
    ("Config", Marks::Fields(&[("Image", IMAGE)])),
    ("Container", id(Resource::Container)),
    ("ContainerConfig", CONTAINER_CONFIG),
    ("Manifests", MANIFESTS),
]);

/// Of the container of which the image was made, below 1.45.
const CONTAINER_CONFIG: Marks =
    Marks::Fields(&[("Hostname", Marks::Text(Resource::Container, Form::Alias)), ("Image", IMAGE)]);

/// `<missing>` is the id of a layer that came with a pull.
pub const HISTORY_ANSWER: Marks = Marks::Each(&Marks::Fields(&[("Id", IMAGE), ("Tags", IMAGES)]));

pub const DELETED: Marks =
    Marks::Each(&Marks::Fields(&[("Untagged", IMAGE), ("Deleted", id(Resource::Image))]));

pub const PRUNED: Marks = Marks::Fields(&[("ImagesDeleted", DELETED)]);

pub const COMMITTED: Marks = Marks::Fields(&[("Id", id(Resource::Image))]);

/// `Loaded image: x:latest`, with a line's end (image/tarexport/load.go).
pub const LOADED: Marks = Marks::Fields(&[(
    "stream",
    Marks::Text(
        Resource::Image,
        Form::Phrase(&[("Loaded image: ", ""), ("Loaded image ID: ", "")], &Form::Image),
    ),
)]);

/// Of a pull the repository, and again at its end (distribution/pull_v2.go); of an import the id.
pub const PULL_STATUS: Form = Form::Phrase(
    &[
        ("Pulling from ", ""),
        ("Status: Downloaded newer image for ", ""),
        ("Status: Image is up to date for ", ""),
    ],
    &Form::Image,
);

pub const CREATED: Marks = Marks::Fields(&[(
    "status",
    Marks::All(&[
        Marks::Text(Resource::Image, PULL_STATUS),
        Marks::Text(Resource::Image, Form::FullId),
    ]),
)]);

/// distribution/push_v2.go
pub const PUSHED: Marks = Marks::Fields(&[(
    "status",
    Marks::Text(
        Resource::Image,
        Form::Phrase(&[("The push refers to repository [", "]")], &Form::Image),
    ),
)]);
