//! All results of a run.

use serde::Serialize;

use super::machine::Machine;
use crate::goal::Verdict;
use crate::sample::Record;

/// All results of a run, as the JSON file has them.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) quick: bool,
    pub(crate) seconds: u64,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) records: Vec<Record>,
}

impl Report {
    pub(crate) fn new(machine: Machine, quick: bool) -> Self {
        Self { machine, quick, seconds: 0, verdicts: Vec::new(), records: Vec::new() }
    }

    /// Returns every record of a scenario, in the order of measurement.
    pub(super) fn records_of<'a>(&'a self, scenario: &'a str) -> impl Iterator<Item = &'a Record> {
        self.records.iter().filter(move |record| record.scenario == scenario)
    }
}
