//! What a million objects cost: tests that print figures, to be run one by one in a release build.
//!
//! `cargo test --release --lib -- --ignored --nocapture --test-threads=1 measure`

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::index::Index;
use super::{Disk, DiskSettings, Store, layout};
use crate::cache::key::{Key, Partition, Scheme};

const OBJECTS: u64 = 1_000_000;

/// Paths as package indexes have them.
fn path(n: u64) -> String {
    let hash = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let version = format!("{}.{}.{}", n % 7, n % 23, n % 11);
    match n % 4 {
        0 => format!(
            "/dists/pool/main/p/package-{0:05}/package-{0:05}_{version}-1_amd64.deb",
            n / 40
        ),
        1 => format!("/@scope{}/package-{:05}/-/package-{1:05}-{version}.tgz", n % 97, n / 40),
        2 => format!(
            "/packages/{:02x}/{:02x}/{hash:016x}{hash:016x}{hash:016x}{:012x}/package_{:05}-{version}-py3-none-any.whl",
            hash & 255,
            hash >> 8 & 255,
            hash >> 16,
            n / 40
        ),
        _ => format!("/crates/package-{0:05}/package-{0:05}-{version}.crate", n / 40),
    }
}

fn key(n: u64) -> Key {
    Key {
        partition: Partition::Shared,
        scheme: Scheme::Https,
        host: format!("files-{}.example.org", n % 4).into(),
        path: path(n).into(),
        query: None,
    }
}

fn place(n: u64) -> String {
    format!("{}{}", layout::place(&key(n)), layout::OBJECT)
}

fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Of this process so far, in ms.
fn processor() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(") ").next().unwrap().split(' ').skip(11).take(2);
    fields.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum()
}

#[test]
#[ignore = "prints figures"]
fn memory_of_an_object() {
    let mean = (0..OBJECTS / 10).map(|n| place(n).len() as u64).sum::<u64>() / (OBJECTS / 10);
    let before = resident();
    let mut index = Index::new(OBJECTS * 100_000);
    for n in 0..OBJECTS {
        index.insert(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), &place(n), 100_000);
    }
    let stored = (resident() - before) / OBJECTS;
    for n in OBJECTS..2 * OBJECTS {
        index.evict().unwrap();
        index.insert(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), &place(n), 100_000);
    }
    let replaced = (resident() - before) / OBJECTS;
    println!(
        "a place has {mean} bytes; an object takes {stored} bytes of memory, {replaced} after all were replaced"
    );
    assert!(stored <= 150 && replaced <= 150);
    assert_eq!(index.objects(), OBJECTS);
}

#[tokio::test]
#[ignore = "prints figures; makes a million files below MEASURE_DIR"]
async fn a_scan() {
    let dir = PathBuf::from(std::env::var("MEASURE_DIR").expect("MEASURE_DIR"));
    if !dir.join("objects").exists() {
        for n in 0..OBJECTS {
            let path = dir.join(place(n));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            File::create(path).unwrap();
        }
    }
    let before = resident();
    let used = processor();
    let begun = Instant::now();
    let store = Disk::open(DiskSettings { dir, size: 1 << 50, free: 0, fsync: false }).unwrap();
    let asked = key(OBJECTS / 2);
    let (mut finds, mut slowest) = (0u64, 0);
    while store.usage().scanning {
        let find = Instant::now();
        store.find(&asked, &|_| Vec::new()).await.unwrap();
        slowest = slowest.max(find.elapsed().as_micros());
        finds += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = begun.elapsed();
    let objects = store.usage().objects;
    println!(
        "{objects} objects in {took:?} ({} ms of processor time); meanwhile {finds} finds, the slowest {slowest} us; {} bytes an object",
        processor() - used,
        (resident() - before) / objects
    );
}
