//! The results as JSON, tables and plots.

mod data;
pub(crate) mod machine;
mod markdown;
mod plots;
mod svg;

use std::fs;
use std::path::Path;

use anyhow::Result;

pub(crate) use data::Report;

impl Report {
    pub(crate) fn markdown(&self) -> String {
        markdown::render(self)
    }

    /// Writes the results to files with this name. Those of all scenarios come with the plots.
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
}
