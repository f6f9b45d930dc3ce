//! What `conservative` wants of each field, as data.
//!
//! Read by `conservative` through `opinion`. Sources: `api/types/container/hostconfig.go` and
//! `daemon/volumes_unix.go` of moby for what a field does, and the threat behind it in `why`. What
//! must stay true: ids are stable, because operators search their logs for them.

use super::predicate::Must;

#[derive(Debug)]
pub(super) struct Rule {
    pub id: &'static str,
    /// Keys from the root; `*` stands for every element of a list.
    pub path: &'static [&'static str],
    pub must: Must,
    pub hint: &'static str,
}

#[derive(Debug)]
pub(super) struct QueryRule {
    pub id: &'static str,
    pub name: &'static str,
    pub allowed: &'static [&'static str],
    pub why: &'static str,
    pub hint: &'static str,
}

const fn rule(
    id: &'static str,
    path: &'static [&'static str],
    must: Must,
    hint: &'static str,
) -> Rule {
    Rule { id, path, must, hint }
}

/// Docker's default set (`oci/caps/defaults.go`): adding one of these adds nothing.
const DEFAULT_CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
const NO_BIND: &str = "use a named volume";
const H: &str = "HostConfig";

pub(super) const CREATE: &[Rule] = &[
    rule("container.privileged", &[H, "Privileged"], Must::BeZero, ""),
    rule("container.cap-add", &[H, "CapAdd"], Must::AddOnly(DEFAULT_CAPABILITIES), ""),
    // API 1.40 alone took the whole set from here.
    rule("container.capabilities", &[H, "Capabilities"], Must::BeZero, ""),
    rule(
        "container.network-host",
        &[H, "NetworkMode"],
        Must::NotBeHost,
        "leave it out for `bridge`",
    ),
    rule("container.pid-host", &[H, "PidMode"], Must::NotBeHost, ""),
    rule("container.ipc-host", &[H, "IpcMode"], Must::NotBeHost, ""),
    rule("container.uts-host", &[H, "UTSMode"], Must::NotBeHost, ""),
    rule("container.userns-host", &[H, "UsernsMode"], Must::NotBeHost, ""),
    rule("container.cgroupns-host", &[H, "CgroupnsMode"], Must::NotBeHost, ""),
    rule("container.devices", &[H, "Devices"], Must::BeZero, ""),
    rule("container.device-cgroup-rules", &[H, "DeviceCgroupRules"], Must::BeZero, ""),
    rule("container.device-requests", &[H, "DeviceRequests"], Must::BeZero, ""),
    rule("container.security-opt", &[H, "SecurityOpt"], Must::OnlyTighten, ""),
    // An empty list, unlike null, unmasks all of /proc and /sys.
    rule("container.masked-paths", &[H, "MaskedPaths"], Must::BeNull, ""),
    rule("container.readonly-paths", &[H, "ReadonlyPaths"], Must::BeNull, ""),
    rule("container.bind", &[H, "Binds"], Must::BindVolumesOnly, NO_BIND),
    rule(
        "container.mount-type",
        &[H, "Mounts", "*", "Type"],
        Must::BeOneOf(&["", "volume", "tmpfs", "image"]),
        NO_BIND,
    ),
    rule(
        "container.mount-driver",
        &[H, "Mounts", "*", "VolumeOptions", "DriverConfig", "Name"],
        Must::BeOneOf(&["", "local"]),
        NO_BIND,
    ),
    rule(
        "container.mount-driver-options",
        &[H, "Mounts", "*", "VolumeOptions", "DriverConfig", "Options"],
        Must::BeZero,
        NO_BIND,
    ),
    rule("container.volume-driver", &[H, "VolumeDriver"], Must::BeOneOf(&["", "local"]), NO_BIND),
    rule("container.runtime", &[H, "Runtime"], Must::BeZero, ""),
    rule("container.annotations", &[H, "Annotations"], Must::BeZero, ""),
    rule("container.cgroup-parent", &[H, "CgroupParent"], Must::BeZero, ""),
    rule("container.cgroup", &[H, "Cgroup"], Must::BeZero, ""),
    rule(
        "container.log-driver",
        &[H, "LogConfig", "Type"],
        Must::BeOneOf(&["", "json-file", "local", "none"]),
        "",
    ),
];

pub(super) const EXEC: &[Rule] = &[rule("exec.privileged", &["Privileged"], Must::BeZero, "")];

/// A `local` volume of type `none` with `o=bind` is any directory of the host.
pub(super) const VOLUME: &[Rule] = &[
    rule("volume.driver", &["Driver"], Must::BeOneOf(&["", "local"]), ""),
    rule("volume.driver-options", &["DriverOpts"], Must::BeZero, ""),
    rule("volume.cluster", &["ClusterVolumeSpec"], Must::BeZero, ""),
];

/// `macvlan` and `ipvlan` put the container on the host's own network.
pub(super) const NETWORK: &[Rule] =
    &[rule("network.driver", &["Driver"], Must::BeOneOf(&["", "default", "bridge"]), "")];

pub(super) const BUILD: &[QueryRule] = &[
    QueryRule {
        id: "build.network",
        name: "networkmode",
        allowed: &["", "default", "bridge", "none"],
        why: "must be `default`, `bridge` or `none`",
        hint: "leave `--network` out",
    },
    QueryRule {
        id: "build.cgroup-parent",
        name: "cgroupparent",
        allowed: &[""],
        why: "must not be set",
        hint: "",
    },
    QueryRule {
        id: "build.security-opt",
        name: "securityopt",
        allowed: &["", "[]", "null"],
        why: "must not be set",
        hint: "",
    },
    QueryRule {
        id: "build.buildkit",
        name: "version",
        allowed: &["", "1"],
        why: "must be the classic builder: dockgate cannot look into BuildKit yet",
        hint: "set `DOCKER_BUILDKIT=0`",
    },
];

/// dockerd reads both, documented nowhere; the second is a path on the host.
pub(super) const START: &[QueryRule] = &[
    QueryRule {
        id: "container.checkpoint",
        name: "checkpoint",
        allowed: &[""],
        why: "must not be set",
        hint: "",
    },
    QueryRule {
        id: "container.checkpoint",
        name: "checkpoint-dir",
        allowed: &[""],
        why: "must not be set",
        hint: "",
    },
];
