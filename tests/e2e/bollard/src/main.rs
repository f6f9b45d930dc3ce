//! bollard through the gateway: prints what it sees, for run.sh to compare with what it sees directly.

use anyhow::{Context, Result};
use bollard::Docker;
use bollard::container::{AttachContainerResults, LogOutput};
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    StartContainerOptions, WaitContainerOptions,
};
use futures_util::{Stream, StreamExt};
use tokio::io::AsyncWriteExt;

type Output = std::result::Result<LogOutput, bollard::errors::Error>;

/// All of a stream, its neighbours of one kind joined: how it was cut does not matter.
async fn all(mut stream: impl Stream<Item = Output> + Unpin) -> Result<(String, String)> {
    let (mut out, mut err) = (String::new(), String::new());
    while let Some(item) = stream.next().await {
        match item? {
            LogOutput::StdErr { message } => err.push_str(&String::from_utf8_lossy(&message)),
            other => out.push_str(&String::from_utf8_lossy(&other.into_bytes())),
        }
    }
    Ok((out, err))
}

fn command(words: &[&str]) -> Option<Vec<String>> {
    Some(words.iter().map(|w| (*w).to_owned()).collect())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let path = std::env::var("E2E_SOCK").context("E2E_SOCK")?;
    let docker = Docker::connect_with_unix(&path, 30, bollard::API_DEFAULT_VERSION)?.negotiate_version().await?;
    println!("negotiated {}", docker.client_version());
    println!("server {:?}", docker.version().await?.api_version);

    let name = "bollard";
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    let body = ContainerCreateBody {
        image: Some("busybox".to_owned()),
        cmd: command(&["sh", "-c", "read x; echo got $x; cat; echo end >&2; exit 3"]),
        attach_stdin: Some(true),
        open_stdin: Some(true),
        stdin_once: Some(true),
        ..Default::default()
    };
    docker.create_container(Some(options), body).await?;
    let attach = AttachContainerOptionsBuilder::default().stream(true).stdin(true).stdout(true).stderr(true).build();
    let AttachContainerResults { output, mut input } = docker.attach_container(name, Some(attach)).await?;
    docker.start_container(name, None::<StartContainerOptions>).await?;

    let exec = CreateExecOptions {
        cmd: command(&["sh", "-c", "cat; echo tail; exit 5"]),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..Default::default()
    };
    let id = docker.create_exec(name, exec).await?.id;
    if let StartExecResults::Attached { output, mut input } = docker.start_exec(&id, None::<StartExecOptions>).await? {
        input.write_all(b"typed into exec\n").await?;
        input.shutdown().await?;
        println!("exec {:?}", all(output).await?);
    }
    println!("exec status {:?}", docker.inspect_exec(&id).await?.exit_code);

    input.write_all(b"one\ntwo\n").await?;
    input.shutdown().await?;
    println!("attach {:?}", all(output).await?);
    let waited = docker.wait_container(name, None::<WaitContainerOptions>).next().await;
    println!("wait {waited:?}");

    let logs = LogsOptionsBuilder::default().stdout(true).stderr(true).follow(true).build();
    println!("logs {:?}", all(docker.logs(name, Some(logs))).await?);
    docker.remove_container(name, Some(RemoveContainerOptionsBuilder::default().force(true).build())).await?;
    println!("gone {:?}", docker.inspect_container(name, None).await.err());
    Ok(())
}
