//! The results, as numbers, tables and plots.

pub(crate) mod machine;
mod markdown;
mod plots;
mod svg;

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::goal::Verdict;
use crate::sample::Record;
use machine::Machine;

/// Everything that was found.
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

    pub(crate) fn markdown(&self) -> String {
        markdown::render(self)
    }

    /// Writes the results under this name, and with those of everything the plots.
    pub(crate) fn write(&self, folder: &Path, stem: &str) -> Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join(format!("{stem}.json")), serde_json::to_string_pretty(self)? + "\n")?;
        fs::write(folder.join(format!("{stem}.md")), self.markdown())?;
        if stem == "latest" {
            fs::write(folder.join("handoff.svg"), plots::handoff(self))?;
            fs::write(folder.join("fairness.svg"), plots::fairness(self))?;
        }
        println!("written: {}", folder.join(format!("{stem}.*")).display());
        Ok(())
    }

    /// Every record of a scenario, in the order measured.
    fn records_of<'a>(&'a self, scenario: &'a str) -> impl Iterator<Item = &'a Record> {
        self.records.iter().filter(move |record| record.scenario == scenario)
    }
}
