//! Compares the table with moby, both ways: nothing of moby's is missing, nothing is invented.
//!
//! The facts in `tests/data` come from moby's OpenAPI files and from the routes that real engines
//! register (`tests/data/derive.py`). Where the table differs on purpose, the difference stands in
//! a list here with its source; a list that no longer fits the table fails as well.

use std::collections::{BTreeMap, BTreeSet};

use super::super::endpoint::{Minor, OLDEST};
use super::*;

mod answers;
mod fields;
mod readers;

const ROUTES: &str = include_str!("../../../tests/data/routes.tsv");
const PARAMS: &str = include_str!("../../../tests/data/params.tsv");
const ENGINES: &str = include_str!("../../../tests/data/engine-routes.tsv");

/// The newest API version of each release in `engine-routes.tsv`, and how many routes it has.
const RELEASES: [(&str, Minor, usize); 8] = [
    ("20.10.27", 41, 121),
    ("24.0.9", 43, 122),
    ("25.0.17", 44, 122),
    ("26.1.5", 45, 121),
    ("27.5.1", 47, 121),
    ("28.5.2", 51, 121),
    ("29.7.2", 55, 122),
    ("master", 56, 122),
];

#[test]
fn data_is_whole() {
    let lengths = [ROUTES, PARAMS, fields::FIELDS, ENGINES].map(|data| lines(data).count());
    assert_eq!(lengths, [108, 187, 892, 123]);
}

#[test]
fn every_endpoint_has_one_row() {
    let ids: BTreeSet<&str> = all().map(|row| row.endpoint.id()).collect();
    let named: BTreeSet<&str> = Endpoint::ALL.iter().map(|endpoint| endpoint.id()).collect();
    // 122 routes of the newest engine, and `/containers/{name}/copy`, which it no longer has
    assert_eq!(TABLE.len(), 123);
    assert_eq!((ids.len(), Endpoint::ALL.len()), (all().count(), all().count()));
    assert_eq!(ids, named);
}

/// Routes of the specifications, by operation id; the ids changed once, in 1.28.
#[test]
fn routes_match_the_specifications() {
    let mut seen = BTreeSet::new();
    let mut differences = BTreeSet::new();
    for line in lines(ROUTES) {
        let [method, path, ids, first, last] = line[..] else { panic!("bad line {line:?}") };
        let row = find(method, path).unwrap_or_else(|| panic!("no row for {method} {path}"));
        seen.insert(row.endpoint);
        assert_eq!(row.endpoint.id(), ids.rsplit('|').next().unwrap());
        let here = (row.since, row.until);
        if here != span(first, last) {
            differences.insert((row.endpoint.id(), here));
        }
    }
    let expected = BTreeSet::from([
        // `router.WithMinimumAPIVersion("1.25")` in moby's routers; the first specification is 1.25
        ("ContainerPrune", (25, Minor::MAX)),
        ("ImagePrune", (25, Minor::MAX)),
        ("NetworkPrune", (25, Minor::MAX)),
        ("VolumePrune", (25, Minor::MAX)),
        ("SecretCreate", (25, Minor::MAX)),
        ("SecretDelete", (25, Minor::MAX)),
        ("SecretInspect", (25, Minor::MAX)),
        ("SecretList", (25, Minor::MAX)),
        // documented since 1.26
        ("SecretUpdate", (25, Minor::MAX)),
    ]);
    assert_eq!(differences, expected);

    let undocumented: Vec<&str> = Endpoint::ALL
        .iter()
        .filter(|endpoint| !seen.contains(endpoint))
        .filter(|endpoint| TABLE.iter().any(|row| row.endpoint == **endpoint))
        .map(|endpoint| endpoint.id())
        .collect();
    let named_here = [
        "CheckpointList",
        "CheckpointCreate",
        "CheckpointDelete",
        "ContainerCopy",
        "BuildCancel",
        "Grpc",
        "NetworkListSlash",
        "SystemOptions",
        "DebugVars",
        "DebugPprofIndex",
        "DebugPprofCmdline",
        "DebugPprofProfile",
        "DebugPprofSymbol",
        "DebugPprofTrace",
        "DebugPprofLookup",
    ];
    assert_eq!(undocumented, named_here);
}

/// Patterns letter by letter, and since/until against what each release registers.
#[test]
fn routes_match_the_engines() {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut patterns = BTreeSet::new();
    for line in lines(ENGINES) {
        let [method, pattern, releases] = line[..] else { panic!("bad line {line:?}") };
        let row = TABLE
            .iter()
            .find(|row| method_name(row.method) == method && row.path == pattern)
            .unwrap_or_else(|| panic!("no row for {method} {pattern}"));
        patterns.insert((method, pattern));
        let releases: Vec<&str> = releases.split(',').collect();
        for (release, newest, _) in RELEASES {
            let has = releases.contains(&release);
            let should = row.since <= newest && newest <= row.until;
            assert_eq!(has, should, "{method} {pattern} in {release}");
            *counts.entry(release).or_default() += usize::from(has);
        }
    }
    for (release, _, count) in RELEASES {
        assert_eq!(counts[release], count, "{release}");
    }
    for row in TABLE {
        let route = (method_name(row.method), row.path);
        assert!(patterns.contains(&route), "no engine has {route:?}");
    }
}

/// No earlier pattern of the same method may take a later row's paths.
#[test]
fn first_match_is_the_right_one() {
    for row in TABLE {
        let path = replace_captures(row.path, "x");
        assert_eq!(first_match(row.method, &path), Some(row.endpoint), "{path}");
    }
    let deep = [
        (Delete, "/containers/a/checkpoints/b", Endpoint::CheckpointDelete),
        // the checkpoint route's captures hold no slash, so this goes to the greedy one
        (Delete, "/containers/a/b/checkpoints/c", Endpoint::ContainerDelete),
        (Get, "/containers/json/json", Endpoint::ContainerInspect),
        (Get, "/containers/a/attach/ws/json", Endpoint::ContainerInspect),
        (Get, "/images/127.0.0.1:5000/team/app:1/json", Endpoint::ImageInspect),
        (Get, "/images/get/get", Endpoint::ImageGet),
        (Get, "/networks/a/b", Endpoint::NetworkInspect),
        (Get, "/networks/", Endpoint::NetworkListSlash),
        (Get, "/debug/pprof/heap", Endpoint::DebugPprofLookup),
    ];
    for (method, path, endpoint) in deep {
        assert_eq!(first_match(method, path), Some(endpoint), "{path}");
    }
    assert_eq!(first_match(Get, "/services/a/b"), None);
    assert_eq!(first_match(Head, "/containers/json"), None);
}

#[test]
fn every_capture_says_what_it_names() {
    for row in TABLE {
        let captures = row.path.matches('{').count();
        // any path at all, and a profile of the engine's process
        let nothing = [Endpoint::SystemOptions, Endpoint::DebugPprofLookup].contains(&row.endpoint);
        let expected = if nothing { 0 } else { captures };
        assert_eq!(row.path_names.len(), expected, "{}", row.path);
    }
}

#[test]
fn params_match_the_specifications() {
    let mut seen = BTreeSet::new();
    let mut differences = BTreeSet::new();
    let mut many = BTreeSet::new();
    for line in lines(PARAMS) {
        let [method, path, place, name, _, first, last, repeated] = line[..] else {
            panic!("bad line {line:?}")
        };
        let row = find(method, path).unwrap();
        let id = row.endpoint.id();
        if place == "header" {
            let name = name.to_ascii_lowercase();
            // a body's type follows from its kind
            let known = name == "content-type" || row.headers.iter().any(|h| h.name == name);
            assert!(known, "{id}: no header {name}");
            continue;
        }
        let Some(param) = row.query.iter().find(|param| param.name == name) else {
            panic!("{id}: no query parameter {name}")
        };
        assert!(repeated != "multi" || param.many, "{id}: {name} is a list");
        if repeated != "multi" && param.many {
            many.insert(format!("{id} {name}"));
        }
        seen.insert((id, param.name));
        let here = (param.since.max(row.since), param.until.min(row.until));
        let (first, last) = span(first, last);
        if here != (first.max(row.since), last) {
            differences.insert((id, param.name, here));
        }
    }
    let dates = BTreeSet::from([
        // documented since 1.27, in moby since links exist
        ("ContainerDelete", "link", (OLDEST, Minor::MAX)),
        // the route is older than its documentation
        ("SecretUpdate", "version", (25, Minor::MAX)),
        // moby v17.05.0-ce reads it (API 1.29)
        ("ImageBuild", "target", (29, Minor::MAX)),
        // moby's build router asks for 1.32
        ("ImageBuild", "platform", (32, Minor::MAX)),
        // moby's image router reads both at any version
        ("ImageCreate", "changes", (OLDEST, Minor::MAX)),
        ("ImageCreate", "message", (OLDEST, Minor::MAX)),
        // still read where `reserved-space` is absent
        ("BuildPrune", "keep-storage", (39, Minor::MAX)),
        // moby's plugin router reads it at any version; the specification called it `name` first
        ("GetPluginPrivileges", "remote", (OLDEST, Minor::MAX)),
    ]);
    assert_eq!(differences, dates);

    // moby reads these with `r.Form["…"]`, all values; the specifications do not say so
    let lists = [
        "ImageBuild extrahosts",
        "ImageBuild t",
        "ImageCommit changes",
        "ImageCreate changes",
        "ImageDelete platforms",
        "ImageGetAll names",
    ];
    assert_eq!(many.iter().map(String::as_str).collect::<Vec<_>>(), lists);

    let mut undocumented = BTreeSet::new();
    let mut ignored = BTreeSet::new();
    for row in TABLE {
        for param in row.query.iter().filter(|p| !seen.contains(&(row.endpoint.id(), p.name))) {
            let set = if param.ignored { &mut ignored } else { &mut undocumented };
            set.insert(format!("{} {}", row.endpoint.id(), param.name));
        }
    }
    // read by moby's routers, in no specification from 1.25 on
    let read = [
        "BuildCancel id",
        "CheckpointDelete dir",
        "CheckpointList dir",
        "ContainerLogs details",
        "ContainerLogs format",
        "ContainerStart checkpoint",
        "ContainerStart checkpoint-dir",
        "DebugPprofLookup debug",
        "DebugPprofLookup gc",
        "DebugPprofLookup seconds",
        "DebugPprofProfile debug",
        "DebugPprofProfile gc",
        "DebugPprofProfile seconds",
        "DebugPprofTrace debug",
        "DebugPprofTrace gc",
        "DebugPprofTrace seconds",
        "ImageBuild buildid",
        "ImageBuild cgroupparent",
        "ImageBuild cpusetmems",
        "ImageBuild isolation",
        "ImageBuild securityopt",
        "ImageBuild session",
        "ImageBuild ulimits",
        "ImageList filter",
        "NetworkListSlash filters",
    ];
    assert_eq!(undocumented.iter().map(String::as_str).collect::<Vec<_>>(), read);
    // `abortSignal`, `authconfig`, `hijack`: dockerode (docker-modem builds the query from all
    // options); the others: docker-py `api/container.py` and `api/image.py`
    let sent = [
        "ContainerArchive abortSignal",
        "ContainerArchiveInfo abortSignal",
        "ContainerAttach abortSignal",
        "ContainerAttach hijack",
        "ContainerList before",
        "ContainerList since",
        "ContainerList trunc_cmd",
        "ContainerLogs abortSignal",
        "ContainerRestart abortSignal",
        "ContainerStart abortSignal",
        "ContainerStats abortSignal",
        "ContainerStop abortSignal",
        "ContainerWait abortSignal",
        "ImageBuild abortSignal",
        "ImageCreate abortSignal",
        "ImageCreate authconfig",
        "ImageList only_ids",
        "ImageLoad abortSignal",
        "ImagePush abortSignal",
        "PutContainerArchive abortSignal",
        "SystemEvents abortSignal",
    ];
    assert_eq!(ignored.iter().map(String::as_str).collect::<Vec<_>>(), sent);
}

/// Headers that moby reads and the specifications leave out.
#[test]
fn undocumented_headers_are_listed() {
    let documented: BTreeSet<(&str, String)> = lines(PARAMS)
        .filter(|line| line[2] == "header")
        .map(|line| (find(line[0], line[1]).unwrap().endpoint.id(), line[3].to_ascii_lowercase()))
        .collect();
    let mut undocumented = BTreeSet::new();
    for row in TABLE {
        for header in row.headers {
            assert_eq!(header.name, header.name.to_ascii_lowercase());
            if !documented.contains(&(row.endpoint.id(), header.name.to_owned())) {
                undocumented.insert((row.endpoint.id(), header.name));
            }
        }
    }
    let expected = BTreeSet::from([
        // `contenttype.Negotiate` in engines 29 and later
        ("ContainerLogs", "accept"),
        ("SystemEvents", "accept"),
        // golang.org/x/net/websocket
        ("ContainerAttachWebsocket", "origin"),
        ("ContainerAttachWebsocket", "sec-websocket-key"),
        ("ContainerAttachWebsocket", "sec-websocket-protocol"),
        ("ContainerAttachWebsocket", "sec-websocket-version"),
        // `registry.AuthHeader` and `X-Meta-` in moby's image, distribution and plugin routers
        ("DistributionInspect", "x-registry-auth"),
        ("GetPluginPrivileges", "x-meta-*"),
        ("GetPluginPrivileges", "x-registry-auth"),
        ("ImageCreate", "x-meta-*"),
        ("ImagePush", "x-meta-*"),
        ("ImageSearch", "x-meta-*"),
        ("ImageSearch", "x-registry-auth"),
        ("PluginPull", "x-meta-*"),
        ("PluginPush", "x-meta-*"),
        ("PluginPush", "x-registry-auth"),
        ("PluginUpgrade", "x-meta-*"),
        // buildkit `session/manager.go`
        ("Session", "x-docker-expose-session-grpc-method"),
        ("Session", "x-docker-expose-session-name"),
        ("Session", "x-docker-expose-session-sharedkey"),
        ("Session", "x-docker-expose-session-uuid"),
    ]);
    assert_eq!(undocumented, expected);
}

fn check(what: &str, found: &BTreeSet<String>, listed: &[&str]) {
    let listed: BTreeSet<String> = listed.iter().map(|&line| line.to_owned()).collect();
    let new: Vec<_> = found.difference(&listed).collect();
    let stale: Vec<_> = listed.difference(found).collect();
    assert!(new.is_empty() && stale.is_empty(), "{what}: unlisted {new:#?}, in vain {stale:#?}");
}

fn lines(data: &str) -> impl Iterator<Item = Vec<&str>> {
    data.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect())
}

/// What a specification's first and last version mean here: before 1.25 there was none.
fn span(first: &str, last: &str) -> (Minor, Minor) {
    let first: Minor = first.parse().unwrap();
    let since = if first == 25 { OLDEST } else { first };
    (since, if last == "-" { Minor::MAX } else { last.parse().unwrap() })
}

fn find(method: &str, path: &str) -> Option<&'static Row> {
    let path = replace_captures(path, "{}");
    TABLE
        .iter()
        .find(|row| method_name(row.method) == method && replace_captures(row.path, "{}") == path)
}

fn replace_captures(pattern: &str, by: &str) -> String {
    let mut out = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        out.push_str(by);
        rest = after.split_once('}').unwrap().1;
    }
    out + rest
}

fn first_match(method: Method, path: &str) -> Option<Endpoint> {
    let row = TABLE.iter().find(|row| row.method == method && matches(row.path, path));
    row.map(|row| row.endpoint)
}

/// gorilla/mux: `{x}` is `[^/]+`, `{x:re}` is `re`, and the whole path must match.
fn matches(pattern: &str, path: &str) -> bool {
    let Some((literal, rest)) = pattern.split_once('{') else { return pattern == path };
    let Some(path) = path.strip_prefix(literal) else { return false };
    let (capture, rest) = rest.split_once('}').unwrap();
    let least = if capture.ends_with(".*") { 0 } else { 1 };
    let most =
        if capture.contains(':') { path.len() } else { path.find('/').unwrap_or(path.len()) };
    (least..=most).any(|end| path.get(end..).is_some_and(|tail| matches(rest, tail)))
}

fn method_name(method: Method) -> &'static str {
    match method {
        Delete => "DELETE",
        Get => "GET",
        Head => "HEAD",
        Options => "OPTIONS",
        Post => "POST",
        Put => "PUT",
    }
}
