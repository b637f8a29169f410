//! Reads the sources and documents below a folder.

use std::{collections::BTreeMap, fs, io, path::Path};

use crate::run::Result;

/// Reads every `.rs` file below a folder, as [`ending`] does.
pub(super) fn rust(folder: &str) -> Result<BTreeMap<String, String>> {
    ending(folder, &[".rs"])
}

/// Reads every file below a folder whose name has one of the endings. Hidden folders and the target
/// folder are left out.
///
/// The keys are paths relative to the current folder, with `/` between folders.
pub(super) fn ending(folder: &str, endings: &[&str]) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    walk(Path::new(folder), endings, &mut files)
        .map_err(|error| format!("cannot read the sources in {folder}: {error}"))?;
    Ok(files)
}

fn walk(folder: &Path, endings: &[&str], files: &mut BTreeMap<String, String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            walk(&path, endings, files)?;
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            let parts = path.strip_prefix(".").unwrap_or(&path).components();
            let parts: Vec<_> = parts.map(|part| part.as_os_str().to_string_lossy()).collect();
            files.insert(parts.join("/"), fs::read_to_string(&path)?);
        }
    }
    Ok(())
}
