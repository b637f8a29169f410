//! Holding: what a holder may believe about its lease, its renewals, and how it ends.

mod belief;
mod hold;
mod keep_alive;
mod limits;
mod release;
mod releasing;

pub(crate) use hold::{Hold, Over};
pub(crate) use keep_alive::keep_alive;
pub(crate) use limits::{check_margin, usable_ttl};
