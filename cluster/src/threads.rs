//! Runtimes whose thread for blocking work is there from the start. A runtime makes such threads when it needs them (names are looked
//! up on one) and lets them go when they are idle; where the system has none left by then, the task that asked would die.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Longer than a process lives.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Builds a runtime that has one thread for blocking work, and keeps it. More are made when they are needed; where there are none,
/// work waits for this one.
///
/// # Errors
///
/// The system has no thread, descriptor or memory for it.
pub fn warmed(builder: &mut Builder) -> io::Result<Runtime> {
    let runtime = builder.thread_keep_alive(FOR_EVER).build()?;
    let warmed = catch_unwind(AssertUnwindSafe(|| drop(runtime.spawn_blocking(|| ()))));
    warmed.map_err(|_| io::Error::other("the system gives no thread"))?;
    Ok(runtime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_is_kept() {
        let runtime = warmed(Builder::new_current_thread().max_blocking_threads(1)).unwrap();
        let name = || runtime.block_on(runtime.spawn_blocking(|| std::thread::current().id())).unwrap();
        assert_eq!(name(), name());
    }
}
