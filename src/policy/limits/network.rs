//! The network of a container: `NetworkMode`, and with it the keys of `EndpointsConfig`.
//!
//! What must stay true: a forced network is the only one, at creation and by `connect`; what the engine
//! gets names one network in both places.

use super::Judged;
use super::rules::Rules;
use super::words::wanted;
use crate::api::doc::Value;
use crate::api::grammar::mode::NetworkMode;
use crate::api::query::Query;
use crate::config::Word;
use crate::policy::Reason;

pub(super) fn create(rules: &Rules<'_>, root: &mut Value) -> Judged {
    let mode = root.get("HostConfig").and_then(|host| host.get("NetworkMode"));
    let mode = mode.and_then(Value::as_str).unwrap_or_default().to_owned();
    let endpoints = root.get("NetworkingConfig").and_then(|config| config.get("EndpointsConfig"));
    let names_another = endpoints.is_some_and(|all| {
        all.entries()
            .iter()
            .any(|(name, _)| !NetworkMode::of(name).is_default() && name != "bridge")
    });
    let is_said = !NetworkMode::of(&mode).is_default() || names_another;
    let Some(network) = wanted(rules, Word::Network, is_said)? else { return Ok(()) };
    if let Some(config) = root.get_mut("NetworkingConfig")
        && let Some(endpoints) = config.get_mut("EndpointsConfig")
    {
        *endpoints = only(endpoints, &mode, &network);
    }
    if let Some(place) = root.at_mut(&["HostConfig", "NetworkMode"]) {
        *place = Value::String(network);
    }
    Ok(())
}

pub(super) fn build(rules: &Rules<'_>, query: &mut Query) -> Judged {
    let is_said = query.get("networkmode").is_some_and(|mode| !NetworkMode::of(mode).is_default());
    if let Some(network) = wanted(rules, Word::Network, is_said)? {
        query.set("networkmode", network);
    }
    Ok(())
}

pub(super) fn connect(rules: &Rules<'_>, network: &str) -> Judged {
    let rule = Word::Network.rule();
    match wanted(rules, Word::Network, true)? {
        Some(forced) if forced != network => {
            let why = format!("must be `{forced}`, where every container is");
            let reason = Reason::new(rule, "network", why, "name it so, not by its id");
            Err(Reason { found: Some(network.into()), ..reason })
        }
        _ => Ok(()),
    }
}

/// The endpoint for this network alone: the client's own, or the aliases of the one that it takes the
/// place of.
fn only(endpoints: &Value, mode: &str, network: &str) -> Value {
    let asked = NetworkMode::of(network);
    // An endpoint in one of the engine's own has no settings.
    if !matches!(asked, NetworkMode::Named(_) | NetworkMode::Namespace(_)) {
        return Value::Object(Vec::new());
    }
    let kept = |endpoint: &Value, keeps: &dyn Fn(&str) -> bool| {
        let fields = endpoint.entries().iter().filter(|(key, _)| keeps(key)).cloned();
        Value::Object(vec![(network.to_owned().into(), Value::Object(fields.collect()))])
    };
    match (endpoints.get(network), endpoints.get(mode)) {
        (Some(own), _) => kept(own, &|key| key != "NetworkID"),
        (None, Some(other)) => kept(other, &|key| key == "Aliases"),
        (None, None) => Value::Object(Vec::new()),
    }
}
