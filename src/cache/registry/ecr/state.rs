//! The token of a registry of Amazon's: how long it is used, when a new one is asked for, and when not again.
//!
//! `ecr` keeps one for each upstream. Pure: the time is an argument. What must stay true: an expired token is never
//! given out; half of its life before its end a new one is asked for, and until there is one the old one is used.

use http::HeaderValue;

/// How long nobody is asked again after a failure, and for how long the refusal of a new token stands.
const PAUSE_MS: u64 = 5_000;
const REFUSAL_MS: u64 = 60_000;

/// It hides what it holds: see `basic`.
#[derive(Debug)]
pub(super) struct EcrToken {
    /// `Basic`.
    pub login: HeaderValue,
    /// In ms since 1970, by our own clock.
    pub from: u64,
    pub until: u64,
}

#[derive(Debug, Default)]
pub(super) struct TokenState {
    token: Option<EcrToken>,
    /// Why there was none lately, and when.
    failed: Option<(String, u64)>,
    /// When one was asked for because the one before was refused.
    forced: Option<u64>,
}

/// What is to be done for who needs a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Need {
    Use(HeaderValue),
    /// Nobody is to be asked now.
    Failed(String),
    /// `forced`: although there is one.
    Ask {
        forced: bool,
    },
}

impl TokenState {
    /// `refused`: what the registry did not take.
    pub(super) fn need(&self, refused: Option<&HeaderValue>, now: u64) -> Need {
        let usable = self.usable(now);
        let failed = self.failed.as_ref().filter(|(_, at)| within(*at, now, PAUSE_MS));
        match (usable, failed) {
            (Some(token), _) if refused == Some(&token.login) && self.may_force(now) => {
                Need::Ask { forced: true }
            }
            (Some(token), None) if now >= token.from + (token.until - token.from) / 2 => {
                Need::Ask { forced: false }
            }
            (Some(token), _) => Need::Use(token.login.clone()),
            (None, Some((why, _))) => Need::Failed(why.clone()),
            (None, None) => Need::Ask { forced: false },
        }
    }

    /// Whether a refusal may be the token's fault: a new one was not refused just now.
    pub(super) fn may_force(&self, now: u64) -> bool {
        self.forced.is_none_or(|at| !within(at, now, REFUSAL_MS))
    }

    /// What came of asking, and what whoever has waited for it gets.
    pub(super) fn learn(
        &mut self,
        outcome: Result<EcrToken, String>,
        forced: bool,
        now: u64,
    ) -> Result<HeaderValue, String> {
        if forced {
            self.forced = Some(now);
        }
        let outcome =
            outcome.and_then(|token| match token.until > now && token.until > token.from {
                true => Ok(token),
                false => {
                    Err("the token that it gives has expired already. hint: see the clock"
                        .to_owned())
                }
            });
        match outcome {
            Ok(token) => {
                let login = token.login.clone();
                (self.token, self.failed) = (Some(token), None);
                Ok(login)
            }
            Err(why) => {
                self.failed = Some((why.clone(), now));
                self.usable(now).map(|token| token.login.clone()).ok_or(why)
            }
        }
    }

    fn usable(&self, now: u64) -> Option<&EcrToken> {
        // `now < from`: the clock was set back.
        self.token.as_ref().filter(|token| token.from <= now && now < token.until)
    }
}

fn within(at: u64, now: u64, time: u64) -> bool {
    at <= now && now - at < time
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    fn token(text: &'static str, from: u64) -> EcrToken {
        let login = HeaderValue::from_static(text);
        EcrToken { login, from, until: from + 12 * HOUR }
    }

    fn used(text: &'static str) -> Need {
        Need::Use(HeaderValue::from_static(text))
    }

    #[test]
    fn a_token_is_used_for_half_its_life_and_then_renewed() {
        let mut state = TokenState::default();
        assert_eq!(state.need(None, 0), Need::Ask { forced: false });
        state.learn(Ok(token("a", 0)), false, 0).unwrap();
        assert_eq!(state.need(None, 6 * HOUR - 1), used("a"));
        assert_eq!(state.need(None, 6 * HOUR), Need::Ask { forced: false });
        state.learn(Ok(token("b", 6 * HOUR)), false, 6 * HOUR).unwrap();
        assert_eq!(state.need(None, 6 * HOUR), used("b"));
    }

    #[test]
    fn where_there_is_no_new_one_the_old_one_is_used_to_its_end_and_no_longer() {
        let mut state = TokenState::default();
        state.learn(Ok(token("a", 0)), false, 0).unwrap();
        let down = || Err("down".to_owned());
        assert_eq!(state.learn(down(), false, 6 * HOUR).unwrap(), "a");
        assert_eq!(state.need(None, 6 * HOUR + 1), used("a"));
        assert_eq!(state.need(None, 6 * HOUR + PAUSE_MS), Need::Ask { forced: false });
        assert_eq!(state.learn(down(), false, 12 * HOUR).unwrap_err(), "down");
        assert_eq!(state.need(None, 12 * HOUR + 1), Need::Failed("down".to_owned()));
        assert_eq!(state.need(None, 12 * HOUR + PAUSE_MS), Need::Ask { forced: false });
    }

    #[test]
    fn one_that_has_expired_when_it_comes_is_none() {
        let mut state = TokenState::default();
        let old = EcrToken { until: 5, ..token("a", 0) };
        assert!(state.learn(Ok(old), false, 5).unwrap_err().contains("expired"));
        // The clock was set back before it was given.
        state.learn(Ok(token("a", HOUR)), false, HOUR).unwrap();
        assert_eq!(state.need(None, HOUR - 1), Need::Ask { forced: false });
    }

    #[test]
    fn one_that_is_refused_is_renewed_once_a_minute() {
        let (a, b) = (HeaderValue::from_static("a"), HeaderValue::from_static("b"));
        let mut state = TokenState::default();
        state.learn(Ok(token("a", 0)), false, 0).unwrap();
        assert_eq!(state.need(Some(&a), 1), Need::Ask { forced: true });
        state.learn(Ok(token("b", 1)), true, 1).unwrap();
        // Another one comes with the old one: there is a new one already.
        assert_eq!(state.need(Some(&a), 2), used("b"));
        assert!(!state.may_force(2));
        assert_eq!(state.need(Some(&b), 2), used("b"));
        assert_eq!(state.need(Some(&b), 1 + REFUSAL_MS), Need::Ask { forced: true });
    }
}
