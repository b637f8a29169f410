//! Packages the published crates, and compiles what a user would download.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use crate::{
    manifest,
    run::{Result, cargo, command, run},
};

/// Packages every published crate and compiles the packages, each against the others.
///
/// Cargo's own verification is not used. It caches the unpacked siblings by name and version, and
/// compiles against those of an earlier run if the version has stayed the same.
pub(crate) fn package() -> Result<String> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let folder = target.join("published");
    fresh(&folder).map_err(|error| format!("cannot empty {}: {error}", folder.display()))?;

    let mut package = cargo("package --allow-dirty --no-verify");
    for name in manifest::published()? {
        package.args(["--package", &name]);
    }
    package.arg("--target-dir").arg(&folder);
    run(package)?;

    let manifest = unpack(&folder)?;
    let mut check = cargo("check --workspace --all-features --manifest-path");
    check.arg(manifest).arg("--target-dir").arg(&target);
    run(check).map(|()| String::new())
}

fn fresh(folder: &Path) -> io::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)
}

/// Unpacks every package below `folder`, and returns the manifest of a workspace of them.
fn unpack(folder: &Path) -> Result<PathBuf> {
    let failed = |error: io::Error| format!("cannot unpack in {}: {error}", folder.display());
    let version = manifest::value_of("version")?;
    let packages = folder.join("package");
    let mut text = format!(
        "[workspace]\nresolver = \"3\"\nmembers = [\"package/*-{version}\"]\n\n\
         [patch.crates-io]\n"
    );
    for entry in fs::read_dir(&packages).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(name) = file.strip_suffix(&format!("-{version}.crate")) else { continue };
        text += &format!("{name}.path = \"package/{name}-{version}\"\n");
        // `m` gives the files the time of now. In packages they have one fixed time, by which cargo
        // would not notice that a file has changed.
        let mut tar = command("tar -xmzf");
        tar.arg(&path).arg("-C").arg(&packages);
        run(tar)?;
    }
    let manifest = folder.join("Cargo.toml");
    fs::write(&manifest, text).map_err(failed)?;
    fs::copy("Cargo.lock", folder.join("Cargo.lock")).map_err(failed)?;
    Ok(manifest)
}
