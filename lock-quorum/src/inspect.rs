//! Finds out who holds a key.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;

use super::Shared;
use super::campaign::Campaign;
use super::lock::QuorumLock;
use super::node::{Pending, Requests};
use lock_core::{Error, Holder, Result, limited};

/// Whom a majority of nodes names as holder.
pub(super) struct Seen {
    pub(super) holder: Holder,
    /// A majority names the same token as well, or there are none.
    pub(super) agreed: bool,
}

impl QuorumLock {
    /// Asks the nodes that can be relied on, and the others if those cannot tell.
    pub(super) async fn look(&self) -> Result<Option<Seen>> {
        let Shared { nodes, clock, .. } = &*self.voters.shared;
        let majority = Campaign::<Error>::majority_of(nodes.len());
        let (reliable, mut others): (Vec<_>, Vec<_>) =
            (0..nodes.len()).partition(|number| nodes[*number].is_reliable());
        let mut requests: Requests<_> =
            reliable.iter().map(|node| self.ask_holder(*node)).collect();
        let (mut answers, mut errors, mut given) = (Vec::new(), Vec::new(), 0);
        loop {
            let Some((number, answer)) = requests.next().await else {
                if others.is_empty() {
                    break;
                }
                requests.extend(others.drain(..).map(|node| self.ask_holder(node)));
                continue;
            };
            match answer {
                Ok(holder) => {
                    nodes[number].worked();
                    given += 1;
                    answers.extend(holder);
                }
                Err(error) => {
                    if error.is_unavailable() {
                        nodes[number].failed(clock.now());
                    }
                    errors.push((number, error));
                }
            }
            let seen = elected(&answers, majority, self.voters.shared.fences());
            if seen.as_ref().is_some_and(|seen| seen.agreed) {
                return Ok(seen);
            }
            // Whatever the others would say, nobody has a majority.
            if nodes.len() - given + most_alike(&answers) < majority {
                return Ok(None);
            }
        }
        match elected(&answers, majority, self.voters.shared.fences()) {
            Some(seen) => Ok(Some(seen)),
            None => Err(self.failure(errors)),
        }
    }

    fn ask_holder(&self, number: usize) -> Pending<(usize, Result<Option<Holder>>)> {
        let Shared { nodes, clock, node_timeout, .. } = &*self.voters.shared;
        let lock = nodes[number].provider.lock(self.voters.claim.clone());
        let (clock, limit) = (Arc::clone(clock), *node_timeout);
        Box::pin(async move { (number, limited(&*clock, limit, (*lock).inspect()).await) })
    }
}

/// How many answers name one owner, at the most.
fn most_alike(answers: &[Holder]) -> usize {
    let alike = |one: &Holder| answers.iter().filter(|other| other.owner() == one.owner()).count();
    answers.iter().map(alike).max().unwrap_or_default()
}

/// Finds the holder that a majority names; of what it tells of times, a majority tells no less.
fn elected(answers: &[Holder], majority: usize, fences: bool) -> Option<Seen> {
    let of_majority = |same: &dyn Fn(&Holder) -> bool| {
        answers.iter().filter(|holder| same(holder)).count() >= majority
    };
    let by_owner = |one: &&Holder| of_majority(&|other| other.owner() == one.owner());
    let named = answers.iter().find(by_owner)?;
    let theirs = || answers.iter().filter(|other| other.owner() == named.owner());
    let mut times: Vec<Duration> = theirs().filter_map(Holder::remaining).collect();
    times.sort_unstable_by(|a, b| b.cmp(a));
    let by_token = |one: &&Holder| {
        of_majority(&|other| other.owner() == one.owner() && other.fencing() == one.fencing())
    };
    let fencing = theirs().find(by_token).and_then(Holder::fencing);
    // The other facts of a foreign holder are the same at all nodes, or unknown.
    let holder =
        named.clone().with_remaining(times.get(majority - 1).copied()).with_fencing(fencing);
    Some(Seen { holder, agreed: !fences || fencing.is_some() })
}
