//! `jwt`: bearer tokens, signed by an issuer that the operator trusts (RFC 7519, RFC 6750).
//!
//! `auth::Authentication` asks with every call. What must stay true: nothing that a token says counts before
//! its signature is verified, but for one thing: that it is made by another issuer, which gives it
//! away to another authenticator. No message repeats anything of a token.

mod claims;
mod keys;
mod pem;
mod source;
mod token;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

pub use token::{BadToken, Token};

use super::cache::{Digest, VerifiedCache};
use super::{Asking, Authenticator, Deciding, Outcome, Validity, Who};
use crate::config::{self, Invalid};
use claims::ClaimRules;
use source::{Held, KeySource};

/// How long a verified token is believed without another look.
const BELIEVED: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(super) struct Jwt {
    source: KeySource,
    rules: ClaimRules,
    verified: VerifiedCache<Verified>,
}

#[derive(Clone, Debug)]
struct Verified {
    who: Arc<Who>,
    /// Of the key set.
    generation: u64,
}

impl Jwt {
    pub(super) fn new(config: &config::Jwt) -> Result<Jwt, Invalid> {
        let source = KeySource::new(config)?;
        Ok(Jwt { source, rules: ClaimRules::new(config), verified: VerifiedCache::new() })
    }

    async fn decide(&self, text: &str) -> Outcome {
        let asked = Instant::now();
        let digest = self.verified.digest(text.as_bytes());
        if let Some(who) = self.remembered(&digest, asked) {
            return Outcome::Recognised(who);
        }
        let token = match Token::parse(text) {
            Ok(token) => token,
            Err(bad) => return Outcome::Refused(bad.to_string().into()),
        };
        if token.issuer().is_some_and(|issuer| issuer != self.rules.issuer()) {
            return Outcome::Foreign;
        }
        let held = match self.held_for(&token, asked).await {
            Ok(held) => held,
            Err(why) => return Outcome::Unavailable(why),
        };
        match self.verify(&token, &held, digest) {
            Ok(who) => Outcome::Recognised(who),
            Err(why) => Outcome::Refused(why),
        }
    }

    fn remembered(&self, digest: &Digest, now: Instant) -> Option<Arc<Who>> {
        let generation = self.source.at_hand()?.generation;
        let verified = self.verified.get(digest, now)?;
        (verified.generation == generation).then_some(verified.who)
    }

    async fn held_for(&self, token: &Token<'_>, asked: Instant) -> Result<Arc<Held>, String> {
        let held = self.source.keys().await?;
        match held.keys.has_key_of(token) {
            true => Ok(held),
            false => Ok(self.source.newer(held, asked).await),
        }
    }

    fn verify(
        &self,
        token: &Token<'_>,
        held: &Held,
        digest: Digest,
    ) -> Result<Arc<Who>, Cow<'static, str>> {
        held.keys.verify(token)?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_err(|_| "the time is not known")?;
        let (who, left) = self.rules.check(&token.claims, now)?;
        let who = Arc::new(who);
        let verified = Verified { who: who.clone(), generation: held.generation };
        self.verified.put(digest, verified, Instant::now() + left.min(BELIEVED));
        Ok(who)
    }
}

impl Authenticator for Jwt {
    fn challenges(&self) -> Vec<String> {
        vec!["Bearer realm=\"dockgate\"".to_owned()]
    }

    fn holds(&self) -> Validity {
        Validity::Moment
    }

    fn decide<'a>(&'a self, asking: Asking<'a>) -> Deciding<'a> {
        Box::pin(async move {
            match asking.authorization.map(|authorization| authorization.scheme("Bearer")) {
                None => Outcome::Absent,
                Some(None) => Outcome::Foreign,
                Some(Some(text)) => self.decide(text).await,
            }
        })
    }
}

#[cfg(test)]
mod tests;
