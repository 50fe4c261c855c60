//! Users whom operators have locked, as this node knows them: kept in `state_dir/locked-users`, so that a restart unlocks nobody, and shared
//! with other nodes ([`sharer`]). The rules are in [`gateway_core::limit::locks`].

pub mod sharer;

use crate::clock;
use crate::durable;
use crate::node::Node;
use cluster::{Applied, StoreError};
use gateway_core::attempt::record::AttemptKey;
use gateway_core::attempt::transition::{Change, Outcome, Transition};
use gateway_core::exchange::Setting;
use gateway_core::limit::locks::{Full, Lock, Locks};
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const NAME: &str = "locked-users";

/// The locked users.
pub struct LockedUsers {
    path: PathBuf,
    locks: Mutex<Locks>,
    /// `true` if anybody is locked: mostly nobody is, and no sign-in looks further.
    any: AtomicBool,
    /// Orders that other nodes were not told of.
    untold: Mutex<Vec<Lock>>,
    /// Counts changes.
    changes: AtomicU64,
    /// The change that the file has, and the turn of whoever writes it.
    written: Mutex<u64>,
}

impl LockedUsers {
    /// Reads who was locked before.
    ///
    /// # Errors
    ///
    /// The file is there and cannot be read, or holds something else: a lock must not be forgotten.
    pub fn load(state_dir: &Path) -> io::Result<Self> {
        let path = state_dir.join(NAME);
        let locks = read(&path)?;
        let any = AtomicBool::new(locks.locked().next().is_some());
        let untold = Mutex::new(locks.orders().cloned().collect());
        Ok(Self { path, locks: Mutex::new(locks), any, untold, changes: AtomicU64::new(0), written: Mutex::new(0) })
    }

    fn locks(&self) -> MutexGuard<'_, Locks> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the user, by canonical name, is locked.
    pub fn is_locked(&self, user: &str) -> bool {
        self.any.load(Ordering::Acquire) && self.locks().is_locked(user)
    }

    /// Returns whether anybody is locked.
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Everybody who is locked.
    pub fn locked(&self) -> Vec<Lock> {
        self.locks().locked().cloned().collect()
    }

    /// Every order, so that a store that was emptied knows them again.
    pub fn tell_all(&self) {
        let all = self.locks().orders().cloned().collect();
        *self.untold.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }

    /// At most `most` orders that other nodes do not know.
    pub fn to_tell(&self, most: usize) -> Vec<Lock> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner).iter().take(most).cloned().collect()
    }

    /// Notes that they know these.
    pub fn told(&self, orders: &[Lock]) {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner).retain(|lock| !orders.contains(lock));
    }

    /// Takes an operator's order; [`persist`](Self::persist) writes it down.
    ///
    /// # Errors
    ///
    /// Too many users are locked.
    pub fn order(&self, user: Arc<str>, locked: bool, now: Timestamp) -> Result<(), Full> {
        let mut locks = self.locks();
        let order = locks.order(user, locked, now)?;
        self.changed(&locks);
        self.untold.lock().unwrap_or_else(PoisonError::into_inner).push(order);
        Ok(())
    }

    /// Takes what other nodes told, and returns whom that locks.
    fn hear(&self, orders: Vec<Lock>) -> Vec<Arc<str>> {
        let mut locks = self.locks();
        let mut newly = Vec::new();
        let mut news = false;
        for order in orders {
            let (user, locked) = (order.user.clone(), order.locked);
            if locks.merge(order) {
                news = true;
                newly.extend(locked.then_some(user));
            }
        }
        if news {
            self.changed(&locks);
        }
        newly
    }

    /// Forgets who was unlocked long ago.
    pub fn sweep(&self, now: Timestamp) {
        let mut locks = self.locks();
        if locks.forget(now) {
            self.changed(&locks);
        }
    }

    fn changed(&self, locks: &Locks) {
        self.any.store(locks.locked().next().is_some(), Ordering::Release);
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Writes down what changed since the last time: a new file in place of the old one. It blocks on the disk.
    ///
    /// # Errors
    ///
    /// The file cannot be written; the next call tries again.
    pub fn persist(&self) -> io::Result<()> {
        // Taken first, so that an older list never takes the place of a newer.
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let (changes, text) = {
            let locks = self.locks();
            let changes = self.changes.load(Ordering::Acquire);
            if *written == changes {
                return Ok(());
            }
            (changes, text(&locks))
        };
        durable::replace(&self.path, text.as_bytes())?;
        *written = changes;
        Ok(())
    }
}

/// One order to a line.
fn text(locks: &Locks) -> String {
    let line = |lock: &Lock| serde_json::to_string(lock).map(|line| line + "\n").unwrap_or_default();
    locks.orders().map(line).collect()
}

fn read(path: &Path) -> io::Result<Locks> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Locks::default()),
        Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    };
    let mut locks = Locks::default();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let lock = serde_json::from_str(line).map_err(|error| {
            let place = format!("{}:{}", path.display(), at + 1);
            io::Error::new(io::ErrorKind::InvalidData, format!("{place}: {error}; correct or remove the line"))
        })?;
        locks.merge(lock);
    }
    Ok(locks)
}

impl Node {
    /// Returns whether an operator has locked the user of this User-Name.
    pub fn is_locked(&self, user_name: &[u8], setting: &Setting) -> bool {
        self.locks.any() && setting.canonical(user_name).is_some_and(|user| self.locks.is_locked(&user))
    }

    /// Ends what is open for `user` in the store, and has packets that wait here look at it.
    ///
    /// # Errors
    ///
    /// The store did not do it.
    pub async fn end_attempts(&self, user: Arc<str>, reason: Reason) -> Result<usize, StoreError> {
        let key = AttemptKey { group: "".into(), user: user.clone(), station: None };
        let transition = Transition { key, change: Change::End { reason }, rules: self.active().setting.rules() };
        let outcome = match self.store.apply(transition, clock::now()) {
            Applied::Now(outcome) => outcome,
            Applied::Later(outcome) => outcome.await,
        }?;
        self.pending.look_for(&user);
        Ok(if let Outcome::Ended(count) = outcome { count } else { 0 })
    }

    /// Does the same where nobody is there to hear of it: it is logged.
    pub async fn end_attempts_or_tell(&self, user: Arc<str>, reason: Reason) {
        match self.end_attempts(user.clone(), reason).await {
            Ok(0) => {}
            Ok(ended) => {
                tracing::info!(
                    user = &*user,
                    ended,
                    reason_id = reason.id(),
                    "this user may no longer sign in: what was open has ended"
                );
            }
            Err(error) => tracing::error!(
                user = &*user,
                reason_id = error.reason().id(),
                ended_because = reason.id(),
                "what is open for this user could not be ended: a challenge that is out can still be answered until it expires"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn restart_unlocks_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let users = LockedUsers::load(dir.path()).unwrap();
        assert!(!users.any());
        users.order("al\"ice\n".into(), true, at(1)).unwrap();
        users.order("bob".into(), true, at(1)).unwrap();
        users.order("bob".into(), false, at(2)).unwrap();
        users.persist().unwrap();
        let again = LockedUsers::load(dir.path()).unwrap();
        assert!(again.is_locked("al\"ice\n") && !again.is_locked("bob"));
        assert_eq!(again.to_tell(9).len(), 2, "others may not know what was ordered just before it died");
    }

    #[test]
    fn writers_take_turns() {
        let dir = tempfile::tempdir().unwrap();
        let users = LockedUsers::load(dir.path()).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let users = &users;
                scope.spawn(move || {
                    for number in 0..50 {
                        users.order(format!("user{thread}-{number}").into(), true, at(1)).unwrap();
                        users.persist().unwrap();
                    }
                });
            }
        });
        assert_eq!(LockedUsers::load(dir.path()).unwrap().locked().len(), 200);
    }

    #[test]
    fn damaged_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(NAME), "{\"user\":\"alice\",\"locked\":true,\"at\":1}\nnonsense\n").unwrap();
        let error = LockedUsers::load(dir.path()).map(drop).unwrap_err().to_string();
        assert!(error.contains("locked-users:2"), "{error}");
    }

    #[test]
    fn hearing_names_new_locks() {
        let dir = tempfile::tempdir().unwrap();
        let users = LockedUsers::load(dir.path()).unwrap();
        let lock = |user: &str, locked, secs| Lock { user: user.into(), locked, at: at(secs) };
        assert_eq!(users.hear(vec![lock("alice", true, 5), lock("bob", false, 5)]), [Arc::<str>::from("alice")]);
        assert!(users.hear(vec![lock("alice", true, 5)]).is_empty(), "it is known");
        assert!(users.is_locked("alice") && users.to_tell(9).is_empty());
        assert!(users.hear(vec![lock("alice", false, 6)]).is_empty());
        assert!(!users.any());
    }
}
