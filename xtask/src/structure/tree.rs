//! The modules of one crate: the file of each, and what it declares, imports and mentions.

use std::collections::{BTreeMap, BTreeSet};

use syn::Item;

use super::names::{self, Import, Mention};
use crate::run::Result;

/// The segments of a module's path below the crate; empty for the root.
pub(super) type ModulePath = Vec<String>;

/// Every module of a crate that is compiled without its tests.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) modules: BTreeMap<ModulePath, Module>,
    /// The parsed files by their paths, without those that only tests compile.
    pub(super) files: BTreeMap<String, syn::File>,
}

#[derive(Debug, Default)]
pub(super) struct Module {
    pub(super) file: String,
    pub(super) children: BTreeSet<String>,
    /// The items it declares, without modules and imports.
    pub(super) declared: BTreeSet<String>,
    pub(super) imports: Vec<Import>,
    pub(super) mentions: Vec<Mention>,
}

impl Tree {
    /// Follows the `mod` declarations from the root file, such as `lock-core/src/lib.rs`, through
    /// `files`, the texts by path.
    ///
    /// # Errors
    ///
    /// A file is missing or does not parse.
    pub(super) fn read(root: &str, files: &BTreeMap<String, String>) -> Result<Self> {
        let mut tree = Self::default();
        let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
        tree.file(files, Vec::new(), root, folder)?;
        Ok(tree)
    }

    fn file(
        &mut self,
        files: &BTreeMap<String, String>,
        path: ModulePath,
        file: &str,
        folder: &str,
    ) -> Result {
        let text = files.get(file).ok_or_else(|| format!("there is no {file}"))?;
        let parsed = syn::parse_file(text).map_err(|error| {
            format!("cannot parse {file}, line {}: {error}", error.span().start().line)
        })?;
        self.module(files, path, file, folder, &parsed.items)?;
        self.files.insert(file.to_owned(), parsed);
        Ok(())
    }

    /// Adds a module and those it declares; `folder` is where the files of its children are.
    fn module(
        &mut self,
        files: &BTreeMap<String, String>,
        path: ModulePath,
        file: &str,
        folder: &str,
        items: &[Item],
    ) -> Result {
        let (imports, mentions) = names::of(items);
        let mut module = Module { file: file.to_owned(), imports, mentions, ..Module::default() };
        for item in items.iter().filter(|item| !names::is_test(names::attributes(item))) {
            let Item::Mod(child) = item else {
                module.declared.extend(names::declared(item));
                continue;
            };
            let name = child.ident.to_string();
            let inside = join(folder, &name);
            let below = [path.as_slice(), std::slice::from_ref(&name)].concat();
            module.children.insert(name);
            match &child.content {
                Some((_, items)) => self.module(files, below, file, &inside, items)?,
                None => {
                    let flat = format!("{inside}.rs");
                    let nested = format!("{inside}/mod.rs");
                    let file = if files.contains_key(&flat) { flat } else { nested };
                    self.file(files, below, &file, &inside)?;
                }
            }
        }
        self.modules.insert(path, module);
        Ok(())
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Makes the map of files that [`Tree::read`] wants from pairs.
#[cfg(test)]
pub(super) fn files<const N: usize>(texts: [(&str, &str); N]) -> BTreeMap<String, String> {
    texts.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(tree: &Tree) -> Vec<String> {
        tree.modules.keys().map(|path| path.join("::")).collect()
    }

    #[test]
    fn modules_are_followed_into_both_kinds_of_file_and_into_braces() {
        let files = files([
            ("x/src/lib.rs", "mod a; mod b { mod c; }"),
            ("x/src/a/mod.rs", "mod deep; struct A;"),
            ("x/src/a/deep.rs", ""),
            ("x/src/b/c.rs", ""),
        ]);
        let tree = Tree::read("x/src/lib.rs", &files).unwrap();
        assert_eq!(paths(&tree), ["", "a", "a::deep", "b", "b::c"]);
        assert_eq!(tree.modules[&vec!["b".to_owned()]].file, "x/src/lib.rs");
        assert!(tree.modules[&vec!["a".to_owned()]].declared.contains("A"));
    }

    #[test]
    fn modules_of_tests_are_left_out() {
        let files =
            files([("lib.rs", "#[cfg(test)] mod tests; #[cfg(all(test, unix))] mod more {}")]);
        assert_eq!(paths(&Tree::read("lib.rs", &files).unwrap()), [""]);
    }

    #[test]
    fn a_missing_file_and_a_broken_one_are_named() {
        let missing = Tree::read("lib.rs", &files([("lib.rs", "mod a;")])).err().unwrap();
        assert_eq!(missing, "there is no a/mod.rs");
        let broken = Tree::read("lib.rs", &files([("lib.rs", "\nstruct {")])).err().unwrap();
        assert!(broken.starts_with("cannot parse lib.rs, line 2"), "{broken}");
    }
}
