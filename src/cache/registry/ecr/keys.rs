//! Keys to Amazon's APIs, as the endpoints of containers and machines say them.
//!
//! `chain` and its parts make them, `api` signs with them. What must stay true: no secret is in a `Debug`; keys that
//! have expired are none.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use crate::api::json;

#[derive(Clone, PartialEq, Eq)]
pub(super) struct AwsKeys {
    pub access_key: String,
    pub secret: String,
    /// Of keys that hold for a while.
    pub session: Option<String>,
}

/// What the endpoints of ECS, EKS and EC2 answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MachineKeys {
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    #[serde(alias = "SessionToken")]
    token: Option<String>,
    expiration: Option<String>,
}

#[derive(Deserialize)]
struct ProcessVersion {
    #[serde(rename = "Version")]
    version: Option<u64>,
}

impl AwsKeys {
    /// None where one of them cannot be sent.
    pub(super) fn new(access_key: &str, secret: &str, session: Option<&str>) -> Option<AwsKeys> {
        let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        // Of the scope of a signature.
        let is_id = is_plain(access_key) && !access_key.contains(['/', ',', '=']);
        (is_id && is_plain(secret) && session.is_none_or(is_plain)).then(|| AwsKeys {
            access_key: access_key.to_owned(),
            secret: secret.to_owned(),
            session: session.map(ToOwned::to_owned),
        })
    }

    pub(super) fn from_json(text: &[u8], now: SystemTime) -> Result<AwsKeys, String> {
        let said: MachineKeys = json::read(text).map_err(|_| "what it says is no JSON of keys")?;
        let (Some(access_key), Some(secret)) = (&said.access_key_id, &said.secret_access_key)
        else {
            return Err("it says no `AccessKeyId` and `SecretAccessKey`".to_owned());
        };
        AwsKeys::until(access_key, secret, said.token.as_deref(), said.expiration.as_deref(), now)
    }

    /// As `credential_process` says them: the first version is the only one.
    pub(super) fn from_process(text: &[u8], now: SystemTime) -> Result<AwsKeys, String> {
        let said: ProcessVersion =
            json::read(text).map_err(|_| "what it says is no JSON of keys")?;
        match said.version {
            Some(1) => AwsKeys::from_json(text, now),
            _ => Err("it says no `Version` 1".to_owned()),
        }
    }

    /// `expiration`: as RFC 3339 has it.
    pub(super) fn until(
        access_key: &str,
        secret: &str,
        session: Option<&str>,
        expiration: Option<&str>,
        now: SystemTime,
    ) -> Result<AwsKeys, String> {
        let until = expiration.map(humantime::parse_rfc3339).transpose();
        let until = until.map_err(|_| "it says no time until which its keys hold")?;
        if until.is_some_and(|until| until <= now) {
            return Err("its keys have expired already. hint: see the clock".to_owned());
        }
        let session = session.filter(|session| !session.is_empty());
        AwsKeys::new(access_key, secret, session)
            .ok_or_else(|| "it says keys that cannot be sent".to_owned())
    }
}

impl fmt::Debug for AwsKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsKeys").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// In ms since 1970, as the cache counts.
pub(super) fn time(now: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_and_not_shown() {
        let text = br#"{"Code":"Success","AccessKeyId":"AKID","SecretAccessKey":"S3CRET","Token":"T0KEN","Expiration":"2026-11-29T12:00:00Z"}"#;
        let before = humantime::parse_rfc3339("2026-11-29T11:59:59Z").unwrap();
        let keys = AwsKeys::from_json(text, before).unwrap();
        assert_eq!(keys, AwsKeys::new("AKID", "S3CRET", Some("T0KEN")).unwrap());
        let shown = format!("{keys:?}");
        assert!(!shown.contains("S3CRET") && !shown.contains("T0KEN"), "{shown}");
        let after = humantime::parse_rfc3339("2026-11-29T12:00:00Z").unwrap();
        assert!(AwsKeys::from_json(text, after).unwrap_err().contains("expired"));
    }

    #[test]
    fn what_is_wrong_is_said_without_what_was_said() {
        for text in [
            r#"["S3CRET"]"#,
            r#"{"AccessKeyId":"AKID"}"#,
            r#"{"AccessKeyId":"AKID","SecretAccessKey":"S3CRET\n"}"#,
            r#"{"AccessKeyId":"A/B","SecretAccessKey":"S3CRET"}"#,
            r#"{"AccessKeyId":"AKID","SecretAccessKey":"S3CRET","Token":"a b"}"#,
            r#"{"AccessKeyId":"AKID","SecretAccessKey":"S3CRET","Expiration":"S3CRET"}"#,
        ] {
            let why = AwsKeys::from_json(text.as_bytes(), SystemTime::UNIX_EPOCH).unwrap_err();
            assert!(!why.contains("S3CRET"), "{why}");
        }
    }
}
