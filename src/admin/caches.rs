//! `/cache/…` of the admin socket: what is stored, what it has saved, and its removal.
//!
//! `route` calls it. What must stay true: what tells URLs, or changes anything, is on the Unix socket
//! only; nothing is removed unless the request says what, in one way; a purge that has begun goes to
//! its end.

use std::io;
use std::sync::Arc;

use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use serde::Serialize;

use super::AdminApi;
use super::query::AdminQuery;
use super::report::{Checked, Objects, Purged, Saving, Savings};
use super::route::{AdminResponse, JSON, message, not_allowed, text, unix_only};
use crate::cache::Cache;
use crate::cache::store::Scope;

const PAGE: usize = 1000;
const LARGEST_PAGE: usize = 10_000;

const STATS: &str = "/cache/stats";
const LS: &str = "/cache/ls";
const VERIFY: &str = "/cache/verify";
const PURGE: &str = "/cache/purge";

/// None: there is no such path.
pub(super) async fn answer(
    head: &Parts,
    is_unix: bool,
    state: &dyn AdminApi,
) -> Option<AdminResponse> {
    let path = head.uri.path();
    let allowed = match path {
        STATS | LS | VERIFY => "GET, HEAD",
        PURGE => "POST",
        _ => return None,
    };
    if path != STATS && !is_unix {
        return Some(unix_only(path));
    }
    let fits = match path {
        PURGE => head.method == Method::POST,
        _ => head.method == Method::GET || head.method == Method::HEAD,
    };
    if !fits {
        return Some(not_allowed(allowed));
    }
    let caches = state.caches();
    let asked = AdminQuery::read(head.uri.query().unwrap_or_default());
    let answered = match asked {
        Ok(asked) if path == STATS => stats(&caches, asked),
        Ok(asked) if path == LS => ls(&caches, asked).await,
        Ok(asked) if path == VERIFY => verify(&caches, asked).await,
        Ok(asked) => purge(&caches, asked).await,
        Err(why) => Err(bad(why)),
    };
    Some(answered.unwrap_or_else(|(status, why)| message(status, &why)))
}

type Answered = Result<AdminResponse, (StatusCode, String)>;

fn stats(caches: &[Arc<Cache>], mut asked: AdminQuery) -> Answered {
    let wanted = match asked.take("cache") {
        Some(name) => vec![named(caches, Some(name))?],
        None => caches.to_vec(),
    };
    asked.end().map_err(bad)?;
    json(&Savings { caches: wanted.iter().map(|cache| Saving::of(cache)).collect() })
}

async fn ls(caches: &[Arc<Cache>], mut asked: AdminQuery) -> Answered {
    let cache = named(caches, asked.take("cache"))?;
    let scope = asked.scope().map_err(bad)?.unwrap_or(Scope::Everything);
    let (after, most) = asked.page().map_err(bad)?;
    let page = cache.store.list(&scope, after.as_deref(), most).await.map_err(failed)?;
    json(&Objects::of(page, |key| cache.called(key)))
}

async fn verify(caches: &[Arc<Cache>], mut asked: AdminQuery) -> Answered {
    let cache = named(caches, asked.take("cache"))?;
    let scope = asked.scope().map_err(bad)?.unwrap_or(Scope::Everything);
    let (after, most) = asked.page().map_err(bad)?;
    let page = cache.store.verify(&scope, after.as_deref(), most).await.map_err(failed)?;
    json(&Checked::from(page))
}

async fn purge(caches: &[Arc<Cache>], mut asked: AdminQuery) -> Answered {
    let cache = named(caches, asked.take("cache"))?;
    let url = asked.take("url");
    let all = asked.take("all");
    let scope = asked.scope().map_err(bad)?;
    asked.end().map_err(bad)?;
    let purging = match (url, scope, all) {
        (Some(url), None, None) => {
            let key = cache.key_of(&url).ok_or_else(|| bad(format!("`{url}` is not a URL")))?;
            tokio::spawn(async move {
                let objects = cache.purge_url(&key).await?;
                Ok(Purged { objects, bytes: None })
            })
        }
        (None, Some(scope), None) => spawn_purge(cache, scope),
        (None, None, Some(_)) => spawn_purge(cache, Scope::Everything),
        _ => {
            let what = "give one of `all`, `host`, `prefix`, `partition` and `url`";
            return Err(bad(what.to_owned()));
        }
    };
    json(&purging.await.map_err(io::Error::other).and_then(|done| done).map_err(failed)?)
}

/// In a task of its own, for it must not stop half-way when the client hangs up.
fn spawn_purge(cache: Arc<Cache>, scope: Scope) -> tokio::task::JoinHandle<io::Result<Purged>> {
    tokio::spawn(async move {
        let purged = cache.purge(&scope).await?;
        Ok(Purged { objects: purged.objects, bytes: Some(purged.bytes) })
    })
}

/// The cache that is meant: the only one if none is named.
fn named(caches: &[Arc<Cache>], name: Option<String>) -> Result<Arc<Cache>, (StatusCode, String)> {
    let names = || caches.iter().map(|cache| cache.name.as_str()).collect::<Vec<_>>().join("`, `");
    match (name, caches) {
        (None, [only]) => Ok(Arc::clone(only)),
        (_, []) => Err((StatusCode::NOT_FOUND, "there is no cache".to_owned())),
        (None, _) => Err(bad(format!("which cache? hint: one of `{}`", names()))),
        (Some(name), _) => {
            let found = caches.iter().find(|cache| cache.name == name).map(Arc::clone);
            let why = || format!("there is no cache `{name}`. hint: one of `{}`", names());
            found.ok_or_else(|| (StatusCode::NOT_FOUND, why()))
        }
    }
}

impl AdminQuery {
    fn scope(&mut self) -> Result<Option<Scope>, String> {
        match (self.take("host"), self.take("prefix"), self.take("partition")) {
            (None, None, None) => Ok(None),
            (Some(host), None, None) => Scope::of_host(&host).map(Some),
            (None, Some(prefix), None) => Scope::of_prefix(&prefix).map(Some),
            (None, None, Some(partition)) => Scope::of_partition(&partition).map(Some),
            _ => Err("give one of `host`, `prefix` and `partition`".to_owned()),
        }
    }

    /// What is behind which object, and how much of it; the last that is taken.
    fn page(mut self) -> Result<(Option<String>, usize), String> {
        let most = match self.take("most") {
            None => PAGE,
            Some(most) => most
                .parse()
                .ok()
                .filter(|most| (1..=LARGEST_PAGE).contains(most))
                .ok_or_else(|| format!("`most` is a number from 1 to {LARGEST_PAGE}"))?,
        };
        let after = self.take("after");
        self.end()?;
        Ok((after, most))
    }
}

fn json(value: &impl Serialize) -> Answered {
    match serde_json::to_string(value) {
        Ok(body) => Ok(text(StatusCode::OK, JSON, body + "\n")),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

fn bad(why: String) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, why)
}

fn failed(error: io::Error) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("the store cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_is_said_in_one_way() {
        let mut asked = AdminQuery::read("prefix=https%3A%2F%2Fa.example%2Fx+y&most=5").unwrap();
        let scope = asked.scope().unwrap();
        assert_eq!(scope, Some(Scope::Prefix("https://a.example/x+y".to_owned())));
        assert_eq!(asked.page(), Ok((None, 5)));
        let both = AdminQuery::read("host=a&partition=shared").unwrap().scope();
        assert!(both.is_err());
        for bad in ["most=0", "most=-1", "most=10001", "most=x", "hots=a"] {
            assert!(AdminQuery::read(bad).unwrap().page().is_err(), "{bad}");
        }
    }
}
