//! What a token says, held against what the configuration asks for.
//!
//! `jwt` comes here with claims whose signature is right. What must stay true: nothing here knows a
//! clock or a key, so that each edge can be tested; a claim that is missing or of another kind than
//! expected refuses, except where the configuration does not name it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::auth::{Claims, Who, is_name};
use crate::config;

/// How much the clocks of issuer and verifier may differ.
pub(super) const LEEWAY: Duration = Duration::from_secs(60);
/// The year 9999, as far as RFC 7519's dates are thought to go; milliseconds are beyond it.
const LAST_SECOND: f64 = 253_402_300_799.0;
/// Of all that policies and logs get to see.
const MOST_CLAIM_BYTES: usize = 8 * 1024;
/// Of no use once the token is verified.
const PLUMBING: &[&str] = &["iss", "aud", "exp", "nbf", "iat", "jti"];

type Why = Cow<'static, str>;

/// The half of `[auth.*]` that is about claims.
#[derive(Debug)]
pub(super) struct ClaimRules {
    issuer: String,
    audience: Vec<String>,
    user: String,
    groups: Option<String>,
    require: BTreeMap<String, Vec<String>>,
    claims: Option<Vec<String>>,
}

impl ClaimRules {
    pub(super) fn new(config: &config::Jwt) -> ClaimRules {
        ClaimRules {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            user: config.user.clone(),
            groups: config.groups.clone(),
            require: config.require.clone(),
            claims: config.claims.clone(),
        }
    }

    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Whose token it is, and how long it is good for from `now`, which counts from 1970.
    pub(super) fn check(&self, claims: &Claims, now: Duration) -> Result<(Who, Duration), Why> {
        if claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Err("the token is of another issuer".into());
        }
        let left = left_of(claims, now)?;
        if !self.is_for_us(claims) {
            return Err("the token is for another audience".into());
        }
        for (name, values) in &self.require {
            if !has_one_of(find(claims, name), values) {
                return Err(format!("claim `{name}` is not one of the required values").into());
            }
        }
        let user = user(find(claims, &self.user))
            .ok_or_else(|| format!("claim `{}` does not name a user", self.user))?;
        let groups = match &self.groups {
            None => Vec::new(),
            Some(name) => groups(find(claims, name))
                .ok_or_else(|| format!("claim `{name}` is not a list of names"))?,
        };
        Ok((Who::new(user, groups, self.shown(claims)), left))
    }

    /// RFC 7519 §4.1.3: a string, or several.
    fn is_for_us(&self, claims: &Claims) -> bool {
        let is_ours =
            |one: &Value| one.as_str().is_some_and(|one| self.audience.iter().any(|a| a == one));
        match claims.get("aud") {
            Some(Value::Array(all)) => all.iter().any(is_ours),
            Some(one) => is_ours(one),
            None => false,
        }
    }

    /// What policies and logs see: what fits, in the token's order or the configuration's.
    fn shown(&self, claims: &Claims) -> Claims {
        let candidates: Vec<(&String, &Value)> = match &self.claims {
            Some(names) => {
                names.iter().filter_map(|name| Some((name, find(claims, name)?))).collect()
            }
            None => claims.iter().filter(|(name, _)| !PLUMBING.contains(&name.as_str())).collect(),
        };
        let mut shown = Claims::new();
        let mut size = 0;
        for (name, value) in candidates.into_iter().filter(|(_, value)| is_flat(value)) {
            let more = name.len() + value.to_string().len();
            if size + more <= MOST_CLAIM_BYTES {
                size += more;
                shown.insert(name.clone(), value.clone());
            }
        }
        shown
    }
}

/// The time until `exp` and the leeway are over (RFC 7519 §4.1.4, §4.1.5).
fn left_of(claims: &Claims, now: Duration) -> Result<Duration, Why> {
    let (now, leeway) = (now.as_secs_f64(), LEEWAY.as_secs_f64());
    let expires = date(claims, "exp")?.ok_or("claim `exp` is missing")?;
    let left = expires + leeway - now;
    if left <= 0.0 {
        return Err("the token has expired".into());
    }
    if date(claims, "nbf")?.is_some_and(|begins| begins > now + leeway) {
        return Err("the token is not valid yet".into());
    }
    Duration::try_from_secs_f64(left).map_err(|_| "claim `exp` is not a date".into())
}

/// Seconds since 1970, maybe with a fraction (RFC 7519 §2).
fn date(claims: &Claims, name: &'static str) -> Result<Option<f64>, Why> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let date = value.as_f64().filter(|date| (0.0..=LAST_SECOND).contains(date));
    date.map(Some).ok_or_else(|| format!("claim `{name}` is not a date").into())
}

/// A claim by its name or, with dots, one inside of others. A name may itself have dots
/// (`https://example.com/roles`): at each step the whole rest of the path is tried first.
fn find<'a>(claims: &'a Claims, path: &str) -> Option<&'a Value> {
    let (mut object, mut path) = (claims, path);
    loop {
        if let Some(value) = object.get(path) {
            return Some(value);
        }
        let (name, rest) = path.split_once('.')?;
        object = object.get(name)?.as_object()?;
        path = rest;
    }
}

/// Scalars are compared as text: `true` and `"true"` are the same to one who writes a rule.
fn has_one_of(value: Option<&Value>, required: &[String]) -> bool {
    let is_required = |text: String| required.is_empty() || required.contains(&text);
    match value {
        None | Some(Value::Null | Value::Object(_)) => false,
        Some(Value::Array(all)) if required.is_empty() => !all.is_empty(),
        Some(Value::Array(all)) => all.iter().filter_map(text).any(is_required),
        Some(one) => text(one).is_some_and(is_required),
    }
}

fn text(scalar: &Value) -> Option<String> {
    match scalar {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(scalar.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn user(value: Option<&Value>) -> Option<String> {
    let name = match value? {
        Value::Bool(_) => None,
        scalar => text(scalar),
    };
    name.filter(|name| is_name(name))
}

/// One or several; none when there is no such claim.
fn groups(value: Option<&Value>) -> Option<Vec<String>> {
    let name = |one: &Value| one.as_str().filter(|name| is_name(name)).map(str::to_owned);
    match value {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(all)) => all.iter().map(name).collect(),
        Some(one) => name(one).map(|name| vec![name]),
    }
}

fn is_flat(value: &Value) -> bool {
    let is_scalar = |value: &Value| !value.is_array() && !value.is_object();
    match value {
        Value::Array(all) => all.iter().all(is_scalar),
        value => is_scalar(value),
    }
}
