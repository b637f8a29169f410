//! The measurements of a contender.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::stats;

/// One contender in one round of one scenario.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Sample {
    /// Numbers by their heading in the tables.
    pub(crate) metrics: BTreeMap<&'static str, f64>,
    /// Lists of numbers, for plots.
    pub(crate) series: BTreeMap<&'static str, Vec<f64>>,
    /// Violations of exclusion or fencing, and lost locks.
    pub(crate) violations: Vec<String>,
}

/// How many violations of a sample are listed.
const LISTED: usize = 5;

impl Sample {
    pub(crate) fn metric(&mut self, name: &'static str, value: f64) -> &mut Self {
        self.metrics.insert(name, value);
        self
    }

    pub(crate) fn series(&mut self, name: &'static str, values: Vec<f64>) -> &mut Self {
        self.series.insert(name, values);
        self
    }

    /// Adds violations: lists the first, and counts the others.
    pub(crate) fn wrong(&mut self, wrong: Vec<String>) -> &mut Self {
        let more = wrong.len().saturating_sub(LISTED);
        self.violations.extend(wrong.into_iter().take(LISTED));
        if more > 0 {
            self.violations.push(format!("and {more} more"));
        }
        self
    }

    /// Adds a violation if something happened that must never happen.
    pub(crate) fn never(&mut self, what: &str, times: u32) -> &mut Self {
        if times > 0 {
            self.violations.push(format!("{what}: {times} times"));
        }
        self
    }
}

/// The rounds of one contender in one layout of a scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    pub(crate) scenario: &'static str,
    pub(crate) layout: String,
    pub(crate) contender: &'static str,
    pub(crate) rounds: Vec<Sample>,
}

impl Record {
    /// Returns a metric of every round.
    pub(crate) fn metric(&self, name: &str) -> Vec<f64> {
        self.rounds.iter().filter_map(|round| round.metrics.get(name)).copied().collect()
    }

    pub(crate) fn violations(&self) -> impl Iterator<Item = &String> {
        self.rounds.iter().flat_map(|round| &round.violations)
    }
}

/// The median, the smallest and the largest value of several rounds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Returns `None` if there are no values.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        (!values.is_empty()).then(|| Self {
            median: stats::median(values),
            min: stats::smallest(values),
            max: stats::largest(values),
        })
    }
}
