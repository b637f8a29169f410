//! Metrics of the locks, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lock_core::LockClient;
use lock_core::observe::{Event, EventKind, Observer};

/// Counts what happens. A service with a metrics library would feed that instead.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<Sums>);

/// How often something happened and how long it took together, by its labels.
#[derive(Debug, Default)]
struct Sums {
    acquisitions: BTreeMap<&'static str, (u64, Duration)>,
    holds: BTreeMap<&'static str, (u64, Duration)>,
    requests: BTreeMap<(&'static str, &'static str), (u64, Duration)>,
}

fn add(sum: &mut (u64, Duration), took: Duration) {
    sum.0 += 1;
    sum.1 += took;
}

impl Observer for Metrics {
    fn on_event(&self, event: &Event) {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event.kind() {
            EventKind::AcquireEnded { outcome, effort, .. } => {
                add(sums.acquisitions.entry(outcome.name()).or_default(), effort.waited);
            }
            EventKind::HoldEnded { outcome, held, .. } => {
                add(sums.holds.entry(outcome.name()).or_default(), *held);
            }
            EventKind::Request { verb, outcome, took, .. } => {
                let labels = (verb.name(), outcome.name());
                add(sums.requests.entry(labels).or_default(), *took);
            }
            _ => {}
        }
    }
}

impl Metrics {
    /// Writes the metrics of a client. Its gauges are exact, even if events were dropped.
    pub(crate) fn text(&self, locks: &LockClient) -> String {
        let (counts, mut text) = (locks.counts(), String::new());
        let _ = writeln!(text, "lock_held {}", counts.held);
        let _ = writeln!(text, "lock_acquiring {}", counts.acquiring);
        let _ = writeln!(text, "lock_events_dropped_total {}", counts.events_dropped);
        let sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = |name: &str, labels: &str, (count, took): &(u64, Duration)| {
            let seconds = took.as_secs_f64();
            let _ = writeln!(text, "lock_{name}_seconds_count{{{labels}}} {count}");
            let _ = writeln!(text, "lock_{name}_seconds_sum{{{labels}}} {seconds}");
        };
        for (outcome, sum) in &sums.acquisitions {
            lines("acquire", &format!("outcome=\"{outcome}\""), sum);
        }
        for (outcome, sum) in &sums.holds {
            lines("hold", &format!("outcome=\"{outcome}\""), sum);
        }
        for ((verb, outcome), sum) in &sums.requests {
            lines("request", &format!("verb=\"{verb}\",outcome=\"{outcome}\""), sum);
        }
        text
    }
}
