//! Requests to Amazon's APIs: ECR's, and those of the service that gives keys for roles.
//!
//! `ecr` and `chain` ask, on the fetch thread, as origins are asked: the same proxies, authorities and addresses. What
//! must stay true: of an answer that is no yes nothing but its code is told: a message may quote what was signed.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;

use super::keys::AwsKeys;
use super::profiles::Role;
use super::site::EcrSite;
use super::state::EcrToken;
use crate::api::json;
use crate::cache::key::Scheme;
use crate::cache::registry::ask;
use crate::cache::route::Fetch;
use crate::cache::upstream::credentials::basic;
use crate::cache::upstream::{RequestBody, Signer, Upstream};

/// A token holds 12 hours; no other is believed to hold much longer.
const LONGEST_LIFE_MS: u64 = 24 * 60 * 60 * 1000;
const SESSION: &str = "dockgate";

/// Who is asked with what.
pub(super) struct Api<'a> {
    pub upstream: &'a Upstream,
    pub site: &'a EcrSite,
    pub ecr: &'a (Scheme, String),
    pub sts: &'a (Scheme, String),
    pub now: SystemTime,
}

#[derive(Deserialize)]
struct Granted {
    #[serde(rename = "authorizationData")]
    data: Data,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Data {
    Private(Vec<GivenToken>),
    Public(GivenToken),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenToken {
    authorization_token: String,
    expires_at: f64,
}

#[derive(Deserialize)]
struct Error {
    #[serde(rename = "__type")]
    kind: Option<String>,
}

impl Api<'_> {
    pub(super) async fn token(&self, keys: &AwsKeys) -> Result<EcrToken, String> {
        let answer = self.ecr("GetAuthorizationToken", "{}", keys).await?;
        let from = SystemTime::UNIX_EPOCH;
        let now = self.now.duration_since(from).unwrap_or_default().as_millis();
        granted(&answer, u64::try_from(now).unwrap_or(u64::MAX))
            .ok_or_else(|| "what ECR answers is no token".to_owned())
    }

    pub(super) async fn create(&self, keys: &AwsKeys, repository: &str) -> Result<(), String> {
        let mut body = serde_json::json!({ "repositoryName": repository });
        if let (Some(account), Some(body)) = (&self.site.account, body.as_object_mut()) {
            body.insert("registryId".to_owned(), account.as_str().into());
        }
        match self.ecr("CreateRepository", &body.to_string(), keys).await {
            Err(why) if !why.ends_with("`RepositoryAlreadyExistsException`") => Err(why),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    pub(super) async fn assume(&self, keys: &AwsKeys, role: &Role) -> Result<AwsKeys, String> {
        let asks = [("ExternalId", role.external_id.as_deref())];
        let body = form("AssumeRole", role, &asks);
        self.sts(&body, Some(keys)).await
    }

    pub(super) async fn assume_by(&self, token: &str, role: &Role) -> Result<AwsKeys, String> {
        let asks = [("WebIdentityToken", Some(token))];
        self.sts(&form("AssumeRoleWithWebIdentity", role, &asks), None).await
    }

    async fn ecr(&self, operation: &str, body: &str, keys: &AwsKeys) -> Result<Bytes, String> {
        let (service, api) = match self.site.is_public {
            true => ("ecr-public", "SpencerFrontendService"),
            false => ("ecr", "AmazonEC2ContainerRegistry_V20150921"),
        };
        let target = format!("{api}.{operation}");
        let fields = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", &target)];
        let (status, answer) = self.post(self.ecr, service, &fields, body, Some(keys)).await?;
        match status {
            StatusCode::OK => Ok(answer),
            status => {
                let kind = json::read(&answer).ok().and_then(|error: Error| error.kind);
                let kind = kind.as_deref().and_then(|kind| kind.rsplit('#').next());
                Err(refused(&format!("`{operation}` of ECR"), status, kind))
            }
        }
    }

    async fn sts(&self, body: &str, keys: Option<&AwsKeys>) -> Result<AwsKeys, String> {
        let fields = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        let (status, answer) = self.post(self.sts, "sts", &fields, body, keys).await?;
        let answer = std::str::from_utf8(&answer).unwrap_or_default();
        if status != StatusCode::OK {
            return Err(refused("the request for a role's keys", status, element(answer, "Code")));
        }
        let get = |name| element(answer, name);
        let (Some(access_key), Some(secret)) = (get("AccessKeyId"), get("SecretAccessKey")) else {
            return Err("what the service of roles answers are no keys".to_owned());
        };
        AwsKeys::until(access_key, secret, get("SessionToken"), get("Expiration"), self.now)
    }

    async fn post(
        &self,
        (scheme, host): &(Scheme, String),
        service: &str,
        fields: &[(&str, &str)],
        body: &str,
        keys: Option<&AwsKeys>,
    ) -> Result<(StatusCode, Bytes), String> {
        let fetch = Fetch { scheme: *scheme, host: host.clone(), target: "/".to_owned() };
        let headers = match keys {
            Some(keys) => {
                let session = keys.session.as_deref().map(|text| ("x-amz-security-token", text));
                let fields: Vec<_> = fields.iter().copied().chain(session).collect();
                let signer = Signer {
                    access_key: keys.access_key.clone(),
                    secret: keys.secret.clone(),
                    region: self.site.region.clone(),
                    service: service.to_owned(),
                };
                signer.sign_body(&Method::POST, &fetch, &fields, body.as_bytes(), self.now)
            }
            None => plain(fields),
        };
        let headers = headers.ok_or("the keys cannot be sent")?;
        let body = RequestBody::Whole(Bytes::copy_from_slice(body.as_bytes()));
        let answer =
            ask::once(self.upstream, &fetch, Method::POST, headers, body, None, ask::LONGEST).await;
        let answer = answer.map_err(|fault| format!("`{host}`: {fault}"))?;
        Ok((answer.status, answer.body))
    }
}

fn plain(fields: &[(&str, &str)]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = header::HeaderName::try_from(*name).ok()?;
        headers.insert(name, HeaderValue::from_str(value).ok()?);
    }
    Some(headers)
}

fn granted(answer: &[u8], now: u64) -> Option<EcrToken> {
    let granted: Granted = json::read(answer).ok()?;
    let token = match granted.data {
        Data::Private(tokens) => tokens.into_iter().next()?,
        Data::Public(token) => token,
    };
    let login = STANDARD.decode(token.authorization_token).ok()?;
    let (user, password) = std::str::from_utf8(&login).ok()?.split_once(':')?;
    // What is no number of a time is none that is to come.
    let until = (token.expires_at * 1000.0) as u64;
    let until = until.min(now.saturating_add(LONGEST_LIFE_MS));
    Some(EcrToken { login: basic(user, password)?, from: now, until })
}

fn form(action: &str, role: &Role, more: &[(&str, Option<&str>)]) -> String {
    let session = role.session.as_deref().unwrap_or(SESSION);
    let asks = [
        ("Version", Some("2011-06-15")),
        ("RoleArn", Some(role.arn.as_str())),
        ("RoleSessionName", Some(session)),
        ("DurationSeconds", role.seconds.as_deref()),
    ];
    let pairs = asks.iter().chain(more).filter_map(|(name, value)| Some((name, (*value)?)));
    pairs.fold(format!("Action={action}"), |form, (name, value)| {
        let value =
            percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
        format!("{form}&{name}={value}")
    })
}

/// The text of the first element of this name. What we ask for has neither attributes nor escapes.
fn element<'x>(xml: &'x str, name: &str) -> Option<&'x str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    (!text.contains(['<', '&'])).then_some(text.trim())
}

/// A code is a word; what is none is not told.
fn refused(what: &str, status: StatusCode, code: Option<&str>) -> String {
    let is_word = |code: &&str| {
        (1..=80).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let code = code.filter(is_word).map(|code| format!(": `{code}`")).unwrap_or_default();
    format!("{what} is answered {}{code}", status.as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_both_registries_are_read() {
        let token = STANDARD.encode("AWS:pass:word");
        let private = format!(
            r#"{{"authorizationData":[{{"authorizationToken":"{token}","expiresAt":100.5,"proxyEndpoint":"x"}}]}}"#
        );
        let public = format!(
            r#"{{"authorizationData":{{"authorizationToken":"{token}","expiresAt":1e99}}}}"#
        );
        let read = granted(private.as_bytes(), 7).unwrap();
        assert_eq!((read.from, read.until), (7, 100_500));
        assert_eq!(read.login, basic("AWS", "pass:word").unwrap());
        assert!(read.login.is_sensitive());
        assert_eq!(granted(public.as_bytes(), 0).unwrap().until, LONGEST_LIFE_MS);
        for odd in [
            "",
            r#"{"authorizationData":[]}"#,
            r#"{"authorizationData":[{"authorizationToken":"!","expiresAt":1}]}"#,
            r#"{"authorizationData":[{"authorizationToken":"QVdT","expiresAt":1}]}"#,
        ] {
            assert!(granted(odd.as_bytes(), 0).is_none(), "{odd}");
        }
    }

    #[test]
    fn what_is_asked_of_the_service_of_roles() {
        let role = Role { arn: "arn:aws:iam::1:role/x".to_owned(), ..Role::default() };
        assert_eq!(
            form("AssumeRole", &role, &[("ExternalId", Some("a&b")), ("X", None)]),
            "Action=AssumeRole&Version=2011%2D06%2D15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fx\
             &RoleSessionName=dockgate&ExternalId=a%26b"
        );
        assert_eq!(element("<A><Code> x </Code></A>", "Code"), Some("x"));
        assert_eq!(element("<Code>a<b></Code>", "Code"), None);
        assert_eq!(element("<Code>a&amp;</Code>", "Code"), None);
        assert_eq!(element("<Code>", "Code"), None);
    }

    #[test]
    fn of_a_refusal_the_code_is_told_and_no_more() {
        let status = StatusCode::FORBIDDEN;
        assert_eq!(refused("x", status, Some("AccessDenied")), "x is answered 403: `AccessDenied`");
        assert_eq!(refused("x", status, Some("not, a code")), "x is answered 403");
    }
}
