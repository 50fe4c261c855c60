//! What nodes share: the records of each user, with the core's own transitions run on them. One node alone has them in its memory,
//! and a journal of used codes. Several have a store that does what `cluster::redis` does: records of one user are replaced as
//! a whole, a fail-over loses what no replica had yet, and each node says again what it knows.

use crate::setup::USERS;
use gateway_core::attempt::record::{AttemptId, AttemptKey, Owner, PacketDigest};
use gateway_core::attempt::records::Records;
use gateway_core::attempt::transition::{Change, Outcome, Rules, Transition};
use gateway_core::factor::{CodeUse, TokenId};
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// After a fail-over a node that has noticed begins no prompt for this long.
const SETTLES: Duration = Duration::from_secs(2);
const SWEEP_EVERY: Duration = Duration::from_secs(1);
const WRONG_CODES_WINDOW: Duration = Duration::from_secs(900);
/// A reply is known to all for this long.
const REPLY_LIVES: Duration = Duration::from_secs(30);

/// The place of a user, whose canonical name begins with `u` and a digit.
pub(crate) fn user_of(name: &str) -> usize {
    name.as_bytes().get(1).map_or(0, |digit| usize::from(digit.wrapping_sub(b'0'))) % USERS
}

/// One user's records, as one value.
#[derive(Clone, Default)]
struct Value {
    records: Records,
    /// How many writes came before.
    serial: u64,
    /// Names the write.
    identity: u64,
    /// The highest epoch there was; `None`: there is no record.
    epoch: Option<u64>,
}

struct User {
    value: Value,
    /// Writes, and when a replica has each.
    history: VecDeque<(Timestamp, Value)>,
    swept: Timestamp,
}

/// What one node knows of the store.
#[derive(Clone, Default)]
struct View {
    copies: [Option<Value>; USERS],
    /// The primary that it knows.
    primary: u32,
    quiet_until: Timestamp,
    /// Claims that stand in the store, and that nobody goes on with.
    abandoned: Vec<(AttemptKey, AttemptId)>,
}

/// What a packet is known as, where nodes share them.
#[derive(Debug)]
pub(crate) enum PacketSeen {
    New,
    Pending,
    Replied(Arc<[u8]>),
    /// The store does not answer.
    Away,
}

#[derive(Clone)]
enum Shared {
    Pending(Owner),
    Replied(Arc<[u8]>, Timestamp),
}

/// What the nodes share.
pub(crate) struct Store {
    shared: bool,
    /// Histories are kept: there will be a fail-over.
    pub(crate) replicated: bool,
    users: Vec<User>,
    views: Vec<View>,
    /// Since when the memory of used codes is complete, and the primary for which that was written down.
    since: Timestamp,
    written_for: u32,
    /// The primary there is.
    primary: u32,
    last_replicated: Timestamp,
    pub(crate) down_until: Timestamp,
    pub(crate) up_since: Timestamp,
    /// What was written of each packet, and when a replica has it.
    packets: BTreeMap<[u8; 16], Vec<(Timestamp, Option<Shared>)>>,
    journal: Vec<(Arc<str>, CodeUse)>,
    writes: u64,
}

/// What came of a transition, and whether it is to be believed only when a replica has it.
pub(crate) struct Applied {
    pub(crate) outcome: Result<Outcome, Reason>,
    /// The transition was run, whatever is answered.
    pub(crate) ran: Option<Outcome>,
    /// When a replica has it, and the primary it was written on.
    pub(crate) acknowledged: Option<(Timestamp, u32)>,
}

impl Store {
    pub(crate) fn new(shared: bool, replicated: bool, nodes: usize, now: Timestamp) -> Self {
        let user = || User { value: Value::default(), history: VecDeque::new(), swept: now };
        Self {
            shared,
            replicated,
            users: std::iter::repeat_with(user).take(USERS).collect(),
            views: vec![View::default(); nodes],
            since: Timestamp::default(),
            written_for: 0,
            primary: 0,
            last_replicated: now,
            down_until: Timestamp::default(),
            up_since: Timestamp::default(),
            packets: BTreeMap::new(),
            journal: Vec::new(),
            writes: 0,
        }
    }

    /// The records of a user, for the checks alone.
    pub(crate) fn records(&self, user: usize) -> &Records {
        &self.users[user].value.records
    }

    pub(crate) fn is_down(&self, now: Timestamp) -> bool {
        now < self.down_until
    }

    pub(crate) fn primary(&self) -> u32 {
        self.primary
    }

    /// Runs `transition` for `node`. `lag`: how long a replica takes.
    pub(crate) fn apply(&mut self, node: usize, transition: &Transition, now: Timestamp, lag: Duration) -> Applied {
        let refused = |reason| Applied { outcome: Err(reason), ran: None, acknowledged: None };
        if self.is_down(now) {
            return refused(Reason::StoreUnavailable);
        }
        let user = user_of(&transition.key.user);
        let prompts = matches!(transition.change, Change::Claim { prompts: true, .. });
        if prompts && now < self.views[node].quiet_until {
            return refused(Reason::StoreSettling);
        }
        if self.views[node].primary != self.written_for {
            self.notice(node, now);
            if prompts {
                return refused(Reason::StoreSettling);
            }
        }
        if self.is_older(node, user) && self.primary != self.written_for {
            self.notice(node, now);
            return refused(Reason::StoreSettling);
        }
        for (key, id) in std::mem::take(&mut self.views[node].abandoned) {
            self.abandon(node, &key, id, &transition.rules, now);
        }
        let outcome = self.run(node, user, transition, now, lag);
        if !self.replicated || !transition.change.must_last(&outcome) {
            return Applied { outcome: Ok(outcome.clone()), ran: Some(outcome), acknowledged: None };
        }
        if self.primary != self.written_for {
            self.notice(node, now);
            self.give_up(node, transition);
            return Applied { outcome: Err(Reason::StoreSettling), ran: Some(outcome), acknowledged: None };
        }
        let acknowledged = Some((self.last_replicated, self.primary));
        Applied { outcome: Ok(outcome.clone()), ran: Some(outcome), acknowledged }
    }

    /// A claim of unknown fate is undone when the node next looks.
    pub(crate) fn give_up(&mut self, node: usize, transition: &Transition) {
        if let Change::Claim { id, .. } = transition.change {
            self.views[node].abandoned.push((transition.key.clone(), id));
        }
    }

    fn abandon(&mut self, node: usize, key: &AttemptKey, id: AttemptId, rules: &Arc<Rules>, now: Timestamp) {
        let user = user_of(&key.user);
        let found = self.users[user].value.records.attempts.get(key).filter(|attempt| attempt.id == id);
        if let Some(epoch) = found.map(|attempt| attempt.epoch) {
            let change = Change::Abandon { epoch };
            let transition = Transition { key: key.clone(), change, rules: rules.clone() };
            self.run(node, user, &transition, now, Duration::ZERO);
        }
    }

    fn run(&mut self, node: usize, user: usize, transition: &Transition, now: Timestamp, lag: Duration) -> Outcome {
        let User { value, history, swept } = &mut self.users[user];
        if now.since(*swept) >= SWEEP_EVERY {
            value.records.sweep(now, WRONG_CODES_WINDOW);
            *swept = now;
        }
        if !self.shared {
            return transition.apply(&mut value.records, now);
        }
        value.records.used_since = self.since;
        value.records.epoch_floor = 0;
        let before = self.replicated.then(|| value.records.clone());
        let floor = value.epoch.unwrap_or(now.as_micros());
        value.records.epoch_floor = floor;
        let outcome = transition.apply(&mut value.records, now);
        let highest = value.records.attempts.values().map(|attempt| attempt.epoch).max().unwrap_or(0);
        value.epoch = (!value.records.is_empty()).then(|| highest.max(floor));
        value.records.epoch_floor = 0;
        let Some(before) = before else { return outcome };
        // What changes nothing is a read, which a replica acknowledges without knowing what was read.
        if before != value.records || transition.change.must_last(&outcome) {
            self.writes += 1;
            (value.serial, value.identity) = (value.serial + 1, self.writes);
            self.last_replicated = self.last_replicated.max(now.after(lag));
            history.push_back((self.last_replicated, value.clone()));
            while history.get(1).is_some_and(|(replicated, _)| *replicated <= now) {
                history.pop_front();
            }
        }
        self.views[node].copies[user] = Some(value.clone());
        outcome
    }

    fn is_older(&self, node: usize, user: usize) -> bool {
        let found = &self.users[user].value;
        self.views[node].copies[user].as_ref().is_some_and(|seen| found.serial < seen.serial)
    }

    /// The primary dies with what no replica has.
    pub(crate) fn fail_over(&mut self, now: Timestamp) {
        self.primary += 1;
        for user in &mut self.users {
            let had = user.history.iter().rev().find(|(replicated, _)| *replicated <= now);
            user.value = had.map(|(_, value)| value.clone()).unwrap_or_default();
            user.history = VecDeque::from([(now, user.value.clone())]);
        }
        for writes in self.packets.values_mut() {
            while writes.pop_if(|(replicated, _)| *replicated > now).is_some() {}
        }
        self.last_replicated = now;
    }

    /// The node sees that there was a fail-over, and says again what it knows.
    pub(crate) fn notice(&mut self, node: usize, now: Timestamp) {
        if self.written_for != self.primary {
            (self.written_for, self.since) = (self.primary, now);
        }
        if std::mem::replace(&mut self.views[node].primary, self.primary) == self.primary {
            return;
        }
        self.views[node].quiet_until = now.after(SETTLES);
        for user in 0..USERS {
            let Some(mine) = self.views[node].copies[user].clone() else { continue };
            let found = &mut self.users[user].value;
            if found.identity == mine.identity {
                continue;
            }
            self.writes += 1;
            if found.serial >= mine.serial {
                remember(&mut found.records, &mine.records);
            } else {
                let theirs = std::mem::replace(found, mine);
                remember(&mut found.records, &theirs.records);
            }
            (found.serial, found.identity) = (found.serial + 1, self.writes);
            let value = found.clone();
            self.users[user].history.push_back((now, value.clone()));
            self.views[node].copies[user] = Some(value);
        }
    }

    /// The node loses its memory. Alone, that is all there was but for the journal.
    pub(crate) fn forget(&mut self, node: usize) {
        self.views[node] = View { primary: self.written_for, ..View::default() };
        if !self.shared {
            for user in &mut self.users {
                user.value = Value::default();
            }
            for (name, code) in &self.journal {
                self.users[user_of(name)].value.records.remember(name, *code);
            }
        }
    }

    /// The code is on the disk.
    pub(crate) fn journal(&mut self, user: Arc<str>, code: CodeUse) {
        self.journal.push((user, code));
    }

    fn known_of(&self, digest: PacketDigest) -> Option<&Shared> {
        self.packets.get(&digest.0)?.last()?.1.as_ref()
    }

    fn write_packet(&mut self, digest: PacketDigest, known: Option<Shared>, now: Timestamp, lag: Duration) {
        self.last_replicated = self.last_replicated.max(now.after(lag));
        let writes = self.packets.entry(digest.0).or_default();
        if !self.replicated {
            writes.clear();
        }
        writes.push((self.last_replicated, known));
    }

    /// Takes a packet for `owner`.
    pub(crate) fn packet(
        &mut self,
        digest: PacketDigest,
        owner: &Owner,
        (now, lag): (Timestamp, Duration),
        is_dead: impl Fn(&Owner) -> bool,
    ) -> PacketSeen {
        if self.is_down(now) {
            return PacketSeen::Away;
        }
        match self.known_of(digest) {
            Some(Shared::Replied(reply, until)) if now < *until => return PacketSeen::Replied(reply.clone()),
            Some(Shared::Pending(other)) if !is_dead(other) => return PacketSeen::Pending,
            _ => {}
        }
        self.write_packet(digest, Some(Shared::Pending(owner.clone())), now, lag);
        PacketSeen::New
    }

    /// What became of it. `owner`: who took it; `None`: it could not be taken, and was answered.
    pub(crate) fn packet_ended(
        &mut self,
        digest: PacketDigest,
        owner: Option<&Owner>,
        reply: Option<Arc<[u8]>>,
        (now, lag): (Timestamp, Duration),
    ) {
        if self.is_down(now) {
            return;
        }
        let stays = match (self.known_of(digest), owner) {
            // Another node took it meanwhile, because this one seemed to be dead.
            (Some(Shared::Pending(has)), Some(owner)) => has != owner,
            (Some(Shared::Replied(..)), Some(_)) => true,
            // A fail-over has lost that this node had it.
            (None, Some(_)) => reply.is_none(),
            (Some(Shared::Replied(_, until)), None) => now < *until,
            (_, None) => false,
        };
        if !stays {
            let known = reply.map(|reply| Shared::Replied(reply, now.after(REPLY_LIVES)));
            self.write_packet(digest, known, now, lag);
        }
    }
}

/// What either of two knows of codes that were used.
fn remember(into: &mut Records, from: &Records) {
    for (user, record) in &from.users {
        for (token, next, forget) in &record.used {
            if let Some(factor) = next.checked_sub(1) {
                into.remember(user, CodeUse { token: TokenId(*token), factor, forget: *forget });
            }
        }
    }
}
