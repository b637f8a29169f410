//! The two plots.

use super::Report;
use super::svg::{Anchor, Svg};
use crate::contender::Role;
use crate::entry::Entry;
use crate::sample::Record;
use crate::scenario::{DRAIN, HANDOFF, REENTRY, TWO_PROCESSES};
use crate::stats::percentile;

const WIDTH: f64 = 860.0;
const LABELS: f64 = 230.0;
const ROW: f64 = 30.0;
const TOP: f64 = 60.0;
const GRID: &str = "#d8d8d8";

/// The axis of the gaps, in microseconds: powers of ten from 10^LOW to 10^HIGH.
const LOW: i32 = 1;
const HIGH: i32 = 6;

/// Plots the time from one holder to the next: p10 to p90 as a box, the median as a mark, and p10
/// to the largest as a line.
pub(super) fn handoff(report: &Report) -> String {
    let drained = in_two_processes(report, DRAIN.id).map(|one| ("16 waiters", one));
    let passed = report.records_of(HANDOFF.id).map(|one| ("one waiter", one));
    let rows: Vec<_> = passed.chain(drained).collect();
    let bottom = TOP + ROW * rows.len() as f64;
    let mut svg = Svg::new(WIDTH, bottom + 40.0);
    svg.text(10.0, 22.0, Anchor::Start, "Release to the next holder's entry, over two processes");
    svg.text(10.0, 40.0, Anchor::Start, "box p10 – p90, mark p50, line to the largest; log scale");
    for power in LOW..=HIGH {
        let x = gap_position(10_f64.powi(power));
        svg.line((x, TOP - 5.0), (x, bottom), GRID, 1.0);
        svg.text(x, bottom + 20.0, Anchor::Middle, decade(power));
    }
    for (index, (what, record)) in rows.iter().enumerate() {
        let gaps = pooled(record, "gaps µs");
        let at = |p| gap_position(percentile(&gaps, p));
        let middle = TOP + ROW * (index as f64 + 0.5);
        svg.text(
            LABELS - 10.0,
            middle + 4.0,
            Anchor::End,
            &format!("{}, {what}", record.contender),
        );
        svg.line((at(0.1), middle), (at(1.0), middle), colour(record), 2.0);
        let width = (at(0.9) - at(0.1)).max(2.0);
        svg.rect(at(0.1), middle - 8.0, width, 16.0, colour(record));
        svg.line((at(0.5), middle - 11.0), (at(0.5), middle + 11.0), "#000000", 3.0);
    }
    svg.finish()
}

/// Plots the turns of each of the sixteen contenders. The bars of a fair lock have the same height.
pub(super) fn fairness(report: &Report) -> String {
    let rows: Vec<_> = in_two_processes(report, REENTRY.id).collect();
    let row = ROW * 2.5;
    let mut svg = Svg::new(WIDTH, TOP + row * rows.len() as f64 + 10.0);
    svg.text(
        10.0,
        22.0,
        Anchor::Start,
        "Turns of each of 16 contenders, 5 ms per turn, two processes",
    );
    svg.text(
        10.0,
        40.0,
        Anchor::Start,
        "the line is an equal share of all there could be; a bar may be cut",
    );
    for (index, record) in rows.iter().enumerate() {
        let turns = record.rounds.last().and_then(|round| round.series.get("turns"));
        let turns = turns.map(Vec::as_slice).unwrap_or_default();
        let base = TOP + row * (index as f64 + 1.0) - 10.0;
        let height = row - 25.0;
        let fair = if report.quick { 25.0 } else { 62.5 }; // the window / (16 × 5 ms)
        svg.text(LABELS - 10.0, base - height / 2.0, Anchor::End, record.contender);
        let step = (WIDTH - LABELS - 20.0) / turns.len().max(1) as f64;
        for (who, count) in turns.iter().enumerate() {
            let x = LABELS + step * who as f64;
            let bar = (count / fair / 2.0).min(1.0) * height;
            svg.rect(x, base - bar, step - 6.0, bar, colour(record));
            svg.text(x + (step - 6.0) / 2.0, base + 12.0, Anchor::Middle, &format!("{count:.0}"));
        }
        let equal = base - height / 2.0;
        svg.line((LABELS, equal), (WIDTH - 20.0, equal), "#000000", 1.0);
    }
    svg.finish()
}

fn in_two_processes<'a>(report: &'a Report, scenario: &'a str) -> impl Iterator<Item = &'a Record> {
    let layout = TWO_PROCESSES.name();
    report.records_of(scenario).filter(move |record| record.layout == layout)
}

/// Joins a series of all rounds.
fn pooled(record: &Record, name: &str) -> Vec<f64> {
    record.rounds.iter().filter_map(|round| round.series.get(name)).flatten().copied().collect()
}

fn gap_position(micros: f64) -> f64 {
    let (low, high) = (f64::from(LOW), f64::from(HIGH));
    let share = (micros.max(1.0).log10().clamp(low, high) - low) / (high - low);
    LABELS + share * (WIDTH - LABELS - 40.0)
}

fn decade(power: i32) -> &'static str {
    match power {
        1 => "10 µs",
        2 => "100 µs",
        3 => "1 ms",
        4 => "10 ms",
        5 => "100 ms",
        _ => "1 s",
    }
}

fn colour(record: &Record) -> &'static str {
    match Entry::named(record.contender).map(|entry| entry.role) {
        Ok(Role::Ours) => "#2b6cb0",
        Ok(Role::Floor) => "#9aa5b1",
        _ => "#dd8452",
    }
}
