//! What a command has made, as far as its client and the policies ask for it again.
//!
//! `answers` makes and finds. What must stay true: ids depend on nothing but the order and the names of what is made, so
//! that the same command is told the same; what nobody has made is to a policy as if it had been made here, plainly.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use serde_json::{Value, json};

/// Of each kind: a command makes few, and a loop is no command.
const MOST: usize = 4096;
/// How long a container runs.
const RUNS: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Things {
    containers: Vec<Container>,
    networks: Vec<Value>,
    volumes: Vec<Value>,
    made: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Container {
    id: String,
    name: String,
    body: Value,
    is_named: bool,
    life: Life,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Life {
    Created,
    /// For as long as clients look whether it does.
    RunsSince(Instant),
    Ended,
    /// Nobody here has started it.
    RunsOn,
}

impl Life {
    fn is_running(self) -> bool {
        match self {
            Life::Created | Life::Ended => false,
            Life::RunsSince(start) => start.elapsed() < RUNS,
            Life::RunsOn => true,
        }
    }
}

impl Things {
    pub(super) fn new_id(&mut self, kind: &str) -> String {
        self.made += 1;
        id_of(&format!("{kind} {}", self.made))
    }

    pub(super) fn create(&mut self, name: Option<&str>, body: Value) -> String {
        let id = match name {
            Some(name) => id_of(&format!("container {name}")),
            None => self.new_id("container"),
        };
        let is_named = name.is_some();
        let short = id.get(..12).unwrap_or_default();
        let name = name.map_or_else(|| format!("c{short}"), str::to_owned);
        self.containers.retain(|other| other.name != name);
        self.containers.truncate(MOST);
        let (made, life) = (id.clone(), Life::Created);
        self.containers.push(Container { id: made, name, body, is_named, life });
        id
    }

    fn find(&self, name: &str) -> Option<usize> {
        let name = name.trim_start_matches('/');
        let is =
            |one: &Container| one.name == name || (name.len() >= 12 && one.id.starts_with(name));
        self.containers.iter().position(is)
    }

    /// What is asked for; if nobody has made it, as if it had been made without a wish.
    pub(super) fn container(&self, name: &str) -> Container {
        let found = self.find(name).and_then(|index| self.containers.get(index));
        found.cloned().unwrap_or_else(|| Container {
            id: id_of(&format!("container {name}")),
            name: name.to_owned(),
            body: json!({}),
            is_named: true,
            life: Life::RunsOn,
        })
    }

    /// Of something made by this id, the name that its maker gave it.
    pub(super) fn name_of(&self, id: &str) -> Option<&str> {
        let made = self.containers.iter().find(|one| one.id == id && one.is_named)?;
        Some(&made.name)
    }

    pub(super) fn is_running(&mut self, name: &str, is_running: bool) {
        if let Some(one) = self.find(name).and_then(|index| self.containers.get_mut(index)) {
            one.life = if is_running { Life::RunsSince(Instant::now()) } else { Life::Ended };
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some(index) = self.find(name) {
            self.containers.remove(index);
        }
    }

    /// What has come of containers, as `GET /events` tells it, beyond what was `told`.
    pub(super) fn news(&self, told: &mut HashSet<(String, &'static str)>) -> Vec<Value> {
        let mut news = Vec::new();
        for one in &self.containers {
            let what: &[&'static str] = match one.life {
                Life::Created | Life::RunsOn => &[],
                life if life.is_running() => &["start"],
                Life::RunsSince(_) | Life::Ended => &["start", "die"],
            };
            for action in what {
                if told.insert((one.id.clone(), action)) {
                    news.push(one.event(action));
                }
            }
        }
        news
    }

    pub(super) fn containers(&self) -> impl Iterator<Item = &Container> {
        self.containers.iter()
    }

    pub(super) fn create_network(&mut self, body: &Value) -> String {
        let name = text(body, "Name");
        let id = id_of(&format!("network {name}"));
        let mut network = network(&name);
        merge(&mut network, body);
        self.networks.truncate(MOST);
        self.networks.push(network);
        id
    }

    pub(super) fn network(&self, name: &str) -> Option<Value> {
        let is = |one: &&Value| text(one, "Name") == name || text(one, "Id") == name;
        self.networks.iter().find(is).cloned()
    }

    pub(super) fn networks(&self) -> Vec<Value> {
        let own = ["bridge", "host", "none"].map(network);
        own.into_iter().chain(self.networks.iter().cloned()).collect()
    }

    pub(super) fn remove_network(&mut self, name: &str) {
        self.networks.retain(|one| text(one, "Name") != name && text(one, "Id") != name);
    }

    pub(super) fn create_volume(&mut self, body: &Value) -> Value {
        let name = match text(body, "Name") {
            name if name.is_empty() => self.new_id("volume"),
            name => name,
        };
        let mut volume = volume(&name);
        merge(&mut volume, body);
        if let Some(map) = volume.as_object_mut() {
            let options = map.remove("DriverOpts").unwrap_or_default();
            map.insert("Options".to_owned(), options);
            map.insert("Name".to_owned(), name.into());
        }
        self.volumes.truncate(MOST);
        self.volumes.push(volume.clone());
        volume
    }

    pub(super) fn volume(&self, name: &str) -> Option<Value> {
        self.volumes.iter().find(|one| text(one, "Name") == name).cloned()
    }

    pub(super) fn volumes(&self) -> &[Value] {
        &self.volumes
    }

    pub(super) fn remove_volume(&mut self, name: &str) {
        self.volumes.retain(|one| text(one, "Name") != name);
    }
}

impl Container {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// As `GET /containers/NAME/json` shows it.
    pub(super) fn inspect(&self) -> Value {
        let mut config = self.body.clone();
        let host_config = take(&mut config, "HostConfig");
        let endpoints = take(&mut take(&mut config, "NetworkingConfig"), "EndpointsConfig");
        let mut host = json!({
            "NetworkMode": "bridge", "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 },
            "LogConfig": { "Type": "json-file", "Config": {} }, "Runtime": "runc",
            "CgroupnsMode": "private", "IpcMode": "private", "ShmSize": 67_108_864,
        });
        merge(&mut host, &host_config);
        let mode = text(&host, "NetworkMode");
        let mut networks = json!({});
        if let Some(networks) = networks.as_object_mut() {
            let named = endpoints.as_object().into_iter().flat_map(|all| all.keys().cloned());
            let named: Vec<String> = named.collect();
            let all = match named.is_empty() && !mode.starts_with("container:") {
                true => vec![if mode == "default" { "bridge".to_owned() } else { mode.clone() }],
                false => named,
            };
            for name in all {
                let settings = json!({ "NetworkID": id_of(&format!("network {name}")) });
                networks.insert(name, settings);
            }
        }
        let (status, image) = (self.status(), text(&config, "Image"));
        json!({
            "Id": self.id, "Name": format!("/{}", self.name), "Created": TIME, "Image": image_id(&image),
            "Driver": "overlay2", "Platform": "linux", "Path": "", "Args": [], "RestartCount": 0,
            "State": {
                "Status": status, "Running": self.life.is_running(), "Paused": false, "Restarting": false,
                "Dead": false, "OOMKilled": false, "Pid": i32::from(self.life.is_running()), "ExitCode": 0,
                "Error": "", "StartedAt": TIME, "FinishedAt": TIME,
                "Health": { "Status": "healthy", "FailingStreak": 0, "Log": [] },
            },
            "HostConfig": host, "Config": config, "Mounts": [],
            "NetworkSettings": { "Networks": networks, "Ports": {} },
        })
    }

    /// As a list shows it.
    pub(super) fn summary(&self) -> Value {
        let image = text(&self.body, "Image");
        let labels = self.body.get("Labels").filter(|labels| labels.is_object());
        json!({
            "Id": self.id, "Names": [format!("/{}", self.name)], "Image": image, "ImageID": image_id(&image),
            "Command": "", "Created": 0, "State": self.status(), "Status": self.status(), "Ports": [],
            "Labels": labels.cloned().unwrap_or_else(|| json!({})), "Mounts": [],
            "HostConfig": { "NetworkMode": "bridge" }, "NetworkSettings": { "Networks": {} },
        })
    }

    fn status(&self) -> &'static str {
        match self.life {
            Life::Created => "created",
            life if life.is_running() => "running",
            Life::RunsSince(_) | Life::Ended | Life::RunsOn => "exited",
        }
    }

    fn event(&self, action: &str) -> Value {
        let image = text(&self.body, "Image");
        let mut about = self.body.get("Labels").cloned().unwrap_or_default();
        if !about.is_object() {
            about = json!({});
        }
        merge(&mut about, &json!({ "image": image, "name": self.name, "exitCode": "0" }));
        json!({
            "status": action, "id": self.id, "from": image, "Type": "container", "Action": action,
            "Actor": { "ID": self.id, "Attributes": about }, "scope": "local", "time": 0, "timeNano": 0,
        })
    }
}

const TIME: &str = "2024-01-01T00:00:00Z";

/// A network that the operator may have made, by this name.
pub(super) fn network(name: &str) -> Value {
    let driver = match name {
        "host" => "host",
        "none" => "null",
        _ => "bridge",
    };
    json!({
        "Name": name, "Id": id_of(&format!("network {name}")), "Created": TIME, "Scope": "local",
        "Driver": driver, "EnableIPv6": false, "Internal": false, "Attachable": false, "Ingress": false,
        "ConfigOnly": false, "ConfigFrom": { "Network": "" }, "Options": {}, "Labels": {},
        "IPAM": { "Driver": "default", "Options": {}, "Config": [] }, "Containers": {},
    })
}

pub(super) fn volume(name: &str) -> Value {
    json!({
        "Name": name, "Driver": "local", "Scope": "local", "CreatedAt": TIME, "Labels": {}, "Options": null,
        "Mountpoint": format!("/var/lib/docker/volumes/{name}/_data"),
    })
}

pub(super) fn image(name: &str) -> Value {
    json!({
        "Id": image_id(name), "RepoTags": [name], "RepoDigests": [], "Created": TIME, "Os": "linux",
        "Architecture": architecture(), "Size": 0, "Config": { "Cmd": ["true"], "Env": [] },
        "RootFS": { "Type": "layers", "Layers": [] }, "GraphDriver": { "Name": "overlay2", "Data": {} },
    })
}

pub(super) fn image_id(name: &str) -> String {
    format!("sha256:{}", id_of(&format!("image {name}")))
}

/// As Go calls it.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn id_of(what: &str) -> String {
    let digest = digest::digest(&digest::SHA256, what.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn take(value: &mut Value, key: &str) -> Value {
    value.as_object_mut().and_then(|map| map.remove(key)).unwrap_or_default()
}

/// What is said of one comes over what is there of the other.
fn merge(into: &mut Value, said: &Value) {
    let (Some(into), Some(said)) = (into.as_object_mut(), said.as_object()) else { return };
    for (key, value) in said {
        let is_said = !value.is_null() && value.as_str() != Some("");
        if is_said {
            into.insert(key.clone(), value.clone());
        }
    }
}
