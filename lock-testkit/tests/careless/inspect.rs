//! Inspecting: what is reported of the holder.

use lock_core::{Holder, OwnerFingerprint};

use super::backend::{CarelessLock, Lease};
use super::flaw::Flaw;

impl CarelessLock {
    /// Who holds the key.
    pub(crate) async fn look(&self) -> Option<Holder> {
        let early = self.find_early(Flaw::InspectReadsTwice).await;
        let tables = &mut *self.tables();
        let row = self.row_unless(Flaw::PrefixForgottenByInspect);
        let ignores_expiry = self.has(Flaw::InspectIgnoresExpiry);
        let found = early.unwrap_or_else(|| self.find(tables, &row, ignores_expiry));
        let lease = found.lease?;
        let note = tables.notes.get(&row).cloned().unwrap_or_default();
        let owner = match self.shared.flaw {
            Some(Flaw::InspectShowsTheAsker) => self.claim.owner_token().fingerprint(),
            Some(Flaw::InspectHashesTheNote) => OwnerFingerprint::from_bytes(
                &[lease.owner.expose().as_bytes(), note.as_bytes()].concat(),
            ),
            _ => OwnerFingerprint::from_bytes(lease.owner.expose().as_bytes()),
        };
        let holder = Holder::new(owner)
            .with_metadata(note)
            .with_remaining(lease.ends.since(self.now()))
            .with_fencing(self.fencing(tables));
        match self.shared.flaw {
            Some(Flaw::InspectRenews) => {
                let ends = self.ends(self.claim.ttl());
                tables.leases.insert(row, Lease { ends, ..lease });
            }
            Some(Flaw::InspectDeletes) => drop(tables.leases.remove(&row)),
            Some(Flaw::InspectFindsNobody) => return None,
            _ => {}
        }
        Some(holder)
    }
}
