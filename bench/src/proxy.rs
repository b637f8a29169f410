//! A way to a server that can be made slow, or that swallows everything.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;

/// What happens to bytes on their way.
#[derive(Debug, Default)]
struct Weather {
    /// How long every piece is held back, in ms; the largest number is for ever.
    delay: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    weather: Arc<Weather>,
}

impl Proxy {
    /// Passes everything on to a port of this machine, until this process ends.
    pub(crate) fn to(port: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let proxy = Self { port: listener.local_addr()?.port(), weather: Arc::default() };
        let weather = Arc::clone(&proxy.weather);
        thread::spawn(move || {
            for client in listener.incoming().map_while(std::io::Result::ok) {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                for (from, to) in
                    [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))]
                {
                    let (Ok(from), Ok(to)) = (from, to) else { continue };
                    let weather = Arc::clone(&weather);
                    thread::spawn(move || pass_on(from, to, &weather));
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
        self.weather.delay.store(delay, Ordering::SeqCst);
    }

    pub(crate) fn swallow(&self) {
        self.weather.delay.store(u64::MAX, Ordering::SeqCst);
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, weather: &Weather) {
    let _ = to.set_nodelay(true);
    let mut piece = [0; 16 * 1024];
    while let Ok(length) = from.read(&mut piece) {
        if length == 0 {
            break;
        }
        match weather.delay.load(Ordering::SeqCst) {
            u64::MAX => continue,
            delay => thread::sleep(Duration::from_millis(delay)),
        }
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
