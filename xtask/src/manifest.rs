//! What the root manifest says.

use std::fs;

use crate::run::Result;

/// Reads the first `key = "value"` of the root manifest.
pub(crate) fn value_of(key: &str) -> Result<String> {
    let manifest = fs::read_to_string("Cargo.toml")
        .map_err(|error| format!("cannot read Cargo.toml: {error}"))?;
    value(&manifest, key).map(str::to_owned).ok_or_else(|| format!("Cargo.toml has no `{key}`"))
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
}
