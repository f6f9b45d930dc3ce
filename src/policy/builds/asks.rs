//! What a build can have the engine ask its client for, taken from what was sent to begin it.
//!
//! `gateway` keeps it as long as the build runs, and compares what the engine asks in a session with all builds of that
//! session. What must stay true: a program that reads a Dockerfile may ask for whatever its client has, since nobody knows the
//! program; whoever sends a graph is asked for what stands in it. Where nothing runs, nothing is asked.

use std::collections::BTreeSet;

use super::sessions;
use crate::api::buildkit::BUILD_ID;
use crate::api::buildkit::session::{CallbackKind, UPLOADS};
use crate::api::doc::Value;
use crate::api::{Endpoint, Typed};

/// A build, or what is asked on behalf of one that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BegunBuild {
    /// Without one it is told by nothing but its call.
    pub id: Option<String>,
    /// By the ids that the engine has them by.
    pub sessions: BTreeSet<String>,
    pub asks: BuildAsks,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildAsks {
    folders: AskedNames,
    secrets: AskedNames,
    agents: AskedNames,
    uploads: bool,
    content: bool,
    writes_content: bool,
    exports: bool,
    finds_exporters: bool,
    /// Images that it pushes by itself, as the engine has their names.
    pushed: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum AskedNames {
    Any,
    These(BTreeSet<String>),
}

impl BegunBuild {
    /// None of a call with which nothing is built.
    pub fn of(call: &Typed) -> Option<BegunBuild> {
        let id = match call.endpoint() {
            Endpoint::Solve => Some(super::named(call, "Ref").unwrap_or_default()),
            Endpoint::ImageBuild if call.query().get("version") == Some("2") => None,
            Endpoint::BridgeSolve
            | Endpoint::ResolveImageConfig
            | Endpoint::ResolveSourceMeta
            | Endpoint::NewContainer
            | Endpoint::ExecProcess => {
                let (_, id) = call.headers().find(|(name, _)| *name == BUILD_ID)?;
                Some(std::str::from_utf8(id).ok()?)
            }
            _ => return None,
        };
        let sessions = sessions(call).into_iter().map(str::to_owned).collect();
        Some(BegunBuild { id: id.map(str::to_owned), sessions, asks: BuildAsks::of(call) })
    }
}

impl BuildAsks {
    fn of(call: &Typed) -> BuildAsks {
        let mut asks = BuildAsks::default();
        let Some(doc) = call.doc().filter(|_| call.endpoint() != Endpoint::ImageBuild) else {
            // dockerd has BuildKit's own frontend read it, and writes the one output that is asked for.
            asks.reads_anything();
            asks.exports = call.query().get("outputs").is_some_and(|outputs| !outputs.is_empty());
            return asks;
        };
        let is_set = |field| doc.at(&[field]).is_some_and(|value| !value.is_zero());
        if is_set("Frontend") {
            asks.reads_anything();
        }
        asks.finds_exporters = is_set("EnableSessionExporter");
        let one = doc.at(&["ExporterDeprecated"]).into_iter();
        let several = doc.at(&["Exporters"]).map(Value::items).unwrap_or_default().iter();
        let mut exporters = one.chain(several.filter_map(|exporter| exporter.get("Type")));
        // The others keep what comes out in the engine, or push it.
        let stays = |exporter: &Value| matches!(exporter.as_str(), Some("" | "moby" | "image"));
        asks.exports = asks.finds_exporters || exporters.any(|exporter| !stays(exporter));
        let caches = |list: &str| doc.at(&["Cache", list]).map(Value::items).unwrap_or_default();
        let is_here = |cache: &Value| {
            let kind = cache.get("Type").and_then(Value::as_str);
            !matches!(kind, Some("inline" | "registry"))
        };
        asks.writes_content = caches("Exports").iter().any(is_here);
        asks.content |= asks.writes_content || caches("Imports").iter().any(is_here);
        asks.content |=
            doc.at(&["CacheImports"]).is_some_and(|all| all.items().iter().any(is_here));
        asks.pushes(&doc.root);
        asks.graph(&doc.root);
        asks
    }

    /// What goes to registries of what comes out, and of the cache.
    fn pushes(&mut self, build: &Value) {
        let place = |name| build.get(name).unwrap_or(&Value::Null);
        let attributes = place("Exporters").items().iter().filter_map(|one| one.get("Attrs"));
        for all in attributes.chain([place("ExporterAttrsDeprecated")]) {
            let said = |name| all.get(name).and_then(Value::as_str);
            if said("push").is_some_and(is_on) {
                self.push(said("name").unwrap_or_default());
            }
        }
        let exports = place("Cache").get("Exports").map(Value::items).unwrap_or_default();
        for one in exports {
            let name = one.get("Attrs").and_then(|all| all.get("ref")).and_then(Value::as_str);
            self.push(name.unwrap_or_default());
        }
        let old = place("Cache").get("ExportRefDeprecated").and_then(Value::as_str);
        self.push(old.unwrap_or_default());
    }

    fn push(&mut self, names: &str) {
        let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        self.pushed.extend(names.map(str::to_owned));
    }

    /// What it pushes by itself.
    pub fn pushed(&self) -> impl Iterator<Item = &str> {
        self.pushed.iter().map(String::as_str)
    }

    /// What is asked for in a Dockerfile, or by whatever reads it.
    fn reads_anything(&mut self) {
        for names in [&mut self.folders, &mut self.secrets, &mut self.agents] {
            *names = AskedNames::Any;
        }
        (self.uploads, self.content) = (true, true);
    }

    /// What stands in graphs, at any depth.
    fn graph(&mut self, value: &Value) {
        for (key, value) in value.entries() {
            let text = value.as_str();
            match (key.as_ref(), text) {
                ("identifier", Some(source)) => self.source(source),
                // a build of its own, which nobody looks into
                ("build", _) if !value.is_zero() => self.reads_anything(),
                ("secretOpt", _) => self.secrets.add(named(value)),
                ("SSHOpt", _) => self.agents.add(named(value)),
                ("secretenv", _) => {
                    value.items().iter().for_each(|one| self.secrets.add(named(one)));
                }
                // `git.authtokensecret`, `http.authheadersecret`, `git.mountsshsock`
                (key, Some(name)) if key.ends_with("secret") && key.contains('.') => {
                    self.secrets.add(name);
                }
                (key, Some(name)) if key.ends_with(".mountsshsock") => self.agents.add(name),
                _ => {}
            }
            self.graph(value);
        }
        value.items().iter().for_each(|item| self.graph(item));
    }

    fn source(&mut self, source: &str) {
        match source.split_once("://") {
            Some(("local", name)) => self.folders.add(name),
            Some(("oci-layout", _)) => self.content = true,
            _ => self.uploads |= source.starts_with(UPLOADS),
        }
    }

    /// And what another call asks for of the same build.
    pub fn merge(&mut self, other: BuildAsks) {
        self.folders.merge(other.folders);
        self.secrets.merge(other.secrets);
        self.agents.merge(other.agents);
        self.uploads |= other.uploads;
        self.content |= other.content;
        self.writes_content |= other.writes_content;
        self.exports |= other.exports;
        self.finds_exporters |= other.finds_exporters;
        self.pushed.extend(other.pushed);
    }

    /// Whether the engine can want this for the build. Names are empty where the client chooses.
    pub fn covers(&self, kind: CallbackKind, name: &str) -> bool {
        match kind {
            // For which registries is for policies to say.
            CallbackKind::Health | CallbackKind::Credentials => true,
            CallbackKind::Folder => self.folders.has(name),
            CallbackKind::Secret => self.secrets.has_with_host(name),
            CallbackKind::Agent => self.agents.has(agent(name)),
            CallbackKind::Export => self.exports,
            CallbackKind::FindExporters => self.finds_exporters,
            CallbackKind::Upload => self.uploads,
            CallbackKind::Content => self.content,
            CallbackKind::ContentWrite => self.writes_content,
        }
    }
}

/// `strconv.ParseBool`; the name alone is a yes.
fn is_on(text: &str) -> bool {
    !matches!(text, "0" | "f" | "F" | "false" | "FALSE" | "False")
}

fn named(of: &Value) -> &str {
    agent(of.get("ID").and_then(Value::as_str).unwrap_or_default())
}

/// As BuildKit calls one without a name (session/sshforward).
fn agent(name: &str) -> &str {
    if name.is_empty() { "default" } else { name }
}

impl Default for AskedNames {
    fn default() -> AskedNames {
        AskedNames::These(BTreeSet::new())
    }
}

impl AskedNames {
    fn add(&mut self, name: &str) {
        if let AskedNames::These(names) = self {
            names.insert(name.to_owned());
        }
    }

    fn merge(&mut self, other: AskedNames) {
        match (self, other) {
            (AskedNames::Any, _) => {}
            (mine, AskedNames::Any) => *mine = AskedNames::Any,
            (AskedNames::These(mine), AskedNames::These(others)) => mine.extend(others),
        }
    }

    fn has(&self, name: &str) -> bool {
        match self {
            AskedNames::Any => true,
            AskedNames::These(names) => names.contains(name),
        }
    }

    /// A token for a repository is first asked for with the repository's host behind its name (source/git).
    fn has_with_host(&self, name: &str) -> bool {
        let starts = name.match_indices('.').filter_map(|(at, _)| name.get(..at));
        self.has(name) || starts.into_iter().any(|start| self.has(start))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::call;
    use super::*;

    const ALL: [(CallbackKind, &str); 9] = [
        (CallbackKind::Folder, "context"),
        (CallbackKind::Secret, "token"),
        (CallbackKind::Agent, ""),
        (CallbackKind::Upload, ""),
        (CallbackKind::Content, ""),
        (CallbackKind::ContentWrite, ""),
        (CallbackKind::Export, ""),
        (CallbackKind::FindExporters, ""),
        (CallbackKind::Credentials, "docker.io"),
    ];

    fn asks(method: &str, body: serde_json::Value) -> BuildAsks {
        BegunBuild::of(&call(method, body, "r")).unwrap().asks
    }

    fn covered(asks: &BuildAsks) -> Vec<CallbackKind> {
        let covers = ALL.iter().filter(|(kind, name)| asks.covers(*kind, name));
        covers.map(|(kind, _)| *kind).collect()
    }

    fn graph(op: serde_json::Value) -> serde_json::Value {
        json!({"Ref": "r", "Definition": {"def": [op, {"inputs": [{"digest": "x"}]}]}})
    }

    #[test]
    fn a_frontend_asks_for_what_its_client_has_and_a_client_that_is_one_for_nothing_yet() {
        use CallbackKind::{Agent, Content, Credentials, Folder, Secret, Upload};
        let anything = [Folder, Secret, Agent, Upload, Content, Credentials];
        let solve = json!({"Ref": "r", "Session": "s", "Frontend": "dockerfile.v0"});
        assert_eq!(covered(&asks("Control/Solve", solve)), anything);
        let bridged = asks("LLBBridge/Solve", json!({"Frontend": "gateway.v0"}));
        assert_eq!(covered(&bridged), anything);
        let mut own = asks("Control/Solve", json!({"Ref": "r", "Session": "s"}));
        assert_eq!(covered(&own), [Credentials]);
        own.merge(bridged);
        assert_eq!(covered(&own), anything);
        let nested = graph(json!({"build": "aGk="}));
        assert_eq!(covered(&asks("Control/Solve", nested)), anything);
    }

    #[test]
    fn what_comes_out_is_sent_where_it_was_asked_for() {
        let exports = |body: serde_json::Value| {
            let mut solve = json!({"Ref": "r"});
            solve.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
            let asks = asks("Control/Solve", solve);
            [CallbackKind::Export, CallbackKind::FindExporters, CallbackKind::ContentWrite]
                .map(|kind| asks.covers(kind, ""))
        };
        for kind in ["local", "tar", "oci", "docker", "new"] {
            assert_eq!(exports(json!({"ExporterDeprecated": kind})), [true, false, false]);
            let several = json!({"Exporters": [{"Type": "moby"}, {"Type": kind}]});
            assert_eq!(exports(several), [true, false, false], "{kind}");
        }
        for kind in ["", "moby", "image"] {
            assert_eq!(exports(json!({"Exporters": [{"Type": kind}]})), [false; 3], "{kind}");
        }
        assert_eq!(exports(json!({"EnableSessionExporter": true})), [true, true, false]);
        let cache = |kind: &str| json!({"Cache": {"Exports": [{"Type": kind}]}});
        assert_eq!(exports(cache("local")), [false, false, true]);
        assert_eq!(exports(cache("registry")), [false; 3]);
        assert_eq!(exports(json!({"Cache": {"Imports": [{"Type": "local"}]}})), [false; 3]);
    }

    #[test]
    fn what_a_build_pushes_is_what_its_exporters_and_caches_name() {
        let pushed = |body: serde_json::Value| {
            let mut solve = json!({"Ref": "b", "Session": "s"});
            solve.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
            asks("Control/Solve", solve).pushed().map(str::to_owned).collect::<Vec<_>>()
        };
        let image =
            |attrs: serde_json::Value| json!({"Exporters": [{"Type": "image", "Attrs": attrs}]});
        assert_eq!(pushed(image(json!({"name": "a, b:1", "push": "true"}))), ["a", "b:1"]);
        assert_eq!(pushed(image(json!({"name": "a", "push": ""}))), ["a"]);
        assert!(pushed(image(json!({"name": "a", "push": "false"}))).is_empty());
        assert!(pushed(image(json!({"name": "a"}))).is_empty());
        let old = json!({"ExporterDeprecated": "image", "ExporterAttrsDeprecated": {"name": "a", "push": "1"}});
        assert_eq!(pushed(old), ["a"]);
        let cache = json!({"Cache": {"Exports": [{"Type": "registry", "Attrs": {"ref": "c"}}], "ExportRefDeprecated": "d",
            "Imports": [{"Type": "registry", "Attrs": {"ref": "e"}}]}});
        assert_eq!(pushed(cache), ["c", "d"]);
    }

    #[test]
    fn a_graph_asks_for_what_stands_in_it() {
        let of = |op: serde_json::Value| asks("Control/Solve", graph(op));
        let source = |name: &str, attrs: serde_json::Value| {
            of(json!({"source": {"identifier": name, "attrs": attrs}}))
        };
        let local = source("local://src", json!({}));
        assert!(local.covers(CallbackKind::Folder, "src"));
        assert!(!local.covers(CallbackKind::Folder, "context"));
        assert!(!local.covers(CallbackKind::Secret, "src"));
        let layout = source("oci-layout://x@sha256:1", json!({}));
        assert_eq!(covered(&layout), [CallbackKind::Content, CallbackKind::Credentials]);
        let sent = source("http://buildkit-session/x", json!({}));
        assert_eq!(covered(&sent), [CallbackKind::Upload, CallbackKind::Credentials]);
        assert_eq!(covered(&source("http://a/x", json!({}))), [CallbackKind::Credentials]);
        let git = json!({"git.authtokensecret": "T", "git.mountsshsock": "k"});
        let git = source("git://github.com/a/b", git);
        for (name, is_asked) in [("T", true), ("T.github.com", true), ("Tx", false), ("t", false)] {
            assert_eq!(git.covers(CallbackKind::Secret, name), is_asked, "{name}");
        }
        assert!(git.covers(CallbackKind::Agent, "k") && !git.covers(CallbackKind::Agent, ""));
        let mounts = json!([{"secretOpt": {"ID": "s"}}, {"SSHOpt": {}}]);
        let process = json!({"exec": {"mounts": mounts, "secretenv": [{"ID": "e", "name": "n"}]}});
        let process = of(process);
        for (name, is_asked) in [("s", true), ("e", true), ("n", false), ("other", false)] {
            assert_eq!(process.covers(CallbackKind::Secret, name), is_asked, "{name}");
        }
        assert!(process.covers(CallbackKind::Agent, "default"));
        assert!(!process.covers(CallbackKind::Agent, "k"));
        let container = asks("NewContainer", json!({"Mounts": [{"secretOpt": {"ID": "s"}}]}));
        assert!(container.covers(CallbackKind::Secret, "s"));
        let process = asks("ExecProcess", json!({"Init": {"secretenv": [{"ID": "e"}]}}));
        assert!(process.covers(CallbackKind::Secret, "e"));
    }

    #[test]
    fn a_build_is_in_every_session_that_it_names() {
        let solve =
            json!({"Ref": "b", "Session": "s", "FrontendAttrs": {"local-sessionid:x": "t"}});
        let begun = BegunBuild::of(&call("Control/Solve", solve, "")).unwrap();
        let named: Vec<&str> = begun.sessions.iter().map(String::as_str).collect();
        assert_eq!((begun.id.as_deref(), named), (Some("b"), vec!["s", "t"]));
        let bridged = BegunBuild::of(&call("LLBBridge/Solve", json!({}), "b")).unwrap();
        assert_eq!(bridged.id.as_deref(), Some("b"));
        assert_eq!(BegunBuild::of(&call("LLBBridge/Ping", json!({}), "b")), None);
        assert_eq!(BegunBuild::of(&call("Control/Status", json!({"Ref": "b"}), "")), None);
    }
}
