//! What can go wrong between here and an origin.
//!
//! Made all over `upstream`, read by `serve` and `fill`. What must stay true: a fault has one name,
//! which logs, metrics and `Cache-Status` use, and says whether the origin failed (then a stale
//! answer may be used) or we refused.

use std::error::Error;
use std::time::Duration;

use http::StatusCode;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("`{host}` is not public: {why}")]
    AddressRefused { host: String, why: String },
    #[error("the answer's body broke off: {0}")]
    BodyBroken(String),
    #[error("no byte of the answer's body came for {0:?}")]
    BodyStalled(Duration),
    #[error("the origin asked to be left alone for {} more seconds", .retry_after.as_secs())]
    Busy { retry_after: Duration },
    #[error("the connection ended before an answer: {0}")]
    Closed(String),
    #[error("`{host}` cannot be reached: {why}")]
    Connect { host: String, why: String },
    #[error("there is no connection to `{host}` after {wait:?}")]
    ConnectTimeout { host: String, wait: Duration },
    #[error("`{host}` is not asked until it answers again: {why}")]
    Down { host: String, why: Box<Fault> },
    #[error("the answer's head is not valid HTTP: {0}")]
    HeadInvalid(String),
    #[error("no answer came within {0:?}")]
    HeadTimeout(Duration),
    #[error("the answer's head is too large")]
    HeadTooLarge,
    #[error("the request has been here before")]
    Loop,
    #[error("the request has been here before: the proxy that is asked for it leads back")]
    ProxyLoop,
    #[error("`{host}` does not let the cache in: {why}")]
    Credentials { host: String, why: String },
    #[error("the name `{host}` cannot be resolved: {why}")]
    Name { host: String, why: String },
    #[error("the proxy `{proxy}` does not help: {why}")]
    Proxy { proxy: String, why: String },
    #[error("no connection to the host became free within {0:?}")]
    QueueTimeout(Duration),
    #[error("the request's body broke off: {0}")]
    RequestBody(String),
    #[error("`{0}` cannot be asked for")]
    Target(String),
    #[error("`{host}` is not trusted: {why}")]
    Tls { host: String, why: String },
    #[error("`{host}` does not give a token for this")]
    Unauthorized { host: String },
    #[error("{0} redirects did not lead to an answer")]
    TooManyRedirects(u8),
}

impl Fault {
    pub fn name(&self) -> &'static str {
        match self {
            Fault::AddressRefused { .. } => "address-refused",
            Fault::BodyBroken(_) => "body-broken",
            Fault::BodyStalled(_) => "body-stalled",
            Fault::Busy { .. } => "origin-busy",
            Fault::Closed(_) => "connection-closed",
            Fault::Connect { .. } => "connect-failed",
            Fault::ConnectTimeout { .. } => "connect-timeout",
            Fault::Credentials { .. } => "credentials-refused",
            Fault::Down { .. } => "origin-down",
            Fault::HeadInvalid(_) => "head-invalid",
            Fault::HeadTimeout(_) => "head-timeout",
            Fault::HeadTooLarge => "head-too-large",
            Fault::Loop | Fault::ProxyLoop => "loop",
            Fault::Name { .. } => "name-not-resolved",
            Fault::Proxy { .. } => "proxy-failed",
            Fault::QueueTimeout(_) => "queue-timeout",
            Fault::RequestBody(_) => "request-body-broken",
            Fault::Target(_) => "target-invalid",
            Fault::Tls { .. } => "tls-failed",
            Fault::TooManyRedirects(_) => "too-many-redirects",
            Fault::Unauthorized { .. } => "unauthorized",
        }
    }

    /// In a few words, for clients that print one line: without names that they know.
    pub fn short(&self) -> String {
        let unreached = |why: &str| format!("origin cannot be reached: {why}");
        match self {
            Fault::Connect { why, .. } => unreached(why),
            Fault::ConnectTimeout { .. } => unreached("connect timed out"),
            Fault::Name { .. } => unreached("its name cannot be resolved"),
            Fault::Proxy { why, .. } => unreached(&format!("proxy: {why}")),
            Fault::Tls { why, .. } => unreached(&format!("it is not trusted: {why}")),
            Fault::AddressRefused { .. } => {
                unreached("its address is not public, and not in `allow_private`")
            }
            Fault::Down { why, .. } => format!("{} (not asked until it answers)", why.short()),
            Fault::QueueTimeout(_) => "origin has no connection free".to_owned(),
            other => other.to_string(),
        }
    }

    /// What a client is answered.
    pub fn status(&self) -> StatusCode {
        match self {
            Fault::Busy { .. } | Fault::QueueTimeout(_) => StatusCode::SERVICE_UNAVAILABLE,
            Fault::BodyStalled(_)
            | Fault::ConnectTimeout { .. }
            | Fault::Down { .. }
            | Fault::HeadTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Fault::Loop | Fault::ProxyLoop => StatusCode::LOOP_DETECTED,
            Fault::RequestBody(_) | Fault::Target(_) => StatusCode::BAD_REQUEST,
            Fault::Unauthorized { .. } => StatusCode::FORBIDDEN,
            Fault::AddressRefused { .. }
            | Fault::BodyBroken(_)
            | Fault::Closed(_)
            | Fault::Connect { .. }
            | Fault::Credentials { .. }
            | Fault::HeadInvalid(_)
            | Fault::HeadTooLarge
            | Fault::Name { .. }
            | Fault::Proxy { .. }
            | Fault::Tls { .. }
            | Fault::TooManyRedirects(_) => StatusCode::BAD_GATEWAY,
        }
    }

    /// Whether it counts as an error of the origin, for which `stale-if-error` is (RFC 5861 §4). The
    /// other faults would come of our own rules or of the client's request, each time.
    pub fn is_origin(&self) -> bool {
        match self {
            Fault::AddressRefused { .. }
            | Fault::Loop
            | Fault::ProxyLoop
            | Fault::RequestBody(_)
            | Fault::Target(_)
            | Fault::Unauthorized { .. } => false,
            Fault::BodyBroken(_)
            | Fault::BodyStalled(_)
            | Fault::Busy { .. }
            | Fault::Closed(_)
            | Fault::Connect { .. }
            | Fault::ConnectTimeout { .. }
            | Fault::Credentials { .. }
            | Fault::Down { .. }
            | Fault::HeadInvalid(_)
            | Fault::HeadTimeout(_)
            | Fault::HeadTooLarge
            | Fault::Name { .. }
            | Fault::Proxy { .. }
            | Fault::QueueTimeout(_)
            | Fault::Tls { .. }
            | Fault::TooManyRedirects(_) => true,
        }
    }

    /// For `Retry-After`.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Fault::Busy { retry_after } => Some(*retry_after),
            _ => None,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Fault::AddressRefused { .. } => {
                Some("list its network in `allow_private` if the cache may go there")
            }
            Fault::Credentials { .. } => Some("see `credentials` of the cache"),
            Fault::Loop => Some("the host's name leads back to this gateway: see `origins`"),
            Fault::ProxyLoop => Some(
                "`next_hop`, or a proxy variable of the service (`http_proxy`, …), names this gateway",
            ),
            Fault::Proxy { .. } => Some("see `next_hop`, and the proxy variables of the service"),
            Fault::QueueTimeout(_) => Some("raise `connections_per_host`"),
            Fault::Tls { .. } => Some("name the origin's authority in `upstream_ca`"),
            _ => None,
        }
    }

    /// What hyper says of a request without an answer. What our own connector and body said is inside.
    pub(super) fn before_head(error: &(dyn Error + 'static)) -> Fault {
        for cause in causes(error) {
            if let Some(fault) = cause.downcast_ref::<Fault>() {
                return fault.clone();
            }
            let Some(hyper) = cause.downcast_ref::<hyper::Error>() else { continue };
            if hyper.is_parse_too_large() {
                return Fault::HeadTooLarge;
            }
            if hyper.is_parse() {
                return Fault::HeadInvalid(chain(hyper));
            }
        }
        Fault::Closed(chain(error))
    }
}

/// What went wrong, and why: the outermost error alone says `client error (SendRequest)`.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| Error::source(error))
}
