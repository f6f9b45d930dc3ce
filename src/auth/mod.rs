//! Who is asking: `Identity`, made only here.
//!
//! `listener` says what it knows of a connection (`Caller`), `gateway` asks before it parses. Each
//! way of recognising somebody is one file behind `Authenticator`. What must stay true: a credential
//! that is presented and wrong is refused and never falls through to the next authenticator; an
//! authenticator that cannot decide refuses; no credential reaches a log or the engine.

mod basic;
mod cache;
mod certificate;
mod credentials;
mod external;
mod grants;
mod header;
mod identity;
mod jwt;
mod logins;
mod own;
mod peer;

use std::borrow::Cow;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

pub use basic::{Backoff, htpasswd_line, is_htpasswd_user};
pub use credentials::{BadCredentials, ClientCredentials};
pub use grants::{
    Actions, FoundGrant, Grant, Grants, HeldGrant, LINGER as GRANT_LINGER, registry_auth,
};
pub use header::{Authorization, BadAuthorization};
pub use identity::{Caller, Claims, Identity, Peer, PeerKey};
pub use jwt::{BadToken, Token};
pub use logins::{Checking, ChecksLogins, LoginAnswer, Logins};
pub use own::{LIFE as OWN_TOKEN_LIFE, OwnTokens};

use crate::config::{self, Complaints, Invalid};
use crate::telemetry::access::Labels;
use crate::wire::head::Lines;

/// What an authenticator may look at.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    pub listener: &'a str,
    pub caller: &'a Caller,
    pub headers: &'a Lines,
    /// The one `Authorization` header, taken apart; `None` when there is none.
    pub authorization: Option<&'a Authorization<'a>>,
}

/// What an authenticator has found out.
#[derive(Debug)]
pub enum Outcome {
    /// Shared, because most answers come out of a cache.
    Recognised(Arc<Who>),
    /// There is no credential of this authenticator's kind: the next one may know the caller.
    Absent,
    /// There is one in the header that this authenticator reads, made for another: only another
    /// reader of that header may still recognise the caller.
    Foreign,
    /// There is one, and it is wrong. The words are for the log and the client: nothing of the
    /// credential in them.
    Refused(Cow<'static, str>),
    /// It cannot be decided now (a key set or an outside program that does not answer). The words
    /// are for the log.
    Unavailable(String),
}

/// Somebody, as one authenticator knows them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Who {
    pub user: String,
    pub groups: Vec<String>,
    pub claims: Claims,
    labels: OnceLock<Arc<Labels>>,
    /// A digest of what the user was recognised by, where that can be told from what is there now.
    proof: Option<[u8; 32]>,
}

impl Who {
    pub fn new(user: String, groups: Vec<String>, claims: Claims) -> Who {
        Who { user, groups, claims, labels: OnceLock::new(), proof: None }
    }

    /// As the logs say it: rendered once, however many calls there are.
    fn labels(&self, method: &str) -> Arc<Labels> {
        let render =
            || Arc::new(Labels::new(Some(&self.user), Some(method), &self.groups, &self.claims));
        Arc::clone(self.labels.get_or_init(render))
    }
}

/// For how long somebody who was recognised on a connection needs not be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Validity {
    /// For this call: who decides wants to be asked each time.
    Call,
    /// For a moment, if the credential is the same.
    Moment,
    /// As long as the connection: nothing in a call says who makes it.
    Connection,
}

pub type Deciding<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// One way of recognising a caller.
pub trait Authenticator: Send + Sync + std::fmt::Debug {
    /// What `WWW-Authenticate` asks for (RFC 9110 §11.6.1), such as `Basic realm="dockgate"`; empty
    /// for one that does not read `Authorization`.
    fn challenges(&self) -> Vec<String>;

    /// For how long its word is good on one connection.
    fn holds(&self) -> Validity;

    fn decide<'a>(&'a self, asking: Asking<'a>) -> Deciding<'a>;

    /// Whether somebody whom this authenticator has recognised before a reload would be recognised now. By
    /// default as if they came anew.
    fn decide_again<'a>(&'a self, asking: Asking<'a>, _known: &'a Who) -> Deciding<'a> {
        self.decide(asking)
    }
}

/// The authenticators that were built for one configuration, by name: listeners share them, and
/// with them what was verified lately and who has guessed too often.
#[derive(Debug, Default)]
pub struct Authenticators {
    built: HashMap<String, Option<Arc<dyn Authenticator>>>,
    backoff: Backoff,
}

impl Authenticators {
    /// With what is known of guesses from before this configuration.
    pub fn after(backoff: &Backoff) -> Authenticators {
        Authenticators { built: HashMap::new(), backoff: backoff.clone() }
    }

    /// Complaints come once, however many listeners name it.
    fn get(&mut self, auth: &config::Auth) -> Result<Option<Arc<dyn Authenticator>>, Invalid> {
        if let Some(known) = self.built.get(&auth.name) {
            return Ok(known.clone());
        }
        let built = build(auth, &self.backoff);
        self.built.insert(auth.name.clone(), built.as_ref().ok().cloned());
        built.map(Some)
    }
}

/// The authenticators of one listener, in their order.
#[derive(Debug)]
pub struct Authentication {
    authenticators: Vec<(Arc<str>, Arc<dyn Authenticator>)>,
    challenges: Vec<String>,
    holds: Validity,
}

impl Default for Authentication {
    fn default() -> Authentication {
        Authentication {
            authenticators: Vec::new(),
            challenges: Vec::new(),
            holds: Validity::Connection,
        }
    }
}

/// Why a caller was not let in.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("no valid credentials")]
    Unknown,
    /// `by` is the authenticator's name.
    #[error("{why}")]
    Wrong { by: String, why: Cow<'static, str> },
    /// The connection is from before a reload.
    #[error("the client's certificate is not trusted any more")]
    Distrusted,
    #[error("authenticator `{name}` cannot decide")]
    Unavailable { name: String, why: String },
}

impl AuthError {
    fn wrong(by: &str, why: Cow<'static, str>) -> AuthError {
        AuthError::Wrong { by: by.to_owned(), why }
    }

    /// The authenticator that decided, or `-`.
    pub fn by(&self) -> &str {
        match self {
            AuthError::Unknown | AuthError::Distrusted => "-",
            AuthError::Wrong { by, .. } => by,
            AuthError::Unavailable { name, .. } => name,
        }
    }

    /// For the metric.
    pub fn result(&self) -> &'static str {
        match self {
            AuthError::Unknown => "unknown",
            AuthError::Wrong { .. } | AuthError::Distrusted => "refused",
            AuthError::Unavailable { .. } => "unavailable",
        }
    }
}

impl Authentication {
    /// Reads what the authenticators need (password files, keys, certificates), but no network.
    pub fn new(
        auths: &[config::Auth],
        known: &mut Authenticators,
    ) -> Result<Authentication, Invalid> {
        let mut complaints = Complaints::default();
        let mut authenticators: Vec<(Arc<str>, Arc<dyn Authenticator>)> = Vec::new();
        for auth in auths {
            // Without one it has been complained about already, so that no listener comes of this.
            if let Some(Some(authenticator)) = complaints.note(known.get(auth)) {
                authenticators.push((auth.name.as_str().into(), authenticator));
            }
        }
        let mut challenges = Vec::new();
        for challenge in
            authenticators.iter().flat_map(|(_, authenticator)| authenticator.challenges())
        {
            if !challenges.contains(&challenge) {
                challenges.push(challenge);
            }
        }
        let holds = authenticators.iter().map(|(_, authenticator)| authenticator.holds()).min();
        let holds = holds.unwrap_or(Validity::Connection);
        complaints.or(Authentication { authenticators, challenges, holds })
    }

    /// Everybody is this user, for `dockgate explain`.
    pub fn imagined(user: &str) -> Authentication {
        Authentication::one_user("explain", user)
    }

    /// Everybody is the one whose job it is: who may come in is for its policies to say.
    pub fn of_job(owner: &str) -> Authentication {
        Authentication::one_user(JOB, owner)
    }

    fn one_user(method: &str, user: &str) -> Authentication {
        let who = Arc::new(Who::new(user.to_owned(), Vec::new(), Claims::new()));
        let authenticator: Arc<dyn Authenticator> = Arc::new(OneUser(who));
        Authentication {
            authenticators: vec![(method.into(), authenticator)],
            ..Authentication::default()
        }
    }

    /// Whether it is for policies to say who is let in, by the callers' processes.
    pub fn is_by_process(&self) -> bool {
        self.authenticators.first().is_some_and(|(method, _)| &**method == JOB)
    }

    /// Whether anybody is let in, without a name.
    pub fn is_open(&self) -> bool {
        self.authenticators.is_empty()
    }

    /// For how long what was recognised on a connection is good: what its shortest-lived word is.
    pub fn holds(&self) -> Validity {
        self.holds
    }

    /// The values of `WWW-Authenticate`, one for each scheme that some authenticator reads.
    pub fn challenges(&self) -> &[String] {
        &self.challenges
    }

    /// Whether somebody who was recognised before a reload would be let in now, as the same user; none when
    /// that cannot be told yet.
    pub async fn still_recognises(
        &self,
        listener: &str,
        caller: &Caller,
        headers: &Lines,
        known: &Identity,
    ) -> Option<bool> {
        if self.is_open() {
            return Some(true);
        }
        let Ok(authorization) = Authorization::of(headers) else { return Some(false) };
        let asking = Asking { listener, caller, headers, authorization: authorization.as_ref() };
        let mut is_foreign = false;
        for (name, authenticator) in &self.authenticators {
            if is_foreign && authenticator.holds() == Validity::Connection {
                continue;
            }
            let deciding = match known.who().filter(|_| known.method() == Some(&**name)) {
                Some(who) => authenticator.decide_again(asking, who),
                None => authenticator.decide(asking),
            };
            match deciding.await {
                Outcome::Recognised(now) => {
                    return Some(known.user().is_none_or(|user| user == now.user));
                }
                Outcome::Absent => {}
                Outcome::Foreign => is_foreign = true,
                Outcome::Refused(_) => return Some(false),
                Outcome::Unavailable(_) => return None,
            }
        }
        Some(false)
    }

    /// Asks each authenticator in turn; the first that recognises the caller wins.
    pub async fn recognise(
        &self,
        listener: &str,
        caller: &Caller,
        headers: &Lines,
    ) -> Result<Identity, AuthError> {
        if self.is_open() {
            return Ok(Identity::nobody(caller));
        }
        let authorization =
            Authorization::of(headers).map_err(|bad| AuthError::wrong("-", bad.why()))?;
        let asking = Asking { listener, caller, headers, authorization: authorization.as_ref() };
        let mut is_foreign = false;
        for (name, authenticator) in &self.authenticators {
            if is_foreign && authenticator.holds() == Validity::Connection {
                continue;
            }
            match authenticator.decide(asking).await {
                Outcome::Recognised(who) => return Ok(Identity::new(name, who, caller)),
                Outcome::Absent => {}
                Outcome::Foreign => is_foreign = true,
                Outcome::Refused(why) => return Err(AuthError::wrong(name, why)),
                Outcome::Unavailable(why) => {
                    return Err(AuthError::Unavailable { name: name.to_string(), why });
                }
            }
        }
        Err(match is_foreign {
            true => AuthError::wrong("-", "no authenticator takes this credential".into()),
            false => AuthError::Unknown,
        })
    }
}

/// How those who use the socket of a job are recognised.
const JOB: &str = "job";

/// Recognises everybody as one user.
#[derive(Debug)]
struct OneUser(Arc<Who>);

impl Authenticator for OneUser {
    fn challenges(&self) -> Vec<String> {
        Vec::new()
    }

    fn holds(&self) -> Validity {
        Validity::Connection
    }

    fn decide<'a>(&'a self, _: Asking<'a>) -> Deciding<'a> {
        Box::pin(std::future::ready(Outcome::Recognised(Arc::clone(&self.0))))
    }
}

fn build(auth: &config::Auth, backoff: &Backoff) -> Result<Arc<dyn Authenticator>, Invalid> {
    Ok(match &auth.kind {
        config::AuthKind::UnixPeer(config) => Arc::new(peer::UnixPeer::new(config)),
        config::AuthKind::Certificate(name) => Arc::new(certificate::Certificate::new(*name)),
        config::AuthKind::Basic(file) => Arc::new(basic::Basic::new(file, backoff.of(&auth.name))?),
        config::AuthKind::Jwt(config) => Arc::new(jwt::Jwt::new(config)?),
        config::AuthKind::External(config) => Arc::new(external::External::new(config)?),
    })
}

/// Whether a text may be a user's or a group's name: nothing in it is invisible, and no two names
/// that differ look the same in a log.
fn is_name(text: &str) -> bool {
    let is_invisible = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    (1..=256).contains(&text.len()) && text.trim() == text && !text.chars().any(is_invisible)
}
