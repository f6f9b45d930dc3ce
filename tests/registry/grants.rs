//! A registry whose tokens for namespaces are issued by hand: what tests/registry/namespaces.py drives.
//!
//!     registry_grants FILE        a configuration with one registry, which then listens
//!
//! It reads `issue REPOSITORY pull|push|both HEADER` and `end NUMBER` from its standard input, line by line. A token's line is
//! `NUMBER HEADER`: what the engine is to get as `X-Registry-Auth`. `-` for HEADER is no header.

use std::collections::HashMap;
use std::io::{BufRead as _, Write as _};
use std::sync::Arc;

use anyhow::Context as _;
use dockgate::auth::{Actions, ClientCredentials, Grant, Grants, Identity, registry_auth};
use dockgate::cache::Cache;
use dockgate::cache::front::CacheListener;
use dockgate::cache::settings::Understood;
use dockgate::listener::{Listener, Socket};
use dockgate::policy::namespace::image::Repository;
use dockgate::telemetry::metrics::Metrics;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

fn main() -> anyhow::Result<()> {
    let file = std::env::args_os().nth(1).context("usage: registry_grants FILE")?;
    let config = dockgate::config::load(file.as_ref())?;
    let config = config.caches.first().context("there is no registry")?;
    let understood = Understood::of(config)?;
    let cache = Cache::open(config, &understood, Arc::default(), TaskTracker::new())?;
    let (cache, grants) = (Arc::new(cache), Arc::new(Grants::default()));
    cache.takes_grants(&grants);
    let bind = &config.listen.first().context("it listens nowhere")?.bind;
    let listener = Listener::new(Socket::open(bind, None)?, 1024, None);
    let service = Arc::new(CacheListener {
        cache,
        name: "registry".into(),
        tally: Metrics::new().tally(0, "registry"),
        drain: CancellationToken::new(),
        tasks: TaskTracker::new(),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime.block_on(async move {
            let watched = listener.watch();
            let _ = ready.send(watched.is_ok());
            if let Ok(watched) = watched {
                watched.serve(service).await;
            }
        });
    });
    anyhow::ensure!(is_ready.recv()?, "its socket cannot be watched");
    say("listening")?;
    let (mut held, address) = (HashMap::new(), bind.to_string().replace("tcp://", ""));
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["issue", repository, actions, header] => {
                let named = Repository::parse(repository).context("no repository")?;
                let header = if *header == "-" { "" } else { header };
                let own = ClientCredentials::of_header(header.as_bytes(), &named.host)?;
                let actions = match *actions {
                    "pull" => Actions::PULL,
                    "push" => Actions::PUSH,
                    _ => Actions { pull: true, push: true },
                };
                let registry = config.name.clone();
                let grant = Grant { registry, repository: named.to_string(), actions };
                let who = Identity::imagined(None);
                let issued = grants.issue(grant, &who, own.as_ref());
                let (grant, token) = issued.context("no token can be made")?;
                let number = held.len().to_string();
                say(&format!("{number} {}", registry_auth(&token, &address)))?;
                held.insert(number, Some(grant));
            }
            ["end", number] => {
                held.get_mut(*number).context("no such token")?.take();
                say("ended")?;
            }
            _ => anyhow::bail!("`{line}` is no command"),
        }
    }
    Ok(())
}

fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
