//! Every law and bug that code, tests and documents cite is in the catalogue.

#![cfg_attr(
    not(test),
    expect(dead_code, reason = "for `cargo xtask check`, once LAWS.md is the catalogue")
)]

use std::collections::{BTreeMap, BTreeSet};

/// Lists, with file and line, every citation of a law or bug that the catalogue lacks, and every
/// entry that the catalogue has twice.
///
/// An entry is a heading or the first cell of a table's row that begins with an identifier: `E1`,
/// or `B-L4` for a bug of another project. Citations are
///
/// * `law E2` and `laws E2, E3 and T1`,
/// * identifiers alone in parentheses, `(E2)` or `(E2, B-L4)`,
/// * `B-L4` anywhere,
/// * the beginning of a function's name, `e2_u1_…`, `b_l4_…` or `b_row_26_…`. `row_26_…` cites nothing
///   that could be in the catalogue.
pub(super) fn unknown(catalogue: &str, texts: &BTreeMap<String, String>) -> Vec<String> {
    let mut entries = BTreeSet::new();
    let mut found = Vec::new();
    for (number, entry) in (1..).zip(catalogue.lines().map(entry)) {
        if let Some(entry) = entry.filter(|entry| !entries.insert(*entry)) {
            found.push(format!("the catalogue, line {number}: {entry} has an entry already"));
        }
    }
    for (file, text) in texts {
        for (number, line) in (1..).zip(text.lines()) {
            let cited: BTreeSet<_> = in_prose(line).into_iter().chain(in_name(line)).collect();
            let missing = cited.iter().filter(|id| !entries.contains(id.as_str()));
            found
                .extend(missing.map(|id| format!("{file}:{number}: {id} is not in the catalogue")));
        }
    }
    found
}

/// The identifier of an entry that begins in this line.
fn entry(line: &str) -> Option<&str> {
    let text = line.strip_prefix('|').or_else(|| line.strip_prefix('#'))?;
    words(text.trim_start_matches('#').split('|').next()?).next().filter(|word| is_id(word))
}

/// The words of a text, without the signs around them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let sign = |letter: char| !letter.is_ascii_alphanumeric() && letter != '-';
    text.split(sign).filter(|word| !word.is_empty())
}

/// Whether a word is a law (`E1`, a capital and one or two digits) or a bug (`B-…`).
fn is_id(word: &str) -> bool {
    is_bug(word) || is_law(word)
}

fn is_law(word: &str) -> bool {
    let mut letters = word.chars();
    let first = letters.next().is_some_and(|letter| letter.is_ascii_uppercase());
    first && (2..=3).contains(&word.len()) && letters.all(|letter| letter.is_ascii_digit())
}

fn is_bug(word: &str) -> bool {
    let Some(name) = word.strip_prefix("B-") else { return false };
    let capital = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit();
    name.ends_with(|letter: char| letter.is_ascii_digit())
        && name.split('-').all(|part| !part.is_empty() && part.chars().all(capital))
}

fn in_prose(line: &str) -> Vec<String> {
    let mut found: Vec<&str> = words(line).filter(|word| is_bug(word)).collect();
    for inside in line.split('(').skip(1).filter_map(|rest| rest.split(')').next()) {
        if words(inside).all(is_id) {
            found.extend(words(inside));
        }
    }
    let mut law = false;
    for word in words(line) {
        law = match word {
            "law" | "laws" | "Law" | "Laws" => true,
            "and" | "or" => law,
            id if is_id(id) => {
                found.extend(law.then_some(id));
                law
            }
            _ => false,
        };
    }
    found.into_iter().map(str::to_owned).collect()
}

/// What the name of a function cites, if the line declares one.
fn in_name(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let Some((before, rest)) = line.split_once("fn ") else { return found };
    if before.contains("//") || before.ends_with(|letter: char| letter.is_alphanumeric()) {
        return found;
    }
    let name = rest.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').next();
    let mut parts: &[_] = &name.unwrap_or_default().split('_').collect::<Vec<_>>();
    while let [first, rest @ ..] = parts {
        let number =
            |part: &str| !part.is_empty() && part.bytes().all(|sign| sign.is_ascii_digit());
        let (id, left) = match (*first, rest) {
            ("b", [name, id, left @ ..]) if number(id) => (format!("b-{name}-{id}"), left),
            // The row of a table, without a prefix that says which.
            ("row" | "rows", [id, left @ ..]) if number(id) => (format!("row-{id}"), left),
            ("b", [name, left @ ..]) if is_law(&name.to_uppercase()) => (format!("b-{name}"), left),
            // A type, as in `f64_from`.
            ("f32" | "f64" | "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64", _) => {
                break;
            }
            (first, left) if is_law(&first.to_uppercase()) => (first.to_owned(), left),
            _ => break,
        };
        found.push(id.to_uppercase());
        parts = left;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const CATALOGUE: &str = "\
# Laws

### E1 exclusion
### `E2`: a repetition

| law | promise |
|---|---|
| **G1 validity** | see E9 |
| B-L4 | |
| B-ROW-26 | |
";

    /// What is unknown in one text, without file and line.
    fn unknown_in(text: &str) -> Vec<String> {
        let texts = BTreeMap::from([("a.rs".to_owned(), text.to_owned())]);
        let strip = |line: String| {
            let line = line.strip_suffix(" is not in the catalogue").unwrap().to_owned();
            line.rsplit(' ').next().unwrap().to_owned()
        };
        unknown(CATALOGUE, &texts).into_iter().map(strip).collect()
    }

    #[test]
    fn entries_are_headings_and_first_cells() {
        assert!(unknown_in("laws E1, E2 and G1; B-L4, B-ROW-26").is_empty());
        assert_eq!(unknown_in("law E9"), ["E9"]);
    }

    #[test]
    fn an_unknown_citation_is_named_with_file_and_line() {
        let texts = BTreeMap::from([("a.md".to_owned(), "one\nas law W5 says\n".to_owned())]);
        assert_eq!(unknown(CATALOGUE, &texts), ["a.md:2: W5 is not in the catalogue"]);
    }

    #[test]
    fn citations_in_prose_are_found() {
        assert_eq!(unknown_in("/// Laws W1, E1 and W2 hold."), ["W1", "W2"]);
        assert_eq!(unknown_in("// told (W4) or (E1, W9), not (a W8)"), ["W4", "W9"]);
        assert_eq!(unknown_in("the bug B-P3, the row B-ROW-27."), ["B-P3", "B-ROW-27"]);
        assert!(unknown_in("the law of E9; S8, I1 and I2; B-tree, B-; (UTF8); ()").is_empty());
    }

    #[test]
    fn citations_in_the_names_of_functions_are_found() {
        assert_eq!(unknown_in("    async fn e1_w5_a_lock_is_held() {"), ["W5"]);
        assert_eq!(unknown_in("pub fn l15_a_release_fails<T>()"), ["L15"]);
        assert_eq!(unknown_in("fn b_p3_a_queue()"), ["B-P3"]);
        assert_eq!(unknown_in("fn b_row_27_ends()"), ["B-ROW-27"]);
        assert_eq!(unknown_in("fn row_26_ends()"), ["ROW-26"]);
        assert!(unknown_in("fn e2_b_l4_b_row_26_e1() {}").is_empty());
        assert!(unknown_in("fn f64_from(); // fn w5_x").is_empty());
        assert!(unknown_in("fn a_lock_w5_is() {}").is_empty());
    }

    #[test]
    fn an_entry_that_is_there_twice_is_named() {
        assert_eq!(
            unknown("## E1\n| E1 | x |\n", &BTreeMap::new()),
            ["the catalogue, line 2: E1 has an entry already"]
        );
    }
}
