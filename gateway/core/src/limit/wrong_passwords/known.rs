//! The places where users have proved their passwords. Only whoever knows a password makes an entry.

use super::{Report, TELL_AGAIN};
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How long a place stays known after the password was last right there.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 86_400);

/// Places of one user: whoever knows a password must not wash out the places of others.
const MOST_PLACES: usize = 16;

/// A place that was used again within this time is not written down anew.
const FRESH: Duration = Duration::from_secs(60);

type Station = Option<Arc<[u8]>>;

#[derive(Debug)]
struct Place {
    group: Arc<str>,
    station: Station,
    used: Timestamp,
    told: Timestamp,
}

impl Place {
    fn is(&self, (group, station): (&Arc<str>, Option<&Arc<[u8]>>)) -> bool {
        self.group == *group && self.station.as_ref() == station
    }
}

/// The known places, by user.
#[derive(Debug, Default)]
pub(super) struct Known {
    users: BTreeMap<Arc<str>, Vec<Place>>,
    /// The users by when they were last written down.
    order: BTreeSet<(Timestamp, Arc<str>)>,
}

impl Known {
    /// Whether the user is known there.
    pub(super) fn has(&self, user: &Arc<str>, at: (&Arc<str>, Option<&Arc<[u8]>>), now: Timestamp) -> bool {
        let places = self.users.get(user);
        places.into_iter().flatten().any(|place| place.is(at) && now.since(place.used) < KNOWN_FOR)
    }

    /// The password was right there. Of more than `most` users the one that signed in longest ago is forgotten.
    pub(super) fn add(&mut self, user: &Arc<str>, at: (&Arc<str>, Option<&Arc<[u8]>>), now: Timestamp, most: usize) {
        let places = self.users.get(user);
        let known = places.into_iter().flatten().find(|place| place.is(at));
        if known.is_some_and(|place| now.since(place.used) < FRESH && place.used <= now) || most == 0 {
            return;
        }
        let places = self.users.entry(user.clone()).or_default();
        if let Some(newest) = places.iter().map(|place| place.used).max() {
            self.order.remove(&(newest, user.clone()));
        }
        places.retain(|place| !place.is(at));
        if places.len() >= MOST_PLACES
            && let Some(oldest) = (0..places.len()).min_by_key(|index| places.get(*index).map(|place| place.used))
        {
            places.swap_remove(oldest);
        }
        let (group, station) = (at.0.clone(), at.1.cloned());
        places.push(Place { group, station, used: now, told: Timestamp::default() });
        let newest = places.iter().map(|place| place.used).max().unwrap_or(now);
        self.order.insert((newest, user.clone()));
        while self.users.len() > most {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.users.remove(&oldest);
        }
    }

    /// The places of a user that were not told lately. They count as told.
    pub(super) fn take_untold(&mut self, user: &Arc<str>, now: Timestamp) -> Vec<Report> {
        let due = |place: &&mut Place| now.since(place.told) >= TELL_AGAIN && now.since(place.used) < KNOWN_FOR;
        let places = self.users.get_mut(user).into_iter().flatten().filter(due);
        let told = places.map(|place| {
            place.told = now;
            let (group, station) = (place.group.clone(), place.station.clone());
            Report::Known { user: user.clone(), group, station, at: place.used }
        });
        told.collect()
    }
}
