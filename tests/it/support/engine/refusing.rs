//! An engine that is gone: its socket file is there and nobody listens on it.

use std::os::unix::net::UnixListener;

use tempfile::TempDir;

/// The address, good for as long as the folder lives.
pub fn address() -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine.sock");
    drop(UnixListener::bind(&path).unwrap());
    let url = format!("unix://{}", path.display());
    (dir, url)
}
