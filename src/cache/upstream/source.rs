//! What one question to an origin takes: calls, each of which depends on what came before.
//!
//! `Upstream::send` carries the steps out, in one loop. Pure. What must stay true: there is an end, whatever
//! origins answer; credentials of the cache's own go to the origin that they are for, and not on where a
//! redirect leads; an origin that refuses them is a fault, for no client can do anything about it.

use http::{HeaderMap, StatusCode};

use super::challenge::{Challenge, NoToken};
use super::credentials::{How, OriginCredentials};
use super::fault::Fault;
use super::redirect::{self, Follow};
use crate::cache::route::Fetch;

/// A question that may take more than one call. Without `follow` and `credentials` it takes one.
pub(super) struct Source<'a> {
    pub follow: Option<&'a Follow>,
    /// Of the cache's own, for the origin that is asked first; none where the client has brought some.
    pub credentials: Option<&'a OriginCredentials>,
}

/// What was asked until now.
#[derive(Debug)]
pub(super) struct SoFar {
    /// The last call.
    pub fetch: Fetch,
    /// What went with it of the cache's own.
    pub sent: Option<HeaderMap>,
    /// Redirects that were followed.
    pub hops: u8,
    /// Whether one of them has led to another origin.
    pub is_away: bool,
    /// Tokens that were asked for.
    pub tokens: u8,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The last answer is the answer.
    Answer,
    /// The same is to be asked here.
    Hop(Fetch),
    /// The same is to be asked again with the token that this request gives.
    Token(Fetch),
    /// There will be no answer.
    Fault(Fault),
}

/// The first may be one that was kept, and was revoked.
const MOST_TOKENS: u8 = 2;

impl SoFar {
    pub(super) fn new(fetch: &Fetch) -> SoFar {
        SoFar { fetch: fetch.clone(), sent: None, hops: 0, is_away: false, tokens: 0 }
    }

    pub(super) fn hop(&mut self, next: Fetch) {
        if !redirect::same_origin(&self.fetch, &next) {
            (self.is_away, self.sent) = (true, None);
        }
        self.hops += 1;
        self.fetch = next;
    }
}

impl Source<'_> {
    /// The credentials for the next call.
    pub(super) fn credentials(&self, so_far: &SoFar) -> Option<&OriginCredentials> {
        self.credentials.filter(|_| !so_far.is_away)
    }

    pub(super) fn next(&self, so_far: &SoFar, status: StatusCode, headers: &HeaderMap) -> Step {
        if let (StatusCode::UNAUTHORIZED, Some(own)) = (status, self.credentials(so_far)) {
            return refused(own, so_far, headers).unwrap_or_else(|why| {
                let host = so_far.fetch.host.clone();
                Step::Fault(Fault::Credentials { host, why })
            });
        }
        let Some(follow) = self.follow else { return Step::Answer };
        match redirect::next(&so_far.fetch, status, headers, follow) {
            None => Step::Answer,
            Some(_) if so_far.hops == follow.most => {
                Step::Fault(Fault::TooManyRedirects(so_far.hops))
            }
            Some(next) => Step::Hop(next),
        }
    }
}

/// After a 401.
fn refused(own: &OriginCredentials, so_far: &SoFar, headers: &HeaderMap) -> Result<Step, String> {
    let How::Token { realm, .. } = &own.how else {
        return Err("it answers 401 to the credentials for it".to_owned());
    };
    if so_far.tokens == MOST_TOKENS {
        return Err("it answers 401 to the token that it has sent for".to_owned());
    }
    let site = match realm {
        Some((scheme, host)) => {
            Fetch { scheme: *scheme, host: host.clone(), target: String::new() }
        }
        None => so_far.fetch.clone(),
    };
    let challenge = Challenge::bearer(headers).ok_or(NoToken::Challenge);
    let request = challenge.and_then(|challenge| challenge.token(&so_far.fetch, &site));
    let request = request.map_err(|why| why.to_string())?;
    Ok(Step::Token(request))
}

#[cfg(test)]
mod tests;
