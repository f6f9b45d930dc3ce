//! Errors in the distribution specification's form ("Error Codes"), which clients print.
//!
//! All of `registry` refuses with it. What must stay true: a code is one of the specification's or of its reference
//! implementation's; a message names what was asked as the client did.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;

use super::request::NotOne;
use crate::cache::reply::{Body, Reply};
use crate::cache::request::phrase;
use crate::cache::stats::Account;
use crate::cache::upstream::Fault;

/// A status and a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    BlobUnknown,
    Denied,
    DigestInvalid,
    ManifestInvalid,
    ManifestTooLarge,
    NameInvalid,
    NameUnknown,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unavailable(StatusCode),
    Unsupported,
    UploadInvalid,
    UploadUnknown,
}

impl Code {
    fn status(self) -> StatusCode {
        match self {
            Code::Denied => StatusCode::FORBIDDEN,
            Code::DigestInvalid
            | Code::ManifestInvalid
            | Code::NameInvalid
            | Code::UploadInvalid => StatusCode::BAD_REQUEST,
            Code::ManifestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::BlobUnknown | Code::NameUnknown | Code::NotFound | Code::UploadUnknown => {
                StatusCode::NOT_FOUND
            }
            Code::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Code::Unauthorized => StatusCode::UNAUTHORIZED,
            Code::Unavailable(status) => status,
            Code::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Code::BlobUnknown => "BLOB_UNKNOWN",
            Code::Denied => "DENIED",
            Code::DigestInvalid => "DIGEST_INVALID",
            Code::ManifestInvalid => "MANIFEST_INVALID",
            Code::ManifestTooLarge => "SIZE_INVALID",
            Code::NameInvalid => "NAME_INVALID",
            Code::NameUnknown => "NAME_UNKNOWN",
            Code::NotFound => "MANIFEST_UNKNOWN",
            Code::TooManyRequests => "TOOMANYREQUESTS",
            Code::Unauthorized => "UNAUTHORIZED",
            Code::Unavailable(_) => "UNAVAILABLE",
            Code::Unsupported => "UNSUPPORTED",
            Code::UploadInvalid => "BLOB_UPLOAD_INVALID",
            Code::UploadUnknown => "BLOB_UPLOAD_UNKNOWN",
        }
    }
}

pub(super) fn error(code: Code, message: &str, account: Account) -> Reply {
    let message = format!("dockgate: {message}");
    let body = json!({ "errors": [{ "code": code.as_str(), "message": message, "detail": null }] });
    let text = body.to_string();
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("application/json; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let (length, reason) = (Some(text.len() as u64), Some(phrase(&message)));
    let body = Body::bytes(text);
    Reply { status: code.status(), reason, headers, length, body, account, stored: None }
}

/// Of a request that is none.
pub(super) fn not_one(why: NotOne, account: Account) -> Reply {
    let (code, message) = match why {
        NotOne::Path => (
            Code::Unavailable(StatusCode::NOT_FOUND),
            "this is no endpoint of the distribution API",
        ),
        NotOne::Name => (Code::NameInvalid, "this is no name of a repository"),
        NotOne::Reference => (Code::ManifestInvalid, "this is neither a tag nor a digest"),
        NotOne::Digest => (
            Code::DigestInvalid,
            "this is no digest: `sha256:` or `sha512:` and hexadecimal digits",
        ),
        NotOne::Method => (Code::Unsupported, "this method is not for this endpoint"),
    };
    error(code, message, account)
}

/// The upstream could not be asked.
pub(super) fn failed(fault: &Fault, name: &str, account: Account) -> Reply {
    if let Fault::Unauthorized { .. } = fault {
        return error(Code::Denied, &denied(name), account);
    }
    let hint = fault.hint().map(|hint| format!(". hint: {hint}")).unwrap_or_default();
    let message = format!("`{name}`: {fault}{hint}");
    let mut reply = error(Code::Unavailable(fault.status()), &message, account);
    if let Some(pause) = fault.retry_after() {
        reply.headers.insert(header::RETRY_AFTER, HeaderValue::from(pause.as_secs()));
    }
    reply
}

pub(super) fn denied(name: &str) -> String {
    format!("the registry of `{name}` does not give access to it, or it does not exist")
}
