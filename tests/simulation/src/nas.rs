//! The VPN servers, the network between them and the nodes, and what people do at a keyboard.

use crate::event::Event;
use crate::figures::Limit;
use crate::plan::Balancer;
use crate::provider::{cloud_code, code_of, has_token};
use crate::setup::{Nas, PASSWORD, STEP};
use crate::world::World;
use gateway_core::attempt::record::{AttemptId, PacketDigest};
use gateway_core::attempt::state::Kind;
use gateway_core::exchange::Verdict;
use gateway_core::exchange::duplicates::Key;
use gateway_core::radius::{Attributes, attribute};
use gateway_core::time::Timestamp;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// What a user typed, and what is true of it.
#[derive(Clone, Debug)]
pub(crate) enum Typed {
    /// Nothing: Enter.
    Nothing,
    /// The code of this time step of the user's own token.
    Token { step: u64, text: String },
    /// The code that the provider sent for this prompt.
    Cloud { prompt: usize },
    /// Something else.
    Wrong,
}

/// What a packet carries.
#[derive(Clone, Debug)]
pub(crate) enum Carries {
    /// A password.
    Password { right: bool },
    /// A State, and what was typed.
    State { state: usize, typed: Typed },
}

/// A reply that was spoken for a packet.
#[derive(Clone, Debug)]
pub(crate) struct Spoken {
    pub(crate) by: (usize, u32),
    pub(crate) octets: Arc<[u8]>,
    pub(crate) committed: bool,
    pub(crate) id: AttemptId,
    pub(crate) at: Timestamp,
}

/// One Access-Request of a VPN server.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    number: usize,
    pub(crate) nas: Nas,
    pub(crate) user: usize,
    pub(crate) device: Option<u8>,
    /// `None`: nobody waits for its answer.
    pub(crate) sign_in: Option<usize>,
    identifier: u8,
    /// Whose session it is: the user's, or that of somebody who shares the user's address.
    rides: bool,
    /// It gets a challenge for the volley.
    volley: bool,
    made: Timestamp,
    pub(crate) carries: Carries,
    pub(crate) spoken: Vec<Spoken>,
}

impl Packet {
    pub(crate) fn digest(&self) -> PacketDigest {
        PacketDigest((self.number as u128 + 1).to_be_bytes())
    }

    /// Acct-Session-Id, as an exchange keeps it.
    pub(crate) fn session(&self) -> Box<[u8]> {
        [attribute::ACCT_SESSION_ID, 1, u8::from(self.rides)].into()
    }

    /// Where it comes from, and its identifier.
    pub(crate) fn key(&self) -> Key {
        let address = |last: usize| IpAddr::V4(Ipv4Addr::new(192, 0, 2, u8::try_from(last).unwrap_or(0)));
        Key {
            source: SocketAddr::new(address(10 + self.nas.index()), 1024),
            local: SocketAddr::new(address(1), 1812),
            identifier: self.identifier,
        }
    }

    /// What stands in User-Password.
    pub(crate) fn password(&self) -> Option<String> {
        match &self.carries {
            Carries::Password { .. } if !self.nas.has_first_factor() => None,
            Carries::Password { right: true } => Some(PASSWORD.into()),
            Carries::Password { right: false } => Some("battery staple".into()),
            Carries::State { typed, .. } => Some(match typed {
                Typed::Nothing => String::new(),
                Typed::Token { text, .. } => text.clone(),
                Typed::Cloud { prompt } => cloud_code(*prompt),
                Typed::Wrong => "000000".into(),
            }),
        }
    }

    /// Which State it brings back.
    pub(crate) fn state(&self) -> Option<usize> {
        match self.carries {
            Carries::Password { .. } => None,
            Carries::State { state, .. } => Some(state),
        }
    }
}

/// A State that was sent.
#[derive(Clone, Debug)]
pub(crate) struct StateFact {
    pub(crate) wire: Vec<u8>,
    pub(crate) kind: Kind,
    /// The packet whose password earned it.
    pub(crate) origin: usize,
    /// The prompt that asks for a code which the provider sent.
    pub(crate) cloud: Option<usize>,
    /// Which packet it let in.
    pub(crate) accepted: Option<usize>,
}

/// One person's wish to get in.
#[derive(Clone, Debug)]
pub(crate) struct SignIn {
    pub(crate) user: usize,
    nas: Nas,
    device: Option<u8>,
    right: bool,
    node: usize,
    /// The packet whose answer is waited for.
    packet: Option<usize>,
    /// The challenge that the user looks at.
    state: Option<usize>,
    tries: u64,
    renewals: u64,
    serial: u32,
    again: u32,
    begun: bool,
    over: bool,
}

impl SignIn {
    pub(crate) fn is_under_way(&self) -> bool {
        self.begun && !self.over
    }
}

impl World<'_> {
    /// Somebody will want in.
    pub(crate) fn plan_sign_in(&mut self) {
        let user = self.random.index(self.plan.users);
        let nas = self.random.pick(&[
            Nas::Push,
            Nas::Push,
            Nas::Push,
            Nas::Push,
            Nas::Twin,
            Nas::Short,
            Nas::Short,
            Nas::Mute,
            Nas::Mute,
            Nas::Code,
            Nas::Code,
            Nas::Code,
            Nas::Bare,
            Nas::Optional,
            Nas::Plain,
        ]);
        let device = (!self.random.chance(80)).then(|| if self.random.chance(800) { 0 } else { 1 });
        let sign_in = SignIn {
            user,
            nas,
            device,
            right: self.random.chance(900),
            node: self.random.index(self.plan.nodes),
            packet: None,
            state: None,
            tries: 0,
            renewals: 0,
            serial: 0,
            again: 0,
            begun: false,
            over: false,
        };
        let s = self.sign_ins.len();
        self.sign_ins.push(sign_in);
        self.within(110_000, Event::SignIn { sign_in: s });
    }

    /// Somebody wants in: one at a time from each device.
    pub(crate) fn sign_in(&mut self, s: usize) {
        let group = |nas: Nas| if nas == Nas::Twin { Nas::Push } else { nas };
        let SignIn { user, nas, device, right, again, .. } = self.sign_ins[s];
        let busy = self.sign_ins.iter().any(|other| {
            other.is_under_way() && (other.user, other.device, group(other.nas)) == (user, device, group(nas))
        });
        if busy {
            if again < 3 {
                self.sign_ins[s].again += 1;
                let at = self.later(5_000, 30_000);
                self.at(at, Event::SignIn { sign_in: s });
            }
            return;
        }
        self.figures.sign_ins += 1;
        let sign_in = &mut self.sign_ins[s];
        (sign_in.begun, sign_in.over, sign_in.renewals) = (true, false, 0);
        self.trace(|| format!("u{user} wants in at {nas:?} from {device:?}: sign-in {s}"));
        self.send_new(s, Carries::Password { right });
    }

    fn new_packet(
        &mut self,
        (nas, user, device): (Nas, usize, Option<u8>),
        sign_in: Option<usize>,
        carries: Carries,
    ) -> usize {
        let number = self.packets.len();
        let identifier = self.identifiers[nas.index()];
        self.identifiers[nas.index()] = identifier.wrapping_add(1);
        self.figures.packets += 1;
        self.trace(|| format!("{nas:?} makes packet {number} for u{user}: {carries:?}"));
        self.packets.push(Packet {
            number,
            nas,
            user,
            device,
            sign_in,
            identifier,
            rides: false,
            volley: false,
            made: self.now,
            carries,
            spoken: Vec::new(),
        });
        number
    }

    fn send_new(&mut self, s: usize, carries: Carries) {
        let SignIn { nas, user, device, .. } = self.sign_ins[s];
        let packet = self.new_packet((nas, user, device), Some(s), carries);
        let sign_in = &mut self.sign_ins[s];
        (sign_in.packet, sign_in.tries, sign_in.state) = (Some(packet), 1, None);
        self.transmit(packet, Some(s));
        self.patience(s);
    }

    fn patience(&mut self, s: usize) {
        let sign_in = &mut self.sign_ins[s];
        sign_in.serial += 1;
        let (serial, at) = (sign_in.serial, self.now.after(self.plan.interval));
        self.at(at, Event::Retransmit { sign_in: s, serial });
    }

    /// No answer yet: the same packet again, a new identifier, or nothing.
    pub(crate) fn retransmit(&mut self, s: usize, serial: u32) {
        let SignIn { serial: current, over, packet, tries, renewals, nas, .. } = self.sign_ins[s];
        let (Some(packet), false, true) = (packet, over, serial == current) else { return };
        if tries < self.plan.tries {
            self.sign_ins[s].tries += 1;
            self.transmit(packet, Some(s));
            return self.patience(s);
        }
        if renewals >= self.plan.renewals {
            self.trace(|| format!("sign-in {s}: the VPN server gives up"));
            self.sign_ins[s].over = true;
            return;
        }
        self.sign_ins[s].renewals += 1;
        self.sign_ins[s].node = self.random.index(self.plan.nodes);
        if matches!(nas, Nas::Push | Nas::Twin) && self.random.chance(200) {
            self.sign_ins[s].nas = if nas == Nas::Push { Nas::Twin } else { Nas::Push };
        }
        // A State belongs to the client that it was sent to, or the NAS keeps its server.
        if self.packets[packet].state().is_some() {
            self.sign_ins[s].nas = nas;
        }
        let carries = self.packets[packet].carries.clone();
        self.send_new(s, carries);
    }

    /// Over the network to a node.
    pub(crate) fn transmit(&mut self, packet: usize, sign_in: Option<usize>) {
        let copies = if self.random.chance(self.plan.double) { 2 } else { 1 };
        for _ in 0..copies {
            let node = self.balance(sign_in);
            if self.random.chance(self.plan.loss) {
                self.trace(|| format!("packet {packet} to node {node} is lost"));
                continue;
            }
            let at = self.travel();
            self.at(at, Event::Arrive { node, packet });
        }
    }

    /// Packets of the last seconds come once more when the store comes back at `until`, and again later: a VPN server repeats them, or
    /// the network was slow.
    pub(crate) fn repeat_about(&mut self, until: Timestamp) {
        let lately = until.before(Duration::from_secs(20));
        for packet in (0..self.packets.len()).rev().take_while(|p| self.packets[*p].made > lately).collect::<Vec<_>>() {
            if self.random.chance(700) {
                let before = Duration::from_millis(self.random.range(0, 300));
                self.at(until.before(before).max(self.now), Event::Stray { packet });
                let after = Duration::from_millis(self.random.range(2_000, 12_000));
                self.at(until.after(after), Event::Stray { packet });
            }
        }
    }

    fn travel(&mut self) -> Timestamp {
        let late = self.random.chance(self.plan.late);
        if late { self.later(500, 9_000) } else { self.later(1, 40) }
    }

    fn balance(&mut self, sign_in: Option<usize>) -> usize {
        let nodes = self.plan.nodes;
        let node = match (self.plan.balancer, sign_in) {
            (Balancer::Random, _) | (_, None) => self.random.index(nodes),
            (Balancer::Sticky, Some(s)) => self.sign_ins[s].node,
            (Balancer::FailOver, Some(s)) => {
                let tries = usize::try_from(self.sign_ins[s].tries).unwrap_or(0);
                (self.sign_ins[s].node + tries / 3) % nodes
            }
        };
        if self.nodes[node].up || self.random.chance(200) {
            return node;
        }
        self.random.index(nodes)
    }

    /// Over the network back.
    pub(crate) fn reply(&mut self, packet: usize, octets: &Arc<[u8]>) {
        if self.random.chance(self.plan.loss) {
            return self.trace(|| format!("the reply to packet {packet} is lost"));
        }
        let at = self.travel();
        self.at(at, Event::Replied { packet, octets: octets.clone() });
    }

    /// What was sent as a challenge.
    pub(crate) fn challenged(&mut self, packet: usize, verdict: &Verdict, id: AttemptId) {
        let state = verdict.attributes().iter().find(|attribute| attribute.kind == attribute::STATE);
        let Some(wire) = state.map(|state| state.value.to_vec()) else { return };
        if self.states.iter().any(|state| state.wire == wire) {
            return;
        }
        let Some(opened) = self.setup.keyring.open(&wire) else {
            return self.fail("A5", || format!("packet {packet} is answered with a State that nobody made"));
        };
        let origin = self.packets[packet].state().map_or(packet, |state| self.states[state].origin);
        let cloud = self.prompts.iter().position(|prompt| prompt.id == id && prompt.code);
        self.states.push(StateFact { wire, kind: opened.kind, origin, cloud, accepted: None });
    }

    /// The VPN server hears a reply. It listens for the one to its newest packet.
    pub(crate) fn replied(&mut self, packet: usize, octets: &[u8]) {
        let Some(s) = self.packets[packet].sign_in else { return self.fires(packet, octets) };
        if self.sign_ins[s].packet != Some(packet) || self.sign_ins[s].over {
            return;
        }
        let Some((code, attributes)) = octets.split_first() else { return };
        self.trace(|| format!("sign-in {s}: packet {packet} is answered with code {code}"));
        let sign_in = &mut self.sign_ins[s];
        sign_in.serial += 1;
        sign_in.packet = None;
        match code {
            2 => {
                sign_in.over = true;
                self.figures.signed_in += 1;
                self.afterwards(packet);
            }
            11 => {
                let found = Attributes::from_encoded(attributes);
                let state =
                    found.iter().flat_map(Attributes::iter).find(|attribute| attribute.kind == attribute::STATE);
                let state = state.and_then(|state| self.states.iter().position(|known| known.wire == state.value));
                let at = self.later(800, 18_000);
                let sign_in = &mut self.sign_ins[s];
                sign_in.state = state;
                let serial = sign_in.serial;
                self.at(at, Event::UserActs { sign_in: s, serial });
            }
            _ => {
                sign_in.over = true;
                if sign_in.again < 3 && self.random.chance(500) {
                    self.sign_ins[s].again += 1;
                    self.sign_ins[s].right = true;
                    let at = self.later(2_000, 20_000);
                    self.at(at, Event::SignIn { sign_in: s });
                }
            }
        }
    }

    /// More stations than the limit lets codes be judged: each gets a challenge of its own.
    pub(crate) fn volley(&mut self, user: usize) {
        self.fires_at = self.now.after(Duration::from_secs(3));
        for station in 0..8 {
            let packet =
                self.new_packet((Nas::Code, user, Some(100 + station)), None, Carries::Password { right: true });
            self.packets[packet].volley = true;
            self.transmit(packet, None);
        }
    }

    /// A challenge of the volley is answered with all the others.
    fn fires(&mut self, packet: usize, octets: &[u8]) {
        let Packet { nas, user, device, volley: true, carries: Carries::Password { .. }, .. } = self.packets[packet]
        else {
            return;
        };
        let found = octets.get(1..).and_then(Attributes::from_encoded);
        let wire = found.iter().flat_map(Attributes::iter).find(|attribute| attribute.kind == attribute::STATE);
        let Some(state) = wire.and_then(|wire| self.states.iter().position(|known| known.wire == wire.value)) else {
            return;
        };
        let guess = self.new_packet((nas, user, device), None, Carries::State { state, typed: Typed::Wrong });
        let at = self.fires_at.max(self.now);
        self.at(at, Event::Stray { packet: guess });
    }

    /// Somebody behind the user's address tries to get the answer to a prompt.
    pub(crate) fn ride(&mut self, nas: Nas, user: usize, device: u8) {
        let packet = self.new_packet((nas, user, Some(device)), None, Carries::Password { right: true });
        self.packets[packet].rides = true;
        let at = self.later(100, 25_000);
        self.at(at, Event::Stray { packet });
    }

    /// What comes after a success that should not come: a State again, a code again, the password again.
    fn afterwards(&mut self, packet: usize) {
        let Packet { nas, user, device, carries, .. } = self.packets[packet].clone();
        let from = (nas, user, device);
        if let Carries::State { state, typed } = carries {
            if self.random.chance(300) {
                let stray = self.new_packet(from, None, Carries::State { state, typed });
                let at = self.later(0, 20_000);
                self.at(at, Event::Stray { packet: stray });
            }
            if self.random.chance(300) && nas != Nas::Short {
                // The next code of the token, and the State once more.
                let step = self.now.as_secs() / STEP + 2;
                let text = code_of(&self.setup.tokens[user], step);
                let stray = self.new_packet(from, None, Carries::State { state, typed: Typed::Token { step, text } });
                let at = self.later(35_000, 60_000);
                self.at(at, Event::Stray { packet: stray });
            }
        } else if self.random.chance(150) {
            let stray = self.new_packet(from, None, Carries::Password { right: true });
            let at = self.later(0, 15_000);
            self.at(at, Event::Stray { packet: stray });
        }
    }

    /// The user answers a challenge, or not.
    pub(crate) fn user_acts(&mut self, s: usize, serial: u32) {
        let SignIn { serial: current, state, user, nas, device, over, .. } = self.sign_ins[s];
        let (Some(state), false, true) = (state, over, serial == current) else { return };
        if self.random.chance(60) {
            self.sign_ins[s].over = true;
            return;
        }
        let fact = &self.states[state];
        let typed = match (fact.kind, fact.cloud) {
            (Kind::Collect, _) => Typed::Nothing,
            (_, Some(_)) if self.random.chance(150) => Typed::Wrong,
            (_, Some(prompt)) => Typed::Cloud { prompt },
            _ if !has_token(user) || self.random.chance(120) => Typed::Wrong,
            _ => {
                // Now and then one that was used already.
                let used = self.codes.range((user, 0)..(user + 1, 0)).next_back().map(|((_, step), _)| *step);
                let again = used.filter(|_| self.random.chance(150));
                let step = again.unwrap_or(self.now.as_secs() / STEP);
                Typed::Token { step, text: code_of(&self.setup.tokens[user], step) }
            }
        };
        let carries = Carries::State { state, typed };
        if self.random.chance(150) {
            // The same State and code in another packet, to another node at the same moment.
            let stray = self.new_packet((nas, user, device), None, carries.clone());
            let at = self.later(0, 200);
            self.at(at, Event::Stray { packet: stray });
        }
        self.send_new(s, carries);
    }

    /// A limit of A4 (c).
    pub(crate) fn repeated_after_success(&mut self) {
        self.figures.meet(Limit::RepeatAfterSuccess);
    }
}
