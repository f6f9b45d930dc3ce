//! The numbers of a container, wherever a call has them: a create body, an update, a build's query, a frontend's
//! options, an operation of BuildKit's graphs.
//!
//! The limits read and write through it. What must stay true: a number is read as the engine reads it;
//! one that dockgate cannot read is refused.

use crate::api::doc::Value;
use crate::api::query::Query;
use crate::config::Size;
use crate::policy::Reason;

#[derive(Debug)]
pub(super) enum NumberFields<'c> {
    /// The whole body; the numbers are in `HostConfig`.
    Create(&'c mut Value),
    Update(&'c mut Value),
    Build(&'c mut Query),
    /// Options of a frontend of BuildKit's, and what the message calls the map of them.
    Options(&'c mut Value, &'static str),
    /// `linux_resources` of one operation, and where that stands.
    Operation(&'c mut Value, &'c str),
}

/// One number, by its name in a body and in a build's query.
#[derive(Clone, Copy, Debug)]
pub(super) struct NumberField {
    pub field: &'static str,
    pub query: Option<&'static str>,
}

pub(super) const fn slot(field: &'static str, query: &'static str) -> NumberField {
    NumberField { field, query: Some(query) }
}

impl NumberField {
    /// Among the options of BuildKit's Dockerfile frontend (frontend/dockerui/config.go): as in a build's query, mostly.
    pub(super) fn option(self) -> Option<&'static str> {
        match self.query {
            Some("shmsize") => Some("shm-size"),
            Some("ulimits") => Some("ulimit"),
            other => other,
        }
    }

    /// In `pb.LinuxResources`.
    fn resource(self) -> Option<&'static str> {
        match self.field {
            "Memory" => Some("memory"),
            "MemorySwap" => Some("memorySwap"),
            "CpuPeriod" => Some("cpuPeriod"),
            "CpuQuota" => Some("cpuQuota"),
            _ => None,
        }
    }
}

impl NumberFields<'_> {
    pub(super) fn is_update(&self) -> bool {
        matches!(self, NumberFields::Update(_))
    }

    /// Whether the call can say it at all.
    pub(super) fn has(&self, slot: NumberField) -> bool {
        match self {
            NumberFields::Create(_) | NumberFields::Update(_) => true,
            NumberFields::Build(_) | NumberFields::Options(..) => slot.query.is_some(),
            NumberFields::Operation(..) => slot.resource().is_some(),
        }
    }

    /// As in the message to a client.
    pub(super) fn place(&self, slot: NumberField) -> String {
        match self {
            NumberFields::Create(_) => format!("HostConfig.{}", slot.field),
            NumberFields::Update(_) => slot.field.to_owned(),
            NumberFields::Build(_) => format!("?{}", slot.query.unwrap_or_default()),
            NumberFields::Options(_, map) => format!("{map}.{}", slot.option().unwrap_or_default()),
            NumberFields::Operation(_, place) => {
                format!("{place}.{}", slot.resource().unwrap_or_default())
            }
        }
    }

    /// None where it is left out or null.
    pub(super) fn get(&self, slot: NumberField, size: Size) -> Result<Option<i64>, Reason> {
        let not_a_number =
            || Reason::new(size.rule(), self.place(slot), "must be a number that fits 64 bits", "");
        let number = |value: Option<&Value>| match value {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or_else(not_a_number),
        };
        let of_text = |text: Option<&str>| match text {
            None | Some("") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| not_a_number()),
        };
        match self {
            NumberFields::Create(_) | NumberFields::Update(_) => number(self.value(slot.field)),
            // The engine takes what it cannot read for 0, which is no limit.
            NumberFields::Build(query) => of_text(slot.query.and_then(|name| query.get(name))),
            NumberFields::Options(map, _) => {
                of_text(slot.option().and_then(|name| map.get(name)?.as_str()))
            }
            NumberFields::Operation(resources, _) => {
                number(slot.resource().and_then(|name| resources.get(name)))
            }
        }
    }

    pub(super) fn set(&mut self, slot: NumberField, number: i64) {
        match self {
            NumberFields::Create(_) | NumberFields::Update(_) => {
                self.set_value(slot.field, Value::Number(number.into()));
            }
            NumberFields::Build(query) => {
                if let Some(name) = slot.query {
                    query.set(name, number.to_string());
                }
            }
            NumberFields::Options(map, _) => {
                if let Some(place) = slot.option().and_then(|name| map.at_mut(&[name])) {
                    *place = Value::String(number.to_string());
                }
            }
            NumberFields::Operation(resources, _) => {
                if let Some(place) = slot.resource().and_then(|name| resources.at_mut(&[name])) {
                    *place = Value::Number(number.into());
                }
            }
        }
    }

    /// A field among the numbers of a body.
    pub(super) fn value(&self, field: &str) -> Option<&Value> {
        match self {
            NumberFields::Create(root) => root.get("HostConfig")?.get(field),
            NumberFields::Update(root) => root.get(field),
            NumberFields::Build(_) | NumberFields::Options(..) | NumberFields::Operation(..) => {
                None
            }
        }
    }

    pub(super) fn set_value(&mut self, field: &'static str, value: Value) {
        let place = match self {
            NumberFields::Create(root) => root.at_mut(&["HostConfig", field]),
            NumberFields::Update(root) => root.at_mut(&[field]),
            NumberFields::Build(_) | NumberFields::Options(..) | NumberFields::Operation(..) => {
                None
            }
        };
        // Bodies are objects by their shape (`api::doc`), so that there is a place.
        if let Some(place) = place {
            *place = value;
        }
    }
}
