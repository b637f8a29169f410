//! Every source file opens with a sentence that describes its content.

use std::collections::BTreeMap;

/// Lists the files that open neither with a `//!` sentence nor with an included document.
pub(super) fn missing(files: &BTreeMap<String, String>) -> Vec<&str> {
    files.iter().filter(|(_, text)| !opens(text)).map(|(path, _)| path.as_str()).collect()
}

fn opens(text: &str) -> bool {
    if text.starts_with("#![doc = include_str!(") {
        return true;
    }
    let docs = text.lines().map_while(|line| line.strip_prefix("//!"));
    let first: Vec<_> = docs.map(str::trim).take_while(|line| !line.is_empty()).collect();
    first.last().is_some_and(|line| line.ends_with(['.', ':']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_or_an_included_document_opens_a_file() {
        assert!(opens("//! What lives here.\n\nuse std::fmt;\n"));
        assert!(opens("//! What lives here, in a sentence\n//! of two lines:\n//!\n//! * more\n"));
        assert!(opens("#![doc = include_str!(\"../README.md\")]\n"));
    }

    #[test]
    fn a_file_without_a_sentence_is_listed() {
        for text in
            ["", "use std::fmt;\n//! Late.\n", "//!\n//! Late.\n", "//! A title\n", "// No doc.\n"]
        {
            assert!(!opens(text), "{text}");
        }
        let files = super::super::tree::files([("a.rs", "//! Here.\n"), ("b.rs", "use a;\n")]);
        assert_eq!(missing(&files), ["b.rs"]);
    }
}
