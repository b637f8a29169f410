//! A configuration file chooses the store of each lock; the code knows only names.
//!
//! ```sh
//! cargo run --example choose_by_name
//! ```
//!
//! The file is `locks.toml` beside this one. Everything that can be wrong with it is found at
//! start-up: a misspelt option, an unknown scheme, a server out of reach, a missing capability.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to its reader")]

use std::error::Error;
use std::process::ExitCode;

use lock_core::Capability;
use lock_core::registry::{LocksConfig, ProviderRegistry};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/locks.toml");

#[tokio::main]
async fn main() -> ExitCode {
    match start().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}"); // with everything that caused it
            ExitCode::FAILURE
        }
    }
}

async fn start() -> Result<(), Box<dyn Error>> {
    // At start-up: which stores this program can talk to, and which ones it is told to.
    let registry =
        ProviderRegistry::new().register(lock_memory::factory())?.register(lock_redis::factory())?;
    // The whole error would repeat a line of the file, which may have a password in it.
    let parsed = toml::from_str(&std::fs::read_to_string(FILE)?);
    let config: LocksConfig = parsed.map_err(|error| error.message().to_owned())?;
    let clients = registry.connect_all(&config).await?;

    // The ledger refuses writers without a fencing token, so a store must be able to number grants.
    let jobs = clients.default_client()?;
    jobs.require([Capability::Fencing])?;

    for (name, locks) in clients.iter() {
        println!("{name}: on {}, which has {}", locks.info().name(), locks.capabilities());
    }

    // From here on nobody knows where the locks are.
    let job = jobs.lock("job/nightly").acquire().await?;
    println!("holding {} by default", job.key());
    let draft = clients.get("scratch")?.lock("draft/7").acquire().await?;
    println!("holding {} on scratch", draft.key());
    draft.release().await?;
    job.release().await?;

    // A name that is not in the file is an error that helps.
    if let Err(error) = clients.get("scrach") {
        println!("asking for `scrach`: {error}");
    }
    Ok(())
}
