//! The stub engine: answers as dockerd does, as fast as it can, so that dockerd is not what is
//! measured. One thread accepts; connections are dealt in turn to two single-threaded runtimes.
//! Whoever moves a gigabyte gets a blocking thread: nothing is cheaper.

use std::io::{self, Write as _};
use std::os::unix::net as blocking;
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{LocalSet, spawn_local};

use crate::answers::{Answers, answer, hijacked};
use crate::bulk;
use crate::http::{self, Body, bad};
use crate::route::{self, Hijack, Route};

/// Serves on `socket` until the process ends (with its parent, if it has one).
pub(crate) fn serve(socket: &Path) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let answers = Arc::new(Answers::new());
    let listener = blocking::UnixListener::bind(socket)?;
    let (deal, mut dealt) = tokio::sync::mpsc::unbounded_channel::<blocking::UnixStream>();
    let theirs = Arc::clone(&answers);
    std::thread::spawn(move || {
        on_one_thread(async move {
            while let Some(stream) = dealt.recv().await {
                if let Ok(stream) = UnixStream::from_std(stream) {
                    spawn_local(ignore(Arc::clone(&theirs), stream));
                }
            }
            Ok(())
        })
    });
    listener.set_nonblocking(true)?;
    on_one_thread(async move {
        let listener = UnixListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            spawn_local(ignore(Arc::clone(&answers), stream));
            let (stream, _) = listener.accept().await?;
            let _ = deal.send(stream.into_std()?);
        }
    })
}

fn on_one_thread(work: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(LocalSet::new().run_until(work))
}

/// A client that goes away in the middle is no event here.
async fn ignore(answers: Arc<Answers>, stream: UnixStream) {
    let _ = connection(&answers, stream).await;
}

/// One keep-alive connection, request after request.
async fn connection(answers: &Answers, mut stream: UnixStream) -> io::Result<()> {
    let mut input = Vec::with_capacity(8 * 1024);
    loop {
        let end = loop {
            if let Some(end) = http::head_len(&input) {
                break end;
            }
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        };
        let (route, upgrade) = route::of(&input[..end])?;
        let mut body = Body::of(&input[..end], false)?;
        if http::header(&input[..end], "expect").is_some() {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        input.drain(..end);
        match route {
            Route::Say(choose) => {
                finish(&mut stream, &mut body, &mut input).await?;
                stream.write_all(choose(answers)).await?;
            }
            Route::Forever => {
                stream.write_all(&answers.events).await?;
                while stream.read_buf(&mut input).await? > 0 {}
                return Ok(());
            }
            Route::Load => {
                let mut early = std::mem::take(&mut input);
                (stream, input) = apart(stream, move |stream| {
                    bulk::finish(stream, &mut body, &mut early)?;
                    let said = format!("{{\"stream\":\"Loaded {}\"}}\n", body.payload);
                    stream.write_all(&answer("200 OK", "application/json", &said))?;
                    Ok(early)
                })
                .await?;
            }
            Route::Save(total) => {
                finish(&mut stream, &mut body, &mut input).await?;
                stream.write_all(&answers.save).await?;
                (stream, ()) =
                    apart(stream, move |stream| bulk::pour_chunks(stream, total)).await?;
            }
            Route::Hijack(hijack) => {
                finish(&mut stream, &mut body, &mut input).await?;
                let multiplexed = matches!(hijack, Hijack::Frames(_));
                stream.write_all(hijacked(upgrade, multiplexed).as_bytes()).await?;
                return run(hijack, stream, input).await;
            }
        }
    }
}

/// Reads the rest of a small body; what follows it stays in `input`.
async fn finish(stream: &mut UnixStream, body: &mut Body, input: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let taken = body.feed(input)?;
        input.drain(..taken);
        if body.is_done() {
            return Ok(());
        }
        if stream.read_buf(input).await? == 0 {
            return Err(bad("end inside a body"));
        }
    }
}

/// Runs `work` on a blocking thread with a blocking socket, then takes the socket back.
async fn apart<T: Send + 'static>(
    stream: UnixStream,
    work: impl FnOnce(&mut blocking::UnixStream) -> io::Result<T> + Send + 'static,
) -> io::Result<(UnixStream, T)> {
    let mut stream = stream.into_std()?;
    let done = tokio::task::spawn_blocking(move || {
        stream.set_nonblocking(false)?;
        let value = work(&mut stream)?;
        stream.set_nonblocking(true)?;
        Ok::<_, io::Error>((stream, value))
    });
    let (stream, value) = done.await.map_err(io::Error::other)??;
    Ok((UnixStream::from_std(stream)?, value))
}

/// A hijacked stream until both ends are done with it.
async fn run(hijack: Hijack, mut stream: UnixStream, early: Vec<u8>) -> io::Result<()> {
    match hijack {
        Hijack::Idle => {
            let mut byte = [0];
            while stream.read(&mut byte).await? > 0 {}
        }
        Hijack::Echo => {
            let mut buffer = early;
            loop {
                stream.write_all(&buffer).await?;
                buffer.clear();
                buffer.reserve(bulk::CHUNK);
                if stream.read_buf(&mut buffer).await? == 0 {
                    break;
                }
            }
            stream.shutdown().await?;
        }
        Hijack::Sink => {
            let seen = early.len() as u64;
            apart(stream, move |stream| {
                let count = seen + bulk::drain(stream)?;
                stream.write_all(format!("{count}\n").as_bytes())
            })
            .await?;
        }
        Hijack::Source(total) | Hijack::Frames(total) => {
            let framed = matches!(hijack, Hijack::Frames(_));
            apart(stream, move |stream| {
                if framed { bulk::pour_frames(stream, total) } else { bulk::pour(stream, total) }?;
                stream.shutdown(std::net::Shutdown::Write)?;
                bulk::drain(stream)
            })
            .await?;
        }
    }
    Ok(())
}
