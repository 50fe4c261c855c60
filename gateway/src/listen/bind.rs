//! Making UDP sockets: every option that must be set before the first datagram arrives, and errors that say what to do.

use super::udp::{Bound, Buffers};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;

impl Bound {
    /// Binds one socket that shares its address with others of the same user (SO_REUSEPORT).
    ///
    /// # Errors
    /// Names the address and the remedy: port taken, port below 1024 without the right, address not on this host.
    pub fn bind(address: SocketAddr, buffers: Buffers) -> io::Result<Self> {
        let address = plain(address);
        let socket = open(address, true).map_err(|error| explain(address, error))?;
        let obtained = enlarge(&socket, buffers);
        let local = bind(&socket, address)?;
        Ok(Self { socket, local, obtained })
    }

    /// Binds one socket per thread, all to the same address; port 0 picks one free port for all of them.
    ///
    /// SO_REUSEPORT would let a second gateway of the same user bind too and take half of the packets without a word. So
    /// the address is first bound without it, and a port that anybody has is an error.
    ///
    /// # Errors
    /// As [`Bound::bind`].
    pub fn bind_group(address: SocketAddr, sockets: usize, buffers: Buffers) -> io::Result<Vec<Self>> {
        let address = plain(address);
        let alone = open(address, false).map_err(|error| explain(address, error))?;
        let address = bind(&alone, address)?;
        drop(alone);
        (0..sockets).map(|_| Self::bind(address, buffers)).collect()
    }
}

/// IPv4-mapped IPv6 made plain, so that a socket speaks exactly one family.
fn plain(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_canonical() {
            std::net::IpAddr::V4(v4) => SocketAddr::new(v4.into(), v6.port()),
            std::net::IpAddr::V6(_) => address,
        },
        SocketAddr::V4(_) => address,
    }
}

/// A socket with every option set. Packet information is asked for before the bind, so that no datagram comes without it.
fn open(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if address.ip().is_unspecified() {
        if address.is_ipv6() {
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        }
    }
    Ok(socket)
}

/// Asks for the buffers, past the system's limit where the process may (CAP_NET_ADMIN), and returns what it got. A smaller
/// buffer than asked for is no reason not to start.
fn enlarge(socket: &Socket, asked: Buffers) -> Buffers {
    if setsockopt(socket, sockopt::RcvBufForce, &asked.receive).is_err() {
        let _ = socket.set_recv_buffer_size(asked.receive);
    }
    if setsockopt(socket, sockopt::SndBufForce, &asked.send).is_err() {
        let _ = socket.set_send_buffer_size(asked.send);
    }
    // Linux reports twice what was set: the other half is its own book-keeping (socket(7)).
    Buffers { receive: socket.recv_buffer_size().unwrap_or(0) / 2, send: socket.send_buffer_size().unwrap_or(0) / 2 }
}

fn bind(socket: &Socket, address: SocketAddr) -> io::Result<SocketAddr> {
    socket.bind(&address.into()).map_err(|error| explain(address, error))?;
    socket
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::Error::other(format!("UDP {address}: the socket has no address after the bind")))
}

fn explain(address: SocketAddr, error: io::Error) -> io::Error {
    let port = address.port();
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "another process has the port; `ss -lunp 'sport = :{port}'` shows which: stop it or choose another port"
            )
        }
        io::ErrorKind::PermissionDenied if port < 1024 => {
            "ports below 1024 need CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE)".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "a security module forbids it; look for a denial in the audit log".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "this host has no such address; `ip address` lists them, 0.0.0.0 or [::] means all; \
             for an address that moves between hosts set net.ipv4.ip_nonlocal_bind=1"
                .to_owned()
        }
        _ if error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT) => {
            "this host has no IPv6; listen on an IPv4 address".to_owned()
        }
        _ => "no known remedy".to_owned(),
    };
    io::Error::new(error.kind(), format!("cannot listen on UDP {address}: {error}: {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffers() -> Buffers {
        Buffers { receive: 1 << 20, send: 1 << 20 }
    }

    #[test]
    fn a_mapped_address_is_bound_as_ipv4() {
        let bound = Bound::bind("[::ffff:127.0.0.1]:0".parse().unwrap(), buffers()).unwrap();
        assert!(bound.local_address().is_ipv4());
    }

    #[test]
    fn a_group_shares_one_port_and_a_second_group_is_refused() {
        let group = Bound::bind_group("127.0.0.1:0".parse().unwrap(), 3, buffers()).unwrap();
        let address = group[0].local_address();
        assert!(group.iter().all(|bound| bound.local_address() == address));
        let error = Bound::bind_group(address, 1, buffers()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let text = error.to_string();
        assert!(text.contains(&address.to_string()) && text.contains("ss -lunp"), "{text}");
    }

    #[test]
    fn a_port_held_by_a_stranger_is_refused_with_the_remedy() {
        let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = Bound::bind(stranger.local_addr().unwrap(), buffers()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn an_address_of_another_host_is_named() {
        let error = Bound::bind("192.0.2.1:0".parse().unwrap(), buffers()).unwrap_err();
        assert!(error.to_string().contains("192.0.2.1"), "{error}");
        assert!(error.to_string().contains("ip address"), "{error}");
    }

    #[test]
    fn the_sizes_obtained_are_told() {
        let bound = Bound::bind("127.0.0.1:0".parse().unwrap(), Buffers { receive: 64 << 10, send: 64 << 10 }).unwrap();
        assert_eq!(bound.obtained(), Buffers { receive: 64 << 10, send: 64 << 10 });
    }
}
