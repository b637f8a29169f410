//! Cycles among the imports of a crate, and imports against the order of its modules.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
};

use super::{imports::Edge, tree::Tree};

type Graph<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Files that import each other, directly or not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cycle {
    /// The files of a shortest cycle. The first one is repeated at the end.
    pub(super) shortest: Vec<String>,
    /// The number of files in this cycle and in those that share files with it.
    pub(super) files: usize,
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files import each other: {}", self.files, self.shortest.join(" → "))
    }
}

/// Finds the groups of files that import each other.
pub(super) fn cycles(edges: &[Edge]) -> Vec<Cycle> {
    let mut graph = Graph::new();
    for edge in edges {
        graph.entry(&edge.from_file).or_default().insert(&edge.to_file);
    }
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for file in graph.keys().copied() {
        let group: BTreeSet<_> = reached(&graph, file)
            .into_iter()
            .filter(|one| reached(&graph, one).contains(file))
            .collect();
        if group.contains(file) && !group.iter().any(|one| seen.contains(one)) {
            let shortest = group.iter().filter_map(|one| back(&graph, one)).min_by_key(Vec::len);
            found.extend(shortest.map(|shortest| Cycle { shortest, files: group.len() }));
            seen.extend(group);
        }
    }
    found
}

/// Finds every file that `start` imports, directly or not.
fn reached<'a>(graph: &Graph<'a>, start: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = graph.get(start).into_iter().flatten().copied().collect();
    while let Some(file) = open.pop() {
        if let Some((&file, next)) = graph.get_key_value(file).filter(|_| !found.contains(file)) {
            found.insert(file);
            open.extend(next);
        }
    }
    found
}

/// Finds the shortest way from a file back to itself.
fn back(graph: &Graph<'_>, start: &str) -> Option<Vec<String>> {
    let mut open = VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(path) = open.pop_front() {
        for next in graph.get(path.last()?).into_iter().flatten().copied() {
            let longer = [path.as_slice(), &[next]].concat();
            if next == start {
                return Some(longer.into_iter().map(str::to_owned).collect());
            }
            if seen.insert(next) {
                open.push_back(longer);
            }
        }
    }
    None
}

/// Lists the imports that go from a module to one that is later in the order.
///
/// Modules that the order does not name, and names in it without a module, are listed as well.
/// The root may import everything, and no module may import from it.
pub(super) fn against_order(tree: &Tree, edges: &[Edge], order: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let root = &tree.modules[&Vec::new()];
    for name in root.children.iter().filter(|name| !order.contains(&name.as_str())) {
        found.push(format!("the module `{name}` is missing in the order of modules"));
    }
    for name in order.iter().filter(|name| !root.children.contains(**name)) {
        found.push(format!("the order names the module `{name}`, which does not exist"));
    }
    let place = |name: &String| order.iter().position(|one| one == name);
    for edge in edges {
        let Some(from) = edge.from.first() else { continue };
        let Some(to) = edge.to.first() else {
            found.push(format!("{edge}, the root, which no module may import from"));
            continue;
        };
        if let (Some(earlier), Some(later)) = (place(from), place(to))
            && earlier < later
        {
            found.push(format!("{edge}, but `{to}` comes after `{from}`"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structure::{imports, tree::files};

    fn edge(from: &str, to: &str) -> Edge {
        Edge {
            from: vec![from.to_owned()],
            to: vec![to.to_owned()],
            from_file: format!("{from}.rs"),
            to_file: format!("{to}.rs"),
            path: format!("crate::{to}::X"),
            line: 1,
        }
    }

    #[test]
    fn imports_in_one_direction_are_no_cycle() {
        assert!(cycles(&[edge("a", "b"), edge("b", "c"), edge("a", "c")]).is_empty());
    }

    #[test]
    fn each_group_of_files_that_import_each_other_is_named_by_its_shortest_cycle() {
        let edges = [
            ("start", "a"),
            ("a", "b"),
            ("b", "c"),
            ("c", "a"),
            ("c", "b"),
            ("x", "y"),
            ("y", "z"),
            ("z", "x"),
        ];
        let cycles = cycles(&edges.map(|(from, to)| edge(from, to)));
        assert_eq!(
            cycles.iter().map(Cycle::to_string).collect::<Vec<_>>(),
            [
                "3 files import each other: b.rs → c.rs → b.rs",
                "3 files import each other: x.rs → y.rs → z.rs → x.rs"
            ]
        );
    }

    fn refused(lib: &str, order: &[&str]) -> Vec<String> {
        let files = files([
            ("lib.rs", lib),
            ("error.rs", "use crate::client::Fairness;"),
            ("client/mod.rs", "mod fairness; pub use fairness::Fairness; use crate::error::Error;"),
            ("client/fairness.rs", "pub struct Fairness; use super::super::Root;"),
        ]);
        let tree = Tree::read("lib.rs", &files).unwrap();
        against_order(&tree, &imports::edges(&tree), order)
    }

    #[test]
    fn an_import_from_a_later_module_is_named_with_its_line_and_its_file() {
        let lib = "mod error; mod client; struct Root;";
        assert_eq!(
            refused(lib, &["error", "client"]),
            [
                "client/fairness.rs:1 `super::super::Root` is in lib.rs, the root, which no module \
                 may import from",
                "error.rs:1 `crate::client::Fairness` is in client/fairness.rs, but `client` comes \
                 after `error`"
            ]
        );
    }

    #[test]
    fn the_order_names_every_module_and_no_other() {
        let found = refused("mod error; mod client; pub use client::Root;", &["client", "clock"]);
        assert!(
            found.contains(&"the module `error` is missing in the order of modules".to_owned())
        );
        assert!(
            found.contains(&"the order names the module `clock`, which does not exist".to_owned())
        );
    }
}
