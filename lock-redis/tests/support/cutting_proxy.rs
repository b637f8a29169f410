//! A proxy that ends connections in the middle of a reply.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::Server;
use super::sentinel::until;

/// What the proxy does to a reply.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// Passes this many bytes on, and then ends the connection.
    Cut(usize),
    /// Passes nothing on from here.
    Withheld,
}

/// A proxy between client and server.
#[derive(Clone, Default)]
pub(crate) struct CuttingProxy {
    /// What happens to the replies to the next scripts, and to the next connections.
    replies: Fates,
    connections: Fates,
    /// The length of the longest reply to a script that has arrived since then.
    longest: Arc<AtomicUsize>,
    /// Ends the connections on which something is withheld.
    withheld: Arc<Notify>,
}

#[derive(Clone, Default)]
struct Fates(Arc<Mutex<VecDeque<Fate>>>);

impl Fates {
    fn set(&self, fates: impl IntoIterator<Item = Fate>) {
        *self.0.lock().unwrap() = fates.into_iter().collect();
    }

    fn next(&self) -> Option<Fate> {
        self.0.lock().unwrap().pop_front()
    }

    fn until_left(&self, count: usize) {
        until(|| self.0.lock().unwrap().len() <= count);
    }
}

impl CuttingProxy {
    /// Starts a proxy before a server, and returns the port to connect to.
    pub(crate) async fn before(server: &Server) -> (Self, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, to, proxy) =
            (listener.local_addr().unwrap().port(), server.port, Self::default());
        let accepting = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { continue };
                let fate = accepting.connections.next();
                let ((from, back), (replies, requests)) =
                    (client.into_split(), server.into_split());
                let asked = Arc::default();
                tokio::spawn(ask(from, requests, Arc::clone(&asked)));
                tokio::spawn(accepting.clone().answer(replies, back, asked, fate));
            }
        });
        (proxy, port)
    }

    async fn answer(
        self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        asked: Arc<AtomicUsize>,
        mut fate: Option<Fate>,
    ) -> io::Result<()> {
        let (mut bytes, mut last, mut arrived) = (vec![0; 65536], 0, 0);
        loop {
            let count = from.read(&mut bytes).await?;
            if count == 0 {
                return Ok(());
            }
            let scripts = asked.load(Ordering::SeqCst);
            if scripts != last {
                (last, arrived) = (scripts, 0);
                fate = fate.or_else(|| self.replies.next());
            }
            match &mut fate {
                None => {
                    to.write_all(&bytes[..count]).await?;
                    arrived += count;
                    if scripts > 0 {
                        self.longest.fetch_max(arrived, Ordering::SeqCst);
                    }
                }
                Some(Fate::Withheld) => {
                    self.withheld.notified().await;
                    return Ok(());
                }
                Some(Fate::Cut(left)) => {
                    let piece = count.min(*left);
                    to.write_all(&bytes[..piece]).await?;
                    *left -= piece;
                    if *left == 0 {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Sets what happens to the replies to the next scripts.
    pub(crate) fn cut_replies(&self, fates: impl IntoIterator<Item = Fate>) {
        self.longest.store(0, Ordering::SeqCst);
        self.replies.set(fates);
    }

    /// Sets what happens to the next connections, from their first byte on.
    pub(crate) fn cut_connections(&self, fates: impl IntoIterator<Item = Fate>) {
        self.connections.set(fates);
    }

    pub(crate) fn end_withheld(&self) {
        self.withheld.notify_waiters();
    }

    /// Waits until at most `count` of these have not happened yet.
    pub(crate) fn until_left(&self, count: usize) {
        self.replies.until_left(count);
        self.connections.until_left(count);
    }

    /// Waits for a whole reply, and returns its length.
    pub(crate) fn whole(&self) -> usize {
        until(|| self.longest.load(Ordering::SeqCst) > 0);
        self.longest.load(Ordering::SeqCst)
    }
}

/// Passes requests on, and counts those that run a script.
async fn ask(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    asked: Arc<AtomicUsize>,
) -> io::Result<()> {
    let mut bytes = vec![0; 65536];
    loop {
        let count = from.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        let script = bytes[..count].windows(4).any(|word| word == b"EVAL");
        asked.fetch_add(usize::from(script), Ordering::SeqCst);
        to.write_all(&bytes[..count]).await?;
    }
}
