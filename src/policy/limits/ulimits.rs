//! Ulimits: a list of names with a soft and a hard limit.
//!
//! What must stay true: names are compared as the engine makes `RLIMIT_…` of them
//! (`daemon/oci_linux.go`, `strings.ToUpper`), and a name that is not in the list gets its cap.

use super::Judged;
use super::rules::Rules;
use super::sheet::{NumberField, NumberFields, slot};
use crate::api::container::ULIMITS as LIST;
use crate::api::doc::{self, Value};
use crate::config::Ulimit;
use crate::policy::Reason;

const RULE: &str = "limits.ulimits";
const ULIMITS: NumberField = slot("Ulimits", "ulimits");

pub(super) fn judge(rules: &Rules<'_>, sheet: &mut NumberFields<'_>) -> Judged {
    let all = rules.all();
    let (force, default, max) = (&all.force.ulimits, &all.default.ulimits, &all.max.ulimits);
    // No engine changes them in an update.
    if sheet.is_update() || (force.is_empty() && default.is_empty() && max.is_empty()) {
        return Ok(());
    }
    let place = sheet.place(ULIMITS);
    let mut list = Vec::new();
    for (index, item) in read(sheet)?.into_iter().enumerate() {
        let name = item.get("Name").and_then(Value::as_str).unwrap_or_default();
        let place = format!("{place}.{index}");
        if name.is_empty() || !name.is_ascii() {
            return Err(Reason::new(RULE, place, "must have a name of ASCII letters", ""));
        }
        let name = name.to_ascii_lowercase();
        if force.contains_key(&name) {
            continue;
        }
        if let Some(cap) = max.get(&name) {
            within(&item, &name, *cap, &place)?;
        }
        list.push((name, item));
    }
    let mut add = |name: &str, ulimit: Ulimit| {
        if !list.iter().any(|(given, _)| given == name) {
            list.push((name.to_owned(), value(name, ulimit)));
        }
    };
    force.iter().for_each(|(name, ulimit)| add(name, *ulimit));
    for (name, ulimit) in default {
        let cap = max.get(name).copied().unwrap_or(-1);
        add(name, Ulimit { soft: lower(ulimit.soft, cap), hard: lower(ulimit.hard, cap) });
    }
    max.iter().filter(|(_, cap)| **cap >= 0).for_each(|(name, cap)| {
        add(name, Ulimit { soft: *cap, hard: *cap });
    });
    write(sheet, Value::List(list.into_iter().map(|(_, item)| item).collect()));
    Ok(())
}

fn within(item: &Value, name: &str, cap: i64, place: &str) -> Judged {
    for key in ["Soft", "Hard"] {
        let asked = match item.get(key) {
            None | Some(Value::Null) => 0,
            Some(value) => value.as_i64().unwrap_or(-1),
        };
        if lower(asked, cap) != asked {
            let asked = if asked < 0 { "no limit".to_owned() } else { asked.to_string() };
            let why = format!("`{name}` must be at most {cap}, asked {asked}");
            let reason = Reason::new(RULE, format!("{place}.{key}"), why, "");
            return Err(Reason { found: Some(asked.into()), ..reason });
        }
    }
    Ok(())
}

/// The lower of two, where anything negative is no limit.
fn lower(one: i64, other: i64) -> i64 {
    match (one, other) {
        (..0, _) => other,
        (_, ..0) => one,
        _ => one.min(other),
    }
}

fn read(sheet: &NumberFields<'_>) -> Result<Vec<Value>, Reason> {
    let NumberFields::Build(query) = sheet else {
        return Ok(sheet.value(ULIMITS.field).map(Value::items).unwrap_or_default().to_vec());
    };
    let text = query.get("ulimits").unwrap_or_default();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let doc = doc::parse(text.as_bytes(), &LIST)
        .map_err(|error| Reason::new(RULE, sheet.place(ULIMITS), error.to_string(), ""))?;
    Ok(doc.root.items().to_vec())
}

fn write(sheet: &mut NumberFields<'_>, list: Value) {
    if let NumberFields::Build(query) = sheet {
        let rendered = doc::Doc { root: list, unknown: Vec::new() }.render();
        query.set("ulimits", String::from_utf8_lossy(&rendered).into_owned());
    } else {
        sheet.set_value(ULIMITS.field, list);
    }
}

fn value(name: &str, ulimit: Ulimit) -> Value {
    Value::Object(vec![
        ("Name".into(), Value::String(name.to_owned())),
        ("Soft".into(), Value::Number(ulimit.soft.into())),
        ("Hard".into(), Value::Number(ulimit.hard.into())),
    ])
}
