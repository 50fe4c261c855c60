//! The brake on guesses of passwords. Wrong passwords are counted in four scopes; beyond a number of them a scope pauses, and each
//! further failure doubles the pause. While a scope pauses, passwords that fall into it are refused without being looked at.
//!
//! | scope | counts wrong passwords of | pauses |
//! |---|---|---|
//! | [`Scope::Place`] | one user from one station by way of one group of RADIUS clients | this very place |
//! | [`Scope::User`] | one user, from stations that are not known | all stations of the user that are not known |
//! | [`Scope::Station`] | anybody from one station by way of one group | users who are not known there |
//! | [`Scope::Source`] | anybody by way of one NAS address | users and stations that are not known there |
//!
//! A station is **known** for a user at a group once the password was right there. So a stranger slows down guesses, their own and
//! those of their accomplices, and not the owner at the owner's usual place.
//!
//! A failure is forgotten after its share of the window: with 20 failures in an hour, one every three minutes. Users who do not
//! exist are counted as those who do.

mod known;
mod report;
mod table;
#[cfg(test)]
mod tests;

use crate::config::Limits;
use crate::time::Timestamp;
use known::Known;
pub use report::{Batch, Report};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use table::Table;

/// How often what a node knows of a user's stations is told again while somebody guesses at the user.
const TELL_AGAIN: Duration = Duration::from_secs(600);

/// What waits to be told to other nodes at most; the oldest goes first.
const MOST_UNTOLD: usize = 8_192;

/// Lives of nodes whose batches are told apart.
const MOST_LIVES: usize = 1_024;

/// Where a password comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guess {
    /// The canonical name of the user, whether or not there is one.
    pub user: Arc<str>,
    /// The RADIUS client's `attempt_group`.
    pub group: Arc<str>,
    /// Calling-Station-Id.
    pub station: Option<Arc<[u8]>>,
    /// The address that the packet came from.
    pub source: IpAddr,
}

/// What wrong passwords are counted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    /// A user from a station by way of a group of clients.
    Place {
        /// The user.
        user: Arc<str>,
        /// The group.
        group: Arc<str>,
        /// The station, where the NAS names one.
        station: Option<Arc<[u8]>>,
    },
    /// A user, from stations that are not known.
    User(Arc<str>),
    /// A station by way of a group of clients.
    Station {
        /// The group.
        group: Arc<str>,
        /// The station.
        station: Arc<[u8]>,
    },
    /// The address of a NAS.
    Source(IpAddr),
}

impl Scope {
    /// The key in `[limits]` that bounds it, which is its label in metrics.
    pub const fn limit(&self) -> &'static str {
        match self {
            Self::Place { .. } => "wrong_passwords",
            Self::User(_) => "wrong_passwords_of_user",
            Self::Station { .. } => "wrong_passwords_of_station",
            Self::Source(_) => "wrong_passwords_of_source",
        }
    }
}

/// How many failures are free in each scope, and how long pauses are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    place: u32,
    user: u32,
    station: u32,
    source: u32,
    window: Duration,
    first_pause: Duration,
    longest_pause: Duration,
    kept: usize,
    known: usize,
}

impl From<&Limits> for Rules {
    fn from(limits: &Limits) -> Self {
        Self {
            place: limits.wrong_passwords,
            user: limits.wrong_passwords_of_user,
            station: limits.wrong_passwords_of_station,
            source: limits.wrong_passwords_of_source,
            window: limits.wrong_passwords_window,
            first_pause: limits.password_pause,
            longest_pause: limits.longest_password_pause,
            kept: limits.wrong_passwords_kept,
            known: limits.known_stations,
        }
    }
}

impl Rules {
    /// The failures that are free in `scope`; 0: it never pauses.
    const fn free(&self, scope: &Scope) -> u32 {
        match scope {
            Scope::Place { .. } => self.place,
            Scope::User(_) => self.user,
            Scope::Station { .. } => self.station,
            Scope::Source(_) => self.source,
        }
    }
}

/// A scope that pauses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Which.
    pub scope: Scope,
    /// Failures that are not forgotten.
    pub failures: u32,
    /// When it ends.
    pub until: Timestamp,
}

/// Why a password is not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Barred {
    /// A scope pauses.
    Paused(Pause),
    /// As many passwords are being looked at as may be wrong.
    Busy,
}

impl Barred {
    /// Of several the one that lasts longest.
    fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Paused(pause) => Some(pause.until),
            Self::Busy => None,
        }
    }
}

/// Which pauses an operator lifts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lift {
    /// Those of a user, by canonical name.
    User(Arc<str>),
    /// Those of a group of RADIUS clients: of places and stations at it, and of its addresses.
    Group(Arc<str>),
    /// That of the address of a NAS.
    Source(IpAddr),
    /// Every one.
    All,
}

/// A password that is being looked at: it counts as wrong until it is judged, so that guesses in parallel are no more than others.
#[derive(Debug, PartialEq, Eq)]
pub struct Reserved {
    guess: Guess,
    scopes: Vec<Scope>,
}

impl Reserved {
    /// Where the password comes from.
    pub const fn guess(&self) -> &Guess {
        &self.guess
    }
}

/// The wrong passwords that a node knows of.
#[derive(Debug, Default)]
pub struct WrongPasswords {
    table: Table,
    known: Known,
    /// There are other nodes to tell.
    shared: bool,
    untold: VecDeque<Report>,
    /// What is being told, until the store has it: told again it is the same batch.
    telling: Vec<Batch>,
    number: u64,
    /// The newest batch that was heard of each life of a node.
    heard: BTreeMap<u64, u64>,
    lost: u64,
}

impl WrongPasswords {
    /// None yet. `shared`: other nodes are to be told.
    pub fn new(shared: bool) -> Self {
        Self { shared, ..Self::default() }
    }

    /// Whether a password from there is looked at.
    ///
    /// # Errors
    ///
    /// The pause that forbids it, of several the longest; or others that are being looked at.
    pub fn admits(&self, guess: &Guess, rules: &Rules, now: Timestamp) -> Result<(), Barred> {
        if self.table.is_empty() {
            return Ok(());
        }
        let barred = self.scopes(guess, rules, now).into_iter().filter_map(|scope| self.table.bars(&scope, rules, now));
        barred.max_by_key(Barred::until).map_or(Ok(()), Err)
    }

    /// Takes a place for a password that takes its time to be looked at. It is to be [`released`](Self::release), and then judged.
    ///
    /// # Errors
    ///
    /// As [`admits`](Self::admits).
    pub fn reserve(&mut self, guess: &Guess, rules: &Rules, now: Timestamp) -> Result<Reserved, Barred> {
        self.admits(guess, rules, now)?;
        let scopes = self.scopes(guess, rules, now);
        for scope in &scopes {
            self.table.reserve(scope, &guess.group);
        }
        Ok(Reserved { guess: guess.clone(), scopes })
    }

    /// Gives the place back; the password counts for nothing unless it is judged.
    pub fn release(&mut self, reserved: &Reserved) {
        for scope in &reserved.scopes {
            self.table.release(scope);
        }
    }

    /// A password was wrong. The longest of the pauses that begin with it, if any does.
    pub fn failed(&mut self, guess: &Guess, rules: &Rules, now: Timestamp) -> Option<Pause> {
        if self.shared {
            self.tell(Report::Failed { guess: guess.clone(), at: now });
            self.tell_known(&guess.user, now);
        }
        self.count(guess, rules, now)
    }

    /// A password was right: the place is known from now on, and its own failures are forgotten.
    pub fn proved(&mut self, guess: &Guess, rules: &Rules, now: Timestamp) {
        if !self.table.is_empty() {
            self.table.forget(&place(guess));
        }
        self.known.add(&guess.user, (&guess.group, guess.station.as_ref()), now, rules.known);
    }

    /// The scopes that pause, at most `most`, and how many more there are.
    pub fn paused(&self, rules: &Rules, now: Timestamp, most: usize) -> (Vec<Pause>, usize) {
        self.table.paused(rules, now, most)
    }

    /// Forgets failures and pauses, here and at the other nodes. How many scopes that were.
    pub fn lift(&mut self, lift: Lift) -> usize {
        let lifted = self.table.lift(&lift);
        if self.shared {
            self.tell(Report::Lifted(lift));
        }
        lifted
    }

    /// Takes what the node in the life `from` told, once. What begins to pause is not said again.
    pub fn hear(&mut self, from: u64, batch: Batch, rules: &Rules, now: Timestamp) {
        if self.heard.get(&from).is_some_and(|heard| batch.number <= *heard) {
            return;
        }
        if self.heard.len() >= MOST_LIVES && !self.heard.contains_key(&from) {
            self.heard.pop_first();
        }
        self.heard.insert(from, batch.number);
        batch.reports.into_iter().for_each(|report| self.take_report(report, rules, now));
    }

    fn take_report(&mut self, report: Report, rules: &Rules, now: Timestamp) {
        match report {
            Report::Failed { guess, at } => {
                self.count(&guess, rules, at.min(now));
                self.tell_known(&guess.user, now);
            }
            Report::Known { user, group, station, at } => {
                self.known.add(&user, (&group, station.as_ref()), at.min(now), rules.known);
            }
            Report::Lifted(lift) => {
                self.table.lift(&lift);
            }
        }
    }

    /// What is to be told to the other nodes, the oldest first, at most `most` batches. The same again until it was
    /// [`told`](Self::told).
    pub fn to_tell(&mut self, most: usize) -> &[Batch] {
        while self.telling.len() < most && !self.untold.is_empty() {
            let reports = self.untold.drain(..self.untold.len().min(report::LONGEST)).collect();
            self.number = self.number.saturating_add(1);
            self.telling.push(Batch { number: self.number, reports });
        }
        &self.telling
    }

    /// The store has the batches up to this number.
    pub fn told(&mut self, number: u64) {
        self.telling.retain(|batch| batch.number > number);
    }

    /// Forgets what no longer matters.
    pub fn sweep(&mut self, now: Timestamp) {
        self.table.sweep(now);
    }

    /// How many scopes were forgotten before their time since the last call, because the limit was met.
    pub fn take_evicted(&mut self) -> u64 {
        self.table.take_evicted()
    }

    /// How many reports were not told since the last call, because too many waited.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// How many scopes are counted.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn scopes(&self, guess: &Guess, rules: &Rules, now: Timestamp) -> Vec<Scope> {
        let mut scopes = vec![place(guess)];
        if !self.known.has(&guess.user, (&guess.group, guess.station.as_ref()), now) {
            scopes.push(Scope::User(guess.user.clone()));
            if let Some(station) = &guess.station {
                scopes.push(Scope::Station { group: guess.group.clone(), station: station.clone() });
            }
            scopes.push(Scope::Source(guess.source));
        }
        scopes.retain(|scope| rules.free(scope) > 0);
        scopes
    }

    fn count(&mut self, guess: &Guess, rules: &Rules, now: Timestamp) -> Option<Pause> {
        let scopes = self.scopes(guess, rules, now);
        let begun = scopes.into_iter().filter_map(|scope| self.table.fail(scope, &guess.group, rules, now));
        begun.max_by_key(|pause| pause.until)
    }

    /// Other nodes must know the places of a user somebody guesses at, or they would refuse the owner there.
    fn tell_known(&mut self, user: &Arc<str>, now: Timestamp) {
        if self.shared {
            for report in self.known.take_untold(user, now) {
                self.tell(report);
            }
        }
    }

    fn tell(&mut self, report: Report) {
        self.untold.push_back(report);
        self.bound();
    }

    fn bound(&mut self) {
        while self.untold.len() > MOST_UNTOLD {
            self.untold.pop_front();
            self.lost = self.lost.saturating_add(1);
        }
    }
}

fn place(guess: &Guess) -> Scope {
    Scope::Place { user: guess.user.clone(), group: guess.group.clone(), station: guess.station.clone() }
}
