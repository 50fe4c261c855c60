//! Hears of what other nodes write about one user.

use super::Shared;
use super::lane::Job;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// Word may get lost with a connection, so that whoever waits looks by itself from time to time.
const LOOK_ANYWAY: Duration = Duration::from_secs(2);

/// Hears of what other nodes write about one user, until it is dropped.
pub struct Watch {
    shared: Arc<Shared>,
    channel: String,
    lane: mpsc::UnboundedSender<Job>,
    told: Arc<Notify>,
}

impl Watch {
    pub(super) fn new(shared: Arc<Shared>, channel: String, lane: mpsc::UnboundedSender<Job>) -> Self {
        let told = Arc::new(Notify::new());
        let mut watchers = shared.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.entry(channel.clone()).or_default().push(told.clone());
        drop(watchers);
        let _ = lane.send(Job::Watch(channel.clone()));
        Self { shared, channel, lane, told }
    }

    /// Comes back when something may have changed.
    pub async fn changed(&self) {
        let _ = tokio::time::timeout(LOOK_ANYWAY, self.told.notified()).await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watchers = self.shared.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(all) = watchers.get_mut(&self.channel) {
            all.retain(|other| !Arc::ptr_eq(other, &self.told));
            if all.is_empty() {
                watchers.remove(&self.channel);
                let _ = self.lane.send(Job::Unwatch(self.channel.clone()));
            }
        }
    }
}
