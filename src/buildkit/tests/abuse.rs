//! What attackers of HTTP/2 servers say, by the classes of what was found in them: each is cut off or answered
//! within bounds, and others are served as before.

use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

use super::frames::*;
use super::support::Setting;
use crate::buildkit::terminate::{H2Limits, OpenAlready, serve};
use crate::wire::io::{HyperStream, Stream};

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const ENHANCE_YOUR_CALM: u32 = 11;

fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, &block(fields))
}

fn with(fields: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [CALL, fields].concat()
}

async fn others_work() {
    Setting::default().start().await.works().await;
}

#[tokio::test]
async fn a_well_formed_call_is_answered() {
    let told = told(&headers(1, END_STREAM, CALL)).await;
    assert!(told.is_answered(1) && told.goaway().is_none(), "{told:?}");
}

#[tokio::test]
async fn heads_that_are_malformed_are_no_requests() {
    let swapped = [("x", "y")].iter().chain(CALL).copied().collect::<Vec<_>>();
    let without = |name: &str| CALL.iter().filter(|f| f.0 != name).copied().collect::<Vec<_>>();
    for fields in [
        with(&[("X-Upper", "x")]),
        with(&[("connection", "close")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("keep-alive", "1")]),
        with(&[("proxy-connection", "x")]),
        with(&[("upgrade", "h2c")]),
        with(&[("te", "gzip")]),
        with(&[("", "empty name")]),
        with(&[("a b", "x")]),
        with(&[("x", "a\r\nb")]),
        with(&[("x", "a\0b")]),
        with(&[(":path", "/other")]),
        with(&[(":unknown", "x")]),
        with(&[(":status", "200")]),
        with(&[(":protocol", "websocket")]),
        with(&[("content-length", "1"), ("content-length", "2")]),
        with(&[("content-length", "-1")]),
        swapped,
        without(":method"),
        without(":path"),
        without(":scheme"),
        [&[(":method", "GET")], CALL].concat(),
        [&[(":path", "")], without(":path").as_slice()].concat(),
    ] {
        let told = told(&headers(1, END_STREAM, &fields)).await;
        let cut = told.reset(1).or(told.goaway());
        assert!(cut.is_some_and(|code| code != 0) && !told.is_answered(1), "{fields:?}: {told:?}");
    }
    others_work().await;
}

#[tokio::test]
async fn fields_at_the_end_name_no_request_and_no_connection() {
    let ends_with = async |fields| {
        let (mut client, mut engine) = raw_with_engine().await;
        let mut said = PREFACE.to_vec();
        said.extend(frame(SETTINGS, 0, 0, &[]));
        said.extend(headers(1, 0, CALL));
        said.extend(frame(DATA, 0, 1, &[0; 5]));
        tell(&mut client, &said).await;
        let (mut seen, _respond) = engine.recv().await.unwrap();
        let told = tell(&mut client, &headers(1, END_STREAM, &[fields])).await;
        while let Some(Ok(_)) = seen.body_mut().data().await {}
        (told, seen.body_mut().trailers().await)
    };
    for fields in [("connection", "close"), ("te", "gzip"), ("X-Upper", "x")] {
        let (told, seen) = ends_with(fields).await;
        let cut = told.reset(1).or(told.goaway());
        assert!(cut.is_some_and(|code| code != 0) && seen.is_err(), "{fields:?}: {told:?}");
    }
    // h2 takes these off.
    for fields in [(":path", "/x"), (":status", "200")] {
        let (told, seen) = ends_with(fields).await;
        let is_nothing = seen.is_ok_and(|fields| fields.is_none_or(|fields| fields.is_empty()));
        assert!(told.reset(1).or(told.goaway()).is_some() || is_nothing, "{fields:?}");
    }
    others_work().await;
}

#[tokio::test]
async fn a_body_is_as_long_as_its_length_says() {
    for (length, sent) in [("4", 5), ("6", 5), ("0", 5)] {
        let mut said = headers(1, 0, &with(&[("content-length", length)]));
        said.extend(frame(DATA, END_STREAM, 1, &vec![0; sent]));
        assert_eq!(told(&said).await.reset(1), Some(PROTOCOL_ERROR), "{length}");
    }
}

#[tokio::test]
async fn the_preface_may_come_byte_by_byte() {
    let mut client = raw(Default::default());
    let mut said = PREFACE.to_vec();
    said.extend(frame(SETTINGS, 0, 0, &[]));
    said.extend(headers(1, END_STREAM, CALL));
    for byte in said {
        tokio::io::AsyncWriteExt::write_all(&mut client, &[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(tell(&mut client, &[]).await.is_answered(1));
}

#[tokio::test]
async fn what_is_no_preface_is_not_waited_for() {
    let mut client = raw(Default::default());
    let told = tell(&mut client, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(told.is_closed);
}

#[tokio::test]
async fn the_table_of_fields_stays_as_large_as_was_agreed() {
    // RFC 7541 §6.3: 4097, one more than the default, which is what we promise.
    let mut grown = vec![0x3f, 0xe2, 0x1f];
    grown.extend(block(CALL));
    let cut = told(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &grown)).await;
    assert!(cut.goaway().is_some_and(|code| code != 0), "{cut:?}");
    // Within bounds any number of changes is legal, where they stand first.
    let mut changed = [[0x20; 1].as_slice(), &[0x3f, 0xe1, 0x1f]].concat().repeat(1000);
    changed.extend(block(CALL));
    let kept = told(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &changed)).await;
    assert!(kept.is_answered(1) || kept.goaway().is_some(), "{kept:?}");
    let mut late = block(CALL);
    late.push(0x20);
    let cut = told(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &late)).await;
    assert!(cut.goaway().is_some_and(|code| code != 0), "{cut:?}");
    others_work().await;
}

#[tokio::test]
async fn a_head_without_an_end_is_cut_off() {
    let field = [("x-long", "0123456789012345678901234567890123456789")];
    let part = block(&field).repeat(300);
    let mut said = frame(HEADERS, 0, 1, &block(CALL));
    for _ in 0..100 {
        said.extend(frame(CONTINUATION, 0, 1, &part));
    }
    let told = told(&said).await;
    assert!(told.is_closed && told.goaway().is_some(), "{told:?}");
    // Empty ones, of which nothing adds up.
    let mut said = frame(HEADERS, 0, 1, &block(CALL));
    said.extend(frame(CONTINUATION, 0, 1, &[]).repeat(100_000));
    let told = super::frames::told(&said).await;
    assert!(told.is_closed && told.goaway().is_some(), "{told:?}");
    others_work().await;
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused_and_the_connection_goes_on() {
    let long = "y".repeat(120);
    let fields = (0..600).map(|_| ("x-long", long.as_str())).collect::<Vec<_>>();
    let all = block(&[CALL, &fields].concat());
    let mut parts = all.chunks(16_000);
    let mut said = frame(HEADERS, END_STREAM, 1, parts.next().unwrap());
    let rest = parts.collect::<Vec<_>>();
    for (n, part) in rest.iter().enumerate() {
        let flags = if n + 1 == rest.len() { END_HEADERS } else { 0 };
        said.extend(frame(CONTINUATION, flags, 1, part));
    }
    said.extend(headers(3, END_STREAM, CALL));
    let told = told(&said).await;
    assert!(told.is_answered(3) && told.goaway().is_none(), "{:?}", told.frames.len());
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let mut said = Vec::new();
    for n in 0..1000 {
        said.extend(headers(2 * n + 1, 0, CALL));
        said.extend(frame(RST_STREAM, 0, 2 * n + 1, &8u32.to_be_bytes()));
    }
    let told = told(&said).await;
    assert_eq!((told.goaway(), told.is_closed), (Some(ENHANCE_YOUR_CALM), true));
    others_work().await;
}

#[tokio::test]
async fn streams_made_to_be_reset_by_us_end_the_connection() {
    let mut said = Vec::new();
    for n in 0..1000 {
        said.extend(headers(2 * n + 1, 0, CALL));
        // A window that grows by nothing is an error of its stream (RFC 9113 §6.9).
        said.extend(frame(WINDOW_UPDATE, 0, 2 * n + 1, &0u32.to_be_bytes()));
    }
    let told = told(&said).await;
    assert!(told.is_closed && told.goaway().is_some(), "{:?}", told.goaway());
    others_work().await;
}

#[tokio::test]
async fn windows_do_not_overflow() {
    let most = 0x7fff_ffffu32.to_be_bytes();
    let cut = told(&frame(WINDOW_UPDATE, 0, 0, &most)).await;
    assert_eq!(cut.goaway(), Some(FLOW_CONTROL_ERROR));
    let mut said = headers(1, 0, CALL);
    said.extend(frame(WINDOW_UPDATE, 0, 1, &most));
    assert_eq!(told(&said).await.reset(1), Some(FLOW_CONTROL_ERROR));
    // A first window beyond 2^31-1 (RFC 9113 §6.5.2), and a change that takes one beyond.
    let first = |size: u32| {
        let setting = [&4u16.to_be_bytes()[..], &size.to_be_bytes()].concat();
        frame(SETTINGS, 0, 0, &setting)
    };
    let cut = told(&first(0x8000_0000)).await;
    assert!(cut.goaway().is_some_and(|code| code != 0), "{cut:?}");
    let mut said = headers(1, 0, CALL);
    said.extend(frame(WINDOW_UPDATE, 0, 1, &65_535u32.to_be_bytes()));
    said.extend(first(0x7fff_ffff));
    let cut = told(&said).await;
    assert!(cut.goaway().is_some() || cut.reset(1).is_some(), "{cut:?}");
    others_work().await;
}

#[tokio::test]
async fn the_first_window_may_change_all_the_time() {
    let mut said = headers(1, 0, CALL);
    for n in 0..10_000u32 {
        let size = if n % 2 == 0 { 0 } else { 0x7fff_0000u32 };
        let setting = [&4u16.to_be_bytes()[..], &size.to_be_bytes()].concat();
        said.extend(frame(SETTINGS, 0, 0, &setting));
    }
    said.extend(headers(3, END_STREAM, CALL));
    let told = told(&said).await;
    assert!(told.is_answered(3) && told.goaway().is_none());
}

#[tokio::test]
async fn priorities_mean_nothing() {
    let mut said = frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 16]).repeat(10_000);
    said.extend(headers(1, END_STREAM, CALL));
    let kept = told(&said).await;
    assert!(kept.is_answered(1) && kept.goaway().is_none());
    // Of itself: an error of its stream (RFC 9113 §5.3.1).
    let cut = told(&frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 16])).await;
    assert!(cut.reset(1).or(cut.goaway()).is_some(), "{cut:?}");
}

#[tokio::test]
async fn who_floods_and_reads_nothing_is_not_read_any_more() {
    for flood in [frame(PING, 0, 0, b"flooding"), frame(SETTINGS, 0, 0, &[])] {
        let mut client = raw(Default::default());
        let mut said = PREFACE.to_vec();
        said.extend(frame(SETTINGS, 0, 0, &[]));
        tokio::io::AsyncWriteExt::write_all(&mut client, &said).await.unwrap();
        let flood = flood.repeat(1000);
        let (mut taken, mut idle, mut at) = (0, 0, 0);
        while idle < 100 {
            match client.try_write(&flood[at..]) {
                Ok(n) => (taken, idle, at) = (taken + n, 0, (at + n) % flood.len()),
                Err(_) => idle += 1,
            }
            assert!(taken < 8 << 20, "no end");
            tokio::task::yield_now().await;
        }
    }
    others_work().await;
}

// The clock goes on by itself whenever nothing else is left to do.
#[tokio::test(start_paused = true)]
async fn who_floods_and_reads_nothing_is_cut_where_its_socket_has_a_patience() {
    let (ours, client) = tokio::net::UnixStream::pair().unwrap();
    let (judge, _ended) = Setting::default().judge();
    let serving = tokio::spawn(async move {
        let mut stream = Stream::new(ours.into_std().unwrap().into()).unwrap();
        let io = HyperStream::new(&mut stream, Vec::new(), Duration::from_secs(10));
        let (nobody, drain) = (OpenAlready(None), CancellationToken::new());
        let server = Box::new(TokioIo::new(io));
        serve(server, Box::new(nobody), judge, &drain, H2Limits::default()).await;
    });
    let mut said = PREFACE.to_vec();
    said.extend(frame(SETTINGS, 0, 0, &[]));
    said.extend(frame(PING, 0, 0, b"flooding").repeat(200_000));
    let (mut at, mut idle) = (0, 0);
    while at < said.len() && idle < 100 {
        match client.try_write(&said[at..]) {
            Ok(n) => (at, idle) = (at + n, 0),
            Err(_) => idle += 1,
        }
        tokio::task::yield_now().await;
    }
    assert!(at < said.len(), "all of it was taken");
    serving.await.unwrap();
}
