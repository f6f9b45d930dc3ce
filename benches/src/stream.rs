//! Clients of streams: hijacks in each direction, upload and download, idle streams.
//! Every transfer checks that exactly the bytes that were sent have come.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use crate::bulk;
use crate::http::{self, Body, bad};
use crate::way::{Socket, Stream, Way, unix};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// Attach, raw bytes from the engine.
    RawOut,
    /// Attach, raw bytes to the engine; ends with a half-close.
    RawIn,
    /// Attach, multiplexed frames from the engine.
    FramesOut,
    /// `POST /images/load`, chunked.
    Upload,
    /// `GET /images/get`, chunked.
    Download,
}

impl Transfer {
    pub(crate) fn to_engine(self) -> bool {
        matches!(self, Self::RawIn | Self::Upload)
    }

    /// Moves `total` bytes to or from who is reached by `way`; returns the seconds it took.
    pub(crate) fn run(self, way: &Way, total: u64) -> io::Result<f64> {
        let mut stream = way.connect()?;
        let stream = &mut *stream;
        let begin = Instant::now();
        let (want, got) = match self {
            Self::RawOut => (total, attached(stream, &format!("source-{total}"))?),
            Self::FramesOut => (bulk::framed(total), attached(stream, &format!("frames-{total}"))?),
            Self::RawIn => {
                attach(stream, "sink")?;
                bulk::pour(stream, total)?;
                stream.end_writing()?;
                let mut said = String::new();
                stream.read_to_string(&mut said)?;
                (total, said.trim().parse().map_err(|_| bad(format!("sink said {said:?}")))?)
            }
            Self::Upload => (total, upload(stream, total)?),
            Self::Download => (total, download(stream, total)?),
        };
        if want == got {
            Ok(begin.elapsed().as_secs_f64())
        } else {
            Err(bad(format!("{got} bytes came instead of {want}")))
        }
    }
}

/// Attaches to `container` and reads to the end; returns how many bytes came.
fn attached(stream: &mut dyn Stream, container: &str) -> io::Result<u64> {
    let early = attach(stream, container)?;
    let count = early + bulk::drain(stream)?;
    stream.end_writing().or_else(|e| match e.kind() {
        io::ErrorKind::NotConnected | io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(e),
    })?;
    Ok(count)
}

/// Attaches to `container`; returns how many bytes of the stream came with the head.
fn attach(stream: &mut dyn Stream, container: &str) -> io::Result<u64> {
    let request = format!(
        "POST /v1.45/containers/{container}/attach?stderr=1&stdin=1&stdout=1&stream=1 HTTP/1.1\r\n\
         Host: api.moby.localhost\r\nUser-Agent: Docker-Client/28.5.2 (linux)\r\n\
         Content-Length: 0\r\nConnection: Upgrade\r\nContent-Type: text/plain\r\n\
         Upgrade: tcp\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let (head, early) = read_head(stream)?;
    match http::status(&head)? {
        101 => Ok(early.len() as u64),
        other => Err(bad(format!("attach: status {other} instead of 101"))),
    }
}

fn upload(stream: &mut dyn Stream, total: u64) -> io::Result<u64> {
    stream.write_all(
        b"POST /v1.45/images/load?quiet=1 HTTP/1.1\r\nHost: api.moby.localhost\r\n\
          User-Agent: Docker-Client/28.5.2 (linux)\r\nTransfer-Encoding: chunked\r\n\
          Content-Type: application/x-tar\r\n\r\n",
    )?;
    bulk::pour_chunks(stream, total)?;
    let (head, early) = read_head(stream)?;
    let mut body = Body::of(&head, true)?;
    let mut said = early.clone();
    body.feed(&early)?;
    while !body.is_done() {
        let mut buffer = [0; 4096];
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        body.feed(&buffer[..n])?;
        said.extend_from_slice(&buffer[..n]);
    }
    let text = String::from_utf8_lossy(&said);
    let digits = text.split("Loaded ").nth(1).and_then(|rest| rest.split('"').next());
    let count = digits.and_then(|digits| digits.parse().ok());
    count.ok_or_else(|| bad(format!("upload: status {:?}, {text:?}", http::status(&head))))
}

fn download(stream: &mut dyn Stream, total: u64) -> io::Result<u64> {
    let request = format!(
        "GET /v1.45/images/get?names=bench%3A{total} HTTP/1.1\r\nHost: api.moby.localhost\r\n\
         User-Agent: Docker-Client/28.5.2 (linux)\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let (head, mut early) = read_head(stream)?;
    if http::status(&head)? != 200 {
        return Err(bad(format!("download: status {}", http::status(&head)?)));
    }
    let mut body = Body::of(&head, true)?;
    bulk::finish(stream, &mut body, &mut early)?;
    Ok(body.payload)
}

/// Opens `count` attached streams on which nothing happens.
pub(crate) fn open_idle(socket: &Path, count: usize) -> io::Result<Vec<UnixStream>> {
    let open = |_| {
        let mut stream = unix(socket)?;
        attach(&mut stream, "idle")?;
        Ok(stream)
    };
    (0..count).map(open).collect()
}

/// Exec start with a JSON body, as the CLI sends it: 4 MiB must come back as they went.
pub(crate) fn exec_echo(socket: &Path) -> io::Result<()> {
    const SENT: usize = 4 << 20;
    let mut stream = unix(socket)?;
    let body = r#"{"Detach":false,"Tty":false,"ConsoleSize":null}"#;
    let request = format!(
        "POST /v1.45/exec/echo/start HTTP/1.1\r\nHost: api.moby.localhost\r\n\
         User-Agent: Docker-Client/28.5.2 (linux)\r\nContent-Length: {}\r\n\
         Connection: Upgrade\r\nContent-Type: application/json\r\nUpgrade: tcp\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let (head, mut came) = read_head(&mut stream)?;
    if http::status(&head)? != 101 {
        return Err(bad(format!("exec start: status {}", http::status(&head)?)));
    }
    let sent: Vec<u8> = (0..SENT).map(|n| (n * 31 + n / 251) as u8).collect();
    let mut writer = stream.try_clone()?;
    let theirs = sent.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&theirs)?;
        writer.shutdown(Shutdown::Write)
    });
    stream.read_to_end(&mut came)?;
    writing.join().map_err(|_| bad("writer"))??;
    if came == sent { Ok(()) } else { Err(bad(format!("exec: {} bytes came back", came.len()))) }
}

/// Asks `GET /_ping` once; fine when the answer is 200.
pub(crate) fn ping(way: &Way) -> io::Result<()> {
    pinged(&mut *way.connect()?)
}

/// Opens `count` connections; each has asked once and says nothing more.
pub(crate) fn open_crowd(way: &Way, count: usize) -> io::Result<Vec<Socket>> {
    let open = |_| {
        let mut stream = way.connect()?;
        pinged(&mut *stream)?;
        Ok(stream.into_socket())
    };
    (0..count).map(open).collect()
}

/// One `GET /_ping` on a connection of its own, to its end.
pub(crate) fn ping_and_close(way: &Way) -> io::Result<()> {
    let mut stream = way.connect()?;
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::with_capacity(1024);
    stream.read_to_end(&mut answer)?;
    expect_ok(&answer)
}

fn pinged(stream: &mut dyn Stream) -> io::Result<()> {
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n")?;
    let (head, mut early) = read_head(stream)?;
    bulk::finish(stream, &mut Body::of(&head, false)?, &mut early)?;
    expect_ok(&head)
}

fn expect_ok(head: &[u8]) -> io::Result<()> {
    match http::status(head)? {
        200 => Ok(()),
        other => Err(bad(format!("_ping: status {other}"))),
    }
}

/// Reads a head; returns it and the bytes that came behind it.
fn read_head(stream: &mut dyn Stream) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let (mut input, mut buffer) = (Vec::new(), vec![0; 4096]);
    loop {
        if let Some(end) = http::head_len(&input) {
            let early = input.split_off(end);
            return Ok((input, early));
        }
        match stream.read(&mut buffer)? {
            0 => return Err(bad("connection closed before the head was complete")),
            n => input.extend_from_slice(&buffer[..n]),
        }
    }
}
