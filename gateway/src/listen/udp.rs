//! UDP, received and sent in batches: one system call for up to [`BATCH`] datagrams.
//!
//! One socket belongs to one thread; the kernel spreads RADIUS clients over the sockets by address and port (SO_REUSEPORT),
//! so that a retransmission meets the thread that saw the first packet.
//!
//! A reply must leave from the address and port that were asked ([RFC 2865 §3]): a firewall or NAS drops it otherwise. A
//! socket bound to one address does that by itself. A wildcard socket learns the address of each datagram from its packet
//! information (IP_PKTINFO, IPV6_RECVPKTINFO) and names it again for the reply.
//!
//! Why three libraries: `nix` alone offers recvmmsg and packet information; but to learn how many messages its sendmmsg sent
//! one must iterate over addresses that nobody has initialised, and it takes one control message for a whole batch. So
//! batches go out through `rustix`, and replies that name their source address through `nix`, one by one.
//!
//! [RFC 2865 §3]: https://www.rfc-editor.org/rfc/rfc2865#section-3

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage, recvmmsg, sendmsg,
};
use rustix::net::addr::SocketAddrArg;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use socket2::Socket;
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::Interest;

/// The most datagrams taken from the socket, or given to it, at a time: the listener yields after each batch.
pub const BATCH: usize = 64;

/// The longest RADIUS packet over UDP, in octets (RFC 2865 §3).
pub const MAX_PACKET: usize = 4096;

/// Sizes of a socket's kernel buffers, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// What waits to be read: it must hold the burst that arrives while the thread is busy.
    pub receive: usize,
    /// What waits to be sent.
    pub send: usize,
}

/// A datagram as it came.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// The octets, at most [`MAX_PACKET`].
    pub bytes: &'a [u8],
    /// Who sent it.
    pub peer: SocketAddr,
    /// The address and port it was sent to, and a reply must come from.
    pub local: SocketAddr,
    /// It was longer than [`MAX_PACKET`]; the rest is lost.
    pub truncated: bool,
}

/// A datagram to be sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The octets; shared with whoever keeps them for duplicates.
    pub bytes: Arc<[u8]>,
    /// Where to.
    pub peer: SocketAddr,
    /// From which address: the `local` of the datagram that this one answers.
    pub local: SocketAddr,
}

/// What became of a queue that was to be sent.
#[derive(Debug, Default)]
pub struct SendReport {
    /// How many the kernel took.
    pub sent: usize,
    /// How many it refused for good, each for a fault of its own (no route, too long). They are gone from the queue.
    pub failed: usize,
    /// The send buffer is full (or the event loop has not yet said that it is not): the rest is still queued, [`UdpSocket::poll_writable`] tells when to go on.
    pub would_block: bool,
    /// The last refusal and where that datagram was to go, for the log.
    pub failure: Option<(SocketAddr, io::Error)>,
}

/// A socket that is bound but not yet tied to a thread's event loop. Unlike [`UdpSocket`] it may be moved to its thread.
#[derive(Debug)]
pub struct Bound {
    pub(super) socket: Socket,
    pub(super) local: SocketAddr,
    pub(super) obtained: Buffers,
}

impl Bound {
    /// The address, with the real port where 0 was asked for.
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// The buffers that the system granted: smaller than asked for means that net.core.rmem_max or wmem_max is.
    pub fn obtained(&self) -> Buffers {
        self.obtained
    }
}

/// A socket on its thread.
pub struct UdpSocket {
    socket: tokio::net::UdpSocket,
    local: SocketAddr,
    headers: MultiHeaders<SockaddrStorage>,
    buffers: Box<[[u8; MAX_PACKET]]>,
}

impl UdpSocket {
    /// Ties a bound socket to the event loop of the calling thread.
    ///
    /// # Errors
    /// The event loop is gone or the process has no more descriptors for it.
    pub fn new(bound: Bound) -> io::Result<Self> {
        Ok(Self {
            socket: tokio::net::UdpSocket::from_std(bound.socket.into())?,
            local: bound.local,
            headers: headers(bound.local),
            buffers: vec![[0; MAX_PACKET]; BATCH].into_boxed_slice(),
        })
    }

    /// Binds and ties in one step; see [`Bound::bind`].
    ///
    /// # Errors
    /// Those of [`Bound::bind`] and [`UdpSocket::new`].
    pub fn bind(address: SocketAddr, buffers: Buffers) -> io::Result<Self> {
        Self::new(Bound::bind(address, buffers)?)
    }

    /// The address, with the real port where 0 was asked for.
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// Waits for datagrams and gives at most [`BATCH`] of them to `each`; returns how many. Zero means that the kernel had an
    /// error to tell that concerns one peer (an ICMP message) or passes (no memory): call again.
    ///
    /// # Errors
    /// The socket itself is unusable; calling again will not help.
    pub fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        mut each: impl FnMut(Datagram<'_>),
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_recv_ready(cx))?;
            let fd = self.socket.as_raw_fd();
            let mut outcome = Err(Errno::EAGAIN);
            let waiting = self.socket.try_io(Interest::READABLE, || {
                outcome = receive(fd, self.local, &mut self.headers, &mut self.buffers, &mut each);
                match outcome {
                    // A short batch has emptied the socket, so it is reported as if it had blocked. Whatever arrives later
                    // raises a new event: asking once more, only to be told EAGAIN, would be a wasted system call.
                    Ok(count) if count < BATCH => Err(io::ErrorKind::WouldBlock.into()),
                    Err(Errno::EAGAIN) => Err(io::ErrorKind::WouldBlock.into()),
                    Ok(_) | Err(_) => Ok(()),
                }
            });
            match outcome {
                Ok(count) => return Poll::Ready(Ok(count)),
                Err(Errno::EAGAIN) => match waiting {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
                    _ => {}
                },
                Err(errno) if is_fatal(errno) => return Poll::Ready(Err(errno.into())),
                Err(_) => return Poll::Ready(Ok(0)),
            }
        }
    }

    /// Waits until the socket takes datagrams again.
    ///
    /// # Errors
    /// The event loop is gone.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_send_ready(cx)
    }

    /// Sends from the front of the queue until it is empty or the socket is full; never waits.
    ///
    /// # Errors
    /// The socket itself is unusable. The fault of a single datagram is no error: see [`SendReport`].
    pub fn send_batch(&mut self, queue: &mut VecDeque<Outgoing>) -> io::Result<SendReport> {
        let mut report = SendReport::default();
        while let Some(first) = queue.front() {
            let tried = self.socket.try_io(Interest::WRITABLE, || {
                if self.local.ip().is_unspecified() {
                    send_from(&self.socket, first)
                } else {
                    send_many(&self.socket, queue)
                }
            });
            match tried {
                Ok(count) => {
                    queue.drain(..count.min(queue.len()));
                    report.sent += count;
                }
                Err(error) => match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
                    // try_io answers with a kind and no number while the socket is known to be full.
                    _ if error.kind() == io::ErrorKind::WouldBlock => {
                        report.would_block = true;
                        break;
                    }
                    Errno::EINTR => {}
                    errno if is_fatal(errno) => return Err(error),
                    _ => {
                        report.failed += 1;
                        report.failure = Some((first.peer, error));
                        queue.pop_front();
                    }
                },
            }
        }
        Ok(report)
    }
}

/// Errors of the socket, not of a datagram: a bug or a descriptor closed under us.
fn is_fatal(errno: Errno) -> bool {
    matches!(errno, Errno::EBADF | Errno::ENOTSOCK | Errno::EFAULT)
}

/// Headers for receiving. They hold pointers to their own storage, so they serve for nothing else.
fn headers(local: SocketAddr) -> MultiHeaders<SockaddrStorage> {
    let control = match local.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Some(cmsg_space!(libc::in_pktinfo)),
        IpAddr::V6(ip) if ip.is_unspecified() => Some(cmsg_space!(libc::in6_pktinfo)),
        _ => None,
    };
    MultiHeaders::preallocate(BATCH, control)
}

fn receive(
    fd: i32,
    local: SocketAddr,
    headers: &mut MultiHeaders<SockaddrStorage>,
    buffers: &mut [[u8; MAX_PACKET]],
    each: &mut impl FnMut(Datagram<'_>),
) -> nix::Result<usize> {
    let wildcard = local.ip().is_unspecified();
    let mut spent = false;
    let mut count = 0;
    {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = buffers.iter_mut().map(|b| [IoSliceMut::new(b)]).collect();
        for message in recvmmsg(fd, headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)? {
            count += 1;
            let local = if wildcard {
                let asked = destination(&message, local.port());
                spent |= asked.is_none();
                asked.unwrap_or(local)
            } else {
                local
            };
            let bytes = message.iovs().next().unwrap_or_default();
            let truncated = message.flags.contains(MsgFlags::MSG_TRUNC);
            if let Some(peer) = message.address.as_ref().and_then(peer) {
                each(Datagram { bytes, peer, local, truncated });
            }
        }
    }
    // The kernel shortens each header to the control data it wrote, and nix does not lengthen it again. Equal messages leave
    // room for the next equal one; a message without any would leave its place blind for ever.
    if spent {
        *headers = self::headers(local);
    }
    Ok(count)
}

fn peer(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::V4((*v4).into()));
    }
    address.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into()))
}

/// The address that a datagram was sent to, as far as one can answer from it.
fn destination(message: &RecvMsg<'_, '_, SockaddrStorage>, port: u16) -> Option<SocketAddr> {
    message.cmsgs().ok()?.find_map(|control| match control {
        // Not ipi_addr, which may be a broadcast address: ipi_spec_dst is the host's own (ip(7)).
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let ip = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
            Some(SocketAddr::new(ip.into(), port))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            let ip = if ip.is_multicast() { Ipv6Addr::UNSPECIFIED } else { ip };
            // A link-local address means nothing without its interface.
            let scope = if ip.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
            Some(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope)))
        }
        _ => None,
    })
}

/// One batch from a socket with one address.
fn send_many(socket: &tokio::net::UdpSocket, queue: &VecDeque<Outgoing>) -> io::Result<usize> {
    let batch = || queue.iter().take(BATCH);
    let peers: Vec<SocketAddrAny> = batch().map(|outgoing| outgoing.peer.as_any()).collect();
    let octets: Vec<[IoSlice<'_>; 1]> = batch().map(|outgoing| [IoSlice::new(&outgoing.bytes)]).collect();
    let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> = batch().map(|_| SendAncillaryBuffer::default()).collect();
    let mut messages: Vec<MMsgHdr<'_>> = peers
        .iter()
        .zip(&octets)
        .zip(&mut controls)
        .map(|((peer, octets), control)| MMsgHdr::new_with_addr(peer, octets, control))
        .collect();
    Ok(sendmmsg(socket, &mut messages, SendFlags::DONTWAIT)?)
}

/// One datagram from a wildcard socket, with its source address named.
fn send_from(socket: &tokio::net::UdpSocket, outgoing: &Outgoing) -> io::Result<usize> {
    let octets = [IoSlice::new(&outgoing.bytes)];
    let peer = SockaddrStorage::from(outgoing.peer);
    let send = |source| sendmsg(socket.as_raw_fd(), &octets, &[source], MsgFlags::MSG_DONTWAIT, Some(&peer));
    match outgoing.local {
        SocketAddr::V4(local) => send(ControlMessage::Ipv4PacketInfo(&libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(local.ip().octets()) },
            ipi_addr: libc::in_addr { s_addr: 0 },
        })),
        SocketAddr::V6(local) => send(ControlMessage::Ipv6PacketInfo(&libc::in6_pktinfo {
            ipi6_addr: libc::in6_addr { s6_addr: local.ip().octets() },
            ipi6_ifindex: local.scope_id(),
        })),
    }?;
    Ok(1)
}

#[cfg(test)]
#[path = "udp_tests.rs"]
mod tests;
