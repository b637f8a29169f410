//! What can happen in a world, and what comes of it.

use std::collections::BTreeMap;

use stateright::{Model, Property};

use super::World;
use super::state::{Client, Flight, Node, Stage, State, Step};
use crate::campaign::{Answer, Motion};
use lock_core::backend::Ttl;

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
        let mut clients = vec![client; self.clients];
        for other in clients.iter_mut().skip(1).filter(|_| self.first_alone) {
            (other.attempts, other.patience) = (0, 0);
        }
        vec![State {
            nodes: vec![Node::default(); self.nodes],
            clients,
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
                Stage::Waiting
                    if !client.campaign.is_barred(|_| true) || !state.is_busy(number) =>
                {
                    steps.push(Step::Again(number));
                }
                _ => {}
            }
            let idle = self.is_of_whole_lives() && !state.is_listening(number);
            if idle && client.campaign.leaves_grants() {
                steps.push(Step::ReleaseAgain(number));
            }
        }
        for ((client, ask), flight) in &state.network {
            let node = &state.nodes[ask.node];
            let arrive = |expired| match flight {
                Flight::Sent | Flight::Late => Step::Arrive(*client, *ask, expired),
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
            if *flight == Flight::Sent && state.clients[*client].patience > 0 {
                steps.push(Step::BeLate(*client, *ask));
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
            Step::BeLate(client, ask) => {
                state.clients[client].patience -= 1;
                state.network.insert((client, ask), Flight::Late);
                let asks = state.clients[client].campaign.hear_nothing_yet(ask, ());
                self.send(state, client, asks);
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
