//! Runs the scenarios, round by round.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::args::Args;
use crate::contender::Role;
use crate::entry::Entry;
use crate::goal::Verdict;
use crate::package::package;
use crate::report::{Report, machine::Machine};
use crate::sample::Record;
use crate::scenario::{self, Layout, Scenario, Setting};

/// Runs what the arguments ask for, prints the tables and writes the results.
///
/// Returns a failure if one of our locks violated exclusion or fencing, or was lost. A goal that is
/// not met is no failure.
///
/// # Errors
///
/// An argument is unknown, or a measurement failed.
pub fn bench(args: &[String]) -> Result<ExitCode> {
    let args = Args::parse(args)?;
    let begun = Instant::now();
    let mut report = Report::new(Machine::describe()?, args.quick);
    for scenario in scenario::ALL.iter().filter(|one| args.wants(one.id)) {
        println!("{} ({:.0} s)", scenario.title, begun.elapsed().as_secs_f64());
        for &layout in scenario.layouts {
            let setting = Setting { quick: args.quick, layout };
            let records = measure(scenario, &setting)?;
            report.verdicts.extend(judge(scenario, &records));
            report.records.extend(records);
        }
    }
    report.seconds = begun.elapsed().as_secs();

    println!("\n{}", report.markdown());
    report.write(&package().join("results"), args.stem())?;
    let broken = report.records.iter().any(|record| ours(record) && any_wrong(record));
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Measures every contender in every round. Each round starts with another one.
fn measure(scenario: &Scenario, setting: &Setting) -> Result<Vec<Record>> {
    let contenders = scenario.contenders();
    let mut records: Vec<_> =
        contenders.iter().map(|entry| record(scenario, setting.layout, entry)).collect();
    for round in 0..if setting.quick { scenario.rounds.0 } else { scenario.rounds.1 } {
        for place in 0..contenders.len() {
            let index = (round + place) % contenders.len();
            let entry = contenders[index];
            let sample = (scenario.measure)(setting, entry);
            let sample = sample.with_context(|| format!("{}: {}", scenario.title, entry.name))?;
            records[index].rounds.push(sample);
        }
    }
    Ok(records)
}

fn record(scenario: &Scenario, layout: Layout, entry: &Entry) -> Record {
    let (layout, rounds) = (layout.name(), Vec::new());
    Record { scenario: scenario.id, layout, contender: entry.name, rounds }
}

fn judge(scenario: &Scenario, records: &[Record]) -> Vec<Verdict> {
    let records: Vec<_> = records.iter().collect();
    scenario.goals.iter().flat_map(|goal| goal.judge(&records)).collect()
}

fn ours(record: &Record) -> bool {
    Entry::named(record.contender).is_ok_and(|entry| entry.role == Role::Ours)
}

fn any_wrong(record: &Record) -> bool {
    record.violations().next().is_some()
}
