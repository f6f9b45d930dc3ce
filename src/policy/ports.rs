//! How many ports of the host a container takes.
//!
//! `conservative` and `limits` bound the number: for each published port the engine starts up to two processes
//! (`docker-proxy`, one for IPv4 and one for IPv6) that no limit of the container reaches. What must stay true:
//! whatever the engine could publish is counted; of a range of host ports for one binding it takes one
//! (`libnetwork/portallocator`), so that such a range is one.

use std::collections::HashSet;

use serde_json::Value as Json;

use crate::api::doc::Value;

/// What decides over it, from a body or from an inspect answer.
#[derive(Debug, Default)]
pub(super) struct Published<'b> {
    /// The container's port, and how many bindings it has.
    bindings: Vec<(&'b str, usize)>,
    pub publishes_all: bool,
    exposed: Vec<&'b str>,
}

impl<'b> Published<'b> {
    pub(super) fn of_body(create: &'b Value) -> Published<'b> {
        let host = create.get("HostConfig");
        let bindings = host.and_then(|host| host.get("PortBindings"));
        let bindings = bindings.map(Value::entries).unwrap_or_default();
        let all = host.and_then(|host| host.get("PublishAllPorts"));
        let exposed = create.get("ExposedPorts").map(Value::entries).unwrap_or_default();
        Published {
            bindings: bindings.iter().map(|(port, at)| (&**port, at.items().len())).collect(),
            publishes_all: all.is_some_and(|all| !all.is_zero()),
            exposed: exposed.iter().map(|(port, _)| &**port).collect(),
        }
    }

    pub(super) fn of_container(inspect: &'b Json) -> Published<'b> {
        let map = |place: &str| inspect.pointer(place).and_then(Json::as_object);
        let bindings = map("/HostConfig/PortBindings").into_iter().flatten();
        let count = |at: &Json| at.as_array().map_or(0, Vec::len);
        let all = inspect.pointer("/HostConfig/PublishAllPorts").and_then(Json::as_bool);
        Published {
            bindings: bindings.map(|(port, at)| (port.as_str(), count(at))).collect(),
            publishes_all: all.unwrap_or(false),
            exposed: keys(inspect.pointer("/Config/ExposedPorts")),
        }
    }

    /// What an image exposes is published with all else.
    pub(super) fn and_of_image(&mut self, inspect: &'b Json) {
        self.exposed.extend(keys(inspect.pointer("/Config/ExposedPorts")));
    }

    pub(super) fn count(&self) -> usize {
        let bound = self.bindings.iter();
        let bound: usize =
            bound.map(|(port, at)| width(port).saturating_mul(*at)).fold(0, usize::saturating_add);
        if !self.publishes_all {
            return bound;
        }
        let mut seen: HashSet<&str> =
            self.bindings.iter().filter(|(_, at)| *at > 0).map(|(port, _)| bare(port)).collect();
        let exposed = self.exposed.iter().filter(|port| seen.insert(bare(port)));
        exposed.map(|port| width(port)).fold(bound, usize::saturating_add)
    }
}

fn keys(map: Option<&Json>) -> Vec<&str> {
    let entries = map.and_then(Json::as_object).into_iter().flatten();
    entries.map(|(key, _)| key.as_str()).collect()
}

/// `80` is `80/tcp` (`nat.SplitProtoPort`).
fn bare(port: &str) -> &str {
    port.strip_suffix("/tcp").unwrap_or(port)
}

/// `1-400/tcp` are 400.
fn width(port: &str) -> usize {
    let number = port.split('/').next().unwrap_or_default();
    let Some((first, last)) = number.split_once('-') else { return 1 };
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) => usize::from(last.saturating_sub(first)).saturating_add(1),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_port_that_could_be_published_counts() {
        for (made, wanted) in [
            (json!({}), 0),
            (json!({ "HostConfig": { "PortBindings": { "80/tcp": [{}], "81/udp": null } } }), 1),
            (json!({ "HostConfig": { "PortBindings": { "80/tcp": [{}, {}] } } }), 2),
            (json!({ "HostConfig": { "PortBindings": { "80-89/tcp": [{}, {}] } } }), 20),
            (json!({ "HostConfig": { "PortBindings": { "80/tcp": [{ "HostPort": "1-9" }] } } }), 1),
            (json!({ "Config": { "ExposedPorts": { "1-400/tcp": {} } } }), 0),
            (
                json!({ "HostConfig": { "PublishAllPorts": true, "PortBindings": { "80/tcp": [{}] } },
                    "Config": { "ExposedPorts": { "1-400/tcp": {}, "80": {}, "80/udp": {}, "x": {} } } }),
                403,
            ),
        ] {
            assert_eq!(Published::of_container(&made).count(), wanted, "{made}");
        }
    }

    #[test]
    fn a_body_counts_as_the_container_that_is_made_of_it() {
        let body = r#"{"ExposedPorts":{"1-3/tcp":{},"9/udp":{}},"HostConfig":{"PublishAllPorts":true,"PortBindings":{"80/tcp":[{},{}]}}}"#;
        let kind = crate::api::shape::Kind::Object(crate::api::container::CREATE);
        let doc = crate::api::doc::parse(body.as_bytes(), &kind).unwrap();
        let mut published = Published::of_body(&doc.root);
        assert_eq!(published.count(), 6);
        let image = json!({ "Config": { "ExposedPorts": { "9/udp": {}, "10-19/udp": {} } } });
        published.and_of_image(&image);
        assert_eq!(published.count(), 16);
    }
}
