//! What the world of a model is like at one moment, and what can happen next.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::campaign::{Answer, Ask, Campaign};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) nodes: Vec<Node>,
    pub(super) clients: Vec<Client>,
    pub(super) network: BTreeMap<(usize, Ask), Flight>,
    pub(super) now: u8,
    /// The time, as tokens count it: it goes on at least as fast as they are minted.
    pub(super) clock: u64,
    pub(super) forgotten: u8,
    pub(super) wrong: Option<&'static str>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Node {
    pub(super) holder: Option<usize>,
    pub(super) ends: u8,
    pub(super) counter: u64,
    pub(super) tombstones: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client {
    pub(super) campaign: Campaign<()>,
    pub(super) stage: Stage,
    /// When the motion was put, or, wrongly, answered.
    pub(super) since: u8,
    /// The largest token that anybody had when it began.
    pub(super) before: u64,
    pub(super) token: u64,
    pub(super) until: u8,
    /// How many nodes it may still give up: a minority, or it would get nowhere.
    pub(super) patience: u8,
    /// How often it may yet try again.
    pub(super) attempts: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    Idle,
    Acquiring,
    /// Refused, and about to try again.
    Waiting,
    Holding,
    Renewing,
    Renewed,
    Releasing,
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Flight {
    Sent,
    /// As `Sent`, but its client does not wait for the answer any longer.
    Late,
    /// Its client has stopped waiting, and it may still arrive.
    Stray,
    Answered(Answer<()>),
    /// The answer has arrived or is lost, but the request may arrive again.
    Over,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Begin(usize),
    Again(usize),
    Renew(usize),
    /// A client releases what it holds, or is cancelled and undoes what it may hold.
    Release(usize),
    /// A request arrives, and finds that the lease on its key has ended, or not.
    Arrive(usize, Ask, bool),
    Answer(usize, Ask),
    Repeat(usize, Ask, bool),
    /// A client stops waiting for a node, and hears its answer when it comes.
    BeLate(usize, Ask),
    /// A client stops listening to a node.
    GiveUp(usize, Ask),
    /// A request cannot be sent.
    Refuse(usize, Ask),
    /// Nodes that have not taken a release are asked once more.
    ReleaseAgain(usize),
    Forget(usize),
    Tick,
}

impl State {
    /// Whether requests of a client are under way that it waits for.
    pub(super) fn is_busy(&self, client: usize) -> bool {
        let awaited = |flight: &Flight| matches!(flight, Flight::Sent | Flight::Answered(_));
        self.network.iter().any(|((of, _), flight)| *of == client && awaited(flight))
    }

    /// Whether a client may still hear something.
    pub(super) fn is_listening(&self, client: usize) -> bool {
        let late = |flight: &Flight| *flight == Flight::Late;
        self.is_busy(client)
            || self.network.iter().any(|((of, _), flight)| *of == client && late(flight))
    }

    /// A client hears no answer any more to what it has asked; what is on its way may arrive.
    pub(super) fn abandon(&mut self, client: usize) {
        self.network.retain(|(of, _), flight| {
            if *of == client && matches!(flight, Flight::Sent | Flight::Late) {
                *flight = Flight::Stray;
            }
            *of != client || !matches!(flight, Flight::Answered(_))
        });
    }

    /// Puts the nodes into an order of their own: states that differ by the names of nodes are one.
    pub(super) fn normalise(&mut self) {
        let flights = |node: usize| {
            let to = self.network.iter().filter(move |((_, ask), _)| ask.node == node);
            to.map(|((client, ask), flight)| (client, ask.request, ask.number, flight))
        };
        let mut order: Vec<_> = (0..self.nodes.len()).collect();
        order.sort_by(|one, other| {
            let by_clients = || {
                let each = self.clients.iter().map(|client| client.campaign.compare(*one, *other));
                each.reduce(Ordering::then).unwrap_or(Ordering::Equal)
            };
            let by_node = self.nodes[*one].cmp(&self.nodes[*other]);
            by_node.then_with(by_clients).then_with(|| flights(*one).cmp(flights(*other)))
        });
        if order.is_sorted() {
            return;
        }
        self.nodes = order.iter().map(|node| self.nodes[*node].clone()).collect();
        self.clients.iter_mut().for_each(|client| client.campaign.reorder(&order));
        let network = std::mem::take(&mut self.network);
        self.network.extend(network.into_iter().map(|((client, mut ask), flight)| {
            ask.node = order.iter().position(|node| *node == ask.node).unwrap();
            ((client, ask), flight)
        }));
    }
}
