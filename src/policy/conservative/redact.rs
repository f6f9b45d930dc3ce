//! Parts of answers that are not for the client.

use serde_json::Value;

/// Empties what a path of keys leads to; `*` stands for every element of a list or a map. The type stays, so
/// that typed clients can read the answer.
pub(super) fn remove(json: &mut Value, path: &[String]) {
    let Some((first, rest)) = path.split_first() else {
        return empty(json);
    };
    match (json, first.as_str()) {
        (Value::Array(items), "*") => items.iter_mut().for_each(|item| remove(item, rest)),
        (Value::Object(map), "*") => map.values_mut().for_each(|value| remove(value, rest)),
        (Value::Object(map), key) => {
            if let Some(value) = map.get_mut(key) {
                remove(value, rest);
            }
        }
        _ => {}
    }
}

fn empty(json: &mut Value) {
    *json = match json {
        Value::Null => Value::Null,
        Value::Bool(_) => Value::Bool(false),
        Value::Number(_) => Value::from(0),
        Value::String(_) => Value::String(String::new()),
        Value::Array(_) => Value::Array(Vec::new()),
        Value::Object(_) => Value::Object(serde_json::Map::new()),
    };
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_removed_keeps_its_type() {
        let mut info = json!({
            "HttpProxy": "http://user:secret@proxy", "Labels": ["a=b"], "NCPU": 2, "Gone": null,
            "Containers": [{ "Env": ["A=1"] }, { "Env": null }],
            "IndexConfigs": { "docker.io": { "Mirrors": ["m"] } },
        });
        for path in [
            "HttpProxy",
            "Labels",
            "Containers.*.Env",
            "IndexConfigs.*.Mirrors",
            "No.Such",
            "NCPU.x",
        ] {
            remove(&mut info, &path.split('.').map(str::to_owned).collect::<Vec<_>>());
        }
        let wanted = json!({
            "HttpProxy": "", "Labels": [], "NCPU": 2, "Gone": null,
            "Containers": [{ "Env": [] }, { "Env": null }],
            "IndexConfigs": { "docker.io": { "Mirrors": [] } },
        });
        assert_eq!(info, wanted);
    }
}
