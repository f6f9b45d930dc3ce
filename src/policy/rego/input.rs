//! What a policy in Rego sees of a call: `input`.
//!
//! `Rego::judge` makes it of the call as the policies before have left it. The first names are those of
//! opa-docker-authz, so that its policies work. What must stay true: no credential stands in it, and it
//! is never larger than it may be.

use std::borrow::Cow;

use regorus::Value;
use regorus::value::Object;

use super::binds::Bind;
use crate::api::Typed;
use crate::api::doc;
use crate::policy::Context;

#[derive(Debug)]
pub(super) struct TooLarge;

pub(super) fn of(
    call: &Typed,
    cx: &Context<'_>,
    binds: Vec<Bind>,
    input_bytes: usize,
) -> Result<Value, TooLarge> {
    let mut room = InputQuota(input_bytes);
    let identity = cx.identity;
    let user = identity.user();
    let path = call.path();
    let segments: Vec<&str> = path.split('/').collect();
    let mut input = Object::new();
    let mut put = |name: &str, value: Value| input.insert(name.into(), value);
    put("Method", room.text(call.row().method.as_str())?);
    put("Path", room.text(&call.target())?);
    put("PathArr", room.texts(&segments)?);
    put("PathPlain", room.text(&path)?);
    put("Query", query(call, &mut room)?);
    put("Headers", headers(call, user, &mut room)?);
    put("Body", call.doc().map_or(Ok(Value::Null), |doc| body(&doc.root, &mut room))?);
    put("User", room.text(user.unwrap_or_default())?);
    put("AuthMethod", room.text(identity.method().unwrap_or_default())?);
    put("BindMounts", bind_mounts(binds, &mut room)?);
    put("operation", room.text(call.endpoint().id())?);
    put("listener", room.text(cx.listener)?);
    if let Some(user) = user {
        put("user", room.text(user)?);
    }
    put("groups", room.texts(identity.groups())?);
    let claims = identity.claims().into_iter().flatten();
    let claims = claims.map(|(name, claim)| Ok((room.text(name)?, json(claim, &mut room)?)));
    put("claims", claims.collect::<Result<Object, TooLarge>>()?.into());
    if let Some(container) = identity.container() {
        put("container", room.text(container)?);
    }
    Ok(input.into())
}

/// What may still be put in: the bytes of its texts, and so many for each value.
struct InputQuota(usize);

const OF_A_VALUE: usize = 16;

impl InputQuota {
    fn take(&mut self, bytes: usize) -> Result<(), TooLarge> {
        self.0 = self.0.checked_sub(bytes.saturating_add(OF_A_VALUE)).ok_or(TooLarge)?;
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<Value, TooLarge> {
        self.take(text.len())?;
        Ok(text.into())
    }

    fn texts(&mut self, texts: &[impl AsRef<str>]) -> Result<Value, TooLarge> {
        let texts: Result<Vec<Value>, TooLarge> =
            texts.iter().map(|text| self.text(text.as_ref())).collect();
        Ok(texts?.into())
    }
}

/// The body as it would be sent, but that a field of the engine's that is null is absent: to the engine
/// it is the same, clients differ in which they write, and most policies think of neither.
fn body(value: &doc::Value, room: &mut InputQuota) -> Result<Value, TooLarge> {
    room.take(0)?;
    Ok(match value {
        doc::Value::Null => Value::Null,
        doc::Value::Bool(value) => (*value).into(),
        doc::Value::Number(value) => number(value),
        doc::Value::String(text) => room.text(text)?,
        doc::Value::List(items) => {
            let items: Result<Vec<Value>, TooLarge> =
                items.iter().map(|item| body(item, room)).collect();
            items?.into()
        }
        doc::Value::Object(entries) => {
            let mut object = Object::new();
            for (key, value) in entries {
                if !is_absent(key, value) {
                    object.insert(room.text(key)?, body(value, room)?);
                }
            }
            object.into()
        }
    })
}

/// The same as JSON, for a patch to change.
pub(super) fn plain(value: &doc::Value) -> serde_json::Value {
    match value {
        doc::Value::Null => serde_json::Value::Null,
        doc::Value::Bool(value) => (*value).into(),
        doc::Value::Number(number) => number.clone().into(),
        doc::Value::String(text) => text.as_str().into(),
        doc::Value::List(items) => items.iter().map(plain).collect(),
        doc::Value::Object(entries) => {
            let entries = entries.iter().filter(|(key, value)| !is_absent(key, value));
            entries.map(|(key, value)| (key.to_string(), plain(value))).collect()
        }
    }
}

/// Fields of structs are the tables' own text; keys of maps, the client's, are not.
#[expect(clippy::ptr_arg, reason = "whose text it is counts")]
fn is_absent(key: &Cow<'static, str>, value: &doc::Value) -> bool {
    matches!(key, Cow::Borrowed(_)) && *value == doc::Value::Null
}

fn json(value: &serde_json::Value, room: &mut InputQuota) -> Result<Value, TooLarge> {
    room.take(0)?;
    Ok(match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => (*value).into(),
        serde_json::Value::Number(value) => number(value),
        serde_json::Value::String(text) => room.text(text)?,
        serde_json::Value::Array(items) => {
            let items: Result<Vec<Value>, TooLarge> =
                items.iter().map(|item| json(item, room)).collect();
            items?.into()
        }
        serde_json::Value::Object(entries) => {
            let entries =
                entries.iter().map(|(key, value)| Ok((room.text(key)?, json(value, room)?)));
            entries.collect::<Result<Object, TooLarge>>()?.into()
        }
    })
}

fn number(number: &serde_json::Number) -> Value {
    if let Some(number) = number.as_u64() {
        return number.into();
    }
    match number.as_i64() {
        Some(number) => number.into(),
        None => number.as_f64().map_or(Value::Null, Value::from),
    }
}

/// Every parameter with all its values.
fn query(call: &Typed, room: &mut InputQuota) -> Result<Value, TooLarge> {
    let mut names: Vec<&str> = call.query().iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    let values = names.into_iter().map(|name| {
        let values: Vec<&str> = call.query().all(name).collect();
        Ok((room.text(name)?, room.texts(&values)?))
    });
    Ok(values.collect::<Result<Object, TooLarge>>()?.into())
}

/// Those that the engine gets, but for credentials, with the spelling of Go's `net/http`. `Authz-User`
/// is what the first policies for Docker read the user's name from, who wrote it there himself; here it
/// is who was recognised.
fn headers(call: &Typed, user: Option<&str>, room: &mut InputQuota) -> Result<Value, TooLarge> {
    let mut headers = Object::new();
    for (name, value) in call.headers() {
        if !is_credential(name) {
            let value = String::from_utf8_lossy(value);
            headers.insert(room.text(&canonical(name))?, room.text(&value)?);
        }
    }
    if call.doc().is_some() {
        headers.insert("Content-Type".into(), room.text("application/json")?);
    }
    if let Some(user) = user {
        headers.insert("Authz-User".into(), room.text(user)?);
    }
    Ok(headers.into())
}

fn is_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("auth") || name.starts_with("x-registry-") || name.contains("cookie")
}

/// `user-agent` as `User-Agent`.
fn canonical(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase());
        first.into_iter().chain(letters.map(|c| c.to_ascii_lowercase())).collect::<String>()
    });
    words.collect::<Vec<_>>().join("-")
}

fn bind_mounts(binds: Vec<Bind>, room: &mut InputQuota) -> Result<Value, TooLarge> {
    let binds: Result<Vec<Value>, TooLarge> = binds
        .into_iter()
        .map(|bind| {
            let resolved = bind.resolved.to_string_lossy();
            let entries = [
                ("Source".into(), room.text(&bind.source)?),
                ("ReadOnly".into(), bind.read_only.into()),
                ("Resolved".into(), room.text(&resolved)?),
            ];
            Ok(entries.into_iter().collect::<Object>().into())
        })
        .collect();
    Ok(binds?.into())
}
