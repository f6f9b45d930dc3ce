//! `moby.buildkit.v1.frontend.LLBBridge`: what a frontend asks while it builds, and so what a client does that is one
//! itself, as buildx is (BuildKit's frontend/gateway/pb).
//!
//! `api::buildkit` puts these into its rows. What must stay true: every field that BuildKit reads is here.

use super::control::CACHE_ENTRY;
use super::ops::{
    DEFINITION, HOST_IP, META, MOUNT, NET_MODE, PLATFORM, RANGE, SECRET_ENV, SECURITY_MODE, SOURCE,
    SOURCE_INFO, SOURCE_POLICY, WORKERS,
};
use crate::api::endpoint::Resource;
use crate::api::shape::{Kind, LABELS, Object, STRINGS, n};

const POLICIES: Kind = Kind::List(&Kind::Object(SOURCE_POLICY));
const BYTES_MAP: Kind = Kind::Map(&Kind::Bytes);

pub(super) const SOLVE: &Object = &[
    n(1, "Definition", Kind::Object(DEFINITION)),
    n(2, "Frontend", Kind::Str),
    n(3, "FrontendOpt", LABELS),
    n(5, "allowResultReturn", Kind::Bool),
    n(6, "allowResultArrayRef", Kind::Bool),
    n(10, "Final", Kind::Bool),
    n(11, "ExporterAttr", Kind::Bytes),
    n(12, "CacheImports", Kind::List(&Kind::Object(CACHE_ENTRY))),
    n(13, "FrontendInputs", Kind::Map(&Kind::Object(DEFINITION))),
    n(14, "Evaluate", Kind::Bool),
    n(15, "SourcePolicies", POLICIES),
];

pub(super) const RETURN: &Object =
    &[n(1, "result", Kind::Object(RESULT)), n(2, "error", Kind::Object(STATUS))];

const RESULT: &Object = &[
    n(1, "refDeprecated", Kind::Str).one_of(),
    n(2, "refsDeprecated", Kind::Object(&[n(1, "refs", LABELS)])).one_of(),
    n(3, "ref", Kind::Object(RESULT_REF)).one_of(),
    n(4, "refs", Kind::Object(&[n(1, "refs", Kind::Map(&Kind::Object(RESULT_REF)))])).one_of(),
    n(10, "metadata", BYTES_MAP),
    n(12, "attestations", Kind::Map(&Kind::Object(ATTESTATIONS))),
];

const RESULT_REF: &Object = &[n(1, "id", Kind::Str), n(2, "def", Kind::Object(DEFINITION))];

const ATTESTATIONS: &Object = &[n(1, "attestation", Kind::List(&Kind::Object(ATTESTATION)))];

const ATTESTATION: &Object = &[
    n(1, "kind", Kind::Enum(&["InToto", "Bundle"])),
    n(2, "metadata", BYTES_MAP),
    n(3, "ref", Kind::Object(RESULT_REF)),
    n(4, "path", Kind::Str),
    n(5, "inTotoPredicateType", Kind::Str),
    n(
        6,
        "inTotoSubjects",
        Kind::List(&Kind::Object(&[
            n(1, "kind", Kind::Enum(&["Self", "Raw"])),
            n(2, "digest", STRINGS),
            n(3, "name", Kind::Str),
        ])),
    ),
];

/// google.rpc.Status.
const STATUS: &Object = &[
    n(1, "code", Kind::Int32),
    n(2, "message", Kind::Str),
    n(
        3,
        "details",
        Kind::List(&Kind::Object(&[n(1, "type_url", Kind::Str), n(2, "value", Kind::Bytes)])),
    ),
];

pub(super) const REF: &Object = &[n(1, "Ref", Kind::Str)];

pub(super) const READ_FILE: &Object = &[
    n(1, "Ref", Kind::Str),
    n(2, "FilePath", Kind::Str),
    n(3, "Range", Kind::Object(&[n(1, "Offset", Kind::Int), n(2, "Length", Kind::Int)])),
    n(4, "MountIndex", Kind::Int32),
];

pub(super) const READ_DIR: &Object = &[
    n(1, "Ref", Kind::Str),
    n(2, "DirPath", Kind::Str),
    n(3, "IncludePattern", Kind::Str),
    n(4, "MountIndex", Kind::Int32),
];

pub(super) const STAT_FILE: &Object =
    &[n(1, "Ref", Kind::Str), n(2, "Path", Kind::Str), n(3, "MountIndex", Kind::Int32)];

pub(super) const WARN: &Object = &[
    n(1, "digest", Kind::Str),
    n(2, "level", Kind::Int),
    n(3, "short", Kind::Bytes),
    n(4, "detail", Kind::List(&Kind::Bytes)),
    n(5, "url", Kind::Str),
    n(6, "info", Kind::Object(SOURCE_INFO)),
    n(7, "ranges", Kind::List(&Kind::Object(RANGE))),
];

pub(super) const RESOLVE_IMAGE_CONFIG: &Object = &[
    n(1, "Ref", Kind::Str).names(Resource::Image),
    n(2, "Platform", Kind::Object(PLATFORM)),
    n(3, "ResolveMode", Kind::Str),
    n(4, "LogName", Kind::Str),
    n(5, "ResolverType", Kind::Int32),
    n(6, "SessionID", Kind::Str).names(Resource::Session),
    n(7, "StoreID", Kind::Str),
    n(8, "SourcePolicies", POLICIES),
];

pub(super) const RESOLVE_SOURCE_META: &Object = &[
    n(1, "Source", Kind::Object(SOURCE)),
    n(2, "Platform", Kind::Object(PLATFORM)),
    n(3, "LogName", Kind::Str),
    n(4, "ResolveMode", Kind::Str),
    n(5, "Git", Kind::Object(&[n(1, "ReturnObject", Kind::Bool)])),
    n(
        6,
        "Image",
        Kind::Object(&[
            n(1, "NoConfig", Kind::Bool),
            n(2, "AttestationChain", Kind::Bool),
            n(3, "ResolveAttestations", STRINGS),
        ]),
    ),
    n(
        7,
        "HTTP",
        Kind::Object(&[n(
            1,
            "ChecksumRequest",
            Kind::Object(&[
                n(
                    1,
                    "Algo",
                    Kind::Enum(&[
                        "CHECKSUM_ALGO_SHA256",
                        "CHECKSUM_ALGO_SHA384",
                        "CHECKSUM_ALGO_SHA512",
                    ]),
                ),
                n(2, "Suffix", Kind::Bytes),
            ]),
        )]),
    ),
    n(8, "SourcePolicies", POLICIES),
];

pub(super) const NEW_CONTAINER: &Object = &[
    n(1, "ContainerID", Kind::Str),
    n(2, "Mounts", Kind::List(&Kind::Object(MOUNT))),
    n(3, "Network", NET_MODE),
    n(4, "platform", Kind::Object(PLATFORM)),
    n(5, "constraints", Kind::Object(WORKERS)),
    n(6, "extraHosts", Kind::List(&Kind::Object(HOST_IP))),
    n(7, "hostname", Kind::Str),
];

pub(super) const RELEASE_CONTAINER: &Object = &[n(1, "ContainerID", Kind::Str)];

/// Each message of the stream.
pub(super) const EXEC: &Object = &[
    n(1, "ProcessID", Kind::Str),
    n(
        2,
        "Init",
        Kind::Object(&[
            n(1, "ContainerID", Kind::Str),
            n(2, "Meta", Kind::Object(META)),
            n(3, "Fds", Kind::List(&Kind::Int32)),
            n(4, "Tty", Kind::Bool),
            n(5, "Security", SECURITY_MODE),
            n(6, "secretenv", Kind::List(&Kind::Object(SECRET_ENV))),
        ]),
    )
    .one_of(),
    n(
        3,
        "File",
        Kind::Object(&[
            n(1, "Fd", Kind::Int32),
            n(2, "EOF", Kind::Bool),
            n(3, "Data", Kind::Bytes),
        ]),
    )
    .one_of(),
    n(4, "Resize", Kind::Object(&[n(1, "Rows", Kind::Int32), n(2, "Cols", Kind::Int32)])).one_of(),
    n(5, "Started", Kind::Object(&[])).one_of(),
    n(6, "Exit", Kind::Object(&[n(1, "Code", Kind::Int32), n(2, "Error", Kind::Object(STATUS))]))
        .one_of(),
    n(7, "Done", Kind::Object(&[])).one_of(),
    n(8, "Signal", Kind::Object(&[n(1, "Name", Kind::Str)])).one_of(),
];
