//! What the peer of a TCP connection has acknowledged.
//!
//! `io` asks where a write has waited long: the kernel tells of room only when a good part of its buffer is
//! free, and a slow peer may take bytes for minutes before that. What must stay true: where the kernel does
//! not tell (no `sock_diag`, no TCP), the answer is none and never a guess.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, getpeername, getsockname,
    netlink, recv, send, socket_with,
};

/// `SOCK_DIAG_BY_FAMILY` of sock_diag(7).
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
const TCP: u8 = 6;
/// Of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Of `struct inet_diag_req_v2`.
const QUESTION: usize = 56;
/// Where `idiag_wqueue` is in an answer: behind the header, four bytes, `idiag_id`, `expires` and `rqueue`.
const UNACKNOWLEDGED: std::ops::Range<usize> = HEADER + 60..HEADER + 64;

/// How many bytes are written that the peer has not acknowledged: `SIOCOUTQ` of tcp(7), which cannot be
/// asked for without `unsafe`.
pub(super) fn unacknowledged(socket: BorrowedFd<'_>) -> Option<u32> {
    let here = SocketAddr::try_from(getsockname(socket).ok()?).ok()?;
    let there = SocketAddr::try_from(getpeername(socket).ok()??).ok()?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let kernel =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::SOCK_DIAG));
    let kernel = kernel.ok()?;
    send(&kernel, &question(here, there), SendFlags::DONTWAIT).ok()?;
    let mut answer = [0; 512];
    // The kernel answers while it is asked.
    let (_, length) = recv(&kernel, &mut answer[..], RecvFlags::DONTWAIT).ok()?;
    let answer = answer.get(..length)?;
    (answer.get(4..6)? == BY_FAMILY.to_ne_bytes()).then_some(())?;
    answer.get(UNACKNOWLEDGED)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn question(here: SocketAddr, there: SocketAddr) -> Vec<u8> {
    let length = HEADER + QUESTION;
    let mut out = Vec::with_capacity(length);
    out.extend((length as u32).to_ne_bytes());
    out.extend(BY_FAMILY.to_ne_bytes());
    out.extend(REQUEST.to_ne_bytes());
    out.extend([0; 8]);
    let family = if here.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    out.extend([u8::try_from(family.as_raw()).unwrap_or_default(), TCP, 0, 0]);
    // In whatever state.
    out.extend(u32::MAX.to_ne_bytes());
    out.extend(here.port().to_be_bytes());
    out.extend(there.port().to_be_bytes());
    for address in [here.ip(), there.ip()] {
        match address {
            IpAddr::V4(v4) => out.extend(v4.octets().into_iter().chain([0; 12])),
            IpAddr::V6(v6) => out.extend(v6.octets()),
        }
    }
    let interface = match there {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(v6) => v6.scope_id(),
    };
    out.extend(interface.to_ne_bytes());
    // Whatever its cookie.
    out.extend([0xff; 8]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd as _;

    #[test]
    fn the_kernel_tells_what_the_peer_has_not_acknowledged() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut ours, _) = listener.accept().unwrap();
            ours.set_nonblocking(true).unwrap();
            let (mut sent, block) = (0, [7; 64 << 10]);
            while let Ok(more) = ours.write(&block) {
                sent += more;
            }
            let stuck = unacknowledged(ours.as_fd()).unwrap();
            assert!(stuck > 0 && stuck as usize <= sent, "{address}: {stuck} of {sent}");
            let mut all = vec![0; sent];
            peer.read_exact(&mut all).unwrap();
            // What was read last is acknowledged soon.
            while unacknowledged(ours.as_fd()).unwrap() > 0 {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn of_what_is_not_tcp_nobody_tells() {
        let (ours, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(unacknowledged(ours.as_fd()), None);
    }
}
