//! Checks the campaigns exhaustively: every order of requests, answers, losses, repetitions and
//! expiries that a small quorum can meet. The campaigns are the ones that run; nodes and network
//! are models, and each broken variant must be found out.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod checks;
mod state;
mod steps;

use std::time::Duration;

use self::state::{Client, Flight, Node, Stage, State};
use crate::campaign::{Answer, Ask, Campaign, Motion, Outcome, Reach, Request};
use lock_core::FencingToken;
use lock_core::backend::Ttl;

/// What a tick lasts, and how many of them a lease does: the margins for drift and clocks are then
/// just above one tick.
const TICK: Duration = Duration::from_millis(2);
const LEASE: u8 = 3;

/// A way in which the protocol could be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// The largest token of a majority is taken for agreed.
    OneRoundOfMaxima,
    /// A node goes to any token that anybody asks it to.
    RaisesAreNotStrict,
    /// The lease is counted from the answer.
    DeadlineFromTheAnswer,
    /// One node that renews is enough.
    RenewedByOneNode,
    /// The lease is counted to its very end.
    NoMarginForDrift,
}

/// What can happen, and how much of it.
#[derive(Clone, Debug)]
struct World {
    nodes: usize,
    clients: usize,
    flaw: Option<Flaw>,
    /// Requests may arrive twice.
    repeats: bool,
    /// Claims propose a token, which nodes never fall below.
    proposals: bool,
    /// How often a claim tries. Above zero it is a whole life: it tries again when it is refused,
    /// may be cancelled, releases what it holds, and gives back what it leaves behind; and no lease
    /// ends.
    attempts: u8,
    /// How often each client may stop waiting for a node.
    give_up: u8,
    /// Only the first client tries again and stops waiting; the others keep the number of states
    /// small.
    first_alone: bool,
    /// How many nodes may lose their memory, and whether they then go on above the time.
    forget: u8,
    time_is_a_floor: bool,
    /// Leases end by ticks, up to this one; without ticks they end at any moment.
    horizon: Option<u8>,
}

impl World {
    fn of(nodes: usize, clients: usize) -> Self {
        Self {
            nodes,
            clients,
            flaw: None,
            repeats: false,
            proposals: false,
            attempts: 0,
            give_up: 0,
            first_alone: false,
            forget: 0,
            time_is_a_floor: false,
            horizon: None,
        }
    }

    /// Whether claims live on after they were refused or granted; see `attempts`.
    fn is_of_whole_lives(&self) -> bool {
        self.attempts > 0
    }

    fn with(self, flaw: Flaw) -> Self {
        Self { flaw: Some(flaw), ..self }
    }

    /// Tokens and times are checked apart: the one needs no clock, the other no tokens.
    fn campaign(&self) -> Campaign<()> {
        Campaign::new(self.nodes, self.horizon.is_none())
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// How many ticks a holder may rely on its lease.
    fn lasts(&self) -> u8 {
        let ttl = Ttl::new(TICK * u32::from(LEASE)).unwrap();
        let valid =
            if self.has(Flaw::NoMarginForDrift) { ttl.as_duration() } else { ttl.validity() };
        u8::try_from(valid.as_nanos().div_ceil(TICK.as_nanos())).unwrap()
    }

    fn mint(&self, state: &mut State, node: usize, floor: Option<FencingToken>) -> FencingToken {
        if self.horizon.is_some() {
            return FencingToken::new(1).unwrap();
        }
        let counter = state.nodes[node].counter;
        let time = if self.time_is_a_floor { state.clock + 1 } else { 0 };
        let token = (counter + 1).max(time).max(floor.map_or(0, FencingToken::as_u64));
        state.nodes[node].counter = token;
        state.clock = state.clock.max(token);
        FencingToken::new(token).unwrap()
    }

    /// What a node does with a request: the laws of a store.
    fn serve(&self, state: &mut State, owner: usize, ask: Ask, expired: bool) -> Answer<()> {
        if expired {
            state.nodes[ask.node].holder = None;
        }
        let (node, ends) = (ask.node, state.now + LEASE);
        let mine = state.nodes[node].holder == Some(owner);
        let token = |node: &Node| FencingToken::new(node.counter);
        match ask.request {
            Request::Acquire { .. } if state.nodes[node].tombstones.contains(&owner) => {
                Answer::Undone
            }
            Request::Acquire { .. } if mine => {
                state.nodes[node].ends = ends;
                Answer::Yes(token(&state.nodes[node]))
            }
            Request::Acquire { floor } if state.nodes[node].holder.is_none() => {
                let token = self.mint(state, node, floor);
                let node = &mut state.nodes[node];
                (node.holder, node.ends) = (Some(owner), ends);
                Answer::Yes(Some(token))
            }
            Request::Raise(to) if self.has(Flaw::RaisesAreNotStrict) => {
                state.nodes[node].counter = to.as_u64();
                Answer::Yes(Some(to))
            }
            Request::Raise(to) if mine => {
                let node = &mut state.nodes[node];
                node.counter = node.counter.max(to.as_u64());
                Answer::Yes(token(node))
            }
            Request::Renew(_) if mine => {
                state.nodes[node].ends = ends;
                Answer::Yes(token(&state.nodes[node]))
            }
            Request::Release if mine => {
                state.nodes[node].holder = None;
                Answer::Yes(None)
            }
            Request::Release => {
                if !state.nodes[node].tombstones.contains(&owner) {
                    state.nodes[node].tombstones.push(owner);
                }
                Answer::No(None)
            }
            Request::Acquire { .. } | Request::Raise(_) | Request::Renew(_) => Answer::No(None),
        }
    }

    fn put(&self, state: &mut State, client: usize, motion: Motion) {
        let reach = vec![Reach::Awaited; self.nodes];
        let asks = state.clients[client].campaign.put(motion, &reach);
        state.clients[client].since = state.now;
        self.send(state, client, asks);
    }

    fn acquire(&self, state: &mut State, client: usize) {
        state.clients[client].stage = Stage::Acquiring;
        let floor = FencingToken::new(u64::from(self.proposals));
        self.put(state, client, Motion::Acquire { floor });
    }

    fn send(&self, state: &mut State, client: usize, asks: Vec<Ask>) {
        for ask in asks {
            let forgone = self.horizon.is_none() && !self.is_of_whole_lives();
            if forgone && ask.request == Request::Release {
                // Leases end at any moment anyway, and a tombstone would only forbid something.
                state.clients[client].campaign.hear(ask, Answer::No(None));
            } else {
                state.network.insert((client, ask), Flight::Sent);
            }
        }
        self.conclude(state, client);
    }

    fn hear(&self, state: &mut State, client: usize, ask: Ask, answer: Answer<()>) {
        if state.clients[client].stage == Stage::Done && !self.is_of_whole_lives() {
            return; // its campaign goes on with releases alone
        }
        let one = matches!((ask.request, &answer), (Request::Renew(_), Answer::Yes(_)));
        let asks = state.clients[client].campaign.hear(ask, answer);
        self.send(state, client, asks);
        if one && self.has(Flaw::RenewedByOneNode) && state.clients[client].stage == Stage::Renewing
        {
            self.renewed(state, client);
        }
    }

    /// Whether it makes no difference that an answer may be slow: what follows from it may be slow
    /// itself, and whoever knows of a grant sooner relies on it for longer.
    fn is_heard_at_once(&self, client: &Client, ask: Ask, answer: &Answer<()>) -> bool {
        let decided = matches!(client.stage, Stage::Holding | Stage::Done);
        match (ask.request, answer) {
            _ if self.has(Flaw::DeadlineFromTheAnswer) || self.is_of_whole_lives() => false,
            _ if self.horizon.is_some() || decided => true,
            // A refusal decides nothing unless a majority is out of reach already.
            (Request::Acquire { .. }, Answer::No(_)) => true,
            (Request::Raise(to), Answer::Yes(token)) => *token == Some(to),
            _ => false,
        }
    }

    fn arrived(&self, state: &mut State, client: usize, ask: Ask) {
        if self.repeats && matches!(ask.request, Request::Acquire { .. }) {
            state.network.insert((client, ask), Flight::Over);
        } else {
            state.network.remove(&(client, ask));
        }
    }

    /// Lets a client go on when its motion is decided.
    fn conclude(&self, state: &mut State, client: usize) {
        let hasty =
            self.has(Flaw::OneRoundOfMaxima) && state.clients[client].stage == Stage::Acquiring;
        let early = hasty.then(|| state.clients[client].campaign.largest_of_a_majority()).flatten();
        let outcome = match early {
            Some(token) => Some(Outcome::Passed(Some(token))),
            None => state.clients[client].campaign.outcome(),
        };
        let Some(outcome) = outcome else { return };
        match (state.clients[client].stage, outcome) {
            (Stage::Acquiring, Outcome::Passed(token)) => self.acquired(state, client, token),
            (Stage::Renewing, Outcome::Passed(token)) => {
                let known = state.clients[client].token;
                if self.is_of_whole_lives() && token.map_or(0, FencingToken::as_u64) != known {
                    state.wrong = Some("a renewal answers another token");
                }
                self.renewed(state, client);
            }
            (Stage::Renewing, Outcome::Failed(_)) => state.clients[client].stage = Stage::Renewed,
            (Stage::Holding | Stage::Renewed, _) => {}
            (Stage::Acquiring, outcome) if self.is_of_whole_lives() => {
                self.refused(state, client, &outcome);
            }
            (_, _) => state.clients[client].stage = Stage::Done,
        }
        if state.clients[client].stage == Stage::Done && !self.is_of_whole_lives() {
            state.clients[client].campaign = self.campaign();
            let answered = |key: &(usize, Ask), flight: &mut Flight| {
                key.0 != client || matches!(flight, Flight::Sent | Flight::Late | Flight::Stray)
            };
            state.network.retain(answered);
        }
    }

    fn until(&self, state: &State, client: usize) -> u8 {
        let late = self.has(Flaw::DeadlineFromTheAnswer);
        let since = if late { state.now } else { state.clients[client].since };
        since + self.lasts()
    }

    fn acquired(&self, state: &mut State, client: usize, token: Option<FencingToken>) {
        let (token, until) = (token.map_or(0, FencingToken::as_u64), self.until(state, client));
        if self.horizon.is_some() && state.now >= until {
            state.clients[client].stage = Stage::Done; // the grant came too late
            return;
        }
        if self.horizon.is_some() {
            // Tokens are checked elsewhere.
        } else if state.clients.iter().any(|other| other.token == token) {
            state.wrong = Some("two acquisitions have the same token");
        } else if token <= state.clients[client].before {
            state.wrong = Some("a later acquisition has a smaller token");
        }
        let client = &mut state.clients[client];
        (client.stage, client.token, client.until) = (Stage::Holding, token, until);
    }

    fn refused(&self, state: &mut State, number: usize, outcome: &Outcome<()>) {
        let client = &mut state.clients[number];
        if *outcome == Outcome::Undone {
            state.wrong = Some("an owner that has not released is answered that it has");
        } else if client.attempts > 0 {
            (client.stage, client.attempts) = (Stage::Waiting, client.attempts - 1);
        } else if client.campaign.leaves_traces() {
            client.stage = Stage::Releasing;
            self.put(state, number, Motion::Release);
        } else {
            client.stage = Stage::Done;
        }
    }

    fn renewed(&self, state: &mut State, client: usize) {
        let until = self.until(state, client);
        let now = state.now;
        let client = &mut state.clients[client];
        client.stage = Stage::Renewed;
        if now < client.until {
            client.until = client.until.max(until);
        }
    }
}
