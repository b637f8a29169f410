//! The results as Markdown tables.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::Report;
use crate::sample::{Record, Spread};
use crate::scenario::{self, Scenario};

pub(super) fn render(report: &Report) -> String {
    let mut text = head(report);
    text += &goals(report);
    for scenario in scenario::ALL {
        for layout in scenario.layouts {
            let layout = layout.name();
            let records: Vec<_> =
                report.records_of(scenario.id).filter(|one| one.layout == layout).collect();
            if !records.is_empty() {
                text += &table(scenario, &layout, &records);
            }
        }
    }
    text += &violations(report);
    text
}

fn head(report: &Report) -> String {
    let machine = &report.machine;
    let crates: Vec<_> =
        machine.crates.iter().map(|(name, version)| format!("{name} {version}")).collect();
    format!(
        "# Results\n\n\
         {} run, {} s, on {} with {} cores; {}; {}; {}.\n\n\
         A number is the median over the rounds, followed by the smallest – the largest. \
         [README](../README.md) describes how each is measured.\n",
        if report.quick { "Quick" } else { "Full" },
        report.seconds,
        machine.system,
        machine.cores,
        machine.server,
        machine.rustc,
        crates.join(", "),
    )
}

fn goals(report: &Report) -> String {
    let mut text = "\n## Goals\n\n| scenario | contender | goal | measured | met |\n\
                    |---|---|---|---:|:---:|\n"
        .to_owned();
    for verdict in &report.verdicts {
        let id = verdict.scenario.to_uppercase();
        let measured = verdict.measured.map_or_else(|| "–".to_owned(), spread);
        let met = if verdict.met { "yes" } else { "**no**" };
        let _ = writeln!(
            text,
            "| {id}, {} | {} | {} | {measured} | {met} |",
            verdict.layout, verdict.contender, verdict.goal
        );
    }
    text
}

/// One line per contender, one column per metric.
fn table(scenario: &Scenario, layout: &str, records: &[&Record]) -> String {
    let rounds = records.iter().flat_map(|record| &record.rounds);
    let metrics: BTreeSet<_> = rounds.flat_map(|round| round.metrics.keys()).collect();
    let mut text = format!("\n## {}, {layout}\n\n| |", scenario.title);
    for metric in &metrics {
        let _ = write!(text, " {metric} |");
    }
    let _ = writeln!(text, "\n|---|{}", "---:|".repeat(metrics.len()));
    for record in records {
        let _ = write!(text, "| {} |", record.contender);
        for metric in &metrics {
            let cell = Spread::of(&record.metric(metric)).map(spread);
            let _ = write!(text, " {} |", cell.unwrap_or_default());
        }
        text.push('\n');
    }
    text
}

fn violations(report: &Report) -> String {
    let mut text = "\n## Violations of exclusion and fencing\n\n".to_owned();
    let mut none = true;
    for record in &report.records {
        for violation in record.violations() {
            none = false;
            let id = record.scenario.to_uppercase();
            let _ = writeln!(text, "* {id}, {}, {}: {violation}", record.layout, record.contender);
        }
    }
    if none {
        text += "None.\n";
    }
    text
}

/// Writes `12.3 (11.0 – 14.1)`, or the value alone if all rounds have the same.
fn spread(spread: Spread) -> String {
    let Spread { median, min, max } = spread;
    let (middle, low, high) = (number(median), number(min), number(max));
    if low == high { middle } else { format!("{middle} ({low} – {high})") }
}

/// Writes three digits, or all digits before the point if those are more.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        x if x >= 100.0 => format!("{value:.0}"),
        x if x >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_or_more() {
        assert_eq!(
            [0.0, 0.954, 12.34, 123.4, 12_345.6].map(number),
            ["0", "0.95", "12.3", "123", "12346"]
        );
    }

    #[test]
    fn rounds_that_agree_show_one_number() {
        assert_eq!(spread(Spread { median: 1.0, min: 1.0, max: 1.0 }), "1.00");
        assert_eq!(spread(Spread { median: 2.0, min: 1.0, max: 3.0 }), "2.00 (1.00 – 3.00)");
    }
}
