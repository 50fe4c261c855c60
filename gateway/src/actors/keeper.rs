//! Brings a long-lived actor back when it dies. actix's own supervisor does not survive a panic and restarts without a
//! pause; so the child holds a [`Guard`], and the guard, dropped before its time, has a new child built after a while. Where
//! that happens too often the process ends, so that whoever runs it sees it.

use crate::node::Node;
use actix_rt::Arbiter;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Deaths in one process after which it ends.
const DEATHS: usize = 10;
/// The pause before the first new child, doubled with each death up to a second.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

type Build = Box<dyn FnOnce() + Send>;

/// What a long-lived actor holds as long as it lives.
pub struct Guard {
    node: Arc<Node>,
    name: String,
    build: Option<Build>,
}

impl Guard {
    /// For the actor called `name`; `build` makes and starts another one, on the thread that this one is dropped on.
    pub fn new(node: Arc<Node>, name: String, build: impl FnOnce() + Send + 'static) -> Self {
        Self { node, name, build: Some(Box::new(build)) }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(build) = self.build.take().filter(|_| !self.node.is_draining()) else { return };
        let deaths = self.node.deaths.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if deaths >= DEATHS {
            tracing::error!(actor = self.name, deaths, "died too often: the process ends");
            self.node.give_up.notify_one();
            return;
        }
        tracing::error!(actor = self.name, deaths, "died, which is a fault in Orthrus: it is started again");
        let pause = PAUSE.saturating_mul(1 << deaths.min(10)).min(LONGEST_PAUSE);
        if let Some(arbiter) = Arbiter::try_current() {
            arbiter.spawn(async move {
                actix_rt::time::sleep(pause).await;
                build();
            });
        }
    }
}
