//! Builds: query parameters and headers.
//!
//! `api::table` puts these into its rows. What must stay true: the list is what moby's
//! `newImageBuildOptions` reads, documented or not; JSON inside a value (`buildargs`, `labels`,
//! `cachefrom`, `ulimits`, `outputs`) is for `policy` to judge.

use super::answer::{Form, Marks, id};
use super::container::ULIMITS;
use super::endpoint::{Header, Param, Resource, h, q};
use super::image_ops::PULL_STATUS;
use super::shape::{FILTERS, LABELS, STRINGS};

pub const BUILD_QUERY: &[Param] = &[
    q("t").many().names(Resource::Image),
    q("dockerfile"),
    // host:ip; the engine reads each value
    q("extrahosts").many().since(28),
    q("remote"),
    q("q"),
    q("nocache"),
    // a JSON list of images
    q("cachefrom").json(STRINGS).names(Resource::Image),
    q("pull"),
    q("rm"),
    q("forcerm"),
    q("memory"),
    q("memswap"),
    q("cpushares"),
    q("cpusetcpus"),
    q("cpuperiod"),
    q("cpuquota"),
    q("buildargs").json(LABELS),
    q("shmsize"),
    q("squash"),
    q("labels").json(LABELS),
    // a network's name, or `container:` and a container's
    q("networkmode").names(Resource::Network).means("default"),
    // read since 17.05 (1.29), documented since 1.37
    q("target").since(29),
    // read since 1.32, documented since 1.34
    q("platform").since(32),
    // JSON; `Attrs.name` is an image
    q("outputs").since(40).names(Resource::Image),
    q("version").since(38).means("1"),
    // read by every engine, in no specification
    q("cpusetmems"),
    q("ulimits").json(ULIMITS),
    q("cgroupparent"),
    q("securityopt").many(),
    q("isolation"),
    q("session").names(Resource::Session),
    q("buildid").names(Resource::BuildId),
    // dockerode repeats the options of its caller in the query
    q("abortSignal").ignored(),
];

/// `X-Registry-Config`: credentials by registry host, base64url JSON.
pub const BUILD_HEADERS: &[Header] = &[h("x-registry-config").names(Resource::Registry)];

pub const PRUNE_QUERY: &[Param] = &[
    q("all").since(39),
    q("filters").json(FILTERS).since(39),
    // read at any version when the three below are absent, documented up to 1.51
    q("keep-storage").since(39),
    q("reserved-space").since(48),
    q("max-used-space").since(48),
    q("min-free-space").since(48),
];

pub const CANCEL_QUERY: &[Param] = &[q("id").names(Resource::BuildId)];

/// What a client tells about itself when it opens a BuildKit session.
pub const SESSION_HEADERS: &[Header] = &[
    h("x-docker-expose-session-uuid").names(Resource::Session),
    h("x-docker-expose-session-name"),
    h("x-docker-expose-session-sharedkey"),
    // one line for each method that the client serves
    h("x-docker-expose-session-grpc-method").many(),
];

/// The classic builder's prose (builder/dockerfile), and the image's id at the end of either.
pub const PROGRESS: Marks = Marks::Fields(&[
    (
        "stream",
        Marks::All(&[
            Marks::Text(Resource::Image, Form::Phrase(ID_LINES, &Form::ShortId)),
            Marks::Text(Resource::Image, Form::Phrase(TAG_LINES, &Form::Image)),
            Marks::Text(Resource::Container, Form::Phrase(CONTAINER_LINES, &Form::ShortId)),
        ]),
    ),
    ("status", Marks::Text(Resource::Image, PULL_STATUS)),
    ("aux", Marks::Fields(&[("ID", id(Resource::Image))])),
]);

const ID_LINES: &[(&str, &str)] = &[(" ---> ", ""), ("Successfully built ", "")];

const TAG_LINES: &[(&str, &str)] = &[("Successfully tagged ", "")];

const CONTAINER_LINES: &[(&str, &str)] = &[
    (" ---> Running in ", ""),
    (" ---> Removed intermediate container ", ""),
    ("Removing intermediate container ", ""),
];
