//! Counts the conformance cases in the output of `cargo test`.

use std::{collections::BTreeMap, fmt};

/// The results of the conformance cases of each backend, read line by line from the merged streams.
#[derive(Default)]
pub(crate) struct Tally {
    inside: bool,
    backends: BTreeMap<String, Cases>,
}

#[derive(Default)]
struct Cases {
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl Tally {
    /// Reads one line: the header of a test binary, the result of a case, or anything else.
    pub(crate) fn read(&mut self, line: &str) {
        let line = line.trim();
        if let Some(binary) = line.strip_prefix("Running ") {
            let source = binary.split(" (").next().unwrap_or_default();
            self.inside = source.contains("conformance");
        } else if line.starts_with("Doc-tests ") {
            self.inside = false;
        } else if self.inside {
            self.count(line);
        }
    }

    fn count(&mut self, line: &str) {
        let Some((backend, outcome)) = case(line) else { return };
        let cases = self.backends.entry(backend.to_owned()).or_default();
        match outcome {
            Outcome::Passed => cases.passed += 1,
            Outcome::Failed => cases.failed += 1,
            Outcome::Ignored => cases.ignored += 1,
        }
    }

    /// Reports whether there was no conformance case.
    pub(crate) fn is_empty(&self) -> bool {
        self.backends.is_empty()
    }
}

enum Outcome {
    Passed,
    Failed,
    Ignored,
}

/// Reads `test <backend>::<case> ... <outcome>`. Returns `None` for any other line, and for a test
/// of no backend.
fn case(line: &str) -> Option<(&str, Outcome)> {
    let (test, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let name = test.split_whitespace().next()?;
    let (backend, _) = name.strip_prefix("conformance::").unwrap_or(name).rsplit_once("::")?;
    let outcome = match outcome.split([' ', ',']).next()? {
        "ok" => Outcome::Passed,
        "FAILED" => Outcome::Failed,
        "ignored" => Outcome::Ignored,
        _ => return None,
    };
    Some((backend, outcome))
}

/// Writes one line per backend.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (backend, Cases { passed, failed, ignored }) in &self.backends {
            write!(f, "conformance {backend}: {passed} passed, {failed} failed")?;
            if *ignored > 0 {
                write!(f, ", {ignored} ignored")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(output: &str) -> Tally {
        let mut tally = Tally::default();
        output.lines().for_each(|line| tally.read(line));
        tally
    }

    #[test]
    fn cases_are_counted_by_backend_and_only_inside_conformance_binaries() {
        let tally = tally(
            "\
   Compiling lock-redis v0.1.0
     Running unittests src/lib.rs (target/debug/deps/conformance-0)
test config::url_is_read ... ok
     Running tests/conformance.rs (target/debug/deps/conformance-1)

running 7 tests
test memory_paused::e1_exclusion ... ok
test conformance::redis_tcp::e1_exclusion ... ok
test redis_tcp::e2_expiry ... FAILED
test redis_tcp::e3_wait has been running for over 60 seconds
test redis_tcp::e3_wait ... ok
test redis_tls::e1_exclusion ... ignored, needs a certificate
test redis_tls::e2_refusal - should panic ... ok
test every_backend_is_listed ... ok

test result: FAILED. 5 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out
   Doc-tests lock_redis
test src/lib.rs - config::Config (line 3) ... ok
",
        );
        assert_eq!(
            tally.to_string(),
            "\
conformance memory_paused: 1 passed, 0 failed
conformance redis_tcp: 2 passed, 1 failed
conformance redis_tls: 1 passed, 0 failed, 1 ignored
"
        );
    }

    #[test]
    fn output_without_conformance_cases_is_empty() {
        assert!(tally("     Running unittests src/main.rs (x)\ntest a::b ... ok\n").is_empty());
        assert!(tally("     Running tests/conformance.rs (x)\ntest alone ... ok\n").is_empty());
    }
}
