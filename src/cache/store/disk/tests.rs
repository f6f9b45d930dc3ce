//! Tests of the store's `disk`.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::*;
use crate::cache::key::{Partition, Scheme};
use crate::cache::meta::Stored as Kind;
use crate::cache::store::Damage;

mod faults;
mod killed;

const MB: u64 = 1 << 20;

fn settings(dir: &Path, size: u64) -> DiskSettings {
    DiskSettings { dir: dir.to_owned(), size, free: 0, fsync: false }
}

fn open(dir: &Path) -> Disk {
    Disk::open(settings(dir, 64 * MB)).unwrap()
}

fn key(path: &str) -> Key {
    Key {
        partition: Partition::Shared,
        scheme: Scheme::Https,
        host: "example.org".into(),
        path: path.into(),
        query: None,
    }
}

fn meta(key: Key, body: &[u8], vary: &[(&str, Option<&str>)]) -> Meta {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("text/plain"));
    Meta {
        key,
        kind: Kind::Metadata,
        status: StatusCode::OK,
        headers,
        request_time: 1,
        response_time: 2,
        vary: vary
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)))
            .collect(),
        length: body.len() as u64,
        sha256: digest(&SHA256, body).as_ref().try_into().unwrap(),
    }
}

async fn put(store: &Disk, meta: Meta, body: &[u8]) -> StoredResponse {
    let mut draft = store.begin(&meta, Some(meta.length)).unwrap();
    draft.append(body).unwrap();
    store.commit(draft, meta).await.unwrap()
}

/// As if the request had these fields.
fn asks<'a>(
    fields: &'a [(&'a str, &'a str)],
) -> impl Fn(&[HeaderName]) -> Vec<(String, Option<String>)> {
    |names: &[HeaderName]| {
        let value = |name: &HeaderName| {
            fields.iter().find(|(field, _)| name == field).map(|(_, value)| (*value).to_owned())
        };
        names.iter().map(|name| (name.to_string(), value(name))).collect()
    }
}

async fn get(store: &Disk, key: &Key, fields: &[(&str, &str)]) -> Option<(Arc<Meta>, Vec<u8>)> {
    let found = store.find(key, &asks(fields)).await.unwrap()?;
    let Body::File { file, start } = &found.body else { panic!("a file") };
    let mut body = vec![0; usize::try_from(found.meta.length).unwrap()];
    file.read_exact_at(&mut body, *start).unwrap();
    Some((found.meta, body))
}

async fn body_of(store: &Disk, path: &str) -> Option<Vec<u8>> {
    get(store, &key(path), &[]).await.map(|(_, body)| body)
}

/// Until the thread behind it has counted.
async fn counted(store: &Disk) -> Usage {
    while store.usage().scanning {
        tokio::task::yield_now().await;
    }
    store.usage()
}

async fn wrongs(store: &Disk) -> Vec<Damage> {
    let page = store.verify(&Scope::Everything, None, usize::MAX).await.unwrap();
    page.items.into_iter().filter_map(|item| item.wrong).collect()
}

#[tokio::test]
async fn what_is_committed_is_found_also_by_another_process() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("not/there/yet");
    let store = open(&dir);
    let other = open(&dir);
    assert_eq!(body_of(&store, "/a").await, None);
    let meta = meta(key("/a"), b"hello", &[]);
    let found = put(&store, meta.clone(), b"hello").await;
    assert_eq!(*found.meta, meta);
    for store in [&store, &other, &open(&dir)] {
        assert_eq!(
            get(store, &key("/a"), &[]).await,
            Some((Arc::new(meta.clone()), b"hello".to_vec()))
        );
        assert_eq!(counted(store).await.objects, 1);
    }
    assert_eq!(fs::metadata(dir).unwrap().permissions().mode() & 0o777, 0o700);
    let again = store.find(&key("/a"), &asks(&[])).await.unwrap().unwrap();
    assert_eq!(again.id, found.id);
}

#[tokio::test]
async fn empty_bodies_and_odd_paths_are_objects_like_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let long = format!("/{}", "a,".repeat(4000));
    let paths = ["/", "//", "/a", "/a/", "/a/b", "/a,o", "/a,v", "/a,v/names", &long];
    for path in paths {
        put(&store, meta(key(path), path.as_bytes(), &[]), path.as_bytes()).await;
    }
    put(&store, meta(key("/empty"), b"", &[]), b"").await;
    for path in paths {
        assert_eq!(body_of(&store, path).await.unwrap(), path.as_bytes());
    }
    assert_eq!(body_of(&store, "/empty").await.unwrap(), b"");
    assert_eq!(counted(&open(dir.path())).await, counted(&store).await);
    assert_eq!(wrongs(&store).await, []);
}

#[tokio::test]
async fn a_draft_that_is_not_committed_is_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let before = counted(&store).await;
    let mut draft = store.begin(&meta(key("/a"), b"", &[]), None).unwrap();
    draft.append(b"half a ").unwrap();
    draft.append(b"body").unwrap();
    let mut read = [0; 11];
    draft.file().read_exact_at(&mut read, draft.start()).unwrap();
    assert_eq!((&read, draft.written()), (b"half a body", 11));
    assert!(store.usage().bytes > before.bytes);
    let wrong = meta(key("/a"), b"half a body?", &[]);
    assert_eq!(store.commit(draft, wrong).await.unwrap_err().kind(), ErrorKind::InvalidData);
    assert_eq!(body_of(&store, "/a").await, None);
    assert_eq!(store.usage(), before);
    let own = fs::read_dir(dir.path().join("tmp")).unwrap().next().unwrap().unwrap();
    assert_eq!(fs::read_dir(own.path()).unwrap().count(), 1, "the lock");
}

#[tokio::test]
async fn a_response_takes_the_place_of_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let vary = &[("accept", Some("a"))];
    for (body, vary) in [(b"1", &[][..]), (b"2", &[]), (b"3", vary), (b"4", vary), (b"5", &[])] {
        put(&store, meta(key("/a"), body, vary), body).await;
        let found = get(&store, &key("/a"), &[("accept", "a")]).await.unwrap();
        assert_eq!(found.1, body);
        assert_eq!(counted(&store).await.objects, 1);
        assert_eq!(counted(&open(dir.path())).await, counted(&store).await);
    }
}

#[tokio::test]
async fn each_variant_is_for_requests_like_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put(&store, meta(key("/a"), b"gzip", &[("accept-encoding", Some("gzip"))]), b"gzip").await;
    put(&store, meta(key("/a"), b"plain", &[("accept-encoding", None)]), b"plain").await;
    let mut newer =
        meta(key("/a"), b"de", &[("accept-encoding", None), ("accept-language", Some("de"))]);
    newer.response_time = 3;
    put(&store, newer, b"de").await;
    for store in [&store, &open(dir.path())] {
        for (fields, body) in [
            (&[("accept-encoding", "gzip")][..], Some("gzip")),
            (&[], Some("plain")),
            (&[("accept-encoding", "br")], None),
            (&[("accept-language", "de")], Some("de")),
            (&[("accept-encoding", "gzip"), ("accept-language", "de")], Some("gzip")),
        ] {
            let found = get(store, &key("/a"), fields).await;
            assert_eq!(
                found.map(|found| found.1),
                body.map(|body| body.as_bytes().to_vec()),
                "{fields:?}"
            );
        }
        assert_eq!(counted(store).await.objects, 3);
    }
    assert_eq!(wrongs(&store).await, []);
    assert_eq!(store.remove(&key("/a")).await.unwrap(), 3);
    assert_eq!(store.remove(&key("/a")).await.unwrap(), 0);
    assert_eq!(counted(&store).await.objects, 0);
    assert_eq!(get(&store, &key("/a"), &[]).await, None);
}

#[tokio::test]
async fn a_refresh_changes_what_is_known_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut meta = meta(key("/a"), b"hello", &[("accept", None)]);
    let mut found = put(&store, meta.clone(), b"hello").await;
    for time in 10..14 {
        meta.response_time = time;
        found = store.refresh(&found, meta.clone()).await.unwrap();
        assert_eq!(
            get(&store, &key("/a"), &[]).await.unwrap(),
            (Arc::new(meta.clone()), b"hello".to_vec())
        );
    }
    meta.headers.insert("x-long", HeaderValue::from_bytes(&vec![b'x'; 9000]).unwrap());
    let moved = Meta { key: key("/b"), vary: Vec::new(), ..meta.clone() };
    found = store.refresh(&found, moved).await.unwrap();
    assert_eq!(*found.meta, meta, "it stays in its place");
    assert_eq!(
        get(&store, &key("/a"), &[]).await.unwrap(),
        (Arc::new(meta.clone()), b"hello".to_vec())
    );
    assert_eq!(counted(&open(dir.path())).await, counted(&store).await);
    assert_eq!(wrongs(&store).await, []);

    store.remove(&key("/a")).await.unwrap();
    store.refresh(&found, meta).await.unwrap();
    assert_eq!(get(&store, &key("/a"), &[]).await, None, "it is not stored again");
}

#[tokio::test]
async fn a_refresh_of_what_was_replaced_leaves_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let old = put(&store, meta(key("/a"), b"old", &[]), b"old").await;
    put(&store, meta(key("/a"), b"new", &[]), b"new").await;
    let refreshed =
        store.refresh(&old, Meta { response_time: 99, ..(*old.meta).clone() }).await.unwrap();
    assert_eq!(refreshed.meta.response_time, 99);
    let (meta, body) = get(&store, &key("/a"), &[]).await.unwrap();
    assert_eq!((meta.response_time, body.as_slice()), (2, &b"new"[..]));
}

#[tokio::test]
async fn what_is_damaged_is_not_found_and_verify_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for path in ["/head", "/short", "/long", "/body", "/moved", "/good"] {
        put(&store, meta(key(path), b"hello", &[]), b"hello").await;
    }
    let at = |path: &str| store.inner.quota.at(&format!("{},o", layout::place(&key(path))));
    let file = |path: &str| OpenOptions::new().write(true).open(at(path)).unwrap();
    file("/head").write_all_at(b"?", 100).unwrap();
    file("/short").set_len(4096 + 4).unwrap();
    file("/long").set_len(4096 + 6).unwrap();
    file("/body").write_all_at(b"J", 4096).unwrap();
    fs::rename(at("/moved"), at("/other")).unwrap();
    for path in ["/head", "/short", "/long", "/moved", "/other"] {
        assert_eq!(body_of(&store, path).await, None, "{path}");
    }
    let page = store.verify(&Scope::Everything, None, usize::MAX).await.unwrap();
    let all: BTreeSet<String> =
        page.items.iter().map(|item| format!("{} {:?}", item.name, item.wrong)).collect();
    let expected = [
        "https://example.org/body Some(Digest)",
        "https://example.org/good None",
        "https://example.org/moved Some(Place)",
        "objects/shared/https/example.org/head,o Some(Head)",
        "objects/shared/https/example.org/long,o Some(Length { stored: 6 })",
        "objects/shared/https/example.org/short,o Some(Length { stored: 4 })",
    ];
    assert_eq!(all, expected.into_iter().map(str::to_owned).collect());
}

#[tokio::test]
async fn pages_go_on_where_the_last_one_ended() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for n in 0..20 {
        put(&store, meta(key(&format!("/{}/{n}", n % 3)), b"x", &[]), b"x").await;
    }
    put(&store, meta(key("/1"), b"x", &[("a", None)]), b"x").await;
    for most in [1, 2, 7, 21, 100] {
        let mut seen = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = store.list(&Scope::Everything, after.as_deref(), most).await.unwrap();
            assert!(page.items.len() <= most);
            seen.extend(page.items.into_iter().map(|item| item.key.path));
            // What is gone meanwhile does not end it.
            if seen.len() == 1 {
                store.remove(&key(&seen[0])).await.unwrap();
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let all: BTreeSet<_> = seen.iter().collect();
        assert_eq!((all.len(), seen.len()), (21, 21), "pages of {most}");
        put(&store, meta(key(&seen[0]), b"x", &[]), b"x").await;
    }
}

#[tokio::test]
async fn a_scope_is_a_host_a_partition_or_the_beginning_of_urls() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let long = format!("/a/{}", "x/".repeat(900));
    let cut = format!("/a/{}", "y".repeat(300));
    let own = Key { partition: Partition::Own(5), ..key("/a/own") };
    let query = Key { query: Some("q=1/2".into()), ..key("/a/bc") };
    let other = Key { host: "other:8080".into(), ..key("/a/b") };
    let plain = Key { scheme: Scheme::Http, ..key("/a/b") };
    let keys = [key("/"), key("/a/b"), key(&long), key(&cut), own, query, other, plain];
    for key in &keys {
        put(&store, meta(key.clone(), b"x", &[]), b"x").await;
    }
    let prefix = |url: &str| Scope::Prefix(url.to_owned());
    for (scope, expected) in [
        (Scope::Everything, &[0, 1, 2, 3, 4, 5, 6, 7][..]),
        (Scope::Partition(Partition::Own(5)), &[4]),
        (Scope::Partition(Partition::Own(6)), &[]),
        (Scope::Host("example.org".into()), &[0, 1, 2, 3, 4, 5, 7]),
        (Scope::Host("other:8080".into()), &[6]),
        (prefix("https://example.org/"), &[0, 1, 2, 3, 4, 5]),
        (prefix("https://example.org/a/"), &[1, 2, 3, 4, 5]),
        (prefix("https://example.org/a/b"), &[1, 5]),
        (prefix("https://example.org/a/bc?q=1/"), &[5]),
        (prefix("https://example.org/a/y"), &[3]),
        (prefix(&format!("https://example.org{cut}")), &[3]),
        (prefix(&format!("https://example.org/a/{}", "x/".repeat(499))), &[2]),
        (prefix("https://example"), &[0, 1, 2, 3, 4, 5]),
        (prefix("example.org"), &[]),
    ] {
        let page = store.list(&scope, None, 100).await.unwrap();
        let mut seen: Vec<_> = page
            .items
            .iter()
            .map(|item| keys.iter().position(|key| *key == item.key).unwrap())
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, expected, "{scope:?}");
    }
    assert_eq!(store.purge(&prefix("https://example.org/a/y")).await.unwrap().objects, 1);
    assert_eq!(store.remove_everywhere(&key("/a/own")).await.unwrap(), 1);
    assert_eq!(store.purge(&Scope::Host("example.org".into())).await.unwrap().objects, 5);
    assert_eq!(counted(&store).await.objects, 1);
    assert_eq!(store.purge(&Scope::Everything).await.unwrap().objects, 1);
    assert_eq!(counted(&store).await, Usage { limit: 64 * MB, ..Usage::default() });
}

#[tokio::test]
async fn objects_give_way_before_the_limit_is_passed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Disk::open(settings(dir.path(), MB)).unwrap();
    counted(&store).await;
    let body = vec![7; 50_000];
    for n in 0..100 {
        put(&store, meta(key(&format!("/{n}")), &body, &[]), &body).await;
        let usage = store.usage();
        assert!(usage.bytes <= MB, "{usage:?}");
    }
    let usage = store.usage();
    assert!(usage.evicted >= 80 && usage.objects >= 10, "{usage:?}");
    let page = store.list(&Scope::Everything, None, 1000).await.unwrap();
    assert!(page.items.len() <= 20, "{}", page.items.len());
    assert_eq!(wrongs(&store).await, []);
}

#[tokio::test]
async fn what_is_too_large_is_refused_at_once_or_when_it_has_grown() {
    let dir = tempfile::tempdir().unwrap();
    let store = Disk::open(settings(dir.path(), MB)).unwrap();
    let meta = meta(key("/a"), b"", &[]);
    assert_eq!(store.begin(&meta, Some(MB)).unwrap_err().kind(), ErrorKind::FileTooLarge);
    assert_eq!(store.begin(&meta, Some(u64::MAX)).unwrap_err().kind(), ErrorKind::FileTooLarge);
    let mut draft = store.begin(&meta, None).unwrap();
    let refused = (0..40).find_map(|_| draft.append(&[0; 50_000]).err()).unwrap();
    assert_eq!(refused.kind(), ErrorKind::FileTooLarge);
    assert!(draft.written() > MB / 4 && draft.written() <= MB / 2);
    drop(draft);
    store.begin(&meta, Some(MB / 4)).unwrap();
    assert_eq!(store.usage().bytes, 0);
}

#[tokio::test]
async fn a_floor_that_cannot_be_reached_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let store = Disk::open(DiskSettings { free: u64::MAX, ..settings(dir.path(), MB) }).unwrap();
    let refused = store.begin(&meta(key("/a"), b"", &[]), None).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StorageFull);
    assert!(refused.to_string().contains("`free`"), "{refused}");
}

#[tokio::test]
async fn a_store_that_is_emptied_while_it_runs_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("cache");
    let store = open(&dir);
    put(&store, meta(key("/a"), b"1", &[]), b"1").await;
    fs::remove_dir_all(&dir).unwrap();
    assert_eq!(body_of(&store, "/a").await, None);
    assert_eq!(counted(&store).await.objects, 1, "it is not looked for");
    put(&store, meta(key("/a"), b"2", &[]), b"2").await;
    assert_eq!(body_of(&store, "/a").await.unwrap(), b"2");
}

#[tokio::test]
async fn with_fsync_all_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let store = Disk::open(DiskSettings { fsync: true, ..settings(dir.path(), MB) }).unwrap();
    put(&store, meta(key("/a"), b"hello", &[]), b"hello").await;
    assert_eq!(body_of(&store, "/a").await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_lock_is_of_one_key_and_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (open(dir.path()), open(dir.path()));
    let held = one.lock(&key("/a")).await.unwrap();
    other.lock(&key("/b")).await.unwrap();
    let waits = async {
        other.lock(&key("/a")).await.unwrap();
    };
    let first = async {
        tokio::task::yield_now().await;
        let still =
            Lock::attempt(&dir.path().join(LOCKS).join(layout::lock_name(&key("/a")))).unwrap();
        assert!(still.is_none());
        drop(held);
    };
    tokio::join!(waits, first);
}

#[tokio::test]
async fn what_gives_way_or_is_removed_leaves_no_folder_behind() {
    let dir = tempfile::tempdir().unwrap();
    // Without the thread behind it: it makes room when it must.
    let (wake, _woken) = mpsc::sync_channel(1);
    let quota = Arc::new(Quota::new(dir.path().to_owned(), MB, 0, wake));
    let drafts = Drafts::new(dir.path().join(DRAFTS));
    let store = Disk { inner: Arc::new(Inner { quota, drafts, fsync: false }) };
    let of = |own| Key { partition: Partition::Own(own), ..key("/a/b") };
    for own in 0..1000 {
        put(&store, meta(of(own), b"", &[]), b"").await;
    }
    let folders = || fs::read_dir(dir.path().join("objects")).unwrap().count() as u64;
    let left = store.usage().objects;
    assert!((1..1000).contains(&left), "{left}");
    assert_eq!(folders(), left);
    for own in 0..1000 {
        store.remove(&of(own)).await.unwrap();
    }
    assert_eq!(folders(), 0);
}

#[tokio::test]
async fn a_purge_of_many_leaves_no_folder_behind_and_nothing_of_others_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let elsewhere = Key { host: "other.example".into(), ..key("/a/0/0") };
    put(&store, meta(elsewhere.clone(), b"x", &[]), b"x").await;
    let many = 4100;
    for at in 0..many {
        put(&store, meta(key(&format!("/a/{}/{at}", at % 7)), b"x", &[]), b"x").await;
    }
    let purged = store.purge(&Scope::Host("example.org".to_owned())).await.unwrap();
    assert_eq!(purged.objects, many, "more than go at a time");
    let left = counted(&store).await;
    assert_eq!(left.objects, 1);
    assert!(get(&store, &elsewhere, &[]).await.is_some());
    let mut folders = vec![dir.path().join(layout::OBJECTS)];
    while let Some(folder) = folders.pop() {
        assert_ne!(folder.file_name().unwrap(), "a", "{}", folder.display());
        let is_ours = !folder.ends_with("other.example");
        let inside = fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path());
        folders.extend(inside.filter(|path| path.is_dir() && is_ours));
    }
}
