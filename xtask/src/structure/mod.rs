//! Checks how the sources hang together: who imports whom, whether each file says what it is, and
//! whether it cites what exists.

mod branches;
mod citations;
mod crates;
mod figures;
mod files;
mod graph;
mod imports;
mod names;
mod sentences;
mod tree;

use std::{collections::BTreeMap, path::Path};

pub(crate) use figures::figures;
use tree::Tree;

use crate::{manifest, run::Result};

/// The modules of a crate: each imports from itself and from those before it alone.
const MODULE_ORDERS: [(&str, &[&str]); 3] = [
    (
        "lock-core",
        &[
            "error",
            "value",
            "fencing",
            "clock",
            "retry",
            "fairness",
            "loss",
            "backend",
            "observe",
            "engine",
            "holding",
            "acquiring",
            "client",
            "registry",
        ],
    ),
    (
        "lock-redis",
        &["error", "keys", "config", "net", "wait", "verbs", "provider", "redlock", "factory"],
    ),
    ("lock-quorum", &["campaign", "node", "shared", "voters", "lock", "inspect", "quorum"]),
];

/// Crates whose modules are not in their order yet. Without its line here a crate is checked.
const NOT_IN_ORDER: &[&str] = &[];

/// Crates whose files import each other in cycles. Without its line here a crate is checked.
const WITH_CYCLES: &[&str] = &["bench"];

/// Folders with files that do not open with a sentence. Without its line here a folder is checked.
const WITHOUT_SENTENCES: &[&str] = &[];

/// The one catalogue of laws, known bugs and faults.
const CATALOGUE: &str = "LAWS.md";

/// Documents whose citations are not corrected yet. Without its line here a file is checked.
const NOT_CITING: &[&str] = &[];

/// Crates whose functions have at most [`LIMIT`] branches.
const LIMITED: &[&str] = &["lock-core", "lock-quorum", "lock-redis"];

/// The most branches that a function may have.
const LIMIT: usize = 15;

/// A crate: its name, the texts of its sources by their paths, and its modules.
type Source = (String, BTreeMap<String, String>, Tree);

/// Reads every crate, that of the benchmarks as well.
fn sources() -> Result<Vec<Source>> {
    let mut all = Vec::new();
    for name in manifest::members()?.into_iter().chain(["bench".to_owned()]) {
        let files = files::rust(&format!("{name}/src"))?;
        let roots = ["lib.rs", "main.rs"].map(|file| format!("{name}/src/{file}"));
        let root = roots.iter().find(|file| Path::new(file).exists());
        let root = root.ok_or_else(|| format!("{name}/src has neither lib.rs nor main.rs"))?;
        let tree = Tree::read(root, &files)?;
        all.push((name, files, tree));
    }
    Ok(all)
}

/// Checks that no crate depends on a later one, and that inside each the imports run one way.
pub(crate) fn imports() -> Result<String> {
    let mut found = crates::check()?;
    for (name, _, tree) in sources()? {
        let edges = imports::edges(&tree);
        if !WITH_CYCLES.contains(&name.as_str()) {
            for cycle in graph::cycles(&edges) {
                found.push(cycle.to_string());
                found.extend(cycle.shortest.windows(2).filter_map(|pair| {
                    let [from, to] = pair else { return None };
                    let edge =
                        edges.iter().find(|one| one.from_file == *from && one.to_file == *to);
                    edge.map(|edge| format!("    {edge}"))
                }));
            }
        }
        if let Some((_, order)) = MODULE_ORDERS.iter().find(|(one, _)| *one == name)
            && !NOT_IN_ORDER.contains(&name.as_str())
        {
            found.extend(graph::against_order(&tree, &edges, order));
        }
    }
    let mut left_out = Vec::new();
    left_out.extend(unchecked("the order of modules", NOT_IN_ORDER));
    left_out.extend(unchecked("cycles", WITH_CYCLES));
    report(&found, left_out)
}

/// Checks that every source file opens with a sentence.
pub(crate) fn sentences() -> Result<String> {
    let mut files = files::rust(".")?;
    files.retain(|file, _| !WITHOUT_SENTENCES.iter().any(|folder| file.starts_with(folder)));
    let missing = sentences::missing(&files).into_iter();
    let found: Vec<_> =
        missing.map(|file| format!("{file} opens with no `//!` sentence")).collect();
    report(&found, unchecked("files", WITHOUT_SENTENCES).into_iter().collect())
}

/// Checks that what is cited is in the catalogue, and that a test cites what is in it.
pub(crate) fn citations() -> Result<String> {
    let mut texts = files::ending(".", &[".rs", ".md", ".lua"])?;
    let catalogue = texts.remove(CATALOGUE).ok_or_else(|| format!("{CATALOGUE} is missing"))?;
    // The tests of this very check cite what does not exist.
    texts.retain(|file, _| !file.ends_with("structure/citations.rs"));
    texts.retain(|file, _| !NOT_CITING.contains(&file.as_str()));
    let left_out = unchecked("citations", NOT_CITING).into_iter().collect();
    report(&citations::wrong((CATALOGUE, &catalogue), &texts), left_out)
}

/// Checks that no function has too many branches.
pub(crate) fn branches() -> Result<String> {
    let mut found = Vec::new();
    for (_, _, tree) in sources()?.iter().filter(|(name, ..)| LIMITED.contains(&name.as_str())) {
        let functions = branches::functions(tree).into_iter();
        let over = functions.filter(|function| function.branches > LIMIT);
        found.extend(over.map(|function| format!("{function}, at most {LIMIT} are allowed")));
    }
    let crates = if LIMITED.is_empty() { "no crate".to_owned() } else { LIMITED.join(", ") };
    report(&found, vec![format!("{crates} is checked")])
}

/// What a check leaves out, if it leaves something out.
fn unchecked(what: &str, left_out: &[&str]) -> Option<String> {
    (!left_out.is_empty()).then(|| format!("{what} not checked in {}", left_out.join(", ")))
}

/// Shows what was found, and fails if that is anything; a remark says what was left out.
fn report(found: &[String], left_out: Vec<String>) -> Result<String> {
    found.iter().for_each(|one| println!("{one}"));
    match found.len() {
        0 => Ok(left_out.join("; ")),
        number => Err(format!("{number} lines above say what is wrong")),
    }
}
