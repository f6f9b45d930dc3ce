//! What an AuthZ plugin is asked, and what it says (`pkg/authorization/api.go` in moby).
//!
//! `Authz` renders one and reads the other. What must stay true: the names and forms of dockerd; no
//! credential for a registry reaches a plugin; an answer with two readings is none.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::api::Typed;
use crate::api::table::Endpoint;
use crate::auth::Identity;
use crate::policy::Answer;
use crate::wire::head::{Lines, RequestHead, find_end};

/// As Go writes it: what is empty is left out, bytes are base64.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PluginRequest {
    #[serde(skip_serializing_if = "String::is_empty")]
    user: String,
    #[serde(rename = "UserAuthNMethod", skip_serializing_if = "String::is_empty")]
    user_authn_method: String,
    request_method: String,
    request_uri: String,
    #[serde(skip_serializing_if = "Bytes::is_empty")]
    request_body: Bytes,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    request_headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    request_peer_certificates: Vec<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status_code: Option<u16>,
    #[serde(skip_serializing_if = "Bytes::is_empty")]
    response_body: Bytes,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    response_headers: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct Bytes(Vec<u8>);

/// What a plugin says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PluginResponse {
    pub(super) allow: bool,
    pub(super) msg: String,
    /// Its own error; dockerd overlooks it beside `Allow`.
    pub(super) err: Option<String>,
}

impl PluginRequest {
    /// What the engine would get, read from what it would get.
    pub(super) fn of(call: &Typed, identity: &Identity) -> Option<PluginRequest> {
        let bytes = call.render();
        let (head, body) = bytes.split_at_checked(find_end(&bytes, 0)?)?;
        let head = RequestHead::parse(head).ok()?;
        // `Host` is no header to Go.
        let headers = flat(&head.headers, &["Host", "Transfer-Encoding"]);
        Some(PluginRequest {
            user: identity.user().unwrap_or_default().to_owned(),
            user_authn_method: identity.method().unwrap_or_default().to_owned(),
            request_method: head.method().to_owned(),
            request_uri: String::from_utf8_lossy(head.target()).into_owned(),
            request_body: Bytes(shown(call, || body.to_vec())),
            request_headers: headers,
            request_peer_certificates: identity.certificates().map(pem).collect(),
            response_status_code: None,
            response_body: Bytes::default(),
            response_headers: BTreeMap::new(),
        })
    }

    pub(super) fn answered(self, answer: &Answer<'_>) -> PluginRequest {
        let json = answer.json.as_ref();
        let body = || json.map(|json| json.to_string().into_bytes()).unwrap_or_default();
        // What Go's server adds behind the handler, where plugins have had their say.
        let added = ["Connection", "Content-Length", "Date", "Transfer-Encoding"];
        PluginRequest {
            response_status_code: Some(answer.status),
            response_body: Bytes(shown(answer.call, body)),
            response_headers: flat(answer.headers, &added),
            ..self
        }
    }

    pub(super) fn render(&self) -> Option<Arc<str>> {
        serde_json::to_string(self).ok().map(Arc::from)
    }
}

impl PluginResponse {
    /// Keys in any case, as Go's decoder reads them; others are overlooked.
    pub(super) fn read(json: &Value) -> Result<PluginResponse, &'static str> {
        let Value::Object(object) = json else {
            return Err("its answer is no JSON object");
        };
        let find = |name: &str| {
            let mut found = object.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
            match (found.next(), found.next()) {
                (_, Some(_)) => Err("its answer has a key twice"),
                (found, None) => Ok(found.map(|(_, value)| value)),
            }
        };
        let text = |name| match find(name)? {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err("`Msg` and `Err` of its answer must be texts"),
        };
        let allow = match find("Allow")? {
            // Go leaves out nothing here, but other languages may.
            None | Some(Value::Null) => false,
            Some(Value::Bool(allow)) => *allow,
            Some(_) => return Err("`Allow` of its answer must be `true` or `false`"),
        };
        Ok(PluginResponse {
            allow,
            msg: text("Msg")?,
            err: Some(text("Err")?).filter(|err| !err.is_empty()),
        })
    }
}

/// `/auth` carries a password there and a token back: dockerd shows plugins neither.
fn shown(call: &Typed, body: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    if call.endpoint() == Endpoint::SystemAuth { Vec::new() } else { body() }
}

/// One value a name, and names as Go spells them.
fn flat(lines: &Lines, without: &[&str]) -> BTreeMap<String, String> {
    const SECRET: [&str; 3] = ["Authorization", "X-Registry-Auth", "X-Registry-Config"];
    let mut flat: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in lines.iter() {
        let name = canonical(name);
        if without.contains(&name.as_str()) || SECRET.contains(&name.as_str()) {
            continue;
        }
        let value = String::from_utf8_lossy(value);
        // dockerd shows the last one only; nothing shall be hidden behind another.
        match flat.get_mut(&name) {
            Some(before) => before.extend([", ", &value]),
            None => drop(flat.insert(name, value.into_owned())),
        }
    }
    flat
}

/// `X-Registry-Auth` of `x-registry-auth`.
fn canonical(name: &[u8]) -> String {
    let mut starts = true;
    let spell = |byte: &u8| {
        let c = char::from(*byte);
        let spelt = if starts { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
        starts = c == '-';
        spelt
    };
    name.iter().map(spell).collect()
}

/// RFC 7468, in the form of Go's `pem.Encode`.
fn pem(der: &[u8]) -> Bytes {
    let mut out = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for (index, c) in STANDARD.encode(der).chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            out.push('\n');
        }
        out.push(c);
    }
    out.push_str("\n-----END CERTIFICATE-----\n");
    Bytes(out.into_bytes())
}

impl Bytes {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}
