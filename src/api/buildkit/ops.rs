//! LLB, the graph of operations that BuildKit runs (BuildKit's solver/pb), and the policy of its sources
//! (sourcepolicy/pb).
//!
//! `control` and `frontend` have these in their messages. What must stay true: an operation is kept exactly as it came,
//! because its digest is its name; no shape holds itself, so that walks over the tables end.

use crate::api::doc::{Value, proto};
use crate::api::shape::{Kind, LABELS, Object, STRINGS, n};

/// What an operation's digest is the digest of.
pub fn operation_bytes(operation: &Value) -> Vec<u8> {
    proto::render(operation, OP)
}

pub const DEFINITION: &Object = &[
    n(1, "def", Kind::List(&Kind::Encoded(OP))),
    n(2, "metadata", Kind::Map(&Kind::Object(OP_METADATA))),
    n(
        3,
        "Source",
        Kind::Object(&[
            n(
                1,
                "locations",
                Kind::Map(&Kind::Object(&[n(1, "locations", Kind::List(&Kind::Object(LOCATION)))])),
            ),
            n(2, "infos", Kind::List(&Kind::Object(SOURCE_INFO))),
        ]),
    ),
];

const OP: &Object = &[
    n(
        1,
        "inputs",
        Kind::List(&Kind::Object(&[n(1, "digest", Kind::Str), n(2, "index", Kind::Int)])),
    ),
    n(2, "exec", Kind::Object(EXEC)).one_of(),
    n(3, "source", Kind::Object(SOURCE)).one_of(),
    n(4, "file", Kind::Object(FILE)).one_of(),
    // a build within a build, whose own graph is not looked into
    n(5, "build", Kind::Bytes).one_of(),
    n(6, "merge", Kind::Object(&[n(1, "inputs", Kind::List(&Kind::Object(INPUT)))])).one_of(),
    n(
        7,
        "diff",
        Kind::Object(&[n(1, "lower", Kind::Object(INPUT)), n(2, "upper", Kind::Object(INPUT))]),
    )
    .one_of(),
    n(
        8,
        "passthrough",
        Kind::Object(&[n(1, "id", Kind::Str), n(2, "outputs", Kind::List(&Kind::Int))]),
    )
    .one_of(),
    n(10, "platform", Kind::Object(PLATFORM)),
    n(11, "constraints", Kind::Object(WORKERS)),
];

const INPUT: &Object = &[n(1, "input", Kind::Int)];

pub(super) const PLATFORM: &Object = &[
    n(1, "Architecture", Kind::Str),
    n(2, "OS", Kind::Str),
    n(3, "Variant", Kind::Str),
    n(4, "OSVersion", Kind::Str),
    n(5, "OSFeatures", STRINGS),
];

pub(super) const WORKERS: &Object = &[n(1, "filter", STRINGS)];

pub(super) const NET_MODE: Kind = Kind::Enum(&["UNSET", "HOST", "NONE"]);

pub(super) const SECURITY_MODE: Kind = Kind::Enum(&["SANDBOX", "INSECURE"]);

const EXEC: &Object = &[
    n(1, "meta", Kind::Object(META)),
    n(2, "mounts", Kind::List(&Kind::Object(MOUNT))),
    n(3, "network", NET_MODE),
    n(4, "security", SECURITY_MODE),
    n(5, "secretenv", Kind::List(&Kind::Object(SECRET_ENV))),
    n(
        6,
        "cdiDevices",
        Kind::List(&Kind::Object(&[n(1, "name", Kind::Str), n(2, "optional", Kind::Bool)])),
    ),
];

pub(super) const META: &Object = &[
    n(1, "args", STRINGS),
    n(2, "env", STRINGS),
    n(3, "cwd", Kind::Str),
    n(4, "user", Kind::Str),
    n(
        5,
        "proxy_env",
        Kind::Object(&[
            n(1, "http_proxy", Kind::Str),
            n(2, "https_proxy", Kind::Str),
            n(3, "ftp_proxy", Kind::Str),
            n(4, "no_proxy", Kind::Str),
            n(5, "all_proxy", Kind::Str),
        ]),
    ),
    n(6, "extraHosts", Kind::List(&Kind::Object(HOST_IP))),
    n(7, "hostname", Kind::Str),
    n(
        9,
        "ulimit",
        Kind::List(&Kind::Object(&[
            n(1, "Name", Kind::Str),
            n(2, "Soft", Kind::Int),
            n(3, "Hard", Kind::Int),
        ])),
    ),
    n(10, "cgroupParent", Kind::Str),
    n(11, "removeMountStubsRecursive", Kind::Bool),
    n(12, "validExitCodes", Kind::List(&Kind::Int32)),
];

pub(super) const HOST_IP: &Object = &[n(1, "Host", Kind::Str), n(2, "IP", Kind::Str)];

pub(super) const SECRET_ENV: &Object =
    &[n(1, "ID", Kind::Str), n(2, "name", Kind::Str), n(3, "optional", Kind::Bool)];

pub(super) const MOUNT: &Object = &[
    n(1, "input", Kind::Int),
    n(2, "selector", Kind::Str),
    n(3, "dest", Kind::Str),
    n(4, "output", Kind::Int),
    n(5, "readonly", Kind::Bool),
    n(6, "mountType", Kind::Enum(&["BIND", "SECRET", "SSH", "CACHE", "TMPFS"])),
    n(19, "TmpfsOpt", Kind::Object(&[n(1, "size", Kind::Int)])),
    n(
        20,
        "cacheOpt",
        Kind::Object(&[
            n(1, "ID", Kind::Str),
            n(2, "sharing", Kind::Enum(&["SHARED", "PRIVATE", "LOCKED"])),
        ]),
    ),
    n(21, "secretOpt", Kind::Object(FROM_SESSION)),
    n(22, "SSHOpt", Kind::Object(FROM_SESSION)),
    n(23, "resultID", Kind::Str),
    n(24, "contentCache", Kind::Enum(&["DEFAULT", "ON", "OFF"])),
];

/// A secret, or an agent's socket.
const FROM_SESSION: &Object = &[
    n(1, "ID", Kind::Str),
    n(2, "uid", Kind::Int32),
    n(3, "gid", Kind::Int32),
    n(4, "mode", Kind::Int32),
    n(5, "optional", Kind::Bool),
];

pub(super) const SOURCE: &Object = &[n(1, "identifier", Kind::Str), n(2, "attrs", LABELS)];

const FILE: &Object = &[n(
    2,
    "actions",
    Kind::List(&Kind::Object(&[
        n(1, "input", Kind::Int),
        n(2, "secondaryInput", Kind::Int),
        n(3, "output", Kind::Int),
        n(4, "copy", Kind::Object(COPY)).one_of(),
        n(
            5,
            "mkfile",
            Kind::Object(&[
                n(1, "path", Kind::Str),
                n(2, "mode", Kind::Int32),
                n(3, "data", Kind::Bytes),
                n(4, "owner", Kind::Object(OWNER)),
                n(5, "timestamp", Kind::Int),
            ]),
        )
        .one_of(),
        n(
            6,
            "mkdir",
            Kind::Object(&[
                n(1, "path", Kind::Str),
                n(2, "mode", Kind::Int32),
                n(3, "makeParents", Kind::Bool),
                n(4, "owner", Kind::Object(OWNER)),
                n(5, "timestamp", Kind::Int),
            ]),
        )
        .one_of(),
        n(
            7,
            "rm",
            Kind::Object(&[
                n(1, "path", Kind::Str),
                n(2, "allowNotFound", Kind::Bool),
                n(3, "allowWildcard", Kind::Bool),
            ]),
        )
        .one_of(),
        n(
            8,
            "symlink",
            Kind::Object(&[
                n(1, "oldpath", Kind::Str),
                n(2, "newpath", Kind::Str),
                n(3, "owner", Kind::Object(OWNER)),
                n(4, "timestamp", Kind::Int),
            ]),
        )
        .one_of(),
    ])),
)];

const COPY: &Object = &[
    n(1, "src", Kind::Str),
    n(2, "dest", Kind::Str),
    n(3, "owner", Kind::Object(OWNER)),
    n(4, "mode", Kind::Int32),
    n(5, "followSymlink", Kind::Bool),
    n(6, "dirCopyContents", Kind::Bool),
    n(7, "attemptUnpackDockerCompatibility", Kind::Bool),
    n(8, "createDestPath", Kind::Bool),
    n(9, "allowWildcard", Kind::Bool),
    n(10, "allowEmptyWildcard", Kind::Bool),
    n(11, "timestamp", Kind::Int),
    n(12, "include_patterns", STRINGS),
    n(13, "exclude_patterns", STRINGS),
    n(14, "alwaysReplaceExistingDestPaths", Kind::Bool),
    n(15, "modeStr", Kind::Str),
    n(16, "required_paths", STRINGS),
];

const OWNER: &Object = &[n(1, "user", Kind::Object(WHO)), n(2, "group", Kind::Object(WHO))];

const WHO: &Object = &[
    n(1, "byName", Kind::Object(&[n(1, "name", Kind::Str), n(2, "input", Kind::Int)])).one_of(),
    n(2, "byID", Kind::Int32).one_of(),
];

const OP_METADATA: &Object = &[
    n(1, "ignore_cache", Kind::Bool),
    n(2, "description", LABELS),
    n(4, "export_cache", Kind::Object(&[n(1, "Value", Kind::Bool)])),
    n(5, "caps", Kind::Map(&Kind::Bool)),
    n(
        6,
        "progress_group",
        Kind::Object(&[n(1, "id", Kind::Str), n(2, "name", Kind::Str), n(3, "weak", Kind::Bool)]),
    ),
    n(
        7,
        "linux_resources",
        Kind::Object(&[
            n(1, "memory", Kind::Int),
            n(2, "memorySwap", Kind::Int),
            n(3, "cpuShares", Kind::Int),
            n(4, "cpuPeriod", Kind::Int),
            n(5, "cpuQuota", Kind::Int),
            n(6, "cpusetCpus", Kind::Str),
            n(7, "cpusetMems", Kind::Str),
        ]),
    ),
];

pub(super) const SOURCE_INFO: &Object = &[
    n(1, "filename", Kind::Str),
    n(2, "data", Kind::Bytes),
    // for showing where an error is; never run
    n(3, "definition", Kind::Bytes),
    n(4, "language", Kind::Str),
];

const LOCATION: &Object =
    &[n(1, "sourceIndex", Kind::Int32), n(2, "ranges", Kind::List(&Kind::Object(RANGE)))];

pub(super) const RANGE: &Object =
    &[n(1, "start", Kind::Object(POSITION)), n(2, "end", Kind::Object(POSITION))];

const POSITION: &Object = &[n(1, "line", Kind::Int32), n(2, "character", Kind::Int32)];

pub(super) const SOURCE_POLICY: &Object = &[
    n(1, "version", Kind::Int),
    n(
        2,
        "rules",
        Kind::List(&Kind::Object(&[
            n(1, "action", Kind::Enum(&["ALLOW", "DENY", "CONVERT"])),
            n(
                2,
                "selector",
                Kind::Object(&[
                    n(1, "identifier", Kind::Str),
                    n(2, "match_type", Kind::Enum(&["WILDCARD", "EXACT", "REGEX"])),
                    n(
                        3,
                        "constraints",
                        Kind::List(&Kind::Object(&[
                            n(1, "key", Kind::Str),
                            n(2, "value", Kind::Str),
                            n(3, "condition", Kind::Enum(&["EQUAL", "NOTEQUAL", "MATCHES"])),
                        ])),
                    ),
                ]),
            ),
            n(3, "updates", Kind::Object(&[n(1, "identifier", Kind::Str), n(2, "attrs", LABELS)])),
        ])),
    ),
];
