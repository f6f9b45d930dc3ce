//! `external`: a program beside dockgate decides (`docs/authentication/external.md` is the protocol).
//!
//! One POST a question, on a unix socket or to a URL. What must stay true: whatever is not a clear
//! yes or no, in time, lets nobody in; only what the program allowed to be kept is kept.

mod answer;
mod question;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::cache::VerifiedCache;
use super::{Asking, Authenticator, Deciding, Outcome, Validity, Who};
use crate::config::{self, Invalid};
use crate::http_client::HttpClient;
use answer::ExternalAnswer;
use question::Question;

/// Of an answer's body.
const MOST: usize = 64 * 1024;
/// Questions at one time; more wait, within the deadline.
const AT_ONCE: usize = 64;

#[derive(Debug)]
pub(super) struct External {
    client: HttpClient,
    timeout: Duration,
    schemes: Vec<String>,
    kept: VerifiedCache<Arc<Who>>,
    at_once: Semaphore,
}

impl External {
    pub(super) fn new(config: &config::External) -> Result<External, Invalid> {
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        for scheme in &config.schemes {
            if scheme.is_empty() || !scheme.bytes().all(is_token) {
                let what = format!("`{}` is not a scheme", scheme.escape_debug());
                return Err(config.url.invalid(what, "such as `Basic` or `Bearer`"));
            }
        }
        Ok(External {
            client: HttpClient::new(&config.url, config.ca.as_ref(), config.timeout)?,
            timeout: config.timeout,
            schemes: config.schemes.clone(),
            kept: VerifiedCache::new(),
            at_once: Semaphore::new(AT_ONCE),
        })
    }

    async fn ask(&self, asking: Asking<'_>) -> Outcome {
        let question = Question::of(&asking);
        let digest = self.kept.digest(&question.render());
        if let Some(who) = self.kept.get(&digest, Instant::now()) {
            return Outcome::Recognised(who);
        }
        let answer = match tokio::time::timeout(self.timeout, self.answer(&question)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) => return Outcome::Unavailable(why),
            Err(_) => {
                return Outcome::Unavailable(format!(
                    "there is no answer within {:?}",
                    self.timeout
                ));
            }
        };
        match answer {
            ExternalAnswer::Is { who, ttl } => {
                let who = Arc::new(who);
                if let Some(ttl) = ttl {
                    self.kept.put(digest, Arc::clone(&who), Instant::now() + ttl);
                }
                Outcome::Recognised(who)
            }
            ExternalAnswer::No(why) => Outcome::Refused(why.into()),
            // A credential that nobody takes is wrong, and not as if there were none.
            ExternalAnswer::NotMine if asking.authorization.is_some() => Outcome::Foreign,
            ExternalAnswer::NotMine => Outcome::Absent,
        }
    }

    async fn answer(&self, question: &Question<'_>) -> Result<ExternalAnswer, String> {
        let _permit = self.at_once.acquire().await.map_err(|error| error.to_string())?;
        let (status, body) = self
            .client
            .post_json(question.render(), MOST)
            .await
            .map_err(|error| error.to_string())?;
        ExternalAnswer::read(status, &body)
    }
}

impl Authenticator for External {
    fn challenges(&self) -> Vec<String> {
        let challenge = |scheme: &String| match scheme.eq_ignore_ascii_case("basic") {
            true => r#"Basic realm="dockgate", charset="UTF-8""#.to_owned(),
            false => format!(r#"{scheme} realm="dockgate""#),
        };
        self.schemes.iter().map(challenge).collect()
    }

    fn holds(&self) -> Validity {
        Validity::Call
    }

    fn decide<'a>(&'a self, asking: Asking<'a>) -> Deciding<'a> {
        Box::pin(self.ask(asking))
    }
}

#[cfg(test)]
mod tests;
