//! Finds the names that the items of one module import and mention, without tests.

use proc_macro2::{Spacing, TokenStream, TokenTree};
use syn::{
    Attribute, ImplItemFn, Item, ItemMacro, ItemMod, ItemUse, Macro, UseTree, VisRestricted,
    Visibility,
    spanned::Spanned,
    visit::{self, Visit},
};

/// One name of a `use` declaration.
#[derive(Debug)]
pub(super) struct Import {
    /// The name that it binds; `None` for a glob.
    pub(super) name: Option<String>,
    pub(super) path: Vec<String>,
    /// Whether other modules can use it, because it has a visibility of its own.
    pub(super) exported: bool,
    pub(super) line: usize,
}

/// A path that occurs in code.
#[derive(Debug)]
pub(super) struct Mention {
    pub(super) path: Vec<String>,
    pub(super) line: usize,
}

/// Collects what the items import and mention. Modules among them are left out.
pub(super) fn of(items: &[Item]) -> (Vec<Import>, Vec<Mention>) {
    let mut names = Names::default();
    items.iter().for_each(|item| names.visit_item(item));
    (names.imports, names.mentions)
}

/// Whether the attributes compile an item for tests only: `#[cfg(test)]`, `#[cfg(all(test, …))]`,
/// `#[test]`.
pub(super) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        if attribute.path().is_ident("test") {
            return true;
        }
        let Ok(list) = attribute.meta.require_list() else { return false };
        attribute.path().is_ident("cfg") && needs_test(list.tokens.clone())
    })
}

fn needs_test(condition: TokenStream) -> bool {
    let mut all = false;
    condition.into_iter().any(|token| match token {
        TokenTree::Ident(word) => {
            all = word == "all";
            word == "test"
        }
        TokenTree::Group(group) => all && needs_test(group.stream()),
        _ => false,
    })
}

/// Returns the attributes of an item of any kind.
pub(super) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The name that an item declares, if it has one.
pub(super) fn declared(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

/// Spells out every name of a `use` declaration.
pub(super) fn imports(item: &ItemUse) -> Vec<Import> {
    let mut found = Vec::new();
    if item.leading_colon.is_none() {
        let exported = !matches!(item.vis, Visibility::Inherited);
        expand(&item.tree, &mut Vec::new(), exported, &mut found);
    }
    found
}

fn expand(tree: &UseTree, before: &mut Vec<String>, exported: bool, found: &mut Vec<Import>) {
    let line = tree.span().start().line;
    let mut add = |name: Option<String>, path: Vec<String>| {
        found.push(Import { name, path, exported, line });
    };
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            expand(&path.tree, before, exported, found);
            before.pop();
        }
        UseTree::Name(name) if name.ident == "self" && !before.is_empty() => {
            add(before.last().cloned(), before.clone());
        }
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            add(Some(name.clone()), with(before, name));
        }
        UseTree::Rename(rename) if rename.ident == "self" && !before.is_empty() => {
            add(Some(rename.rename.to_string()), before.clone());
        }
        UseTree::Rename(rename) => {
            add(Some(rename.rename.to_string()), with(before, rename.ident.to_string()));
        }
        UseTree::Glob(_) => add(None, before.clone()),
        UseTree::Group(group) => {
            group.items.iter().for_each(|tree| expand(tree, before, exported, found));
        }
    }
}

fn with(before: &[String], name: String) -> Vec<String> {
    let mut path = before.to_vec();
    path.push(name);
    path
}

#[derive(Default)]
struct Names {
    imports: Vec<Import>,
    mentions: Vec<Mention>,
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.imports.extend(imports(item));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let line = path.span().start().line;
            let path = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.mentions.push(Mention { path, line });
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_item_macro(&mut self, item: &'ast ItemMacro) {
        // The body of `macro_rules!` is code of the places that use the macro.
        if item.ident.is_none() {
            visit::visit_item_macro(self, item);
        }
    }

    /// A module inside is another module of the tree.
    fn visit_item_mod(&mut self, _: &'ast ItemMod) {}

    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    /// `pub(in crate::a)` is no import.
    fn visit_vis_restricted(&mut self, _: &'ast VisRestricted) {}
}

impl Names {
    /// Finds the paths of two or more segments in the arguments of a macro.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(colon) if colon.as_char() == ':' && colons < 2 => {
                    let first = colons == 0 && colon.spacing() == Spacing::Joint;
                    colons = if first || colons == 1 { colons + 1 } else { 0 };
                    continue;
                }
                TokenTree::Ident(word) => {
                    if colons != 2 || path.is_empty() {
                        self.end(&mut path, line);
                        line = word.span().start().line;
                    }
                    path.push(word.to_string());
                }
                TokenTree::Group(group) => {
                    self.end(&mut path, line);
                    self.tokens(group.stream());
                }
                _ => self.end(&mut path, line),
            }
            colons = 0;
        }
        self.end(&mut path, line);
    }

    fn end(&mut self, path: &mut Vec<String>, line: usize) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.mentions.push(Mention { path, line });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str) -> Vec<Item> {
        syn::parse_file(text).unwrap().items
    }

    fn imported(text: &str) -> Vec<String> {
        let spell = |import: Import| {
            format!("{}={}", import.name.as_deref().unwrap_or("*"), import.path.join("::"))
        };
        of(&items(text)).0.into_iter().map(spell).collect()
    }

    fn mentioned(text: &str) -> Vec<String> {
        of(&items(text)).1.into_iter().map(|mention| mention.path.join("::")).collect()
    }

    #[test]
    fn every_name_of_a_use_declaration_is_spelt_out() {
        assert_eq!(
            imported("use crate::{a::{self, B as C}, d::*}; use ::redis::Client;"),
            ["a=crate::a", "C=crate::a::B", "*=crate::d"]
        );
    }

    #[test]
    fn a_use_declaration_inside_a_function_counts() {
        assert_eq!(imported("fn f() { use super::x::Y; }"), ["Y=super::x::Y"]);
    }

    #[test]
    fn what_only_tests_compile_is_left_out() {
        let text = "#[cfg(test)] use crate::a; #[cfg(all(unix, test))] fn f() { crate::b::c() } \
                    struct S; impl S { #[cfg(test)] fn g() { crate::d::e() } }";
        assert!(imported(text).is_empty());
        assert_eq!(mentioned(text), ["S"]);
        assert_eq!(mentioned("#[cfg(not(test))] fn f() { crate::b::c() }"), ["crate::b::c"]);
        assert_eq!(mentioned("#[cfg(any(test, unix))] fn f() { crate::b::c() }"), ["crate::b::c"]);
    }

    #[test]
    fn paths_are_found_in_types_code_and_the_arguments_of_macros() {
        let text =
            "pub(in crate::z) fn f(a: super::A) { select! { x = crate::b::c(self::d::E) => y } }";
        assert_eq!(mentioned(text), ["super::A", "select", "crate::b::c", "self::d::E"]);
    }

    #[test]
    fn the_body_of_macro_rules_is_left_out() {
        assert!(mentioned("macro_rules! m { () => { crate::a::b() } }").is_empty());
    }
}
