//! The sessions that are open, as the NASes report them (RFC 2866): who is connected, where, and since when. They are what
//! `max_sessions` counts and what a Disconnect-Request is made from.
//!
//! A session begins with its Start, or with the first Interim-Update that is heard of it; it ends with its Stop, with an
//! Accounting-On or -Off of its NAS, or when nothing was heard of it for `accounting.session_timeout`. What comes late must not
//! open it again: the end of a session is remembered for a while.
//!
//! Nodes that share a store tell each other ([`Report`]): any of them may hear the Start, and another one the Stop. Each has
//! its own copy of all sessions and merges what it hears, in whatever order that comes: an end beats every report of a session
//! that began before it, otherwise the newest report counts. So copies agree as soon as all have heard the same.

use super::report::{Key, Report, Says, Written};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// How long the end of a session is remembered, so that an Interim-Update that was overtaken by its Stop opens nothing.
const ENDED_FOR: Duration = Duration::from_secs(300);

/// The most ends that are remembered.
const MOST_ENDED: usize = 65_536;

/// One open session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The RADIUS client's name.
    pub client: Arc<str>,
    /// The address that the NAS sends from.
    pub nas: IpAddr,
    /// The user's canonical name, by which attempts are counted too; the name as sent where it cannot be read.
    pub user: Arc<str>,
    /// User-Name as the NAS sends it.
    pub user_name: Box<[u8]>,
    /// Acct-Session-Id.
    pub acct_session_id: Box<[u8]>,
    /// Acct-Multi-Session-Id.
    pub acct_multi_session_id: Option<Box<[u8]>>,
    /// NAS-Identifier.
    pub nas_identifier: Option<Box<[u8]>>,
    /// NAS-IP-Address or NAS-IPv6-Address.
    pub nas_ip: Option<IpAddr>,
    /// NAS-Port.
    pub nas_port: Option<u32>,
    /// NAS-Port-Id.
    pub nas_port_id: Option<Box<[u8]>>,
    /// Framed-IP-Address.
    pub framed_ip: Option<Ipv4Addr>,
    /// Framed-IPv6-Prefix, as on the wire.
    pub framed_ipv6_prefix: Option<Box<[u8]>>,
    /// Calling-Station-Id.
    pub calling_station_id: Option<Box<[u8]>>,
    /// Called-Station-Id.
    pub called_station_id: Option<Box<[u8]>>,
    /// Class: the first one, as on the wire.
    pub class: Option<Box<[u8]>>,
    /// When it began, as far as is known.
    pub started: Timestamp,
    /// When the NAS was last heard of it.
    pub last_seen: Timestamp,
    /// Octets from the user, gigawords included.
    pub input_octets: u64,
    /// Octets to the user, gigawords included.
    pub output_octets: u64,
    /// Acct-Session-Time, in seconds.
    pub session_time: u32,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A session was opened.
    Opened,
    /// A session is as it was, with newer figures.
    Renewed,
    /// The session has ended already: the report was late.
    Late,
    /// There are `limits.sessions` of them: this one is not known.
    Full,
}

#[derive(Debug)]
struct Open {
    session: Session,
    /// Of the newest report.
    order: u64,
    record: Option<Written>,
}

#[derive(Debug)]
struct End {
    at: Timestamp,
    /// Of the newest report.
    order: u64,
    record: Option<Written>,
}

/// Every open session that this node knows of.
#[derive(Debug, Default)]
pub struct Sessions {
    limit: usize,
    timeout: Duration,
    serial: u64,
    sessions: HashMap<u64, Open>,
    by_key: HashMap<Key, u64>,
    by_user: HashMap<Arc<str>, Vec<u64>>,
    /// Each session once, about in the order in which they fall silent: looked at when its turn comes, and put back if it
    /// was heard of since. So a report costs no place in a sorted list.
    silence: VecDeque<(Timestamp, u64)>,
    ended: HashMap<Key, End>,
    ends: VecDeque<(Timestamp, Key)>,
    /// What other nodes are still to be told of; `None`: there are no others.
    untold: Option<BTreeSet<Key>>,
}

impl Sessions {
    /// None yet; at most `limit`, each until nothing was heard of it for `timeout`.
    pub fn new(limit: usize, timeout: Duration) -> Self {
        Self { limit, timeout, ..Self::default() }
    }

    /// Settings of a new configuration. What is there beyond a lower limit stays until it ends.
    pub fn set_limits(&mut self, limit: usize, timeout: Duration) {
        (self.limit, self.timeout) = (limit, timeout);
    }

    /// At most so many are known.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// A session of which nothing was heard for so long has ended.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A Start or an Interim-Update was heard of `session`, by `record`. Its `started` and counters never go back, so that reports in
    /// the wrong order do no harm.
    pub fn report(&mut self, session: Session, record: Option<Written>) -> Taken {
        let key = Key { client: session.client.clone(), acct_session_id: session.acct_session_id.clone() };
        let order = session.last_seen.as_micros();
        let taken = self.open(&key, session, order, record);
        if matches!(taken, Taken::Opened | Taken::Renewed) {
            self.tell(key);
        }
        taken
    }

    fn open(&mut self, key: &Key, session: Session, order: u64, record: Option<Written>) -> Taken {
        if let Some(id) = self.by_key.get(key).copied() {
            self.renew(id, session, order, record);
            return Taken::Renewed;
        }
        if let Some(end) = self.ended.get(key) {
            // A NAS may use a session id again, after a reboot above all: what began after the end is a new session.
            if session.started <= end.at {
                return Taken::Late;
            }
        }
        if self.sessions.len() >= self.limit {
            return Taken::Full;
        }
        self.serial = self.serial.wrapping_add(1);
        let id = self.serial;
        // The end of the session that was called so before must not be told after the beginning of this one.
        let order = self.ended.get(key).map_or(order, |end| order.max(end.order.saturating_add(1)));
        self.silence.push_back((session.last_seen, id));
        self.by_user.entry(session.user.clone()).or_default().push(id);
        self.by_key.insert(key.clone(), id);
        self.sessions.insert(id, Open { session, order, record });
        Taken::Opened
    }

    fn renew(&mut self, id: u64, mut newer: Session, order: u64, record: Option<Written>) {
        let Some(Open { session: known, order: last, record: by }) = self.sessions.get_mut(&id) else { return };
        *last = order.max(last.saturating_add(1));
        *by = record;
        newer.started = newer.started.min(known.started);
        newer.last_seen = newer.last_seen.max(known.last_seen);
        newer.input_octets = newer.input_octets.max(known.input_octets);
        newer.output_octets = newer.output_octets.max(known.output_octets);
        newer.session_time = newer.session_time.max(known.session_time);
        let kept = |newer: &mut Option<Box<[u8]>>, known: &mut Option<Box<[u8]>>| {
            if newer.is_none() {
                *newer = known.take();
            }
        };
        kept(&mut newer.acct_multi_session_id, &mut known.acct_multi_session_id);
        kept(&mut newer.nas_identifier, &mut known.nas_identifier);
        kept(&mut newer.nas_port_id, &mut known.nas_port_id);
        kept(&mut newer.framed_ipv6_prefix, &mut known.framed_ipv6_prefix);
        kept(&mut newer.calling_station_id, &mut known.calling_station_id);
        kept(&mut newer.called_station_id, &mut known.called_station_id);
        kept(&mut newer.class, &mut known.class);
        newer.nas_ip = newer.nas_ip.or(known.nas_ip);
        newer.nas_port = newer.nas_port.or(known.nas_port);
        newer.framed_ip = newer.framed_ip.or(known.framed_ip);
        if newer.user_name.is_empty() {
            newer.user_name = std::mem::take(&mut known.user_name);
            newer.user = known.user.clone();
        }
        let (before, after) = (known.user.clone(), newer.user.clone());
        *known = newer;
        if before != after {
            self.forget_user(&before, id);
            self.by_user.entry(after).or_default().push(id);
        }
    }

    /// A Stop was heard: the session, if it was known. Its end is remembered either way, because a Stop can overtake its own
    /// Start.
    pub fn stop(
        &mut self,
        client: &Arc<str>,
        acct_session_id: &[u8],
        at: Timestamp,
        now: Timestamp,
        record: Option<Written>,
    ) -> Option<Session> {
        let key = Key { client: client.clone(), acct_session_id: acct_session_id.into() };
        let gone = self.by_key.get(&key).copied().and_then(|id| self.remove(id));
        let last = gone.as_ref().map_or(0, |open| open.order.saturating_add(1));
        self.remember_end(key.clone(), End { at, order: last.max(now.as_micros()), record }, now);
        self.tell(key);
        gone.map(|open| open.session)
    }

    fn remember_end(&mut self, key: Key, newer: End, now: Timestamp) {
        self.forget_ends(now);
        if let Some(end) = self.ended.get_mut(&key) {
            *end = End { at: newer.at.max(end.at), order: newer.order.max(end.order), record: newer.record };
            return;
        }
        if self.ended.len() >= MOST_ENDED
            && let Some((_, oldest)) = self.ends.pop_front()
        {
            self.ended.remove(&oldest);
            if !self.by_key.contains_key(&oldest) {
                self.forget_untold(&oldest);
            }
        }
        self.ended.insert(key.clone(), newer);
        self.ends.push_back((now, key));
    }

    /// An Accounting-On or -Off was heard: every session of that NAS that began before has ended (RFC 2866 §5.1). How many.
    /// The NAS is the one that sends from the same address or calls itself by the same NAS-IP-Address, and by no
    /// other NAS-Identifier.
    pub fn restart(
        &mut self,
        client: &str,
        nas: IpAddr,
        nas_ip: Option<IpAddr>,
        nas_identifier: Option<&[u8]>,
        at: Timestamp,
        now: Timestamp,
    ) -> usize {
        let same = |session: &Session| {
            let named = match (session.nas_identifier.as_deref(), nas_identifier) {
                (Some(known), Some(said)) => known == said,
                _ => true,
            };
            let placed = match (session.nas_ip, nas_ip) {
                (Some(known), Some(said)) => known == said,
                _ => session.nas == nas,
            };
            *session.client == *client && named && placed && session.started <= at
        };
        let gone: Vec<(Arc<str>, Box<[u8]>)> = self
            .iter()
            .filter(|session| same(session))
            .map(|session| (session.client.clone(), session.acct_session_id.clone()))
            .collect();
        gone.iter().filter_map(|(client, acct_session_id)| self.stop(client, acct_session_id, at, now, None)).count()
    }

    /// Forgets the sessions of which nothing was heard for too long. How many.
    pub fn expire(&mut self, now: Timestamp) -> usize {
        self.forget_ends(now);
        let mut gone = 0;
        while let Some((at, id)) = self.silence.front().copied() {
            if now.since(at) < self.timeout {
                break;
            }
            self.silence.pop_front();
            let Some(last_seen) = self.sessions.get(&id).map(|open| open.session.last_seen) else { continue };
            if now.since(last_seen) < self.timeout {
                self.silence.push_back((last_seen, id));
            } else {
                gone += usize::from(self.remove(id).is_some());
            }
        }
        gone
    }

    /// How many sessions the user of this canonical name has open.
    pub fn count(&self, user: &str, now: Timestamp) -> usize {
        self.of_user(user).filter(|session| now.since(session.last_seen) < self.timeout).count()
    }

    /// The sessions of the user of this canonical name.
    pub fn of_user(&self, user: &str) -> impl Iterator<Item = &Session> {
        self.by_user.get(user).into_iter().flatten().filter_map(|id| Some(&self.sessions.get(id)?.session))
    }

    /// The session of this Acct-Session-Id at this RADIUS client.
    pub fn of_id(&self, client: &Arc<str>, acct_session_id: &[u8]) -> Option<&Session> {
        let key = Key { client: client.clone(), acct_session_id: acct_session_id.into() };
        Some(&self.sessions.get(self.by_key.get(&key)?)?.session)
    }

    /// Every session, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values().map(|open| &open.session)
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Its entry in `silence` stays until its turn comes, but a NAS that opens and ends sessions quickly must not make that grow:
    /// beyond twice the sessions it is built anew.
    fn remove(&mut self, id: u64) -> Option<Open> {
        let open = self.sessions.remove(&id)?;
        let session = &open.session;
        let key = Key { client: session.client.clone(), acct_session_id: session.acct_session_id.clone() };
        self.by_key.remove(&key);
        self.forget_untold(&key);
        self.forget_user(&session.user, id);
        if self.silence.len() > 64 + 2 * self.sessions.len() {
            self.silence.retain(|(_, id)| self.sessions.contains_key(id));
        }
        Some(open)
    }

    fn forget_user(&mut self, user: &Arc<str>, id: u64) {
        if let Some(ids) = self.by_user.get_mut(user) {
            ids.retain(|known| *known != id);
            if ids.is_empty() {
                self.by_user.remove(user);
            }
        }
    }

    /// What others were not told yet is kept, or they would take the session for an open one.
    fn forget_ends(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.ends.front()
            && now.since(*at) >= ENDED_FOR
        {
            let Some((_, key)) = self.ends.pop_front() else { return };
            if self.untold.as_ref().is_some_and(|untold| untold.contains(&key)) {
                self.ends.push_back((now, key));
            } else {
                self.ended.remove(&key);
            }
        }
    }

    /// There are other nodes: they are to be told all that is known, now and from now on.
    pub fn share(&mut self) {
        let known = self.by_key.keys().chain(self.ended.keys()).cloned().collect();
        self.untold = Some(known);
    }

    fn tell(&mut self, key: Key) {
        if let Some(untold) = &mut self.untold {
            untold.insert(key);
        }
    }

    /// Of what nothing is known any more nothing can be told, and a store that is lost for days must not make it pile up.
    fn forget_untold(&mut self, key: &Key) {
        if let Some(untold) = &mut self.untold {
            untold.remove(key);
        }
    }

    /// Up to `most` things that other nodes are still to be told. If they cannot be, [`Sessions::share`] begins anew.
    pub fn untold(&mut self, most: usize) -> Vec<Report> {
        let mut reports = Vec::new();
        while reports.len() < most
            && let Some(key) = self.untold.as_mut().and_then(BTreeSet::pop_first)
        {
            let open = self.by_key.get(&key).and_then(|id| self.sessions.get(id));
            let open = open.map(|open| (open.order, Says::Open(Box::new(open.session.clone())), open.record));
            let said = open.or_else(|| self.ended.get(&key).map(|end| (end.order, Says::Ended(end.at), end.record)));
            reports.extend(said.map(|(order, says, record)| Report { key, order, says, record }));
        }
        reports
    }

    /// Another node reports. What contradicts an end that this node knows, or a session that began after the end that the other
    /// one knows, is answered: the right report is to be told again.
    pub fn hear(&mut self, report: Report, now: Timestamp) -> Taken {
        let Report { key, order, says, record } = report;
        let open = self.by_key.get(&key).and_then(|id| Some((*id, self.sessions.get_mut(id)?)));
        match (says, open) {
            (Says::Open(_), Some((_, open))) if open.order >= order => Taken::Late,
            (Says::Open(session), _) if now.since(session.last_seen) >= self.timeout => Taken::Late,
            (Says::Open(session), _) => {
                let taken = self.open(&key, *session, order, record);
                if taken == Taken::Late
                    && let Some(end) = self.ended.get_mut(&key)
                {
                    end.order = end.order.max(order.saturating_add(1));
                    self.tell(key);
                }
                taken
            }
            (Says::Ended(at), Some((_, open))) if open.session.started > at => {
                open.order = open.order.max(order.saturating_add(1));
                self.tell(key);
                Taken::Late
            }
            (Says::Ended(at), open) => {
                let taken = if open.is_some() { Taken::Renewed } else { Taken::Late };
                if let Some(id) = open.map(|(id, _)| id) {
                    self.remove(id);
                }
                self.remember_end(key, End { at, order, record }, now);
                taken
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn session(user: &str, id: &str, at: u64) -> Session {
        Session {
            client: "vpn".into(),
            nas: NAS,
            user: user.into(),
            user_name: user.as_bytes().into(),
            acct_session_id: id.as_bytes().into(),
            acct_multi_session_id: None,
            nas_identifier: None,
            nas_ip: None,
            nas_port: None,
            nas_port_id: None,
            framed_ip: None,
            framed_ipv6_prefix: None,
            calling_station_id: None,
            called_station_id: None,
            class: None,
            started: Timestamp::from_secs(at),
            last_seen: Timestamp::from_secs(at),
            input_octets: 0,
            output_octets: 0,
            session_time: 0,
        }
    }

    fn sessions() -> Sessions {
        Sessions::new(3, Duration::from_secs(100))
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn a_session_opens_is_renewed_and_stops() {
        let mut sessions = sessions();
        let mut first = session("alice", "1", 10);
        first.class = Some(b"c".as_slice().into());
        first.input_octets = 900;
        assert_eq!(sessions.report(first, None), Taken::Opened);
        assert_eq!(sessions.report(session("alice", "1", 20), None), Taken::Renewed);
        let known = sessions.of_id(&"vpn".into(), b"1").unwrap();
        assert_eq!((known.started, known.last_seen, known.input_octets), (at(10), at(20), 900));
        assert_eq!(known.class.as_deref(), Some(b"c".as_slice()));
        assert_eq!(sessions.count("alice", at(20)), 1);
        assert!(sessions.stop(&"vpn".into(), b"1", at(30), at(30), None).is_some());
        assert_eq!((sessions.count("alice", at(30)), sessions.len()), (0, 0));
    }

    #[test]
    fn what_comes_after_the_stop_opens_nothing_unless_it_began_later() {
        let mut sessions = sessions();
        assert!(sessions.stop(&"vpn".into(), b"1", at(30), at(30), None).is_none());
        assert_eq!(sessions.report(session("alice", "1", 29), None), Taken::Late);
        assert_eq!(sessions.report(session("alice", "1", 31), None), Taken::Opened);
        sessions.stop(&"vpn".into(), b"1", at(40), at(40), None);
        sessions.expire(at(400));
        assert!(sessions.ended.is_empty() && sessions.ends.is_empty());
    }

    #[test]
    fn silence_ends_a_session_and_a_report_keeps_it() {
        let mut sessions = sessions();
        sessions.report(session("alice", "1", 0), None);
        sessions.report(session("alice", "2", 0), None);
        sessions.report(session("alice", "2", 60), None);
        assert_eq!(sessions.count("alice", at(101)), 1);
        assert_eq!(sessions.expire(at(101)), 1);
        assert_eq!(sessions.of_user("alice").count(), 1);
        assert_eq!((sessions.expire(at(159)), sessions.expire(at(160))), (0, 1));
        assert!(sessions.silence.is_empty());
    }

    #[test]
    fn a_nas_that_restarts_has_no_sessions_and_others_keep_theirs() {
        let mut sessions = sessions();
        sessions.report(session("alice", "1", 0), None);
        let mut other = session("bob", "2", 0);
        other.nas_identifier = Some(b"other".as_slice().into());
        sessions.report(other, None);
        sessions.report(session("carol", "3", 50), None);
        assert_eq!(sessions.restart("vpn", NAS, None, Some(b"this"), at(40), at(40)), 1);
        let mut left: Vec<_> = sessions.iter().map(|session| session.user.to_string()).collect();
        left.sort();
        assert_eq!(left, ["bob", "carol"]);
        assert_eq!(sessions.restart("elsewhere", NAS, None, None, at(90), at(90)), 0);
        assert_eq!(sessions.restart("vpn", Ipv4Addr::LOCALHOST.into(), None, None, at(90), at(90)), 0);
    }

    #[test]
    fn the_limit_holds_and_the_queue_does_not_grow() {
        let mut sessions = sessions();
        for id in ["1", "2", "3"] {
            assert_eq!(sessions.report(session("alice", id, 0), None), Taken::Opened);
        }
        assert_eq!(sessions.report(session("alice", "4", 0), None), Taken::Full);
        for round in 0..1_000 {
            sessions.stop(&"vpn".into(), b"3", at(round), at(round), None);
            sessions.report(session("alice", "3", round + 1), None);
        }
        assert!(sessions.silence.len() < 80, "{}", sessions.silence.len());
        assert_eq!(sessions.count("alice", at(0)), 3);
    }

    /// What nodes share: the newest report of each session, and in which order they came.
    #[derive(Default)]
    struct Board {
        reports: HashMap<Key, Report>,
        changes: Vec<Key>,
    }

    struct Node {
        sessions: Sessions,
        heard: usize,
    }

    impl Node {
        fn new() -> Self {
            let mut sessions = Sessions::new(1_000, Duration::from_secs(1_000_000));
            sessions.share();
            Self { sessions, heard: 0 }
        }

        fn exchange(&mut self, board: &mut Board, most: usize, now: Timestamp) {
            for report in self.sessions.untold(most) {
                match board.reports.get(&report.key) {
                    Some(known) if known.order >= report.order => drop(self.sessions.hear(known.clone(), now)),
                    _ => {
                        board.changes.push(report.key.clone());
                        let octets = report.encode().unwrap();
                        let read = Report::decode(&octets, report.order).unwrap();
                        assert_eq!(read, report);
                        board.reports.insert(report.key.clone(), read);
                    }
                }
            }
            for key in &board.changes[self.heard..] {
                self.sessions.hear(board.reports[key].clone(), now);
            }
            self.heard = board.changes.len();
        }

        fn open(&self) -> Vec<String> {
            let name = |session: &Session| String::from_utf8_lossy(&session.acct_session_id).into_owned();
            let mut open: Vec<_> = self.sessions.iter().map(name).collect();
            open.sort();
            open
        }
    }

    #[test]
    fn one_node_hears_the_start_and_another_the_stop() {
        let (mut board, mut a, mut b) = (Board::default(), Node::new(), Node::new());
        a.sessions.report(session("alice", "1", 10), None);
        a.exchange(&mut board, 9, at(10));
        b.exchange(&mut board, 9, at(11));
        assert_eq!(b.sessions.count("alice", at(11)), 1);
        b.sessions.stop(&"vpn".into(), b"1", at(12), at(12), None);
        b.exchange(&mut board, 9, at(12));
        // An Interim-Update that the Stop overtook, at a node that has not heard of the Stop.
        a.sessions.report(session("alice", "1", 13), None);
        let mut late = Node::new();
        for _ in 0..3 {
            [&mut a, &mut b, &mut late].into_iter().for_each(|node| node.exchange(&mut board, 9, at(14)));
        }
        for node in [&a, &b, &late] {
            assert_eq!(node.sessions.count("alice", at(14)), 0);
        }
        // The NAS begins to count anew.
        b.sessions.report(session("bob", "1", 20), None);
        b.exchange(&mut board, 9, at(20));
        late.exchange(&mut board, 9, at(20));
        assert_eq!((late.sessions.count("bob", at(20)), late.sessions.count("alice", at(20))), (1, 0));
    }

    #[test]
    fn an_older_report_changes_nothing() {
        let mut node = Node::new();
        let address = |last| Some(Ipv4Addr::new(10, 0, 0, last));
        let heard = |at: u64| {
            let older = Session { framed_ip: address(1), ..session("alice", "1", at) };
            let key = Key { client: "vpn".into(), acct_session_id: b"1".as_slice().into() };
            Report { key, order: at * 1_000_000, says: Says::Open(Box::new(older)), record: None }
        };
        node.sessions.report(Session { framed_ip: address(2), ..session("alice", "1", 20) }, None);
        assert_eq!(node.sessions.hear(heard(10), at(20)), Taken::Late);
        assert_eq!(node.sessions.of_id(&"vpn".into(), b"1").unwrap().framed_ip, address(2));
        assert_eq!(node.sessions.untold(9).first().unwrap().order, 20_000_000);
        assert_eq!(node.sessions.hear(heard(30), at(30)), Taken::Renewed);
        assert_eq!(node.sessions.of_id(&"vpn".into(), b"1").unwrap().framed_ip, address(1));
        assert_eq!(node.sessions.hear(heard(40), at(2_000_000)), Taken::Late, "it fell silent long ago");
    }

    #[test]
    fn an_end_that_was_not_told_is_kept_until_it_is() {
        let (mut board, mut a, mut b) = (Board::default(), Node::new(), Node::new());
        a.sessions.report(session("alice", "1", 10), None);
        a.exchange(&mut board, 9, at(10));
        b.exchange(&mut board, 9, at(10));
        a.sessions.stop(&"vpn".into(), b"1", at(20), at(20), None);
        a.sessions.expire(at(2_000));
        a.exchange(&mut board, 9, at(2_000));
        b.exchange(&mut board, 9, at(2_000));
        assert!(b.sessions.is_empty());
        a.sessions.expire(at(4_000));
        assert!(a.sessions.ended.is_empty());
    }

    #[test]
    fn what_is_untold_does_not_pile_up() {
        let mut sessions = Sessions::new(1_000, Duration::from_secs(100));
        sessions.share();
        for round in 0..80_000 {
            sessions.report(session("alice", &round.to_string(), round), None);
            if round % 8 > 0 {
                sessions.stop(&"vpn".into(), round.to_string().as_bytes(), at(round), at(round), None);
            }
            sessions.expire(at(round));
        }
        let untold = sessions.untold.as_ref().unwrap().len();
        assert!(untold <= MOST_ENDED + 1_000 && untold <= sessions.ended.len() + sessions.len(), "{untold}");
    }

    #[test]
    fn copies_agree_whatever_is_heard_where_and_when() {
        for seed in 0..300_u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut draw = |below: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % below
            };
            let mut board = Board::default();
            let mut nodes = [Node::new(), Node::new(), Node::new()];
            let mut ended = BTreeSet::new();
            for second in 1..200 {
                let id = draw(12);
                // Their clocks differ.
                let which = draw(3);
                let clock = at(second + 40 * which);
                let node = &mut nodes[usize::try_from(which).unwrap()];
                // A report may be older than the end of its session.
                match draw(6) {
                    0..=2 => {
                        let mut session = session("alice", &id.to_string(), second);
                        (session.started, session.last_seen) = (at(id + 1), clock);
                        node.sessions.report(session, None);
                    }
                    3 if draw(3) == 0 => {
                        node.sessions.stop(&"vpn".into(), id.to_string().as_bytes(), at(second + 20), clock, None);
                        ended.insert(id.to_string());
                    }
                    4 if draw(5) == 0 => {
                        // It tells all of it again, as after a time without the store.
                        node.sessions.share();
                    }
                    _ => node.exchange(&mut board, usize::try_from(draw(4)).unwrap(), at(second)),
                }
                if draw(150) == 0 {
                    // The store was wiped.
                    board = Board::default();
                    for node in &mut nodes {
                        node.heard = 0;
                        node.sessions.share();
                    }
                }
            }
            for _ in 0..6 {
                nodes.iter_mut().for_each(|node| node.exchange(&mut board, 1_000, at(200)));
            }
            let mut late = Node::new();
            late.exchange(&mut board, 0, at(200));
            for node in &nodes {
                assert_eq!(node.open(), nodes[0].open(), "seed {seed}");
                assert!(node.sessions.untold.as_ref().unwrap().is_empty(), "seed {seed}: they never agree");
                assert!(node.open().iter().all(|id| !ended.contains(id)), "seed {seed}");
            }
            assert_eq!(late.open(), nodes[0].open(), "seed {seed}");
        }
    }
}
