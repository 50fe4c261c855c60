//! Password hashing on threads of its own. A hash takes tens of milliseconds and 19 MiB, which no arbiter can spare; so many
//! threads and no more may hash, passwords to be checked and new ones alike, and so many and no more may wait. RADIUS clients are served in turn, and a full queue loses
//! checks of the client that has most of them ([`FairQueue`]).

use anyhow::Context;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use gateway_core::limit::queue::{FairQueue, Pushed};
use gateway_core::secret::Secret;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::{io, str, thread};
use tokio::sync::oneshot;

/// As many checks wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more password checks wait than limits.password_queue allows")]
pub struct QueueFull;

/// Compares a password with a PHC string; a type of its own so that tests can count.
type Verify = dyn Fn(&Secret, &Secret) -> bool + Send + Sync;

/// Threads that compare passwords with their hashes. They end when the pool is dropped and the queue is done.
pub struct HashingPool {
    waiting: Arc<Waiting>,
}

/// A check that was handed to the pool.
pub type Verdict = oneshot::Receiver<Result<bool, QueueFull>>;

/// A new password that was handed to the pool: its hash, as a PHC string.
pub type Hashed = oneshot::Receiver<Result<String, QueueFull>>;

enum Job {
    Verify { password: Secret, hash: Arc<Secret>, answer: oneshot::Sender<Result<bool, QueueFull>> },
    Hash { password: Secret, answer: oneshot::Sender<Result<String, QueueFull>> },
}

impl Job {
    /// Another client needs its place. Nobody may be waiting any more.
    fn refuse(self) {
        match self {
            Self::Verify { answer, .. } => drop(answer.send(Err(QueueFull))),
            Self::Hash { answer, .. } => drop(answer.send(Err(QueueFull))),
        }
    }

    /// Does it, unless nobody waits for it. What cannot be hashed, or panics, is dropped unsent.
    fn run(self, verify: &Verify) {
        match self {
            Self::Verify { answer, .. } if answer.is_closed() => {}
            Self::Hash { answer, .. } if answer.is_closed() => {}
            Self::Verify { password, hash, answer } => {
                let _ = answer.send(Ok(verify(&password, &hash)));
            }
            Self::Hash { password, answer } => match hash_password(&password) {
                Ok(hash) => drop(answer.send(Ok(hash))),
                Err(error) => tracing::error!(error = format!("{error:#}"), "a new password cannot be hashed"),
            },
        }
    }
}

/// The checks that wait, and the threads that wait for one.
struct Waiting {
    jobs: Mutex<Jobs>,
    changed: Condvar,
}

struct Jobs {
    queue: FairQueue<Job>,
    /// The pool is gone.
    ended: bool,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next check; waits for one. `None` once the pool is gone and the queue is done.
    fn next(&self) -> Option<Job> {
        let mut jobs = self.lock();
        loop {
            if let Some(job) = jobs.queue.pop() {
                return Some(job);
            }
            if jobs.ended {
                return None;
            }
            jobs = self.changed.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl HashingPool {
    /// `threads` hash at a time, at least one; `queue` more checks may wait.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub fn new(threads: usize, queue: usize) -> io::Result<Self> {
        Self::with(threads, queue, Arc::new(verify))
    }

    pub(crate) fn with(threads: usize, queue: usize, verify: Arc<Verify>) -> io::Result<Self> {
        let jobs = Mutex::new(Jobs { queue: FairQueue::new(queue), ended: false });
        let pool = Self { waiting: Arc::new(Waiting { jobs, changed: Condvar::new() }) };
        for index in 0..threads.max(1) {
            let (waiting, verify) = (pool.waiting.clone(), verify.clone());
            thread::Builder::new().name(format!("hashing-{index}")).spawn(move || work(&waiting, &*verify))?;
        }
        Ok(pool)
    }

    /// Has `password` compared with `hash`, a PHC string, for `client`. If the receiver is dropped before its turn, nothing is
    /// hashed; if the sender is, the comparison failed and nobody knows. A check that waits may still be answered with
    /// [`QueueFull`]: then another client needed the place.
    ///
    /// # Errors
    /// If too many wait already, and no client has more waiting than this one.
    pub fn try_verify(&self, client: &Arc<str>, password: Secret, hash: Arc<Secret>) -> Result<Verdict, QueueFull> {
        let (answer, receiver) = oneshot::channel();
        self.push(client, Job::Verify { password, hash, answer })?;
        Ok(receiver)
    }

    /// Has a new password of `client`'s user hashed. It waits for its turn among the checks, and may be answered as they are.
    ///
    /// # Errors
    /// As [`try_verify`](Self::try_verify).
    pub fn try_hash(&self, client: &Arc<str>, password: Secret) -> Result<Hashed, QueueFull> {
        let (answer, receiver) = oneshot::channel();
        self.push(client, Job::Hash { password, answer })?;
        Ok(receiver)
    }

    fn push(&self, client: &Arc<str>, job: Job) -> Result<(), QueueFull> {
        let pushed = self.waiting.lock().queue.push(client, job);
        match pushed {
            Pushed::Queued => {}
            Pushed::Displaced(other) => other.refuse(),
            Pushed::Full(_) => return Err(QueueFull),
        }
        self.waiting.changed.notify_one();
        Ok(())
    }
}

impl Drop for HashingPool {
    fn drop(&mut self) {
        self.waiting.lock().ended = true;
        self.waiting.changed.notify_all();
    }
}

fn work(waiting: &Waiting, verify: &Verify) {
    while let Some(job) = waiting.next() {
        // One bad hash must not cost a thread; the job's sender is dropped unsent.
        let _ = catch_unwind(AssertUnwindSafe(|| job.run(verify)));
    }
}

fn verify(password: &Secret, hash: &Secret) -> bool {
    let hash = str::from_utf8(hash.expose()).ok().and_then(|hash| PasswordHash::new(hash).ok());
    hash.is_some_and(|hash| Argon2::default().verify_password(password.expose(), &hash).is_ok())
}

/// Hashes a new password with argon2id, 19 MiB, two passes, one lane (OWASP Password Storage Cheat Sheet), into a PHC string.
///
/// # Errors
/// If the operating system gives no randomness or the password is of an impossible length.
pub fn hash_password(password: &Secret) -> anyhow::Result<String> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).context("the operating system gives no randomness for a salt")?;
    let parameters = Params::new(19_456, 2, 1, None).context("argon2id does not take its parameters")?;
    let hashed = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
        .hash_password_with_salt(password.expose(), &salt)
        .context("the password cannot be hashed")?;
    Ok(hashed.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    fn hash(text: &str) -> Arc<Secret> {
        Arc::new(secret(text))
    }

    fn client(name: &str) -> Arc<str> {
        name.into()
    }

    #[test]
    fn a_password_fits_its_own_hash_only() {
        let pool = HashingPool::new(1, 4).unwrap();
        let phc = hash_password(&secret("hunter2")).unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert_ne!(phc, hash_password(&secret("hunter2")).unwrap(), "the salt is drawn anew");
        let ask = |password: &str, phc: &str| {
            pool.try_verify(&client("vpn"), secret(password), hash(phc)).unwrap().blocking_recv()
        };
        assert_eq!(ask("hunter2", &phc), Ok(Ok(true)));
        assert_eq!(ask("hunter3", &phc), Ok(Ok(false)));
        assert_eq!(ask("hunter2", "no hash"), Ok(Ok(false)));
    }

    #[test]
    fn new_password_takes_its_turn() {
        let (release, gate) = mpsc::channel::<()>();
        let (started, starts) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let wait = move |_: &Secret, _: &Secret| {
            started.send(()).unwrap();
            gate.lock().unwrap().recv().unwrap();
            true
        };
        let pool = HashingPool::with(1, 2, Arc::new(wait)).unwrap();
        let checked = pool.try_verify(&client("vpn"), secret("x"), hash("y")).unwrap();
        starts.recv().unwrap();
        let mut waiting: Vec<_> = (0..2).map(|_| pool.try_hash(&client("vpn"), secret("new")).unwrap()).collect();
        assert_eq!(pool.try_hash(&client("vpn"), secret("new")).err(), Some(QueueFull), "no more may wait");
        let other = pool.try_hash(&client("other"), secret("newer")).unwrap();
        assert_eq!(waiting.pop().unwrap().blocking_recv(), Ok(Err(QueueFull)), "it made room");
        release.send(()).unwrap();
        assert_eq!(checked.blocking_recv(), Ok(Ok(true)));
        let new = waiting.pop().unwrap().blocking_recv().unwrap().unwrap();
        assert!(super::verify(&secret("new"), &secret(&new)) && !super::verify(&secret("newer"), &secret(&new)));
        let newer = other.blocking_recv().unwrap().unwrap();
        assert!(super::verify(&secret("newer"), &secret(&newer)));
    }

    #[test]
    fn another_implementation_agrees() {
        // From the test vectors of the reference implementation (phc-winner-argon2, test.c).
        let phc = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        assert!(verify(&secret("password"), &secret(phc)));
        assert!(!verify(&secret("Password"), &secret(phc)));
    }

    #[test]
    fn one_too_many_is_refused_at_once() {
        let (release, gate) = mpsc::channel::<()>();
        let (started, starts) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let wait = move |_: &Secret, _: &Secret| {
            started.send(()).unwrap();
            gate.lock().unwrap().recv().unwrap();
            true
        };
        let pool = HashingPool::with(1, 1, Arc::new(wait)).unwrap();
        let ask = || pool.try_verify(&client("vpn"), secret("x"), hash("y"));
        let first = ask().unwrap();
        starts.recv().unwrap();
        let second = ask().unwrap();
        assert_eq!(ask().err(), Some(QueueFull));
        release.send(()).unwrap();
        release.send(()).unwrap();
        assert_eq!((first.blocking_recv(), second.blocking_recv()), (Ok(Ok(true)), Ok(Ok(true))));
    }

    #[test]
    fn a_panic_costs_its_own_check_only() {
        let pool = HashingPool::with(
            1,
            4,
            Arc::new(|password, _| {
                assert_ne!(password.expose(), b"bad", "planted");
                true
            }),
        )
        .unwrap();
        assert!(pool.try_verify(&client("vpn"), secret("bad"), hash("")).unwrap().blocking_recv().is_err());
        assert_eq!(pool.try_verify(&client("vpn"), secret("good"), hash("")).unwrap().blocking_recv(), Ok(Ok(true)));
    }

    #[test]
    fn checks_that_nobody_waits_for_are_skipped() {
        let (release, gate) = mpsc::channel::<()>();
        let (hashed, hashes) = mpsc::channel::<Vec<u8>>();
        let gate = Mutex::new(gate);
        let count = move |password: &Secret, _: &Secret| {
            hashed.send(password.expose().to_vec()).unwrap();
            gate.lock().unwrap().recv().unwrap();
            true
        };
        let pool = HashingPool::with(1, 4, Arc::new(count)).unwrap();
        let first = pool.try_verify(&client("vpn"), secret("first"), hash("")).unwrap();
        drop(pool.try_verify(&client("vpn"), secret("given up"), hash("")).unwrap());
        let last = pool.try_verify(&client("vpn"), secret("last"), hash("")).unwrap();
        release.send(()).unwrap();
        release.send(()).unwrap();
        assert_eq!((first.blocking_recv(), last.blocking_recv()), (Ok(Ok(true)), Ok(Ok(true))));
        drop(pool);
        assert_eq!(hashes.iter().collect::<Vec<_>>(), [b"first".to_vec(), b"last".to_vec()]);
    }

    #[test]
    fn flood_of_one_client_gives_way() {
        let (release, gate) = mpsc::channel::<()>();
        let (started, starts) = mpsc::channel::<Vec<u8>>();
        let gate = Mutex::new(gate);
        let wait = move |password: &Secret, _: &Secret| {
            started.send(password.expose().to_vec()).unwrap();
            gate.lock().unwrap().recv().unwrap();
            true
        };
        let pool = HashingPool::with(1, 3, Arc::new(wait)).unwrap();
        let ask = |name: &str, password: &str| pool.try_verify(&client(name), secret(password), hash(""));
        let first = ask("flood", "f0").unwrap();
        assert_eq!(starts.recv().unwrap(), b"f0");
        let mut flood: Vec<_> = ["f1", "f2", "f3"].iter().map(|password| ask("flood", password).unwrap()).collect();
        assert_eq!(ask("flood", "f4").err(), Some(QueueFull));
        let other = ask("other", "o1").unwrap();
        assert_eq!(flood.pop().unwrap().blocking_recv(), Ok(Err(QueueFull)), "it made room");
        (0..4).for_each(|_| release.send(()).unwrap());
        assert_eq!((first.blocking_recv(), other.blocking_recv()), (Ok(Ok(true)), Ok(Ok(true))));
        flood.into_iter().for_each(|check| assert_eq!(check.blocking_recv(), Ok(Ok(true))));
        drop(pool);
        assert_eq!(starts.iter().collect::<Vec<_>>(), [b"f1".to_vec(), b"o1".to_vec(), b"f2".to_vec()]);
    }
}
