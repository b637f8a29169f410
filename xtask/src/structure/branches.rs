//! Counts the branches of each function.

use std::cmp::Reverse;

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    BinOp, Block, Expr, ImplItemFn, Item, ItemFn, ItemImpl, ItemTrait, Macro, TraitItemFn, Type,
    visit::{self, Visit},
};

use super::{names, tree::Tree};

/// One function and its branches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) branches: usize,
    /// Its name, after that of its type if it has one.
    pub(super) name: String,
    pub(super) file: String,
}

impl std::fmt::Display for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` in {} has {} branches", self.name, self.file, self.branches)
    }
}

/// Lists the functions of a crate without its tests. Those with the most branches come first.
///
/// `if`, `while`, `for`, `loop`, `&&`, `||` and every arm of a `match` after the first count as one
/// each; `?` does not. The branches of a closure count for its function.
pub(super) fn functions(tree: &Tree) -> Vec<Function> {
    let mut all = Vec::new();
    for (file, parsed) in &tree.files {
        let mut functions = Functions { file, owner: String::new(), found: Vec::new() };
        functions.visit_file(parsed);
        all.extend(functions.found);
    }
    all.sort_by_key(|function| Reverse(function.branches));
    all
}

struct Functions<'a> {
    file: &'a str,
    /// The type or trait around it, followed by `::`.
    owner: String,
    found: Vec<Function>,
}

impl Functions<'_> {
    fn function(&mut self, name: &syn::Ident, body: &Block) {
        let mut branches = Branches(0);
        branches.visit_block(body);
        let name = format!("{}{name}", self.owner);
        self.found.push(Function { branches: branches.0, name, file: self.file.to_owned() });
    }

    fn inside(&mut self, owner: String, visit: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.owner, format!("{owner}::"));
        visit(self);
        self.owner = before;
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !names::is_test(names::attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.function(&item.sig.ident, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let owner = match &*item.self_ty {
            Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
            _ => None,
        };
        self.inside(owner.unwrap_or_default(), |all| visit::visit_item_impl(all, item));
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        self.inside(item.ident.to_string(), |all| visit::visit_item_trait(all, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if !names::is_test(&item.attrs) {
            self.function(&item.sig.ident, &item.block);
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(body) = &item.default {
            self.function(&item.sig.ident, body);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

struct Branches(usize);

impl<'ast> Visit<'ast> for Branches {
    fn visit_expr(&mut self, expr: &'ast Expr) {
        self.0 += match expr {
            Expr::If(_) | Expr::While(_) | Expr::ForLoop(_) | Expr::Loop(_) => 1,
            Expr::Match(expr) => expr.arms.len().saturating_sub(1),
            Expr::Binary(expr) => matches!(expr.op, BinOp::And(_) | BinOp::Or(_)).into(),
            _ => 0,
        };
        visit::visit_expr(self, expr);
    }

    /// An item inside a function counts by itself.
    fn visit_item(&mut self, _: &'ast Item) {}

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.0 += in_tokens(call.tokens.clone());
    }
}

/// Counts the branches in the arguments of a macro, such as the arms of `select!`.
fn in_tokens(tokens: TokenStream) -> usize {
    let mut branches = 0;
    let mut arms = 0;
    // Whether a value comes before: without one, `||` opens a closure.
    let mut value = false;
    let mut last = ' ';
    for token in tokens {
        match token {
            TokenTree::Ident(word) => {
                let word = word.to_string();
                branches += usize::from(["if", "while", "for", "loop"].contains(&word.as_str()));
                value = !["if", "while", "in", "match", "move", "return"].contains(&word.as_str());
                last = ' ';
            }
            TokenTree::Group(group) => {
                branches += in_tokens(group.stream());
                (value, last) = (true, ' ');
            }
            TokenTree::Literal(_) => (value, last) = (true, ' '),
            TokenTree::Punct(sign) => {
                let sign = sign.as_char();
                match (last, sign) {
                    ('=', '>') => arms += 1,
                    ('&', '&') | ('|', '|') if value => branches += 1,
                    _ => {}
                }
                let first = matches!(sign, '&' | '|') && last != sign;
                value = (value && first) || sign == '?';
                last = if first || sign == '=' { sign } else { ' ' };
            }
        }
    }
    branches + usize::saturating_sub(arms, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structure::tree::files;

    fn counted(text: &str) -> Vec<(usize, String)> {
        let tree = Tree::read("lib.rs", &files([("lib.rs", text)])).unwrap();
        functions(&tree).into_iter().map(|one| (one.branches, one.name)).collect()
    }

    fn branches(body: &str) -> usize {
        counted(&format!("fn f() {{ {body} }}"))[0].0
    }

    #[test]
    fn every_kind_of_branch_counts_and_the_question_mark_does_not() {
        assert_eq!(branches("a()?; b()?; 1"), 0);
        assert_eq!(branches("if a { 1 } else if b { 2 } else { 3 }"), 2);
        assert_eq!(branches("if a && b || c { 1 }"), 3);
        assert_eq!(branches("if let Some(a) = b && a { 1 }"), 2);
        assert_eq!(branches("match a { 1 => 2, 2 => 3, _ => 4 }"), 2);
        assert_eq!(branches("match a {}"), 0);
        assert_eq!(branches("for a in b { while c { loop {} } }"), 3);
        assert_eq!(branches("a.map(|b| if b { 1 } else { 2 });"), 1);
    }

    #[test]
    fn branches_in_the_arguments_of_macros_count() {
        assert_eq!(branches("select! { _ = a => 1, () = b, if c => 2, d = e => match d {} }"), 3);
        assert_eq!(branches("assert!(a && b || c(), \"no\");"), 2);
        assert_eq!(branches("assert!(&a == b && a? || b);"), 2);
        assert_eq!(branches("call!(move || 1, || 2, a | b, &&c);"), 0);
    }

    #[test]
    fn functions_are_named_with_their_types_and_sorted_and_tests_are_left_out() {
        let text = "struct A; impl A { fn f() {} #[cfg(test)] fn g() { if a {} } } \
                    trait T { fn h() { if a {} } fn i(); } \
                    fn outer() { fn inner() { if a { if b {} } } } \
                    #[cfg(test)] mod tests { fn t() { if a {} } }";
        let names = [(2, "inner"), (1, "T::h"), (0, "A::f"), (0, "outer")];
        assert_eq!(counted(text), names.map(|(count, name)| (count, name.to_owned())));
    }
}
