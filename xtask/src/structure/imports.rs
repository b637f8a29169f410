//! Finds which files of a crate import from which. Every re-export is followed to what it exports.

use super::tree::{Module, ModulePath, Tree};

/// More steps than any chain of re-exports has. Circular chains are cut here.
const STEPS: usize = 16;

/// One module needs what another one declares.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub(super) from: ModulePath,
    pub(super) to: ModulePath,
    pub(super) from_file: String,
    pub(super) to_file: String,
    pub(super) line: usize,
    /// The path as written.
    pub(super) path: String,
}

impl std::fmt::Display for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{} `{}` is in {}", self.from_file, self.line, self.path, self.to_file)
    }
}

/// Lists the imports of a crate, one for each pair of modules. The import of a whole module does
/// not count, but each use of its items does.
pub(super) fn edges(tree: &Tree) -> Vec<Edge> {
    let mut edges = Vec::new();
    for (from, module) in &tree.modules {
        let imports = module.imports.iter().filter_map(|import| {
            let (to, whole) = target(tree, &absolute(tree, from, &import.path, 0)?, 0)?;
            let offers = import.exported && to.starts_with(from);
            (!offers && (!whole || import.name.is_none())).then_some((
                &import.path,
                import.line,
                to,
            ))
        });
        let mentions = module.mentions.iter().filter_map(|mention| {
            let (to, whole) = target(tree, &absolute(tree, from, &mention.path, 0)?, 0)?;
            (!whole).then_some((&mention.path, mention.line, to))
        });
        for (path, line, to) in imports.chain(mentions) {
            let to_file = &tree.modules[&to].file;
            if to_file != &module.file {
                edges.push(Edge {
                    from: from.clone(),
                    from_file: module.file.clone(),
                    to_file: to_file.clone(),
                    path: path.join("::"),
                    to,
                    line,
                });
            }
        }
    }
    edges.sort();
    edges.dedup_by(|next, edge| (&next.from, &next.to) == (&edge.from, &edge.to));
    edges
}

/// Spells a path from the root of the crate; `None` if it leads to another crate, or to nothing.
fn absolute(tree: &Tree, at: &[String], path: &[String], step: usize) -> Option<ModulePath> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([at, rest].concat()),
        "super" => {
            let (_, mut above) = at.split_last()?;
            let mut rest = rest;
            while let Some((_, more)) = rest.split_first().filter(|(word, _)| *word == "super") {
                (_, above) = above.split_last()?;
                rest = more;
            }
            Some([above, rest].concat())
        }
        name => {
            let module = tree.modules.get(at)?;
            if module.children.contains(name) {
                return Some([at, path].concat());
            }
            let import = imported(module, name).filter(|_| step < STEPS)?;
            let start = absolute(tree, at, import, step + 1)?;
            Some([start.as_slice(), rest].concat())
        }
    }
}

fn imported<'a>(module: &'a Module, name: &str) -> Option<&'a [String]> {
    let mut imports = module.imports.iter();
    let import = imports.find(|import| import.name.as_deref() == Some(name))?;
    Some(&import.path)
}

/// Finds the module that declares what a path from the root names, and whether it names the whole
/// module.
fn target(tree: &Tree, path: &[String], step: usize) -> Option<(ModulePath, bool)> {
    let mut depth = 0;
    let mut module = tree.modules.get(&path[..0])?;
    while path.get(depth).is_some_and(|name| module.children.contains(name)) {
        depth += 1;
        module = tree.modules.get(&path[..depth])?;
    }
    let (at, rest) = path.split_at(depth);
    let Some(name) = rest.first() else { return Some((at.to_vec(), true)) };
    let here = Some((at.to_vec(), false));
    if module.declared.contains(name) || step == STEPS {
        return here;
    }
    if let Some(import) = imported(module, name) {
        let Some(start) = absolute(tree, at, import, 0).filter(|start| start != path) else {
            return here;
        };
        return target(tree, &[&start, &rest[1..]].concat(), step + 1).or(here);
    }
    let globs = module.imports.iter().filter(|import| import.name.is_none());
    let mut behind = globs.filter_map(|glob| {
        let start = absolute(tree, at, &glob.path, 0)?;
        let (to, _) = target(tree, &[&start, rest].concat(), step + 1)?;
        tree.modules[&to].declared.contains(name).then_some((to, false))
    });
    behind.next().or(here)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structure::tree::files;

    fn found<const N: usize>(texts: [(&str, &str); N]) -> Vec<String> {
        let tree = Tree::read("lib.rs", &files(texts)).unwrap();
        let mut found: Vec<_> = edges(&tree)
            .into_iter()
            .map(|edge| format!("{} -> {}", edge.from_file, edge.to_file))
            .collect();
        found.dedup();
        found
    }

    #[test]
    fn an_import_through_a_re_export_leads_to_what_is_exported() {
        assert_eq!(
            found([
                ("lib.rs", "mod a; mod b; pub use a::Thing;"),
                ("a/mod.rs", "mod thing; pub use self::thing::Thing;"),
                ("a/thing.rs", "pub struct Thing;"),
                ("b.rs", "use crate::a::Thing; fn f() -> crate::Thing { Thing }"),
            ]),
            ["b.rs -> a/thing.rs"]
        );
    }

    #[test]
    fn a_glob_re_export_is_followed_too() {
        assert_eq!(
            found([
                ("lib.rs", "mod a; mod b;"),
                ("a/mod.rs", "mod thing; mod other; pub use other::*; pub use thing::*;"),
                ("a/thing.rs", "pub struct Thing;"),
                ("a/other.rs", ""),
                ("b.rs", "use crate::a::Thing;"),
            ]),
            ["b.rs -> a/thing.rs"]
        );
    }

    #[test]
    fn neither_a_declaration_nor_a_re_export_of_a_child_is_an_import_but_its_use_is() {
        let child = ("a/b.rs", "pub struct B; pub fn f() {}");
        let root = ("lib.rs", "mod a;");
        assert!(found([root, child, ("a/mod.rs", "mod b; pub use b::B;")]).is_empty());
        for text in [
            "mod b; use b::B;",
            "mod b; fn g() { b::f() }",
            "mod b; pub use b::B; fn g(_: B) {}",
            "mod b; use self::b as c; fn g() { c::f() }",
        ] {
            assert_eq!(found([root, child, ("a/mod.rs", text)]), ["a/mod.rs -> a/b.rs"], "{text}");
        }
    }

    #[test]
    fn super_self_and_modules_that_are_imported_whole_are_followed() {
        assert_eq!(
            found([
                ("lib.rs", "mod a; mod b;"),
                ("a/mod.rs", "mod c; mod d; struct A;"),
                ("a/c.rs", "use super::super::b; fn f() { b::g() }"),
                ("a/d.rs", "use super::A; use super::c;"),
                ("b.rs", "pub fn g() {}"),
            ]),
            ["a/c.rs -> b.rs", "a/d.rs -> a/mod.rs"]
        );
    }

    #[test]
    fn other_crates_and_names_that_nobody_declares_are_no_imports() {
        assert!(
            found([
                ("lib.rs", "mod redis; mod b;"),
                ("redis.rs", "use redis::{self, Client}; fn f() { redis::run() }"),
                (
                    "b.rs",
                    "use ::redis::Client; use std::fmt; fn g() -> fmt::Result { std::mem::take() }"
                ),
            ])
            .is_empty()
        );
    }
}
