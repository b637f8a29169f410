//! Checks the campaigns exhaustively: every order of requests, answers, losses, repetitions and
//! expiries that a small quorum can meet. The campaigns are the ones that run; nodes and network are
//! models, and each broken variant must be found out.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod checks;
mod state;

use std::collections::BTreeMap;
use std::time::Duration;

use stateright::{Model, Property};

use self::state::{Client, Flight, Node, Stage, State, Step};
use super::campaign::{Answer, Ask, Campaign, Motion, Outcome, Reach, Request};
use crate::claim::{FencingToken, Ttl};
use crate::engine::validity;

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
    /// How often a claim tries. Above zero it is a whole life: it tries again when it is refused, may be
    /// cancelled, releases what it holds, and gives back what it leaves behind; and no lease ends.
    attempts: u8,
    /// How often each client may stop waiting for a node.
    give_up: u8,
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
        let valid = if self.has(Flaw::NoMarginForDrift) { ttl.get() } else { validity(ttl) };
        u8::try_from(valid.as_nanos().div_ceil(TICK.as_nanos())).unwrap()
    }

    fn mint(&self, state: &mut State, node: usize, floor: Option<FencingToken>) -> FencingToken {
        if self.horizon.is_some() {
            return FencingToken::new(1).unwrap();
        }
        let counter = state.nodes[node].counter;
        let time = if self.time_is_a_floor { state.clock + 1 } else { 0 };
        let token = (counter + 1).max(time).max(floor.map_or(0, FencingToken::get));
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
                state.nodes[node].counter = to.get();
                Answer::Yes(Some(to))
            }
            Request::Raise(to) if mine => {
                let node = &mut state.nodes[node];
                node.counter = node.counter.max(to.get());
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
                if self.is_of_whole_lives() && token.map_or(0, FencingToken::get) != known {
                    state.wrong = Some("a renewal tells another token");
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
                key.0 != client || matches!(flight, Flight::Sent | Flight::Stray)
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
        let (token, until) = (token.map_or(0, FencingToken::get), self.until(state, client));
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
            state.wrong = Some("an owner that has not released is told that it has");
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

impl Model for World {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let client = Client {
            campaign: self.campaign(),
            stage: Stage::Idle,
            since: 0,
            before: 0,
            token: 0,
            until: 0,
            patience: self.give_up,
            attempts: self.attempts.saturating_sub(1),
        };
        vec![State {
            nodes: vec![Node::default(); self.nodes],
            clients: vec![client; self.clients],
            network: BTreeMap::new(),
            now: 0,
            clock: 0,
            forgotten: 0,
            wrong: None,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.wrong.is_some() {
            return;
        }
        let timed = self.horizon.is_some();
        for (number, client) in state.clients.iter().enumerate() {
            let first = number == 0 || state.clients[number - 1].stage != Stage::Idle;
            match client.stage {
                // All clients are alike, so their order of beginning is.
                Stage::Idle if first => steps.push(Step::Begin(number)),
                Stage::Holding if timed => steps.push(Step::Renew(number)),
                Stage::Acquiring | Stage::Holding | Stage::Renewed if self.is_of_whole_lives() => {
                    steps.push(Step::Release(number));
                    if client.stage == Stage::Holding {
                        steps.push(Step::Renew(number));
                    }
                }
                Stage::Waiting if !client.campaign.is_barred() || !state.is_busy(number) => {
                    steps.push(Step::Again(number));
                }
                _ => {}
            }
            let idle = self.is_of_whole_lives() && !state.is_busy(number);
            if idle && client.campaign.leaves_grants() {
                steps.push(Step::ReleaseAgain(number));
            }
        }
        for ((client, ask), flight) in &state.network {
            let node = &state.nodes[ask.node];
            let arrive = |expired| match flight {
                Flight::Sent => Step::Arrive(*client, *ask, expired),
                Flight::Stray | Flight::Answered(_) | Flight::Over => {
                    Step::Repeat(*client, *ask, expired)
                }
            };
            if !matches!(flight, Flight::Answered(_)) {
                steps.push(arrive(false));
                // A node's clock may be a tick ahead.
                let ends = node.holder.is_some() && !self.is_of_whole_lives();
                if ends && (!timed || state.now + 1 >= node.ends) {
                    steps.push(arrive(true));
                }
            }
            if matches!(flight, Flight::Answered(_)) {
                steps.push(Step::Answer(*client, *ask));
            }
            // An answer that comes after that is as good as none.
            if *flight == Flight::Sent && state.clients[*client].patience > 0 {
                steps.push(Step::GiveUp(*client, *ask));
                if self.is_of_whole_lives() {
                    steps.push(Step::Refuse(*client, *ask));
                }
            }
        }
        if state.forgotten < self.forget {
            steps.extend((0..self.nodes).map(Step::Forget));
        }
        if self.horizon.is_some_and(|horizon| state.now < horizon) {
            steps.push(Step::Tick);
        }
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut next = before.clone();
        let state = &mut next;
        match step {
            Step::Begin(client) => {
                let tokens = state.clients.iter().map(|client| client.token);
                let largest = tokens.max().unwrap_or_default();
                state.clients[client].before = largest;
                self.acquire(state, client);
            }
            Step::Again(client) => self.acquire(state, client),
            Step::Release(client) => {
                if state.clients[client].stage == Stage::Acquiring {
                    state.abandon(client);
                }
                state.clients[client].stage = Stage::Releasing;
                self.put(state, client, Motion::Release);
            }
            Step::Renew(client) => {
                state.clients[client].stage = Stage::Renewing;
                self.put(state, client, Motion::Renew(Ttl::MIN));
            }
            Step::Arrive(client, ask, expired) => {
                let answer = self.serve(state, client, ask, expired);
                if self.is_heard_at_once(&state.clients[client], ask, &answer) {
                    self.arrived(state, client, ask);
                    self.hear(state, client, ask, answer);
                } else {
                    state.network.insert((client, ask), Flight::Answered(answer));
                }
            }
            Step::Answer(client, ask) => {
                let flight = state.network.get(&(client, ask)).cloned();
                self.arrived(state, client, ask);
                let Some(Flight::Answered(answer)) = flight else { return None };
                self.hear(state, client, ask, answer);
            }
            Step::GiveUp(client, ask) => {
                state.clients[client].patience -= 1;
                state.network.insert((client, ask), Flight::Stray);
                self.hear(state, client, ask, Answer::Failed { error: (), applied: true });
            }
            Step::Refuse(client, ask) => {
                state.clients[client].patience -= 1;
                state.network.remove(&(client, ask));
                self.hear(state, client, ask, Answer::Failed { error: (), applied: false });
            }
            Step::ReleaseAgain(client) => {
                let asks = state.clients[client].campaign.release_again();
                self.send(state, client, asks);
            }
            Step::Repeat(client, ask, expired) => {
                self.serve(state, client, ask, expired);
                state.network.remove(&(client, ask));
            }
            Step::Forget(node) => {
                state.nodes[node] = Node::default();
                state.forgotten += 1;
            }
            Step::Tick => state.now += 1,
        }
        let holds = |client: &&Client| match self.horizon {
            Some(_) => {
                !matches!(client.stage, Stage::Idle | Stage::Done) && state.now < client.until
            }
            None => {
                self.is_of_whole_lives()
                    && matches!(client.stage, Stage::Holding | Stage::Renewing | Stage::Renewed)
            }
        };
        if state.clients.iter().filter(holds).count() > 1 {
            state.wrong = Some("two clients rely on the lock at once");
        }
        let all_is_over = state.network.values().all(|flight| *flight == Flight::Over)
            && state
                .clients
                .iter()
                .all(|one| one.stage == Stage::Done && !one.campaign.leaves_grants());
        let kept = state.nodes.iter().any(|node| node.holder.is_some());
        if self.is_of_whole_lives() && all_is_over && kept {
            state.wrong = Some("a node keeps what nobody holds");
        }
        next.normalise();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing goes wrong", |_, state: &State| state.wrong.is_none()),
            Property::sometimes("an acquisition succeeds", |_, state: &State| {
                state.clients.iter().any(|client| client.stage == Stage::Holding)
            }),
        ]
    }
}
