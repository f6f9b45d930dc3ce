//! HTTP asked of others: key sets, and programs and plugins that decide outside.
//!
//! `auth::jwt` and `auth::external` use it, `gateway::plugins`, and `cache::registry::ecr`. What must stay true: an answer is bounded in size and time, no
//! redirect is followed, and a server's certificate is verified. No connection is kept: its task
//! would live on one worker's runtime and be used from another's.

use std::error::Error;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use hyperlocal::UnixConnector;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::default_provider;

use crate::config::{self, Invalid};

/// Of the head of an answer.
const HEAD_BYTES: usize = 32 * 1024;
const JSON: &str = "application/json";

/// One HTTP server, asked now and then.
#[derive(Debug)]
pub(crate) struct HttpClient {
    uri: Uri,
    way: Way,
    timeout: Duration,
}

type Over<C> = legacy::Client<C, Full<Bytes>>;

#[derive(Debug)]
enum Way {
    Http(Over<HttpConnector>),
    Https(Over<HttpsConnector<HttpConnector>>),
    Unix(Over<UnixConnector>),
    /// `https` without anybody to trust: no reason not to start, but no answer either.
    Distrust(String),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("there is no answer within {0:?}")]
    Late(Duration),
    #[error("{0}")]
    Unreachable(String),
    #[error("the answer's status is {0}")]
    Status(u16),
    #[error("the answer is longer than {0} bytes")]
    Long(usize),
    #[error("the answer broke off: {0}")]
    Broken(String),
    #[error("no certificate is trusted: {0}")]
    Distrust(String),
}

impl HttpClient {
    /// `url`: `http://…`, `https://…` or `unix:///path/to.sock[:/request/path]`; `ca`: a PEM file,
    /// else the system's roots. No network here.
    pub(crate) fn new(
        url: &config::Text,
        ca: Option<&config::File>,
        timeout: Duration,
    ) -> Result<HttpClient, Invalid> {
        let uri = match url.text.strip_prefix("unix://") {
            Some(rest) => unix_uri(rest),
            None => url.text.parse::<Uri>().ok(),
        };
        // Not named in the complaint: there may be a password in it.
        let invalid = |what| url.invalid(what, "");
        let uri = uri.filter(|uri| uri.host().is_some_and(|host| !host.is_empty()));
        let uri = uri.ok_or_else(|| invalid("the URL is malformed"))?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(invalid("a URL with a user or password in it is not supported"));
        }
        let way = match uri.scheme_str() {
            Some("unix") => Way::Unix(over(UnixConnector)),
            Some("http") => Way::Http(over(HttpConnector::new())),
            Some("https") => https(ca)?,
            _ => return Err(invalid("the URL is none of `http://`, `https://` and `unix://`")),
        };
        Ok(HttpClient { uri, way, timeout })
    }

    /// Whether the URL names more than a server.
    pub(crate) fn has_path(&self) -> bool {
        self.uri.path_and_query().is_some_and(|path| path != "/")
    }

    /// GET; the body of a 200, at most `most` bytes.
    pub(crate) async fn get(&self, most: usize) -> Result<Vec<u8>, AskError> {
        match self.ask(self.request(Method::GET, self.uri.clone(), JSON, None)?, most).await? {
            (200, body) => Ok(body),
            (status, _) => Err(AskError::Status(status)),
        }
    }

    /// POST of JSON; status and body.
    pub(crate) async fn post_json(
        &self,
        body: Vec<u8>,
        most: usize,
    ) -> Result<(u16, Vec<u8>), AskError> {
        self.ask(self.request(Method::POST, self.uri.clone(), JSON, Some(body))?, most).await
    }

    /// The same to a path of this server, for an answer of type `accept`.
    pub(crate) async fn post_to(
        &self,
        path: &str,
        accept: &str,
        body: Vec<u8>,
        most: usize,
    ) -> Result<(u16, Vec<u8>), AskError> {
        self.ask(self.request(Method::POST, self.at(path)?, accept, Some(body))?, most).await
    }

    /// Without a body, with these fields as well; to a path of this server, or to the URL itself; status and body.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: Option<&str>,
        headers: HeaderMap,
        most: usize,
    ) -> Result<(u16, Vec<u8>), AskError> {
        let uri = path.map_or_else(|| Ok(self.uri.clone()), |path| self.at(path))?;
        let mut request = self.request(method, uri, JSON, None)?;
        request.headers_mut().extend(headers);
        self.ask(request, most).await
    }

    fn at(&self, path: &str) -> Result<Uri, AskError> {
        let malformed = |error: &dyn Error| AskError::Unreachable(error.to_string());
        let mut parts = self.uri.clone().into_parts();
        parts.path_and_query =
            Some(PathAndQuery::try_from(path).map_err(|error| malformed(&error))?);
        Uri::from_parts(parts).map_err(|error| malformed(&error))
    }

    async fn ask(
        &self,
        request: Request<Full<Bytes>>,
        most: usize,
    ) -> Result<(u16, Vec<u8>), AskError> {
        let whole = async {
            let answer = self.send(request).await?;
            let status = answer.status();
            match status {
                // They have no meaning without being followed, and are often long.
                status if status.is_redirection() => Ok((status, Vec::new())),
                _ => Ok((status, read(answer, most).await?)),
            }
        };
        let answer: Result<(StatusCode, _), AskError> = tokio::time::timeout(self.timeout, whole)
            .await
            .map_err(|_| AskError::Late(self.timeout))?;
        answer.map(|(status, body)| (status.as_u16(), body))
    }

    fn request(
        &self,
        method: Method,
        uri: Uri,
        accept: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Request<Full<Bytes>>, AskError> {
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(ACCEPT, accept)
            .header(USER_AGENT, concat!("dockgate/", env!("CARGO_PKG_VERSION")));
        if matches!(self.way, Way::Unix(_)) {
            request = request.header(HOST, "localhost");
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, JSON);
        }
        let body = Full::from(body.unwrap_or_default());
        request.body(body).map_err(|error| AskError::Unreachable(error.to_string()))
    }

    async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<hyper::body::Incoming>, AskError> {
        let answer = match &self.way {
            Way::Http(client) => client.request(request).await,
            Way::Https(client) => client.request(request).await,
            Way::Unix(client) => client.request(request).await,
            Way::Distrust(why) => return Err(AskError::Distrust(why.clone())),
        };
        answer.map_err(|error| AskError::Unreachable(chain(&error)))
    }
}

async fn read(answer: Response<hyper::body::Incoming>, most: usize) -> Result<Vec<u8>, AskError> {
    match Limited::new(answer.into_body(), most).collect().await {
        Ok(body) => Ok(body.to_bytes().to_vec()),
        Err(error) if error.is::<LengthLimitError>() => Err(AskError::Long(most)),
        Err(error) => Err(AskError::Broken(chain(error.as_ref()))),
    }
}

fn over<C>(connector: C) -> Over<C>
where
    C: legacy::connect::Connect + Clone,
{
    legacy::Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .http1_max_buf_size(HEAD_BYTES)
        .build(connector)
}

fn https(ca: Option<&config::File>) -> Result<Way, Invalid> {
    let provider = default_provider();
    let builder = match ca {
        Some(ca) => {
            let trust = ClientConfig::builder_with_provider(Arc::new(provider))
                .with_safe_default_protocol_versions()
                .map_err(|error| ca.invalid(error, ""))?
                .with_root_certificates(ca.authorities()?)
                .with_no_client_auth();
            Ok(HttpsConnectorBuilder::new().with_tls_config(trust))
        }
        None => HttpsConnectorBuilder::new().with_provider_and_native_roots(provider),
    };
    Ok(match builder {
        Ok(builder) => Way::Https(over(builder.https_only().enable_http1().build())),
        Err(error) => Way::Distrust(error.to_string()),
    })
}

/// What `UnixConnector` reads: the socket's path in hexadecimal instead of a host. Its own
/// constructor panics on what is malformed.
fn unix_uri(rest: &str) -> Option<Uri> {
    let (path, request) = match rest.split_once(":/") {
        Some((path, request)) => (path, request),
        None => (rest, ""),
    };
    if !path.starts_with('/') {
        return None;
    }
    let mut uri = "unix://".to_owned();
    path.bytes().for_each(|byte| write!(uri, "{byte:02x}").unwrap_or_default());
    uri.push_str(":0/");
    uri.push_str(request);
    uri.parse().ok()
}

/// What went wrong, and why: the outermost error alone says `client error (Connect)`.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| Error::source(error));
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests;
