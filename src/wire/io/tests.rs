//! Writes that wait, by a clock that the test turns.

use super::*;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(120);

fn pair() -> (std::os::unix::net::UnixStream, Stream) {
    let (peer, ours) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    peer.set_nonblocking(true).unwrap();
    sockopt::set_socket_send_buffer_size(&ours, FIRST_BYTES).unwrap();
    (peer, Stream::new(ours.into()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_something_now_and_then_is_written_to_for_hours() {
    let (mut peer, mut stream) = pair();
    let (_, mut writer) = stream.split();
    writer.be_patient(PATIENCE);
    let sent = vec![7; 4 << 20];
    let reading = async {
        let mut some = vec![0; 64 << 10];
        loop {
            tokio::time::sleep(PATIENCE * 5 / 6).await;
            assert!(peer.read(&mut some).unwrap() > 0);
        }
    };
    let began = Instant::now();
    tokio::select! {
        written = writer.write_all(&sent) => written.unwrap(),
        () = reading => {}
    }
    assert!(began.elapsed() > PATIENCE * 20, "of the clock that the test turns");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_given_up() {
    let (_peer, mut stream) = pair();
    let (_, mut writer) = stream.split();
    writer.be_patient(PATIENCE);
    let began = Instant::now();
    let failed = writer.write_all(&vec![7; 16 << 20]).await.unwrap_err();
    assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
    assert!(began.elapsed() >= PATIENCE, "of the clock that the test turns");
}

/// A connection whose peer has room for next to nothing.
fn narrow() -> (TcpStream, Stream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    sockopt::set_socket_recv_buffer_size(&listener, 4096).unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    ours.set_nonblocking(true).unwrap();
    sockopt::set_socket_send_buffer_size(&ours, BUSY_BYTES).unwrap();
    let (peer, _) = listener.accept().unwrap();
    // What a test waits for comes, or the test fails.
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    (peer, Stream::new(ours.into()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn what_counts_is_what_the_peer_acknowledges_not_what_makes_room() {
    let (mut peer, mut stream) = narrow();
    let socket = stream.as_fd().try_clone_to_owned().unwrap();
    let (_, mut writer) = stream.split();
    writer.be_patient(PATIENCE);
    let sent = vec![7; 4 << 20];
    let reading = async {
        let mut some = [0; FIRST_BYTES];
        // There is no room before all but this has been taken, which is long after the end of the test.
        sockopt::set_socket_send_buffer_size(&socket, FIRST_BYTES).unwrap();
        for _ in 0..20 {
            tokio::time::sleep(PATIENCE / 2).await;
            let before = unacknowledged(socket.as_fd()).unwrap();
            let all_there_is = peer.read(&mut some).unwrap();
            assert!((1..8192).contains(&all_there_is), "{all_there_is}");
            while unacknowledged(socket.as_fd()).unwrap() == before {
                std::thread::yield_now();
            }
        }
    };
    tokio::select! {
        biased;
        written = writer.write_all(&sent) => panic!("{written:?}"),
        () = reading => {}
    }
    // And now it takes nothing any more.
    let failed = writer.write_all(&sent).await.unwrap_err();
    assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
}
