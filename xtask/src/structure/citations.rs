//! Code, tests and documents cite only laws, bugs and faults of the catalogue, and a test cites
//! each of them.

use std::collections::{BTreeMap, BTreeSet};

/// Lists, with file and line: citations that the catalogue lacks, entries that it has twice, and
/// entries that no function's name cites.
///
/// An entry is a heading or the first cell of a table's row that begins with an identifier: a law
/// `E1`, a bug of another library `B-L4`, or a fault `R-31`. Citations are
///
/// * `law E2` and `laws E2, E3 and T1`,
/// * identifiers alone in parentheses, `(E2)` or `(E2, B-L4)`,
/// * `B-L4` and `R-31` anywhere, and every identifier in the catalogue itself,
/// * the beginning of a function's name, as in `e2_u1_bl4_r31_…`.
///
/// `bug L4` and `row_31_…` are citations too, but of nothing that the catalogue can have.
pub(super) fn wrong(
    (file, catalogue): (&str, &str),
    texts: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut entries = BTreeMap::new();
    let mut found = Vec::new();
    for (number, line) in (1..).zip(catalogue.lines()) {
        let Some(entry) = entry(line) else { continue };
        if entries.insert(entry, number).is_some() {
            found.push(format!("{file}:{number}: {entry} has an entry already"));
        }
    }
    let mut shown = BTreeSet::new();
    let mut check = |file: &str, number: usize, cited: BTreeSet<String>| {
        let missing = cited.into_iter().filter(|id| !entries.contains_key(id.as_str()));
        found.extend(missing.map(|id| format!("{file}:{number}: {id} is not in the catalogue")));
    };
    for (number, line) in (1..).zip(catalogue.lines()) {
        check(file, number, words(line).filter(|word| is_id(word)).map(str::to_owned).collect());
    }
    for (file, text) in texts {
        for (number, line) in (1..).zip(text.lines()) {
            let named = in_name(line);
            shown.extend(named.iter().cloned());
            check(file, number, in_prose(line).into_iter().chain(named).collect());
        }
    }
    let hidden = entries.iter().filter(|(id, _)| !shown.contains(**id));
    found.extend(hidden.map(|(id, number)| format!("{file}:{number}: no test's name cites {id}")));
    found
}

/// Finds the identifier of the entry that begins in this line.
fn entry(line: &str) -> Option<&str> {
    let text = line.strip_prefix('|').or_else(|| line.strip_prefix('#'))?;
    words(text.trim_start_matches('#').split('|').next()?).next().filter(|word| is_id(word))
}

/// Splits a text into words, without the signs around them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let sign = |letter: char| !letter.is_ascii_alphanumeric() && letter != '-';
    text.split(sign).filter(|word| !word.is_empty())
}

fn is_id(word: &str) -> bool {
    is_law(word) || is_bug(word) || is_fault(word)
}

/// Whether a word is a capital and one or two digits. The letters of bugs and faults name no law,
/// so that `b1` and `r1` in a name have one meaning.
fn is_law(word: &str) -> bool {
    is_numbered(word) && !word.starts_with(['B', 'R'])
}

fn is_bug(word: &str) -> bool {
    word.strip_prefix("B-").is_some_and(is_numbered)
}

fn is_fault(word: &str) -> bool {
    word.strip_prefix("R-").is_some_and(is_number)
}

fn is_numbered(word: &str) -> bool {
    word.split_at_checked(1).is_some_and(|(letter, number)| {
        letter.bytes().all(|sign| sign.is_ascii_uppercase()) && is_number(number)
    })
}

fn is_number(word: &str) -> bool {
    (1..=2).contains(&word.len()) && word.bytes().all(|sign| sign.is_ascii_digit())
}

fn in_prose(line: &str) -> Vec<String> {
    let unique = words(line).filter(|word| is_bug(word) || is_fault(word));
    let mut found: Vec<_> = unique.map(str::to_owned).collect();
    for inside in line.split('(').skip(1).filter_map(|rest| rest.split(')').next()) {
        if words(inside).all(is_id) {
            found.extend(words(inside).map(str::to_owned));
        }
    }
    let mut kind = "";
    for word in words(line) {
        kind = match word {
            "law" | "laws" | "Law" | "Laws" => "law",
            "bug" | "bugs" | "Bug" | "Bugs" => "bug",
            "and" | "or" => kind,
            id if is_id(id) => {
                match kind {
                    "law" => found.push(id.to_owned()),
                    "bug" if is_law(id) => found.push(format!("bug {id}")),
                    _ => {}
                }
                kind
            }
            _ => "",
        };
    }
    found
}

/// Lists what the name of a function cites, if the line declares one.
fn in_name(line: &str) -> Vec<String> {
    let Some((before, rest)) = line.split_once("fn ") else { return Vec::new() };
    if before.contains("//") || before.ends_with(|letter: char| letter.is_alphanumeric()) {
        return Vec::new();
    }
    let name = rest.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').next();
    let parts: Vec<_> = name.unwrap_or_default().split('_').collect();
    let cited = parts.iter().enumerate().map_while(|(at, part)| {
        let id = part.to_uppercase();
        let in_two = |letter| id.strip_prefix(letter).map(|rest| format!("{letter}-{rest}"));
        let written_out = [in_two("B"), in_two("R")].into_iter().flatten().find(|id| is_id(id));
        match *part {
            // A type, as in `f64_from`.
            "f32" | "f64" | "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" => None,
            "row" | "rows" if at == 0 => parts
                .get(1)
                .filter(|number| is_number(number))
                .map(|number| format!("{part}_{number}")),
            _ if is_law(&id) => Some(id),
            _ => written_out,
        }
    });
    cited.collect()
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
| **G1 validity** | see E1 |
| B-L4 | |
| R-26 | |
";

    /// Lists what is unknown in one text, without file and line.
    fn unknown_in(text: &str) -> Vec<String> {
        let texts = BTreeMap::from([("a.rs".to_owned(), text.to_owned())]);
        let found = wrong(("LAWS.md", CATALOGUE), &texts).into_iter();
        let unknown = found.filter_map(|line| {
            let (_, id) = line.strip_suffix(" is not in the catalogue")?.rsplit_once(": ")?;
            Some(id.to_owned())
        });
        unknown.collect()
    }

    #[test]
    fn entries_are_headings_and_first_cells() {
        assert!(unknown_in("laws E1, E2 and G1; B-L4, R-26").is_empty());
        assert_eq!(unknown_in("law E9"), ["E9"]);
    }

    #[test]
    fn an_unknown_citation_is_named_with_file_and_line() {
        let texts = BTreeMap::from([("a.md".to_owned(), "one\nas law W5 says\n".to_owned())]);
        assert_eq!(wrong(("LAWS.md", ""), &texts), ["a.md:2: W5 is not in the catalogue"]);
    }

    #[test]
    fn citations_in_prose_are_found() {
        assert_eq!(unknown_in("/// Laws W1, E1 and W2 hold."), ["W1", "W2"]);
        assert_eq!(unknown_in("// reported (W4) or (E1, W9), not (a W8)"), ["W4", "W9"]);
        assert_eq!(unknown_in("the bug B-P3, the fault R-27."), ["B-P3", "R-27"]);
        assert!(unknown_in("the law of E9; S8, C1 and C2; B-tree, B-; (UTF8); ()").is_empty());
    }

    #[test]
    fn a_bug_with_the_name_of_a_law_is_found() {
        assert_eq!(unknown_in("//! (bug E1)"), ["bug E1"]);
        assert!(unknown_in("a bug, as law E1 says").is_empty());
    }

    #[test]
    fn citations_in_the_names_of_functions_are_found() {
        assert_eq!(unknown_in("    async fn e1_w5_a_lock_is_held() {"), ["W5"]);
        assert_eq!(unknown_in("pub fn l15_a_release_fails<T>()"), ["L15"]);
        assert_eq!(unknown_in("fn e1_bp3_r27_a_queue()"), ["B-P3", "R-27"]);
        assert_eq!(unknown_in("fn row_26_ends()"), ["row_26"]);
        assert!(unknown_in("fn e2_bl4_r26_e1() {}").is_empty());
        assert!(unknown_in("fn f64_from(); // fn w5_x").is_empty());
        assert!(unknown_in("fn a_lock_w5_is() {}").is_empty());
        assert!(unknown_in("fn row_unless() {}").is_empty());
    }

    #[test]
    fn laws_have_neither_the_letter_of_bugs_nor_that_of_faults() {
        assert_eq!(entry("| R1 revocation |"), None);
        assert_eq!(entry("| B1 barriers |"), None);
    }

    #[test]
    fn an_entry_that_is_there_twice_is_named() {
        let texts = BTreeMap::from([("a.rs".to_owned(), "fn e1_holds() {}".to_owned())]);
        let catalogue = ("LAWS.md", "## E1\n| E1 | x |\n");
        assert_eq!(wrong(catalogue, &texts), ["LAWS.md:2: E1 has an entry already"]);
    }

    #[test]
    fn an_entry_that_no_test_shows_is_named() {
        let texts = BTreeMap::from([("a.md".to_owned(), "law E1".to_owned())]);
        assert_eq!(wrong(("LAWS.md", "## E1"), &texts), ["LAWS.md:1: no test's name cites E1"]);
    }

    #[test]
    fn everything_that_the_catalogue_mentions_is_checked() {
        let found = wrong(("LAWS.md", "it breaks E1 and B-L4"), &BTreeMap::new());
        let unknown = |id| format!("LAWS.md:1: {id} is not in the catalogue");
        assert_eq!(found, ["B-L4", "E1"].map(unknown));
    }
}
