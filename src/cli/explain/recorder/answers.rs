//! What the recorder answers to each route of the Engine API, by API 1.51.
//!
//! `recorder` asks for each request. What must stay true: an answer has what clients read of it, and no more; what a client
//! looks for before it makes it (networks, volumes) is not there, and what it uses without having made it is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::request::Parts;
use serde_json::{Value, json};

use super::things::{self, Things};
use crate::api::json;
use crate::api::query::Query;

/// The newest version before engines took gRPC without an upgrade.
const API: &str = "1.51";
const VERSION: &str = "28.3.3";

pub(super) enum Reply {
    Json(u16, Value),
    Text(u16, Vec<(&'static str, String)>, &'static str),
    Bytes(&'static str, Vec<u8>),
    /// With what it says of the file that it is of.
    Archive(String, Vec<u8>),
    Nothing,
    /// What comes of containers, for as long as it is read.
    Events,
    /// The connection, where the client wants to have it.
    Takes(Stream),
}

#[derive(Clone, Copy)]
pub(super) enum Stream {
    Output,
    Grpc,
    Session,
}

pub(super) struct Asked {
    method: String,
    /// Without the version.
    parts: Vec<String>,
    query: Query,
    body: Value,
    /// Dockgate's own question, for a policy.
    is_own: bool,
}

impl Asked {
    pub(super) fn new(head: &Parts, body: &[u8]) -> Asked {
        let decode = |part: &str| {
            percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned()
        };
        let mut parts: Vec<String> =
            head.uri.path().split('/').filter(|part| !part.is_empty()).map(decode).collect();
        let is_version = |part: &String| {
            part.strip_prefix('v')
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        if parts.first().is_some_and(is_version) {
            parts.remove(0);
        }
        let agent = head.headers.get("user-agent").map(|agent| agent.as_bytes());
        Asked {
            method: head.method.to_string(),
            parts,
            query: Query::parse(head.uri.query().unwrap_or_default()).unwrap_or_default(),
            body: json::read(body).unwrap_or_default(),
            is_own: agent.is_some_and(|agent| agent.starts_with(b"dockgate/")),
        }
    }
}

pub(super) fn reply(things: &mut Things, asked: &Asked) -> Reply {
    let parts: Vec<&str> = asked.parts.iter().map(String::as_str).collect();
    let method = match asked.method.as_str() {
        "HEAD" if parts != ["_ping"] => "HEAD",
        "HEAD" => "GET",
        other => other,
    };
    match (method, &*parts) {
        ("GET", ["_ping"]) => ping(),
        ("GET", ["version"]) => Reply::Json(200, version()),
        ("GET", ["info"]) => Reply::Json(200, info()),
        ("GET", ["events"]) => Reply::Events,
        ("POST", ["auth"]) => {
            Reply::Json(200, json!({ "Status": "Login Succeeded", "IdentityToken": "" }))
        }
        ("POST", ["grpc"]) => Reply::Takes(Stream::Grpc),
        ("POST", ["session"]) => Reply::Takes(Stream::Session),
        ("POST", ["build"]) => progress(&[
            json!({ "stream": "Successfully built 0123456789ab\n" }),
            json!({ "aux": { "ID": things::image_id("built") } }),
        ]),
        (_, ["build", ..]) => Reply::Json(200, json!({})),
        ("POST", ["commit"]) => Reply::Json(201, json!({ "Id": things::image_id("commit") })),
        (_, ["containers", rest @ ..]) => container(things, asked, method, rest),
        (_, ["exec", id, rest @ ..]) => exec(method, id, rest),
        (_, ["images", rest @ ..]) => image(method, rest, &asked.query),
        (_, ["networks", rest @ ..]) => network(things, asked, method, rest),
        (_, ["volumes", rest @ ..]) => volume(things, asked, method, rest),
        ("GET", ["distribution", .., "json"]) => {
            let descriptor = json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": things::image_id("distribution"), "size": 0,
            });
            Reply::Json(200, json!({ "Descriptor": descriptor, "Platforms": [] }))
        }
        ("GET", ["system", "df"]) => Reply::Json(200, json!({})),
        ("GET", ["plugins"]) => Reply::Json(200, json!([])),
        _ => {
            let message = "the recorder of `dockgate explain` has no answer to this";
            Reply::Json(503, json!({ "message": message }))
        }
    }
}

fn ping() -> Reply {
    let headers = [
        ("Api-Version", API),
        ("Builder-Version", "2"),
        ("Docker-Experimental", "false"),
        ("Ostype", "linux"),
        ("Server", "Docker/28.3.3 (linux)"),
        ("Swarm", "inactive"),
    ];
    Reply::Text(200, headers.map(|(name, value)| (name, value.to_owned())).to_vec(), "OK")
}

fn version() -> Value {
    json!({
        "Platform": { "Name": "dockgate explain" }, "Version": VERSION, "ApiVersion": API, "MinAPIVersion": "1.24",
        "Os": "linux", "Arch": things::architecture(), "KernelVersion": "", "GitCommit": "", "GoVersion": "",
        "Components": [{ "Name": "Engine", "Version": VERSION, "Details": { "ApiVersion": API, "MinAPIVersion": "1.24" } }],
    })
}

fn info() -> Value {
    json!({
        "ID": "dockgate-explain", "Name": "dockgate-explain", "ServerVersion": VERSION, "OSType": "linux",
        "Architecture": std::env::consts::ARCH, "OperatingSystem": "Linux", "DockerRootDir": super::super::DATA,
        "Driver": "overlay2", "DriverStatus": [], "CgroupDriver": "systemd", "CgroupVersion": "2",
        "LoggingDriver": "json-file", "DefaultRuntime": "runc", "Runtimes": { "runc": { "path": "runc" } },
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"], "NCPU": 4, "MemTotal": 8i64 << 30,
        "Swarm": { "LocalNodeState": "inactive", "ControlAvailable": false }, "InitBinary": "docker-init",
        "IndexServerAddress": "https://index.docker.io/v1/", "Containers": 0, "Images": 0, "Warnings": null,
        "RegistryConfig": { "InsecureRegistryCIDRs": [], "IndexConfigs": {}, "Mirrors": null },
        "Plugins": { "Volume": ["local"], "Network": ["bridge", "host", "null"], "Log": ["json-file", "local"] },
        "MemoryLimit": true, "SwapLimit": true, "PidsLimit": true, "CpuCfsPeriod": true, "CpuCfsQuota": true,
        "CPUShares": true, "CPUSet": true, "IPv4Forwarding": true, "OomKillDisable": false,
    })
}

fn container(things: &mut Things, asked: &Asked, method: &str, rest: &[&str]) -> Reply {
    match (method, rest) {
        ("POST", ["create"]) => {
            let name = asked.query.get("name").filter(|name| !name.is_empty());
            let id = things.create(name, asked.body.clone());
            Reply::Json(201, json!({ "Id": id, "Warnings": [] }))
        }
        ("GET", ["json"]) => {
            let all: Vec<Value> = things.containers().map(things::Container::summary).collect();
            Reply::Json(200, all.into())
        }
        ("POST", ["prune"]) => Reply::Json(200, json!({ "SpaceReclaimed": 0 })),
        ("GET", [name, "json"]) => Reply::Json(200, things.container(name).inspect()),
        ("GET", [name, "top"]) => {
            let id = things.container(name).id().to_owned();
            Reply::Json(200, json!({ "Titles": ["PID", "CMD"], "Processes": [["1", id]] }))
        }
        ("GET", [_, "changes"]) => Reply::Json(200, json!([])),
        ("GET", [_, "logs"]) => Reply::Bytes("application/vnd.docker.raw-stream", Vec::new()),
        ("GET", [name, "stats"]) => {
            let id = things.container(name).id().to_owned();
            Reply::Json(
                200,
                json!({ "id": id, "name": name, "cpu_stats": {}, "precpu_stats": {}, "memory_stats": {} }),
            )
        }
        ("GET", [_, "export"]) | ("GET", [_, "archive"]) => with_stat(tar()),
        ("HEAD", [_, "archive"]) => with_stat(Vec::new()),
        ("PUT", [_, "archive"]) => Reply::Json(200, json!({})),
        ("POST", [_, "attach"]) => Reply::Takes(Stream::Output),
        ("POST", [_, "wait"]) => Reply::Json(200, json!({ "StatusCode": 0 })),
        ("POST", [_, "exec"]) => Reply::Json(201, json!({ "Id": things.new_id("exec") })),
        ("POST", [_, "update"]) => Reply::Json(200, json!({ "Warnings": [] })),
        ("POST", [_, "resize"]) => Reply::Json(200, json!({})),
        ("POST", [name, "start" | "restart" | "unpause"]) => {
            things.is_running(name, true);
            Reply::Nothing
        }
        ("POST", [name, "stop" | "kill"]) => {
            things.is_running(name, false);
            Reply::Nothing
        }
        ("POST", [_, "pause" | "rename"]) => Reply::Nothing,
        ("DELETE", [name]) => {
            things.remove(name);
            Reply::Nothing
        }
        _ => nothing_of_it("route"),
    }
}

fn exec(method: &str, id: &str, rest: &[&str]) -> Reply {
    match (method, rest) {
        ("POST", ["start"]) => Reply::Takes(Stream::Output),
        ("POST", ["resize"]) => Reply::Json(200, json!({})),
        ("GET", ["json"]) => {
            Reply::Json(200, json!({ "ID": id, "Running": false, "ExitCode": 0, "Pid": 0 }))
        }
        _ => nothing_of_it("route"),
    }
}

fn image(method: &str, rest: &[&str], query: &Query) -> Reply {
    match (method, rest) {
        ("POST", ["create"]) => {
            let name = query.get("fromImage").unwrap_or("image");
            progress(&[json!({ "status": format!("Status: Image is up to date for {name}") })])
        }
        ("POST", ["load"]) => progress(&[json!({ "stream": "Loaded image\n" })]),
        ("POST", ["prune"]) => Reply::Json(200, json!({ "SpaceReclaimed": 0 })),
        ("POST", [.., "push"]) => progress(&[json!({ "status": "Pushed" })]),
        ("POST", [.., "tag"]) => Reply::Text(201, Vec::new(), ""),
        ("GET", ["json" | "search"]) | ("GET", [.., "history"]) => Reply::Json(200, json!([])),
        ("GET", ["get"]) | ("GET", [.., "get"]) => Reply::Bytes("application/x-tar", tar()),
        ("GET", [name @ .., "json"]) => Reply::Json(200, things::image(&name.join("/"))),
        ("DELETE", name) => Reply::Json(200, json!([{ "Untagged": name.join("/") }])),
        _ => nothing_of_it("route"),
    }
}

fn network(things: &mut Things, asked: &Asked, method: &str, rest: &[&str]) -> Reply {
    match (method, rest) {
        ("POST", ["create"]) => {
            let id = things.create_network(&asked.body);
            Reply::Json(201, json!({ "Id": id, "Warning": "" }))
        }
        ("POST", ["prune"]) => Reply::Json(200, json!({ "NetworksDeleted": null })),
        ("GET", []) => Reply::Json(200, things.networks().into()),
        ("GET", [name]) => match things.network(name) {
            Some(network) => Reply::Json(200, network),
            None if asked.is_own || matches!(*name, "bridge" | "host" | "none") => {
                Reply::Json(200, things::network(name))
            }
            None => nothing_of_it(&format!("network {name}")),
        },
        ("DELETE", [name]) => {
            things.remove_network(name);
            Reply::Nothing
        }
        ("POST", [_, "connect" | "disconnect"]) => Reply::Json(200, json!({})),
        _ => nothing_of_it("route"),
    }
}

fn volume(things: &mut Things, asked: &Asked, method: &str, rest: &[&str]) -> Reply {
    match (method, rest) {
        ("POST", ["create"]) => Reply::Json(201, things.create_volume(&asked.body)),
        ("POST", ["prune"]) => Reply::Json(200, json!({ "SpaceReclaimed": 0 })),
        ("GET", []) => Reply::Json(200, json!({ "Volumes": things.volumes(), "Warnings": null })),
        ("GET", [name]) => match things.volume(name) {
            Some(volume) => Reply::Json(200, volume),
            None if asked.is_own => Reply::Json(200, things::volume(name)),
            None => nothing_of_it(&format!("volume {name}")),
        },
        ("DELETE", [name]) => {
            things.remove_volume(name);
            Reply::Nothing
        }
        ("PUT", [_]) => Reply::Json(200, json!({})),
        _ => nothing_of_it("route"),
    }
}

fn nothing_of_it(what: &str) -> Reply {
    Reply::Json(404, json!({ "message": format!("{what} not found") }))
}

fn progress(lines: &[Value]) -> Reply {
    let text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    Reply::Bytes("application/json", text.into_bytes())
}

/// An archive of nothing.
fn tar() -> Vec<u8> {
    vec![0; 1024]
}

fn with_stat(body: Vec<u8>) -> Reply {
    let stat = json!({
        "name": "file", "size": 0, "mode": 0o644, "mtime": "2024-01-01T00:00:00Z", "linkTarget": "",
    });
    Reply::Archive(BASE64.encode(stat.to_string()), body)
}
