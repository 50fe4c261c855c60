//! Places for connections, as `gateway_core::limit::places` gives them, for tasks that each hold one.

use gateway_core::limit::places::{Given, Places};
use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Places at one door.
#[derive(Debug)]
pub struct Door<S>(Arc<Mutex<State<S>>>);

#[derive(Debug)]
struct State<S> {
    places: Places<S>,
    /// Dropped to have a connection closed.
    open: HashMap<u64, oneshot::Sender<()>>,
}

/// The place of one connection; dropping it gives it back.
#[derive(Debug)]
pub struct Place<S: Clone + Eq + Hash> {
    state: Arc<Mutex<State<S>>>,
    number: u64,
    closed: oneshot::Receiver<()>,
}

fn lock<S>(state: &Mutex<State<S>>) -> MutexGuard<'_, State<S>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Clone + Eq + Hash> Door<S> {
    /// A door with so many places.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(State { places: Places::new(most), open: HashMap::new() })))
    }

    /// A place for a connection of `sender`, and whether another one is closed for it. `None` if nobody's can be.
    pub fn enter(&self, sender: S) -> Option<(Place<S>, bool)> {
        let mut state = lock(&self.0);
        let Given { place: number, closes } = state.places.enter(sender)?;
        if let Some(closes) = closes {
            state.open.remove(&closes);
        }
        let (open, closed) = oneshot::channel();
        state.open.insert(number, open);
        Some((Place { state: self.0.clone(), number, closed }, closes.is_some()))
    }

    /// No connection could be taken, for lack of descriptors: a silent one is closed, so that whoever waits may be heard.
    pub fn make_room(&self) {
        let mut state = lock(&self.0);
        if let Some(closed) = state.places.make_room() {
            state.open.remove(&closed);
        }
    }
}

/// Marks the connection of a place as heard.
#[derive(Debug)]
pub struct Mark<S> {
    state: Arc<Mutex<State<S>>>,
    number: u64,
}

impl<S: Clone + Eq + Hash> Mark<S> {
    /// The connection said what it wants: nobody takes its place any more.
    pub fn heard(&self) {
        lock(&self.state).places.heard(self.number);
    }
}

impl<S: Clone + Eq + Hash> Place<S> {
    /// For whoever learns that the connection was heard.
    pub fn mark(&self) -> Mark<S> {
        Mark { state: self.state.clone(), number: self.number }
    }

    /// Does `work`, unless the place is taken away before that is done: then it is dropped, and there is `None`. To be called once.
    pub async fn hold<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let work = pin!(work);
        tokio::select! {
            biased;
            done = work => Some(done),
            _ = &mut self.closed => None,
        }
    }
}

impl<S: Clone + Eq + Hash> Drop for Place<S> {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.places.leave(self.number);
        state.open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn oldest_is_closed() {
        let door = Door::new(1);
        let (mut first, closes) = door.enter("a").unwrap();
        assert!(!closes);
        let (mut second, closes) = door.enter("b").unwrap();
        assert!(closes);
        assert_eq!(first.hold(std::future::pending::<()>()).await, None);
        second.mark().heard();
        assert!(door.enter("c").is_none());
        assert_eq!(second.hold(async { 7 }).await, Some(7));
        drop(second);
        assert!(door.enter("c").is_some_and(|(_, closes)| !closes));
    }
}
