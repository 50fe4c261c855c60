//! A queue that RADIUS clients share: each has a line of its own, and the lines are served in turn. A client may fill the whole
//! queue while nobody else wants it. Once it is full, room for others is made at the end of the longest line, so that whoever
//! floods the queue waits for and loses their own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Items that wait, by the RADIUS client that they came from.
#[derive(Debug)]
pub struct FairQueue<T> {
    limit: usize,
    waiting: usize,
    /// None of them is empty.
    lines: BTreeMap<Arc<str>, VecDeque<T>>,
    /// Clients that have something waiting, the one to be served next first.
    turns: VecDeque<Arc<str>>,
}

/// What became of an item.
#[derive(Debug, PartialEq, Eq)]
pub enum Pushed<T> {
    /// It waits.
    Queued,
    /// It waits, and this one of another client no longer does.
    Displaced(T),
    /// It does not: its client has as much waiting as any other, and there is no room.
    Full(T),
}

impl<T> FairQueue<T> {
    /// An empty queue for `limit` items. Each client may have one wait even beyond that.
    pub const fn new(limit: usize) -> Self {
        Self { limit, waiting: 0, lines: BTreeMap::new(), turns: VecDeque::new() }
    }

    /// Puts `item` at the end of the line of `client`.
    pub fn push(&mut self, client: &Arc<str>, item: T) -> Pushed<T> {
        let own = self.lines.get(client).map_or(0, VecDeque::len);
        let mut displaced = None;
        if self.waiting >= self.limit {
            let longest = self.lines.iter().max_by_key(|(_, line)| line.len());
            let (greediest, length) = longest.map_or((client.clone(), own), |(name, line)| (name.clone(), line.len()));
            if length > own.saturating_add(1) {
                displaced = self.drop_last(&greediest);
            } else if own > 0 {
                return Pushed::Full(item);
            }
        }
        self.lines.entry(client.clone()).or_default().push_back(item);
        self.waiting = self.waiting.saturating_add(1);
        if own == 0 {
            self.turns.push_back(client.clone());
        }
        displaced.map_or(Pushed::Queued, Pushed::Displaced)
    }

    /// Takes the oldest item of the client whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let client = self.turns.pop_front()?;
        let line = self.lines.get_mut(&client)?;
        let item = line.pop_front();
        if line.is_empty() {
            self.lines.remove(&client);
        } else {
            self.turns.push_back(client);
        }
        self.waiting = self.waiting.saturating_sub(1);
        item
    }

    /// How many wait.
    pub const fn len(&self) -> usize {
        self.waiting
    }

    /// Whether none waits.
    pub const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// The newest of a line that has more than one.
    fn drop_last(&mut self, client: &Arc<str>) -> Option<T> {
        let item = self.lines.get_mut(client)?.pop_back();
        self.waiting = self.waiting.saturating_sub(1);
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str) -> Arc<str> {
        name.into()
    }

    fn all<T>(queue: &mut FairQueue<T>) -> Vec<T> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn lone_client_fills_the_queue() {
        let mut queue = FairQueue::new(3);
        for item in 1..=3 {
            assert_eq!(queue.push(&client("a"), item), Pushed::Queued);
        }
        assert_eq!(queue.push(&client("a"), 4), Pushed::Full(4));
        assert_eq!(all(&mut queue), [1, 2, 3]);
        assert!(queue.is_empty() && queue.pop().is_none());
    }

    #[test]
    fn clients_take_turns() {
        let mut queue = FairQueue::new(10);
        for item in ["a1", "a2", "a3", "b1", "b2", "c1"] {
            queue.push(&client(&item[..1]), item);
        }
        assert_eq!(all(&mut queue), ["a1", "b1", "c1", "a2", "b2", "a3"]);
    }

    #[test]
    fn full_queue_drops_the_greediest() {
        let mut queue = FairQueue::new(4);
        for item in ["a1", "a2", "a3", "b1"] {
            queue.push(&client(&item[..1]), item);
        }
        assert_eq!(queue.push(&client("c"), "c1"), Pushed::Displaced("a3"));
        assert_eq!(queue.push(&client("a"), "a4"), Pushed::Full("a4"), "nobody has more");
        assert_eq!(queue.push(&client("b"), "b2"), Pushed::Full("b2"), "it would only change places");
        assert_eq!(all(&mut queue), ["a1", "b1", "c1", "a2"]);
    }

    /// However small the queue is, a flood cannot keep a client out for ever.
    #[test]
    fn each_client_may_have_one_wait() {
        let mut queue = FairQueue::new(1);
        assert_eq!(queue.push(&client("a"), 1), Pushed::Queued);
        assert_eq!(queue.push(&client("b"), 2), Pushed::Queued);
        assert_eq!(queue.push(&client("a"), 3), Pushed::Full(3));
        assert_eq!((queue.len(), queue.pop(), queue.pop(), queue.pop()), (2, Some(1), Some(2), None));
    }

    #[test]
    fn others_are_served_through_a_flood() {
        let mut queue = FairQueue::new(64);
        let (flood, other) = (client("flood"), client("other"));
        let mut served = 0;
        for round in 0..1_000_u32 {
            for _ in 0..20 {
                queue.push(&flood, None);
            }
            assert!(!matches!(queue.push(&other, Some(round)), Pushed::Full(_)));
            // Far fewer are served than come.
            for _ in 0..2 {
                served += usize::from(queue.pop().is_some_and(|item| item.is_some()));
            }
        }
        assert_eq!(served, 1_000);
    }
}
