//! The folder of this package.

use std::{env, path::PathBuf};

/// Returns the folder of the manifest. Cargo sets the variable for the program that it runs.
pub(crate) fn package() -> PathBuf {
    env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| "bench".into(), PathBuf::from)
}
