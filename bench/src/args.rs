//! The command line.

use anyhow::{Result, bail};

use crate::scenario;

/// What to run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) quick: bool,
    /// Ids of scenarios; all if empty.
    pub(crate) only: Vec<String>,
}

impl Args {
    pub(crate) fn parse(args: &[String]) -> Result<Self> {
        let mut parsed = Self { quick: false, only: Vec::new() };
        for arg in args {
            match arg.as_str() {
                "--quick" => parsed.quick = true,
                id if scenario::ALL.iter().any(|one| one.id == id) => parsed.only.push(id.into()),
                other => {
                    let ids: Vec<_> = scenario::ALL.iter().map(|one| one.id).collect();
                    bail!("`{other}` is neither `--quick` nor one of {}", ids.join(", "));
                }
            }
        }
        Ok(parsed)
    }

    pub(crate) fn wants(&self, id: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|one| one == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_run_and_nothing_unknown() {
        let parse = |words: &str| {
            Args::parse(&words.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        let some = parse("s1 --quick").unwrap();
        assert!(some.quick && some.wants("s1") && !some.wants("s2"));
        assert!(parse("").unwrap().wants("s2"));
        assert!(parse("s99").is_err());
    }
}
