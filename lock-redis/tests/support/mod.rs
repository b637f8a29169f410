//! Real servers for tests, each on a free loopback port and a unix socket. They stop when dropped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![allow(dead_code, reason = "every test file uses a part of it")]

pub(crate) mod cluster;
pub(crate) mod contest;
pub(crate) mod cutting_proxy;
pub(crate) mod sentinel;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::time::{Duration, Instant};

use lock_core::LockClient;
use lock_redis::{RedisConfig, RedisProvider};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// The password of the user `locks`, and its permissions. They are the list of the README.
pub(crate) const PASSWORD: &str = "s3cret-of-the-tests";
pub(crate) const ACL: &str = "~app:* &app:* +evalsha +eval +mget +set +del +exists +pttl +pexpire \
                       +time +info +select +zrange +zadd +zrem +zcard +publish +subscribe \
                       +client|tracking";

/// The changes to these permissions in a cluster.
pub(crate) const ACL_OF_A_CLUSTER: &str = "-publish -subscribe -select -client|tracking +spublish \
     +ssubscribe +sunsubscribe +cluster|slots +ping +asking";

/// The changes to these permissions at a node of a quorum.
pub(crate) const ACL_OF_A_NODE: &str = "-publish -subscribe -client|tracking +lastsave";

/// Releases a lock, and repeats that while the server is unavailable.
pub(crate) async fn released(guard: lock_core::LockGuard) {
    let mut releasing = guard.release_or_keep().await;
    while let Err(failed) = releasing {
        assert!(!failed.is_lost(), "{failed}");
        releasing = failed.into_guard().unwrap().release_or_keep().await;
    }
}

/// A running Redis server.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    /// The port of the cluster bus, if the arguments have `BUS`.
    pub(crate) bus: u16,
    folder: TempDir,
    arguments: Vec<String>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a server with further arguments. In them, `PORT` stands for its port and `BUS` for a
    /// second one.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        Self::with_file("", arguments)
    }

    /// As [`with`](Server::with), with a configuration file that the server may write to.
    pub(crate) fn with_file(config: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the server");
        std::fs::write(folder.path().join("redis.conf"), config).expect("a file for the server");
        let arguments: Vec<_> = arguments.iter().map(|one| (*one).to_owned()).collect();
        // Between finding a free port and binding it, another process may take it.
        for _ in 0..20 {
            let (port, bus) = (free_port(), free_port());
            if let Some(child) = launch(folder.path(), [port, bus], &arguments) {
                return Self { child, port, bus, folder, arguments };
            }
        }
        panic!("no redis-server would start; see `cargo xtask test`");
    }

    /// Starts a server that requires TLS, with a certificate for `localhost` only.
    pub(crate) fn tls() -> Self {
        Self::with(&tls_arguments().iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Starts a server whose user `locks` has only the permissions [`ACL`].
    pub(crate) fn acl() -> Self {
        let server = Self::start();
        server.command(&format!("ACL SETUSER locks on >{PASSWORD} {ACL}"));
        server
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn config(&self) -> RedisConfig {
        // A handshake may take long on a machine that runs dozens of tests at once.
        RedisConfig::tcp("127.0.0.1", self.port).connect_timeout(PATIENCE)
    }

    pub(crate) async fn provider(&self) -> RedisProvider {
        RedisProvider::connect(self.config()).await.unwrap()
    }

    pub(crate) async fn client(&self) -> LockClient {
        LockClient::new(self.provider().await)
    }

    /// Sends a command over the unix socket as the default user, and returns the raw reply.
    pub(crate) fn command(&self, line: &str) -> String {
        self.send(&line.split(' ').collect::<Vec<_>>())
    }

    /// As [`command`](Server::command), with words that may contain spaces.
    pub(crate) fn send(&self, words: &[&str]) -> String {
        ask(&self.socket(), words).expect("an answer of the server")
    }

    /// Deletes a key of a numbered database. To its holder, this is the same as an expiry.
    pub(crate) fn expire_in(&self, database: u32, key: &str) {
        let select = database.to_string();
        let reply = exchange(&self.socket(), &[&["SELECT", &select], &["DEL", key]]);
        assert!(reply.is_some_and(|reply| reply.starts_with("+OK\r\n:")), "DEL was answered");
    }

    /// Returns how often a command was called, as the server counts.
    pub(crate) fn calls(&self, command: &str) -> u64 {
        let stats = self.command("INFO commandstats");
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:")));
        let calls = line.and_then(|line| line.strip_prefix("calls=")?.split(',').next());
        calls.map_or(0, |calls| calls.parse().unwrap())
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts the server again on the same port, with the data that it has saved.
    pub(crate) fn start_again(&mut self) {
        self.kill();
        let child = launch(self.folder.path(), [self.port, self.bus], &self.arguments);
        self.child = child.expect("the port is still free");
    }

    /// Stops the process without killing it, so that it does not answer.
    pub(crate) fn freeze(&self) {
        signal("STOP", self.child.id());
    }

    pub(crate) fn thaw(&self) {
        signal("CONT", self.child.id());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A server that tests share.
pub(crate) struct Shared<T = Server>(Mutex<Weak<T>>);

impl<T> Shared<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    /// Returns the server that the running tests of this process share.
    pub(crate) fn get(&self, start: impl FnOnce() -> T) -> Arc<T> {
        let mut shared = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let started = Arc::new(start());
            *shared = Arc::downgrade(&started);
            started
        })
    }
}

fn free_port() -> u16 {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    probe.local_addr().unwrap().port()
}

/// Returns the arguments of a server that requires TLS.
pub(crate) fn tls_arguments() -> Vec<String> {
    let path = |name: &str| CERTIFICATES.path().join(name).to_string_lossy().into_owned();
    let (cert, key, ca) = (path("server.crt"), path("server.key"), path("ca.crt"));
    let files = format!("--tls-cert-file {cert} --tls-key-file {key} --tls-ca-cert-file {ca}");
    let ports = "--port 0 --tls-port PORT --tls-auth-clients no";
    format!("{ports} {files}").split(' ').map(str::to_owned).collect()
}

pub(crate) fn signal(name: &str, process: u32) {
    run("kill", [format!("-{name}"), process.to_string()]);
}

/// Starts a server and waits until it answers; `None` if it ends before.
fn launch(folder: &Path, ports: [u16; 2], arguments: &[String]) -> Option<Child> {
    let program =
        std::env::var("LOCK_TEST_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
    let [port, bus] = ports.map(|one| one.to_string());
    let socket = folder.join("socket");
    let _ = std::fs::remove_file(&socket);
    let mut child = Command::new(&program)
        .arg(folder.join("redis.conf"))
        .args(["--port", &port, "--bind", "127.0.0.1", "--save", ""])
        .args(["--enable-debug-command", "local"])
        .args([OsStr::new("--unixsocket"), socket.as_os_str(), OsStr::new("--dir")])
        .arg(folder)
        .args(arguments.iter().map(|one| one.replace("PORT", &port).replace("BUS", &bus)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("`{program}` does not start ({error}); install Redis, or run `cargo xtask test`")
        });
    let give_up = Instant::now() + PATIENCE;
    loop {
        if is_ready(&socket) {
            return Some(child);
        }
        if child.try_wait().expect("the server's state").is_some() {
            return None;
        }
        assert!(Instant::now() < give_up, "the server does not answer");
        std::thread::yield_now();
    }
}

fn is_ready(socket: &Path) -> bool {
    let reply = UnixStream::connect(socket).and_then(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"PING\r\n")?;
        let mut reply = [0; 5];
        stream.read_exact(&mut reply).map(|()| reply)
    });
    reply.is_ok_and(|reply| &reply == b"+PONG")
}

fn ask(socket: &Path, words: &[&str]) -> Option<String> {
    exchange(socket, &[words])
}

/// Sends commands and returns their raw replies.
fn exchange(socket: &Path, commands: &[&[&str]]) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut request = String::new();
    // The server closes after QUIT, so the end of the stream is the end of the replies.
    for words in commands.iter().chain([&["QUIT"].as_slice()]) {
        request += &format!("*{}\r\n", words.len());
        for word in *words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
    }
    stream.write_all(request.as_bytes()).ok()?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).ok()?;
    let reply = String::from_utf8_lossy(&reply).into_owned();
    reply.strip_suffix("+OK\r\n").map(str::to_owned)
}

fn run<I: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = I>) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("`{program}` does not start: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The certificate of a private authority, and one for `localhost` that it signed.
static CERTIFICATES: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder for certificates");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    std::fs::write(path("san"), "subjectAltName=DNS:localhost").unwrap();
    let ca = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=test authority",
        "-keyout",
        &path("ca.key"),
        "-out",
        &path("ca.crt"),
    ];
    run("openssl", ca);
    let request = [
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=localhost",
        "-keyout",
        &path("server.key"),
        "-out",
        &path("server.csr"),
    ];
    run("openssl", request);
    let sign = [
        "x509",
        "-req",
        "-days",
        "2",
        "-in",
        &path("server.csr"),
        "-CA",
        &path("ca.crt"),
        "-CAkey",
        &path("ca.key"),
        "-CAcreateserial",
        "-extfile",
        &path("san"),
        "-out",
        &path("server.crt"),
    ];
    run("openssl", sign);
    folder
});

/// The certificate of the private authority.
pub(crate) fn ca() -> PathBuf {
    CERTIFICATES.path().join("ca.crt")
}
