//! A TCP proxy that can delay or discard what it forwards.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;

/// What happens to the bytes that are forwarded.
#[derive(Debug, Default)]
struct Condition {
    /// The delay of every piece in ms. The largest number discards it.
    delay: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    condition: Arc<Condition>,
}

impl Proxy {
    /// Forwards to a port of this machine, until this process ends.
    pub(crate) fn to(port: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let proxy = Self { port: listener.local_addr()?.port(), condition: Arc::default() };
        let condition = Arc::clone(&proxy.condition);
        thread::spawn(move || {
            for client in listener.incoming().map_while(std::io::Result::ok) {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                for (from, to) in
                    [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))]
                {
                    let (Ok(from), Ok(to)) = (from, to) else { continue };
                    let condition = Arc::clone(&condition);
                    thread::spawn(move || forward(from, to, &condition));
                }
            }
        });
        Ok(proxy)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(crate) fn slow_down(&self, delay: Duration) {
        let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.condition.delay.store(delay, Ordering::SeqCst);
    }

    pub(crate) fn discard(&self) {
        self.condition.delay.store(u64::MAX, Ordering::SeqCst);
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, condition: &Condition) {
    let _ = to.set_nodelay(true);
    let mut piece = [0; 16 * 1024];
    while let Ok(length) = from.read(&mut piece) {
        if length == 0 {
            break;
        }
        match condition.delay.load(Ordering::SeqCst) {
            u64::MAX => continue,
            delay => thread::sleep(Duration::from_millis(delay)),
        }
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
