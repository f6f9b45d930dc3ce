//! A disk that is full or read-only: small file systems of memory, which takes root.

use std::process::Command;

use super::*;

struct Mounted(tempfile::TempDir);

impl Mounted {
    /// None, and loudly, where this may not be.
    fn new(options: &str) -> Option<Mounted> {
        let dir = Mounted(tempfile::tempdir().unwrap());
        if dir.mount(&["-t", "tmpfs", "-o", options, "tmpfs"]) {
            return Some(dir);
        }
        eprintln!("SKIPPED: a test that mounts a file system needs root");
        std::mem::forget(dir);
        None
    }

    fn mount(&self, arguments: &[&str]) -> bool {
        let mut mount = Command::new("mount");
        mount.args(arguments).arg(self.0.path()).status().is_ok_and(|status| status.success())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("cache")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0.path()).status().unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_or_room_is_made() {
    let Some(disk) = Mounted::new("size=1m") else { return };
    let store = Disk::open(settings(&disk.path(), 64 * MB)).unwrap();
    counted(&store).await;
    let body = vec![7; 50_000];
    let (mut refused, mut stored) = (0, 0);
    for n in 0..300 {
        let meta = meta(key(&format!("/{n}")), &body, &[]);
        let attempt = async || {
            let mut draft = store.begin(&meta, None)?;
            draft.append(&body)?;
            store.commit(draft, meta.clone()).await
        };
        match attempt().await {
            Ok(_) => stored += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
                refused += 1;
                // Behind the scenes, room is made.
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
    }
    // Fifteen times what it holds.
    assert!(stored > 100, "{refused} refused, {stored} stored");
    assert_eq!(wrongs(&store).await, []);
}

#[tokio::test]
async fn the_floor_of_free_space_is_kept() {
    let Some(disk) = Mounted::new("size=2m") else { return };
    let store = Disk::open(DiskSettings { free: MB, ..settings(&disk.path(), 64 * MB) }).unwrap();
    counted(&store).await;
    let body = vec![7; 50_000];
    let free = || {
        let disk = rustix::fs::statvfs(disk.0.path()).unwrap();
        disk.f_bavail * disk.f_frsize
    };
    for n in 0..60 {
        put(&store, meta(key(&format!("/{n}")), &body, &[]), &body).await;
        assert!(free() >= MB - 16384, "{}", free());
    }
    assert!(store.usage().evicted > 30);
    // Somebody else takes the space: all gives way, and then there is none.
    fs::write(disk.0.path().join("other"), vec![0; usize::try_from(free()).unwrap()]).unwrap();
    let meta = meta(key("/new"), &body, &[]);
    let error = (0..40).find_map(|_| store.begin(&meta, Some(meta.length)).err()).unwrap();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
}

#[tokio::test]
async fn a_read_only_disk_serves_what_it_has() {
    let Some(disk) = Mounted::new("size=8m") else { return };
    let store = open(&disk.path());
    let found = put(&store, meta(key("/a"), b"hello", &[]), b"hello").await;
    let draft = store.begin(&meta(key("/b"), b"", &[]), None).unwrap();
    drop(store);
    drop(draft);
    drop(found);
    assert!(disk.mount(&["-o", "remount,ro"]));
    let store = open(&disk.path());
    assert_eq!(body_of(&store, "/a").await.unwrap(), b"hello");
    assert_eq!(body_of(&store, "/b").await, None);
    assert_eq!(counted(&store).await.objects, 1);
    let meta = meta(key("/b"), b"", &[]);
    let refused = [
        store.begin(&meta, None).map(drop),
        store.lock(&key("/a")).await.map(drop),
        store.remove(&key("/a")).await.map(drop),
        store.purge(&Scope::Everything).await.map(drop),
    ];
    for result in refused {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    }
    let found = store.find(&key("/a"), &asks(&[])).await.unwrap().unwrap();
    let refused = store.refresh(&found, (*found.meta).clone()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ReadOnlyFilesystem);
    assert_eq!(wrongs(&store).await, []);
    // What cannot be made is passed by.
    let nowhere = Disk::open(settings(&disk.0.path().join("new"), MB)).unwrap();
    assert!(nowhere.begin(&meta, None).is_err());
}
