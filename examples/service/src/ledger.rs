//! The invoices, in SQLite. The table remembers the fencing token of the last writer of each row.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use lock_core::FencingToken;
use rusqlite::{Connection, OptionalExtension as _, params};

/// How long a statement waits while another process uses the database.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// The table of invoices.
#[derive(Debug)]
pub(crate) struct Ledger(Mutex<Connection>);

/// Reports that a later holder of the lock has written to the row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stale;

impl Ledger {
    pub(crate) fn open(file: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(file)?;
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS invoice (
                id TEXT PRIMARY KEY,
                cents INTEGER NOT NULL,
                token INTEGER NOT NULL -- every fencing token fits a signed column of 64 bits
            )",
        )?;
        Ok(Self(Mutex::new(connection)))
    }

    pub(crate) fn read(&self, id: &str) -> rusqlite::Result<i64> {
        let connection = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let cents = connection
            .query_row("SELECT cents FROM invoice WHERE id = ?1", [id], |row| row.get(0))
            .optional()?;
        Ok(cents.unwrap_or_default())
    }

    /// Writes an invoice, unless a later holder of its lock has written. One statement compares and
    /// writes, so no other write comes in between.
    pub(crate) fn write(
        &self,
        id: &str,
        cents: i64,
        token: FencingToken,
    ) -> rusqlite::Result<Result<(), Stale>> {
        let connection = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let rows = connection.execute(
            "INSERT INTO invoice (id, cents, token) VALUES (?1, ?2, ?3)
            ON CONFLICT (id) DO UPDATE SET cents = excluded.cents, token = excluded.token
            WHERE invoice.token <= excluded.token",
            params![id, cents, i64::from(token)],
        )?;
        Ok(if rows == 0 { Err(Stale) } else { Ok(()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f1_a_stale_writer_changes_nothing() {
        let ledger = Ledger::open(Path::new(":memory:")).unwrap();
        let token = |number: i64| FencingToken::try_from(number).unwrap();
        let largest = token(i64::MAX);
        assert_eq!(ledger.write("42", 100, token(33)), Ok(Ok(())));
        assert_eq!(ledger.write("42", 200, token(34)), Ok(Ok(())), "the next holder");
        assert_eq!(ledger.write("42", 150, token(33)), Ok(Err(Stale)), "woke up too late");
        assert_eq!(ledger.read("42"), Ok(200));
        assert_eq!(ledger.write("42", 300, largest), Ok(Ok(())));
        assert_eq!(ledger.write("42", 250, token(34)), Ok(Err(Stale)));
        assert_eq!(ledger.read("42"), Ok(300));
    }
}
