//! Reads the manifests of the workspace and of its members.

use std::fs;

use crate::run::Result;

/// Reads the first `key = "value"` of the root manifest.
pub(crate) fn value_of(key: &str) -> Result<String> {
    value(&read("Cargo.toml")?, key)
        .map(str::to_owned)
        .ok_or_else(|| format!("Cargo.toml has no `{key}`"))
}

/// Lists the members of the workspace.
pub(crate) fn members() -> Result<Vec<String>> {
    members_in(&read("Cargo.toml")?).ok_or_else(|| "Cargo.toml has no `members`".to_owned())
}

/// Lists the members of the workspace that are published.
pub(crate) fn published() -> Result<Vec<String>> {
    let mut published = members()?;
    let mut failed = Ok(());
    published.retain(|name| match read(&format!("{name}/Cargo.toml")) {
        Ok(manifest) => !is_private(&manifest),
        Err(error) => {
            failed = Err(error);
            false
        }
    });
    failed.map(|()| published)
}

fn read(file: &str) -> Result<String> {
    fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))
}

fn members_in(manifest: &str) -> Option<Vec<String>> {
    let (_, rest) = manifest.split_once("members = [")?;
    let (list, _) = rest.split_once(']')?;
    let names = list.split(',').map(|name| name.trim().trim_matches('"').to_owned());
    Some(names.filter(|name| !name.is_empty()).collect())
}

fn is_private(manifest: &str) -> bool {
    manifest.lines().any(|line| line.trim() == "publish = false")
}

fn value<'a>(manifest: &'a str, key: &str) -> Option<&'a str> {
    manifest.lines().find_map(|line| {
        let value = line.strip_prefix(key)?.trim_start().strip_prefix('=')?;
        value.trim().strip_prefix('"')?.split('"').next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_value_is_found_by_its_key() {
        let manifest = "[workspace.package]\nversion = \"0.1.0\"\nrust-version = \"1.88\" # x\n";
        assert_eq!(value(manifest, "version"), Some("0.1.0"));
        assert_eq!(value(manifest, "rust-version"), Some("1.88"));
        assert_eq!(value(manifest, "rust"), None);
    }

    #[test]
    fn members_are_read_from_one_line_or_several() {
        let expected = Some(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(members_in("[workspace]\nmembers = [\"a\", \"b\"]\n"), expected);
        assert_eq!(members_in("members = [\n    \"a\",\n    \"b\",\n]\n"), expected);
        assert_eq!(members_in("[package]\n"), None);
    }

    #[test]
    fn a_package_that_says_so_is_not_published() {
        assert!(is_private("[package]\nname = \"a\"\npublish = false\n"));
        assert!(!is_private("[package]\nname = \"a\"\n"));
    }
}
