//! What the fields of a request say of who asks, and which of them go along with a question for all.
//!
//! `partition` asks whose an answer is, `fill::ask` what an origin is sent. Pure. What must stay true: no
//! field of one client can change what another one gets. What is known to be harmless is listed; all
//! else either stays behind, or tells clients apart.

use http::{HeaderMap, HeaderName, header};

/// What a field of a request is to a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// Of what a client can take, and of caches: goes along.
    Plain,
    /// Of proxies and traces on the way here: says nothing of the resource, and stays behind.
    Hop,
    /// The credentials that RFC 9111 §3.5 has rules for, and `Cookie`.
    Credential,
    /// May say who asks: only who sends the same value is given the answer.
    Personal,
    /// Nobody knows it. Who sends it shares with others who do; that an answer was chosen by its value is
    /// for the origin to say (`Vary`).
    Unknown,
}

impl Field {
    pub(super) fn of(name: &HeaderName) -> Field {
        if *name == header::AUTHORIZATION || *name == header::COOKIE {
            return Field::Credential;
        }
        let name = name.as_str();
        if PLAIN.binary_search(&name).is_ok() || begins(name, &PLAIN_BEGINNINGS) {
            return Field::Plain;
        }
        // To CGI and WSGI they are the same: `X_Forwarded_Host`.
        let hyphened = name.replace('_', "-");
        if HOP.binary_search(&hyphened.as_str()).is_ok() {
            return Field::Hop;
        }
        if PERSONAL.binary_search(&hyphened.as_str()).is_ok()
            || PERSONAL_PARTS.iter().any(|part| hyphened.contains(part))
        {
            return Field::Personal;
        }
        if begins(&hyphened, &HOP_BEGINNINGS) {
            return Field::Hop;
        }
        // What is not standardised is an application's own, as is what few programs would send.
        let is_odd = |byte: u8| !byte.is_ascii_alphanumeric() && byte != b'-';
        match hyphened.starts_with("x-") || name.bytes().any(is_odd) {
            true => Field::Personal,
            false => Field::Unknown,
        }
    }
}

/// A request, but for what says who asks.
pub(super) fn without_credentials(request: &HeaderMap) -> HeaderMap {
    let is_plain =
        |name: &HeaderName| matches!(Field::of(name), Field::Plain | Field::Hop | Field::Unknown);
    let plain = request.iter().filter(|(name, _)| is_plain(name));
    let mut kept = HeaderMap::new();
    for (name, value) in plain {
        kept.append(name, value.clone());
    }
    kept
}

/// Whether a request may say who asks, so that the answer may be for that one alone.
pub(super) fn says_who(request: &HeaderMap) -> bool {
    request.keys().any(|name| matches!(Field::of(name), Field::Credential | Field::Personal))
}

/// Whether a stored object may say in clear what a field had in it: nobody's secret is in these.
pub(super) fn is_public(name: &HeaderName) -> bool {
    const PUBLIC: [HeaderName; 4] =
        [header::ACCEPT, header::ACCEPT_CHARSET, header::ACCEPT_ENCODING, header::ACCEPT_LANGUAGE];
    PUBLIC.contains(name)
}

fn begins(name: &str, beginnings: &[&str]) -> bool {
    beginnings.iter().any(|beginning| name.starts_with(beginning))
}

/// Sorted, as those below. Not what describes a body, nor `Expect`: of a request without a body an origin may refuse
/// them (415, 417), and say that this may be kept.
const PLAIN: [&str; 41] = [
    "accept",
    "accept-charset",
    "accept-datetime",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "cache-store",
    "cargo-protocol",
    "cdn-loop",
    "content-length",
    "date",
    "dnt",
    "docker-distribution-api-version",
    "expires",
    "git-protocol",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "max-forwards",
    "npm-auth-type",
    "npm-command",
    "npm-in-ci",
    "pragma",
    "priority",
    "range",
    "save-data",
    "sec-gpc",
    "te",
    "upgrade-insecure-requests",
    "user-agent",
    "via",
    "want-content-digest",
    "want-digest",
    "want-repr-digest",
    "x-nuget-client-version",
    "x-nuget-protocol-version",
    "x-terraform-protocol-version",
    "x-terraform-version",
    "x-zypp-distributionflavor",
];

const PLAIN_BEGINNINGS: [&str; 3] = ["pacote-", "sec-ch-", "sec-fetch-"];

const HOP: [&str; 46] = [
    "alt-used",
    "b3",
    "baggage",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-ipcountry",
    "cf-ray",
    "cf-visitor",
    "client-ip",
    "correlation-context",
    "early-data",
    "elastic-apm-traceparent",
    "fastly-client-ip",
    "fastly-ff",
    "fastly-ssl",
    "front-end-https",
    "newrelic",
    "npm-scope",
    "npm-session",
    "referer",
    "request-id",
    "sentry-trace",
    "traceparent",
    "tracestate",
    "true-client-ip",
    "uber-trace-id",
    "x-amzn-trace-id",
    "x-azure-clientip",
    "x-azure-ref",
    "x-azure-socketip",
    "x-client-ip",
    "x-client-trace-id",
    "x-cloud-trace-context",
    "x-cluster-client-ip",
    "x-correlation-id",
    "x-gemfile-source",
    "x-nuget-session-id",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-request-id",
    "x-request-start",
    "x-requested-with",
    "x-scheme",
    "x-zypp-anonymousid",
];

const HOP_BEGINNINGS: [&str; 10] = [
    "forwarded",
    "x-b3-",
    "x-datadog-",
    "x-envoy-",
    "x-forwarded",
    "x-host",
    "x-http-method",
    "x-method-override",
    "x-original",
    "x-rewrite-url",
];

const PERSONAL: [&str; 2] = ["from", "origin"];

/// `Private-Token`, `X-Remote-User`, `Ocp-Apim-Subscription-Key`, `X-SSL-Client-Cert`…: one too many only
/// costs a copy.
const PERSONAL_PARTS: [&str; 44] = [
    "access-",
    "account",
    "art-api",
    "assertion",
    "auth",
    "bearer",
    "cert",
    "claim",
    "client-id",
    "consumer",
    "cookie",
    "credential",
    "csrf",
    "customer",
    "dpop",
    "email",
    "entitle",
    "group",
    "identity",
    "jwt",
    "key",
    "license",
    "login",
    "member",
    "nonce",
    "oidc",
    "organization",
    "owner",
    "passw",
    "principal",
    "remote-",
    "role",
    "saml",
    "secret",
    "session",
    "signature",
    "sso",
    "subject",
    "subscri",
    "tenant",
    "ticket",
    "token",
    "user",
    "xsrf",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Field {
        Field::of(&HeaderName::from_bytes(name.as_bytes()).unwrap())
    }

    #[test]
    fn lists_are_sorted() {
        assert!(PLAIN.is_sorted() && HOP.is_sorted() && PERSONAL.is_sorted());
        for name in PLAIN {
            assert_eq!(of(name), Field::Plain, "{name}");
        }
        for name in HOP {
            assert_eq!(of(name), Field::Hop, "{name}");
        }
    }

    #[test]
    fn what_may_say_who_asks_tells_clients_apart() {
        for name in [
            "Private-Token",
            "Job-Token",
            "X-Api-Key",
            "X-NuGet-ApiKey",
            "X-JFrog-Art-Api",
            "X-Remote-User",
            "Remote_User",
            "X-User",
            "Ocp-Apim-Subscription-Key",
            "DPoP",
            "CF-Access-Client-Id",
            "Cf-Access-Jwt-Assertion",
            "X-SSL-Client-Cert",
            "X-Forwarded-User",
            "X-Forwarded-Access-Token",
            "X-Forwarded-Client-Cert",
            "X-Amz-Security-Token",
            "X-Tenant",
            "X-Anything-Else",
            "From",
            "Origin",
            "Accept_Language",
            "strange~field",
        ] {
            assert_eq!(of(name), Field::Personal, "{name}");
        }
        assert_eq!((of("Authorization"), of("Cookie")), (Field::Credential, Field::Credential));
    }

    #[test]
    fn what_proxies_say_stays_behind_however_it_is_spelt() {
        for name in [
            "Forwarded",
            "X-Forwarded-For",
            "X_Forwarded_Host",
            "X-Forwarded_Proto",
            "X-Original-URL",
            "X-Original-Host",
            "X-Rewrite-URL",
            "X-HTTP-Method",
            "X-HTTP-Method-Override",
            "X-Method-Override",
            "X-Host",
            "X-ProxyUser-IP",
            "traceparent",
            "X-Request-ID",
            "npm-session",
        ] {
            assert_eq!(of(name), Field::Hop, "{name}");
        }
    }

    #[test]
    fn clients_of_repositories_send_nothing_that_tells_them_apart() {
        for name in [
            "User-Agent",
            "Accept-Encoding",
            "Cargo-Protocol",
            "pacote-version",
            "npm-in-ci",
            "X-NuGet-Client-Version",
            "Sec-Fetch-User",
            "Cache-Store",
        ] {
            assert_eq!(of(name), Field::Plain, "{name}");
        }
        for name in ["Destination", "Content-Type", "Content-Encoding", "Expect"] {
            assert_eq!(of(name), Field::Unknown, "{name}");
        }
    }
}
