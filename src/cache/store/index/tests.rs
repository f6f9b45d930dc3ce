//! Tests of the store's `index`.

use std::collections::{HashMap, VecDeque};

use proptest::prelude::*;

use super::*;

/// As far from each other as the hashes of places.
fn id(n: u64) -> u64 {
    let mut x = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn place(n: u64) -> String {
    format!("objects/shared/https/h/{n},o")
}

fn insert(index: &mut Index, n: u64, bytes: u64) {
    index.insert(id(n), &place(n), bytes);
}

/// What gives way, in order, until nothing is left.
fn victims(index: &mut Index) -> Vec<String> {
    std::iter::from_fn(|| index.evict()).map(|victim| victim.place).collect()
}

#[test]
fn what_was_never_used_again_gives_way_first() {
    let mut index = Index::new(10 * BLOCK);
    for n in 0..10 {
        insert(&mut index, n, BLOCK);
    }
    for n in [0, 3, 9] {
        index.touch(id(n));
    }
    let order = [1, 2, 4, 5, 6, 7, 8, 0, 3, 9].map(place);
    let gone = victims(&mut index);
    assert_eq!(gone.len(), 10);
    assert_eq!(gone[..7], order[..7]);
    assert_eq!((index.objects(), index.bytes()), (0, 0));
}

#[test]
fn what_comes_back_soon_stays_longer() {
    let mut index = Index::new(100 * BLOCK);
    for n in 0..100 {
        insert(&mut index, n, BLOCK);
    }
    assert_eq!(index.evict().unwrap().place, place(0));
    insert(&mut index, 0, BLOCK);
    for n in 100..189 {
        assert_ne!(index.evict().unwrap().place, place(0));
        insert(&mut index, n, BLOCK);
    }
}

#[test]
fn one_eviction_is_short_whatever_was_used() {
    let mut index = Index::new(0);
    for n in 0..100_000 {
        insert(&mut index, n, BLOCK);
        (0..3).for_each(|_| index.touch(id(n)));
    }
    // All have three more chances: without a bound this would be 300,000 steps.
    assert_eq!(index.evict().unwrap().place, place(u64::from(MOST_CHANCES) - 1));
}

#[test]
fn an_object_of_another_size_is_the_same_object() {
    let mut index = Index::new(1 << 30);
    insert(&mut index, 1, 1);
    insert(&mut index, 1, 3 * BLOCK + 1);
    index.insert_old(id(1), &place(1), BLOCK);
    assert_eq!((index.objects(), index.bytes()), (1, 4 * BLOCK));
    assert!(index.remove(id(1)) && !index.remove(id(1)) && !index.contains(id(1)));
    assert_eq!((index.objects(), index.bytes()), (0, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64, u64),
    InsertOld(u64, u64),
    Remove(u64),
    Renew(u64),
    Touch(u64),
    Evict,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0u64..20, 0u64..20_000).prop_map(|(n, bytes)| Step::Insert(n, bytes)),
        (0u64..20, 0u64..20_000).prop_map(|(n, bytes)| Step::InsertOld(n, bytes)),
        (0u64..20).prop_map(Step::Remove),
        (0u64..20).prop_map(Step::Renew),
        (0u64..20).prop_map(Step::Touch),
        Just(Step::Evict),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn it_holds_what_a_map_would(steps in steps()) {
        let mut index = Index::new(8 * BLOCK);
        let mut model: HashMap<String, u64> = HashMap::new();
        for step in steps {
            match step {
                Step::Insert(n, bytes) => {
                    insert(&mut index, n, bytes);
                    model.insert(place(n), bytes.div_ceil(BLOCK) * BLOCK);
                }
                Step::InsertOld(n, bytes) => {
                    index.insert_old(id(n), &place(n), bytes);
                    model.entry(place(n)).or_insert(bytes.div_ceil(BLOCK) * BLOCK);
                }
                Step::Remove(n) => {
                    prop_assert_eq!(index.remove(id(n)), model.remove(&place(n)).is_some());
                }
                Step::Renew(n) => index.renew(id(n)),
                Step::Touch(n) => index.touch(id(n)),
                Step::Evict => match index.evict() {
                    Some(victim) => prop_assert!(model.remove(&victim.place).is_some()),
                    None => prop_assert!(model.is_empty()),
                },
            }
            prop_assert_eq!(index.objects(), model.len() as u64);
            prop_assert_eq!(index.bytes(), model.values().sum::<u64>());
            prop_assert!((0..20).all(|n| index.contains(id(n)) == model.contains_key(&place(n))));
        }
        prop_assert_eq!(victims(&mut index).len(), model.len());
    }
}

/// Requests for `objects` with the popularity of the n-th as 1/n^s, and every fifth for something
/// that is never asked for again, as versions of packages are that one job in a week needs.
fn zipf(objects: u64, exponent: f64, requests: usize) -> impl Iterator<Item = u64> {
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=objects)
        .map(|n| {
            sum += (n as f64).powf(-exponent);
            sum
        })
        .collect();
    (0..requests as u64).map(move |at| {
        if at % 5 == 4 {
            return objects + at;
        }
        let random = (id(at) >> 11) as f64 / (1u64 << 53) as f64 * sum;
        sums.partition_point(|upto| *upto < random) as u64
    })
}

/// In blocks, 1 to 64.
fn size(n: u64) -> u64 {
    1 + id(n ^ 0x5555) % 64
}

fn misses_of_s3_fifo(limit: u64, requests: impl Iterator<Item = u64>) -> usize {
    let mut index = Index::new(limit * BLOCK);
    let missed = requests.filter(|n| {
        if index.contains(id(*n)) {
            index.touch(id(*n));
            return false;
        }
        while index.bytes() + size(*n) * BLOCK > limit * BLOCK {
            index.evict().unwrap();
        }
        insert(&mut index, *n, size(*n) * BLOCK);
        true
    });
    missed.count()
}

fn misses_of_lru(limit: u64, requests: impl Iterator<Item = u64>) -> usize {
    let (mut last, mut order, mut used) = (HashMap::new(), VecDeque::new(), 0);
    let missed = (0u64..).zip(requests).filter(|(now, n)| {
        order.push_back((*n, *now));
        if last.insert(*n, *now).is_some() {
            return false;
        }
        used += size(*n);
        while used > limit {
            let (oldest, when) = order.pop_front().unwrap();
            if last.get(&oldest) == Some(&when) {
                last.remove(&oldest);
                used -= size(oldest);
            }
        }
        true
    });
    missed.count()
}

#[test]
fn fewer_requests_miss_than_with_lru() {
    const REQUESTS: usize = 60_000;
    const OBJECTS: u64 = 5_000;
    let all: u64 = (0..OBJECTS).map(size).sum();
    for exponent in [0.8, 1.2] {
        for percent in [1, 10, 30] {
            let limit = all * percent / 100;
            let trace = || zipf(OBJECTS, exponent, REQUESTS);
            let (ours, lru) = (misses_of_s3_fifo(limit, trace()), misses_of_lru(limit, trace()));
            let hits = |misses: usize| 100.0 - 100.0 * misses as f64 / REQUESTS as f64;
            println!(
                "zipf {exponent}, {percent} %: S3-FIFO {:.1} % hits, LRU {:.1} %",
                hits(ours),
                hits(lru)
            );
            assert!(ours < lru, "zipf {exponent}, {percent} %: {ours} misses against {lru}");
        }
    }
}
