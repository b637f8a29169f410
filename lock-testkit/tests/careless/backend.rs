//! A lock store as somebody might write it in an afternoon: tables behind a mutex, and the verbs.
//! It is honest without a flaw, and wrong in one way with one.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use lock_core::backend::{Claim, Inspect, ProviderInfo, SignalSender, Ttl};
use lock_core::clock::{Clock, Moment, TokioClock};
use lock_core::{
    Error, ErrorKind, FencingToken, Lock, LockKey, LockProvider, Metadata, Occupancy, OwnerToken,
    Result,
};
use tokio::task::yield_now;

use super::flaw::Flaw;
use super::queue::Line;

#[derive(Debug)]
pub(crate) struct Careless {
    info: ProviderInfo,
    prefix: &'static str,
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) flaw: Option<Flaw>,
    pub(crate) clock: TokioClock,
    pub(crate) tables: Mutex<Tables>,
}

/// Every row begins with the prefix.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) leases: HashMap<String, Lease>,
    pub(crate) notes: HashMap<String, Metadata>,
    /// The last fencing token of a key, which is that of its holder.
    pub(crate) counters: HashMap<String, u64>,
    /// By key and owner: until when an acquisition is refused.
    pub(crate) tombstones: HashMap<(String, OwnerToken), Moment>,
    pub(crate) listeners: HashMap<String, Vec<SignalSender>>,
    pub(crate) lines: HashMap<String, Line>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) owner: OwnerToken,
    pub(crate) ends: Moment,
}

impl Careless {
    pub(crate) fn new(flaw: Option<Flaw>) -> Self {
        let clock = TokioClock::new();
        let info = ProviderInfo::new("careless")
            .with_fencing(flaw != Some(Flaw::TokensThoughUndeclared))
            .with_metadata(true)
            .with_server_clock(true);
        let shared = Shared { flaw, clock, tables: Mutex::default() };
        Self { info: info.with_clock(Arc::new(clock)), prefix: "", shared: Arc::new(shared) }
    }

    fn bind(&self, claim: Claim) -> CarelessLock {
        let (prefix, shared) = (self.prefix, Arc::clone(&self.shared));
        let (granted_here, placed_here) = Default::default();
        CarelessLock { claim, prefix, shared, granted_here, placed_here }
    }

    /// The same store behind a prefix.
    pub(crate) fn behind(&self, prefix: &'static str) -> Self {
        Self { info: self.info.clone(), prefix, shared: Arc::clone(&self.shared) }
    }
}

impl LockProvider for Careless {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn lock(&self, claim: Claim) -> Arc<dyn Lock> {
        Arc::new(self.bind(claim))
    }

    fn as_inspect(&self) -> Option<&dyn Inspect> {
        (self.shared.flaw != Some(Flaw::InspectIsForgotten)).then_some(self as _)
    }
}

#[async_trait]
impl Inspect for Careless {
    async fn inspect(&self, key: &LockKey) -> Result<Occupancy> {
        let onlooker = OwnerToken::from_bits([1; 16]);
        let ttl = Ttl::new(Duration::from_secs(30))?;
        let lock = self.bind(Claim::new(key.clone(), onlooker, ttl));
        let occupancy = lock.look().await.map_or_else(Occupancy::free, Occupancy::held_by);
        let line = lock.line_of();
        let waiting = lock.tables().lines.get(&line).map_or(0, |all| all.waiting(lock.shared.flaw));
        Ok(occupancy.with_waiting(waiting))
    }
}

pub(crate) struct CarelessLock {
    pub(crate) claim: Claim,
    prefix: &'static str,
    pub(crate) shared: Arc<Shared>,
    /// Only a flaw looks at it: the truth is in the tables.
    pub(crate) granted_here: AtomicBool,
    pub(crate) placed_here: AtomicBool,
}

/// What a verb finds in the tables.
pub(crate) struct Found {
    pub(crate) lease: Option<Lease>,
    /// When a lease ended that nobody has removed.
    pub(crate) dead_since: Option<Moment>,
    pub(crate) undone: bool,
}

impl CarelessLock {
    pub(crate) fn has(&self, flaw: Flaw) -> bool {
        self.shared.flaw == Some(flaw)
    }

    pub(crate) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.shared.tables.lock().unwrap()
    }

    pub(crate) fn now(&self) -> Moment {
        self.shared.clock.now()
    }

    pub(crate) fn owner(&self) -> OwnerToken {
        *self.claim.owner_token()
    }

    pub(crate) fn row_unless(&self, forgets_the_prefix: Flaw) -> String {
        let key = self.claim.key().as_str();
        let key = match self.shared.flaw {
            Some(Flaw::KeysFolded) => key.to_lowercase(),
            Some(Flaw::KeysTrimmedInFront) => key.trim_start().into(),
            Some(Flaw::KeysTrimmedBehind) => key.trim_end().into(),
            Some(Flaw::KeysCut) => key.chars().take(255).collect(),
            Some(Flaw::KeysNormalised) => key.replace("e\u{301}", "\u{e9}"),
            Some(Flaw::KeysUnescaped) => key.replace("%61", "a"),
            Some(Flaw::KeysArePaths) => key.trim_start_matches("../").replace("//", "/"),
            _ => key.into(),
        };
        let prefix = if self.has(forgets_the_prefix) { "" } else { self.prefix };
        format!("{prefix}{key}")
    }

    pub(crate) fn row(&self) -> String {
        self.row_unless(Flaw::PrefixForgotten)
    }

    pub(crate) fn counter(&self) -> String {
        match self.shared.flaw {
            Some(Flaw::CounterOfAllKeys) => String::new(),
            _ => self.row_unless(Flaw::PrefixForgottenByCounters),
        }
    }

    pub(crate) fn tombstone(&self) -> (String, OwnerToken) {
        let for_all = self.has(Flaw::TombstoneForEveryOwner);
        let owner = if for_all { OwnerToken::from_bits([0; 16]) } else { self.owner() };
        (self.row_unless(Flaw::PrefixForgottenByTombstones), owner)
    }

    pub(crate) fn ends(&self, ttl: Ttl) -> Moment {
        let ttl = match self.shared.flaw {
            Some(Flaw::LeasesNeverEnd) => return Moment::NEVER,
            Some(Flaw::TtlHalved) => ttl.as_duration() / 2,
            Some(Flaw::TtlInWholeSeconds) => Duration::from_secs(ttl.as_duration().as_secs()),
            Some(Flaw::TtlOfNoSecondsIsForEver) if ttl.as_duration().as_secs() == 0 => {
                return Moment::NEVER;
            }
            Some(Flaw::TtlInThirtyTwoBits) => {
                Duration::from_millis(ttl.as_millis() & u64::from(u32::MAX))
            }
            _ => ttl.as_duration(),
        };
        self.now().after(ttl)
    }

    pub(crate) fn is_mine(&self, tables: &Tables, lease: &Lease) -> bool {
        let (theirs, mine) = (lease.owner.expose(), self.claim.owner_token().expose());
        let note = tables.notes.get(&self.row());
        match self.shared.flaw {
            Some(Flaw::OwnerIsTheProcess) => true,
            Some(Flaw::OwnerByFirstBytes) => theirs[..16] == mine[..16],
            Some(Flaw::OwnerByLastBytes) => theirs[16..] == mine[16..],
            Some(Flaw::OwnerFolded) => theirs.eq_ignore_ascii_case(mine),
            Some(Flaw::OwnerWithNote) => theirs == mine && note == Some(self.claim.metadata()),
            Some(Flaw::OwnerOrNote) => {
                theirs == mine || note.is_some_and(|note| note.as_bytes() == mine.as_bytes())
            }
            _ => theirs == mine,
        }
    }

    pub(crate) fn find(&self, tables: &Tables, row: &str, ignores_expiry: bool) -> Found {
        let now = self.now();
        let undone = tables.tombstones.get(&self.tombstone()).is_some_and(|until| now < *until);
        let row = tables.leases.get(row);
        let lives = |lease: &&Lease| now < lease.ends || ignores_expiry;
        let dead_since = row.filter(|lease| lease.ends <= now).map(|lease| lease.ends);
        Found { lease: row.filter(lives).copied(), dead_since, undone }
    }

    /// What a careless verb finds before it locks the tables for its change.
    pub(crate) async fn find_early(&self, flaw: Flaw) -> Option<Found> {
        if !self.has(flaw) {
            return None;
        }
        let found = self.find(&self.tables(), &self.row(), false);
        yield_now().await;
        Some(found)
    }

    pub(crate) fn mint(&self, tables: &mut Tables) -> u64 {
        self.mint_above(tables, None)
    }

    pub(crate) fn mint_above(&self, tables: &mut Tables, floor: Option<FencingToken>) -> u64 {
        let now = u64::try_from(self.now().since_start().as_millis()).unwrap();
        let last = tables.counters.entry(self.counter()).or_default();
        *last = if self.has(Flaw::TokenIsTheTime) { now + 1 } else { *last + 1 };
        if let Some(floor) = floor
            && !self.has(Flaw::FloorIsIgnored)
        {
            *last = floor.as_u64().max(*last);
        }
        *last
    }

    pub(crate) fn fencing(&self, tables: &Tables) -> Option<FencingToken> {
        FencingToken::new(*tables.counters.get(&self.counter())?)
    }
}

pub(crate) fn refused(why: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, why)
}
