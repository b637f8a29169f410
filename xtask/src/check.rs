//! Checks everything that can be checked without running the tests. Changes no file of the tree.

use std::process::ExitCode;

use crate::{
    manifest, package,
    run::{Result, cargo, command, output, run, show},
    structure,
};

/// Crates that `lock-core` must not depend on: each belongs to a backend.
const FORBIDDEN_IN_CORE: [&str; 6] =
    ["redis", "rustls", "openssl", "native-tls", "ring", "aws-lc-sys"];

/// A check: its name in the summary, and a function that returns a remark for the summary.
type Step = (&'static str, fn() -> Result<String>);

const STEPS: [Step; 12] = [
    ("format", || quiet("fmt --all --check")),
    ("lints", || quiet("clippy --workspace --all-targets --all-features -- -D warnings")),
    ("lints, no features", no_features),
    ("benchmarks", benchmarks),
    ("docs", docs),
    ("imports run one way", structure::imports),
    ("opening sentences", structure::sentences),
    ("citations", structure::citations),
    ("branches of functions", structure::branches),
    ("dependencies of lock-core", core_dependencies),
    ("minimum Rust version", minimum_rust),
    ("packages", package::package),
];

/// Runs every check, even after one that failed. Lists at the end which failed.
pub(crate) fn check() -> Result<ExitCode> {
    let outcomes = STEPS.map(|(name, step)| {
        println!("\n== {name}");
        (name, step().inspect_err(|error| println!("{error}")))
    });

    println!("\n== summary");
    for (name, outcome) in &outcomes {
        match outcome {
            Ok(remark) if remark.is_empty() => println!("ok      {name}"),
            Ok(remark) => println!("ok      {name}: {remark}"),
            Err(error) => println!("FAILED  {name}: {error}"),
        }
    }
    let passed = outcomes.iter().all(|(_, outcome)| outcome.is_ok());
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a cargo command, without a remark.
fn quiet(words: &str) -> Result<String> {
    run(cargo(words)).map(|()| String::new())
}

/// Checks without features. The suite is checked with its tests, because one case needs a feature.
fn no_features() -> Result<String> {
    run(cargo("clippy --workspace --no-default-features -- -D warnings"))?;
    quiet("clippy -p lock-testkit --no-default-features --all-targets -- -D warnings")
}

/// Checks the benchmarks, which are a workspace of their own.
fn benchmarks() -> Result<String> {
    run(cargo("fmt --manifest-path bench/Cargo.toml --check"))?;
    quiet("clippy --locked --manifest-path bench/Cargo.toml --all-targets -- -D warnings")
}

fn docs() -> Result<String> {
    let mut doc = cargo("doc --workspace --no-deps --all-features");
    doc.env("RUSTDOCFLAGS", "-D warnings");
    run(doc).map(|()| String::new())
}

/// Checks that the core depends on no backend and no TLS, on any platform.
fn core_dependencies() -> Result<String> {
    let words = "tree -p lock-core -e normal --all-features --target all --prefix none";
    let tree = cargo(words);
    show(&tree);
    match forbidden(&output(tree)?) {
        None => Ok(String::new()),
        Some(name) => Err(format!("lock-core depends on {name}; see `cargo {words} -i {name}`")),
    }
}

/// Finds the first forbidden crate in a tree whose lines read `name v1.2.3 …`.
fn forbidden(tree: &str) -> Option<&str> {
    let mut names = tree.lines().filter_map(|line| line.split_whitespace().next());
    names.find(|name| FORBIDDEN_IN_CORE.contains(name))
}

/// Compiles with the minimum Rust version, if that toolchain is installed.
fn minimum_rust() -> Result<String> {
    let version = manifest::value_of("rust-version")?;
    let installed = output(command("rustup toolchain list")).unwrap_or_default();
    let Some(toolchain) = toolchain(&installed, &version) else {
        return Ok(format!(
            "not compiled with {version}, because that toolchain is not installed; clippy's \
             `incompatible_msrv` checks our code, and the resolver selects dependencies by \
             their `rust-version`"
        ));
    };
    run(command(&format!("rustup run {toolchain} cargo check --workspace --all-features")))?;
    Ok(format!("compiled with {toolchain}"))
}

/// Finds the installed toolchain of a version: for `1.88`, that is `1.88.0-x86_64-…`.
fn toolchain<'a>(installed: &'a str, version: &str) -> Option<&'a str> {
    let mut names = installed.lines().filter_map(|line| line.split_whitespace().next());
    names.find(|name| {
        name.strip_prefix(version)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_in_the_tree_of_the_core_is_named() {
        assert_eq!(forbidden("lock-core v0.1.0\nring v0.17.14\n"), Some("ring"));
        assert_eq!(forbidden("lock-core v0.1.0\nrustls-pki-types v1.0.0\n\n"), None);
    }

    #[test]
    fn a_toolchain_is_found_by_the_start_of_its_version() {
        let installed = "stable-x86_64 (active, default)\n1.88.0-x86_64\n1.95-x86_64\n";
        assert_eq!(toolchain(installed, "1.88"), Some("1.88.0-x86_64"));
        assert_eq!(toolchain(installed, "1.95"), Some("1.95-x86_64"));
        assert_eq!(toolchain(installed, "1.8"), None);
        assert_eq!(toolchain("", "1.88"), None);
    }
}
