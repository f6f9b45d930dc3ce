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

pub(super) const RULE: &str = "limits.ulimits";
const ULIMITS: NumberField = slot("Ulimits", "ulimits");

pub(super) fn judge(rules: &Rules<'_>, sheet: &mut NumberFields<'_>) -> Judged {
    let all = rules.all();
    let (force, default, max) = (&all.force.ulimits, &all.default.ulimits, &all.max.ulimits);
    // No engine changes them in an update.
    if sheet.is_update() || (force.is_empty() && default.is_empty() && max.is_empty()) {
        return Ok(());
    }
    let list = settle(rules, read(sheet)?, &sheet.place(ULIMITS))?;
    write(sheet, list);
    Ok(())
}

/// The list as the engine is to get it.
pub(super) fn settle(
    rules: &Rules<'_>,
    asked: Vec<Value>,
    place: &str,
) -> Result<Vec<Value>, Reason> {
    let all = rules.all();
    let (force, default, max) = (&all.force.ulimits, &all.default.ulimits, &all.max.ulimits);
    let mut list = Vec::new();
    for (index, item) in asked.into_iter().enumerate() {
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
    Ok(list.into_iter().map(|(_, item)| item).collect())
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
    if let NumberFields::Options(map, _) = sheet {
        let text = ULIMITS.option().and_then(|name| map.get(name)?.as_str()).unwrap_or_default();
        let items = text.split(',').filter(|_| !text.is_empty());
        return items.map(|item| of_option(item, &sheet.place(ULIMITS))).collect();
    }
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

/// `NAME=SOFT[:HARD]` (github.com/docker/go-units, `ParseUlimit`). BuildKit reads the list as CSV: quotes, which no name
/// and no number needs, are not taken apart.
fn of_option(text: &str, place: &str) -> Result<Value, Reason> {
    let read = || {
        let (name, limits) = text.split_once('=')?;
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase());
        let ulimit = Ulimit { soft: soft.parse().ok()?, hard: hard.parse().ok()? };
        is_name.then(|| value(name, ulimit))
    };
    let why = "must be a list such as `nofile=1024:2048,core=0`";
    read().ok_or_else(|| Reason::new(RULE, place.to_owned(), why, ""))
}

pub(super) fn as_option(item: &Value) -> String {
    let name = item.get("Name").and_then(Value::as_str).unwrap_or_default();
    let number = |key| item.get(key).and_then(Value::as_i64).unwrap_or(0);
    format!("{name}={}:{}", number("Soft"), number("Hard"))
}

fn write(sheet: &mut NumberFields<'_>, list: Vec<Value>) {
    match sheet {
        NumberFields::Build(query) => {
            let rendered = doc::Doc { root: Value::List(list), unknown: Vec::new() }.render();
            query.set("ulimits", String::from_utf8_lossy(&rendered).into_owned());
        }
        NumberFields::Options(map, _) => {
            let text = list.iter().map(as_option).collect::<Vec<_>>().join(",");
            if let Some(place) = ULIMITS.option().and_then(|name| map.at_mut(&[name])) {
                *place = Value::String(text);
            }
        }
        NumberFields::Create(_) | NumberFields::Update(_) | NumberFields::Operation(..) => {
            sheet.set_value(ULIMITS.field, Value::List(list));
        }
    }
}

fn value(name: &str, ulimit: Ulimit) -> Value {
    Value::Object(vec![
        ("Name".into(), Value::String(name.to_owned())),
        ("Soft".into(), Value::Number(ulimit.soft.into())),
        ("Hard".into(), Value::Number(ulimit.hard.into())),
    ])
}
