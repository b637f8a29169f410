//! `lock-bench [--quick] [scenario…]`: runs the scenarios and writes the results.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    lock_bench::exit(match args.split_first() {
        Some((word, rest)) if word == "worker" => lock_bench::worker(rest, None),
        _ => lock_bench::bench(&args),
    })
}
