//! An outside program that judges a push: one POST, one word (`docs/registry-push.md` is the protocol).
//!
//! The judge asks it when nothing else speaks against the push. What must stay true: whatever is not a clear yes, in time,
//! lets nothing become visible.

use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Semaphore;

use super::changes::Changes;
use crate::config::{self, Invalid};
use crate::http_client::HttpClient;

/// Of an answer's body.
const MOST: usize = 64 * 1024;
/// Questions at one time; more wait, within the deadline.
const AT_ONCE: usize = 16;
/// Of the program's message, in characters.
const LONGEST_MESSAGE: usize = 500;

#[derive(Debug)]
pub(super) struct Hook {
    client: HttpClient,
    timeout: Duration,
    /// What stands before paths of blobs.
    pub(super) base: String,
    at_once: Semaphore,
}

/// A misspelt key must not pass for one that was left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HookAnswer {
    allow: bool,
    #[serde(default)]
    message: String,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    tag: Option<String>,
}

impl Hook {
    pub(super) fn new(config: &config::Hook) -> Result<Hook, Invalid> {
        Ok(Hook {
            client: HttpClient::new(&config.url, config.ca.as_ref(), config.timeout)?,
            timeout: config.timeout,
            base: config.base.clone(),
            at_once: Semaphore::new(AT_ONCE),
        })
    }

    /// What it wants changed; or why not.
    pub(super) async fn ask(&self, document: &serde_json::Value) -> Result<Changes, String> {
        let whole = async {
            let _permit = self.at_once.acquire().await.map_err(|error| error.to_string())?;
            let question = document.to_string().into_bytes();
            let answer = self.client.post_json(question, MOST).await;
            let (status, body) = answer.map_err(|error| no_answer(&error.to_string()))?;
            read(status, &body)
        };
        let late =
            || no_answer(&format!("not within {}", humantime::format_duration(self.timeout)));
        tokio::time::timeout(self.timeout, whole).await.unwrap_or_else(|_| Err(late()))
    }
}

fn read(status: u16, body: &[u8]) -> Result<Changes, String> {
    if status != 200 {
        return Err(no_answer(&format!("its status is {status}")));
    }
    let word: HookAnswer = crate::api::json::read(body).map_err(|error| {
        let kind = if error.is_data() { "not of the documented form" } else { "not JSON" };
        no_answer(&format!("it is {kind} (line {}, column {})", error.line(), error.column()))
    })?;
    match word {
        HookAnswer { allow: true, annotations, tag, .. } => Ok(Changes { annotations, tag }),
        HookAnswer { message, .. } => {
            let line = |c: char| if c.is_control() { ' ' } else { c };
            let message: String = message.chars().take(LONGEST_MESSAGE).map(line).collect();
            let is_empty = message.trim().is_empty();
            Err(if is_empty { "the outside program says no".to_owned() } else { message })
        }
    }
}

fn no_answer(why: &str) -> String {
    format!("there is no answer of the outside program, and so nothing is let through: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(body: &str) -> Result<Changes, String> {
        read(200, body.as_bytes())
    }

    #[test]
    fn only_a_clear_yes_is_one() {
        assert_eq!(says(r#"{"allow":true}"#), Ok(Changes::default()));
        let changed =
            says(r#"{"allow":true,"tag":"x","annotations":{"a":"b"},"message":"fine"}"#).unwrap();
        assert_eq!((changed.tag.as_deref(), changed.annotations["a"].as_str()), (Some("x"), "b"));
        for body in [
            "",
            "null",
            "true",
            "{}",
            "[]",
            "ok",
            r#"{"allow":"true"}"#,
            r#"{"allow":1}"#,
            r#"{"allow":null}"#,
            r#"{"Allow":true}"#,
            r#"{"allow":true,"x":1}"#,
            r#"{"allow":true} x"#,
            r#"{"allow":true,"allow":true}"#,
            r#"{"allow":true,"annotations":[]}"#,
            r#"{"allow":true,"annotations":{"a":1}}"#,
        ] {
            let why = says(body).unwrap_err();
            assert!(why.contains("there is no answer"), "{body}: {why}");
        }
        for status in [0, 100, 201, 204, 302, 403, 500] {
            assert!(read(status, br#"{"allow":true}"#).is_err(), "{status}");
        }
    }

    #[test]
    fn a_no_has_words_of_one_line() {
        assert_eq!(says(r#"{"allow":false,"message":"CVE-1\n2"}"#), Err("CVE-1 2".to_owned()));
        assert_eq!(says(r#"{"allow":false}"#), Err("the outside program says no".to_owned()));
        let long = format!(r#"{{"allow":false,"message":"{}"}}"#, "x".repeat(9999));
        assert_eq!(says(&long).unwrap_err().len(), LONGEST_MESSAGE);
    }

    proptest::proptest! {
        #[test]
        fn no_answer_panics(status: u16, body: Vec<u8>) {
            let _ = read(status, &body);
            let _ = read(200, &body);
        }
    }
}
