//! `docker-credential-NAME`: a program that says a name and a password (docker's credential helper protocol).
//!
//! `upstream` asks it for its login, and `ecr` speaks to programs of Amazon's users by `talk`. What must stay true: a program that hangs, floods or fails costs a bounded time and
//! memory, and nothing of what it says is in a log; one at a time is run for an upstream.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::sync::{Mutex as Turn, oneshot};
use tokio::time::timeout;

use super::upstream::RegistryUpstream;
use crate::api::json;
use crate::cache::Cache;
use crate::cache::upstream::Fault;
use crate::cache::upstream::credentials::basic;

/// A helper may ask a cloud for it.
const TIME: Duration = Duration::from_secs(20);
const LONGEST: u64 = 64 * 1024;
/// Tokens of clouds hold hours; who is refused asks again at once.
const KEPT_MS: u64 = 5 * 60 * 1000;

#[derive(Debug)]
pub(super) struct Helper {
    program: String,
    kept: Mutex<Option<(HeaderValue, u64)>>,
    turn: Turn<()>,
}

#[derive(Deserialize)]
struct HelperLogin {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

impl Helper {
    /// None where it is no name of a program.
    pub(super) fn new(name: &str) -> Option<Helper> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_name = !name.is_empty() && name.bytes().all(is_plain);
        is_name.then(|| Helper {
            program: format!("docker-credential-{name}"),
            kept: Mutex::default(),
            turn: Turn::default(),
        })
    }

    /// `anew`: what it has said before was refused.
    pub(super) async fn login(
        &self,
        cache: &Arc<Cache>,
        upstream: &RegistryUpstream,
        anew: bool,
    ) -> Result<HeaderValue, Fault> {
        let asked = cache.now();
        let _turn = self.turn.lock().await;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((login, at)) = kept
            && (at >= asked || (!anew && cache.now().saturating_sub(at) < KEPT_MS))
        {
            return Ok(login);
        }
        let (said, says) = oneshot::channel();
        let (program, host) = (self.program.clone(), upstream.host.clone());
        cache.thread.run(async move {
            let _ = said.send(run(&program, &host).await);
        });
        let login = says.await.unwrap_or_else(|_| Err("the process ends".to_owned()));
        let login = login.map_err(|why| Fault::Credentials {
            host: upstream.host.clone(),
            why: format!("`{}` {why}", self.program),
        })?;
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((login.clone(), cache.now()));
        Ok(login)
    }
}

async fn run(program: &str, host: &str) -> Result<HeaderValue, String> {
    let mut command = Command::new(program);
    command.arg("get");
    let said = talk(command, host.as_bytes()).await?;
    let said = said.map_err(|status| format!("has no credentials for `{host}` ({status})"))?;
    let said: HelperLogin =
        json::read(&said).map_err(|_| "says no `Username` and `Secret`".to_owned())?;
    if said.username == "<token>" {
        return Err("has an identity token, which is for the registry's own login".to_owned());
    }
    basic(&said.username, &said.secret).ok_or_else(|| "says what cannot be sent".to_owned())
}

/// What a program says that is told this, or how it ended otherwise.
pub(super) async fn talk(
    mut command: Command,
    told: &[u8],
) -> Result<Result<Vec<u8>, ExitStatus>, String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child =
        command.kill_on_drop(true).spawn().map_err(|error| format!("cannot be run: {error}"))?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let (Some(mut stdin), Some(stdout)) = (stdin, stdout) else {
        return Err("cannot be spoken to".to_owned());
    };
    let talk = async {
        // One that reads nothing says what it says nevertheless.
        let _ = stdin.write_all(told).await;
        drop(stdin);
        let mut said = Vec::new();
        let read = stdout.take(LONGEST + 1).read_to_end(&mut said).await;
        read.map_err(|error| format!("cannot be read: {error}"))?;
        if said.len() as u64 > LONGEST {
            return Err("says too much".to_owned());
        }
        let status = child.wait().await.map_err(|error| format!("is lost: {error}"))?;
        Ok(if status.success() { Ok(said) } else { Err(status) })
    };
    timeout(TIME, talk).await.map_err(|_| format!("says nothing within {TIME:?}"))?
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn program(folder: &tempfile::TempDir, name: &str, script: &str) -> String {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn it_is_told_the_host_and_says_name_and_password() {
        let folder = tempfile::tempdir().unwrap();
        let script = r#"[ "$1" = get ] || exit 1; read -r host; echo "{\"ServerURL\":\"$host\",\"Username\":\"$host\",\"Secret\":\"s\"}""#;
        let path = program(&folder, "ok", script);
        assert_eq!(run(&path, "a.example").await, Ok(basic("a.example", "s").unwrap()));
    }

    #[tokio::test]
    async fn what_it_does_wrong_is_said_without_what_it_says() {
        let folder = tempfile::tempdir().unwrap();
        for (name, script) in [
            ("fails", "echo secret; exit 1"),
            ("no-json", "echo secret"),
            ("floods", "yes secret"),
            ("token", r#"echo '{"Username":"<token>","Secret":"secret"}'"#),
        ] {
            let said = run(&program(&folder, name, script), "a.example").await;
            assert!(said.as_ref().is_err_and(|why| !why.contains("secret")), "{name}: {said:?}");
        }
        assert!(run("/nowhere/docker-credential-x", "a").await.is_err());
        assert!(Helper::new("ecr-login").is_some());
        for name in ["", "../x", "a b", "a/b"] {
            assert!(Helper::new(name).is_none(), "{name}");
        }
    }
}
