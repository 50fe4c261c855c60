//! Three nodes that share a Redis, each by a cable of its own, behind nginx; and the people of a firm, who sign in by push all the
//! time.

use crate::cut::Cut;
use crate::entra::{password, setup};
use crate::{Balancer, Client, Gateway, Release, SECRET, Setup, wait};
use entra_cloud::{Cloud, Settings};
use gateway_core::radius::Code;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a NAS and its user wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longer than this has a user wondering.
const LONG: Duration = Duration::from_secs(10);

/// Nodes `a`, `b` and `c`.
pub struct Fleet {
    /// Microsoft's side.
    pub cloud: Cloud,
    /// The cables from each node to the store.
    pub cables: Vec<Cut>,
    /// The nodes.
    pub nodes: Vec<Gateway>,
    /// Where NASes send to.
    pub balancer: Balancer,
    users: Vec<String>,
}

impl Fleet {
    /// Starts it with so many people, whose phones approve after a while, and this store. `change` is of each node's setup.
    pub fn start(people: usize, store: SocketAddr, change: impl Fn(Setup) -> Setup) -> Self {
        Self::start_as(Release::This, people, store, change)
    }

    /// As [`start`](Self::start), with nodes of a release.
    pub fn start_as(release: Release, people: usize, store: SocketAddr, change: impl Fn(Setup) -> Setup) -> Self {
        let cloud = Cloud::start(Settings { takes: Duration::from_secs(2), ..Settings::default() });
        let users: Vec<String> = (0..people).map(|number| format!("approve@p{number}.example")).collect();
        let names: Vec<&str> = users.iter().map(String::as_str).collect();
        let cables: Vec<Cut> = (0..3).map(|_| Cut::to(store)).collect();
        let node = |(name, cable): (&str, &Cut)| {
            let setup = setup(&cloud, &names).set("attempts.repeat_window", "10s").of_entra("begin", "polled");
            Gateway::start_as(change(setup.sharing_at(cable.address(), name)), release)
        };
        let nodes: Vec<Gateway> = ["a", "b", "c"].into_iter().zip(&cables).map(node).collect();
        let balancer = Balancer::start(&nodes.iter().map(Gateway::address).collect::<Vec<_>>());
        Self { cloud, cables, nodes, balancer, users }
    }

    /// A NAS at the balancer.
    pub fn nas(&self) -> Client {
        Client::new(self.balancer.address(), SECRET).patience(PATIENCE).through_balancer()
    }

    /// Everybody signs in once, so many a second, while something happens. Each has a NAS of its own, which repeats its packet as
    /// long as nobody answers.
    pub fn sign_in_during(&mut self, rate: f64, event: impl FnOnce(&mut Vec<Gateway>, &[Cut])) -> Tally {
        let (users, address, cloud) = (&self.users, self.balancer.address(), &self.cloud);
        let tally = Mutex::new(Tally::default());
        let (tally_of, nodes, cables) = (&tally, &mut self.nodes, &self.cables);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let begun = Instant::now();
                for (number, user) in users.iter().enumerate() {
                    let due = Duration::from_secs_f64(f64::from(u32::try_from(number).unwrap_or(0)) / rate);
                    wait::pass(due.saturating_sub(begun.elapsed()));
                    scope.spawn(move || {
                        let mut nas = Client::new(address, SECRET).patience(PATIENCE).through_balancer();
                        let (asked, packet) = (Instant::now(), nas.encode(&password(user)));
                        let code = nas.try_ask(&packet).map(|reply| reply.code());
                        tally_of.lock().expect("nobody panics with it").add(code, asked.elapsed());
                    });
                }
            });
            event(nodes, cables);
        });
        let mut tally = tally.into_inner().expect("nobody panics with it");
        for prompts in users.iter().map(|user| cloud.prompts(user)) {
            tally.doubled += u64::from(prompts > 1);
        }
        tally
    }
}

/// What became of sign-ins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Accepted, and how many of them after more than 10 s.
    pub accepted: u64,
    /// Accepted after more than 10 s.
    pub delayed: u64,
    /// Refused.
    pub refused: u64,
    /// Without any answer.
    pub unanswered: u64,
    /// Users whose phone rang more than once.
    pub doubled: u64,
}

impl Tally {
    fn add(&mut self, code: Option<Code>, took: Duration) {
        match code {
            Some(Code::ACCESS_ACCEPT) => {
                self.accepted += 1;
                self.delayed += u64::from(took > LONG);
            }
            Some(_) => self.refused += 1,
            None => self.unanswered += 1,
        }
    }

    /// How many there were.
    pub fn sign_ins(&self) -> u64 {
        self.accepted + self.refused + self.unanswered
    }

    /// How many did not end with an accept.
    pub fn lost(&self) -> u64 {
        self.refused + self.unanswered
    }
}
