//! What is measured: one file per scenario or family of scenarios, and what they share.

mod drain;
mod handoff;
mod held;
mod idle;
mod memory;
mod mixed;
mod own_keys;
mod plan;
mod quorum;
mod reentry;
mod run;

use plan::SIXTEEN;
use run::{TTL, job, run_together};

pub(crate) use drain::DRAIN;
pub(crate) use handoff::HANDOFF;
pub(crate) use plan::{Layout, Scenario, Setting, TWO_PROCESSES};
pub(crate) use reentry::REENTRY;

/// Every scenario, in the order of the tables.
pub(crate) const ALL: &[Scenario] = &[
    own_keys::ALONE,
    own_keys::MANY,
    DRAIN,
    REENTRY,
    reentry::RUSH,
    idle::IDLE,
    HANDOFF,
    held::HELD,
    memory::UNCONTENDED,
    memory::CONTENDED,
    mixed::RSLOCK,
    mixed::REDIS_PY,
    mixed::NODE_REDLOCK,
    quorum::ALL_UP,
    quorum::ONE_FROZEN,
    quorum::ONE_DEAD,
    quorum::TWO_FROZEN,
    quorum::FORGETFUL,
    quorum::CUT_OFF,
    quorum::SLOW,
    quorum::THREE_FROZEN,
];
