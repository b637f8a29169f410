//! What our locks are meant to reach, and whether they do.

use serde::Serialize;

use crate::contender::Role;
use crate::entry::Entry;
use crate::sample::{Record, Spread};

/// A goal of a scenario, for some or all of our locks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub(crate) whose: Whose,
    pub(crate) metric: &'static str,
    pub(crate) bound: Bound,
    pub(crate) against: Against,
}

/// The locks of ours to which a goal applies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose {
    Every,
    /// The lock with this name.
    Only(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// At most this in every round, not only in the median.
    NeverAbove(f64),
    /// At least this in every round.
    NeverBelow(f64),
}

/// What the metric is divided by. Both are of the same round.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Against {
    /// Nothing: the bound is in the unit of the metric.
    Nothing,
    /// The same metric of another contender.
    One(&'static str),
    /// The same metric of the contender that was best in that round.
    Better(&'static [&'static str]),
}

/// A goal, and what was measured for it.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) scenario: &'static str,
    pub(crate) layout: String,
    pub(crate) contender: &'static str,
    pub(crate) goal: String,
    /// The ratio, or the value if the goal is not a ratio.
    pub(crate) measured: Option<Spread>,
    pub(crate) met: bool,
}

impl Goal {
    /// Judges each of our locks by the records of one layout of a scenario.
    pub(crate) fn judge(&self, records: &[&Record]) -> Vec<Verdict> {
        let concerned = |record: &&&Record| {
            let ours = Entry::named(record.contender).is_ok_and(|one| one.role == Role::Ours);
            ours && match self.whose {
                Whose::Every => true,
                Whose::Only(name) => record.contender == name,
            }
        };
        let judge = |record: &&Record| {
            let measured = Spread::of(&self.measure(record, records));
            let met = measured.is_some_and(|spread| self.bound.holds(spread));
            Verdict {
                scenario: record.scenario,
                layout: record.layout.clone(),
                contender: record.contender,
                goal: self.describe(),
                measured,
                met,
            }
        };
        records.iter().filter(concerned).map(judge).collect()
    }

    /// Returns the value or the ratio of every round.
    fn measure(&self, ours: &Record, records: &[&Record]) -> Vec<f64> {
        let names = match self.against {
            Against::Nothing => return ours.metric(self.metric),
            Against::One(name) => vec![name],
            Against::Better(names) => names.to_vec(),
        };
        let others: Vec<Vec<f64>> = records
            .iter()
            .filter(|record| names.contains(&record.contender))
            .map(|record| record.metric(self.metric))
            .collect();
        let ratio = |(round, value): (usize, f64)| {
            let others = others.iter().filter_map(|one| one.get(round).copied());
            Some(value / others.reduce(|a, b| self.bound.better(a, b))?)
        };
        ours.metric(self.metric).into_iter().enumerate().filter_map(ratio).collect()
    }

    fn describe(&self) -> String {
        let bound = match self.bound {
            Bound::AtMost(limit) => format!("≤ {limit}"),
            Bound::AtLeast(limit) => format!("≥ {limit}"),
            Bound::NeverAbove(limit) => format!("≤ {limit} in every round"),
            Bound::NeverBelow(limit) => format!("≥ {limit} in every round"),
        };
        match self.against {
            Against::Nothing => format!("{} {bound}", self.metric),
            Against::One(name) => format!("{} {bound} × {name}", self.metric),
            Against::Better(names) => {
                format!("{} {bound} × the better of {}", self.metric, names.join(", "))
            }
        }
    }
}

impl Bound {
    fn holds(self, measured: Spread) -> bool {
        match self {
            Self::AtMost(limit) => measured.median <= limit,
            Self::AtLeast(limit) => measured.median >= limit,
            Self::NeverAbove(limit) => measured.max <= limit,
            Self::NeverBelow(limit) => measured.min >= limit,
        }
    }

    fn better(self, a: f64, b: f64) -> f64 {
        match self {
            Self::AtMost(_) | Self::NeverAbove(_) => a.min(b),
            Self::AtLeast(_) | Self::NeverBelow(_) => a.max(b),
        }
    }
}

/// Makes a goal for the metric itself.
pub(crate) const fn value(metric: &'static str, bound: Bound) -> Goal {
    Goal { whose: Whose::Every, metric, bound, against: Against::Nothing }
}

/// Makes a goal for the ratio to another contender.
pub(crate) const fn ratio(metric: &'static str, bound: Bound, other: &'static str) -> Goal {
    Goal { whose: Whose::Every, metric, bound, against: Against::One(other) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Sample;

    fn record(contender: &'static str, values: &[f64]) -> Record {
        let round = |value: &f64| {
            let mut sample = Sample::default();
            sample.metric("x", *value);
            sample
        };
        let rounds = values.iter().map(round).collect();
        Record { scenario: "s", layout: String::new(), contender, rounds }
    }

    #[test]
    fn a_ratio_is_taken_within_a_round() {
        let (ours, other) =
            (record("ours", &[1.0, 10.0, 3.0]), record("rslock", &[2.0, 20.0, 3.0]));
        let verdicts = ratio("x", Bound::AtMost(0.5), "rslock").judge(&[&ours, &other]);
        assert_eq!(verdicts.len(), 1);
        assert!(verdicts[0].met);
        assert_eq!(verdicts[0].measured.unwrap().max, 1.0);
    }

    #[test]
    fn one_bad_round_breaks_what_holds_in_every_round() {
        let ours = record("ours", &[5.0, 0.0, 5.0]);
        let met = |bound| value("x", bound).judge(&[&ours])[0].met;
        assert!(met(Bound::AtLeast(1.0)) && !met(Bound::NeverBelow(1.0)));
        assert!(met(Bound::AtMost(5.0)) && !met(Bound::NeverAbove(4.0)));
    }

    #[test]
    fn a_goal_that_could_not_be_measured_is_not_met() {
        let ours = record("ours", &[1.0]);
        assert!(!ratio("x", Bound::AtMost(9.0), "rslock").judge(&[&ours])[0].met);
    }
}
