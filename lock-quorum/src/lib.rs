#![doc = include_str!("../README.md")]

mod campaign;
mod inspect;
mod lock;
#[cfg(test)]
mod model;
mod node;
mod voters;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use self::campaign::{Campaign, Reach};
use self::lock::QuorumLock;
use self::node::Node;
use lock_core::{
    Capabilities, Capability, Claim, Clock, Error, ErrorKind, FencingToken, Lock, LockProvider,
    Moment, ProviderInfo, Result, SystemClock,
};

/// How far ahead of the nodes' clocks a token is proposed: further than requests differ in their way.
const LEAD_MICROS: i64 = 5_000;

/// Keeps locks on a majority of independent nodes, after Redlock, with fencing tokens.
///
/// | promise | how it is kept |
/// |---|---|
/// | exclusion | a grant needs more than half of the nodes that are *configured*; it counts from before the first request |
/// | fencing | a majority agrees on one token, larger than every earlier one, without a consensus protocol |
/// | a node is frozen, dead or cut off | answers of the others decide; from the second request on it is not waited for |
/// | a minority of the nodes forgets | fencing survives if clocks are in step; exclusion needs the node to stay away for a ttl |
/// | cost | one round trip for a cycle's acquisition, two when tokens differ; one for its release |
///
/// Nodes are providers of any kind, independent of each other: replicas of one store are none. They
/// should be an odd number, as four survive no more failures than three.
///
/// Fencing needs nodes with [`Capability::FencingFloor`]. The order of tokens rests on no clock as
/// long as nodes remember; see the project's `DESIGN.md` for the protocol and its check.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use lock_core::LockClient;
/// use lock_memory::MemoryProvider;
/// use lock_quorum::Quorum;
///
/// let nodes = [MemoryProvider::new(), MemoryProvider::new(), MemoryProvider::new()];
/// let locks = LockClient::new(Quorum::of(nodes)?);
/// let guard = locks.lock("report").acquire().await?;
/// assert!(guard.fencing_token().is_some());
/// # Ok::<(), lock_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Quorum {
    shared: Arc<Shared>,
}

/// What the locks of one quorum share.
struct Shared {
    info: ProviderInfo,
    clock: Arc<dyn Clock>,
    nodes: Box<[Node]>,
    node_timeout: Duration,
    /// How far the nodes' tokens were ahead of our clock, in µs.
    lead: AtomicI64,
}

impl Quorum {
    /// How long one node may take to answer, unless [`node_timeout`](Quorum::node_timeout) says
    /// otherwise: 200 ms.
    pub const DEFAULT_NODE_TIMEOUT: Duration = Duration::from_millis(200);

    /// Makes a quorum of nodes.
    ///
    /// # Errors
    ///
    /// [`Misconfigured`](ErrorKind::Misconfigured) without nodes, for more than 255, and where one is
    /// named twice.
    pub fn of<P: LockProvider>(nodes: impl IntoIterator<Item = P>) -> Result<Self> {
        let nodes = nodes.into_iter().map(|node| Node::new(Arc::new(node))).collect();
        Ok(Self { shared: Arc::new(Shared::new(nodes, Self::DEFAULT_NODE_TIMEOUT)?) })
    }

    /// Sets how long one node may take to answer before the others decide without it; 200 ms unless
    /// told. A node that once took longer is not waited for again until it has answered.
    ///
    /// # Errors
    ///
    /// [`Misconfigured`](ErrorKind::Misconfigured) for zero.
    pub fn node_timeout(self, limit: Duration) -> Result<Self> {
        if limit.is_zero() {
            let message = "the time limit of a node is zero; it must be longer";
            return Err(Error::new(ErrorKind::Misconfigured, message));
        }
        let nodes = self.shared.nodes.iter().map(Node::again).collect();
        Ok(Self { shared: Arc::new(Shared::new(nodes, limit)?) })
    }
}

impl LockProvider for Quorum {
    fn info(&self) -> &ProviderInfo {
        &self.shared.info
    }

    fn lock(&self, claim: Claim) -> Arc<dyn Lock> {
        Arc::new(QuorumLock::new(Arc::clone(&self.shared), claim))
    }
}

impl fmt::Debug for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.shared.nodes.iter().map(|node| &node.provider);
        f.debug_list().entries(nodes).finish()
    }
}

impl Shared {
    fn new(nodes: Box<[Node]>, node_timeout: Duration) -> Result<Self> {
        let refuse = |why: String| Err(Error::new(ErrorKind::Misconfigured, why));
        if nodes.is_empty() || nodes.len() > 255 {
            return refuse(format!("a quorum has 1 to 255 nodes, not {}", nodes.len()));
        }
        for (number, node) in nodes.iter().enumerate() {
            let id = node.provider.info().store_id();
            let same = |other: &Node| id.is_some() && other.provider.info().store_id() == id;
            if let Some(other) = nodes[..number].iter().position(same) {
                return refuse(format!(
                    "nodes {} and {} of the quorum are one and the same store; every node must be another",
                    other + 1,
                    number + 1
                ));
            }
        }
        let infos = || nodes.iter().map(|node| node.provider.info());
        let everywhere = |one| infos().all(|info| info.capabilities().has(one));
        let has = |one: &Capability| match one {
            Capability::Fencing | Capability::FencingFloor => {
                everywhere(Capability::Fencing) && everywhere(Capability::FencingFloor)
            }
            Capability::Inspect | Capability::Metadata => everywhere(*one),
            _ => false,
        };
        let capabilities = Capabilities::of(Capability::ALL.into_iter().filter(has));
        let resending = infos().any(ProviderInfo::may_resend);
        let mut info = ProviderInfo::new("quorum", capabilities).with_resending(resending);
        let shortest = infos().map(|info| *info.ttls().start()).max();
        let longest = infos().map(|info| *info.ttls().end()).min();
        if let (Some(shortest), Some(longest)) = (shortest, longest) {
            if shortest > longest {
                return refuse("no ttl is one that all nodes can keep".into());
            }
            info = info.with_ttls(shortest..=longest);
        }
        let brought = infos().find_map(|info| info.clock().cloned());
        if let Some(clock) = &brought {
            info = info.with_clock(Arc::clone(clock));
        }
        let clock = brought.unwrap_or_else(|| Arc::new(SystemClock));
        // The first guess is that the nodes' clocks show what ours does.
        let ours = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let ours = i64::try_from(ours.as_micros()).unwrap_or_default();
        let lead = ours.saturating_sub(micros(clock.now()));
        Ok(Self { info, clock, nodes, node_timeout, lead: AtomicI64::new(lead) })
    }

    fn fences(&self) -> bool {
        self.info.capabilities().has(Capability::Fencing)
    }

    fn campaign(&self) -> Campaign<Error> {
        Campaign::new(self.nodes.len(), self.fences())
    }

    fn reach(&self) -> Vec<Reach> {
        let now = self.clock.now();
        self.nodes.iter().map(|node| node.reach(now, self.node_timeout)).collect()
    }

    /// Proposes a token that every node is likely to take, so that one round trip is enough.
    fn proposal(&self) -> Option<FencingToken> {
        if !self.fences() {
            return None;
        }
        let lead = self.lead.load(Ordering::Relaxed);
        let proposed = micros(self.clock.now()).saturating_add(lead).saturating_add(LEAD_MICROS);
        FencingToken::new(u64::try_from(proposed).ok()?)
    }

    /// Learns from a node's token how far its clock is ahead, if it did not take what was proposed.
    fn learn(&self, sent: Moment, floor: Option<FencingToken>, token: FencingToken) {
        let lead = i64::try_from(token.get()).unwrap_or(i64::MAX).saturating_sub(micros(sent));
        match floor {
            Some(floor) if floor == token => {}
            Some(floor) if token < floor => self.lead.store(lead, Ordering::Relaxed),
            _ => drop(self.lead.fetch_max(lead, Ordering::Relaxed)),
        }
    }
}

fn micros(moment: Moment) -> i64 {
    i64::try_from(moment.since_start().as_micros()).unwrap_or(i64::MAX)
}
