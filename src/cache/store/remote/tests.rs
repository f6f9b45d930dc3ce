//! Against a server that speaks S3, which `scripts/test-s3.sh` starts. The environment says where.

use aws_lc_rs::digest::digest;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::*;
use crate::cache::key::{Partition, Scheme};
use crate::cache::meta::Stored as Kind;

/// Two hosts that share a bucket, in which each test has its own folder.
struct Hosts {
    one: Remote,
    other: Remote,
    _dir: tempfile::TempDir,
}

impl Hosts {
    fn new(test: &str) -> Hosts {
        let bucket = std::env::var("DOCKGATE_TEST_S3").expect("DOCKGATE_TEST_S3=s3://bucket");
        let dir = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            let size = 64 << 20;
            let drafts = DiskSettings { dir: dir.path().join(name), size, free: 0, fsync: false };
            Remote::open(&format!("{bucket}/{test}/{}", std::process::id()), drafts).unwrap()
        };
        Hosts { one: open("one"), other: open("other"), _dir: dir }
    }
}

fn key(path: &str) -> Key {
    Key {
        partition: Partition::Shared,
        scheme: Scheme::Https,
        host: "example.org:8443".into(),
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
        vary: vary.iter().map(|(name, value)| ((*name).into(), value.map(Into::into))).collect(),
        length: body.len() as u64,
        sha256: digest(&SHA256, body).as_ref().try_into().unwrap(),
    }
}

async fn put(store: &Remote, meta: Meta, body: &[u8]) -> StoredResponse {
    let mut draft = store.begin(&meta, Some(meta.length)).unwrap();
    draft.append(body).unwrap();
    store.commit(draft, meta).await.unwrap()
}

/// With this value in every field that is asked for.
async fn find(store: &Remote, key: &Key, value: Option<&'static str>) -> Option<StoredResponse> {
    let vary = |names: &[HeaderName]| {
        names.iter().map(|name| (name.to_string(), value.map(str::to_owned))).collect()
    };
    store.find(key, &vary).await.unwrap()
}

async fn body(found: &StoredResponse, range: Range<u64>) -> io::Result<Bytes> {
    match &found.body {
        Body::Remote(body) => body.read(range).await,
        Body::File { file, start } => {
            let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
            file.read_exact_at(&mut bytes, start + range.start).map(|()| bytes.into())
        }
    }
}

async fn whole(store: &Remote, key: &Key, value: Option<&'static str>) -> Option<Vec<u8>> {
    let found = find(store, key, value).await?;
    Some(body(&found, 0..found.meta.length).await.unwrap().to_vec())
}

#[tokio::test]
#[ignore = "needs an S3 server: scripts/test-s3.sh"]
async fn what_one_host_commits_another_finds() {
    let hosts = Hosts::new("commits");
    let large: Vec<u8> = (0..PIECE + 3_000_000).map(|at| (at % 251) as u8).collect();
    for (path, bytes) in [("/", &large[..10]), ("/@a%2fb/c,o", b""), ("/large", &large)] {
        assert!(find(&hosts.other, &key(path), None).await.is_none());
        let committed = put(&hosts.one, meta(key(path), bytes, &[]), bytes).await;
        assert_eq!(body(&committed, 0..committed.meta.length).await.unwrap(), bytes);
        let found = find(&hosts.other, &key(path), None).await.unwrap();
        assert_eq!(found.meta, committed.meta);
        assert_eq!(body(&found, 0..found.meta.length).await.unwrap(), bytes, "{path}");
    }
    let found = find(&hosts.other, &key("/large"), None).await.unwrap();
    for range in [0..1, 0..60_000, 61_000..62_000, 8_000_000..8_000_001] {
        let slice = &large[range.start as usize..range.end as usize];
        assert_eq!(body(&found, range).await.unwrap(), slice);
    }
    let end = large.len() as u64;
    assert!(body(&found, end - 1..end + 1).await.is_err());
    assert_eq!(hosts.one.usage().bytes, 0, "nothing stays in the directory");
}

#[tokio::test]
#[ignore = "needs an S3 server: scripts/test-s3.sh"]
async fn pieces_are_of_one_object() {
    let hosts = Hosts::new("pieces");
    let (old, new) = (vec![1; 200_000], vec![2; 200_000]);
    put(&hosts.one, meta(key("/a"), &old, &[]), &old).await;
    let found = find(&hosts.other, &key("/a"), None).await.unwrap();
    assert_eq!(body(&found, 100_000..100_001).await.unwrap(), &[1][..]);
    put(&hosts.one, meta(key("/a"), &new, &[]), &new).await;
    assert!(body(&found, 100_000..100_001).await.is_err(), "it is another object's byte");
    assert_eq!(whole(&hosts.other, &key("/a"), None).await.unwrap(), new);
}

#[tokio::test]
#[ignore = "needs an S3 server: scripts/test-s3.sh"]
async fn variants_refreshes_and_removals_are_those_of_a_directory() {
    let hosts = Hosts::new("variants");
    let (one, other) = (&hosts.one, &hosts.other);
    put(one, meta(key("/a"), b"0", &[]), b"0").await;
    put(one, meta(key("/a"), b"de", &[("accept-language", Some("de"))]), b"de").await;
    put(other, meta(key("/a"), b"any", &[("accept-language", None)]), b"any").await;
    for (value, expected) in [(Some("de"), Some("de")), (None, Some("any")), (Some("fr"), None)] {
        let found = whole(one, &key("/a"), value).await;
        assert_eq!(found, expected.map(|body| body.as_bytes().to_vec()), "{value:?}");
    }

    let found = find(one, &key("/a"), Some("de")).await.unwrap();
    let newer = Meta { response_time: 9, ..(*found.meta).clone() };
    assert_eq!(*one.refresh(&found, newer.clone()).await.unwrap().meta, newer);
    assert_eq!(*find(other, &key("/a"), Some("de")).await.unwrap().meta, newer);

    let own = Key { partition: Partition::Own(7), ..key("/a") };
    put(one, meta(own.clone(), b"own", &[]), b"own").await;
    assert_eq!(other.remove(&key("/a")).await.unwrap(), 2);
    assert_eq!(other.remove(&key("/a")).await.unwrap(), 0);
    assert_eq!(other.remove_everywhere(&key("/a")).await.unwrap(), 1);
    assert!(find(one, &own, None).await.is_none());
    one.refresh(&found, newer).await.unwrap();
    assert!(find(one, &key("/a"), Some("de")).await.is_none(), "it is not stored again");
}

#[tokio::test]
#[ignore = "needs an S3 server: scripts/test-s3.sh"]
async fn it_is_listed_verified_and_purged_by_scope() {
    let hosts = Hosts::new("listed");
    for n in 0..7 {
        put(&hosts.one, meta(key(&format!("/%41/{n}")), b"hello", &[]), b"hello").await;
    }
    let other = Key { host: "other".into(), ..key("/b") };
    put(&hosts.one, meta(other, b"hello", &[("accept", None)]), b"hello").await;
    let (mut seen, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = hosts.other.list(&Scope::Everything, after.as_deref(), 3).await.unwrap();
        assert!(page.items.len() <= 3);
        seen.extend(page.items.into_iter().map(|item| item.key.to_string()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut expected: Vec<String> =
        (0..7).map(|n| format!("https://example.org:8443/%41/{n}")).collect();
    expected.push("https://other/b".to_owned());
    seen.sort_unstable();
    assert_eq!(seen, expected);

    let place = |n: u32| Path::from(format!("{},o", layout::place(&key(&format!("/%41/{n}")))));
    let bytes = hosts.one.bucket.get(&place(1)).await.unwrap().bytes().await.unwrap();
    let mut damaged = bytes.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    hosts.one.bucket.put(&place(1), damaged.into()).await.unwrap();
    hosts.one.bucket.put(&place(2), bytes.slice(..bytes.len() - 1).into()).await.unwrap();
    hosts.one.bucket.put(&place(3), "something".into()).await.unwrap();
    let page = hosts.other.verify(&Scope::Everything, None, 100).await.unwrap();
    let wrong: Vec<Damage> = page.items.into_iter().filter_map(|item| item.wrong).collect();
    assert_eq!(wrong, [Damage::Digest, Damage::Length { stored: 4 }, Damage::Head]);
    assert!(find(&hosts.one, &key("/%41/2"), None).await.is_none());

    let prefix = Scope::Prefix("https://example.org:8443/%41/5".to_owned());
    assert_eq!(hosts.one.purge(&prefix).await.unwrap().objects, 1 + 2, "and what has no head");
    assert_eq!(hosts.one.purge(&Scope::Host("other".to_owned())).await.unwrap().objects, 1);
    assert_eq!(hosts.one.purge(&Scope::Everything).await.unwrap().objects, 4);
    assert!(hosts.one.list(&Scope::Everything, None, 9).await.unwrap().items.is_empty());
}
