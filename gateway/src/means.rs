//! Descriptors and threads: what this process needs of its machine beside processor time. Whoever floods a door may use them up, and
//! what then fails says nothing of who signs in: sign-ins are left unanswered, and the node is not ready, until there is enough again.

use crate::clock;
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::error::Error;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Descriptors that must be to be had for a node that is ready: a prompt or a connection to the store takes one or two at a time.
const SPARE: usize = 8;

/// Time for which a lack that was met counts: whoever made room may be crowded out again at once.
const LATELY: Duration = Duration::from_secs(2);

/// Time at which something was lacking last, in µs; 0: never. Of the whole process, as its limits are.
static LACKED: AtomicU64 = AtomicU64::new(0);

/// Notes that something was lacking.
pub(crate) fn note() {
    LACKED.store(clock::now().as_micros(), Ordering::Relaxed);
}

fn is_lack(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|number| [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(&number))
}

fn tells_of_lack(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(is_lack) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Returns whether an error, or one of its causes, says that something was lacking, which is noted.
pub(crate) fn is_behind(error: &(dyn Error + 'static)) -> bool {
    let lack = tells_of_lack(error);
    if lack {
        note();
    }
    lack
}

/// `reason`, unless the node lacks something, or did just now: then what failed may have failed of that.
pub(crate) fn or_lack(reason: Reason) -> Reason {
    if look(1).is_err() { Reason::NodeExhausted } else { reason }
}

/// Tells readiness what is wrong and what to do.
pub(crate) fn trouble() -> Result<(), String> {
    look(SPARE)
}

fn look(spare: usize) -> Result<(), String> {
    let limit = limit().map_or_else(|| "an unknown number".to_owned(), |(soft, _)| soft.to_string());
    let had: Result<Vec<_>, _> = (0..spare).map(|_| UnixDatagram::unbound()).collect();
    if let Err(error) = had {
        note();
        return Err(format!(
            "fewer than {spare} descriptors are left of {limit} ({error}): raise LimitNOFILE in the unit, or see who holds connections"
        ));
    }
    drop(had);
    if is_lately(Timestamp::from_micros(LACKED.load(Ordering::Relaxed)), clock::now()) {
        return Err(format!(
            "descriptors, threads or memory were lacking just now ({limit} descriptors may be open): raise LimitNOFILE, TasksMax or \
             MemoryMax in the unit"
        ));
    }
    Ok(())
}

/// A clock that was set back must not keep a node from being ready.
fn is_lately(lacked: Timestamp, now: Timestamp) -> bool {
    lacked <= now && now.since(lacked) < LATELY
}

fn limit() -> Option<(u64, u64)> {
    getrlimit(Resource::RLIMIT_NOFILE).ok()
}

/// Raises the number of descriptors to what the system allows, and warns where `needed` is more.
pub(crate) fn raise_descriptors(needed: usize) {
    let Some((soft, hard)) = limit() else {
        tracing::warn!("nobody knows how many descriptors may be open: look at LimitNOFILE in the unit");
        return;
    };
    if soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(soft, hard, %error, "the number of descriptors could not be raised: set LimitNOFILE in the unit");
    }
    let allowed = limit().map_or(soft, |(soft, _)| soft);
    if allowed < needed as u64 {
        tracing::warn!(
            allowed,
            needed,
            "fewer descriptors may be open than this configuration may need: raise LimitNOFILE in the unit, or lower \
             limits.pending_prompts and the connections of admin, health and cluster"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lack_counts_for_a_while() {
        let at = Timestamp::from_secs;
        assert!(is_lately(at(100), at(100)) && is_lately(at(100), at(101)));
        assert!(!is_lately(at(100), at(102)) && !is_lately(at(100), at(99)));
        assert!(!is_lately(Timestamp::from_micros(0), at(100)));
    }

    #[test]
    fn lack_is_found_among_causes() {
        let of =
            |number: i32| anyhow::Error::from(io::Error::from_raw_os_error(number)).context("users cannot be read");
        assert!(!tells_of_lack(of(nix::libc::ECONNREFUSED).as_ref()) && !tells_of_lack(of(nix::libc::EACCES).as_ref()));
        for number in [EMFILE, ENFILE, ENOBUFS, ENOMEM] {
            assert!(tells_of_lack(of(number).as_ref()), "{number}");
        }
    }
}
