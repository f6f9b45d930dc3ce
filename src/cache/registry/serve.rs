//! The story of a request to a registry: understood, recognised, allowed, routed, answered.
//!
//! `cache::serve` hands it every request of a cache that is a registry. What must stay true: nobody is served whom the
//! authenticators do not recognise, and nothing is done that the rules do not allow, whatever it is.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::sync::oneshot;

use super::Registry;
use super::ask::ask_as;
use super::case::Case;
use super::clients::{recognise, refused_login, token, unwrap_login};
use super::errors::{Code, error, not_one};
use super::namespaces::{is_namespaced, namespaced};
use super::pull::{link, pong, without_namespace};
use super::request::{Operation, Thing, query_value};
use super::routes::Routed;
use super::seen::Call;
use crate::api::json;
use crate::auth::Identity;
use crate::cache::Cache;
use crate::cache::reply::{Body, Reply};
use crate::cache::request::Request;
use crate::cache::stats::{Account, Outcome};
use crate::config::RegistryAction;

/// Of a page of a catalog.
const LONGEST_CATALOG: usize = 4 << 20;

/// What is written is known here, and written down, whether or not its client waits for the answer.
pub(in crate::cache) async fn answer(
    cache: &Arc<Cache>,
    registry: &Arc<Registry>,
    request: Request,
) -> Reply {
    let is_short = request.method == Method::DELETE || request.path.contains("/manifests/");
    if !is_short || [Method::GET, Method::HEAD].contains(&request.method) {
        return recorded(cache, registry, request).await;
    }
    let account = cache.stats.account("-", &request.tenant, Outcome::Failed);
    let (here, registry) = (Arc::clone(cache), Arc::clone(registry));
    let (answers, answer) = oneshot::channel();
    drop(tokio::spawn(cache.thread.awaited(async move {
        let reply = recorded(&here, &registry, request).await;
        if let Err(unheard) = answers.send(reply) {
            unheard.account.close(0);
        }
    })));
    // Only where the process ends, or a task has broken.
    answer.await.unwrap_or_else(|_| {
        let code = Code::Unavailable(StatusCode::INTERNAL_SERVER_ERROR);
        error(code, "the request was not carried out to its end", account)
    })
}

async fn recorded(cache: &Arc<Cache>, registry: &Arc<Registry>, request: Request) -> Reply {
    let mut call = Call::begin(&registry.name, &request);
    // It would wait for itself.
    let mut reply = match cache.upstream.is_loop(&request.headers) {
        true => {
            let account = cache.stats.account("-", &request.tenant, Outcome::Refused);
            error(
                Code::Unavailable(StatusCode::LOOP_DETECTED),
                "the request has been here before",
                account,
            )
        }
        false => answered(cache, registry, request, &mut call).await,
    };
    registry.seen.answered(call, &mut reply);
    reply
}

async fn answered(
    cache: &Arc<Cache>,
    registry: &Arc<Registry>,
    mut request: Request,
    call: &mut Call,
) -> Reply {
    let account = cache.stats.account("-", &request.tenant, Outcome::Refused);
    let operation = match Operation::parse(&request.method, &request.path) {
        Ok(operation) => operation,
        Err(why) => return not_one(why, account),
    };
    call.understood(&request.method, &operation);
    if operation == Operation::Token {
        return token(cache, registry, request).await;
    }
    match &operation {
        Operation::Ping => {
            if let Some(reply) = registry.namespaces.ping(cache, registry, &request) {
                return reply;
            }
        }
        Operation::Repository { name, thing } if is_namespaced(name) => {
            let (name, thing) = (name.clone(), thing.clone());
            return namespaced(cache, registry, request, (&name, &thing), call).await;
        }
        Operation::Repository { .. } | Operation::Catalog | Operation::Token => {}
    }
    let scope = scope(&operation, &request);
    if let Err(reply) = unwrap_login(cache, registry, &mut request, scope.as_deref()) {
        return *reply;
    }
    let who = match recognise(cache, registry, &request, scope.as_deref()).await {
        Ok(who) => who,
        Err(reply) => return reply,
    };
    call.recognised(&who);
    let (name, thing) = match operation {
        Operation::Ping | Operation::Token => {
            return match refused_login(cache, registry, &request).await {
                Some(refused) => refused,
                None => ping(cache, &request),
            };
        }
        Operation::Catalog => return catalog(cache, registry, request, who).await,
        Operation::Repository { name, thing } => (name, thing),
    };
    let namespace = query_value(request.query.as_deref(), "ns");
    let name = registry.routes.canonical(&name, namespace.as_deref());
    call.named(&name);
    let action = thing.action(&request.method);
    if !registry.rules.allow(&who, action, &name) {
        call.refused("registry.rule");
        return error(Code::Denied, &not_allowed(registry, &who, action, &name), account);
    }
    let Some(routed) = registry.routes.find(&name) else {
        let why =
            format!("no upstream has `{name}`. hint: see `[registry.{}.upstream]`", registry.name);
        return error(Code::NameUnknown, &why, account);
    };
    let routed = routed.of(&who);
    call.routed(&routed);
    carried_out(case(cache, registry, request, who, name, routed), &thing, call).await
}

/// The same for who was told what rules say of it.
pub(super) async fn carried_out(case: Case<'_>, thing: &Thing, call: &mut Call) -> Reply {
    let denied_by = Arc::clone(&case.denied_by);
    let reply = carry_out(case, thing).await;
    if let Some(rule) = denied_by.get() {
        call.refused(&format!("push_rule.{rule}"));
    }
    reply
}

async fn carry_out(case: Case<'_>, thing: &Thing) -> Reply {
    match (thing, &case.request.method) {
        (Thing::Manifest(reference), &Method::PUT) => case.put_manifest(reference).await,
        (Thing::Manifest(reference), &Method::DELETE) => {
            case.delete(&format!("manifests/{}", reference.as_str())).await
        }
        (Thing::Manifest(reference), _) => case.manifest(reference).await,
        (Thing::Blob(digest), &Method::DELETE) => {
            case.delete(&format!("blobs/{}", digest.as_str())).await
        }
        (Thing::Blob(digest), _) => case.blob(digest).await,
        (Thing::Tags, _) => case.list("tags/list").await,
        (Thing::Referrers(digest), _) => case.list(&format!("referrers/{}", digest.as_str())).await,
        (Thing::Uploads, _) => case.start().await,
        (Thing::Upload(sealed), _) => case.upload(sealed).await,
    }
}

fn case<'c>(
    cache: &'c Arc<Cache>,
    registry: &'c Registry,
    request: Request,
    who: Identity,
    name: String,
    routed: Routed,
) -> Case<'c> {
    let whose = routed.upstream.whose(&request.headers);
    let (asked, denied_by) = (None, Arc::default());
    let is_proven = false;
    Case { cache, registry, request, who, name, asked, routed, whose, is_proven, denied_by }
}

pub(super) fn ping(cache: &Cache, request: &Request) -> Reply {
    let account = cache.stats.account("-", &request.tenant, Outcome::Own);
    let mut reply = ok("{}".to_owned(), account);
    pong(&mut reply.headers);
    reply
}

/// The repositories of the upstream that has all names; of them those that the client may pull.
async fn catalog(
    cache: &Arc<Cache>,
    registry: &Registry,
    request: Request,
    who: Identity,
) -> Reply {
    let account = cache.stats.account("-", &request.tenant, Outcome::Refused);
    let Some(upstream) = registry.routes.root().filter(|_| registry.catalog) else {
        let why =
            "repositories are not listed here. hint: `catalog = true`, and an upstream `\"/\"`";
        return error(Code::Unsupported, why, account);
    };
    let routed = Routed { upstream: Arc::clone(upstream), repository: String::new() };
    let routed = routed.of(&who);
    let query = without_namespace(request.query.as_deref());
    let case = case(cache, registry, request, who, "_catalog".to_owned(), routed);
    let path = query.map_or("/v2/_catalog".to_owned(), |query| format!("/v2/_catalog?{query}"));
    let named = (case.upstream(), &case.whose, "registry:catalog:*");
    let (fetch, fields) = (case.upstream().fetch(&path), HeaderMap::new());
    let answer = ask_as(cache, named, fetch, Method::GET, fields, None, LONGEST_CATALOG).await;
    let answer = match answer {
        Ok(answer) if answer.status == StatusCode::OK => answer,
        Ok(answer) => return case.as_told(answer.status, Code::Unsupported),
        Err(fault) => return case.refused_or_failed(&fault),
    };
    let Ok(Listed { repositories }) = json::read(&answer.body) else {
        let code = Code::Unavailable(StatusCode::BAD_GATEWAY);
        return case.refuse(code, "what the registry answers is no list of repositories");
    };
    let prefix = case.upstream().prefix.as_str();
    let names = repositories.iter().filter_map(|name| name.strip_prefix(prefix));
    let seen: Vec<&str> =
        names.filter(|name| registry.rules.allow(&case.who, RegistryAction::Pull, name)).collect();
    let text = serde_json::json!({ "repositories": seen }).to_string();
    let mut reply = ok(text, case.account(Outcome::Passed));
    let next = answer.headers.get(header::LINK).and_then(|next| link(next, "/v2/_catalog"));
    reply.headers.extend(next.map(|next| (header::LINK, next)));
    reply
}

/// What a registry lists.
#[derive(serde::Deserialize)]
struct Listed {
    repositories: Vec<String>,
}

fn ok(text: String, account: Account) -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let (length, body) = (Some(text.len() as u64), Body::bytes(text));
    Reply { status: StatusCode::OK, reason: None, headers, length, body, account, stored: None }
}

/// What a client asks a token for.
pub(super) fn scope(operation: &Operation, request: &Request) -> Option<String> {
    let Operation::Repository { name, thing } = operation else { return None };
    let actions = match thing.action(&request.method) {
        RegistryAction::Pull => "pull",
        RegistryAction::Push => "pull,push",
        RegistryAction::Delete => "delete",
    };
    Some(format!("repository:{name}:{actions}"))
}

pub(super) fn not_allowed(
    registry: &Registry,
    who: &Identity,
    action: RegistryAction,
    name: &str,
) -> String {
    let user =
        who.user().map_or("nobody without a name".to_owned(), |user| format!("`{user}` not"));
    let action = action.as_str();
    let hint = format!("see `[[registry.{}.rule]]`", registry.name);
    format!("{user} may {action} `{name}`. hint: {hint}").replace(" not may", " may not")
}
