//! Finds out who holds a key.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lock_core::backend::limited;
use lock_core::{Error, ErrorKind, Holder, LockKey, Occupancy, Result};

use crate::campaign::Campaign;
use crate::node::{Pending, Requests};
use crate::shared::Shared;

/// How often nodes are asked whose tokens differ, before the holder is shown without one.
const INSPECTIONS: usize = 4;

/// Whom a majority of nodes names as holder.
struct Seen {
    holder: Holder,
    /// A majority names the same token as well, or there are none.
    agreed: bool,
}

/// Reports who holds a key at a majority of the nodes.
///
/// Returns the owner that a majority reports, with the token that a majority reports. Returns a
/// free key once no owner can reach a majority, whatever the missing nodes would answer. Otherwise
/// it is unavailable. An owner whose acquisition is under way may be reported with a token that
/// still grows; every token that is reported is larger than those of earlier holders.
pub(crate) async fn inspect(shared: &Shared, key: &LockKey) -> Result<Occupancy> {
    let mut last = None;
    for _ in 0..=INSPECTIONS {
        last = look(shared, key).await?;
        if last.as_ref().is_none_or(|seen| seen.agreed) {
            break;
        }
    }
    Ok(last.map_or_else(Occupancy::free, |seen| Occupancy::held_by(seen.holder)))
}

/// Asks the nodes that can be relied on, and the others if those cannot tell.
async fn look(shared: &Shared, key: &LockKey) -> Result<Option<Seen>> {
    let Shared { nodes, clock, .. } = shared;
    let ask = |node: usize| ask_holder(shared, key, node);
    let majority = Campaign::<Error>::majority_of(nodes.len());
    let (reliable, mut others): (Vec<_>, Vec<_>) =
        (0..nodes.len()).partition(|number| nodes[*number].is_reliable());
    let mut requests: Requests<_> = reliable.into_iter().map(ask).collect();
    let (mut answers, mut errors, mut given) = (Vec::new(), Vec::new(), 0);
    loop {
        let Some((number, answer)) = requests.next().await else {
            if others.is_empty() {
                break;
            }
            requests.extend(others.drain(..).map(ask));
            continue;
        };
        match answer {
            Ok(occupancy) => {
                nodes[number].worked();
                given += 1;
                answers.extend(occupancy.holder().cloned());
            }
            Err(error) => {
                if error.is_unavailable() {
                    nodes[number].failed(clock.now());
                }
                errors.push((number, error));
            }
        }
        let seen = elected(&answers, majority, shared.fences());
        if seen.as_ref().is_some_and(|seen| seen.agreed) {
            return Ok(seen);
        }
        // Whatever the others would report, nobody has a majority.
        if nodes.len() - given + most_alike(&answers) < majority {
            return Ok(None);
        }
    }
    match elected(&answers, majority, shared.fences()) {
        Some(seen) => Ok(Some(seen)),
        None => Err(shared.failure(errors)),
    }
}

fn ask_holder(
    shared: &Shared,
    key: &LockKey,
    number: usize,
) -> Pending<(usize, Result<Occupancy>)> {
    let provider = Arc::clone(&shared.nodes[number].provider);
    let (clock, limit, key) = (Arc::clone(&shared.clock), shared.node_timeout, key.clone());
    Box::pin(async move {
        let answer = match provider.as_inspect() {
            Some(inspect) => limited(&*clock, limit, inspect.inspect(&key)).await,
            None => Err(Error::new(ErrorKind::Unsupported, "a node cannot report its holder")),
        };
        (number, answer)
    })
}

/// How many answers name one owner, at the most.
fn most_alike(answers: &[Holder]) -> usize {
    let alike = |one: &Holder| answers.iter().filter(|other| other.owner() == one.owner()).count();
    answers.iter().map(alike).max().unwrap_or_default()
}

/// Finds the holder that a majority names. Its remaining time is the longest that a majority
/// confirms.
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
