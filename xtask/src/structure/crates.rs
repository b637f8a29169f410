//! The order of the published crates: which may depend on which.

use crate::{
    manifest,
    run::{Result, cargo, output},
};

/// Every published crate, and those of the workspace that it may depend on.
///
/// Dependencies of tests do not count: every crate is tested with `lock-testkit`.
const MAY_DEPEND_ON: [(&str, &[&str]); 5] = [
    ("lock-core", &[]),
    ("lock-memory", &["lock-core"]),
    ("lock-testkit", &["lock-core", "lock-memory"]),
    ("lock-quorum", &["lock-core"]),
    ("lock-redis", &["lock-core", "lock-quorum"]),
];

/// Checks that every published crate depends only on those that it may depend on.
pub(super) fn check() -> Result<Vec<String>> {
    let published = manifest::published()?;
    let mut found = Vec::new();
    for name in &published {
        let words = "tree -e normal,build --all-features --target all --depth 1 --prefix none -p";
        found.extend(refused(name, &output(cargo(&format!("{words} {name}")))?, &published));
    }
    Ok(found)
}

/// Lists the dependencies that a crate must not have. Each line of `tree` begins with a name, the
/// first line with that of the crate itself.
fn refused(name: &str, tree: &str, published: &[String]) -> Vec<String> {
    let Some((_, allowed)) = MAY_DEPEND_ON.iter().find(|(one, _)| *one == name) else {
        return vec![format!("the order of crates in xtask/src/structure/crates.rs lacks {name}")];
    };
    let names = tree.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    let ours = names.filter(|one| published.iter().any(|other| other == one));
    ours.filter(|one| !allowed.contains(one))
        .map(|one| format!("{name} depends on {one}, which may not be below it"))
        .collect()
}

#[cfg(test)]
mod tests {
    fn refused(name: &str, tree: &str) -> Vec<String> {
        let published = ["lock-core", "lock-memory", "lock-redis", "lock-new"].map(str::to_owned);
        super::refused(name, tree, &published)
    }

    #[test]
    fn a_crate_that_depends_on_a_later_one_is_named() {
        assert_eq!(
            refused("lock-core", "lock-core v0.1.0 (/x)\nlock-memory v0.1.0\nurl v2.0.0\n"),
            ["lock-core depends on lock-memory, which may not be below it"]
        );
        assert!(
            refused("lock-redis", "lock-redis v0.1.0\nlock-core v0.1.0\nredis v1.0.0").is_empty()
        );
    }

    #[test]
    fn a_crate_without_a_place_in_the_order_is_named() {
        assert_eq!(
            refused("lock-new", "lock-new v0.1.0"),
            ["the order of crates in xtask/src/structure/crates.rs lacks lock-new"]
        );
    }
}
