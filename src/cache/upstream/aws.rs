//! AWS's Signature Version 4: what S3 buckets and their kin let a request in by.
//!
//! `credentials` signs each call with it. Pure: the time is an argument. What must stay true: what is signed is
//! what is sent, in the one form that both sides make of it; the secret is in no output.

use std::fmt;
use std::time::SystemTime;

use aws_lc_rs::{digest, hmac};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::cache::route::Fetch;

/// Who signs, and what for.
pub struct Signer {
    pub access_key: String,
    pub secret: String,
    pub region: String,
    pub service: String,
}

/// What one signature is of, beside its time.
struct Signed<'a> {
    method: &'a Method,
    target: &'a str,
    /// Names in lower case, in their order.
    fields: &'a [(&'a str, &'a str)],
    /// The body's SHA-256.
    body: &'a str,
}

/// The SHA-256 of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// What is not escaped in a name or a value; and in a path.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &VALUE.remove(b'/');

impl Signer {
    /// What a request without a body needs to carry.
    pub(super) fn sign(
        &self,
        method: &Method,
        fetch: &Fetch,
        now: SystemTime,
    ) -> Option<HeaderMap> {
        let time = timestamp(now)?;
        let fields = [
            ("host", fetch.host.as_str()),
            ("x-amz-content-sha256", EMPTY),
            ("x-amz-date", time.as_str()),
        ];
        let signed = Signed { method, target: &fetch.target, fields: &fields, body: EMPTY };
        let mut authorization = HeaderValue::try_from(self.authorization(&signed, &time)?).ok()?;
        authorization.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization);
        let hash = HeaderName::from_static("x-amz-content-sha256");
        headers.insert(hash, HeaderValue::from_static(EMPTY));
        let date = HeaderName::from_static("x-amz-date");
        headers.insert(date, HeaderValue::try_from(time).ok()?);
        Some(headers)
    }

    /// What a request with this body needs to carry: `fields`, with lower-case names, are of it.
    pub fn sign_body(
        &self,
        method: &Method,
        fetch: &Fetch,
        fields: &[(&str, &str)],
        body: &[u8],
        now: SystemTime,
    ) -> Option<HeaderMap> {
        let time = timestamp(now)?;
        let own = [("host", fetch.host.as_str()), ("x-amz-date", time.as_str())];
        let mut fields: Vec<_> = fields.iter().copied().chain(own).collect();
        fields.sort_unstable();
        let body = hex(digest::digest(&digest::SHA256, body).as_ref());
        let signed = Signed { method, target: &fetch.target, fields: &fields, body: &body };
        let authorization = self.authorization(&signed, &time)?;
        let mut headers = HeaderMap::new();
        let sent = fields.into_iter().filter(|(name, _)| *name != "host");
        for (name, value) in sent.chain([("authorization", authorization.as_str())]) {
            let mut value = HeaderValue::from_str(value).ok()?;
            value.set_sensitive(["authorization", "x-amz-security-token"].contains(&name));
            headers.insert(HeaderName::try_from(name).ok()?, value);
        }
        Some(headers)
    }

    fn authorization(&self, signed: &Signed<'_>, time: &str) -> Option<String> {
        let names: Vec<&str> = signed.fields.iter().map(|(name, _)| *name).collect();
        let (day, names) = (time.get(..8)?, names.join(";"));
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let canonical = self.canonical(signed, &names);
        let canonical = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let text = format!("{ALGORITHM}\n{time}\n{scope}\n{canonical}");
        let secret = format!("AWS4{}", self.secret);
        let parts = [day, &self.region, &self.service, "aws4_request", &text];
        let signature = parts.iter().fold(secret.into_bytes(), |key, part| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
            hmac::sign(&key, part.as_bytes()).as_ref().to_vec()
        });
        let (access, signature) = (&self.access_key, hex(&signature));
        Some(format!(
            "{ALGORITHM} Credential={access}/{scope}, SignedHeaders={names}, Signature={signature}"
        ))
    }

    /// The form of a request that both sides sign.
    fn canonical(&self, signed: &Signed<'_>, names: &str) -> String {
        let (path, query) = signed.target.split_once('?').unwrap_or((signed.target, ""));
        let path = match self.service.as_str() {
            "s3" => escaped(path, PATH),
            // Others escape once more what is escaped.
            _ => percent_encode(path.as_bytes(), PATH).to_string(),
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let mut pairs: Vec<(String, String)> = pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (escaped(name, VALUE), escaped(value, VALUE)))
            .collect();
        pairs.sort();
        let query: Vec<String> =
            pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let fields: String =
            signed.fields.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let (method, query, body) = (signed.method, query.join("&"), signed.body);
        format!("{method}\n{path}\n{query}\n{fields}\n{names}\n{body}")
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// In the one way of escaping.
fn escaped(text: &str, kept: &'static AsciiSet) -> String {
    let plain: Vec<u8> = percent_decode_str(text).collect();
    percent_encode(&plain, kept).to_string()
}

/// `20130524T000000Z`.
fn timestamp(now: SystemTime) -> Option<String> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let date = httpdate::fmt_http_date(now);
    // `Fri, 24 May 2013 00:00:00 GMT`.
    let mut words = date.split(' ').skip(1);
    let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let month = MONTHS.find(month)? / 3 + 1;
    Some(format!("{year}{month:02}{day}T{}Z", time.replace(':', "")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cache::key::Scheme;

    fn signer(access_key: &str, secret: &str, region: &str, service: &str) -> Signer {
        Signer {
            access_key: access_key.to_owned(),
            secret: secret.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
        }
    }

    /// docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
    fn example() -> Signer {
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        signer("AKIAIOSFODNN7EXAMPLE", secret, "us-east-1", "s3")
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    const MAY_2013: u64 = 1_369_353_600;

    #[test]
    fn a_bucket_is_read_as_the_documentation_has_it() {
        for (target, signature) in [
            ("/?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            (
                "/?prefix=J&max-keys=2",
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            let host = "examplebucket.s3.amazonaws.com".to_owned();
            let fetch = Fetch { scheme: Scheme::Https, host, target: target.to_owned() };
            let headers = example().sign(&Method::GET, &fetch, at(MAY_2013)).unwrap();
            let expected = format!(
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
                 SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}"
            );
            assert_eq!(headers["authorization"], expected, "{target}");
            assert_eq!(headers["x-amz-date"], "20130524T000000Z");
            assert!(headers["authorization"].is_sensitive());
        }
    }

    #[test]
    fn other_services_and_bodies_are_signed_likewise() {
        let signer = signer("AKID", "SECRET", "eu-west-1", "ecr");
        let host = "api.ecr.eu-west-1.amazonaws.com".to_owned();
        let fetch = Fetch { scheme: Scheme::Https, host, target: "/".to_owned() };
        let target = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
        let fields = [("x-amz-target", target), ("content-type", "application/x-amz-json-1.1")];
        let sign = |fields: &[(&str, &str)]| {
            let time = at(1_795_226_400);
            signer.sign_body(&Method::POST, &fetch, fields, b"{}", time).unwrap()
        };
        let headers = sign(&fields);
        let signature = "1cc89cbaff96d875b14cdd286ecee95578cf0a340ca5f3ff1a51afa2b49b2b9c";
        // By botocore, as is the one below.
        assert_eq!(
            headers["authorization"],
            format!(
                "AWS4-HMAC-SHA256 Credential=AKID/20261121/eu-west-1/ecr/aws4_request, \
                 SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature={signature}"
            )
        );
        assert_eq!(
            (&headers["x-amz-date"], &headers["x-amz-target"]),
            (&"20261121T020000Z".parse().unwrap(), &target.parse().unwrap())
        );
        assert!(headers["authorization"].is_sensitive() && !headers.contains_key("host"));
        let [one, other] = fields;
        let headers = sign(&[one, other, ("x-amz-security-token", "TOKEN/+=")]);
        assert!(headers["x-amz-security-token"].is_sensitive());
        let signed = headers["authorization"].to_str().unwrap();
        assert!(
            signed.ends_with("18b2e295defe6316d7a267ff9cdd7857b02d990a7f788e0ef211f3ac3de18b88"),
            "{signed}"
        );
    }

    #[test]
    fn one_form_is_made_of_what_is_written_in_several() {
        let signed = |target| {
            let signed = Signed { method: &Method::GET, target, fields: &[], body: EMPTY };
            example().canonical(&signed, "")
        };
        assert_eq!(signed("/a%2Bb%20c/%7e?b=%2F&a=1&b="), signed("/a+b%20c/~?a=1&b&b=/"));
        assert!(signed("/a b").starts_with("GET\n/a%20b\n\n"));
    }

    #[test]
    fn the_secret_is_not_shown() {
        assert!(!format!("{:?}", example()).contains("wJalr"));
    }
}
