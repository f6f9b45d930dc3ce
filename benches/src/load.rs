//! Request load: one request again and again over N connections for some time.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net as blocking;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::http::{Answer, bad};

/// Largest read: a list of 100 containers fits.
const READ: usize = 192 * 1024;
/// How much longer than asked a run may take before the target counts as hung.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is sent, and how.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) request: Arc<[u8]>,
    pub(crate) status: u16,
    pub(crate) connections: usize,
    /// A new connection for every request, `connections` at a time.
    pub(crate) fresh: bool,
}

/// What was measured; `cost` is what `meter` grew by.
pub(crate) struct Sample {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) cost: f64,
}

/// Runs `load` against `socket` for `time`, between two readings of `meter`.
pub(crate) fn run(
    socket: &Path,
    load: &Load,
    time: Duration,
    meter: impl Fn() -> f64,
) -> io::Result<Sample> {
    let measured = if load.connections == 1 && !load.fresh {
        one(socket, load, time, &meter)
    } else {
        many(socket, load, time, &meter)
    };
    let (mut nanos, seconds, cost) = measured?;
    nanos.sort_unstable();
    let at = |share: f64| {
        let index = (nanos.len() as f64 * share) as usize;
        nanos.get(index).map_or(0.0, |ns| f64::from(*ns) / 1e3)
    };
    if nanos.is_empty() {
        return Err(bad("no answer in time"));
    }
    let (p50_us, p99_us) = (at(0.5), at(0.99));
    Ok(Sample { requests: nanos.len() as u64, seconds, p50_us, p99_us, cost })
}

type Measured = io::Result<(Vec<u32>, f64, f64)>;

/// One connection on this thread, without any runtime.
fn one(socket: &Path, load: &Load, time: Duration, meter: &impl Fn() -> f64) -> Measured {
    let mut stream = blocking::UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = vec![0; READ];
    let mut exchange = || {
        stream.write_all(&load.request)?;
        let mut answer = Answer::default();
        loop {
            let n = stream.read(&mut buffer)?;
            if take(&mut answer, &buffer[..n], load.status)? {
                return Ok::<_, io::Error>(());
            }
        }
    };
    for _ in 0..20 {
        exchange()?;
    }
    let (begin, before) = (Instant::now(), meter());
    let (mut nanos, mut last) = (Vec::new(), begin);
    while last < begin + time {
        exchange()?;
        nanos.push(lap(&mut last));
    }
    Ok((nanos, begin.elapsed().as_secs_f64(), meter() - before))
}

/// Many connections, all on one thread: the client must not eat both cores.
fn many(socket: &Path, load: &Load, time: Duration, meter: &impl Fn() -> f64) -> Measured {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        let mut clients = Vec::new();
        for _ in 0..load.connections {
            let mut client = Client::new(socket, load);
            for _ in 0..5 {
                tokio::time::timeout(PATIENCE, client.exchange()).await??;
            }
            clients.push(client);
        }
        let (begin, before) = (Instant::now(), meter());
        let running: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                tokio::spawn(async move {
                    let (mut nanos, mut last) = (Vec::new(), Instant::now());
                    while last < begin + time {
                        client.exchange().await?;
                        nanos.push(lap(&mut last));
                    }
                    Ok::<_, io::Error>(nanos)
                })
            })
            .collect();
        let mut all = Vec::new();
        for task in running {
            let nanos = tokio::time::timeout(time + PATIENCE, task).await?;
            all.extend(nanos.map_err(io::Error::other)??);
        }
        Ok((all, begin.elapsed().as_secs_f64(), meter() - before))
    })
}

/// Nanoseconds since `last`, which becomes now.
fn lap(last: &mut Instant) -> u32 {
    let now = Instant::now();
    let nanos = now.duration_since(*last).as_nanos();
    *last = now;
    u32::try_from(nanos).unwrap_or(u32::MAX)
}

struct Client {
    socket: Arc<Path>,
    load: Load,
    stream: Option<UnixStream>,
    buffer: Vec<u8>,
}

impl Client {
    fn new(socket: &Path, load: &Load) -> Self {
        Self { socket: socket.into(), load: load.clone(), stream: None, buffer: vec![0; READ] }
    }

    async fn exchange(&mut self) -> io::Result<()> {
        let mut stream = match self.stream.take() {
            Some(stream) if !self.load.fresh => stream,
            _ => UnixStream::connect(&self.socket).await?,
        };
        stream.write_all(&self.load.request).await?;
        let mut answer = Answer::default();
        loop {
            let n = stream.read(&mut self.buffer).await?;
            if take(&mut answer, &self.buffer[..n], self.load.status)? {
                break;
            }
        }
        self.stream = Some(stream);
        Ok(())
    }
}

/// Feeds one read to `answer`; true when it is complete and has the right status.
fn take(answer: &mut Answer, bytes: &[u8], status: u16) -> io::Result<bool> {
    if bytes.is_empty() {
        return Err(bad("connection closed before the answer was complete"));
    }
    if !answer.feed(bytes)? {
        return Ok(false);
    }
    if answer.status == status {
        Ok(true)
    } else {
        Err(bad(format!("status {} instead of {status}", answer.status)))
    }
}
