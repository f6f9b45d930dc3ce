//! A model of a body that comes in: whatever the pieces, wherever the disk fails, readers get its bytes.

use http::HeaderMap;
use proptest::prelude::*;

use super::*;
use crate::cache::key::{Key, Partition, Scheme};
use crate::cache::meta::{Meta, Stored};

fn head(length: Option<u64>) -> Arc<Head> {
    let meta = Meta {
        key: Key {
            partition: Partition::Shared,
            scheme: Scheme::Http,
            host: "a.example".into(),
            path: "/".into(),
            query: None,
        },
        kind: Stored::Metadata,
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        request_time: 0,
        response_time: 0,
        vary: Vec::new(),
        length: 0,
        sha256: [0; 32],
    };
    let headers = HeaderMap::new();
    Arc::new(Head { meta, headers, is_shared: true, length, stored: Ok(()), draft: None })
}

/// What one reader got, and whether it came to the end.
async fn read(mut reader: Reader, body: &[u8], from: usize) -> (Vec<u8>, bool) {
    let mut got = Vec::new();
    reader.go_to(from as u64);
    loop {
        match reader.next(None).await {
            Ok(Some(BodyPart::Bytes(bytes))) => got.extend_from_slice(&bytes),
            Ok(Some(BodyPart::File { at, length })) => {
                got.extend_from_slice(&body[at as usize..(at + length) as usize]);
            }
            Ok(None) => return (got, true),
            Err(Broken) => return (got, false),
        }
    }
}

proptest! {
    #[test]
    fn readers_get_the_body_and_its_end_only_after_the_verdict(
        pieces in prop::collection::vec(1usize..5000, 1..40),
        fails in prop::option::of(0usize..40),
        says_length: bool,
        is_whole: bool,
        starts in prop::collection::vec(0usize..100, 1..4),
    ) {
        let length: usize = pieces.iter().sum();
        let body: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (in_flight, first) = InFlightBody::begin();
            let mut readers = vec![(0, first)];
            for start in &starts {
                readers.push((length * start / 100, in_flight.reader().unwrap()));
            }
            in_flight.answer(FlightAnswer::New(head(says_length.then_some(length as u64))));
            let filling = async {
                let mut at = 0;
                for (index, size) in pieces.iter().enumerate() {
                    if fails == Some(index) {
                        in_flight.pass_from(at as u64);
                    }
                    let piece = Bytes::copy_from_slice(&body[at..at + size]);
                    at += size;
                    if fails.is_some_and(|fails| index >= fails) {
                        assert!(in_flight.room().await, "somebody reads");
                        in_flight.pass(piece);
                    } else {
                        in_flight.written(at as u64);
                    }
                    tokio::task::yield_now().await;
                }
                in_flight.end(if is_whole { End::Whole } else { End::Broken });
            };
            let reading = async {
                let mut tasks = tokio::task::JoinSet::new();
                for (from, reader) in readers {
                    let body = body.clone();
                    tasks.spawn(async move { (from, read(reader, &body, from).await) });
                }
                tasks.join_all().await
            };
            let ((), all) = tokio::join!(filling, reading);
            for (from, (got, ended)) in all {
                assert!(body[from..].starts_with(&got));
                assert_eq!(ended, is_whole);
                if is_whole {
                    assert_eq!(got.len(), length - from);
                } else if says_length && from < length {
                    assert!(got.len() < length - from, "the last byte was not held back");
                }
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_has_stopped_is_left_behind_where_it_holds_up_others() {
    let (in_flight, mut stopped) = InFlightBody::begin();
    let mut other = in_flight.reader().unwrap();
    in_flight.answer(FlightAnswer::New(head(None)));
    in_flight.pass_from(0);
    let reading = async {
        let mut got = 0;
        while let Ok(Some(BodyPart::Bytes(bytes))) = other.next(None).await {
            got += bytes.len();
        }
        got
    };
    let filling = async {
        for _ in 0..64 {
            assert!(in_flight.room().await);
            in_flight.pass(Bytes::from(vec![0; 64 * 1024]));
        }
        in_flight.end(End::Whole);
    };
    let (got, ()) = tokio::join!(reading, filling);
    assert_eq!(got, 64 * 64 * 1024);
    assert!(stopped.next(None).await.is_err(), "and does not take the rest for all");
}

/// How much of a body in pieces lies in memory when its only reader has taken so many of them and no more.
async fn held(piece: usize, taken: usize) -> u64 {
    let (in_flight, mut reader) = InFlightBody::begin();
    in_flight.answer(FlightAnswer::New(head(None)));
    in_flight.pass_from(0);
    let filling = async {
        loop {
            assert!(in_flight.room().await);
            in_flight.pass(Bytes::from(vec![0; piece]));
        }
    };
    let reading = async {
        for _ in 0..taken {
            reader.next(None).await.unwrap();
        }
        // What it has taken last is still its own.
        tokio::time::sleep(STOPPED * 10).await;
    };
    tokio::select! {
        () = filling => {}
        () = reading => {}
    }
    let passage = in_flight.passage();
    passage.pieces.iter().map(|piece| piece.len() as u64).sum()
}

#[tokio::test(start_paused = true)]
async fn what_lies_in_memory_for_a_reader_follows_what_it_takes() {
    const PIECE: usize = 4 * 1024;
    for (taken, most) in [(0, 16), (1, 16), (17, 4), (32, 4), (64, 12), (200, 32), (2000, 512)] {
        let held = held(PIECE, taken).await;
        assert!(held <= most * 1024, "{taken}: {held}");
    }
    assert!(held(PIECE, 2000).await > 128 * 1024, "one that takes much waits for nothing");
}
