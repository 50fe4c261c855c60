//! The token in force: one value, decided here, kept by whoever does the asking. One fetch at a time, in the background while the
//! token still holds; a failure leaves the token in force until its own end.

use crate::reason::Reason;
use crate::secret::Secret;
use crate::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// How long before its end a token is fetched anew, at most; half of its life if that is less.
const AHEAD: Duration = Duration::from_secs(600);

/// How long before its end a token is no longer used, at most; a tenth of its life if that is less. It covers the way to the
/// service and clocks that differ.
const MARGIN: Duration = Duration::from_secs(30);

/// The first pause after a failure, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// What to do for a call that needs a token.
#[derive(Debug)]
pub enum Look {
    /// Use this one.
    Use(Arc<Secret>),
    /// Use this one, and fetch the next meanwhile.
    UseAndFetch(Arc<Secret>),
    /// Fetch one, then look again.
    Fetch,
    /// Somebody fetches one: wait, then look again.
    Wait,
    /// Fetching failed just now: do not try again so soon.
    Failed(Reason),
}

/// The token in force, if any, and what is being done about the next.
#[derive(Debug, Default)]
pub struct TokenCache {
    held: Option<Held>,
    fetching: bool,
    failure: Option<Failure>,
}

#[derive(Debug)]
struct Held {
    token: Arc<Secret>,
    refresh: Timestamp,
    until: Timestamp,
    expires: Timestamp,
}

#[derive(Debug)]
struct Failure {
    reason: Reason,
    count: u32,
    again: Timestamp,
}

impl TokenCache {
    /// What to do at `now`. With `Fetch` and `UseAndFetch` the caller has taken it on to fetch one and to report with
    /// [`Self::fetched`] or [`Self::failed`].
    pub fn look(&mut self, now: Timestamp) -> Look {
        let paused = self.failure.as_ref().filter(|failure| now < failure.again);
        let held = self.held.as_ref().filter(|held| now < held.until);
        match (held, paused) {
            (Some(held), None) if now >= held.refresh && !self.fetching => {
                let token = held.token.clone();
                self.fetching = true;
                Look::UseAndFetch(token)
            }
            (Some(held), _) => Look::Use(held.token.clone()),
            (None, _) if self.fetching => Look::Wait,
            (None, Some(failure)) => Look::Failed(failure.reason),
            (None, None) => {
                self.fetching = true;
                Look::Fetch
            }
        }
    }

    /// A token came, asked for at `asked`, that lives for `lifetime`.
    pub fn fetched(&mut self, token: Secret, lifetime: Duration, asked: Timestamp) {
        let ends = |ahead: Duration, share: u32| asked.after(lifetime.saturating_sub(ahead.min(lifetime / share)));
        self.held = Some(Held {
            token: Arc::new(token),
            refresh: ends(AHEAD, 2),
            until: ends(MARGIN, 10),
            expires: asked.after(lifetime),
        });
        self.fetching = false;
        self.failure = None;
    }

    /// No token came, and the endpoint wants to be left alone for `wait`, where it said so.
    pub fn failed(&mut self, reason: Reason, wait: Option<Duration>, now: Timestamp) {
        let count = self.failure.as_ref().map_or(0, |failure| failure.count).saturating_add(1);
        let (first, longest) = PAUSE;
        let pause = first.saturating_mul(1 << (count - 1).min(8)).min(longest).max(wait.unwrap_or_default());
        self.failure = Some(Failure { reason, count, again: now.after(pause) });
        self.fetching = false;
    }

    /// The service does not take `token`: it is not used again. Another one, fetched since, stays.
    pub fn forget(&mut self, token: &Arc<Secret>) {
        if self.held.as_ref().is_some_and(|held| Arc::ptr_eq(&held.token, token)) {
            self.held = None;
        }
    }

    /// When the token in force ends, as the service said.
    pub fn expires(&self) -> Option<Timestamp> {
        self.held.as_ref().map(|held| held.expires)
    }

    /// Why the last fetch failed, if it did.
    pub fn failure(&self) -> Option<Reason> {
        self.failure.as_ref().map(|failure| failure.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_micros(1_000_000_000 + millis * 1000)
    }

    fn token(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    fn text(token: &Secret) -> &str {
        std::str::from_utf8(token.expose()).unwrap()
    }

    #[track_caller]
    fn uses(cache: &mut TokenCache, now: Timestamp, expected: &str, fetch: bool) -> Arc<Secret> {
        match cache.look(now) {
            Look::Use(token) if !fetch => {
                assert_eq!(text(&token), expected);
                token
            }
            Look::UseAndFetch(token) if fetch => {
                assert_eq!(text(&token), expected);
                token
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_fetches_and_the_others_wait() {
        let mut cache = TokenCache::default();
        assert!(matches!(cache.look(at(0)), Look::Fetch));
        for _ in 0..1000 {
            assert!(matches!(cache.look(at(1)), Look::Wait));
        }
        cache.fetched(token("a"), Duration::from_secs(3600), at(0));
        uses(&mut cache, at(2), "a", false);
        assert_eq!(cache.expires(), Some(at(3_600_000)));
    }

    #[test]
    fn the_next_is_fetched_while_this_one_holds() {
        let mut cache = TokenCache::default();
        cache.look(at(0));
        cache.fetched(token("a"), Duration::from_secs(3600), at(0));
        uses(&mut cache, at(2_999_999), "a", false);
        uses(&mut cache, at(3_000_000), "a", true);
        uses(&mut cache, at(3_000_001), "a", false);
        cache.failed(Reason::ProviderUnreachable, None, at(3_000_100));
        uses(&mut cache, at(3_001_099), "a", false);
        uses(&mut cache, at(3_001_100), "a", true);
        cache.failed(Reason::ProviderUnreachable, None, at(3_001_100));
        uses(&mut cache, at(3_003_099), "a", false);
        uses(&mut cache, at(3_003_100), "a", true);
        cache.fetched(token("b"), Duration::from_secs(60), at(3_003_100));
        uses(&mut cache, at(3_003_101), "b", false);
    }

    #[test]
    fn what_is_over_is_not_used_whatever_fails() {
        let mut cache = TokenCache::default();
        cache.look(at(0));
        cache.fetched(token("a"), Duration::from_secs(3600), at(0));
        uses(&mut cache, at(3_569_999), "a", true);
        assert!(matches!(cache.look(at(3_570_000)), Look::Wait));
        cache.failed(Reason::TokenRefused, None, at(3_570_100));
        assert!(matches!(cache.look(at(3_570_101)), Look::Failed(Reason::TokenRefused)));
        assert_eq!(cache.failure(), Some(Reason::TokenRefused));
        assert!(matches!(cache.look(at(3_571_100)), Look::Fetch));
    }

    #[test]
    fn a_token_of_one_second_serves_most_of_it() {
        let mut cache = TokenCache::default();
        cache.look(at(0));
        cache.fetched(token("a"), Duration::from_secs(1), at(0));
        uses(&mut cache, at(499), "a", false);
        uses(&mut cache, at(500), "a", true);
        uses(&mut cache, at(899), "a", false);
        assert!(matches!(cache.look(at(900)), Look::Wait));
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        let mut cache = TokenCache::default();
        let mut now = 0;
        for pause in [1, 2, 4, 8, 15, 15] {
            assert!(matches!(cache.look(at(now)), Look::Fetch));
            cache.failed(Reason::TokenRefused, None, at(now));
            assert!(matches!(cache.look(at(now + pause * 1000 - 1)), Look::Failed(_)));
            now += pause * 1000;
        }
        for _ in 0..300 {
            cache.failed(Reason::TokenRefused, None, at(now));
        }
    }

    #[test]
    fn a_refused_token_is_forgotten_once() {
        let mut cache = TokenCache::default();
        cache.look(at(0));
        cache.fetched(token("a"), Duration::from_secs(3600), at(0));
        let old = uses(&mut cache, at(1), "a", false);
        cache.forget(&old);
        assert!(matches!(cache.look(at(2)), Look::Fetch));
        cache.fetched(token("b"), Duration::from_secs(3600), at(2));
        // The other calls that were refused with the old one.
        cache.forget(&old);
        uses(&mut cache, at(3), "b", false);
    }

    #[test]
    fn endpoint_that_asks_for_patience_is_left_alone() {
        let mut cache = TokenCache::default();
        cache.look(at(0));
        cache.failed(Reason::ProviderOverloaded, Some(Duration::from_secs(60)), at(0));
        assert!(matches!(cache.look(at(59_999)), Look::Failed(Reason::ProviderOverloaded)));
        assert!(matches!(cache.look(at(60_000)), Look::Fetch));
    }
}
