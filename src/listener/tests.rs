//! A service that is no protocol at all, behind real sockets.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;

/// Serves a connection by its first byte: `!` is a panic, anything else is kept until its client leaves.
#[derive(Default)]
struct Echo {
    drain: CancellationToken,
    tasks: TaskTracker,
    results: Mutex<Vec<&'static str>>,
}

impl Service for Echo {
    fn name(&self) -> Arc<str> {
        "echo".into()
    }

    fn drain(&self) -> &CancellationToken {
        &self.drain
    }

    fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    fn serve(self: Arc<Self>, incoming: Incoming) -> Serving {
        Box::pin(async move {
            // Named: a block takes with it only what it uses of a value.
            let Incoming { mut stream, permit: _permit, .. } = incoming;
            let mut buffer = Buffer::new();
            let (mut reader, mut writer) = stream.split();
            while let Ok(1..) = buffer.fill(&mut reader, 4096).await {
                assert_ne!(buffer.unread(), b"!", "a defect of the protocol");
                let _ = writer.write_all(buffer.unread()).await;
                buffer.clear();
            }
        })
    }

    fn too_many_connections(&self) -> Vec<u8> {
        b"full".to_vec()
    }

    fn plain_http(&self) -> Vec<u8> {
        b"TLS, please".to_vec()
    }

    fn shaken(&self, result: &'static str) {
        self.results.lock().unwrap().push(result);
    }
}

/// On a thread of its own, until the service drains.
fn serve(max_connections: usize) -> (Arc<Echo>, SocketAddr) {
    let service = Arc::new(Echo::default());
    let bind = Bind::Tcp { address: "127.0.0.1:0".to_owned() };
    let socket = Socket::open(&bind, None).unwrap();
    let address = socket.place().strip_prefix("tcp://").unwrap().parse().unwrap();
    let listener = Listener::new(socket, max_connections, None);
    let serving = Arc::clone(&service);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { listener.watch().unwrap().serve(serving).await });
    });
    (service, address)
}

/// What the client hears back.
fn say(client: &mut TcpStream, what: &str) -> String {
    let _ = client.write_all(what.as_bytes());
    let mut heard = [0; 64];
    let n = client.read(&mut heard).unwrap_or(0);
    String::from_utf8_lossy(&heard[..n]).into_owned()
}

#[test]
fn a_connection_that_panics_gives_its_place_back() {
    let (service, address) = serve(1);
    for _ in 0..3 {
        // It has its place back a moment after its client has heard of the end.
        let mut client = loop {
            let mut client = TcpStream::connect(address).unwrap();
            match &*say(&mut client, "hello") {
                "hello" => break client,
                heard => assert_eq!(heard, "full"),
            }
        };
        let mut another = TcpStream::connect(address).unwrap();
        assert_eq!(say(&mut another, ""), "full");
        assert_eq!(say(&mut client, "!"), "", "the thread goes on, the connection does not");
    }
    service.drain.cancel();
}
