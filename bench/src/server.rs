//! A Redis server on a free loopback port. It is killed when it is dropped.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

const PROGRAM: &str = "redis-server";
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Server {
    pub(crate) fn start() -> Result<Self> {
        // Between finding a free port and binding it, another process may take it.
        for _ in 0..10 {
            let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let port = probe.local_addr()?.port();
            drop(probe);
            let mut server = Self::launch(port)?;
            if server.answers()? {
                return Ok(server);
            }
        }
        bail!("`{PROGRAM}` ended ten times before it answered")
    }

    fn launch(port: u16) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let child = Command::new(PROGRAM)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("`{PROGRAM}` does not start; install Redis 7 or later"))?;
        Ok(Self { child, port, _folder: folder })
    }

    /// Waits for the first answer. Returns false if the server has ended instead.
    fn answers(&mut self) -> Result<bool> {
        let give_up = Instant::now() + PATIENCE;
        while self.ask("PING").is_err() {
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            ensure!(Instant::now() < give_up, "`{PROGRAM}` does not answer");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(true)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Pauses the process: its connections stay open, and it answers nothing.
    pub(crate) fn freeze(&self) -> Result<()> {
        let stopped =
            Command::new("kill").args(["-STOP", &self.child.id().to_string()]).status()?;
        ensure!(stopped.success(), "`{PROGRAM}` cannot be paused");
        Ok(())
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts again on the same port, without its data.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        self.kill();
        *self = Self::launch(self.port)?;
        ensure!(self.answers()?, "`{PROGRAM}` does not start again");
        Ok(())
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Opens a plain connection.
    pub(crate) fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Sends one command over a connection of its own, and returns the raw answer.
    pub(crate) fn ask(&self, command: &str) -> Result<String> {
        let mut stream = self.connect()?;
        // The server closes the connection after QUIT, so the answer ends with the stream.
        stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Returns the number of connected clients, without the one that asks.
    pub(crate) fn clients(&self) -> Result<u64> {
        let info = self.ask("INFO clients")?;
        Ok(number(&info, "connected_clients:")
            .context("`INFO clients` has no `connected_clients`")?
            - 1)
    }

    /// Returns an upper limit of how often a token was raised. Our scripts call `PTTL` when they
    /// raise a token, and when they refuse.
    pub(crate) fn raises(&self) -> Result<u64> {
        let info = self.ask("INFO commandstats")?;
        Ok(number(&info, "cmdstat_pttl:calls=").unwrap_or_default())
    }

    /// Returns how often scripts were called, by their text or their hash.
    pub(crate) fn script_calls(&self) -> Result<u64> {
        let info = self.ask("INFO commandstats")?;
        let calls = |name| number(&info, &format!("cmdstat_{name}:calls=")).unwrap_or_default();
        Ok(calls("eval") + calls("evalsha"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Finds the number after a label that begins a line.
fn number(info: &str, label: &str) -> Option<u64> {
    let rest = info.lines().find_map(|line| line.strip_prefix(label))?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_its_label() {
        let info = "# Stats\r\ncmdstat_evalsha:calls=12,usec=3\r\nconnected_clients:4\r\n";
        assert_eq!(number(info, "cmdstat_evalsha:calls="), Some(12));
        assert_eq!(number(info, "connected_clients:"), Some(4));
        assert_eq!(number(info, "cmdstat_eval:calls="), None);
    }
}
