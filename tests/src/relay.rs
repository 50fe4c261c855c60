//! A bad network between a NAS and the gateway: it loses, duplicates and reorders datagrams in both directions. What it
//! does to the nth datagram of a flow follows from its seed alone.

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How bad it is; shares from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Datagrams that never arrive.
    pub lost: f64,
    /// Datagrams that arrive twice.
    pub doubled: f64,
    /// Datagrams that arrive late, behind others.
    pub late: f64,
    /// How late at most.
    pub by: Duration,
}

/// What it did so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// Datagrams that came in.
    pub taken: AtomicU64,
    /// Datagrams thrown away.
    pub lost: AtomicU64,
    /// Datagrams sent twice.
    pub doubled: AtomicU64,
    /// Datagrams held back.
    pub late: AtomicU64,
}

/// A running relay; dropping it ends it.
pub struct Relay {
    address: SocketAddr,
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// How many milliseconds the thread listens before it looks whether something is due or it should stop.
const TICK: u8 = 2;

impl Relay {
    /// Stands before `server`.
    pub fn start(server: SocketAddr, seed: u64, faults: Faults) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has ports");
        let address = socket.local_addr().expect("it is bound");
        let (tally, stop) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
        let front = Front { socket, server, seed, faults, tally: tally.clone(), stop: stop.clone() };
        let thread = Some(std::thread::spawn(move || front.run()));
        Self { address, tally, stop, thread }
    }

    /// Where NASes send to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it did so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The side of the NASes: one upstream socket for each of their ports, so that the gateway sees them apart. One thread waits
/// for all of them, however many ports a NAS uses.
struct Front {
    socket: UdpSocket,
    server: SocketAddr,
    seed: u64,
    faults: Faults,
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
}

/// One port of a NAS.
struct Flow {
    nas: SocketAddr,
    upstream: UdpSocket,
    there: Direction,
    back: Direction,
}

/// What stands for the socket of the NASes' side among the events; flows have their number.
const FRONT: u64 = u64::MAX;

impl Front {
    fn run(self) {
        let epoll = Epoll::new(EpollCreateFlags::empty()).expect("there are descriptors");
        let watch = |socket: &UdpSocket, number| {
            socket.set_nonblocking(true).expect("it is a socket");
            epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, number)).expect("there is room");
        };
        watch(&self.socket, FRONT);
        let mut flows: Vec<Flow> = Vec::new();
        let mut numbers: HashMap<SocketAddr, usize> = HashMap::new();
        let mut events = [EpollEvent::empty(); 64];
        while !self.stop.load(Ordering::Relaxed) {
            let ready = epoll.wait(&mut events, TICK).unwrap_or_default();
            for event in &events[..ready] {
                if event.data() == FRONT {
                    while let Some((octets, nas)) = receive(&self.socket) {
                        let number = *numbers.entry(nas).or_insert_with(|| {
                            let number = flows.len() as u64;
                            let upstream = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has ports");
                            watch(&upstream, number);
                            let (there, back) = (self.direction(2 * number), self.direction(2 * number + 1));
                            flows.push(Flow { nas, upstream, there, back });
                            flows.len() - 1
                        });
                        flows[number].there.take(octets, &self.tally);
                    }
                } else if let Some(flow) = usize::try_from(event.data()).ok().and_then(|at| flows.get_mut(at)) {
                    while let Some((octets, from)) = receive(&flow.upstream) {
                        assert_eq!(from, self.server, "a reply must come from where the request went");
                        flow.back.take(octets, &self.tally);
                    }
                }
            }
            for Flow { nas, upstream, there, back } in &mut flows {
                there.release(|octets| drop(upstream.send_to(octets, self.server)));
                back.release(|octets| drop(self.socket.send_to(octets, *nas)));
            }
        }
    }

    fn direction(&self, number: u64) -> Direction {
        let chance = SmallRng::seed_from_u64(self.seed.wrapping_mul(1_000_003).wrapping_add(number));
        Direction { chance, faults: self.faults, waiting: BTreeMap::new(), serial: 0 }
    }
}

fn receive(socket: &UdpSocket) -> Option<(Vec<u8>, SocketAddr)> {
    let mut buffer = vec![0; 8192];
    match socket.recv_from(&mut buffer) {
        Ok((length, from)) => {
            buffer.truncate(length);
            Some((buffer, from))
        }
        // Nothing more, or the port of a NAS that is gone.
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => None,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => None,
        Err(error) => panic!("{error}"),
    }
}

/// What waits on one way, by when it is due.
struct Direction {
    chance: SmallRng,
    faults: Faults,
    waiting: BTreeMap<(Instant, u64), Vec<u8>>,
    serial: u64,
}

impl Direction {
    fn take(&mut self, octets: Vec<u8>, tally: &Tally) {
        tally.taken.fetch_add(1, Ordering::Relaxed);
        // Every datagram draws the same number of times, so that the fate of one does not move that of the next.
        let [lost, doubled, late, again] = std::array::from_fn(|_| self.chance.random::<f64>());
        let [delay, delay_again] = std::array::from_fn(|_| self.faults.by.mul_f64(self.chance.random::<f64>()));
        if lost < self.faults.lost {
            tally.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if doubled < self.faults.doubled {
            tally.doubled.fetch_add(1, Ordering::Relaxed);
            self.hold(octets.clone(), again < self.faults.late, delay_again, tally);
        }
        self.hold(octets, late < self.faults.late, delay, tally);
    }

    fn hold(&mut self, octets: Vec<u8>, late: bool, delay: Duration, tally: &Tally) {
        let mut due = Instant::now();
        if late {
            tally.late.fetch_add(1, Ordering::Relaxed);
            due += delay;
        }
        self.serial += 1;
        self.waiting.insert((due, self.serial), octets);
    }

    fn release(&mut self, mut send: impl FnMut(&[u8])) {
        if self.waiting.is_empty() {
            return;
        }
        let later = self.waiting.split_off(&(Instant::now(), u64::MAX));
        std::mem::replace(&mut self.waiting, later).into_values().for_each(|octets| send(&octets));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_loses_doubles_and_reorders_as_told() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        server.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let faults = Faults { lost: 0.2, doubled: 0.2, late: 0.3, by: Duration::from_millis(30) };
        let relay = Relay::start(server.local_addr().unwrap(), 7, faults);
        let nas = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let arrived = std::thread::spawn(move || {
            let (mut arrived, mut buffer) = (Vec::new(), [0; 4]);
            while server.recv_from(&mut buffer).is_ok() {
                arrived.push(u32::from_be_bytes(buffer));
            }
            arrived
        });
        for number in 0..500_u32 {
            nas.send_to(&number.to_be_bytes(), relay.address()).unwrap();
            crate::eventually("it is taken", || {
                (relay.tally().taken.load(Ordering::Relaxed) > u64::from(number)).then_some(())
            });
        }
        let arrived = arrived.join().unwrap();
        let count = |of: &AtomicU64| usize::try_from(of.load(Ordering::Relaxed)).unwrap();
        let (lost, doubled) = (count(&relay.tally().lost), count(&relay.tally().doubled));
        assert_eq!(arrived.len(), 500 - lost + doubled);
        assert!((60..140).contains(&lost) && (40..130).contains(&doubled), "{:?}", relay.tally());
        assert!(!arrived.is_sorted(), "some arrive behind others");
    }
}
