//! From a configuration to a running cache.
//!
//! `run` opens one for each `[cache.NAME]`. What must stay true: the secret that partitions are made of
//! is nowhere but beside the objects, and readable by nobody else.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use tokio_util::task::TaskTracker;

use super::intercept::InterceptSettings;
use super::registry::Registry;
use super::settings::Understood;
use super::stats::Stats;
use super::store::{self, Disk, Store};
use super::upstream::{self, Proxies, Upstream};
use super::{Cache, CacheSettings};
use crate::config;

/// In the cache's directory.
const SECRET: &str = "secret";
/// The same: which clients refuse the certificates that they are shown.
const REFUSALS: &str = "refusals";
/// As of other listeners.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

impl Cache {
    pub fn open(
        config: &config::Cache,
        understood: &Understood,
        stats: Arc<Stats>,
        tasks: TaskTracker,
    ) -> io::Result<Cache> {
        let store = open_store(config)?;
        let secret = secret(&config.dir)?;
        // Not the same one in every gateway of a chain, or they would take each other for a loop.
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), b"via");
        let tag = tag.as_ref().first_chunk().map_or(0, |first| u32::from_be_bytes(*first));
        let id = format!("dockgate-{tag:08x}");
        let upstream = Upstream::new(upstream::UpstreamSettings {
            id: id.clone(),
            next_hop: understood.next_hop.clone(),
            proxies: Proxies::from_env(),
            credentials: understood.credentials.clone(),
            extra_roots: understood.extra_roots.clone(),
            allow_private: config.allow_private.clone(),
            per_host: config.connections_per_host,
            queue_timeout: config.times.queue,
            connect_timeout: config.times.connect,
            head_timeout: config.times.head,
            idle_body_timeout: config.times.body,
            ..upstream::UpstreamSettings::default()
        })
        .map_err(io::Error::other)?;
        let tenants = config.tenants.iter().map(|(network, name)| (*network, name.as_str().into()));
        let settings = CacheSettings {
            domains: understood.domains.clone(),
            forward: config.forward,
            offline: config.offline,
            memory: config.memory,
            patience: config.times.stale,
            tenants: tenants.collect(),
            id,
            by_path: understood.by_path.clone(),
            intercept: config.intercept.map(|mode| InterceptSettings {
                mode,
                never: understood.never_intercept.clone(),
                file: Some(config.dir.join(REFUSALS)),
                handshake_time: HANDSHAKE_TIME,
            }),
        };
        let registry = match &understood.registry {
            Some(settings) => Some(Arc::new(
                Registry::new(&config.name, settings, &secret)
                    .ok_or_else(|| io::Error::other("its secret makes no key"))?,
            )),
            None => None,
        };
        let mirrors = match &registry {
            Some(registry) => vec![registry.mirror()],
            None => vec![Arc::clone(&understood.http) as _],
        };
        Cache::new(
            &config.name,
            settings,
            mirrors,
            registry,
            store,
            &secret,
            upstream,
            stats,
            tasks,
        )
    }
}

fn open_store(config: &config::Cache) -> io::Result<Arc<dyn Store>> {
    let settings = store::DiskSettings {
        dir: config.dir.clone(),
        size: config.size,
        free: config.free,
        fsync: config.fsync,
    };
    match &config.object_store {
        None => Ok(Arc::new(Disk::open(settings)?)),
        #[cfg(feature = "object-store")]
        Some(url) => Ok(Arc::new(store::Remote::open(&url.text, settings)?)),
        #[cfg(not(feature = "object-store"))]
        Some(_) => Err(io::Error::other("this dockgate was built without `object-store`")),
    }
}

/// Made once; all processes that share the directory have the same one.
fn secret(dir: &Path) -> io::Result<Vec<u8>> {
    let path = dir.join(SECRET);
    match read(&path) {
        Ok(Some(secret)) => return Ok(secret),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(error),
        // Where there is no directory nothing is stored.
        Ok(None) | Err(_) => {}
    }
    let mut secret = vec![0; 32];
    aws_lc_rs::rand::fill(&mut secret).map_err(io::Error::other)?;
    match make(dir, &path, &secret) {
        Ok(()) => Ok(secret),
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(&path)?.ok_or_else(|| io::Error::other("the secret has gone again"))
        }
        // Nothing is stored here anyway.
        Err(error) => {
            tracing::warn!(%error, "`{}` cannot be written", path.display());
            Ok(secret)
        }
    }
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut secret = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(1024).read_to_end(&mut secret)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if secret.len() < 32 {
        let what = format!("`{}` is damaged: remove it", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(Some(secret))
}

/// Whole or not at all, and never in the place of one that is there.
fn make(dir: &Path, path: &Path, secret: &[u8]) -> io::Result<()> {
    let draft = dir.join(format!("{SECRET}.{}", std::process::id()));
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(secret)?;
        file.sync_all()?;
        fs::hard_link(&draft, path)
    };
    let result = write();
    let _ = fs::remove_file(&draft);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_secret_is_made_once_and_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let first = secret(dir.path()).unwrap();
        assert_eq!(secret(dir.path()).unwrap(), first);
        let path = dir.path().join(SECRET);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
        fs::write(&path, "short").unwrap();
        assert!(secret(dir.path()).is_err());
        let nowhere = path.join("below a file");
        assert_eq!(secret(&nowhere).unwrap().len(), 32, "nothing is stored, and all goes on");
        let other = tempfile::tempdir().unwrap();
        assert_ne!(secret(other.path()).unwrap(), first);
    }
}
