//! Prints figures to compare before and after a restructuring.

use std::{collections::BTreeMap, fs};

use syn::{Item, TraitItem, Visibility, spanned::Spanned};

use super::{
    LIMIT, MODULE_ORDERS,
    branches::{self, Function},
    files,
    graph::{self, Cycle},
    imports, names, sentences, sources,
    tree::Tree,
};
use crate::run::Result;

/// The traits that every backend implements.
const TRAITS: [&str; 2] = ["Lock", "LockProvider"];

/// The number of functions that are listed per crate.
const WORST: usize = 5;

/// Prints every figure as Markdown.
pub(crate) fn figures() -> Result {
    let crates = sources()?;
    println!("| figure | value |\n|---|---|");
    for (name, files, tree) in crates.iter().filter(|(name, ..)| name == "lock-core") {
        for (figure, value) in core(name, files, tree)? {
            println!("| {figure} | {value} |");
        }
    }
    for (name, _, tree) in &crates {
        let edges = imports::edges(tree);
        let cycles: Vec<_> = graph::cycles(&edges).iter().map(Cycle::to_string).collect();
        println!("| {name}: import cycles | {} |", listed(&cycles));
        if let Some((_, order)) = MODULE_ORDERS.iter().find(|(one, _)| one == name) {
            let against = graph::against_order(tree, &edges, order);
            println!("| {name}: findings against the order of its modules | {} |", against.len());
        }
    }
    let silent = files::rust(".")?;
    println!("| files without an opening sentence | {} |", listed(&sentences::missing(&silent)));

    println!("\n| crate | functions over {LIMIT} branches | the worst |\n|---|---|---|");
    for (name, _, tree) in &crates {
        let functions = branches::functions(tree);
        let over = functions.iter().filter(|one| one.branches > LIMIT).count();
        let worst = functions.iter().take(WORST);
        let worst: Vec<_> =
            worst.map(|Function { branches, name, .. }| format!("{name} {branches}")).collect();
        println!("| {name} | {over} | {} |", worst.join(", "));
    }
    Ok(())
}

/// Writes the number of names, and the names.
fn listed(all: &[impl AsRef<str>]) -> String {
    let names: Vec<_> = all.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    if names.is_empty() { "0".to_owned() } else { format!("{}: {}", names.len(), names.join("; ")) }
}

/// Computes the figures that only the core has.
fn core(
    name: &str,
    files: &BTreeMap<String, String>,
    tree: &Tree,
) -> Result<Vec<(String, String)>> {
    let lines = |text: &String| text.lines().count();
    let all: usize = files.values().map(lines).sum();
    let shipped: usize = tree.files.keys().filter_map(|file| files.get(file)).map(lines).sum();
    let inline: usize = tree.files.values().map(|file| test_lines(&file.items)).sum();
    let tests: usize = files::rust(&format!("{name}/tests"))?.values().map(lines).sum();
    let readme = fs::read_to_string(format!("{name}/README.md"))
        .map_err(|error| format!("cannot read {name}/README.md: {error}"))?;

    let mut figures = vec![
        (format!("{name}/src: lines"), all.to_string()),
        (format!("{name}/src: lines without tests"), (shipped - inline).to_string()),
        (format!("{name}/tests: lines"), tests.to_string()),
    ];
    for name in TRAITS {
        let methods = tree.files.values().find_map(|file| required(&file.items, name));
        let methods = methods.ok_or_else(|| format!("there is no trait {name}"))?;
        figures.push((format!("required methods of `{name}`"), listed(&methods)));
    }
    let root = tree.files.iter().find(|(path, _)| path.ends_with("/src/lib.rs"));
    let public = root.map(|(_, file)| public_names(&file.items)).unwrap_or_default();
    figures.push((format!("public names at the root of {name}"), public.len().to_string()));
    let examples = files.values().map(|text| examples(&docs(text))).sum::<usize>();
    figures
        .push((format!("doc examples of {name}"), (examples + examples_in(&readme)).to_string()));
    Ok(figures)
}

fn examples_in(document: &str) -> usize {
    examples(&document.lines().collect::<Vec<_>>())
}

/// Counts the lines of items that only tests compile. Modules in files of their own do not count.
fn test_lines(items: &[Item]) -> usize {
    let lines = |item: &Item| {
        let span = item.span();
        span.end().line + 1 - span.start().line
    };
    let tests = items.iter().filter(|item| names::is_test(names::attributes(item)));
    tests.map(lines).sum()
}

/// Lists the methods of a trait that have no default.
fn required(items: &[Item], name: &str) -> Option<Vec<String>> {
    let found = items.iter().find_map(|item| match item {
        Item::Trait(found) if found.ident == name => Some(found),
        _ => None,
    })?;
    let methods = found.items.iter().filter_map(|item| match item {
        TraitItem::Fn(method) if method.default.is_none() => Some(method.sig.ident.to_string()),
        _ => None,
    });
    Some(methods.collect())
}

/// Lists the public names at the root of a crate. A glob counts as one name.
fn public_names(items: &[Item]) -> Vec<String> {
    let mut found = Vec::new();
    for item in items.iter().filter(|item| !is_hidden(item)) {
        match item {
            Item::Use(item) if is_public(&item.vis) => {
                let imports = names::imports(item).into_iter();
                found.extend(imports.map(|import| import.name.unwrap_or_else(|| "*".to_owned())));
            }
            Item::Mod(item) if is_public(&item.vis) => found.push(item.ident.to_string()),
            Item::Const(syn::ItemConst { vis, .. })
            | Item::Enum(syn::ItemEnum { vis, .. })
            | Item::Fn(syn::ItemFn { vis, .. })
            | Item::Static(syn::ItemStatic { vis, .. })
            | Item::Struct(syn::ItemStruct { vis, .. })
            | Item::Trait(syn::ItemTrait { vis, .. })
            | Item::Type(syn::ItemType { vis, .. })
                if is_public(vis) =>
            {
                found.extend(names::declared(item));
            }
            _ => {}
        }
    }
    found
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Whether an item is `#[doc(hidden)]`.
fn is_hidden(item: &Item) -> bool {
    names::attributes(item).iter().any(|attribute| {
        let list = attribute.meta.require_list();
        attribute.path().is_ident("doc")
            && list.is_ok_and(|list| list.tokens.to_string() == "hidden")
    })
}

/// Returns the lines of the doc comments of a source file.
fn docs(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim_start);
    lines.filter_map(|line| line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))).collect()
}

/// Counts the code blocks that rustdoc compiles.
fn examples(lines: &[&str]) -> usize {
    let mut fences = lines.iter().filter_map(|line| line.trim().strip_prefix("```"));
    let mut found = 0;
    while let Some(open) = fences.next() {
        let foreign =
            ["text", "toml", "sh", "sql", "lua", "json"].iter().any(|word| open.starts_with(word));
        found += usize::from(!foreign);
        fences.next();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str) -> Vec<Item> {
        syn::parse_file(text).unwrap().items
    }

    #[test]
    fn names_at_the_root_are_what_a_user_sees() {
        let text = "pub use a::{B, c as D}; pub(crate) use a::E; mod f; pub mod g; pub struct H; \
                    #[doc(hidden)] pub mod i; pub fn j() {} pub use k::*;";
        assert_eq!(public_names(&items(text)), ["B", "D", "g", "H", "j", "*"]);
    }

    #[test]
    fn methods_without_a_default_are_required() {
        let text = "trait A { fn b(&self); fn c(&self) {} const D: u8; }";
        assert_eq!(required(&items(text), "A"), Some(vec!["b".to_owned()]));
        assert_eq!(required(&items(text), "B"), None);
    }

    #[test]
    fn lines_of_tests_are_those_of_their_items() {
        assert_eq!(test_lines(&items("fn a() {}\n\n#[cfg(test)]\nmod tests {\n}\nfn b() {}\n")), 3);
    }

    #[test]
    fn examples_are_the_blocks_that_are_compiled() {
        let text =
            "/// ```\n/// a\n/// ```\n    //! ```no_run\n    //! ```\n/// ```text\n/// ```\n";
        assert_eq!(examples(&docs(text)), 2);
    }
}
