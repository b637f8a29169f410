//! What the locks of one quorum share: the nodes, the clock, and the lead of the nodes' tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use lock_core::backend::{Effect, ProviderInfo};
use lock_core::clock::{Clock, Moment, SystemClock};
use lock_core::{Capabilities, Capability, Error, ErrorKind, FencingToken, Result};

use crate::campaign::{Campaign, Reach};
use crate::node::Node;

/// How far ahead of the nodes' clocks a token is proposed. Requests arrive at different times, and
/// each node would answer with its own time: two round trips always. So the proposal is ahead of
/// all arrivals.
const LEAD_MICROS: i64 = 5_000;

/// What the locks of one quorum share.
pub(crate) struct Shared {
    pub(crate) info: ProviderInfo,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) nodes: Box<[Node]>,
    pub(crate) node_timeout: Duration,
    /// Every node has fencing tokens that can be raised.
    fences: bool,
    /// Every node reports its holder.
    inspects: bool,
    /// How far the nodes' tokens were ahead of our clock, in µs: a guess, which answers correct. A
    /// wrong one costs a second round trip, and breaks no promise.
    lead: AtomicI64,
}

impl Shared {
    pub(crate) fn new(nodes: Box<[Node]>, node_timeout: Duration) -> Result<Self> {
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
        let capabilities = || nodes.iter().map(|node| Capabilities::of(&*node.provider));
        let everywhere = |one| capabilities().all(|capabilities| capabilities.has(one));
        let fences = everywhere(Capability::Fencing) && everywhere(Capability::FencingFloor);
        let inspects = everywhere(Capability::Inspect);
        let mut info = ProviderInfo::new("quorum")
            .with_fencing(fences)
            .with_metadata(everywhere(Capability::Metadata))
            .with_resending(infos().any(ProviderInfo::may_resend));
        if let Some(most) = infos().map(ProviderInfo::max_key_len).min() {
            info = info.with_max_key_len(most);
        }
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
        let lead = AtomicI64::new(lead);
        Ok(Self { info, clock, nodes, node_timeout, fences, inspects, lead })
    }

    /// Whether a majority agrees on fencing tokens.
    pub(crate) fn fences(&self) -> bool {
        self.fences
    }

    pub(crate) fn inspects(&self) -> bool {
        self.inspects
    }

    pub(crate) fn campaign(&self) -> Campaign<Error> {
        Campaign::new(self.nodes.len(), self.fences())
    }

    pub(crate) fn reach(&self) -> Vec<Reach> {
        let now = self.clock.now();
        self.nodes.iter().map(|node| node.reach(now, self.node_timeout)).collect()
    }

    /// Proposes a token that every node is likely to take, so that one round trip is enough.
    pub(crate) fn proposal(&self) -> Option<FencingToken> {
        if !self.fences() {
            return None;
        }
        let lead = self.lead.load(Ordering::Relaxed);
        let proposed = micros(self.clock.now()).saturating_add(lead).saturating_add(LEAD_MICROS);
        FencingToken::new(u64::try_from(proposed).ok()?)
    }

    /// Learns from a node's token how far its clock is ahead, if it did not take what was proposed.
    pub(crate) fn learn(&self, sent: Moment, floor: Option<FencingToken>, token: FencingToken) {
        let lead = i64::try_from(token.as_u64()).unwrap_or(i64::MAX).saturating_sub(micros(sent));
        match floor {
            Some(floor) if floor == token => {}
            Some(floor) if token < floor => self.lead.store(lead, Ordering::Relaxed),
            _ => drop(self.lead.fetch_max(lead, Ordering::Relaxed)),
        }
    }

    /// Makes one error of those of the nodes.
    pub(crate) fn failure(&self, errors: Vec<(usize, Error)>) -> Error {
        let size = self.nodes.len();
        // What a majority says is what the quorum says; else it is out of reach.
        let needed = Campaign::<Error>::majority_of(size);
        let same = |kind| errors.iter().filter(|(_, error)| error.kind() == kind).count();
        let kind = errors.iter().map(|(_, error)| error.kind()).find(|kind| same(*kind) >= needed);
        let kind = kind.unwrap_or(ErrorKind::Unavailable);
        let reported: Vec<_> =
            errors.iter().map(|(node, error)| format!("node {}: {error:#}", node + 1)).collect();
        let why = match reported.join("; ") {
            none if none.is_empty() => "the others failed recently, or have not yet confirmed the \
                rollback of an earlier attempt"
                .into(),
            some => some,
        };
        let message = format!("cannot reach a majority: need {needed} of {size} nodes; {why}");
        let untouched = errors.len() == size
            && errors.iter().all(|(_, error)| error.effect() == Effect::NotApplied);
        let effect = if untouched { Effect::NotApplied } else { Effect::Unknown };
        let error = Error::new(kind, message).with_effect(effect);
        match errors.into_iter().next() {
            Some((_, source)) => error.with_source(source),
            None => error,
        }
    }
}

fn micros(moment: Moment) -> i64 {
    i64::try_from(moment.since_start().as_micros()).unwrap_or(i64::MAX)
}
