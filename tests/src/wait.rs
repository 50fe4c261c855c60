//! Waiting for conditions, never for a span of time.

use std::time::{Duration, Instant};

/// How long to wait for what must happen: far longer than it takes on a busy machine, as a test that passes never waits
/// that long. A gateway that starts waits for a disk, and on one that is flooded a sync has taken twenty seconds.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is an answer.
///
/// # Panics
///
/// There is none within [`PATIENCE`]; `what` says what was waited for.
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, ask)
}

/// [`eventually`] for what takes longer by itself.
///
/// # Panics
///
/// There is no answer within `patience`.
pub fn eventually_within<T>(patience: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited {patience:?} in vain: {what}");
        pause();
    }
}

/// Lets time pass that is the subject of the test: how long a person takes.
#[allow(clippy::disallowed_methods, reason = "a test has no arbiter that could be blocked")]
pub fn pass(span: Duration) {
    std::thread::sleep(span);
}

/// Lets others run between two looks at a condition.
#[allow(clippy::disallowed_methods, reason = "a test has no arbiter that could be blocked")]
fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}
