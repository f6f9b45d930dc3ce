//! What passes a call: heads, DATA, trailers, half-closes, resets, and the ends of connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::poll_fn;
use h2::Reason;
use http::Response;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::support::{Fails, Setting, all, engine, grpc_head, request, status};
use crate::buildkit::messages::framed;
use crate::buildkit::terminate::{H2Limits, H2Reply, Judged, OpensLate, ReadsMessages, serve};
use crate::wire::io::Stream;

#[tokio::test]
async fn a_call_passes_and_its_end_is_told() {
    let mut between = Setting::default().start().await;
    between.works().await;
    let ended = between.ended.recv().await.unwrap();
    assert_eq!((ended.status, ended.is_reset), (Some(0), false));
    assert_eq!((ended.asked_bytes, ended.answered_bytes), (8, 9));
}

#[tokio::test]
async fn fields_pass_but_those_of_the_connection_and_what_the_judge_takes_off() {
    let mut between = Setting::default().start().await;
    let mut asked = request("/a.B/C");
    for (name, value) in [
        ("grpc-timeout", "5S"),
        ("authorization", "secret"),
        ("grpc-accept-encoding", "gzip"),
        ("grpc-encoding", "gzip"),
        ("buildkit-controlapi-buildid", "x"),
        ("x-bin", "AA"),
        ("x-bin", "BB"),
    ] {
        asked.headers_mut().append(name, value.parse().unwrap());
    }
    let mut client = between.client.clone().ready().await.unwrap();
    let (answer, _) = client.send_request(asked, true).unwrap();
    let (seen, mut respond) = between.engine_sees().await;
    assert_eq!((seen.method().as_str(), seen.uri().path()), ("POST", "/a.B/C"));
    let fields = seen.headers();
    assert_eq!(
        (&fields["grpc-timeout"], &fields["te"]),
        (&"5S".parse().unwrap(), &"trailers".parse().unwrap())
    );
    assert_eq!(fields["buildkit-controlapi-buildid"], "x");
    assert_eq!(fields.get_all("x-bin").iter().count(), 2);
    assert!(!fields.contains_key("authorization") && !fields.contains_key("grpc-accept-encoding"));
    assert_eq!(fields["grpc-encoding"], "gzip", "what is not read may be compressed");
    let mut head = grpc_head();
    head.headers_mut().insert("grpc-status", 5.into());
    head.headers_mut().insert("x-of-engine", 1.into());
    respond.send_response(head, true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(
        (&answer.headers()["grpc-status"], &answer.headers()["x-of-engine"]),
        (&5.into(), &1.into())
    );
    assert!(answer.body().is_end_stream());
    assert_eq!(between.ended.recv().await.unwrap().status, Some(5));
}

#[tokio::test]
async fn another_method_may_be_asked_in_its_place() {
    let mut between = Setting {
        reads: ReadsMessages::Unary(64),
        reads_answer: ReadsMessages::Unary(64),
        request: |_| Ok(Judged::Send(Bytes::from_static(b"other"))),
        answer: |_| Ok(Some(Bytes::from_static(b"made of it"))),
        path: Some("/a.B/Other"),
        ..Setting::default()
    }
    .start()
    .await;
    let (answer, mut asking) = between.call("/a.B/C").await;
    asking.send_data(framed(b"ask"), true).unwrap();
    let (mut asked, mut respond) = between.engine_sees().await;
    assert_eq!(asked.uri().path(), "/a.B/Other");
    assert_eq!(all(asked.body_mut()).await.0, framed(b"other"));
    let mut down = respond.send_response(grpc_head(), false).unwrap();
    down.send_data(framed(b"told"), false).unwrap();
    down.send_trailers(status(0)).unwrap();
    assert_eq!(all(answer.await.unwrap().body_mut()).await.0, framed(b"made of it"));
}

#[tokio::test]
async fn each_half_ends_by_itself() {
    let mut between = Setting::default().start().await;
    let (answer, mut asking) = between.call("/a.B/C").await;
    let (mut seen, mut respond) = between.engine_sees().await;
    // The engine answers before it is told anything, and is told more behind that.
    let mut down = respond.send_response(grpc_head(), false).unwrap();
    let mut answer = answer.await.unwrap();
    asking.send_data(framed(b"one"), false).unwrap();
    assert_eq!(seen.body_mut().data().await.unwrap().unwrap(), framed(b"one"));
    asking.send_data(Bytes::new(), true).unwrap();
    assert!(all(seen.body_mut()).await.0.is_empty());
    down.send_data(framed(b"two"), false).unwrap();
    assert_eq!(answer.body_mut().data().await.unwrap().unwrap(), framed(b"two"));
    down.send_trailers(status(0)).unwrap();
    assert_eq!(all(answer.body_mut()).await.1, Some(status(0)));
}

#[tokio::test]
async fn an_answer_that_ends_first_ends_the_call() {
    let mut between = Setting::default().start().await;
    let (answer, mut asking) = between.call("/a.B/C").await;
    let (_, mut respond) = between.engine_sees().await;
    let mut head = grpc_head();
    head.headers_mut().insert("grpc-status", 3.into());
    respond.send_response(head, true).unwrap();
    drop(respond);
    assert_eq!(answer.await.unwrap().headers()["grpc-status"], "3");
    // RFC 9113 §8.1: what else it has to say is not wanted, which is no error.
    let reason = poll_fn(|cx| asking.poll_reset(cx)).await.unwrap();
    assert_eq!(reason, Reason::NO_ERROR);
    between.works().await;
}

#[tokio::test]
async fn a_reset_of_the_clients_reaches_the_engine_with_its_reason() {
    for reason in [Reason::CANCEL, Reason::INTERNAL_ERROR, Reason::ENHANCE_YOUR_CALM] {
        for (is_asked, is_answered) in [(false, false), (true, false), (false, true), (true, true)]
        {
            let mut between = Setting::default().start().await;
            let (answer, mut asking) = between.call("/a.B/C").await;
            asking.send_data(framed(b"x"), is_asked).unwrap();
            let (_seen, mut respond) = between.engine_sees().await;
            let seen = match is_answered {
                true => {
                    let mut down = respond.send_response(grpc_head(), false).unwrap();
                    let _answer = answer.await.unwrap();
                    asking.send_reset(reason);
                    poll_fn(|cx| down.poll_reset(cx)).await
                }
                false => {
                    asking.send_reset(reason);
                    poll_fn(|cx| respond.poll_reset(cx)).await
                }
            };
            assert_eq!(seen.unwrap(), reason, "{is_asked} {is_answered}");
            assert!(between.ended.recv().await.unwrap().is_reset);
        }
    }
}

#[tokio::test]
async fn a_reset_of_the_engines_reaches_the_client_with_its_reason() {
    for reason in [Reason::CANCEL, Reason::REFUSED_STREAM, Reason::INTERNAL_ERROR] {
        for is_answered in [false, true] {
            let mut between = Setting::default().start().await;
            let (answer, _asking) = between.call("/a.B/C").await;
            let (_seen, mut respond) = between.engine_sees().await;
            let error = match is_answered {
                true => {
                    let mut down = respond.send_response(grpc_head(), false).unwrap();
                    let mut answer = answer.await.unwrap();
                    down.send_reset(reason);
                    answer.body_mut().data().await.unwrap().unwrap_err()
                }
                false => {
                    respond.send_reset(reason);
                    answer.await.unwrap_err()
                }
            };
            assert_eq!(error.reason(), Some(reason));
            assert!(between.ended.recv().await.unwrap().is_reset);
            between.works().await;
        }
    }
}

#[tokio::test]
async fn goaway_of_the_engine_lets_calls_finish_and_takes_no_new_ones() {
    let mut between = Setting::default().start().await;
    let (answer, mut asking) = between.call("/a.B/C").await;
    let (mut seen, mut respond) = between.engine_sees().await;
    between.leave.cancel();
    // The client hears of it though nothing else happens.
    poll_fn(|cx| {
        let ready = between.client.poll_ready(cx);
        match ready {
            std::task::Poll::Ready(Ok(())) => {
                cx.waker().wake_by_ref();
                std::task::Poll::Pending
            }
            other => other,
        }
    })
    .await
    .unwrap_err();
    asking.send_data(framed(b"late"), true).unwrap();
    assert_eq!(all(seen.body_mut()).await.0, framed(b"late"));
    let mut down = respond.send_response(grpc_head(), false).unwrap();
    down.send_data(framed(b"fine"), false).unwrap();
    down.send_trailers(status(0)).unwrap();
    let mut answer = answer.await.unwrap();
    assert_eq!(all(answer.body_mut()).await, (framed(b"fine"), Some(status(0))));
    drop((answer, asking, down, respond, seen));
    between.serving.await.unwrap();
    assert!(between.client_end.await.unwrap().is_ok());
}

#[tokio::test]
async fn an_engine_that_breaks_off_is_unavailable_to_calls_on_their_way() {
    let mut between = Setting::default().start().await;
    let (unanswered, _one) = between.call("/a.B/C").await;
    let first = between.engine_sees().await;
    let (answered, _two) = between.call("/a.B/D").await;
    let (_seen, mut respond) = between.engine_sees().await;
    let mut down = respond.send_response(grpc_head(), false).unwrap();
    let mut answered = answered.await.unwrap();
    down.send_data(framed(b"partly"), false).unwrap();
    assert_eq!(answered.body_mut().data().await.unwrap().unwrap(), framed(b"partly"));
    between.engine_end.abort();
    let unanswered = unanswered.await.unwrap();
    assert_eq!(unanswered.headers()["grpc-status"], "14");
    let fields = all(answered.body_mut()).await.1.unwrap();
    assert_eq!(fields["grpc-status"], "14");
    for _ in 0..2 {
        assert_eq!(between.ended.recv().await.unwrap().status, Some(14));
    }
    drop((first, _one, _two, answered, unanswered));
    between.serving.await.unwrap();
}

#[tokio::test]
async fn a_client_that_breaks_off_cancels_its_calls() {
    let mut between = Setting::default().start().await;
    let (_answer, _asking) = between.call("/a.B/C").await;
    let (_seen, mut respond) = between.engine_sees().await;
    between.client_end.abort();
    let reason = poll_fn(|cx| respond.poll_reset(cx)).await.unwrap();
    assert_eq!(reason, Reason::CANCEL);
    assert!(between.ended.recv().await.unwrap().is_reset);
    between.serving.await.unwrap();
    between.engine_end.await.unwrap();
}

#[tokio::test]
async fn an_engine_that_cannot_be_reached_is_told_and_tried_again() {
    let refused = H2Reply::Grpc { code: 14, message: "not there".to_owned() };
    let between = Setting::default().start_with(Box::new(Fails(refused)), None).await;
    for _ in 0..3 {
        let mut client = between.client.clone().ready().await.unwrap();
        let (answer, _) = client.send_request(request("/a.B/C"), true).unwrap();
        assert_eq!(answer.await.unwrap().headers()["grpc-message"], "not there");
    }
}

#[tokio::test]
async fn what_is_refused_is_answered_and_nothing_goes_on() {
    let mut between = Setting::default().start().await;
    for path in ["/no.B/C", "/a.B/C/D", "/_ping"] {
        let (answer, _asking) = between.call(path).await;
        let answer: Response<_> = answer.await.unwrap();
        assert!(answer.headers().contains_key("grpc-status"), "{path}");
    }
    // The engine was not even connected with.
    assert!(between.engine.try_recv().is_err());
    between.works().await;
}

#[tokio::test]
async fn a_drain_lets_calls_finish() {
    let mut between = Setting::default().start().await;
    let (answer, asking) = between.call("/a.B/C").await;
    let (seen, mut respond) = between.engine_sees().await;
    between.drain.cancel();
    let mut down = respond.send_response(grpc_head(), false).unwrap();
    let mut answer = answer.await.unwrap();
    down.send_data(framed(b"fine"), false).unwrap();
    down.send_trailers(status(0)).unwrap();
    assert_eq!(all(answer.body_mut()).await, (framed(b"fine"), Some(status(0))));
    drop((answer, asking, down, respond, seen));
    between.serving.await.unwrap();
    between.engine_end.await.unwrap();
}

#[tokio::test]
async fn an_engine_is_connected_with_when_the_first_call_needs_it() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    let (client_side, client) = UnixStream::pair().unwrap();
    let (judge, _ended) = Setting::default().judge();
    let tries = Arc::new(AtomicU32::new(0));
    let tried = Arc::clone(&tries);
    tokio::spawn(async move {
        let (mut place, mut socket) = (None, Some(ours));
        // The second attempt succeeds.
        let connect = || {
            let is_first = tried.fetch_add(1, Ordering::Relaxed) == 0;
            let made = match is_first {
                true => Err(H2Reply::Grpc { code: 14, message: String::new() }),
                false => Ok(Stream::new(socket.take().unwrap().into()).unwrap()),
            };
            async { made }.boxed()
        };
        let late = OpensLate::new(&mut place, Duration::from_secs(10), connect);
        let drain = CancellationToken::new();
        let limits = H2Limits::default();
        serve(Box::new(client_side), Box::new(late), judge, &drain, limits).await;
    });
    let (mut client, connection) = h2::client::handshake(client).await.unwrap();
    tokio::spawn(connection);
    let (answer, _) = client.send_request(request("/no.B/C"), true).unwrap();
    assert_eq!(answer.await.unwrap().headers()["grpc-status"], "7");
    assert_eq!(tries.load(Ordering::Relaxed), 0);
    let (answer, _) = client.send_request(request("/a.B/C"), true).unwrap();
    assert_eq!(answer.await.unwrap().headers()["grpc-status"], "14");
    let theirs = UnixStream::from_std(theirs).unwrap();
    let (mut hears, _running) = engine(theirs, Default::default(), CancellationToken::new());
    for n in 0..3 {
        let mut head = grpc_head();
        head.headers_mut().insert("grpc-status", n.into());
        let (answer, _) = client.send_request(request("/a.B/C"), true).unwrap();
        let (_, mut respond) = hears.recv().await.unwrap();
        respond.send_response(head, true).unwrap();
        assert_eq!(answer.await.unwrap().headers()["grpc-status"], n.to_string());
    }
    assert_eq!(tries.load(Ordering::Relaxed), 2);
}
