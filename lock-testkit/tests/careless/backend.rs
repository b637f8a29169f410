//! A lock store as somebody might write it in an afternoon: rows in tables, a prefix, tombstones,
//! fencing counters, watches. It is honest without a flaw, and wrong in one way with one.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use lock_core::{
    Attempt, Capabilities, Capability, Claim, Clock, Error, ErrorKind, FencingToken, Holder, Lock,
    LockProvider, Metadata, Moment, OwnerFingerprint, ProviderInfo, Release, Renewal, Result,
    Signal, TokioClock, Ttl, Watch, WatchSender,
};
use tokio::task::yield_now;

use crate::flaw::Flaw;

const TOMBSTONE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Careless {
    info: ProviderInfo,
    prefix: &'static str,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    flaw: Option<Flaw>,
    clock: TokioClock,
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    leases: HashMap<String, Lease>,
    /// The last fencing token of a key, which is that of its holder.
    counters: HashMap<String, u64>,
    /// Owners that may not acquire, and until when.
    undone: HashMap<(String, String), Moment>,
    watches: HashMap<String, Vec<WatchSender>>,
}

#[derive(Clone, Debug)]
struct Lease {
    owner: String,
    note: Metadata,
    ends: Moment,
}

impl Careless {
    pub(crate) fn new(flaw: Option<Flaw>) -> Self {
        let clock = TokioClock::new();
        let undeclared = match flaw {
            Some(Flaw::TokensThoughUndeclared) => Some(Capability::Fencing),
            Some(Flaw::InspectsThoughUndeclared) => Some(Capability::Inspect),
            Some(Flaw::WatchesThoughUndeclared) => Some(Capability::Hints),
            _ => None,
        };
        let declared = Capability::ALL.into_iter().filter(|one| Some(*one) != undeclared);
        let info = ProviderInfo::new("careless", Capabilities::of(declared));
        let shared = Shared { flaw, clock, tables: Mutex::default() };
        Self { info: info.with_clock(Arc::new(clock)), prefix: "", shared: Arc::new(shared) }
    }

    /// The same store, with every key behind a prefix.
    pub(crate) fn behind(&self, prefix: &'static str) -> Self {
        Self { info: self.info.clone(), prefix, shared: Arc::clone(&self.shared) }
    }
}

impl LockProvider for Careless {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn lock(&self, claim: Claim) -> Arc<dyn Lock> {
        let (prefix, shared) = (self.prefix, Arc::clone(&self.shared));
        Arc::new(CarelessLock { claim, prefix, shared, granted_here: AtomicBool::new(false) })
    }
}

struct CarelessLock {
    claim: Claim,
    prefix: &'static str,
    shared: Arc<Shared>,
    /// For a flaw: an honest lock keeps nothing on this side.
    granted_here: AtomicBool,
}

/// What a verb finds in the tables.
struct Found {
    lease: Option<Lease>,
    undone: bool,
}

impl CarelessLock {
    fn has(&self, flaw: Flaw) -> bool {
        self.shared.flaw == Some(flaw)
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.shared.tables.lock().unwrap()
    }

    fn now(&self) -> Moment {
        self.shared.clock.now()
    }

    /// The row of the key, in a table that may forget the prefix.
    fn row_unless(&self, forgets_prefix: Flaw) -> String {
        let key = self.claim.key().as_str();
        let key = match self.shared.flaw {
            Some(Flaw::KeysFolded) => key.to_lowercase(),
            Some(Flaw::KeysTrimmedBehind) => key.trim_end().into(),
            Some(Flaw::KeysTrimmedInFront) => key.trim_start().into(),
            Some(Flaw::KeysCut) => key.chars().take(255).collect(),
            Some(Flaw::KeysNormalised) => key.replace("e\u{301}", "\u{e9}"),
            Some(Flaw::KeysUnescaped) => key.replace("%61", "a"),
            Some(Flaw::KeysArePaths) => key.trim_start_matches("./").replace("//", "/"),
            _ => key.into(),
        };
        let prefix = if self.has(forgets_prefix) { "" } else { self.prefix };
        format!("{prefix}{key}")
    }

    fn row(&self) -> String {
        self.row_unless(Flaw::PrefixForgottenByAll)
    }

    fn counter(&self) -> String {
        if self.has(Flaw::OneCounterReadBack) {
            return String::new();
        }
        self.row_unless(Flaw::PrefixForgottenByCounters)
    }

    fn tombstone(&self) -> (String, String) {
        let owner = if self.has(Flaw::TombstoneForAll) { "" } else { self.claim.owner().expose() };
        (self.row_unless(Flaw::PrefixForgottenByTombstones), owner.into())
    }

    fn ends(&self, ttl: Ttl) -> Moment {
        let ttl = match self.shared.flaw {
            Some(Flaw::NeverExpires) => return Moment::NEVER,
            Some(Flaw::HalfTheTtl) => ttl.get() / 2,
            Some(Flaw::WholeSeconds) => Duration::from_secs(ttl.get().as_secs()),
            Some(Flaw::ZeroSecondsAreForEver) if ttl.get().as_secs() == 0 => return Moment::NEVER,
            Some(Flaw::MillisInThirtyTwoBits) => {
                Duration::from_millis(ttl.as_millis() & u64::from(u32::MAX))
            }
            _ => ttl.get(),
        };
        self.now().after(ttl)
    }

    fn is_mine(&self, lease: &Lease) -> bool {
        let owner = self.claim.owner().expose();
        match self.shared.flaw {
            Some(Flaw::OwnerIsTheProcess) => true,
            Some(Flaw::OwnerByFirstBytes) => lease.owner[..8] == owner[..8],
            Some(Flaw::OwnerByLastBytes) => lease.owner[8..] == owner[8..],
            Some(Flaw::OwnerFolded) => lease.owner.eq_ignore_ascii_case(owner),
            Some(Flaw::OwnerWithNote) => lease.owner == owner && lease.note == *self.claim.metadata(),
            Some(Flaw::OwnerAnywhereInTheRow) => {
                lease.owner == owner || lease.note.as_bytes() == owner.as_bytes()
            }
            _ => lease.owner == owner,
        }
    }

    fn look(&self, tables: &Tables, row: &str) -> Found {
        let now = self.now();
        let undone = tables.undone.get(&self.tombstone()).is_some_and(|until| now < *until);
        let lease = tables.leases.get(row).filter(|lease| now < lease.ends);
        Found { lease: lease.cloned(), undone }
    }

    /// What a verb finds that looks first and locks the tables later.
    async fn looked(&self, flaw: Flaw) -> Option<Found> {
        let found = self.has(flaw).then(|| self.look(&self.tables(), &self.row()));
        if found.is_some() {
            yield_now().await;
        }
        found
    }

    fn fencing(&self, tables: &Tables) -> Option<FencingToken> {
        FencingToken::new(*tables.counters.get(&self.counter())?)
    }

    fn mint(&self, tables: &mut Tables) -> u64 {
        let last = tables.counters.entry(self.counter()).or_default();
        *last += 1;
        if self.has(Flaw::TokenIsTheTime) {
            *last = u64::try_from(self.now().since_start().as_millis()).unwrap() + 1;
        }
        *last
    }

    fn attempt(&self, looked: Option<Found>, minted: Option<u64>) -> Result<Attempt> {
        let row = self.row();
        let mut tables = self.tables();
        let dead = tables.leases.get(&row).is_some_and(|lease| lease.ends <= self.now());
        let mut found = self.look(&tables, &row);
        match looked {
            Some(early) if self.has(Flaw::LooksForTombstonesFirst) => found.undone = early.undone,
            Some(early) if self.has(Flaw::LooksThenSucceeds) => {
                // Only whoever saw a dead lease takes the key without another look.
                found.lease = found.lease.filter(|_| early.lease.is_some() || !minted.is_some());
            }
            Some(early) => found = early,
            None => {}
        }
        if found.undone {
            if self.has(Flaw::TombstoneOfOneUse) {
                tables.undone.remove(&self.tombstone());
            }
            return Ok(Attempt::Undone);
        }
        if self.has(Flaw::FailedAttemptsMint) {
            self.mint(&mut tables);
        }
        let ends = self.ends(self.claim.ttl());
        let note = self.claim.metadata().clone();
        match found.lease {
            Some(lease) if self.is_mine(&lease) => {
                if self.has(Flaw::SameOwnerIsRefused) {
                    return Ok(Attempt::Held { remaining: Some(lease.ends.since(self.now())) });
                }
                if self.has(Flaw::SameOwnerMints) {
                    self.mint(&mut tables);
                }
                tables.leases.get_mut(&row).unwrap().ends = match self.shared.flaw {
                    Some(Flaw::SameOwnerKeepsTheTtl) => lease.ends,
                    Some(Flaw::SameOwnerAddsTheTtl) => lease.ends.after(self.claim.ttl().get()),
                    _ => ends,
                };
                Ok(Attempt::Granted { fencing: self.fencing(&tables) })
            }
            Some(lease) => {
                let remaining = lease.ends.since(self.now());
                let theirs = tables.leases.get_mut(&row);
                match self.shared.flaw {
                    Some(Flaw::ContentionIsAnError) => {
                        return Err(Error::new(ErrorKind::Contended, "it is held"));
                    }
                    Some(Flaw::RefusedAttemptWritesNote) => theirs.unwrap().note = note,
                    Some(Flaw::RefusedAttemptSetsTtl) => theirs.unwrap().ends = ends,
                    _ => {}
                }
                let remaining = match self.shared.flaw {
                    Some(Flaw::RemainingInSeconds) => Duration::from_millis(remaining.as_secs()),
                    Some(Flaw::RemainingIsTheTtl) => self.claim.ttl().get(),
                    _ => remaining,
                };
                Ok(Attempt::Held { remaining: Some(remaining) })
            }
            None => {
                let old = tables.leases.get(&row).filter(|old| self.is_mine(old));
                if !(self.has(Flaw::SameOwnerIsNeverLate) && old.is_some()) {
                    if dead && self.has(Flaw::ExpiryRestartsTheCounter) {
                        tables.counters.remove(&self.counter());
                    }
                    if minted.is_none() {
                        self.mint(&mut tables);
                    }
                }
                let owner = self.claim.owner().expose().into();
                let old = tables.leases.insert(row, Lease { owner, note, ends });
                if self.has(Flaw::NoteIsLeftBehind) {
                    let _ = old;
                }
                let fencing = minted.map_or(self.fencing(&tables), FencingToken::new);
                Ok(Attempt::Granted { fencing })
            }
        }
    }
}
