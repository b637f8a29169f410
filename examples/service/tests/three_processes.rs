//! Three processes of the service on one database and one Redis: no update is lost.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use lock_core::LockClient;
use lock_core::registry::ProviderRegistry;

const PATIENCE: Duration = Duration::from_secs(30);

/// A process that does not outlive the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A Redis server that listens on a socket in `folder` only.
fn redis(folder: &Path) -> Process {
    let program =
        std::env::var("LOCK_TEST_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
    let socket = folder.join("redis");
    let mut server = Command::new(&program);
    server
        .args(["--port", "0", "--save", "", "--unixsocket"])
        .arg(&socket)
        .arg("--dir")
        .arg(folder);
    let server =
        server.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap_or_else(|error| {
            panic!("`{program}` does not start ({error}); install Redis, or run `cargo xtask test`")
        });
    let give_up = Instant::now() + PATIENCE;
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        assert!(Instant::now() < give_up, "the server does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    Process(server)
}

fn url(folder: &Path) -> String {
    format!("redis+unix://{}", folder.join("redis").display())
}

/// A process of the service, and its address.
struct Service {
    process: Process,
    output: BufReader<ChildStdout>,
    address: String,
}

fn command(folder: &Path, vars: &[(&str, &str)]) -> Command {
    let mut service = Command::new(env!("CARGO_BIN_EXE_service"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LOCK_") {
            service.env_remove(name);
        }
    }
    service
        .env("SERVICE_ADDRESS", "127.0.0.1:0")
        .env("SERVICE_DATABASE", folder.join("invoices.db"))
        .env("LOCK_INVOICES_URL", url(folder))
        .envs(vars.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    service
}

impl Service {
    fn start(folder: &Path, vars: &[(&str, &str)]) -> Self {
        let mut process = Process(command(folder, vars).spawn().unwrap());
        let mut output = BufReader::new(process.0.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.split_whitespace().nth(2).expect(&line).trim_end_matches(',').to_owned();
        assert!(line.contains("locks on redis"), "{line}");
        Self { process, output, address }
    }

    fn charge(&self, invoice: &str, cents: u32) -> ureq::http::Response<ureq::Body> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        let url = format!("{}/invoices/{invoice}/charge/{cents}", self.address);
        agent.post(url).send_empty().unwrap()
    }

    fn get(&self, path: &str) -> String {
        let mut response = ureq::get(format!("{}/{path}", self.address)).call().unwrap();
        response.body_mut().read_to_string().unwrap()
    }

    /// Stops it with a signal, and returns its last line.
    fn stop(mut self, signal: &str) -> String {
        let id = self.process.0.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert!(self.process.0.wait().unwrap().success(), "{rest}");
        rest
    }
}

#[test]
fn no_charge_of_three_processes_is_lost() {
    const EACH: u32 = 10;
    let folder = tempfile::tempdir().unwrap();
    let _redis = redis(folder.path());
    let services: Vec<_> = (0..3).map(|_| Service::start(folder.path(), &[])).collect();
    std::thread::scope(|scope| {
        for service in &services {
            for invoice in ["a", "b", "a"] {
                scope.spawn(move || {
                    for _ in 0..EACH {
                        let mut response = service.charge(invoice, 1);
                        let body = response.body_mut().read_to_string().unwrap();
                        assert_eq!(response.status(), 200, "{body}");
                    }
                });
            }
        }
    });
    for service in &services {
        assert_eq!(service.get("invoices/a"), (6 * EACH).to_string());
        assert_eq!(service.get("invoices/b"), (3 * EACH).to_string());
        let metrics = service.get("metrics");
        for line in ["lock_held 0\n", "lock_acquiring 0\n", "lock_events_dropped_total 0\n"] {
            assert!(metrics.contains(line), "{metrics}");
        }
    }
    for (service, signal) in services.into_iter().zip(["-INT", "-TERM", "-TERM"]) {
        assert!(service.stop(signal).contains("stopped, 0 locks held"));
    }
}

#[tokio::test]
async fn errors_of_a_lock_become_the_status_that_fits() {
    let folder = tempfile::tempdir().unwrap();
    let redis = redis(folder.path());
    let service = Service::start(folder.path(), &[("LOCK_INVOICES_WAIT", "50ms")]);
    let registry = ProviderRegistry::new().register(lock_redis::factory()).unwrap();
    let other: LockClient = registry.connect(&url(folder.path())).await.unwrap();
    let held = other.lock("invoice/42").acquire().await.unwrap();
    let busy = service.charge("42", 1);
    assert_eq!(busy.status(), 409);
    let after: u64 = busy.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=5).contains(&after), "{after}");
    held.release().await.unwrap();
    assert_eq!(service.charge("42", 1).status(), 200);
    assert_eq!(service.charge("tab%09", 1).status(), 400, "keys have no control characters");
    assert_eq!(service.charge("42", 0).status(), 400);
    drop(redis);
    assert_eq!(service.charge("42", 1).status(), 503);
    assert_eq!(service.get("invoices/42"), "1");
}

#[test]
fn a_misspelt_variable_is_found_at_start_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut misspelt = command(folder.path(), &[("LOCK_INVOICES_TLL", "5s")]);
    let refused = misspelt.stderr(Stdio::piped()).output().unwrap();
    assert!(!refused.status.success());
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(error.contains("unknown environment variable LOCK_INVOICES_TLL"), "{error}");
}
