//! Containers: their query parameters and JSON bodies (create, update, commit, checkpoints).
//!
//! `api::table` puts these into its rows; `api::swarm` borrows the mount, health check and ulimit
//! shapes. What must stay true: every key here is one that some engine from 20.10 on reads, with
//! the engine's spelling and with map or struct as in moby's Go types. HostConfig's fields at the
//! top level, which engines up to 26.1 honour there, are left out on purpose: they must come out as
//! unknown keys and be refused.

use super::endpoint::{Param, Resource, q};
use super::network::ENDPOINT_MAP;
use super::shape::{FILTERS, Field, Kind, LABELS, Object, SET, STRINGS, f};

pub const LIST_QUERY: &[Param] = &[
    q("all"),
    q("limit"),
    q("size"),
    q("filters").json(FILTERS),
    // docker-py and aiodocker send these three with every list; engines parse `since` and `before`
    // up to 28 and then look only at the filters of the same name
    q("since").names(Resource::Container).ignored(),
    q("before").names(Resource::Container).ignored(),
    q("trunc_cmd").ignored(),
];

pub const CREATE_QUERY: &[Param] = &[q("name").names(Resource::Container), q("platform").since(41)];

pub const LOGS_QUERY: &[Param] = &[
    q("follow"),
    q("stdout"),
    q("stderr"),
    q("since"),
    q("until").since(35),
    q("timestamps"),
    q("tail"),
    // read by every engine, in no specification
    q("details"),
    // "currently experimental" in moby's own words; `json` is the only value
    q("format").since(54),
    q("abortSignal").ignored(),
];

pub const ATTACH_QUERY: &[Param] = &[
    q("detachKeys"),
    q("logs"),
    q("stream"),
    q("stdin"),
    q("stdout"),
    q("stderr"),
    // dockerode repeats the options of its caller in the query
    q("hijack").ignored(),
    q("abortSignal").ignored(),
];

/// Below 1.42 the engine attaches all three streams, whatever the query says.
pub const ATTACH_WS_QUERY: &[Param] = &[
    q("detachKeys"),
    q("logs"),
    q("stream"),
    q("stdin").since(42),
    q("stdout").since(42),
    q("stderr").since(42),
];

/// `checkpoint` restores a container from files on the host; undocumented.
pub const START_QUERY: &[Param] = &[
    q("detachKeys"),
    q("checkpoint").names(Resource::Checkpoint),
    q("checkpoint-dir"),
    q("abortSignal").ignored(),
];

pub const STOP_QUERY: &[Param] = &[q("signal").since(42), q("t"), q("abortSignal").ignored()];

pub const WAIT_QUERY: &[Param] = &[q("condition").since(30), q("abortSignal").ignored()];

pub const STATS_QUERY: &[Param] =
    &[q("stream"), q("one-shot").since(41), q("abortSignal").ignored()];

pub const DELETE_QUERY: &[Param] = &[q("v"), q("force"), q("link")];

pub const ARCHIVE_QUERY: &[Param] = &[q("path"), q("abortSignal").ignored()];

pub const ARCHIVE_PUT_QUERY: &[Param] =
    &[q("path"), q("noOverwriteDirNonDir"), q("copyUIDGID").since(39), q("abortSignal").ignored()];

pub const COMMIT_QUERY: &[Param] = &[
    q("container").names(Resource::Container),
    q("repo").names(Resource::Image),
    q("tag"),
    q("comment"),
    q("author"),
    q("pause"),
    q("changes").many(),
];

/// `POST /containers/create`: moby's `container.Config` with two structs beside it.
pub const CREATE: &Object = &[
    HOSTNAME,
    DOMAINNAME,
    USER,
    ATTACH_STDIN,
    ATTACH_STDOUT,
    ATTACH_STDERR,
    EXPOSED_PORTS,
    TTY,
    OPEN_STDIN,
    STDIN_ONCE,
    ENV,
    CMD,
    HEALTHCHECK,
    ARGS_ESCAPED,
    IMAGE,
    VOLUMES,
    WORKING_DIR,
    ENTRYPOINT,
    NETWORK_DISABLED,
    MAC_ADDRESS,
    ON_BUILD,
    LABELS_FIELD,
    STOP_SIGNAL,
    STOP_TIMEOUT,
    SHELL,
    f("HostConfig", Kind::Object(HOST_CONFIG)),
    f("NetworkingConfig", Kind::Object(NETWORKING_CONFIG)),
    // dockerode posts the options of its caller as they are; docker-java writes its own fields.
    // The name and platform that count are in the query.
    f("name", Kind::Any).ignored(),
    f("platform", Kind::Any).ignored(),
    f("abortSignal", Kind::Any).ignored(),
    f("authConfig", Kind::Any).ignored(),
    f("PortSpecs", Kind::Any).ignored(),
];

/// `POST /commit`: moby's `container.Config`, all of it optional.
pub const COMMIT: &Object = &[
    HOSTNAME,
    DOMAINNAME,
    USER,
    ATTACH_STDIN,
    ATTACH_STDOUT,
    ATTACH_STDERR,
    EXPOSED_PORTS,
    TTY,
    OPEN_STDIN,
    STDIN_ONCE,
    ENV,
    CMD,
    HEALTHCHECK,
    ARGS_ESCAPED,
    IMAGE,
    VOLUMES,
    WORKING_DIR,
    ENTRYPOINT,
    NETWORK_DISABLED,
    MAC_ADDRESS,
    ON_BUILD,
    LABELS_FIELD,
    STOP_SIGNAL,
    STOP_TIMEOUT,
    SHELL,
];

/// `POST /containers/{name}/update`: the resources and the restart policy.
pub const UPDATE: &Object = &[
    f("RestartPolicy", Kind::Object(RESTART_POLICY)),
    CPU_SHARES,
    MEMORY,
    NANO_CPUS,
    CGROUP_PARENT,
    BLKIO_WEIGHT,
    BLKIO_WEIGHT_DEVICE,
    BLKIO_DEVICE_READ_BPS,
    BLKIO_DEVICE_WRITE_BPS,
    BLKIO_DEVICE_READ_IOPS,
    BLKIO_DEVICE_WRITE_IOPS,
    CPU_PERIOD,
    CPU_QUOTA,
    CPU_REALTIME_PERIOD,
    CPU_REALTIME_RUNTIME,
    CPUSET_CPUS,
    CPUSET_MEMS,
    DEVICES,
    DEVICE_CGROUP_RULES,
    DEVICE_REQUESTS,
    DISK_QUOTA,
    KERNEL_MEMORY,
    KERNEL_MEMORY_TCP,
    MEMORY_RESERVATION,
    MEMORY_SWAP,
    MEMORY_SWAPPINESS,
    OOM_KILL_DISABLE,
    PIDS_LIMIT,
    ULIMITS_FIELD,
    CPU_COUNT,
    CPU_PERCENT,
    IO_MAXIMUM_IOPS,
    IO_MAXIMUM_BANDWIDTH,
    // documented because the specification reuses HostConfig's Resources; no engine has it here
    INIT.ignored(),
];

pub const HOST_CONFIG: &Object = &[
    f("Binds", STRINGS).names(Resource::Volume),
    f("ContainerIDFile", Kind::Str),
    f("LogConfig", Kind::Object(LOG_CONFIG)),
    f("NetworkMode", Kind::Str).names(Resource::Network).means("default"),
    f("PortBindings", Kind::Map(&Kind::List(&Kind::Object(PORT_BINDING)))),
    f("RestartPolicy", Kind::Object(RESTART_POLICY)),
    f("AutoRemove", Kind::Bool),
    f("VolumeDriver", Kind::Str),
    f("VolumesFrom", STRINGS).names(Resource::Container),
    f("ConsoleSize", Kind::List(&Kind::Int)),
    f("Annotations", LABELS).since(43),
    // `strslice` up to engine 28: a lone string is a list of one
    f("CapAdd", Kind::StrOrList),
    f("CapDrop", Kind::StrOrList),
    // the allow-list that 1.40 had and 1.41 took back; engines reject it at exactly 1.40
    f("Capabilities", STRINGS).since(40).until(40),
    f("CgroupnsMode", Kind::Str).since(41),
    f("Dns", STRINGS),
    f("DnsOptions", STRINGS),
    f("DnsSearch", STRINGS),
    f("ExtraHosts", STRINGS),
    f("GroupAdd", STRINGS),
    f("IpcMode", Kind::Str).names(Resource::Container),
    f("Cgroup", Kind::Str).names(Resource::Container),
    f("Links", STRINGS).names(Resource::Container),
    f("OomScoreAdj", Kind::Int),
    f("PidMode", Kind::Str).names(Resource::Container),
    f("Privileged", Kind::Bool),
    f("PublishAllPorts", Kind::Bool),
    f("ReadonlyRootfs", Kind::Bool),
    f("SecurityOpt", STRINGS),
    f("StorageOpt", LABELS),
    f("Tmpfs", LABELS),
    f("UTSMode", Kind::Str),
    f("UsernsMode", Kind::Str),
    f("ShmSize", Kind::Int),
    f("Sysctls", LABELS),
    f("Runtime", Kind::Str),
    f("Isolation", Kind::Str),
    CPU_SHARES,
    MEMORY,
    NANO_CPUS,
    CGROUP_PARENT,
    BLKIO_WEIGHT,
    BLKIO_WEIGHT_DEVICE,
    BLKIO_DEVICE_READ_BPS,
    BLKIO_DEVICE_WRITE_BPS,
    BLKIO_DEVICE_READ_IOPS,
    BLKIO_DEVICE_WRITE_IOPS,
    CPU_PERIOD,
    CPU_QUOTA,
    CPU_REALTIME_PERIOD,
    CPU_REALTIME_RUNTIME,
    CPUSET_CPUS,
    CPUSET_MEMS,
    DEVICES,
    DEVICE_CGROUP_RULES,
    DEVICE_REQUESTS,
    DISK_QUOTA,
    KERNEL_MEMORY,
    KERNEL_MEMORY_TCP,
    MEMORY_RESERVATION,
    MEMORY_SWAP,
    MEMORY_SWAPPINESS,
    OOM_KILL_DISABLE,
    PIDS_LIMIT,
    ULIMITS_FIELD,
    CPU_COUNT,
    CPU_PERCENT,
    IO_MAXIMUM_IOPS,
    IO_MAXIMUM_BANDWIDTH,
    f("Mounts", Kind::List(&Kind::Object(MOUNT))),
    // null is the default set of paths, `[]` unmasks them all
    f("MaskedPaths", STRINGS).since(38),
    f("ReadonlyPaths", STRINGS).since(38),
    INIT,
];

pub const NETWORKING_CONFIG: &Object =
    &[f("EndpointsConfig", ENDPOINT_MAP).names(Resource::Network)];

/// One of `HostConfig.Mounts`, and of a service's mounts.
pub const MOUNT: &Object = &[
    f("Type", Kind::Str),
    // a volume, an image or a host path, as `Type` says
    f("Source", Kind::Str).names(Resource::Volume),
    f("Target", Kind::Str),
    f("ReadOnly", Kind::Bool),
    f("Consistency", Kind::Str).since(29),
    f("BindOptions", Kind::Object(BIND_OPTIONS)),
    f("VolumeOptions", Kind::Object(VOLUME_OPTIONS)),
    f("ImageOptions", Kind::Object(IMAGE_OPTIONS)).since(48),
    f("TmpfsOptions", Kind::Object(TMPFS_OPTIONS)),
    // an empty struct in moby's `mount.Mount`, in no specification
    f("ClusterOptions", Kind::Object(&[])).since(42),
];

pub const BIND_OPTIONS: &Object = &[
    f("Propagation", Kind::Str),
    f("NonRecursive", Kind::Bool).since(40),
    f("CreateMountpoint", Kind::Bool).since(42),
    f("ReadOnlyNonRecursive", Kind::Bool).since(44),
    f("ReadOnlyForceRecursive", Kind::Bool).since(44),
];

pub const VOLUME_OPTIONS: &Object = &[
    f("NoCopy", Kind::Bool),
    f("Labels", LABELS),
    f("Subpath", Kind::Str).since(45),
    f("DriverConfig", Kind::Object(DRIVER)),
];

pub const IMAGE_OPTIONS: &Object = &[f("Subpath", Kind::Str)];

pub const TMPFS_OPTIONS: &Object = &[
    f("SizeBytes", Kind::Int),
    f("Mode", Kind::Int),
    f("Options", Kind::List(&STRINGS)).since(46),
];

/// moby's `Driver`: a name and the driver's own options (volumes, logs, secrets).
pub const DRIVER: &Object = &[f("Name", Kind::Str), f("Options", LABELS)];

/// Durations are nanoseconds.
pub const HEALTH: &Object = &[
    f("Test", STRINGS),
    f("Interval", Kind::Int),
    f("Timeout", Kind::Int),
    f("StartPeriod", Kind::Int).since(29),
    f("StartInterval", Kind::Int).since(44),
    f("Retries", Kind::Int),
];

/// Also a build's, in its query.
pub const ULIMITS: Kind = Kind::List(&Kind::Object(ULIMIT));

pub const ULIMIT: &Object = &[f("Name", Kind::Str), f("Hard", Kind::Int), f("Soft", Kind::Int)];

/// `POST /containers/{name}/checkpoints`, on experimental engines only.
pub const CHECKPOINT: &Object = &[
    f("CheckpointID", Kind::Str).names(Resource::Checkpoint),
    f("CheckpointDir", Kind::Str),
    f("Exit", Kind::Bool),
];

pub const CHECKPOINT_QUERY: &[Param] = &[q("dir")];

/// `POST /containers/{name}/copy`, an error since API 1.24, gone from engine 26 on.
pub const COPY: &Object = &[f("Resource", Kind::Str)];

const LOG_CONFIG: &Object = &[f("Type", Kind::Str), f("Config", LABELS)];
const PORT_BINDING: &Object = &[f("HostIp", Kind::Str), f("HostPort", Kind::Str)];
const RESTART_POLICY: &Object = &[f("Name", Kind::Str), f("MaximumRetryCount", Kind::Int)];
const WEIGHT_DEVICE: Kind = Kind::Object(&[f("Path", Kind::Str), f("Weight", Kind::Int)]);
const THROTTLE_DEVICE: Kind = Kind::Object(&[f("Path", Kind::Str), f("Rate", Kind::Int)]);
const DEVICE_MAPPING: &Object = &[
    f("PathOnHost", Kind::Str),
    f("PathInContainer", Kind::Str),
    f("CgroupPermissions", Kind::Str),
];
/// GPUs; `Capabilities` is an OR list of AND lists.
const DEVICE_REQUEST: &Object = &[
    f("Driver", Kind::Str),
    f("Count", Kind::Int),
    f("DeviceIDs", STRINGS),
    f("Capabilities", Kind::List(&STRINGS)),
    f("Options", LABELS),
];

// moby's `container.Config`, field by field: a const slice cannot be built from another one
const HOSTNAME: Field = f("Hostname", Kind::Str);
const DOMAINNAME: Field = f("Domainname", Kind::Str);
const USER: Field = f("User", Kind::Str);
const ATTACH_STDIN: Field = f("AttachStdin", Kind::Bool);
const ATTACH_STDOUT: Field = f("AttachStdout", Kind::Bool);
const ATTACH_STDERR: Field = f("AttachStderr", Kind::Bool);
const EXPOSED_PORTS: Field = f("ExposedPorts", SET);
const TTY: Field = f("Tty", Kind::Bool);
const OPEN_STDIN: Field = f("OpenStdin", Kind::Bool);
const STDIN_ONCE: Field = f("StdinOnce", Kind::Bool);
const ENV: Field = f("Env", STRINGS);
const CMD: Field = f("Cmd", Kind::StrOrList);
const HEALTHCHECK: Field = f("Healthcheck", Kind::Object(HEALTH));
const ARGS_ESCAPED: Field = f("ArgsEscaped", Kind::Bool);
const IMAGE: Field = f("Image", Kind::Str).names(Resource::Image);
const VOLUMES: Field = f("Volumes", SET);
const WORKING_DIR: Field = f("WorkingDir", Kind::Str);
const ENTRYPOINT: Field = f("Entrypoint", Kind::StrOrList);
const NETWORK_DISABLED: Field = f("NetworkDisabled", Kind::Bool);
const MAC_ADDRESS: Field = f("MacAddress", Kind::Str).until(51);
const ON_BUILD: Field = f("OnBuild", STRINGS);
const LABELS_FIELD: Field = f("Labels", LABELS);
const STOP_SIGNAL: Field = f("StopSignal", Kind::Str);
const STOP_TIMEOUT: Field = f("StopTimeout", Kind::Int);
const SHELL: Field = f("Shell", Kind::StrOrList);

// moby's `container.Resources`, which HostConfig and the update body both embed
const CPU_SHARES: Field = f("CpuShares", Kind::Int);
const MEMORY: Field = f("Memory", Kind::Int);
const NANO_CPUS: Field = f("NanoCpus", Kind::Int);
const CGROUP_PARENT: Field = f("CgroupParent", Kind::Str);
const BLKIO_WEIGHT: Field = f("BlkioWeight", Kind::Int);
const BLKIO_WEIGHT_DEVICE: Field = f("BlkioWeightDevice", Kind::List(&WEIGHT_DEVICE));
const BLKIO_DEVICE_READ_BPS: Field = f("BlkioDeviceReadBps", Kind::List(&THROTTLE_DEVICE));
const BLKIO_DEVICE_WRITE_BPS: Field = f("BlkioDeviceWriteBps", Kind::List(&THROTTLE_DEVICE));
const BLKIO_DEVICE_READ_IOPS: Field = f("BlkioDeviceReadIOps", Kind::List(&THROTTLE_DEVICE));
const BLKIO_DEVICE_WRITE_IOPS: Field = f("BlkioDeviceWriteIOps", Kind::List(&THROTTLE_DEVICE));
const CPU_PERIOD: Field = f("CpuPeriod", Kind::Int);
const CPU_QUOTA: Field = f("CpuQuota", Kind::Int);
const CPU_REALTIME_PERIOD: Field = f("CpuRealtimePeriod", Kind::Int);
const CPU_REALTIME_RUNTIME: Field = f("CpuRealtimeRuntime", Kind::Int);
const CPUSET_CPUS: Field = f("CpusetCpus", Kind::Str);
const CPUSET_MEMS: Field = f("CpusetMems", Kind::Str);
const DEVICES: Field = f("Devices", Kind::List(&Kind::Object(DEVICE_MAPPING)));
const DEVICE_CGROUP_RULES: Field = f("DeviceCgroupRules", STRINGS).since(28);
const DEVICE_REQUESTS: Field =
    f("DeviceRequests", Kind::List(&Kind::Object(DEVICE_REQUEST))).since(40);
const DISK_QUOTA: Field = f("DiskQuota", Kind::Int).until(39);
/// Documented from 1.36 on; Docker 1.x had it before, and clients of 1.24 send it.
const KERNEL_MEMORY: Field = f("KernelMemory", Kind::Int).until(41);
const KERNEL_MEMORY_TCP: Field = f("KernelMemoryTCP", Kind::Int).since(40).until(51);
const MEMORY_RESERVATION: Field = f("MemoryReservation", Kind::Int);
const MEMORY_SWAP: Field = f("MemorySwap", Kind::Int);
const MEMORY_SWAPPINESS: Field = f("MemorySwappiness", Kind::Int);
const OOM_KILL_DISABLE: Field = f("OomKillDisable", Kind::Bool);
const PIDS_LIMIT: Field = f("PidsLimit", Kind::Int);
const ULIMITS_FIELD: Field = f("Ulimits", ULIMITS);
const CPU_COUNT: Field = f("CpuCount", Kind::Int);
const CPU_PERCENT: Field = f("CpuPercent", Kind::Int);
const IO_MAXIMUM_IOPS: Field = f("IOMaximumIOps", Kind::Int);
const IO_MAXIMUM_BANDWIDTH: Field = f("IOMaximumBandwidth", Kind::Int);

const INIT: Field = f("Init", Kind::Bool).since(37);
