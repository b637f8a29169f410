//! Renewing: what a renewal finds, and how it extends the lease.

use std::sync::atomic::Ordering;

use lock_core::backend::{Renewal, Ttl};

use super::backend::{CarelessLock, Found, Lease};
use super::flaw::Flaw;

impl CarelessLock {
    pub(crate) fn extend(&self, early: Option<Found>, ttl: Ttl) -> Renewal {
        let tables = &mut *self.tables();
        let row = self.row_unless(Flaw::PrefixForgottenByRenew);
        let by_anyone = self.has(Flaw::RenewByAnyone);
        let ignores_expiry = self.has(Flaw::RenewIgnoresExpiry);
        let found = early.unwrap_or_else(|| self.find(tables, &row, ignores_expiry));
        let elsewhere =
            self.has(Flaw::RenewNeedsItsHandle) && !self.granted_here.load(Ordering::SeqCst);
        let mine = |lease: &Lease| (self.is_mine(tables, lease) || by_anyone) && !elsewhere;
        let mut ends = self.ends(ttl);
        let Some(lease) = found.lease.filter(mine) else {
            if self.has(Flaw::RenewSetsTheTtlFirst) {
                tables.leases.entry(row).and_modify(|lease| lease.ends = ends);
            } else if self.has(Flaw::RenewBringsBack) && found.lease.is_none() {
                tables.leases.insert(row, Lease { owner: self.owner(), ends });
                return Renewal::renewed(self.fencing(tables));
            }
            return Renewal::Lost;
        };
        match self.shared.flaw {
            Some(Flaw::RenewDoesNothing) => ends = lease.ends,
            Some(Flaw::RenewAdds) => ends = lease.ends.after(ttl.as_duration()),
            Some(Flaw::RenewOnlyLengthens) => ends = ends.max(lease.ends),
            Some(Flaw::RenewKeepsTheFirstTtl) => ends = self.ends(self.claim.ttl()),
            Some(Flaw::RenewMints) => drop(self.mint(tables)),
            _ => {}
        }
        if self.has(Flaw::RenewLooksThenSets) {
            tables.leases.entry(row).and_modify(|lease| lease.ends = ends);
        } else {
            tables.leases.insert(row, Lease { ends, ..lease });
        }
        Renewal::renewed(self.fencing(tables))
    }
}
