//! The generator's sockets and what is under way on each: RADIUS allows 256 identifiers per source port.

use crate::scenario::{Expected, Leg};
use anyhow::{Context, Result};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Instant;

/// A request that waits for its reply.
#[derive(Debug)]
pub(crate) struct Flight {
    /// Index of the user.
    pub(crate) user: usize,
    pub(crate) leg: Leg,
    pub(crate) expected: Expected,
    pub(crate) packet: Vec<u8>,
    pub(crate) authenticator: [u8; 16],
    /// From when the wait for this packet counts.
    pub(crate) since: Instant,
    /// From when the wait for the whole sign-in counts.
    pub(crate) begun: Instant,
    /// How often it was sent.
    pub(crate) tries: u32,
    /// Tells it from another flight that later has the same place.
    pub(crate) serial: u64,
}

/// Where a flight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) port: usize,
    pub(crate) identifier: u8,
}

struct Port {
    socket: UdpSocket,
    next: u8,
    flights: Vec<Option<Flight>>,
}

/// All source ports.
pub(crate) struct Flights {
    ports: Vec<Port>,
    turn: usize,
    epoll: Epoll,
}

impl Flights {
    pub(crate) fn new(target: SocketAddr, ports: usize) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let any = if target.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
        let ports = (0..ports)
            .map(|index| {
                let socket = UdpSocket::bind(SocketAddr::new(any, 0)).context("no free source port")?;
                socket.connect(target).with_context(|| format!("no way to {target}"))?;
                socket.set_nonblocking(true)?;
                epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, u64::try_from(index)?))?;
                Ok(Port { socket, next: 0, flights: (0..256).map(|_| None).collect() })
            })
            .collect::<Result<_>>()?;
        Ok(Self { ports, turn: 0, epoll })
    }

    /// A free place: ports in turn, identifiers in turn, so that one is used again as late as possible.
    pub(crate) fn vacancy(&mut self) -> Option<Place> {
        for _ in 0..self.ports.len() {
            let index = self.turn;
            self.turn = (self.turn + 1) % self.ports.len();
            let port = self.ports.get_mut(index)?;
            for _ in 0..256 {
                let identifier = port.next;
                port.next = port.next.wrapping_add(1);
                if port.flights.get(usize::from(identifier)).is_some_and(Option::is_none) {
                    return Some(Place { port: index, identifier });
                }
            }
        }
        None
    }

    /// Sends what a flight carries, and keeps the flight.
    pub(crate) fn launch(&mut self, place: Place, flight: Flight) -> std::io::Result<()> {
        let Some(port) = self.ports.get_mut(place.port) else { return Ok(()) };
        let sent = port.socket.send(&flight.packet);
        if let Some(slot) = port.flights.get_mut(usize::from(place.identifier)) {
            *slot = Some(flight);
        }
        sent.map(|_| ())
    }

    /// Sends once more.
    pub(crate) fn resend(&self, place: Place) -> std::io::Result<()> {
        if let (Some(port), Some(flight)) = (self.ports.get(place.port), self.get(place)) {
            port.socket.send(&flight.packet)?;
        }
        Ok(())
    }

    pub(crate) fn get(&self, place: Place) -> Option<&Flight> {
        self.ports.get(place.port)?.flights.get(usize::from(place.identifier))?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, place: Place) -> Option<&mut Flight> {
        self.ports.get_mut(place.port)?.flights.get_mut(usize::from(place.identifier))?.as_mut()
    }

    /// The flight has landed, or is given up.
    pub(crate) fn take(&mut self, place: Place) -> Option<Flight> {
        self.ports.get_mut(place.port)?.flights.get_mut(usize::from(place.identifier))?.take()
    }

    /// Which ports have something to read at this moment. Never waits: a generator that sleeps must be woken by the server,
    /// and the server would be charged for it.
    pub(crate) fn readable(&self, events: &mut [EpollEvent]) -> Result<usize> {
        Ok(self.epoll.wait(events, EpollTimeout::ZERO)?)
    }

    /// The next datagram at a port, if there is one. An error of an earlier send counts as none: its flight times out.
    pub(crate) fn receive(&self, port: usize, buffer: &mut [u8]) -> Option<usize> {
        self.ports.get(port)?.socket.recv(buffer).ok()
    }
}
