//! What the terminator holds, and for how long: windows end to end, messages, patience.

use bytes::Bytes;
use futures_util::FutureExt as _;
use h2::Reason;
use tokio::time::Duration;

use super::frames::{PREFACE, SETTINGS, frame, raw, tell};
use super::support::{Between, Setting, all, grpc_head, request, status};
use crate::buildkit::messages::framed;
use crate::buildkit::terminate::{H2Limits, H2Reply, Judged, ReadsMessages};

/// Sends as long as there is room; how much that was when everybody else has come to rest.
async fn fill(sink: &mut h2::SendStream<Bytes>) -> usize {
    let (mut sent, mut idle) = (0, 0);
    while idle < 50 {
        sink.reserve_capacity(16 * 1024);
        match sink.capacity() {
            0 => idle += 1,
            room => {
                idle = 0;
                sent += room;
                sink.send_data(vec![0; room].into(), false).unwrap();
            }
        }
        tokio::task::yield_now().await;
    }
    sent
}

#[tokio::test]
async fn who_is_not_read_is_not_taken_more_from_than_the_windows_hold() {
    let mut between = Setting::default().start().await;
    let (answer, mut asking) = between.call("/a.B/C").await;
    let (mut seen, mut respond) = between.engine_sees().await;
    let limits = H2Limits::default();
    let most = limits.stream_window as usize + limits.send_bytes + 2 * 65_535;
    let sent = fill(&mut asking).await;
    assert!(sent <= most, "{sent}");
    // The other way.
    let mut down = respond.send_response(grpc_head(), false).unwrap();
    let mut answer = answer.await.unwrap();
    let told = fill(&mut down).await;
    assert!(told <= most, "{told}");
    // Nothing of it is lost when it is taken, and each way goes on.
    asking.send_data(Bytes::new(), true).unwrap();
    down.send_trailers(status(0)).unwrap();
    let (one, other) = tokio::join!(all(seen.body_mut()), all(answer.body_mut()));
    assert_eq!((one.0.len(), other.0.len()), (sent, told));
    between.works().await;
}

#[tokio::test]
async fn streams_that_wait_hold_up_no_other_one() {
    let mut setting = Setting::default();
    setting.limits.streams = 16;
    setting.limits.connection_window = 16 * setting.limits.stream_window;
    // Of them, too, each stream has a window of its own to the end.
    setting.engine.initial_connection_window_size(1 << 24);
    setting.client.initial_connection_window_size(1 << 24);
    let mut between = setting.start().await;
    let mut stuck = Vec::new();
    for _ in 0..15 {
        let (answer, mut asking) = between.call("/a.B/C").await;
        let (seen, mut respond) = between.engine_sees().await;
        let mut down = respond.send_response(grpc_head(), false).unwrap();
        let answer = answer.await.unwrap();
        assert!(fill(&mut asking).await > 65_535 && fill(&mut down).await > 65_535);
        stuck.push((answer, asking, seen, respond, down));
    }
    between.works().await;
    drop(stuck);
    between.works().await;
}

/// Many more bytes than the window of a connection has, in streams that end without anybody having read them.
async fn leak(between: &mut Between, path: &str, is_reset: bool) {
    let (piece, window) = (60_000, H2Limits::default().connection_window as usize);
    for _ in 0..3 * window / piece {
        let (answer, mut asking) = between.call(path).await;
        let mut sent = 0;
        while sent < piece {
            asking.reserve_capacity(piece - sent);
            let room = std::future::poll_fn(|cx| asking.poll_capacity(cx)).await;
            let Some(Ok(room)) = room else { break };
            sent += room;
            if asking.send_data(vec![0; room].into(), false).is_err() {
                break;
            }
        }
        if is_reset {
            let (_seen, mut respond) = between.engine_sees().await;
            let mut head = grpc_head();
            head.headers_mut().insert("x", 1.into());
            let _down = respond.send_response(head, false);
            drop(answer.await.unwrap());
            asking.send_reset(Reason::CANCEL);
            between.ended.recv().await.unwrap();
        } else {
            answer.await.unwrap();
        }
    }
}

#[tokio::test]
async fn windows_do_not_shrink_by_what_nobody_reads() {
    let mut between = Setting::default().start().await;
    leak(&mut between, "/no.B/C", false).await;
    between.works().await;
    leak(&mut between, "/a.B/C", true).await;
    between.works().await;
}

async fn unary(said: &[Bytes], is_ended: bool) -> (u8, bool) {
    let mut setting = Setting { reads: ReadsMessages::Unary(10), ..Setting::default() };
    setting.limits.message_bytes = 10;
    let mut between = setting.start().await;
    let mut client = between.client.clone().ready().await.unwrap();
    let (answer, mut asking) = client.send_request(request("/a.B/C"), false).unwrap();
    for piece in said {
        asking.send_data(piece.clone(), false).unwrap();
    }
    if is_ended {
        asking.send_data(Bytes::new(), true).unwrap();
    }
    let answer = answer.await.unwrap();
    let code = answer.headers()["grpc-status"].to_str().unwrap().parse().unwrap();
    (code, between.engine.recv().now_or_never().flatten().is_some())
}

#[tokio::test]
async fn a_unary_call_has_one_message_or_is_refused_before_anything_goes_on() {
    for (said, is_ended, code) in [
        (vec![framed(b"x"), framed(b"y")], false, 3),
        (vec![framed(b"x"), Bytes::from_static(b"z")], false, 3),
        (vec![framed(b"x").slice(..5)], true, 3),
        (vec![framed(b"x").slice(..3)], true, 3),
        (vec![], true, 3),
        (vec![Bytes::from_static(b"\x01\0\0\0\x01x")], false, 3),
        (vec![framed(&[0; 11]).slice(..5)], false, 8),
        (vec![Bytes::from_static(b"\0\xff\xff\xff\xff")], false, 8),
    ] {
        assert_eq!(unary(&said, is_ended).await, (code, false), "{said:?}");
    }
}

#[tokio::test]
async fn a_unary_call_goes_on_as_it_was_judged() {
    let setting = Setting {
        reads: ReadsMessages::Unary(1 << 20),
        request: |message| match &*message {
            b"no" => Ok(Judged::Answer(H2Reply::Messages(vec![Bytes::from_static(b"ours")]))),
            b"never" => Err(H2Reply::Grpc { code: 7, message: "never".to_owned() }),
            _ => Ok(Judged::Send(Bytes::from(vec![b'x'; message.len()]))),
        },
        ..Setting::default()
    };
    let mut between = setting.start().await;
    for (said, code) in [("no", "0"), ("never", "7")] {
        let (answer, mut asking) = between.call("/a.B/C").await;
        asking.send_data(framed(said.as_bytes()), true).unwrap();
        let mut answer = answer.await.unwrap();
        let (data, fields) = all(answer.body_mut()).await;
        let fields = fields.unwrap_or_else(|| answer.headers().clone());
        assert_eq!(fields["grpc-status"], code);
        assert_eq!(data.is_empty(), said == "never");
    }
    assert!(between.engine.recv().now_or_never().is_none());
    // One that is longer than the window.
    let (answer, mut asking) = between.call("/a.B/C").await;
    asking.send_data(framed(&[b'a'; 1 << 20]), true).unwrap();
    let (mut seen, mut respond) = between.engine_sees().await;
    assert_eq!(all(seen.body_mut()).await.0, framed(&[b'x'; 1 << 20]));
    respond.send_response(grpc_head(), true).unwrap();
    answer.await.unwrap();
}

#[tokio::test]
async fn each_message_is_judged_in_both_directions() {
    let setting = Setting {
        reads: ReadsMessages::Each(100),
        reads_answer: ReadsMessages::Each(100),
        request: |message| match &*message {
            b"stop" => Ok(Judged::Answer(H2Reply::Grpc { code: 7, message: String::new() })),
            _ => Ok(Judged::Send(message.to_ascii_uppercase().into())),
        },
        answer: |message| match &*message {
            b"drop" => Ok(None),
            b"stop" => Err(H2Reply::Grpc { code: 9, message: String::new() }),
            _ => Ok(Some(message.to_ascii_uppercase().into())),
        },
        ..Setting::default()
    };
    let mut between = setting.start().await;
    for (asks, tells, code) in [("one", "two", 0), ("stop", "two", 7), ("one", "stop", 9)] {
        let (answer, mut asking) = between.call("/a.B/C").await;
        asking.send_data(framed(b"hello"), false).unwrap();
        let (mut seen, mut respond) = between.engine_sees().await;
        assert_eq!(seen.body_mut().data().await.unwrap().unwrap(), framed(b"HELLO"));
        let mut down = respond.send_response(grpc_head(), false).unwrap();
        let mut answer = answer.await.unwrap();
        let said = [framed(b"a"), framed(b"drop"), framed(b"b")].concat();
        down.send_data(said.into(), false).unwrap();
        let told = [framed(b"A"), framed(b"B")].concat();
        let mut heard = Vec::new();
        while heard.len() < told.len() {
            heard.extend(answer.body_mut().data().await.unwrap().unwrap());
        }
        assert_eq!(heard, told);
        asking.send_data(framed(asks.as_bytes()), true).unwrap();
        if code != 7 {
            assert_eq!(all(seen.body_mut()).await.0, framed(b"ONE"));
        }
        down.send_data(framed(tells.as_bytes()), false).unwrap();
        if code == 0 {
            down.send_trailers(status(0)).unwrap();
        }
        let (data, fields) = all(answer.body_mut()).await;
        assert_eq!(data.is_empty(), code != 0);
        assert_eq!(fields.unwrap(), status(code), "{asks} {tells}");
        if code != 0 {
            let reason = std::future::poll_fn(|cx| down.poll_reset(cx)).await.unwrap();
            assert_eq!(reason, Reason::CANCEL);
        }
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_not_passed_on() {
    let setting = || Setting { reads_answer: ReadsMessages::Each(10), ..Setting::default() };
    for (name, value) in
        [("content-type", "text/html"), ("grpc-encoding", "gzip"), (":status", "502")]
    {
        let mut between = setting().start().await;
        let (answer, _asking) = between.call("/a.B/C").await;
        let (_seen, mut respond) = between.engine_sees().await;
        let mut head = grpc_head();
        match name {
            ":status" => *head.status_mut() = value.parse().unwrap(),
            _ => drop(head.headers_mut().insert(name, value.parse().unwrap())),
        }
        respond.send_response(head, false).unwrap();
        assert_eq!(answer.await.unwrap().headers()["grpc-status"], "13", "{name}");
    }
    // One that ends within a message.
    let mut between = setting().start().await;
    let (answer, _asking) = between.call("/a.B/C").await;
    let (_seen, mut respond) = between.engine_sees().await;
    let mut down = respond.send_response(grpc_head(), false).unwrap();
    down.send_data(framed(b"xyz").slice(..6), false).unwrap();
    down.send_trailers(status(0)).unwrap();
    let mut answer = answer.await.unwrap();
    let fields = all(answer.body_mut()).await.1.unwrap();
    assert_eq!(fields["grpc-status"], "13");
}

#[tokio::test]
async fn messages_share_what_they_may_take() {
    let mut setting = Setting { reads: ReadsMessages::Unary(100), ..Setting::default() };
    setting.limits.message_bytes = 100;
    let mut between = setting.start().await;
    let (_waits, mut half) = between.call("/a.B/C").await;
    half.send_data(framed(&[0; 60]).slice(..20), false).unwrap();
    let (answer, mut asking) = between.call("/a.B/C").await;
    asking.send_data(framed(&[0; 60]), true).unwrap();
    assert_eq!(answer.await.unwrap().headers()["grpc-status"], "8");
    // What was given up is given back.
    half.send_reset(Reason::CANCEL);
    for _ in 0..2 {
        between.ended.recv().await.unwrap();
    }
    let (answer, mut asking) = between.call("/a.B/C").await;
    asking.send_data(framed(&[0; 60]), true).unwrap();
    let (_, mut respond) = between.engine_sees().await;
    respond.send_response(grpc_head(), true).unwrap();
    answer.await.unwrap();
}

// The clock goes on by itself whenever nothing else is left to do.
#[tokio::test(start_paused = true)]
async fn who_asks_nothing_is_cut_and_who_waits_for_an_answer_is_not() {
    let day = Duration::from_secs(24 * 60 * 60);
    let limits = H2Limits { first_request: Some(Duration::from_secs(30)), ..H2Limits::default() };
    let mut asks_nothing = raw(limits.clone());
    let said = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    tell(&mut asks_nothing, &said).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(tell(&mut asks_nothing, &[]).await.is_closed);
    let mut between = Setting { limits, ..Setting::default() }.start().await;
    let (answer, asking) = between.call("/a.B/C").await;
    let (seen, mut respond) = between.engine_sees().await;
    tokio::time::sleep(day).await;
    assert!(!between.serving.is_finished());
    respond.send_response(grpc_head(), true).unwrap();
    answer.await.unwrap();
    drop((asking, seen));
    tokio::time::sleep(day).await;
    between.works().await;
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_of_what_we_say_is_not_waited_for() {
    let mut client = h2::client::Builder::new();
    client.initial_window_size(0);
    let setting = Setting {
        client,
        reads: ReadsMessages::Unary(10),
        request: |_| Ok(Judged::Answer(H2Reply::Messages(vec![Bytes::from_static(b"ours")]))),
        ..Setting::default()
    };
    let mut between = setting.start().await;
    let (answer, mut asking) = between.call("/a.B/C").await;
    asking.send_data(framed(b"x"), true).unwrap();
    let mut answer = answer.await.unwrap();
    let error = answer.body_mut().data().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::CANCEL));
}

#[tokio::test]
async fn more_streams_than_may_be_open_are_refused_and_can_be_asked_again() {
    let mut setting = Setting::default();
    setting.limits.streams = 2;
    // It does not wait for our settings.
    setting.client.initial_max_send_streams(100);
    let mut between = setting.start().await;
    let mut open = Vec::new();
    for _ in 0..10 {
        open.push(between.call("/a.B/C").await);
    }
    for _ in 0..2 {
        let (_, mut respond) = between.engine_sees().await;
        respond.send_response(grpc_head(), true).unwrap();
    }
    let mut refused = 0;
    for (answer, _) in open {
        match answer.await {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM));
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
    between.works().await;
}
