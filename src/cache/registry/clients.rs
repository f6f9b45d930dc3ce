//! Who a client of a registry is: the distribution project's token protocol in front of the authenticators.
//!
//! `serve` asks for each request. What must stay true: where there are authenticators nobody is served whom none of them
//! has recognised, at the token endpoint or here; a credential that is for them goes no further than this. One that is for
//! an upstream is sealed into a token, and taken out of it for that upstream only.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::json;

use super::Registry;
use super::ask::{LONGEST, ask_as};
use super::body::collect;
use super::errors::{Code, error};
use super::request::query_value;
use crate::auth::{AuthError, Identity, OWN_TOKEN_LIFE};
use crate::cache::Cache;
use crate::cache::reply::{Body, Reply};
use crate::cache::request::Request;
use crate::cache::stats::Outcome;
use crate::cache::upstream::Fault;
use crate::cache::upstream::credentials::basic;
use crate::wire::head::Lines;

/// Of a form at the token endpoint.
const LONGEST_FORM: usize = 16 * 1024;
/// A name and a password of a client's.
const LONGEST_LOGIN: usize = 4 * 1024;
/// For whom a token is sealed that holds a client's own.
const CLIENT_TOKEN: &str = "a client's own name and password";

/// By a token of ours, or by an authenticator. `scope`: what the client is told to ask a token for.
pub(super) async fn recognise(
    cache: &Cache,
    registry: &Registry,
    request: &Request,
    scope: Option<&str>,
) -> Result<Identity, Reply> {
    let token = bearer(request).filter(|_| !registry.authentication.is_open());
    match token.and_then(|token| registry.tokens.recognise(token, &request.caller)) {
        Some(who) => Ok(who),
        None => by_authenticators(cache, registry, request, scope).await,
    }
}

/// Where an upstream wants the client's own name and password: puts what a token of ours holds in its place. Docker
/// and skopeo send neither unless the ping asks for it, and ask with none where they have none.
pub(super) fn unwrap_login(
    cache: &Cache,
    registry: &Registry,
    request: &mut Request,
    scope: Option<&str>,
) -> Result<(), Box<Reply>> {
    if !registry.routes.asks_clients() {
        return Ok(());
    }
    let is_ping = scope.is_none() && !request.headers.contains_key(header::AUTHORIZATION);
    let held = match bearer(request) {
        None if is_ping => None,
        None => return Ok(()),
        Some(token) => registry.seal.open(token, CLIENT_TOKEN),
    };
    let login = held.and_then(|held| {
        let (until, login) = held.split_once(' ')?;
        let is_good = until.parse::<u64>().ok()? > cache.now();
        is_good.then(|| login.to_owned())
    });
    let Some(login) = login else {
        let why = "a token of this registry is wanted. hint: `docker login`";
        let mut reply = refuse(cache, request, Code::Unauthorized, why);
        if let Ok(challenge) = HeaderValue::try_from(challenge(registry, request, scope)) {
            reply.headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        return Err(Box::new(reply));
    };
    request.headers.remove(header::AUTHORIZATION);
    if let Ok(mut login) = HeaderValue::try_from(login)
        && !login.is_empty()
    {
        login.set_sensitive(true);
        request.headers.insert(header::AUTHORIZATION, login);
    }
    Ok(())
}

/// What is said to a client that shows a name and a password which no upstream takes: `docker login` asks so whether
/// they are good. Where an upstream cannot be asked nobody knows.
pub(super) async fn refused_login(
    cache: &Arc<Cache>,
    registry: &Registry,
    request: &Request,
) -> Option<Reply> {
    let mut asked = registry.routes.asking_clients().peekable();
    if asked.peek().is_none() || !request.headers.contains_key(header::AUTHORIZATION) {
        return None;
    }
    for upstream in asked {
        let whose = upstream.whose(&request.headers);
        let (fetch, headers) = (upstream.fetch("/v2/"), HeaderMap::new());
        let named = (&**upstream, &whose, "");
        match ask_as(cache, named, fetch, Method::GET, headers, None, LONGEST).await {
            Ok(answer) if answer.status == StatusCode::UNAUTHORIZED => {}
            Err(Fault::Unauthorized { .. }) => {}
            Ok(_) | Err(_) => return None,
        }
    }
    let why = "no registry here takes this name and password. hint: `docker login`";
    let mut reply = refuse(cache, request, Code::Unauthorized, why);
    if let Ok(challenge) = HeaderValue::try_from(challenge(registry, request, None)) {
        reply.headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    Some(reply)
}

/// A client's own name and password, or that it has none, for as long as a token holds. Whether they are good
/// the upstream says.
fn wrapped_login(cache: &Cache, registry: &Registry, request: &Request) -> Option<String> {
    let login = request.headers.get(header::AUTHORIZATION).map_or(Some(""), |value| {
        let text = value.to_str().ok()?;
        let (scheme, _) = text.split_once(' ')?;
        (scheme.eq_ignore_ascii_case("basic") && text.len() <= LONGEST_LOGIN).then_some(text)
    })?;
    let life = u64::try_from(OWN_TOKEN_LIFE.as_millis()).unwrap_or_default();
    registry.seal.close(&format!("{} {login}", cache.now().saturating_add(life)), CLIENT_TOKEN)
}

pub(super) fn bearer(request: &Request) -> Option<&str> {
    let value = request.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

async fn by_authenticators(
    cache: &Cache,
    registry: &Registry,
    request: &Request,
    scope: Option<&str>,
) -> Result<Identity, Reply> {
    let own = request.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let lines = match (registry.authentication.is_open(), own) {
        // It is for an upstream.
        (true, _) | (false, None) => Lines::default(),
        (false, Some(value)) => Lines::of(&[("authorization", value)]),
    };
    let recognised =
        registry.authentication.recognise(&registry.name, &request.caller, &lines).await;
    match &recognised {
        _ if registry.authentication.is_open() => {}
        Ok(who) => registry.seen.asked(who.method().unwrap_or("-"), "recognised"),
        Err(why) => registry.seen.asked(why.by(), why.result()),
    }
    recognised.map_err(|why| {
        let mut reply = refused(cache, request, &why);
        if reply.status == StatusCode::UNAUTHORIZED
            && let Ok(challenge) = HeaderValue::try_from(challenge(registry, request, scope))
        {
            reply.headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        reply
    })
}

/// `GET /token`, and `POST /token` as OAuth 2 has it (both are in the distribution project's token documentation).
pub(super) async fn token(cache: &Cache, registry: &Registry, mut request: Request) -> Reply {
    if request.method == Method::POST {
        let upload = std::mem::take(&mut request.upload);
        let form = match collect(upload, LONGEST_FORM).await {
            Ok(form) => String::from_utf8_lossy(&form).into_owned(),
            Err(why) => return refuse(cache, &request, Code::UploadInvalid, why.as_str()),
        };
        let field = |name: &str| query_value(Some(&form), name).unwrap_or_default();
        if field("grant_type") != "password" {
            let why = "only `grant_type=password` is known here";
            return refuse(cache, &request, Code::UploadInvalid, why);
        }
        if let Some(login) = basic(&field("username"), &field("password")) {
            request.headers.insert(header::AUTHORIZATION, login);
        }
    }
    if registry.routes.asks_clients() {
        return match wrapped_login(cache, registry, &request) {
            Some(token) => granted(cache, &request, &token),
            None => refuse(cache, &request, Code::Unauthorized, "a name and a password are wanted"),
        };
    }
    // Not by a token: it would renew itself for ever.
    let who = match by_authenticators(cache, registry, &request, None).await {
        Ok(who) => who,
        Err(mut reply) => {
            if reply.status == StatusCode::UNAUTHORIZED {
                let challenge = HeaderValue::from_static("Basic realm=\"dockgate\"");
                reply.headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            return reply;
        }
    };
    let Some(token) = registry.tokens.issue(&who) else {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        return refuse(cache, &request, Code::Unavailable(status), "no token can be made");
    };
    granted(cache, &request, &token)
}

fn granted(cache: &Cache, request: &Request, token: &str) -> Reply {
    let life = OWN_TOKEN_LIFE.as_secs();
    let text = json!({ "token": token, "access_token": token, "expires_in": life }).to_string();
    let mut reply = refuse(cache, request, Code::Denied, "");
    reply.account = cache.stats.account("-", &request.tenant, Outcome::Own);
    reply.status = StatusCode::OK;
    reply.reason = None;
    reply.length = Some(text.len() as u64);
    reply.body = Body::bytes(text);
    reply
}

pub(super) fn challenge(registry: &Registry, request: &Request, scope: Option<&str>) -> String {
    let scope = scope.map(|scope| format!(",scope=\"{scope}\"")).unwrap_or_default();
    let (scheme, host) = (request.scheme.as_str(), &request.host);
    format!("Bearer realm=\"{scheme}://{host}/token\",service=\"{}\"{scope}", registry.name)
}

fn refused(cache: &Cache, request: &Request, why: &AuthError) -> Reply {
    match why {
        AuthError::Unavailable { name, why } => {
            tracing::warn!(registry = %cache.name, "authenticator `{name}` cannot decide: {why}");
            let code = Code::Unavailable(StatusCode::SERVICE_UNAVAILABLE);
            refuse(cache, request, code, "who you are cannot be found out now")
        }
        AuthError::Unknown | AuthError::Wrong { .. } | AuthError::Distrusted => {
            refuse(cache, request, Code::Unauthorized, &format!("{why}. hint: `docker login`"))
        }
    }
}

fn refuse(cache: &Cache, request: &Request, code: Code, message: &str) -> Reply {
    // Who has shown nothing yet is told what to show: each login begins so.
    let is_call =
        code == Code::Unauthorized && !request.headers.contains_key(header::AUTHORIZATION);
    let outcome = if is_call { Outcome::Own } else { Outcome::Refused };
    error(code, message, cache.stats.account("-", &request.tenant, outcome))
}
