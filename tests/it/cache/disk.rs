//! A disk that does not take or give objects costs no client an answer.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::origin::Origin;
use super::rig::{Rig, Setup};
use dockgate::cache::store::Scope;

const FRESH: &str = "200 OK\nCache-Control: max-age=60";

#[test]
fn a_store_that_is_too_small_is_passed_by() {
    let body = vec![b'x'; 3 << 20];
    let origin = Origin::always(FRESH, &body);
    let rig = Setup { size: 1 << 20, ..Setup::default() }.start();
    for _ in 0..2 {
        let answer = rig.get(&origin, "/x");
        assert!(answer.whole && answer.body == body);
        assert!(answer.how().contains("detail=too-large"), "{}", answer.how());
        rig.settle();
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_directory_that_has_gone_is_passed_by() {
    let origin = Origin::always(FRESH, b"x");
    let rig = Rig::new();
    rig.get(&origin, "/x");
    rig.settle();
    fs::remove_dir_all(&rig.dir).unwrap();
    fs::write(&rig.dir, "a file in its place").unwrap();
    for path in ["/x", "/y"] {
        assert_eq!(rig.get(&origin, path).text(), "x", "{path}");
        rig.settle();
    }
    assert!(rig.cache.stats.disk_errors() > 0);
}

#[test]
fn a_directory_that_cannot_be_made_makes_a_proxy_of_the_cache() {
    let origin = Origin::always(FRESH, b"x");
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    let rig = Setup { dir: Some(file.join("cache")), ..Setup::default() }.start();
    for asked in 1..=2 {
        let answer = rig.get(&origin, "/x");
        assert_eq!(answer.text(), "x", "{answer:?}");
        assert!(answer.how().contains("detail=disk"), "{answer:?}");
        rig.settle();
        assert_eq!(origin.count(), asked);
    }
}

#[test]
fn objects_that_were_damaged_are_not_served() {
    let origin = Origin::always(FRESH, b"0123456789");
    let rig = Rig::new();
    rig.get(&origin, "/x");
    rig.settle();
    let mut found = Vec::new();
    files(&rig.dir.join("objects"), &mut found);
    assert_eq!(found.len(), 1, "{found:?}");
    let mut bytes = fs::read(&found[0]).unwrap();
    bytes.truncate(bytes.len() - 3);
    fs::write(&found[0], bytes).unwrap();
    let answer = rig.get(&origin, "/x");
    assert_eq!((answer.text(), origin.count()), ("0123456789", 2));
}

#[test]
fn what_is_stored_is_there_after_a_restart_and_is_found_right() {
    let origin = Origin::always(FRESH, b"x");
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("cache");
    for _ in 0..2 {
        let rig = Setup { dir: Some(at.clone()), ..Setup::default() }.start();
        assert_eq!(rig.get(&origin, "/x?a=b").text(), "x");
        rig.settle();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let page = runtime.block_on(rig.cache.store.verify(&Scope::Everything, None, 10)).unwrap();
        assert_eq!(page.items.len(), 1);
        assert_eq!(page.items[0].wrong, None);
    }
    assert_eq!(origin.count(), 1);
    let mode = fs::metadata(&at).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "what tenants have fetched is for nobody else to read");
}

pub fn files(dir: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}
