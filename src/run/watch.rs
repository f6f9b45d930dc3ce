//! `watch = true`: a changed file is a reason to reload.
//!
//! The files are looked at, not subscribed to: what atomic renames, symbolic links that are switched
//! (Kubernetes) and network file systems do to a subscription is different each time, and one look a
//! second at a dozen files costs nothing.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Watch {
    files: Vec<PathBuf>,
    seen: Vec<FileStamp>,
}

/// What tells a file's content from another; `None` when it is not there.
type FileStamp = Option<(u64, u64, u64, i64, i64)>;

impl Watch {
    pub(super) fn new(files: Vec<PathBuf>) -> Watch {
        let seen = look(&files);
        Watch { files, seen }
    }

    /// Watches these from now on. What was seen of a file before stays: a change since then, while
    /// the files were read, is told.
    pub(super) fn follow(&mut self, files: Vec<PathBuf>) {
        let before = |file: &PathBuf| {
            let at = self.files.iter().position(|other| other == file)?;
            self.seen.get(at).copied()
        };
        let now = look(&files);
        self.seen = files.iter().zip(now).map(|(file, now)| before(file).unwrap_or(now)).collect();
        self.files = files;
    }

    /// Returns when a file has changed and nothing changes any more; never without files.
    pub(super) async fn changed(&mut self) {
        if self.files.is_empty() {
            return std::future::pending().await;
        }
        let mut last = self.seen.clone();
        loop {
            tokio::time::sleep(EVERY).await;
            let now = look(&self.files);
            let is_quiet = now == last;
            last = now;
            if is_quiet && last != self.seen {
                self.seen = last;
                return;
            }
        }
    }
}

fn look(files: &[PathBuf]) -> Vec<FileStamp> {
    let look = |file: &PathBuf| {
        let data = std::fs::metadata(file).ok()?;
        Some((data.dev(), data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
    };
    files.iter().map(look).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_change_is_told_once_it_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("dockgate.toml");
        std::fs::write(&file, "a").unwrap();
        let mut watch = Watch::new(vec![file.clone()]);
        let mut is_told =
            async || tokio::time::timeout(Duration::from_secs(5), watch.changed()).await.is_ok();
        assert!(!is_told().await, "nothing has changed");
        std::fs::write(dir.path().join("new"), "bb").unwrap();
        std::fs::rename(dir.path().join("new"), &file).unwrap();
        assert!(is_told().await);
        assert!(!is_told().await, "told once");
        std::fs::remove_file(&file).unwrap();
        assert!(is_told().await);
    }
}
