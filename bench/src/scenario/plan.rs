//! What a scenario is, and how it is to be run.

use anyhow::Result;

use crate::entry::{ALL as CONTENDERS, Entry};
use crate::goal::Goal;
use crate::sample::Sample;

/// Something to measure for every contender that takes part in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// How the tasks are spread over processes, where that matters.
    pub(crate) layouts: &'static [Layout],
    /// How many rounds, quick and full.
    pub(crate) rounds: (usize, usize),
    pub(crate) measure: fn(&Setting, &'static Entry) -> Result<Sample>,
    pub(crate) goals: &'static [Goal],
}

impl Scenario {
    pub(crate) fn contenders(&self) -> Vec<&'static Entry> {
        CONTENDERS.iter().filter(|one| one.plays.contains(&self.id)).collect()
    }
}

/// How many processes, and how many tasks in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) processes: u32,
    pub(crate) tasks: u32,
    /// How many processes of another library compete, with one task each.
    pub(crate) rivals: u32,
}

impl Layout {
    pub(super) const fn new(processes: u32, tasks: u32) -> Self {
        Self { processes, tasks, rivals: 0 }
    }

    /// Processes with one task each, ours and those of another library.
    pub(super) const fn against(ours: u32, rivals: u32) -> Self {
        Self { processes: ours, tasks: 1, rivals }
    }

    pub(crate) fn name(self) -> String {
        match self.rivals {
            0 => format!("{} × {}", self.processes, self.tasks),
            rivals => format!("{} against {rivals}", self.processes),
        }
    }
}

/// Sixteen, in one process and in two.
pub(super) const SIXTEEN: &[Layout] = &[Layout::new(1, 16), TWO_PROCESSES];

pub(crate) const TWO_PROCESSES: Layout = Layout::new(2, 8);

/// How a scenario is to be run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) quick: bool,
    pub(crate) layout: Layout,
}

impl Setting {
    pub(super) fn choose<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }
}
