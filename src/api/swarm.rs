//! Swarm mode: services, tasks, nodes, secrets, configs and the cluster itself.
//!
//! `api::table` puts these into its rows. What must stay true: a service's container spec can mount
//! any host path and add capabilities, so it is described as fully as a container's own body.

use super::container::{DRIVER, HEALTH, MOUNT, ULIMIT};
use super::endpoint::{Header, Param, Resource, h, q};
use super::shape::{FILTERS, Field, Kind, LABELS, Object, STRINGS, f};

/// The engine reads the query of swarm updates from the URL alone, never from a form body.
pub const VERSION_QUERY: &[Param] = &[q("version")];

pub const UPDATE_QUERY: &[Param] =
    &[q("version"), q("rotateWorkerToken"), q("rotateManagerToken"), q("rotateManagerUnlockKey")];

pub const SERVICE_LIST_QUERY: &[Param] = &[q("filters").json(FILTERS), q("status").since(41)];

pub const SERVICE_INSPECT_QUERY: &[Param] = &[q("insertDefaults").since(29)];

pub const SERVICE_UPDATE_QUERY: &[Param] =
    &[q("version"), q("registryAuthFrom"), q("rollback").since(28)];

pub const LOGS_QUERY: &[Param] =
    &[q("details"), q("follow"), q("stdout"), q("stderr"), q("since"), q("timestamps"), q("tail")];

pub const AUTH_HEADERS: &[Header] = &[h("x-registry-auth").names(Resource::Registry)];

pub const INIT: &Object = &[
    f("ListenAddr", Kind::Str),
    f("AdvertiseAddr", Kind::Str),
    f("DataPathAddr", Kind::Str).since(30),
    f("DataPathPort", Kind::Int).since(40),
    f("ForceNewCluster", Kind::Bool),
    f("Spec", Kind::Object(SPEC)),
    // in moby's `InitRequest`, in no specification
    f("AutoLockManagers", Kind::Bool),
    AVAILABILITY,
    f("DefaultAddrPool", STRINGS).since(39),
    f("SubnetSize", Kind::Int).since(39),
];

pub const JOIN: &Object = &[
    f("ListenAddr", Kind::Str),
    f("AdvertiseAddr", Kind::Str),
    f("DataPathAddr", Kind::Str).since(30),
    f("RemoteAddrs", STRINGS),
    f("JoinToken", Kind::Str),
    // in moby's `JoinRequest`, in no specification
    AVAILABILITY,
];

pub const UNLOCK: &Object = &[f("UnlockKey", Kind::Str)];

/// The cluster: what `/swarm/update` takes and `/swarm/init` holds.
pub const SPEC: &Object = &[
    f("Name", Kind::Str),
    LABELS_FIELD,
    f("Orchestration", Kind::Object(ORCHESTRATION)),
    f("Raft", Kind::Object(RAFT)),
    f("Dispatcher", Kind::Object(&[f("HeartbeatPeriod", Kind::Int)])),
    f("CAConfig", Kind::Object(CA_CONFIG)),
    f("TaskDefaults", Kind::Object(&[f("LogDriver", Kind::Object(DRIVER))])),
    f("EncryptionConfig", Kind::Object(&[f("AutoLockManagers", Kind::Bool)])),
];

pub const NODE: &Object =
    &[f("Name", Kind::Str).names(Resource::Node), LABELS_FIELD, f("Role", Kind::Str), AVAILABILITY];

/// `Data` is base64.
pub const SECRET: &Object = &[
    f("Name", Kind::Str).names(Resource::Secret),
    LABELS_FIELD,
    f("Data", Kind::Str),
    f("Driver", Kind::Object(DRIVER)).since(31),
    f("Templating", Kind::Object(DRIVER)).since(37),
];

/// `Data` is base64.
pub const CONFIG: &Object = &[
    f("Name", Kind::Str).names(Resource::Config),
    LABELS_FIELD,
    f("Data", Kind::Str),
    f("Templating", Kind::Object(DRIVER)).since(37),
];

/// `POST /services/create` and `/services/{id}/update`.
pub const SERVICE: &Object = &[
    f("Name", Kind::Str).names(Resource::Service),
    LABELS_FIELD,
    f("TaskTemplate", Kind::Object(TASK)),
    f("Mode", Kind::Object(SERVICE_MODE)),
    f("UpdateConfig", Kind::Object(ROLLOUT)),
    f("RollbackConfig", Kind::Object(ROLLOUT)).since(28),
    // the engine looks at it below 1.44 only, where the task names no network
    f("Networks", Kind::List(&Kind::Object(ATTACHMENT))),
    f("EndpointSpec", Kind::Object(ENDPOINT_SPEC)),
];

pub const TASK: &Object = &[
    f("ContainerSpec", Kind::Object(CONTAINER_SPEC)),
    f("PluginSpec", Kind::Object(PLUGIN_SPEC)).since(31),
    f("NetworkAttachmentSpec", Kind::Object(NETWORK_ATTACHMENT_SPEC)).since(38),
    f("Resources", Kind::Object(RESOURCES)),
    f("RestartPolicy", Kind::Object(RESTART_POLICY)),
    f("Placement", Kind::Object(PLACEMENT)),
    f("Networks", Kind::List(&Kind::Object(ATTACHMENT))),
    f("LogDriver", Kind::Object(DRIVER)),
    f("ForceUpdate", Kind::Int),
    f("Runtime", Kind::Str).since(30),
];

pub const CONTAINER_SPEC: &Object = &[
    f("Image", Kind::Str).names(Resource::Image),
    LABELS_FIELD,
    f("Command", STRINGS),
    f("Args", STRINGS),
    f("Hostname", Kind::Str).since(27),
    f("Env", STRINGS),
    f("Dir", Kind::Str),
    f("User", Kind::Str),
    f("Groups", STRINGS).since(27),
    f("Privileges", Kind::Object(PRIVILEGES)).since(30),
    f("Init", Kind::Bool).since(38),
    f("StopSignal", Kind::Str).since(28),
    f("TTY", Kind::Bool),
    f("OpenStdin", Kind::Bool).since(27),
    f("ReadOnly", Kind::Bool).since(27),
    f("Mounts", Kind::List(&Kind::Object(MOUNT))),
    f("StopGracePeriod", Kind::Int),
    // `HealthCheck` in the specification
    f("Healthcheck", Kind::Object(HEALTH)).since(27),
    f("Hosts", STRINGS).since(27),
    f("DNSConfig", Kind::Object(DNS_CONFIG)),
    f("Secrets", Kind::List(&Kind::Object(SECRET_REFERENCE))).since(27),
    f("Configs", Kind::List(&Kind::Object(CONFIG_REFERENCE))).since(30),
    f("Isolation", Kind::Str).since(35),
    f("Sysctls", LABELS).since(40),
    f("CapabilityAdd", STRINGS).since(41),
    f("CapabilityDrop", STRINGS).since(41),
    f("Ulimits", Kind::List(&Kind::Object(ULIMIT))).since(41),
    f("OomScoreAdj", Kind::Int).since(46),
];

const AVAILABILITY: Field = f("Availability", Kind::Str);
const LABELS_FIELD: Field = f("Labels", LABELS);

const ORCHESTRATION: &Object = &[f("TaskHistoryRetentionLimit", Kind::Int)];

const RAFT: &Object = &[
    f("SnapshotInterval", Kind::Int),
    f("KeepOldSnapshots", Kind::Int),
    f("LogEntriesForSlowFollowers", Kind::Int),
    f("ElectionTick", Kind::Int),
    f("HeartbeatTick", Kind::Int),
];

const CA_CONFIG: &Object = &[
    f("NodeCertExpiry", Kind::Int),
    f("ExternalCAs", Kind::List(&Kind::Object(EXTERNAL_CA))),
    f("SigningCACert", Kind::Str).since(30),
    f("SigningCAKey", Kind::Str).since(30),
    f("ForceRotate", Kind::Int).since(30),
];

const EXTERNAL_CA: &Object = &[
    f("Protocol", Kind::Str),
    f("URL", Kind::Str),
    f("Options", LABELS),
    f("CACert", Kind::Str).since(30),
];

const SERVICE_MODE: &Object = &[
    f("Replicated", Kind::Object(&[f("Replicas", Kind::Int)])),
    f("Global", Kind::Object(&[])),
    f("ReplicatedJob", Kind::Object(REPLICATED_JOB)).since(41),
    f("GlobalJob", Kind::Object(&[])).since(41),
];

const REPLICATED_JOB: &Object = &[f("MaxConcurrent", Kind::Int), f("TotalCompletions", Kind::Int)];

/// moby's `UpdateConfig`, for going forward and back.
const ROLLOUT: &Object = &[
    f("Parallelism", Kind::Int),
    f("Delay", Kind::Int),
    f("FailureAction", Kind::Str),
    f("Monitor", Kind::Int),
    f("MaxFailureRatio", Kind::Float),
    f("Order", Kind::Str).since(29),
];

const ATTACHMENT: &Object = &[
    f("Target", Kind::Str).names(Resource::Network),
    f("Aliases", STRINGS),
    f("DriverOpts", LABELS).since(39),
];

const ENDPOINT_SPEC: &Object = &[f("Mode", Kind::Str), f("Ports", Kind::List(&Kind::Object(PORT)))];

const PORT: &Object = &[
    f("Name", Kind::Str),
    f("Protocol", Kind::Str),
    f("TargetPort", Kind::Int),
    f("PublishedPort", Kind::Int),
    // `host` publishes on the node itself; in moby since 1.13, documented since 1.34
    f("PublishMode", Kind::Str),
];

/// Its keys are lower case in moby; the specification capitalises them and knows no `env`.
const PLUGIN_SPEC: &Object = &[
    f("name", Kind::Str).names(Resource::Plugin),
    f("remote", Kind::Str).names(Resource::Plugin),
    f("privileges", Kind::List(&Kind::Object(PLUGIN_PRIVILEGE))),
    f("disabled", Kind::Bool),
    f("env", STRINGS),
];

const PLUGIN_PRIVILEGE: &Object =
    &[f("name", Kind::Str), f("description", Kind::Str), f("value", STRINGS)];

const NETWORK_ATTACHMENT_SPEC: &Object = &[f("ContainerID", Kind::Str).names(Resource::Container)];

const RESOURCES: &Object = &[
    f("Limits", Kind::Object(LIMITS)),
    f("Reservations", Kind::Object(RESERVATIONS)),
    f("SwapBytes", Kind::Int).since(52),
    f("MemorySwappiness", Kind::Int).since(52),
];

const LIMITS: &Object = &[
    f("NanoCPUs", Kind::Int),
    f("MemoryBytes", Kind::Int),
    f("Pids", Kind::Int).since(41),
    // Limits and Reservations were one type up to 1.40
    f("GenericResources", Kind::List(&Kind::Object(GENERIC_RESOURCE))).since(32).until(40),
];

const RESERVATIONS: &Object = &[
    f("NanoCPUs", Kind::Int),
    f("MemoryBytes", Kind::Int),
    f("GenericResources", Kind::List(&Kind::Object(GENERIC_RESOURCE))).since(32),
];

const GENERIC_RESOURCE: &Object = &[
    f("NamedResourceSpec", Kind::Object(&[f("Kind", Kind::Str), f("Value", Kind::Str)])),
    f("DiscreteResourceSpec", Kind::Object(&[f("Kind", Kind::Str), f("Value", Kind::Int)])),
];

const RESTART_POLICY: &Object = &[
    f("Condition", Kind::Str),
    f("Delay", Kind::Int),
    f("MaxAttempts", Kind::Int),
    f("Window", Kind::Int),
];

const PLACEMENT: &Object = &[
    f("Constraints", STRINGS),
    f("Preferences", Kind::List(&Kind::Object(PREFERENCE))).since(28),
    f("MaxReplicas", Kind::Int).since(40),
    f("Platforms", Kind::List(&Kind::Object(PLATFORM))).since(30),
];

const PREFERENCE: &Object = &[f("Spread", Kind::Object(&[f("SpreadDescriptor", Kind::Str)]))];

const PLATFORM: &Object = &[f("Architecture", Kind::Str), f("OS", Kind::Str)];

const PRIVILEGES: &Object = &[
    f("CredentialSpec", Kind::Object(CREDENTIAL_SPEC)),
    f("SELinuxContext", Kind::Object(SELINUX_CONTEXT)),
    f("Seccomp", Kind::Object(&[f("Mode", Kind::Str), f("Profile", Kind::Str)])).since(44),
    f("AppArmor", Kind::Object(&[f("Mode", Kind::Str)])).since(44),
    f("NoNewPrivileges", Kind::Bool).since(44),
];

const CREDENTIAL_SPEC: &Object = &[
    f("Config", Kind::Str).since(40).names(Resource::Config),
    f("File", Kind::Str),
    f("Registry", Kind::Str),
];

const SELINUX_CONTEXT: &Object = &[
    f("Disable", Kind::Bool),
    f("User", Kind::Str),
    f("Role", Kind::Str),
    f("Type", Kind::Str),
    f("Level", Kind::Str),
];

const DNS_CONFIG: &Object =
    &[f("Nameservers", STRINGS), f("Search", STRINGS), f("Options", STRINGS)];

/// Where a secret or config appears in the container.
const FILE_TARGET: &Object =
    &[f("Name", Kind::Str), f("UID", Kind::Str), f("GID", Kind::Str), f("Mode", Kind::Int)];

const SECRET_REFERENCE: &Object = &[
    f("File", Kind::Object(FILE_TARGET)),
    f("SecretID", Kind::Str).names(Resource::Secret),
    f("SecretName", Kind::Str).names(Resource::Secret),
];

const CONFIG_REFERENCE: &Object = &[
    f("File", Kind::Object(FILE_TARGET)),
    f("Runtime", Kind::Object(&[])).since(40),
    f("ConfigID", Kind::Str).names(Resource::Config),
    f("ConfigName", Kind::Str).names(Resource::Config),
];
