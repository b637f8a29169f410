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

/// Names of groups of scenarios, and the letter with which their ids begin.
const GROUPS: [(&str, char); 2] = [("quorum", 'v'), ("interop", INTEROP)];

/// Scenarios that need libraries of other languages. They run only on request.
const INTEROP: char = 'c';

impl Args {
    pub(crate) fn parse(args: &[String]) -> Result<Self> {
        let mut parsed = Self { quick: false, only: Vec::new() };
        for arg in args {
            match arg.as_str() {
                "--quick" => parsed.quick = true,
                word => parsed.only.append(&mut ids(word)?),
            }
        }
        Ok(parsed)
    }

    /// Returns the name of the files of results.
    pub(crate) fn stem(&self) -> &'static str {
        if self.only.is_empty() { "latest" } else { "partial" }
    }

    pub(crate) fn wants(&self, id: &str) -> bool {
        if self.only.is_empty() {
            return !id.starts_with(INTEROP);
        }
        self.only.iter().any(|one| one == id)
    }
}

/// Returns the scenarios that a word stands for: a group of them, or the one with that id.
fn ids(word: &str) -> Result<Vec<String>> {
    let all = || scenario::ALL.iter().map(|one| one.id);
    let group = GROUPS.iter().find(|(name, _)| *name == word).map(|(_, letter)| *letter);
    let matches = |id: &&str| group.map_or(*id == word, |letter| id.starts_with(letter));
    let ids: Vec<_> = all().filter(matches).map(str::to_owned).collect();
    if ids.is_empty() {
        let known: Vec<_> = GROUPS.iter().map(|(name, _)| *name).chain(all()).collect();
        bail!("`{word}` is neither `--quick` nor one of {}", known.join(", "));
    }
    Ok(ids)
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
        assert!(quorum.wants("v1") && quorum.wants("v8") && !quorum.wants("s1"));
        let interop = parse("interop").unwrap();
        assert!(interop.wants("c1") && interop.wants("c2") && !interop.wants("s8"));
        let stems = ["", "quorum", "s1"].map(|words| parse(words).unwrap().stem());
        assert_eq!(stems, ["latest", "partial", "partial"]);
    }

    #[test]
    fn what_needs_other_languages_is_run_on_request_only() {
        let everything = Args::parse(&[]).unwrap();
        assert!(everything.wants("s8") && !everything.wants("c1"));
    }
}
