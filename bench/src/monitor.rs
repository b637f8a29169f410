//! Counts the commands that clients send.
//!
//! The counters of the server also count the calls of scripts. `MONITOR` shows the sender of each
//! command: the address of a client, or `lua`. It slows the server down, so nothing is timed then.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::server::Server;

/// Longer than the server takes to report a command.
const LAG: Duration = Duration::from_millis(50);

pub(crate) struct Monitor {
    stream: TcpStream,
    count: JoinHandle<u32>,
}

impl Monitor {
    pub(crate) fn start(server: &Server) -> Result<Self> {
        let mut stream = server.connect()?;
        stream.write_all(b"MONITOR\r\n")?;
        let mut reader = BufReader::new(stream.try_clone()?);
        reader.read_line(&mut String::new()).context("the server did not answer `MONITOR`")?;
        stream.set_read_timeout(None)?;
        let count = thread::spawn(move || {
            // Keys and tokens of some contenders are not UTF-8.
            let lines = reader.split(b'\n').map_while(std::io::Result::ok);
            lines.map(|line| u32::from(by_client(&String::from_utf8_lossy(&line)))).sum()
        });
        Ok(Self { stream, count })
    }

    /// Returns the number of commands.
    pub(crate) fn stop(self) -> Result<u32> {
        thread::sleep(LAG);
        self.stream.shutdown(Shutdown::Both)?;
        self.count.join().map_err(|_| anyhow!("the thread that counts commands panicked"))
    }
}

/// Reports whether a line shows a command of a client. A line reads
/// `+1700000000.123456 [0 127.0.0.1:4242] "SET" …`.
fn by_client(line: &str) -> bool {
    let source = line.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    source.is_some_and(|(source, _)| !source.ends_with(" lua"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_calls_is_not_counted() {
        assert!(by_client(r#"+1700000000.123456 [0 127.0.0.1:4242] "EVALSHA" "ab""#));
        assert!(!by_client(r#"+1700000000.123456 [0 lua] "GET" "key""#));
        assert!(!by_client("+OK"));
    }
}
