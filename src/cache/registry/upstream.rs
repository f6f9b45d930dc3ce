//! A registry that is asked: where it is, what its repositories are called there, and by what it recognises us.
//!
//! `routes` chooses it for a name; `case` asks it. What must stay true: a credential goes to the upstream that it is
//! for, in the name of whom it is of, and to the site that its tokens are had at; nowhere else.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode};

use super::ecr::Ecr;
use super::helper::Helper;
use super::mirrors::UpstreamMirror;
use super::name::Digest;
use super::seen::UpstreamCounts;
use super::tokens::{Refused, Tokens};
use crate::cache::Cache;
use crate::cache::key::Scheme;
use crate::cache::route::Fetch;
use crate::cache::upstream::Fault;

#[derive(Debug)]
pub(super) struct RegistryUpstream {
    /// The first components of its repositories' names for clients; empty: it has all names.
    pub name: String,
    pub scheme: Scheme,
    /// As in `Key`.
    pub host: String,
    /// What stands before each repository there, with a `/` behind it.
    pub prefix: String,
    pub recognises: Recognises,
    /// What it has in common with no other that may stand at the same host: its name, and whose credentials are shown
    /// to it. What is kept of it is kept under this.
    pub id: String,
    /// The same for those whom it is asked for with other credentials.
    pub tenants: Vec<(Vec<String>, Arc<RegistryUpstream>)>,
    /// Asked before it for what is pulled.
    pub mirrors: Vec<UpstreamMirror>,
    pub(super) tokens: Tokens,
    pub(super) counts: UpstreamCounts,
}

/// By what it recognises who asks.
#[derive(Debug)]
pub(super) enum Recognises {
    Nobody,
    /// `Authorization` of ours.
    Login(HeaderValue),
    Client,
    Helper(Helper),
    Ecr(Arc<Ecr>),
}

/// In whose name it is asked.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    Nobody,
    /// The gateway's own.
    Own,
    /// The client's `Authorization`.
    Client(HeaderValue),
}

impl RegistryUpstream {
    /// What a repository is called there that has this name behind the upstream's own.
    pub(super) fn there(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }

    /// Whether names without a `/` are below `library` there.
    pub(super) fn is_hub(&self) -> bool {
        self.host == "registry-1.docker.io" && self.prefix.is_empty()
    }

    pub(super) fn fetch(&self, target: &str) -> Fetch {
        Fetch { scheme: self.scheme, host: self.host.clone(), target: target.to_owned() }
    }

    /// In whose name a request is sent on that brings this.
    pub(super) fn whose(&self, headers: &HeaderMap) -> Whose {
        match (&self.recognises, headers.get(http::header::AUTHORIZATION)) {
            (Recognises::Nobody, _) | (Recognises::Client, None) => Whose::Nobody,
            (Recognises::Login(_) | Recognises::Helper(_) | Recognises::Ecr(_), _) => Whose::Own,
            (Recognises::Client, Some(own)) => Whose::Client(own.clone()),
        }
    }

    /// Whether what is stored of it came to nobody but us.
    pub(super) fn is_ours(&self) -> bool {
        !matches!(self.recognises, Recognises::Client)
    }

    /// Who makes repositories that are not there.
    pub(super) fn creates(&self) -> Option<&Arc<Ecr>> {
        match &self.recognises {
            Recognises::Ecr(ecr) if ecr.creates() => Some(ecr),
            _ => None,
        }
    }

    /// Whether an answer says that what went with the request is not good (any more). ECR says 403 of a token that has
    /// expired, as it does of a repository that nobody may read.
    pub(super) fn is_refused(&self, status: StatusCode, now: u64) -> bool {
        match (status, &self.recognises) {
            (StatusCode::UNAUTHORIZED, _) => true,
            (StatusCode::FORBIDDEN, Recognises::Ecr(ecr)) => ecr.may_force(now),
            _ => false,
        }
    }

    /// What goes with a request for `scope`, if anything does.
    pub(super) async fn authorization(
        &self,
        cache: &Arc<Cache>,
        whose: &Whose,
        scope: &str,
        refused: Option<&Refused>,
    ) -> Result<Option<HeaderValue>, Fault> {
        let login = match (&self.recognises, whose) {
            (_, Whose::Nobody) => None,
            (_, Whose::Client(own)) => Some(own.clone()),
            (Recognises::Login(own), Whose::Own) => Some(own.clone()),
            (Recognises::Helper(helper), Whose::Own) => {
                Some(helper.login(cache, self, refused.is_some()).await?)
            }
            (Recognises::Ecr(ecr), Whose::Own) => {
                let sent = refused.and_then(|refused| refused.sent.as_ref());
                Some(ecr.login(cache, self, sent).await?)
            }
            (Recognises::Nobody | Recognises::Client, Whose::Own) => None,
        };
        self.tokens.authorization(cache, self, (whose, login), scope, refused).await
    }
}

impl Whose {
    /// A name for who asks, which is a client's for as long as its credential is the same.
    pub(super) fn turn(&self) -> String {
        match self {
            Whose::Nobody => "nobody".to_owned(),
            Whose::Own => "own".to_owned(),
            Whose::Client(own) => Digest::of(own.as_bytes()).as_str().to_owned(),
        }
    }
}

/// Never what it holds.
impl std::fmt::Debug for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Whose::Nobody => "Nobody",
            Whose::Own => "Own",
            Whose::Client(_) => "Client(…)",
        })
    }
}

/// Whether an answer says nothing of what was asked: the upstream is down, or does not want to be asked.
pub(super) fn is_away(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::cache::registry) fn upstream(
        name: &str,
        host: &str,
        prefix: &str,
    ) -> Arc<RegistryUpstream> {
        let slash = if prefix.is_empty() { "" } else { "/" };
        Arc::new(RegistryUpstream {
            name: name.to_owned(),
            scheme: Scheme::Https,
            host: host.to_owned(),
            prefix: format!("{prefix}{slash}"),
            recognises: Recognises::Nobody,
            id: name.to_owned(),
            tenants: Vec::new(),
            mirrors: Vec::new(),
            tokens: Tokens::new(None),
            counts: UpstreamCounts::default(),
        })
    }

    #[test]
    fn what_stands_before_a_repository_there() {
        let one = upstream("ecr", "a.example", "team");
        assert_eq!(one.there("x/y"), "team/x/y");
    }

    #[test]
    fn no_credential_is_shown() {
        let whose = Whose::Client(HeaderValue::from_static("Basic c2VjcmV0"));
        assert_eq!(format!("{whose:?}"), "Client(…)");
    }
}
