//! Whether a client's own name and password are good at the registry that images of a host come from.
//!
//! `gateway` asks by `auth::Logins`, for namespaces. What must stay true: they go where a pull of that client would show
//! them, and nowhere else.

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};

use super::Registry;
use super::ask::{LONGEST, ask_as};
use crate::auth::{Checking, ChecksLogins, ClientCredentials, LoginAnswer};
use crate::cache::Cache;
use crate::cache::upstream::Fault;

#[derive(Debug)]
pub(in crate::cache) struct LoginChecks {
    pub(in crate::cache) cache: Arc<Cache>,
    pub(in crate::cache) registry: Arc<Registry>,
}

impl ChecksLogins for LoginChecks {
    fn check(&self, host: &str, own: ClientCredentials) -> Checking {
        let (cache, registry) = (Arc::clone(&self.cache), Arc::clone(&self.registry));
        let host = host.to_ascii_lowercase();
        Box::pin(async move { check(&cache, &registry, &host, &own).await })
    }
}

async fn check(
    cache: &Arc<Cache>,
    registry: &Registry,
    host: &str,
    own: &ClientCredentials,
) -> LoginAnswer {
    let Some((upstream, whose, url)) = registry.namespaces.shown_to(registry, host, own) else {
        return LoginAnswer::Failed(format!("`{host}` is no host of a registry"));
    };
    let named = (&*upstream, &whose, "");
    let fetch = upstream.fetch("/v2/");
    match ask_as(cache, named, fetch, Method::GET, HeaderMap::new(), None, LONGEST).await {
        Ok(answer) if answer.status == StatusCode::OK => LoginAnswer::Good,
        Ok(answer) => {
            let why = format!("login attempt to {url} failed with status: {}", answer.status);
            match answer.status {
                StatusCode::UNAUTHORIZED => LoginAnswer::Refused(why),
                _ => LoginAnswer::Failed(why),
            }
        }
        Err(Fault::Unauthorized { .. }) => {
            let why = format!("Get \"{url}\": unauthorized: incorrect username or password");
            LoginAnswer::Refused(why)
        }
        Err(fault) => LoginAnswer::Failed(format!("Get \"{url}\": {fault}")),
    }
}
