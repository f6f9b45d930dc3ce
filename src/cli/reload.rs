//! `dockgate reload`: tells the running process to read its configuration again.
//!
//! Asks over the admin socket, so that the answer says what became of it; a signal could not.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::config::{self, Bind};

const MOST_ANSWER: usize = 1 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration file, which says where the admin socket is.
    #[arg(short, long, value_name = "FILE", default_value = "/etc/dockgate/dockgate.toml")]
    config: PathBuf,
    /// The admin socket, `unix:///path`, instead of what the file says.
    #[arg(long, value_name = "URL", value_parser = path_of_url)]
    socket: Option<PathBuf>,
    /// Answer in JSON: `reloaded` and `message`.
    #[arg(long)]
    json: bool,
}

#[expect(clippy::print_stdout, reason = "this is the command's answer")]
pub(super) fn run(args: &Args) -> ExitCode {
    let result = find(args).and_then(|socket| ask(&socket));
    if args.json {
        let (reloaded, message) = match &result {
            Ok(message) => (true, message),
            Err(why) => (false, why),
        };
        println!("{}", serde_json::json!({ "reloaded": reloaded, "message": message }));
        return ExitCode::from(u8::from(!reloaded));
    }
    match result {
        Ok(message) => {
            println!("{message}");
            ExitCode::SUCCESS
        }
        Err(why) => super::failure(&why),
    }
}

fn path_of_url(url: &str) -> Result<PathBuf, String> {
    match url.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(path.into()),
        _ => Err("the admin socket to reload by is a `unix:///path`".to_owned()),
    }
}

fn find(args: &Args) -> Result<PathBuf, String> {
    if let Some(socket) = &args.socket {
        return Ok(socket.clone());
    }
    let config = config::load(&args.config).map_err(|invalid| invalid.to_string())?;
    let unix = config.admin.into_iter().find_map(|bind| match bind {
        Bind::Unix { path, .. } => Some(path),
        Bind::Tcp { .. } | Bind::Inherited { .. } => None,
    });
    unix.ok_or_else(|| {
        format!(
            "{}: there is no unix socket in `admin.listen`. hint: set it to \
             `[\"unix:///run/dockgate/admin.sock\"]` and restart once, or send the process SIGHUP",
            args.config.display()
        )
    })
}

fn ask(socket: &Path) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let asking = async {
        // The server gives up first, and then says why.
        let most = crate::admin::MOST_TIME + std::time::Duration::from_secs(5);
        tokio::time::timeout(most, post(socket))
            .await
            .unwrap_or_else(|_| Err(format!("`{}` does not answer", socket.display())))
    };
    runtime.map_err(|error| error.to_string())?.block_on(asking)
}

async fn post(socket: &Path) -> Result<String, String> {
    let client = Client::builder(TokioExecutor::new()).build(hyperlocal::UnixConnector);
    let url: hyper::Uri = hyperlocal::Uri::new(socket, "/reload").into();
    let request = Request::builder()
        .method(Method::POST)
        .uri(url)
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = client.request(request).await.map_err(|error| away(socket, &error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MOST_ANSWER);
    let body = body.collect().await.map_err(|error| format!("the answer broke off: {error}"))?;
    let message = message(&body.to_bytes(), status);
    if status == StatusCode::OK { Ok(message) } else { Err(message) }
}

fn message(body: &[u8], status: StatusCode) -> String {
    let json: Option<serde_json::Value> =
        std::str::from_utf8(body).ok().and_then(|text| text.parse().ok());
    let message = json.as_ref().and_then(|json| json.get("message")?.as_str());
    message.map_or_else(|| format!("the admin socket answered {status}"), str::to_owned)
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

    fn args(config: &Path, socket: Option<&Path>) -> Args {
        Args { config: config.to_owned(), socket: socket.map(Path::to_owned), json: false }
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
        let said = find(&args(&file, None)).unwrap_err();
        assert!(said.contains("hint: set it to"), "{said}");
        std::fs::write(&file, format!("{listener}[admin]\nlisten = [\"unix:///x.sock\"]\n"))
            .unwrap();
        assert_eq!(find(&args(&file, None)).unwrap(), Path::new("/x.sock"));
        assert_eq!(find(&args(&file, Some(Path::new("/y")))).unwrap(), Path::new("/y"));
    }

    #[test]
    fn nobody_at_the_socket_is_said_with_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let said = ask(&dir.path().join("a.sock")).unwrap_err();
        assert!(
            said.contains("cannot be reached") && said.contains("hint: is `dockgate"),
            "{said}"
        );
    }

    #[test]
    fn an_answer_of_something_else_is_no_success() {
        let body = message(b"<html>", StatusCode::BAD_GATEWAY);
        assert_eq!(body, "the admin socket answered 502 Bad Gateway");
        assert_eq!(message(br#"{"message":"x"}"#, StatusCode::OK), "x");
    }
}
