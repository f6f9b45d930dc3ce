//! What the engine asks the client of a build for where the registry is one of ours: a token, made here.
//!
//! `callbacks` asks here first. The engine asks for a token to a repository; the client is asked in its place for what it has
//! for the image's own registry, and the engine gets a token of ours that stands for that. What must stay true: the engine
//! gets nothing of a client's credentials; a token holds for a minute, and is asked for anew while a build runs; what one
//! session was given no other has.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bytes::Bytes;

use super::grants::issue_token;
use super::refusal::Refusal;
use super::{ListenerState, facts};
use crate::api::buildkit::session::{
    AUTHORITY_ANSWER, CREDENTIALS_ANSWER, CREDENTIALS_ASKED, FETCH_TOKEN, TOKEN_ANSWER,
    TOKEN_AUTHORITY,
};
use crate::api::doc::{Value, proto};
use crate::api::endpoint::Versions;
use crate::api::grammar::image::DOCKER_HUB;
use crate::api::shape::Object;
use crate::auth::{GRANT_LINGER, Grants, Identity};
use crate::buildkit::terminate::H2Reply;
use crate::policy::{Facts, Reason, WantedGrant};

/// By what name engines ask clients for their credentials at Docker Hub.
const HUB_REGISTRY: &str = "registry-1.docker.io";
/// Of what a client answers.
const MOST_VALUES: usize = 16;

pub(super) enum OwnRegistry {
    /// The client is not asked.
    Says(H2Reply),
    /// It is asked something else.
    Asks(AskedToken),
}

pub(super) struct AskedToken {
    wanted: WantedGrant,
}

/// What becomes of a question about a registry of ours; none of one about another.
pub(super) fn asked(
    state: &ListenerState,
    (identity, engine, session): (&Identity, Versions, &str),
    path: &str,
    message: &Value,
) -> Result<Option<OwnRegistry>, Refusal> {
    let text = |name| message.get(name).and_then(Value::as_str).unwrap_or_default();
    let Some(view) = state.chain.view().filter(|view| view.is_own_registry(text("Host"))) else {
        return Ok(None);
    };
    match path {
        TOKEN_AUTHORITY => Ok(Some(OwnRegistry::Says(authority()?))),
        FETCH_TOKEN => {
            let scopes = message.get("Scopes").map(Value::items).unwrap_or_default();
            let scopes: Vec<&str> = scopes.iter().filter_map(Value::as_str).collect();
            let pushed: BTreeSet<String> = state.memory.builds.pushed(session);
            let facts = Facts::default();
            let cx = facts::context(state, identity, engine, &facts);
            let wanted = view.token(&scopes, &pushed, &cx);
            let wanted = wanted.map_err(|reason| Refusal::Denied(vec![reason]))?;
            Ok(Some(OwnRegistry::Asks(AskedToken { wanted })))
        }
        // There are no credentials, and no other session is one of the same client's.
        _ => Ok(Some(OwnRegistry::Says(H2Reply::Messages(vec![Bytes::new()])))),
    }
}

/// A key that nobody has: engines only compare it.
fn authority() -> Result<H2Reply, Refusal> {
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key)
        .map_err(|_| denied("the kernel gives no random bytes".to_owned()))?;
    let answer = [("PublicKey", Value::String(STANDARD.encode(key)))];
    Ok(H2Reply::Messages(vec![message(answer, AUTHORITY_ANSWER)]))
}

impl AskedToken {
    /// Of the image, as engines name it to clients.
    pub(super) fn host(&self) -> &str {
        match &*self.wanted.repository.host {
            DOCKER_HUB => HUB_REGISTRY,
            host => host,
        }
    }

    /// What the client is asked.
    pub(super) fn question(&self) -> Bytes {
        message([("Host", Value::String(self.host().to_owned()))], CREDENTIALS_ASKED)
    }

    /// What the engine gets for what the client has answered.
    pub(super) fn answer(
        &self,
        grants: &Arc<Grants>,
        who: &Identity,
        answer: &[u8],
    ) -> Result<Bytes, Refusal> {
        let answer = proto::parse(MOST_VALUES, answer, CREDENTIALS_ANSWER)
            .map_err(|_| denied("what the client has for it cannot be read".to_owned()))?;
        let text = |name| answer.root.get(name).and_then(Value::as_str).unwrap_or_default();
        let header = header(text("Username"), text("Secret"));
        let wanted = WantedGrant { header, ..self.wanted.clone() };
        // It is not held: engines ask for another when nine tenths of its time are over.
        let (_, token) = issue_token(grants, &wanted, who).map_err(denied)?;
        let life = Value::Number(GRANT_LINGER.as_secs().into());
        let fields = [("Token", Value::String(token)), ("ExpiresIn", life)];
        Ok(message(fields, TOKEN_ANSWER))
    }
}

/// The same as an `X-Registry-Auth`. Without a name it is an identity token (session/auth/authprovider of BuildKit).
fn header(name: &str, secret: &str) -> Option<Vec<u8>> {
    let said = match (name, secret) {
        ("", "") => return None,
        ("", token) => serde_json::json!({ "identitytoken": token }),
        (name, password) => serde_json::json!({ "username": name, "password": password }),
    };
    Some(URL_SAFE.encode(said.to_string()).into_bytes())
}

fn message<const N: usize>(fields: [(&'static str, Value); N], shape: &Object) -> Bytes {
    let fields = fields.into_iter().map(|(name, value)| (Cow::Borrowed(name), value));
    proto::render(&Value::Object(fields.collect()), shape).into()
}

fn denied(why: String) -> Refusal {
    Refusal::Denied(vec![Reason::new("namespace.registry", "token", why, "")])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::namespace::image::{ImageNames, ImageReference};

    fn asked(image: &str) -> AskedToken {
        let names = ImageNames::new("127.0.0.1:5454", "dgabcdefghij");
        AskedToken {
            wanted: WantedGrant {
                registry: "main".to_owned(),
                address: "127.0.0.1:5454".to_owned(),
                repository: names.repository(&ImageReference::parse(image).unwrap()),
                pull: true,
                push: false,
                header: None,
                logins: None,
            },
        }
    }

    fn read(bytes: &[u8], shape: &'static Object) -> Value {
        proto::parse(MOST_VALUES, bytes, shape).unwrap().root
    }

    fn has(name: &str, secret: &str) -> Bytes {
        let text = |text: &str| Value::String(text.to_owned());
        message([("Username", text(name)), ("Secret", text(secret))], CREDENTIALS_ANSWER)
    }

    #[test]
    fn a_client_is_asked_for_what_it_has_at_the_images_own_registry() {
        for (image, host) in
            [("alpine", HUB_REGISTRY), ("ghcr.io/a/b:1", "ghcr.io"), ("db:5000/x", "db:5000")]
        {
            let question = read(&asked(image).question(), CREDENTIALS_ASKED);
            assert_eq!(question.get("Host").and_then(Value::as_str), Some(host));
        }
    }

    #[test]
    fn the_engine_gets_a_token_that_stands_for_it_for_a_minute() {
        let (grants, ann) = (Arc::new(Grants::default()), Identity::imagined(Some("ann")));
        let token = asked("ghcr.io/a/b");
        for (name, secret, wanted) in
            [("ann", "s3cret", Some("Basic YW5uOnMzY3JldA==")), ("", "", None)]
        {
            let given = token.answer(&grants, &ann, &has(name, secret)).unwrap();
            assert!(!String::from_utf8_lossy(&given).contains("s3cret"));
            let given = read(&given, TOKEN_ANSWER);
            let bearer = given.get("Token").and_then(Value::as_str).unwrap();
            let found = grants.look_up("main", bearer).unwrap();
            assert_eq!(found.grant.repository, "dgabcdefghij/ghcr.io/a/b");
            assert_eq!(found.credentials.as_ref().map(|own| own.authorization()), wanted);
            assert_eq!(given.get("ExpiresIn").and_then(Value::as_i64), Some(60));
        }
        assert_eq!(grants.running(), 0, "its minute has begun");
        let why = token.answer(&grants, &ann, &has("", "identity")).unwrap_err();
        assert!(why.message().contains("an identity token cannot be used here"), "{why}");
        assert!(token.answer(&grants, &ann, b"\xff").is_err());
    }
}
