//! Numbers, templates and patterns that buy work of the engine's own: each has a bound, or a reason why it needs
//! none.

use std::collections::BTreeSet;

use super::*;
use crate::api::buildkit::METHODS;
use crate::api::endpoint::BodyKind;
use crate::api::shape::Kind;
use crate::api::table::TABLE;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    /// Up to the policy `limits`: it counts against the container's own.
    Limits,
    /// Never set, or never sent.
    Refused,
    /// The built-in rules bound it.
    Bounded,
    /// The engine or the kernel bounds it, or it costs the same whatever it is.
    Harmless,
}

use Number::*;

/// Every number of every body, by its own name.
const NUMBERS: &[(&str, Number)] = &[
    // of the container's cgroup
    ("CpuShares", Limits),
    ("Memory", Limits),
    ("NanoCpus", Limits),
    ("CpuPeriod", Limits),
    ("CpuQuota", Limits),
    ("MemoryReservation", Limits),
    ("MemorySwap", Limits),
    ("PidsLimit", Limits),
    ("BlkioWeight", Limits),
    ("ShmSize", Limits),
    ("SizeBytes", Limits),
    ("CpuRealtimePeriod", Refused),
    ("CpuRealtimeRuntime", Refused),
    ("Weight", Refused),
    ("Rate", Refused),
    ("Count", Refused),
    ("IPPrefixLen", Refused),
    ("GlobalIPv6PrefixLen", Refused),
    // of a cluster volume
    ("RequiredBytes", Refused),
    ("LimitBytes", Refused),
    ("StopTimeout", Bounded),
    ("Interval", Bounded),
    ("StartInterval", Bounded),
    ("MaximumRetryCount", Bounded),
    ("Soft", Bounded),
    ("Hard", Bounded),
    ("OomScoreAdj", Bounded),
    // 0 to 100, and the engine keeps it
    ("MemorySwappiness", Harmless),
    // no engine does anything with them on Linux
    ("DiskQuota", Harmless),
    ("KernelMemory", Harmless),
    ("KernelMemoryTCP", Harmless),
    ("CpuCount", Harmless),
    ("CpuPercent", Harmless),
    ("IOMaximumIOps", Harmless),
    ("IOMaximumBandwidth", Harmless),
    // one probe at a time, and no sooner than `Interval` after the last
    ("Timeout", Harmless),
    ("StartPeriod", Harmless),
    ("Retries", Harmless),
    // of a terminal: two numbers of 16 bits
    ("ConsoleSize", Harmless),
    // of a file
    ("Mode", Harmless),
    // a place in an order
    ("GwPriority", Harmless),
];

/// Every number of every message of BuildKit's, by its own name.
const MESSAGE_NUMBERS: &[(&str, Number)] = &[
    // of the cgroup of a step
    ("memory", Limits),
    ("memorySwap", Limits),
    ("cpuShares", Limits),
    ("cpuPeriod", Limits),
    ("cpuQuota", Limits),
    // of a tmpfs, which counts there too; and of a part that is read
    ("size", Limits),
    ("Soft", Bounded),
    ("Hard", Bounded),
    // of operations that are not allowed
    ("outputs", Refused),
    // places in the message itself, or in an operation's inputs and outputs
    ("index", Harmless),
    ("input", Harmless),
    ("secondaryInput", Harmless),
    ("output", Harmless),
    ("sourceIndex", Harmless),
    ("line", Harmless),
    ("character", Harmless),
    ("MountIndex", Harmless),
    // of files
    ("mode", Harmless),
    ("uid", Harmless),
    ("gid", Harmless),
    ("byID", Harmless),
    ("timestamp", Harmless),
    ("Offset", Harmless),
    ("Length", Harmless),
    ("offset", Harmless),
    // of processes: what they are called by, and how they have ended
    ("validExitCodes", Harmless),
    ("Fds", Harmless),
    ("Fd", Harmless),
    ("Rows", Harmless),
    ("Cols", Harmless),
    ("Code", Harmless),
    ("code", Harmless),
    // which form of something, how many lines
    ("CompatibilityVersion", Harmless),
    ("version", Harmless),
    ("ResolverType", Harmless),
    ("level", Harmless),
    ("Limit", Harmless),
];

fn numbers(kind: Kind, name: &'static str, found: &mut Vec<&'static str>) {
    match kind {
        Kind::Int | Kind::Int32 | Kind::Float => found.push(name),
        Kind::List(kind) | Kind::Map(kind) => numbers(*kind, name, found),
        Kind::Object(fields) | Kind::Encoded(fields) => {
            let fields = fields.iter().filter(|field| !field.ignored);
            fields.for_each(|field| numbers(field.kind, field.name, found));
        }
        Kind::Bool | Kind::Str | Kind::Bytes | Kind::Enum(_) | Kind::StrOrList | Kind::Any => {}
    }
}

#[test]
fn every_number_that_a_client_can_say_has_a_decision() {
    let rules = Rules::builtin().unwrap();
    let mut found = Vec::new();
    for row in TABLE.iter().filter(|row| rules.operations.contains_key(&row.endpoint)) {
        if let BodyKind::Json(object) = row.body {
            numbers(Kind::Object(object), row.endpoint.id(), &mut found);
        }
    }
    let undecided: Vec<_> =
        found.iter().filter(|name| !NUMBERS.iter().any(|(known, _)| known == *name)).collect();
    assert_eq!(undecided, Vec::<&&str>::new());
    let idle: Vec<_> = NUMBERS.iter().filter(|(known, _)| !found.contains(known)).collect();
    assert_eq!(idle, Vec::<&(&str, Number)>::new());
}

#[test]
fn every_number_of_a_build_has_a_decision() {
    let rules = Rules::builtin().unwrap();
    let mut found = Vec::new();
    for row in METHODS.iter().filter(|row| rules.operations.contains_key(&row.endpoint)) {
        if let BodyKind::Message(shape) = row.body {
            numbers(Kind::Object(shape), row.endpoint.id(), &mut found);
        }
    }
    let found: BTreeSet<&str> = found.into_iter().collect();
    let decided: BTreeSet<&str> = MESSAGE_NUMBERS.iter().map(|(name, _)| *name).collect();
    assert_eq!(found, decided);
    assert_eq!(decided.len(), MESSAGE_NUMBERS.len(), "each once");
}

const BOUNDED: &[(&str, &str, &str, &str)] = &[
    ("StopTimeout", r#""StopTimeout":86400"#, r#""StopTimeout":86401"#, "container.stop-timeout"),
    ("StopTimeout", r#""StopTimeout":1"#, r#""StopTimeout":-2"#, "container.stop-timeout"),
    (
        "Interval",
        r#""Healthcheck":{"Interval":100000000}"#,
        r#""Healthcheck":{"Interval":99999999}"#,
        "container.healthcheck",
    ),
    (
        "StartInterval",
        r#""Healthcheck":{"StartInterval":100000000}"#,
        r#""Healthcheck":{"StartInterval":1}"#,
        "container.healthcheck",
    ),
    (
        "MaximumRetryCount",
        r#""HostConfig":{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":100}}"#,
        r#""HostConfig":{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":101}}"#,
        "container.restart-policy",
    ),
    (
        "Soft",
        r#""HostConfig":{"Ulimits":[{"Name":"nofile","Soft":1024,"Hard":1048576}]}"#,
        r#""HostConfig":{"Ulimits":[{"Name":"nofile","Soft":1048577,"Hard":1}]}"#,
        "container.ulimits",
    ),
    (
        "Hard",
        r#""HostConfig":{"Ulimits":[{"Name":"nofile","Hard":1}]}"#,
        r#""HostConfig":{"Ulimits":[{"Name":"nofile","Hard":-1}]}"#,
        "container.ulimits",
    ),
    (
        "OomScoreAdj",
        r#""HostConfig":{"OomScoreAdj":500}"#,
        r#""HostConfig":{"OomScoreAdj":-1}"#,
        "container.oom-score",
    ),
];

#[test]
fn a_bounded_number_has_a_least_or_a_most() {
    for (_, within, beyond, wanted) in BOUNDED {
        let body = |part: &str| format!(r#"{{"Image":"x",{part}}}"#);
        assert_eq!(rule("POST /containers/create", &body(within)), None, "{within}");
        assert_eq!(
            rule("POST /containers/create", &body(beyond)).as_deref(),
            Some(*wanted),
            "{beyond}"
        );
    }
    for (name, _) in NUMBERS.iter().filter(|(_, number)| *number == Bounded) {
        assert!(BOUNDED.iter().any(|(tried, ..)| tried == name), "{name}");
    }
    for (line, wanted) in [
        ("POST /containers/x/stop?t=86401", Some("container.stop-timeout")),
        ("POST /containers/x/stop?t=-2", Some("container.stop-timeout")),
        ("POST /containers/x/restart?t=99999999999", Some("container.stop-timeout")),
        ("POST /containers/x/resize?h=65536&w=1", Some("container.tty-size")),
        ("POST /exec/x/resize?h=1&w=-1", Some("container.tty-size")),
        ("POST /containers/x/stop?t=-1", None),
        ("POST /containers/x/stop?t=10", None),
        ("POST /containers/x/resize?h=65535&w=0", None),
    ] {
        let made = Made { listener: "test".to_owned(), user: None, container: "c".to_owned() };
        let made = Arc::new(made);
        let knows = |question: &Question| match question {
            Question::Exec(_) => Fact::Exec(Arc::clone(&made)),
            Question::Container(_) => {
                Fact::Json(Arc::new(super::state::container("a", serde_json::json!({}))))
            }
            _ => Fact::Absent,
        };
        let said = match judge(&BUILTIN, line, "", &knows) {
            Verdict::Allowed(_) => None,
            Verdict::Denied(_, reasons) => Some(reasons[0].rule.to_string()),
            Verdict::Malformed(why) => panic!("{why}"),
            other @ (Verdict::Undecided(..) | Verdict::Waits(..) | Verdict::Answered(..)) => {
                panic!("{other:?}")
            }
        };
        assert_eq!(said.as_deref(), wanted, "{line}");
    }
}

/// Option, good values, bad values.
const LOG_OPTIONS: &[(&str, &[&str], &[&str])] = &[
    (
        "max-size",
        &["64k", "10m", "1g", "65536", "1.5m"],
        &["1", "63k", "2t", "-1", "0", "x", "1e9", "010"],
    ),
    ("max-file", &["1", "3", "100"], &["101", "2000000000", "0", "-1", "x", "3.0"]),
    ("max-buffer-size", &["4k", "1m", "16m"], &["1", "17m", "1g", "-1"]),
    (
        "labels-regex",
        &["^com\\.example\\.", "(a|b).*", ""],
        &["a{1000}", "\\pL{1000}|x", "\\p{Greek}"],
    ),
    ("env-regex", &["^(OS|CUSTOMER)"], &["a{2}"]),
    (
        "tag",
        &[
            "",
            "plain/text",
            "{{.Name}}",
            "{{.ImageName}}/{{.Name}}/{{.ID}}",
            "{{ .FullID }}|{{.ImageID}}|{{.ImageFullID}}|{{.DaemonName}}|{{.Command}}|{{.Hostname}}",
        ],
        &[
            r#"{{pad "x" 400000000000 0}}"#,
            r#"{{printf "%999999999s" .Name}}"#,
            r#"{{if eq .Name "x"}}{{pad "x" 400000000000 0}}{{end}}"#,
            "{{range $i := .ContainerEnv}}x{{end}}",
            "{{.Name | json}}",
            "{{.ContainerEnv}}",
            "{{.Config}}",
            "{{.Name.Foo}}",
            "{{.ExtraAttributes nil}}",
            "{{.Name}",
            "{{.Name}}{{",
            "{{\n.Name}}",
            "{{- .Name -}}",
            "{{/* x */}}",
            "{{define \"x\"}}{{end}}",
        ],
    ),
];

#[test]
fn options_of_a_log_are_bounded_and_its_tag_is_plain() {
    let create = |option: &str, value: &str| {
        let config = serde_json::json!({ option: value });
        let body = serde_json::json!({ "Image": "x", "HostConfig": { "LogConfig": {
            "Type": "json-file", "Config": config } } });
        rule("POST /containers/create", &body.to_string())
    };
    for (option, good, bad) in LOG_OPTIONS {
        let wanted = if *option == "tag" { "container.log-tag" } else { "container.log-options" };
        for value in *good {
            assert_eq!(create(option, value), None, "{option}={value}");
        }
        for value in *bad {
            assert_eq!(create(option, value).as_deref(), Some(wanted), "{option}={value}");
        }
    }
    assert_eq!(create("tag", &"x".repeat(257)).as_deref(), Some("container.log-tag"));
    assert_eq!(create("env-regex", &"x".repeat(257)).as_deref(), Some("container.log-options"));
    assert_eq!(
        create("syslog-address", "tcp://10.0.0.1").as_deref(),
        Some("container.log-options")
    );
    assert_eq!(create("compress", "true"), None);
}

/// The engine carries the tag out at every start, its own restarts included.
#[test]
fn a_container_made_elsewhere_with_such_options_cannot_be_started_from_here() {
    let start = |driver: &str, option: &str, value: &str| {
        let made = serde_json::json!({ "Id": "a", "Config": {}, "HostConfig": {
            "LogConfig": { "Type": driver, "Config": { option: value } } } });
        let made = Arc::new(made);
        let knows = |question: &Question| match question {
            Question::Container(_) => Fact::Json(Arc::clone(&made)),
            Question::Info => {
                Fact::Json(Arc::new(serde_json::json!({ "LoggingDriver": "fluentd" })))
            }
            _ => Fact::Absent,
        };
        matches!(judge(&BUILTIN, "POST /containers/x/start", "", &knows), Verdict::Allowed(_))
    };
    for driver in ["json-file", "fluentd"] {
        assert!(start(driver, "tag", "docker.{{.Name}}"), "{driver}");
        assert!(!start(driver, "tag", r#"{{pad "x" 400000000000 0}}"#), "{driver}");
        assert!(!start(driver, "labels-regex", "a{1000}"), "{driver}");
    }
    assert!(!start("json-file", "max-file", "2000000000"));
    assert!(start("fluentd", "fluentd-address", "log.example.com:1"), "the engine's own");
    assert!(!start("syslog", "tag", "x"), "not the engine's own");
}

#[test]
fn top_names_no_column_as_the_engine_looks_for_pids() {
    for args in [
        "-orss=PID",
        "-ominflt=PID -oargs -e",
        "-orss=PID -oargs -e e",
        "e",
        "auxe",
        "-ef e",
        "-aux e",
        "-eo pid,environ",
        "-o pid:20",
        "-eo pid=PID",
        "-C x",
        "-p 1",
        "-u root",
        "axo pid",
    ] {
        let line = format!("GET /containers/x/top?ps_args={}", args.replace(' ', "+"));
        assert_eq!(rule(&line, "").as_deref(), Some("container.ps-args"), "{args}");
    }
    for args in
        ["-ef", "aux", "-aux", "au", "-eo pid,comm", "-o pid -o args", "-ao pid,user,cmd", "-eF -L"]
    {
        let line = format!("GET /containers/x/top?ps_args={}", args.replace(' ', "+"));
        assert_eq!(rule(&line, ""), None, "{args}");
    }
}

#[test]
fn filters_are_no_costly_patterns() {
    for path in [
        "/containers/json",
        "/networks",
        "/networks/",
        "/volumes",
        "/images/json",
        "/events",
        "/images/search",
    ] {
        let term = if path == "/images/search" { "&term=alpine" } else { "" };
        let of = |filters: &str| rule(&format!("GET {path}?filters={filters}{term}"), "");
        assert_eq!(of(r#"{"name":["a{1000}"]}"#).as_deref(), Some("filters.pattern"), "{path}");
        for costly in ["(?i)[B-z]", r"[\\pL]", r"\\PL", "[B-é]", r"\\x{10FFFF}", "(?:a)"] {
            let said = of(&format!(r#"{{"name":["{costly}"]}}"#));
            assert_eq!(said.as_deref(), Some("filters.pattern"), "{path} {costly}");
        }
        let many: Vec<_> = (0..40).map(|n| format!(r#""{n}{}""#, "a".repeat(60))).collect();
        let many = format!(r#"{{"name":[{}]}}"#, many.join(","));
        assert_eq!(of(&many).as_deref(), Some("filters.pattern"), "{path}: all together");
        assert_eq!(of(&many.replace("name", "label")), None, "{path}");
        assert_eq!(of(r#"{"name":{"^/?a[0-9]+_(b|c)$":true},"label":["a={b}"]}"#), None, "{path}");
        assert_eq!(of(""), None, "{path}");
    }
}
