//! Sharing a key with lockers of other libraries, which neither queue nor report their releases.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::backend::Claim;
use crate::clock::Moment;
use crate::value::{LockKey, OwnerFingerprint};

/// How long a key counts as contested after a foreign locker was seen there. Meanwhile this client
/// hands the key to none of its own waiters, so that foreign lockers find it free as well.
pub(crate) const CONTESTED: Duration = Duration::from_secs(1);

/// The shortest pause between two attempts on a contested key. The longest is five times as long.
const SHORTEST_POLL: Duration = Duration::from_millis(10);

/// A pause is no shorter than the time for which the foreign holder has had the key, divided by
/// this.
const PART_OF_THE_HOLD: u32 = 50;

/// The keys of one client for which foreign lockers compete.
#[derive(Debug, Default)]
pub(crate) struct ForeignLockers {
    /// Keys that are no longer contested are removed when a key is added, so the map does not grow
    /// for ever.
    keys: Mutex<HashMap<LockKey, Contest>>,
    /// The length of `keys`. It is set under their mutex, which a reader that finds zero does not
    /// need.
    count: AtomicUsize,
}

#[derive(Clone, Copy, Debug)]
struct Contest {
    /// The key counts as contested until then.
    until: Moment,
    /// This client has released the key, and does not ask for it until then.
    quiet_until: Moment,
}

impl ForeignLockers {
    fn keys(&self) -> MutexGuard<'_, HashMap<LockKey, Contest>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn are_none(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    fn find(&self, key: &LockKey, now: Moment) -> Option<Contest> {
        if self.are_none() {
            return None;
        }
        self.keys().get(key).copied().filter(|contest| now < contest.until)
    }

    /// Records that a foreign locker competes for the key, or may do so, for some time from now.
    pub(crate) fn seen(&self, key: &LockKey, now: Moment, time: Duration) {
        let mut keys = self.keys();
        let until = now.after(time);
        match keys.get_mut(key) {
            Some(contest) => contest.until = contest.until.max(until),
            None => {
                keys.retain(|_, contest| now < contest.until);
                keys.insert(key.clone(), Contest { until, quiet_until: now });
            }
        }
        self.count.store(keys.len(), Ordering::Release);
    }

    /// Returns whether a foreign locker was seen at the key a moment ago.
    pub(crate) fn compete(&self, key: &LockKey, now: Moment) -> bool {
        self.find(key, now).is_some()
    }

    /// Records that this client has released the key, so that others get the first chance.
    pub(crate) fn released(&self, claim: &Claim, now: Moment) {
        if let Some(contest) = self.keys().get_mut(claim.key()) {
            let owner = claim.owner_token().fingerprint();
            contest.quiet_until = now.after(poll(Duration::ZERO, owner, now));
        }
    }

    /// Returns the moment until which the key is left to others, if it is contested.
    pub(crate) fn quiet_until(&self, key: &LockKey, now: Moment) -> Option<Moment> {
        Some(self.find(key, now)?.quiet_until).filter(|quiet| now < *quiet)
    }
}

/// Returns a random pause before the next attempt: 10 to 50 ms, or 2 to 10 % of the time for which
/// the holder is known to have had the key, if that is longer.
///
/// It is seeded by owner and time, so that a test that knows both gets the same pauses again.
pub(crate) fn poll(held_for: Duration, owner: OwnerFingerprint, now: Moment) -> Duration {
    let shortest = SHORTEST_POLL.max(held_for / PART_OF_THE_HOLD);
    let time = u64::try_from(now.since_start().as_nanos()).unwrap_or(u64::MAX);
    shortest.mul_f64(1.0 + 4.0 * fastrand::Rng::with_seed(owner.as_u64() ^ time).f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{OwnerToken, Ttl};

    fn at(millis: u64) -> Moment {
        Moment::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn w2_pauses_are_random_and_grow_with_the_hold_of_a_foreign_locker() {
        let owner = OwnerFingerprint::from_bytes(b"somebody");
        let all = |held_for| {
            (0..1_000).map(move |now| poll(Duration::from_millis(held_for), owner, at(now)))
        };
        let within =
            |least, most| move |pause: &Duration| (least..=most).contains(&pause.as_millis());
        assert!(all(0).all(|pause| within(10, 50)(&pause)));
        assert!(all(500).all(|pause| within(10, 50)(&pause)));
        assert!(all(60_000).all(|pause| within(1_200, 6_000)(&pause)));
        assert!(all(0).min() < Some(Duration::from_millis(15)));
        assert!(all(0).max() > Some(Duration::from_millis(45)));
    }

    #[test]
    fn a_key_is_contested_for_a_second_after_a_foreign_locker_was_seen() {
        let (foreign, key) = (ForeignLockers::default(), LockKey::new("k").unwrap());
        let claim = Claim::new(key.clone(), OwnerToken::from_bits([1; 16]), Ttl::MIN);
        assert!(!foreign.compete(&key, at(0)));
        foreign.released(&claim, at(0));
        assert_eq!(foreign.quiet_until(&key, at(0)), None, "nobody foreign was seen");
        foreign.seen(&key, at(0), CONTESTED);
        foreign.released(&claim, at(100));
        assert!(foreign.quiet_until(&key, at(100)) >= Some(at(110)));
        assert_eq!(foreign.quiet_until(&key, at(150)), None);
        assert!(foreign.compete(&key, at(999)) && !foreign.compete(&key, at(1_000)));
    }

    #[test]
    fn g5_keys_that_are_not_contested_any_more_are_forgotten() {
        let foreign = ForeignLockers::default();
        for n in 0..10_000 {
            foreign.seen(&LockKey::new(format!("k{n}")).unwrap(), at(n * 1_000), CONTESTED);
        }
        assert_eq!(foreign.keys().len(), 1);
    }
}
