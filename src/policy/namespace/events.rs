//! One event of the engine's stream: whether it is this namespace's, and how it is shown.
//!
//! `Namespaces` calls it for each. What must stay true: what cannot be told to be this namespace's is dropped; the name that
//! says whose a container's event is, is the engine's, which labels cannot be (`daemon/events.go` of moby writes it last).

use serde_json::Value as Json;

use super::look::str_of;
use super::names::{BRIDGE, LABEL, Tenant};
use super::{Namespaces, show};
use crate::api::{Endpoint, Row};
use crate::policy::Item;

pub(super) fn judge(with: &Namespaces, tenant: &Tenant, row: &Row, event: &mut Json) -> Item {
    if row.endpoint == Endpoint::SystemEvents && !is_own(with, tenant, event) {
        return Item::Drop;
    }
    if is_of_nameless(with, tenant, str_of(event, "stream")) {
        return Item::Drop;
    }
    if let Some(attributes) = event.pointer_mut("/Actor/Attributes").and_then(Json::as_object_mut) {
        attributes.shift_remove(LABEL);
    }
    show::object(with, tenant, row, event);
    for key in ["status", "error", "progress", "stream"] {
        show_text(with, tenant, event.get_mut(key));
    }
    for path in ["/errorDetail/message", "/Actor/Attributes/imageRef"] {
        show_text(with, tenant, event.pointer_mut(path));
    }
    Item::Keep
}

fn is_own(with: &Namespaces, tenant: &Tenant, event: &Json) -> bool {
    let Some(actor) = event.get("Actor") else { return false };
    let name =
        actor.get("Attributes").map(|attributes| str_of(attributes, "name")).unwrap_or_default();
    match str_of(event, "Type") {
        "container" => tenant.is_own(name),
        // The engine's own bridge comes and goes with the engine, and nobody hears of it.
        "network" => match tenant.shown(name) {
            Some(BRIDGE) => matches!(str_of(event, "Action"), "connect" | "disconnect"),
            shown => shown.is_some(),
        },
        "volume" => tenant.is_own(str_of(actor, "ID")),
        "image" => {
            let images = with.images(tenant);
            images.shown(name).is_some() || images.shown(str_of(actor, "ID")).is_some()
        }
        _ => false,
    }
}

/// What the classic builder says of a tag that its user has not asked for.
fn is_of_nameless(with: &Namespaces, tenant: &Tenant, said: &str) -> bool {
    let name = said.strip_prefix("Successfully tagged ");
    name.is_some_and(|name| with.images(tenant).is_anchor(name.trim_end()))
}

fn show_text(with: &Namespaces, tenant: &Tenant, place: Option<&mut Json>) {
    if let Some(place) = place
        && let Some(text) = place.as_str()
    {
        *place = Json::String(show::message(with, tenant, text));
    }
}
