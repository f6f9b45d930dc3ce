//! A restart without a lost connection: the old process starts the new one and gives it its sockets.
//!
//! SIGUSR2 begins it. The new process is a child whose standard input is a socket; the listening
//! sockets come through it (`SCM_RIGHTS`, unix(7)), and `ready` goes back. What must stay true: the
//! sockets never close, so that clients wait in the backlog and none is refused; and if the new
//! process does not get as far as serving, the old one goes on.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// Tells a process that its standard input is such a socket.
const VARIABLE: &str = "DOCKGATE_HANDOVER";
/// Before a line of what the old process remembers.
const REMEMBER: &[u8] = b"remember ";
const END: &[u8] = b"end";
const READY: &[u8] = b"ready";
/// A key of a socket (a path of at most 107 bytes, or an address), or a line of memory.
const MOST_KEY: usize = 4096;
/// How long a new process may take: it reads files and opens sockets, no more.
const PATIENCE: Duration = Duration::from_secs(60);

/// How this process was started; the file may be replaced by a newer one meanwhile.
#[derive(Debug)]
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<std::ffi::OsString>,
}

impl Program {
    /// Before an upgrade can have replaced the file: afterwards its path reads `… (deleted)`.
    pub(super) fn this() -> io::Result<Program> {
        let path = std::env::current_exe()?;
        Ok(Program { path, arguments: std::env::args_os().skip(1).collect() })
    }

    /// Starts the program again with these sockets; returns when it serves. On an error nothing has
    /// changed.
    pub(super) async fn take_over(
        &self,
        sockets: Vec<(String, OwnedFd)>,
        memory: Vec<String>,
    ) -> io::Result<u32> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let child = Command::new(&self.path)
            .args(&self.arguments)
            .env(VARIABLE, "1")
            // Meant for this process only.
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_FDNAMES")
            .stdin(Stdio::from(theirs))
            .spawn()?;
        let child = Successor(Some(child));
        let talk = move || -> io::Result<()> {
            for (key, socket) in &sockets {
                send(ours.as_fd(), key.as_bytes(), Some(socket.as_fd()))?;
            }
            for line in memory.iter().filter(|line| line.len() + REMEMBER.len() <= MOST_KEY) {
                send(ours.as_fd(), &[REMEMBER, line.as_bytes()].concat(), None)?;
            }
            send(ours.as_fd(), END, None)?;
            match receive(ours.as_fd())? {
                (word, None) if word == READY => Ok(()),
                _ => Err(io::Error::other("the new process ended before it served")),
            }
        };
        let ready = tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(talk)).await;
        let ready = match ready {
            Ok(Ok(told)) => told,
            Ok(Err(_)) => Err(io::Error::other("the hand-over broke off")),
            Err(_) => Err(io::Error::other("the new process took too long")),
        };
        ready.and_then(|()| child.release())
    }
}

/// A new process that does not serve yet; it ends when this is dropped.
struct Successor(Option<Child>);

impl Successor {
    /// Lets it live; gives its pid.
    fn release(mut self) -> io::Result<u32> {
        let child = self.0.take().ok_or_else(|| io::Error::other("it was released before"))?;
        let pid = child.id();
        reap(child);
        Ok(pid)
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The process that started this one to be replaced by it.
#[derive(Debug)]
pub(super) struct Predecessor(());

/// Sockets by their keys, and lines of memory.
type Legacy = (Vec<(String, OwnedFd)>, Vec<String>);

impl Predecessor {
    pub(super) fn of_us() -> Option<Predecessor> {
        std::env::var_os(VARIABLE).is_some().then_some(Predecessor(()))
    }

    pub(super) fn legacy(&self) -> io::Result<Legacy> {
        let input = io::stdin();
        let (mut sockets, mut memory) = (Vec::new(), Vec::new());
        loop {
            match receive(input.as_fd())? {
                (key, Some(socket)) => {
                    sockets.push((String::from_utf8_lossy(&key).into_owned(), socket));
                }
                (word, None) if word == END => return Ok((sockets, memory)),
                (word, None) if word.starts_with(REMEMBER) => {
                    let line = word.get(REMEMBER.len()..).unwrap_or_default();
                    memory.push(String::from_utf8_lossy(line).into_owned());
                }
                _ => return Err(io::Error::other("the old process broke the hand-over off")),
            }
        }
    }

    /// Tells it that connections are served here from now on.
    pub(super) fn dismiss(self) -> io::Result<()> {
        send(io::stdin().as_fd(), READY, None)
    }
}

fn send(to: BorrowedFd<'_>, word: &[u8], socket: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let sockets: Vec<BorrowedFd<'_>> = socket.into_iter().collect();
    if !sockets.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    rustix::net::sendmsg(to, &[IoSlice::new(word)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// One message; an empty one at the end.
fn receive(from: BorrowedFd<'_>) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut word = vec![0; MOST_KEY];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let read = loop {
        let room = &mut [IoSliceMut::new(&mut word)];
        match rustix::net::recvmsg(from, room, &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            read => break read?.bytes,
        }
    };
    word.truncate(read);
    let mut sockets = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => sockets.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    let socket = sockets.next();
    drop(sockets);
    Ok((word, socket))
}

/// Waits for a child that ends before us, so that it does not stay as a zombie.
fn reap(mut child: Child) {
    std::thread::spawn(move || child.wait());
}
