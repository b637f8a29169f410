//! What a scenario is, and the settings of a run.

use anyhow::Result;

use crate::entry::{ALL as CONTENDERS, Entry};
use crate::goal::Goal;
use crate::sample::Sample;

/// What is measured, and the goals for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// How the tasks are distributed over processes.
    pub(crate) layouts: &'static [Layout],
    /// The number of rounds of a quick run, and of a full run.
    pub(crate) rounds: (usize, usize),
    pub(crate) measure: fn(&Setting, &'static Entry) -> Result<Sample>,
    pub(crate) goals: &'static [Goal],
}

impl Scenario {
    pub(crate) fn contenders(&self) -> Vec<&'static Entry> {
        CONTENDERS.iter().filter(|one| one.plays.contains(&self.id)).collect()
    }
}

/// The number of processes, and of tasks in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) processes: u32,
    pub(crate) tasks: u32,
    /// The number of processes of another library, with one task each.
    pub(crate) rivals: u32,
}

impl Layout {
    pub(super) const fn new(processes: u32, tasks: u32) -> Self {
        Self { processes, tasks, rivals: 0 }
    }

    /// Makes the layout of processes with one task each: ours, and those of another library.
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

/// Sixteen tasks, in one process and in two.
pub(super) const SIXTEEN: &[Layout] = &[Layout::new(1, 16), TWO_PROCESSES];

pub(crate) const TWO_PROCESSES: Layout = Layout::new(2, 8);

/// The settings of one run of a scenario.
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
