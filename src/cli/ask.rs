//! Asks the running process over its admin socket.
//!
//! `reload` and `cache` are its users. What must stay true: the socket is the one that the named file
//! has, or the one that the command line names; every failure says what to do.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::config::{self, Bind};

const MOST_ANSWER: usize = 64 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Process {
    /// Configuration file, which says where the admin socket is.
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        default_value = "/etc/dockgate/dockgate.toml"
    )]
    pub(super) config: PathBuf,
    /// The admin socket, `unix:///path`, instead of what the file says.
    #[arg(long, global = true, value_name = "URL", value_parser = path_of_url)]
    pub(super) socket: Option<PathBuf>,
}

pub(super) struct AdminReply {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Process {
    /// Where its admin socket is.
    pub(super) fn find(&self) -> Result<PathBuf, String> {
        if let Some(socket) = &self.socket {
            return Ok(socket.clone());
        }
        let config = config::load(&self.config).map_err(|invalid| invalid.to_string())?;
        let unix = config.admin.into_iter().find_map(|bind| match bind {
            Bind::Unix { path, .. } => Some(path),
            Bind::Tcp { .. } | Bind::Inherited { .. } => None,
        });
        unix.ok_or_else(|| {
            format!(
                "{}: there is no unix socket in `admin.listen`. hint: set it to \
                 `[\"unix:///run/dockgate/admin.sock\"]` and restart once, or send the process SIGHUP",
                self.config.display()
            )
        })
    }
}

/// `most` is how long the process may take, which gives up first and then says why.
pub(super) async fn ask(
    socket: &Path,
    method: Method,
    target: &str,
    most: Duration,
) -> Result<AdminReply, String> {
    let asking = tokio::time::timeout(most + Duration::from_secs(5), send(socket, method, target));
    asking.await.unwrap_or_else(|_| Err(format!("`{}` does not answer", socket.display())))
}

/// Runs a command that waits for answers.
pub(super) fn wait<T, E: From<String>>(asking: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(asking)
}

impl AdminReply {
    /// What it says to people.
    pub(super) fn message(&self) -> String {
        let json: Option<serde_json::Value> =
            std::str::from_utf8(&self.body).ok().and_then(|text| text.parse().ok());
        let message = json.as_ref().and_then(|json| json.get("message")?.as_str());
        message.map_or_else(|| format!("the admin socket answered {}", self.status), str::to_owned)
    }
}

fn path_of_url(url: &str) -> Result<PathBuf, String> {
    match url.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(path.into()),
        _ => Err("the admin socket to ask is a `unix:///path`".to_owned()),
    }
}

async fn send(socket: &Path, method: Method, target: &str) -> Result<AdminReply, String> {
    let client = Client::builder(TokioExecutor::new()).build(hyperlocal::UnixConnector);
    let url: hyper::Uri = hyperlocal::Uri::new(socket, target).into();
    let request = Request::builder()
        .method(method)
        .uri(url)
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = client.request(request).await.map_err(|error| away(socket, &error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MOST_ANSWER);
    let body = body.collect().await.map_err(|error| format!("the answer broke off: {error}"))?;
    Ok(AdminReply { status, body: body.to_bytes() })
}

/// What the operating system says is at the end of the chain of errors.
fn away(socket: &Path, error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    let hint = match last.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
        Some(std::io::ErrorKind::PermissionDenied) => "run this as a user who may open it",
        _ => "is `dockgate serve` running with this configuration?",
    };
    format!("`{}` cannot be reached: {last}. hint: {hint}", socket.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(config: &Path, socket: Option<&Path>) -> Process {
        Process { config: config.to_owned(), socket: socket.map(Path::to_owned) }
    }

    #[test]
    fn the_socket_is_a_unix_one() {
        assert_eq!(path_of_url("unix:///run/a.sock").unwrap(), Path::new("/run/a.sock"));
        for bad in ["tcp://127.0.0.1:1", "unix://a.sock", "/run/a.sock", ""] {
            assert!(path_of_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn without_an_admin_socket_there_is_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("dockgate.toml");
        let listener = "[[listener]]\nname = \"a\"\nurl = \"unix:///run/a.sock\"\n";
        std::fs::write(&file, listener).unwrap();
        let said = process(&file, None).find().unwrap_err();
        assert!(said.contains("hint: set it to"), "{said}");
        std::fs::write(&file, format!("{listener}[admin]\nlisten = [\"unix:///x.sock\"]\n"))
            .unwrap();
        assert_eq!(process(&file, None).find().unwrap(), Path::new("/x.sock"));
        assert_eq!(process(&file, Some(Path::new("/y"))).find().unwrap(), Path::new("/y"));
    }

    #[test]
    fn nobody_at_the_socket_is_said_with_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("a.sock");
        let asked = wait(ask(&socket, Method::POST, "/reload", Duration::from_secs(1)));
        let said = asked.err().unwrap();
        assert!(
            said.contains("cannot be reached") && said.contains("hint: is `dockgate"),
            "{said}"
        );
    }

    #[test]
    fn an_answer_of_something_else_is_no_message() {
        let answer = |body: &'static str, status| AdminReply { status, body: Bytes::from(body) };
        let said = answer("<html>", StatusCode::BAD_GATEWAY).message();
        assert_eq!(said, "the admin socket answered 502 Bad Gateway");
        assert_eq!(answer(r#"{"message":"x"}"#, StatusCode::OK).message(), "x");
    }
}
