//! The load itself: one thread that never sleeps, so that neither its own waking nor the server's work for it disturbs what
//! is measured.
//!
//! **Closed loop**: a fixed number of sign-ins is in progress, each end begins the next one. This finds the most that a server
//! can do. **Open loop**: sign-ins begin at a fixed rate, whatever the server does. Time counts from when a sign-in was due, not
//! from when it was sent: a server that stalls cannot hide it by stalling the generator too.

use crate::check::{Demands, Fault, check};
use crate::cpu::{Used, peak_memory, pin};
use crate::flights::{Flight, Flights, Place};
use crate::people::{Person, people};
use crate::scenario::{Codes, Leg, Next, Scenario, request};
use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use nix::sys::epoll::EpollEvent;
use nix::unistd::Pid;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How sign-ins follow each other.
#[derive(Clone, Copy, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pace {
    /// So many at a time.
    Closed(usize),
    /// So many begin per second.
    Open(u32),
}

/// A run, before it starts.
pub(crate) struct Plan {
    pub(crate) target: SocketAddr,
    pub(crate) demands: Demands,
    pub(crate) scenario: Scenario,
    pub(crate) codes: Codes,
    pub(crate) pace: Pace,
    pub(crate) users: u32,
    /// Where every user's token stands.
    pub(crate) counter: u64,
    pub(crate) ports: usize,
    /// Load that does not count, at the beginning.
    pub(crate) warm_up: Duration,
    /// Load that counts.
    pub(crate) measure: Duration,
    /// How long each try waits for its reply.
    pub(crate) patience: Duration,
    pub(crate) tries: u32,
    /// The generator's core.
    pub(crate) pin: Option<usize>,
    /// The server, if its processor time is to be measured.
    pub(crate) server: Option<Pid>,
}

/// What was counted during the measured time.
pub(crate) struct Outcome {
    pub(crate) elapsed: Duration,
    /// Requests whose reply was right.
    pub(crate) requests: u64,
    /// Sign-ins that ended as they must.
    pub(crate) sign_ins: u64,
    pub(crate) retransmissions: u64,
    pub(crate) faults: BTreeMap<Fault, u64>,
    /// Replies to nothing that was asked, or to what was already answered.
    pub(crate) strays: u64,
    /// Nanoseconds from a request to its reply.
    pub(crate) latency: Histogram<u64>,
    /// Nanoseconds from a sign-in's first request to its end.
    pub(crate) sign_in_latency: Histogram<u64>,
    pub(crate) used: Option<Used>,
    /// Octets.
    pub(crate) peak_memory: Option<u64>,
}

impl Outcome {
    fn new() -> Result<Self> {
        let histogram = || Histogram::new_with_bounds(1, 120_000_000_000, 3);
        Ok(Self {
            elapsed: Duration::ZERO,
            requests: 0,
            sign_ins: 0,
            retransmissions: 0,
            faults: BTreeMap::new(),
            strays: 0,
            latency: histogram()?,
            sign_in_latency: histogram()?,
            used: None,
            peak_memory: None,
        })
    }
}

/// Runs the plan to its end.
pub(crate) fn run(plan: &Plan) -> Result<Outcome> {
    if let Some(core) = plan.pin {
        pin(core)?;
    }
    if let Pace::Closed(sign_ins) = plan.pace {
        ensure!(sign_ins <= plan.users as usize, "{sign_ins} sign-ins at a time need as many users; raise --users");
        ensure!(sign_ins <= plan.ports * 256, "{sign_ins} sign-ins at a time need more source ports; raise --ports");
    }
    Generator::new(plan)?.run()
}

struct Generator<'a> {
    plan: &'a Plan,
    people: Vec<Person>,
    /// Users who are not signing in, the one who waited longest first. A user signs in once at a time.
    idle: VecDeque<usize>,
    flights: Flights,
    /// All tries wait equally long, so that a queue is in the order of time.
    deadlines: VecDeque<(Instant, Place, u64)>,
    sign_ins: usize,
    serial: u64,
    random: u64,
    outcome: Outcome,
}

impl<'a> Generator<'a> {
    fn new(plan: &'a Plan) -> Result<Self> {
        let people: Vec<Person> = people(plan.users, plan.counter).collect();
        let seed = std::time::SystemTime::UNIX_EPOCH.elapsed()?.subsec_nanos();
        Ok(Self {
            plan,
            idle: (0..people.len()).collect(),
            people,
            flights: Flights::new(plan.target, plan.ports)?,
            deadlines: VecDeque::new(),
            sign_ins: 0,
            serial: 0,
            random: u64::from(seed) << 32 | u64::from(std::process::id()),
            outcome: Outcome::new()?,
        })
    }

    fn run(mut self) -> Result<Outcome> {
        let start = Instant::now();
        let measured_from = start + self.plan.warm_up;
        let end = measured_from + self.plan.measure;
        let mut due = start;
        let mut before = None;
        loop {
            let now = Instant::now();
            if before.is_none() && now >= measured_from {
                self.outcome = Outcome::new()?;
                before = Some((now, self.plan.server.map(Used::by).transpose()?));
            }
            if now >= end {
                break;
            }
            match self.plan.pace {
                Pace::Closed(sign_ins) => while self.sign_ins < sign_ins && self.begin(now)? {},
                Pace::Open(rate) => {
                    while due <= now {
                        if !self.begin(due)? {
                            self.fault(Fault::NotStarted);
                        }
                        due += Duration::from_secs(1) / rate.max(1);
                    }
                }
            }
            let received = self.receive()?;
            self.expire(now)?;
            if received == 0 {
                // On a machine with a single core the server needs it.
                std::thread::yield_now();
            }
        }
        if let Some((since, used)) = before {
            self.outcome.elapsed = since.elapsed();
            if let (Some(server), Some(used)) = (self.plan.server, used) {
                self.outcome.used = Some(Used::by(server)?.since(used));
                self.outcome.peak_memory = Some(peak_memory(server)?);
            }
        }
        Ok(self.outcome)
    }

    /// Begins a sign-in that was due at `since`; false if there is no user or identifier for it.
    fn begin(&mut self, since: Instant) -> Result<bool> {
        let Some(user) = self.idle.pop_front() else { return Ok(false) };
        if self.send(user, self.plan.scenario.first(self.serial), since, since)? {
            self.sign_ins += 1;
            return Ok(true);
        }
        self.idle.push_front(user);
        Ok(false)
    }

    fn send(&mut self, user: usize, leg: Leg, since: Instant, begun: Instant) -> Result<bool> {
        let authenticator = self.authenticator();
        let Some(place) = self.flights.vacancy() else { return Ok(false) };
        let Some(person) = self.people.get_mut(user) else { return Ok(false) };
        let plan = self.plan;
        let secret = &plan.demands.secret;
        let with = (plan.scenario, plan.codes);
        let (packet, expected) = request(with, &leg, person, place.identifier, authenticator, secret)?;
        // Some requests compute their own.
        let authenticator = packet.get(4..20).and_then(|field| field.try_into().ok()).unwrap_or(authenticator);
        let flight = Flight { user, leg, expected, packet, authenticator, since, begun, tries: 1, serial: 0 };
        self.launch(place, flight);
        Ok(true)
    }

    fn launch(&mut self, place: Place, mut flight: Flight) {
        self.serial += 1;
        flight.serial = self.serial;
        let deadline = (Instant::now() + self.plan.patience, place, self.serial);
        if self.flights.launch(place, flight).is_err() {
            self.fault(Fault::Send);
        }
        self.deadlines.push_back(deadline);
    }

    fn receive(&mut self) -> Result<usize> {
        let mut events = [EpollEvent::empty(); 64];
        let mut buffer = [0; 4096];
        let ready = self.flights.readable(&mut events)?;
        for event in events.iter().take(ready) {
            let port = usize::try_from(event.data())?;
            while let Some(length) = self.flights.receive(port, &mut buffer) {
                let reply = buffer.get(..length).unwrap_or_default();
                let identifier = reply.get(1).copied().unwrap_or_default();
                self.land(Place { port, identifier }, reply)?;
            }
        }
        Ok(ready)
    }

    fn land(&mut self, place: Place, reply: &[u8]) -> Result<()> {
        let now = Instant::now();
        let Some(flight) = self.flights.get(place) else {
            self.outcome.strays += 1;
            return Ok(());
        };
        let checked = check(reply, &flight.authenticator, &flight.expected, &self.plan.demands);
        if checked == Err(Fault::ResponseAuthenticator) {
            // Anybody could have sent it: a NAS drops it too, and goes on waiting for the right one.
            self.fault(Fault::ResponseAuthenticator);
            return Ok(());
        }
        let Some(flight) = self.flights.take(place) else { return Ok(()) };
        match checked {
            Ok(state) => {
                self.outcome.requests += 1;
                self.outcome.latency.saturating_record(nanoseconds(now - flight.since));
                match self.plan.scenario.next(&flight.leg, state) {
                    Next::Send(leg) => {
                        if !self.send(flight.user, leg, now, flight.begun)? {
                            self.fault(Fault::NotStarted);
                            self.finish(flight.user);
                        }
                        return Ok(());
                    }
                    Next::Repeat(left) => {
                        self.launch(place, Flight { leg: Leg::Again(left), since: now, tries: 1, ..flight });
                        return Ok(());
                    }
                    Next::Done => {}
                }
                self.outcome.sign_ins += 1;
                self.outcome.sign_in_latency.saturating_record(nanoseconds(now - flight.begun));
            }
            Err(fault) => self.fault(fault),
        }
        self.finish(flight.user);
        Ok(())
    }

    /// Sends again what has waited too long, and gives up what was sent often enough.
    fn expire(&mut self, now: Instant) -> Result<()> {
        while let Some(&(deadline, place, serial)) = self.deadlines.front() {
            let waiting = self.flights.get(place).is_some_and(|flight| flight.serial == serial);
            if waiting && deadline > now {
                break;
            }
            self.deadlines.pop_front();
            if !waiting {
                continue;
            }
            let Some(flight) = self.flights.get_mut(place) else { continue };
            if flight.tries < self.plan.tries {
                flight.tries += 1;
                self.outcome.retransmissions += 1;
                if self.flights.resend(place).is_err() {
                    self.fault(Fault::Send);
                }
                self.deadlines.push_back((Instant::now() + self.plan.patience, place, serial));
            } else if let Some(flight) = self.flights.take(place) {
                self.fault(Fault::TimeOut);
                self.finish(flight.user);
            }
        }
        Ok(())
    }

    fn finish(&mut self, user: usize) {
        self.sign_ins -= 1;
        self.idle.push_back(user);
    }

    fn fault(&mut self, fault: Fault) {
        *self.outcome.faults.entry(fault).or_default() += 1;
    }

    /// Sixteen octets that never repeat (SplitMix64). Enough for a load; a real NAS needs them unpredictable.
    fn authenticator(&mut self) -> [u8; 16] {
        let mut word = || {
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.random;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            u128::from(mixed ^ (mixed >> 31))
        };
        (word() << 64 | word()).to_be_bytes()
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "generator_tests.rs"]
mod tests;
