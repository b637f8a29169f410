//! Where this package is.

use std::{env, path::PathBuf};

/// The folder of the manifest that cargo runs us for.
pub(crate) fn package() -> PathBuf {
    env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| "bench".into(), PathBuf::from)
}
