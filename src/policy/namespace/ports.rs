//! Host ports: two namespaces may publish the same one where each has addresses of its own.
//!
//! `create` and `show` call it. What must stay true: `shown` undoes on an address what `sent` did to one, so that an inspect
//! answer can be posted again; an address that the client chose itself, other than loopback, is left to the engine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value as Json;

use super::names::Tenant;
use crate::api::doc::Value;
use crate::config::NamespacePorts;

/// Of a create body's `HostConfig`; or the address of loopback that it may not have.
pub(super) fn sent(ports: NamespacePorts, tenant: &Tenant, host: &mut Value) -> Result<(), String> {
    let Some(Value::Object(bindings)) = host.get_mut("PortBindings") else { return Ok(()) };
    for binding in bindings.iter_mut().filter_map(|(_, list)| list_mut(list)).flatten() {
        let text = |key| binding.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (address, port) = (text("HostIp"), text("HostPort"));
        // One that the engine chooses collides with nobody's.
        if port.is_empty() || port == "0" {
            continue;
        }
        match (ports, Meant::of(&address)) {
            (NamespacePorts::AsAsked, _) | (NamespacePorts::Namespace, Meant::Other) => {}
            (NamespacePorts::Random, _) => put(binding, "HostPort", String::new()),
            (NamespacePorts::Namespace, Meant::Any) => {
                put(binding, "HostIp", tenant.address(false));
            }
            (NamespacePorts::Namespace, Meant::Loopback) => {
                put(binding, "HostIp", tenant.address(true));
            }
            // Another namespace's, perhaps.
            (NamespacePorts::Namespace, Meant::Within) => return Err(address),
        }
    }
    Ok(())
}

/// What an address means, however it is written (`::ffff:0.0.0.0` is every address too).
enum Meant {
    Any,
    /// The one that clients write.
    Loopback,
    /// Another one of 127.0.0.0/8.
    Within,
    Other,
}

impl Meant {
    fn of(address: &str) -> Meant {
        let Ok(address) = address.parse::<IpAddr>() else {
            return if address.is_empty() { Meant::Any } else { Meant::Within };
        };
        match address.to_canonical() {
            address if address.is_unspecified() => Meant::Any,
            IpAddr::V4(Ipv4Addr::LOCALHOST) | IpAddr::V6(Ipv6Addr::LOCALHOST) => Meant::Loopback,
            address if address.is_loopback() => Meant::Within,
            _ => Meant::Other,
        }
    }
}

/// Of a container, inspected or in a list, with addresses as they were asked for.
pub(super) fn shown(tenant: &Tenant, container: &mut serde_json::Map<String, Json>) {
    let bindings = container.get_mut("HostConfig").and_then(|host| host.get_mut("PortBindings"));
    each(bindings, &mut |binding| show(tenant, binding, "HostIp", ""));
    let ports = container.get_mut("NetworkSettings").and_then(|settings| settings.get_mut("Ports"));
    each(ports, &mut |binding| show(tenant, binding, "HostIp", "0.0.0.0"));
    for port in container.get_mut("Ports").and_then(Json::as_array_mut).into_iter().flatten() {
        show(tenant, port, "IP", "0.0.0.0");
    }
}

fn show(tenant: &Tenant, binding: &mut Json, key: &str, any: &str) {
    let Some(place) = binding.get_mut(key) else { return };
    match place.as_str() {
        Some(address) if address == tenant.address(false) => *place = Json::from(any),
        Some(address) if address == tenant.address(true) => *place = Json::from("127.0.0.1"),
        _ => {}
    }
}

fn each(map: Option<&mut Json>, visit: &mut dyn FnMut(&mut Json)) {
    let lists = map.and_then(Json::as_object_mut).into_iter().flatten();
    lists.filter_map(|(_, list)| list.as_array_mut()).flatten().for_each(visit);
}

fn list_mut(value: &mut Value) -> Option<&mut Vec<Value>> {
    match value {
        Value::List(items) => Some(items),
        _ => None,
    }
}

fn put(binding: &mut Value, key: &'static str, text: String) {
    if let Some(place) = binding.at_mut(&[key]) {
        *place = Value::String(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_means_the_same_however_it_is_written() {
        for any in ["", "0.0.0.0", "::", "::0", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0"] {
            assert!(matches!(Meant::of(any), Meant::Any), "{any}");
        }
        for one in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(matches!(Meant::of(one), Meant::Loopback), "{one}");
        }
        for one in ["127.17.192.172", "::ffff:127.0.0.2", "0127.0.0.1", "localhost"] {
            assert!(matches!(Meant::of(one), Meant::Within), "{one}");
        }
        assert!(matches!(Meant::of("10.0.0.1"), Meant::Other));
    }
}
