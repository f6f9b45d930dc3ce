//! The `Authorization` header (RFC 9110 §11.6.2), taken apart.
//!
//! `auth::Authentication` reads it once a call. What must stay true: two such headers, or one that cannot be
//! read, are a wrong credential; no message repeats any of it.

use std::borrow::Cow;
use std::fmt;

use crate::wire::head::Lines;

/// One credential, as it was presented.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Authorization<'a> {
    /// Such as `Basic`; compared without case.
    scheme: &'a str,
    /// What stands behind it, without the spaces around.
    parameters: &'a str,
    value: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadAuthorization(&'static str);

impl<'a> Authorization<'a> {
    pub fn of(headers: &'a Lines) -> Result<Option<Authorization<'a>>, BadAuthorization> {
        let mut all = headers.all("authorization");
        let Some(value) = all.next() else { return Ok(None) };
        if all.next().is_some() {
            return Err(BadAuthorization("there is more than one `Authorization` header"));
        }
        Authorization::parse(value).map(Some)
    }

    pub fn parse(value: &'a [u8]) -> Result<Authorization<'a>, BadAuthorization> {
        let malformed = BadAuthorization("the `Authorization` header is malformed");
        let value = std::str::from_utf8(value).map_err(|_| malformed)?.trim_matches([' ', '\t']);
        let (scheme, parameters) = value.split_once(' ').unwrap_or((value, ""));
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if scheme.is_empty() || !scheme.bytes().all(is_token) {
            return Err(malformed);
        }
        Ok(Authorization { scheme, parameters: parameters.trim_matches(' '), value })
    }

    /// What stands behind the scheme, if it is this one.
    pub fn scheme(&self, name: &str) -> Option<&'a str> {
        self.scheme.eq_ignore_ascii_case(name).then_some(self.parameters)
    }

    /// All of it, for who decides outside.
    pub fn value(&self) -> &'a str {
        self.value
    }
}

impl BadAuthorization {
    pub fn why(self) -> Cow<'static, str> {
        self.0.into()
    }
}

/// Without the credential: this ends up in logs.
impl fmt::Debug for Authorization<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorization({})", self.scheme)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_a_scheme_and_the_rest() {
        let read = |value: &'static str| Authorization::parse(value.as_bytes());
        assert_eq!(read("bAsic  abc= ").unwrap().scheme("Basic"), Some("abc="));
        assert_eq!(read("Bearer a.b.c").unwrap().scheme("basic"), None);
        assert_eq!(read("Negotiate").unwrap().scheme("negotiate"), Some(""));
        for bad in ["", " ", "\u{e9} x", "a:b c", "a\tb"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        assert_eq!(format!("{:?}", read("Basic c2VjcmV0").unwrap()), "Authorization(Basic)");
    }
}
