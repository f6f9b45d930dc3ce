//! `patch`: a JSON Patch (RFC 6902) that a policy makes of a body.
//!
//! `Rego::judge` calls it when a policy has allowed a call, for the edits that it comes to. What must stay true: what comes out of a
//! patch is read by the endpoint's shape as if a client had sent it, and a field that nobody knows is
//! refused, whether later policies look for it or not.

use json_patch::{PatchOperation, patch};
use regorus::Value;

use crate::api::{Typed, doc};
use crate::policy::edit::{self, Edit};

const MOST_OPERATIONS: usize = 64;
/// As large as a body may be by default; copies of copies would grow without end.
const LARGEST: usize = 4 << 20;

pub(super) fn edits(operations: &Value, call: &Typed) -> Result<Vec<Edit>, String> {
    let failed = |why: &dyn std::fmt::Display| format!("could not be changed by `patch`: {why}");
    let operations = serde_json::to_value(operations).map_err(|error| failed(&error))?;
    let operations: Vec<PatchOperation> =
        serde_json::from_value(operations).map_err(|error| failed(&error))?;
    if operations.is_empty() {
        return Ok(Vec::new());
    }
    if operations.len() > MOST_OPERATIONS {
        return Err(failed(&format!("it has more than {MOST_OPERATIONS} operations")));
    }
    let Some(kind) = call.kind() else {
        return Err(failed(&"the call has no JSON body"));
    };
    // The same body that the policy saw.
    let mut body = match call.doc() {
        Some(doc) => super::input::plain(&doc.root),
        None => serde_json::Value::Null,
    };
    let mut json = Vec::new();
    for operation in operations {
        patch(&mut body, std::slice::from_ref(&operation)).map_err(|error| failed(&error))?;
        json = serde_json::to_vec(&body).map_err(|error| failed(&error))?;
        if json.len() > LARGEST {
            return Err(failed(&format!("the body grows beyond {LARGEST} bytes")));
        }
    }
    let made = doc::parse(&json, &kind).map_err(|error| failed(&error))?;
    if let Some(field) = made.unknown.first() {
        return Err(failed(&format!("`{}` is no field of the Engine API", field.path)));
    }
    let before = call.doc().map_or(&doc::Value::Null, |doc| &doc.root);
    Ok(edit::between(before, made.root))
}
