//! The bodies that are compared: every row of the table with a JSON body that a policy lets through.

use std::collections::BTreeMap;
use std::fs;

use dockgate::api::endpoint::{BodyKind, Class};
use dockgate::api::shape::{Kind, Object};
use dockgate::api::table::TABLE;
use dockgate::api::{Endpoint, path, route};
use serde::Deserialize;

use super::decoder;
use crate::corpus;

pub struct Shape {
    /// Of the endpoint, to the Go program too.
    pub id: &'static str,
    pub fields: &'static Object,
    pub kind: Kind,
    pub go: Go,
    /// Bodies in the corpus.
    pub recorded: Vec<Vec<u8>>,
}

/// A Go type, as far as encoding/json cares.
#[derive(Debug, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum Go {
    Bool,
    Int,
    String,
    Pointer {
        of: Box<Go>,
    },
    List {
        of: Box<Go>,
    },
    /// Takes a string for a list of one.
    Strings {
        of: Box<Go>,
    },
    Array {
        of: Box<Go>,
        length: usize,
    },
    Map {
        of: Box<Go>,
    },
    Struct {
        fields: BTreeMap<String, Go>,
    },
}

/// A row that is missing in the Go program, or there and not in the table, is an error.
pub fn all() -> Vec<Shape> {
    let mut types: BTreeMap<String, Go> = serde_json::from_str(&decoder::fields()).unwrap();
    let mut shapes = Vec::new();
    for row in TABLE {
        let BodyKind::Json(fields) = row.body else { continue };
        // No policy allows swarm administration, of which the update of a volume is a part.
        if row.class == Class::Swarm || row.endpoint == Endpoint::VolumeUpdate {
            continue;
        }
        let id = row.endpoint.id();
        let go = types.remove(id).unwrap_or_else(|| panic!("no Go type for the body of {id}"));
        let recorded = recorded(id);
        shapes.push(Shape { id, fields, kind: Kind::Object(fields), go, recorded });
    }
    assert!(types.is_empty(), "Go types without a row: {:?}", types.keys());
    shapes
}

fn recorded(id: &str) -> Vec<Vec<u8>> {
    let requests = corpus::files().into_iter().map(|file| fs::read(file).unwrap());
    requests.filter_map(|request| body_for(id, &request)).collect()
}

fn body_for(id: &str, request: &[u8]) -> Option<Vec<u8>> {
    let end = request.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = (&request[..end], &request[end + 4..]);
    let mut words = head.split(|b| *b == b' ');
    let (method, target) = (words.next()?, words.next()?);
    let target = path::parse(target).ok()?;
    let found = route::find(std::str::from_utf8(method).ok()?, &target.path)?;
    (found.row.endpoint.id() == id && body.starts_with(b"{")).then(|| body.to_vec())
}
