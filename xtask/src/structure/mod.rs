//! Checks the structure of the sources: the imports, the opening sentences, the citations and the
//! branches of functions.

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

/// The modules of a crate, in order: each imports only from itself and from those before it.
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

/// The catalogue of laws, known bugs and faults.
const CATALOGUE: &str = "LAWS.md";

/// Crates whose functions have at most [`LIMIT`] branches.
const LIMITED: &[&str] = &["lock-core", "lock-quorum", "lock-redis"];

/// The most branches that a function may have.
const LIMIT: usize = 15;

/// A crate: its name, the texts of its sources by their paths, and its modules.
type Source = (String, BTreeMap<String, String>, Tree);

/// Reads every crate, including that of the benchmarks.
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

/// Checks that no crate depends on a later one, and that the imports of each crate run one way.
pub(crate) fn imports() -> Result<String> {
    let mut found = crates::check()?;
    for (name, _, tree) in sources()? {
        let edges = imports::edges(&tree);
        for cycle in graph::cycles(&edges) {
            found.push(cycle.to_string());
            found.extend(cycle.shortest.windows(2).filter_map(|pair| {
                let [from, to] = pair else { return None };
                let edge = edges.iter().find(|one| one.from_file == *from && one.to_file == *to);
                edge.map(|edge| format!("    {edge}"))
            }));
        }
        if let Some((_, order)) = MODULE_ORDERS.iter().find(|(one, _)| *one == name) {
            found.extend(graph::against_order(&tree, &edges, order));
        }
    }
    report(&found, String::new())
}

/// Checks that every source file opens with a sentence.
pub(crate) fn sentences() -> Result<String> {
    let files = files::rust(".")?;
    let missing = sentences::missing(&files).into_iter();
    let found: Vec<_> =
        missing.map(|file| format!("{file} opens with no `//!` sentence")).collect();
    report(&found, String::new())
}

/// Checks that the catalogue has every citation, and that a test cites every entry.
pub(crate) fn citations() -> Result<String> {
    let mut texts = files::ending(".", &[".rs", ".md", ".lua"])?;
    let catalogue = texts.remove(CATALOGUE).ok_or_else(|| format!("{CATALOGUE} is missing"))?;
    // The tests of this check cite what does not exist.
    texts.retain(|file, _| !file.ends_with("structure/citations.rs"));
    report(&citations::wrong((CATALOGUE, &catalogue), &texts), String::new())
}

/// Checks that no function has too many branches.
pub(crate) fn branches() -> Result<String> {
    let mut found = Vec::new();
    for (_, _, tree) in sources()?.iter().filter(|(name, ..)| LIMITED.contains(&name.as_str())) {
        let functions = branches::functions(tree).into_iter();
        let over = functions.filter(|function| function.branches > LIMIT);
        found.extend(over.map(|function| format!("{function}, at most {LIMIT} are allowed")));
    }
    report(&found, format!("checked in {}", LIMITED.join(", ")))
}

/// Prints what was found. Fails if that is anything, and otherwise returns the remark.
fn report(found: &[String], remark: String) -> Result<String> {
    found.iter().for_each(|one| println!("{one}"));
    match found.len() {
        0 => Ok(remark),
        number => Err(format!("{number} lines above describe what is wrong")),
    }
}
