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

/// Stands for the scenarios of a quorum.
const QUORUM: &str = "quorum";

fn is_of_a_quorum(id: &str) -> bool {
    id.starts_with('q')
}

impl Args {
    pub(crate) fn parse(args: &[String]) -> Result<Self> {
        let mut parsed = Self { quick: false, only: Vec::new() };
        for arg in args {
            match arg.as_str() {
                "--quick" => parsed.quick = true,
                QUORUM => {
                    let ids = scenario::ALL.iter().map(|one| one.id);
                    parsed.only.extend(ids.filter(|id| is_of_a_quorum(id)).map(str::to_owned));
                }
                id if scenario::ALL.iter().any(|one| one.id == id) => parsed.only.push(id.into()),
                other => {
                    let ids: Vec<_> = scenario::ALL.iter().map(|one| one.id).collect();
                    let ids = ids.join(", ");
                    bail!("`{other}` is neither `--quick` nor `{QUORUM}` nor one of {ids}");
                }
            }
        }
        Ok(parsed)
    }

    /// What the results are called.
    pub(crate) fn stem(&self) -> &'static str {
        if self.only.is_empty() { "latest" } else { "partial" }
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
        let quorum = parse("quorum").unwrap();
        assert!(quorum.wants("q1") && quorum.wants("q8") && !quorum.wants("s1"));
        let stems = ["", "quorum", "s1"].map(|words| parse(words).unwrap().stem());
        assert_eq!(stems, ["latest", "partial", "partial"]);
    }
}
