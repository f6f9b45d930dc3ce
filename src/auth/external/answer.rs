//! What the program answers: somebody, no, or not mine.
//!
//! What must stay true: an answer that is not understood to its last key is none; names and words
//! that reach logs and clients are fit to be printed.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::auth::{Claims, Who, is_name};

const LONGEST_TTL: Duration = Duration::from_secs(3600);
/// Of the program's message, in characters.
const LONGEST_MESSAGE: usize = 200;

#[derive(Debug, PartialEq)]
pub(super) enum ExternalAnswer {
    /// Somebody, for this long.
    Is {
        who: Who,
        ttl: Option<Duration>,
    },
    No(String),
    NotMine,
}

/// A misspelt key must not pass for one that was left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Is {
    user: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    claims: Claims,
    #[serde(default)]
    ttl: u64,
}

#[derive(Deserialize)]
struct No {
    message: String,
}

impl ExternalAnswer {
    /// Why it cannot be told, for the log.
    pub(super) fn read(status: u16, body: &[u8]) -> Result<ExternalAnswer, String> {
        match status {
            200 => read(body),
            204 => Ok(ExternalAnswer::NotMine),
            401 | 403 => Ok(ExternalAnswer::No(message(body))),
            _ => Err(format!("the answer's status is {status}")),
        }
    }
}

fn read(body: &[u8]) -> Result<ExternalAnswer, String> {
    let text = std::str::from_utf8(body).map_err(|_| "the answer is not UTF-8".to_owned())?;
    // serde_json's own words may repeat a value: only where, and which kind.
    let Is { user, groups, claims, ttl } = serde_json::from_str(text).map_err(|error| {
        let kind = if error.is_data() { "not of the documented form" } else { "not JSON" };
        format!("the answer is {kind} (line {}, column {})", error.line(), error.column())
    })?;
    if !is_name(&user) {
        return Err("`user` of the answer is no user name".to_owned());
    }
    if !groups.iter().all(|group| is_name(group)) {
        return Err("`groups` of the answer has what is no group name".to_owned());
    }
    if !claims.values().all(is_flat) {
        return Err("`claims` of the answer may have texts, numbers, booleans, and lists of them"
            .to_owned());
    }
    let ttl = Some(Duration::from_secs(ttl).min(LONGEST_TTL)).filter(|ttl| !ttl.is_zero());
    Ok(ExternalAnswer::Is { who: Who::new(user, groups, claims), ttl })
}

fn is_flat(value: &Value) -> bool {
    let is_scalar = |value: &Value| !value.is_object() && !value.is_array();
    value.as_array().map_or_else(|| is_scalar(value), |list| list.iter().all(is_scalar))
}

/// What the program says to the client, as far as it can be printed.
fn message(body: &[u8]) -> String {
    let said = std::str::from_utf8(body).ok().and_then(|text| serde_json::from_str(text).ok());
    let said = said.map_or_else(String::new, |No { message }| message);
    // One by one: a name may not begin with a space, a word within a message may.
    let is_fine = |c: &char| *c == ' ' || is_name(c.encode_utf8(&mut [0; 4]));
    let printable: String = said.chars().filter(is_fine).take(LONGEST_MESSAGE).collect();
    match printable.trim() {
        "" => "the outside authenticator says no".to_owned(),
        some => some.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(body: &str) -> Result<ExternalAnswer, String> {
        ExternalAnswer::read(200, body.as_bytes())
    }

    #[test]
    fn somebody_is_a_user_and_perhaps_more() {
        let who = Who { user: "ann".to_owned(), ..Who::default() };
        let ttl = None;
        assert_eq!(says(r#"{"user":"ann"}"#), Ok(ExternalAnswer::Is { who, ttl }));
        let body = r#"{"ttl":30,"claims":{"n":1,"t":"x","b":true,"z":null,"l":[1,"x"]},
            "groups":["ci","dev"],"user":"ann"}"#;
        let Ok(ExternalAnswer::Is { who, ttl }) = says(body) else { panic!("{body}") };
        assert_eq!((who.groups.join(" "), who.claims.len()), ("ci dev".to_owned(), 5));
        assert_eq!(ttl, Some(Duration::from_secs(30)));
        for (given, kept) in [(0, None), (1, Some(1)), (3601, Some(3600)), (u64::MAX, Some(3600))] {
            let Ok(ExternalAnswer::Is { ttl, .. }) =
                says(&format!(r#"{{"user":"a","ttl":{given}}}"#))
            else {
                panic!("{given}")
            };
            assert_eq!(ttl, kept.map(Duration::from_secs));
        }
    }

    #[test]
    fn what_is_not_understood_is_no_answer() {
        let long = format!(r#"{{"user":"{}"}}"#, "x".repeat(257));
        for body in [
            "",
            "ok",
            "null",
            "[]",
            "{}",
            r#"{"user":""}"#,
            r#"{"user":null}"#,
            r#"{"user":7}"#,
            r#"{"user":"a\u0000b"}"#,
            r#"{"user":"a\nb"}"#,
            r#"{"user":"a","user":"b"}"#,
            r#"{"user":"a","group":["x"]}"#,
            r#"{"user":"a","groups":"x"}"#,
            r#"{"user":"a","groups":["x",""]}"#,
            r#"{"user":"a","groups":null}"#,
            r#"{"user":"a","claims":[]}"#,
            r#"{"user":"a","claims":{"x":{}}}"#,
            r#"{"user":"a","claims":{"x":[[]]}}"#,
            r#"{"user":"a","ttl":-1}"#,
            r#"{"user":"a","ttl":1.5}"#,
            r#"{"user":"a"} x"#,
            &long,
        ] {
            assert!(says(body).is_err(), "{body}");
        }
        assert!(ExternalAnswer::read(200, b"{\"user\":\"\xff\"}").is_err());
        for status in [0, 100, 201, 301, 302, 400, 404, 407, 418, 500, 503] {
            assert!(ExternalAnswer::read(status, br#"{"user":"ann"}"#).is_err(), "{status}");
        }
        let why = says(r#"{"user":"S3cr3t","S3cr3t":1}"#).unwrap_err();
        assert!(!why.contains("S3cr3t"), "{why}");
    }

    #[test]
    fn no_may_have_words_that_can_be_printed() {
        let no = |body: &str| match ExternalAnswer::read(403, body.as_bytes()) {
            Ok(ExternalAnswer::No(why)) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(no(r#"{"message":"not on Sundays","more":1}"#), "not on Sundays");
        assert_eq!(no(r#"{"message":"a\r\nb\u0000\u202ec "}"#), "abc");
        assert_eq!(
            no(&format!(r#"{{"message":"{}"}}"#, "\u{e9}".repeat(999))).chars().count(),
            200
        );
        for body in ["", "no", "{}", r#"{"message":7}"#, r#"{"message":"\n"}"#] {
            assert_eq!(no(body), "the outside authenticator says no");
        }
        assert_eq!(
            ExternalAnswer::read(401, b"\xff").unwrap(),
            ExternalAnswer::read(403, b"").unwrap()
        );
        assert_eq!(ExternalAnswer::read(204, b""), Ok(ExternalAnswer::NotMine));
    }

    proptest::proptest! {
        #[test]
        fn no_answer_panics(status: u16, body: Vec<u8>, text in "\\PC{0,60}") {
            let _ = ExternalAnswer::read(status, &body);
            let _ = ExternalAnswer::read(403, format!("{{\"message\":{text:?}}}").as_bytes());
            let _ = ExternalAnswer::read(200, format!("{{\"user\":\"{text}\"}}").as_bytes());
        }
    }
}
