//! Places that RADIUS clients share: requests in progress, refusals that wait. Who gets one is decided by
//! [`Shares`](gateway_core::limit::shares::Shares).

use gateway_core::limit::shares::Shares;
use std::sync::{Arc, Mutex, PoisonError};

/// The places of one kind.
#[derive(Clone, Default)]
pub struct Permits(Arc<Mutex<Shares>>);

impl Permits {
    /// A place for `client`, where `limit` are to be shared; `None` where there is none.
    pub fn take(&self, client: &Arc<str>, limit: usize) -> Option<Permit> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take(client, limit);
        taken.then(|| Permit { of: self.clone(), client: client.clone() })
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).total()
    }
}

/// A place that is taken; giving it back is dropping it.
pub struct Permit {
    of: Permits,
    client: Arc<str>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.of.0.lock().unwrap_or_else(PoisonError::into_inner).give(&self.client);
    }
}
