//! Two processes share a store and are killed at any point; afterwards all that is stored is whole.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

const ROUNDS: u64 = 100;
/// Of what a run must have seen: more rounds, where the machine is too busy for it in so few.
const MOST_ROUNDS: u64 = 100 * ROUNDS;
/// What only a hang reaches.
const PATIENCE: Duration = Duration::from_secs(120);
const DIR: &str = "DOCKGATE_TEST_KILLED_DIR";
const SEED: &str = "DOCKGATE_TEST_KILLED_SEED";

fn mixed(n: u64) -> u64 {
    let x = (n.wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 16
}

fn body(seed: u64) -> Vec<u8> {
    (0..mixed(seed) % 60_000).map(|at| (seed ^ at) as u8).collect()
}

fn small(dir: &Path) -> Disk {
    Disk::open(settings(dir, 2 * MB)).unwrap()
}

#[tokio::test]
#[ignore = "the process that is killed: started by the test below"]
async fn one_that_is_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let first: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    let store = small(Path::new(&dir));
    for seed in first.. {
        let path = format!("/{}/{}", seed % 3, mixed(seed) % 40);
        let language = (seed % 4).to_string();
        let vary = [("accept-language", Some(language.as_str()))];
        let vary = if path.ends_with('3') { &vary[..] } else { &[] };
        let body = body(seed);
        let mut meta = meta(key(&path), &body, vary);
        meta.headers.insert("x-seed", HeaderValue::from(seed));
        let Ok(mut draft) = store.begin(&meta, (seed % 2 == 0).then_some(meta.length)) else {
            continue;
        };
        if body.chunks(7000).any(|piece| draft.append(piece).is_err()) {
            continue;
        }
        let found = store.commit(draft, meta.clone()).await.unwrap();
        for time in 0..seed % 5 {
            meta.response_time = time;
            store.refresh(&found, meta.clone()).await.unwrap();
        }
        if seed % 7 == 0 {
            store.remove(&key(&format!("/{}/{}", seed % 3, seed % 40))).await.unwrap();
        }
    }
}

fn start(dir: &Path, seed: u64) -> Child {
    // The names of tests are without the crate's.
    let (_, module) = module_path!().split_once("::").unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", &format!("{module}::one_that_is_killed")])
        .env(DIR, dir)
        .env(SEED, seed.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn killed_at_any_point_all_that_is_stored_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let tmp = dir.path().join(DRAFTS);
    let (mut stored, mut drafts) = (0, 0);
    for round in 0..MOST_ROUNDS {
        if round >= ROUNDS && stored > 500 && drafts > 25 {
            return;
        }
        let mut children = [0, 1].map(|n| start(dir.path(), (round * 2 + n) * 1_000_000));
        // Each of them has a folder for its drafts as soon as it begins.
        let began = Instant::now();
        while fs::read_dir(&tmp).map_or(0, Iterator::count) < children.len() {
            assert!(began.elapsed() < PATIENCE, "they never begin");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(8 + mixed(round) % 24)).await;
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let left = fs::read_dir(&tmp).into_iter().flatten().flatten();
        let left = left.flat_map(|own| fs::read_dir(own.path()).unwrap()).flatten();
        drafts += left.filter(|file| file.file_name() != "lock").count();
        let store = small(dir.path());
        assert_eq!(fs::read_dir(&tmp).map_or(0, Iterator::count), 0, "drafts are swept");
        let page = store.verify(&Scope::Everything, None, usize::MAX).await.unwrap();
        for item in &page.items {
            assert_eq!(item.wrong, None, "{} in round {round}", item.name);
        }
        stored += page.items.len();
        for item in store.list(&Scope::Everything, None, usize::MAX).await.unwrap().items {
            let fields: Vec<(&str, &str)> = item
                .vary
                .iter()
                .filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)))
                .collect();
            let Some((meta, found)) = get(&store, &item.key, &fields).await else { continue };
            let seed: u64 = meta.headers["x-seed"].to_str().unwrap().parse().unwrap();
            assert_eq!(found, body(seed), "round {round}");
        }
    }
    panic!("{stored} objects and {drafts} drafts were seen");
}
