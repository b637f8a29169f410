//! What can become of a held lock against its holder's wish.

use std::fmt;

use crate::error::Error;

/// Why a held lock is gone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Loss {
    /// The backend said that this owner does not hold the key: expired, deleted, or taken over.
    NotYours,
    /// The lease could not be confirmed in time, so it must be taken for ended.
    Expired {
        /// Why the last renewal failed, if one did.
        cause: Option<Error>,
    },
    /// The lock was held for as long as the caller had allowed.
    MaxHold,
}

impl Loss {
    /// Returns the error behind the loss, if there is one.
    pub fn cause(&self) -> Option<&Error> {
        match self {
            Self::Expired { cause } => cause.as_ref(),
            Self::NotYours | Self::MaxHold => None,
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotYours => "the backend says that this owner does not hold the lock any more",
            Self::Expired { cause: None } => "the lease was not renewed in time",
            Self::Expired { cause: Some(_) } => "the lease could not be renewed in time",
            Self::MaxHold => "the lock was held for the longest time allowed",
        })
    }
}

/// Says that renewing fails at present; the lock is still held.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AtRisk {
    /// How many renewals have failed in a row.
    pub failures: u32,
    /// Why the last one failed.
    pub cause: Error,
}
