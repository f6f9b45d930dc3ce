//! A token (RFC 7519, in the compact form of RFC 7515 §7.1), taken apart before anything of it is
//! verified.
//!
//! `jwt` reads each bearer token here first. What must stay true: any text gets an answer; each name
//! in the header and the claims has one reading, so a name that is there twice is refused (RFC 7519
//! §4 leaves that to the reader); keys that a header brings along or points at are never looked at.

use std::fmt;
use std::str::FromStr;

use jsonwebtoken::Algorithm;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::auth::Claims;

/// Real ones have one or two thousand bytes; the head of a request is bounded besides.
const MOST_BYTES: usize = 16 * 1024;

/// Whatever somebody sent, in good form but believed in nothing.
pub struct Token<'a> {
    /// What a key must have signed for this token; `None` is none that anybody here verifies.
    pub(super) algorithm: Option<Algorithm>,
    /// Whether the header demands that an extension be understood (RFC 7515 §4.1.11).
    pub(super) is_critical: bool,
    pub(super) key_id: Option<String>,
    pub(super) claims: Claims,
    pub(super) signed: &'a str,
    pub(super) signature: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    #[error("the token is longer than {MOST_BYTES} bytes")]
    Long,
    #[error("the bearer token is not a signed JWT")]
    Malformed,
}

impl<'a> Token<'a> {
    pub fn parse(text: &'a str) -> Result<Token<'a>, BadToken> {
        if text.len() > MOST_BYTES {
            return Err(BadToken::Long);
        }
        Token::read(text).ok_or(BadToken::Malformed)
    }

    fn read(text: &'a str) -> Option<Token<'a>> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        decode(signature)?;
        let header = object(header)?;
        let key_id = match header.get("kid") {
            None => None,
            Some(id) => Some(id.as_str()?.to_owned()),
        };
        Some(Token {
            algorithm: algorithm(header.get("alg")?.as_str()?),
            is_critical: header.contains_key("crit"),
            key_id,
            claims: object(payload)?,
            signed,
            signature,
        })
    }

    /// Who says to have made it; nobody knows yet.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }
}

/// Nothing of the token: this may end up in a log.
impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:?})", self.algorithm)
    }
}

/// By the names of RFC 7518 §3.1 and RFC 9864; `none` is not one of them.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "Ed25519" => Some(Algorithm::EdDSA),
        name => Algorithm::from_str(name).ok(),
    }
}

/// base64url without padding (RFC 7515 §2); each text has one meaning only and each value one text.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut held) = (0u32, 0);
    for byte in text.bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(digit);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    (held < 6 && bits == 0).then_some(bytes)
}

fn object(part: &str) -> Option<Map<String, Value>> {
    let text = String::from_utf8(decode(part)?).ok()?;
    match serde_json::from_str(&text).ok()? {
        Unique(Value::Object(object)) => Some(object),
        Unique(_) => None,
    }
}

/// JSON in which no object has a name twice.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Unique, D::Error> {
        deserializer.deserialize_any(Reader).map(Unique)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Unique(value)) = list.next_element()? {
            all.push(value);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Unique(value))) = entries.next_entry::<String, Unique>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name is there twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{encode, unsigned};
    use super::*;

    #[test]
    fn a_token_has_a_header_claims_and_a_signature() {
        let text = unsigned(r#"{"alg":"ES256","kid":"a","jwk":{"kty":"oct"}}"#, r#"{"iss":"me"}"#);
        let token = Token::parse(&text).unwrap();
        assert_eq!((token.algorithm, token.key_id.as_deref()), (Some(Algorithm::ES256), Some("a")));
        assert_eq!((token.issuer(), token.is_critical), (Some("me"), false));
        assert_eq!(format!("{}.{}", token.signed, token.signature), text);
        assert_eq!(format!("{token:?}"), "Token(Some(ES256))");
        let text = unsigned(r#"{"alg":"none","crit":["b64"],"b64":false}"#, "{}");
        let token = Token::parse(&text).unwrap();
        assert_eq!((token.algorithm, token.is_critical, token.issuer()), (None, true, None));
    }

    #[test]
    fn anything_else_is_malformed() {
        let (header, claims) = (r#"{"alg":"RS256"}"#, "{}");
        let good = unsigned(header, claims);
        assert!(Token::parse(&good).is_ok());
        for bad in [
            "",
            ".",
            "..",
            "a.b.c",
            "opaque",
            "\u{e9}.\u{e9}.\u{e9}",
            &format!("{good}."),
            &format!("{good}="),
            &format!(" {good}"),
            &format!("{good}.x.y"),
            &good.replace('.', ".."),
            // Two names for one thing.
            &unsigned(r#"{"alg":"none","alg":"RS256"}"#, claims),
            &unsigned(header, r#"{"sub":"a","sub":"b"}"#),
            &unsigned(header, r#"{"a":[{"b":1,"\u0062":1}]}"#),
            // No objects.
            &unsigned(header, "[]"),
            &unsigned(header, "\"x\""),
            &unsigned("[]", claims),
            &unsigned(header, "{} {}"),
            &unsigned(header, ""),
            &unsigned(header, "{\"exp\":1e999}"),
            // Of the wrong kind.
            &unsigned("{}", claims),
            &unsigned(r#"{"alg":5}"#, claims),
            &unsigned(r#"{"alg":"RS256","kid":7}"#, claims),
            &unsigned(header, &"[".repeat(2000)),
            &format!("{}.{}.AA", encode(header.as_bytes()), encode(b"{\"a\":\"\xff\"}")),
        ] {
            assert_eq!(Token::parse(bad).err(), Some(BadToken::Malformed), "{bad}");
        }
        let long = unsigned(header, &format!("{{\"a\":\"{}\"}}", "x".repeat(MOST_BYTES)));
        assert_eq!(Token::parse(&long).err(), Some(BadToken::Long));
    }

    proptest! {
        #[test]
        fn any_text_gets_an_answer(text in "\\PC*", parts in "[A-Za-z0-9_.-]{0,200}") {
            let _ = (Token::parse(&text), Token::parse(&parts));
        }

        #[test]
        fn base64url_has_one_text_for_a_value(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }

        #[test]
        fn and_one_value_for_a_text(text in "[A-Za-z0-9_-]{0,9}") {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }
}
