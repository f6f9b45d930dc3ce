//! Tokens of our own, for callers who have shown a password and go on without it.
//!
//! A registry gives them at its token endpoint and takes them for the identity that they were given to. What must stay
//! true: none is taken that this gateway has not made for this registry, or after its time.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::{Caller, Claims, Identity, Who};

/// A pull asks for the next one when this one ends.
pub const LIFE: Duration = Duration::from_secs(300);
const ISSUER: &str = "dockgate";

/// Makes and takes the tokens of one registry.
pub struct OwnTokens {
    audience: String,
    signs: EncodingKey,
    verifies: DecodingKey,
}

#[derive(Serialize, Deserialize)]
struct Said {
    iss: String,
    aud: String,
    exp: u64,
    /// None: somebody without a name.
    sub: Option<String>,
    groups: Vec<String>,
    claims: Claims,
    method: Option<String>,
}

impl OwnTokens {
    /// `secret`: of the registry's own, and never shown.
    pub fn new(audience: &str, secret: &[u8]) -> OwnTokens {
        let (signs, verifies) =
            (EncodingKey::from_secret(secret), DecodingKey::from_secret(secret));
        OwnTokens { audience: audience.to_owned(), signs, verifies }
    }

    pub fn issue(&self, who: &Identity) -> Option<String> {
        let said = Said {
            iss: ISSUER.to_owned(),
            aud: self.audience.clone(),
            exp: now() + LIFE.as_secs(),
            sub: who.user().map(str::to_owned),
            groups: who.groups().to_vec(),
            claims: who.claims().cloned().unwrap_or_default(),
            method: who.method().map(str::to_owned),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &said, &self.signs).ok()
    }

    /// None where it is not one of ours, or is too old.
    pub fn recognise(&self, token: &str, caller: &Caller) -> Option<Identity> {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.leeway = 0;
        rules.set_audience(&[&self.audience]);
        rules.set_issuer(&[ISSUER]);
        let said = jsonwebtoken::decode::<Said>(token, &self.verifies, &rules).ok()?.claims;
        let Some(user) = said.sub else { return Some(Identity::nobody(caller)) };
        let method: Arc<str> = said.method.unwrap_or_default().into();
        let who = Who::new(user, said.groups, said.claims);
        Some(Identity::new(&method, Arc::new(who), caller))
    }
}

impl std::fmt::Debug for OwnTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnTokens").field("audience", &self.audience).finish_non_exhaustive()
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Peer;

    fn caller() -> Caller {
        Caller::new(Peer::Unknown, Vec::new())
    }

    #[test]
    fn who_it_was_given_to_is_who_comes_back() {
        let tokens = OwnTokens::new("main", b"secret");
        let groups = vec!["dev".to_owned()];
        let who = Who::new("ada".to_owned(), groups.clone(), Claims::default());
        let token =
            tokens.issue(&Identity::new(&"people".into(), Arc::new(who), &caller())).unwrap();
        let back = tokens.recognise(&token, &caller()).unwrap();
        assert_eq!(
            (back.user(), back.groups(), back.method()),
            (Some("ada"), &groups[..], Some("people"))
        );
        let nobody = tokens.issue(&Identity::nobody(&caller())).unwrap();
        assert_eq!(tokens.recognise(&nobody, &caller()).unwrap().user(), None);
    }

    #[test]
    fn another_ones_token_is_none() {
        let ours = OwnTokens::new("main", b"secret");
        let nobody = Identity::nobody(&caller());
        for other in [OwnTokens::new("main", b"other"), OwnTokens::new("second", b"secret")] {
            let token = other.issue(&nobody).unwrap();
            assert!(ours.recognise(&token, &caller()).is_none());
        }
        let token = ours.issue(&nobody).unwrap();
        let (rest, _) = token.rsplit_once('.').unwrap();
        let none = "eyJhbGciOiJub25lIn0";
        let (_, claims) = rest.split_once('.').unwrap();
        for forged in
            [format!("{rest}."), format!("{none}.{claims}."), rest.to_owned(), String::new()]
        {
            assert!(ours.recognise(&forged, &caller()).is_none(), "{forged}");
        }
        let old = Said {
            iss: ISSUER.to_owned(),
            aud: "main".to_owned(),
            exp: now() - 1,
            sub: Some("ada".to_owned()),
            groups: Vec::new(),
            claims: Claims::default(),
            method: None,
        };
        let old = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &old, &ours.signs).unwrap();
        assert!(ours.recognise(&old, &caller()).is_none());
    }
}
