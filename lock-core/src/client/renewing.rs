//! Whether a lease is renewed.

/// Whether a lease is renewed while it is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewing {
    /// `run` renews, `acquire` does not.
    Unset,
    Never,
    Always,
}
