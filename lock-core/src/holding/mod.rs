//! Holding a lock: its deadline, its renewals, its release and its loss.

mod hold;
mod hold_settings;
mod keep_alive;
mod release;
mod releasing;
mod state;
mod validity;

pub(crate) use hold::Hold;
pub(crate) use hold_settings::{HoldSettings, Renewals};
pub(crate) use keep_alive::keep_alive;
