//! What holds in which worlds, and what is found in broken ones.

use stateright::{Checker, Model};

use super::{Flaw, World};

/// Looks at every state, and returns how many there are.
#[allow(clippy::print_stdout, reason = "figures are for people")]
fn holds(world: World) -> usize {
    let what = format!("{world:?}");
    let checker = world.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    println!("{} states of {what}", checker.unique_state_count());
    checker.unique_state_count()
}

/// Looks for a state in which something is wrong, and returns what that is.
fn fails(world: World) -> &'static str {
    let checker = world.checker().threads(2).spawn_bfs().join();
    let path = checker.discovery("nothing goes wrong").expect("the flaw is found");
    path.last_state().wrong.expect("something is wrong")
}

fn timed(nodes: usize, horizon: u8) -> World {
    World { horizon: Some(horizon), ..World::of(nodes, 2) }
}

#[test]
fn f1_q1_tokens_are_unique_and_grow_on_3_nodes() {
    assert!(holds(World { give_up: 1, ..World::of(3, 2) }) > 1_000);
    assert!(holds(World { give_up: 1, proposals: true, ..World::of(3, 2) }) > 1_000);
}

#[test]
fn f1_q1_tokens_are_unique_and_grow_on_an_even_number_of_nodes() {
    holds(World::of(2, 3));
    holds(World { proposals: true, ..World::of(2, 3) });
    holds(World { give_up: 1, ..World::of(4, 2) });
}

#[test]
#[ignore = "takes long without optimisation: `cargo xtask model`"]
fn f1_q1_requests_that_arrive_twice_do_no_harm() {
    holds(World { repeats: true, ..World::of(3, 2) });
}

#[test]
#[ignore = "takes long without optimisation: `cargo xtask model`"]
fn f1_q1_a_node_that_forgets_does_no_harm_where_time_is_a_floor() {
    holds(World { forget: 1, time_is_a_floor: true, ..World::of(3, 2) });
}

#[test]
fn e1_u1_claims_that_try_again_and_give_back_leave_nothing_behind() {
    assert!(holds(World { attempts: 2, give_up: 1, ..World::of(3, 1) }) > 10_000);
    assert!(holds(World { attempts: 1, ..World::of(2, 2) }) > 10_000);
}

#[test]
#[ignore = "takes long without optimisation: `cargo xtask model`"]
fn e1_u1_claims_that_give_up_twice_leave_nothing_behind() {
    assert!(holds(World { attempts: 2, give_up: 2, ..World::of(3, 1) }) > 100_000);
    assert!(holds(World { attempts: 1, give_up: 1, ..World::of(2, 2) }) > 1_000_000);
}

/// A release that is late to free an earlier attempt must not free the next one.
#[test]
#[ignore = "takes long without optimisation: `cargo xtask model`"]
fn e1_u1_an_attempt_after_a_late_undo_makes_no_two_holders() {
    let world = World { attempts: 2, give_up: 1, first_alone: true, ..World::of(2, 2) };
    assert!(holds(world) > 1_000_000);
}

#[test]
fn f1_q1_a_node_that_forgets_and_has_no_floor_is_found() {
    let world = World { forget: 1, ..World::of(3, 2) };
    assert_eq!(fails(world), "two acquisitions have the same token");
}

#[test]
fn f1_q1_one_round_of_maxima_is_found() {
    let world = World { proposals: true, ..World::of(3, 3) }.with(Flaw::OneRoundOfMaxima);
    assert_eq!(fails(world), "two acquisitions have the same token");
}

#[test]
fn f1_q1_a_raise_that_is_not_strict_is_found() {
    let world = World { give_up: 1, ..World::of(3, 2) }.with(Flaw::RaisesAreNotStrict);
    assert_eq!(fails(world), "two acquisitions have the same token");
}

#[test]
#[ignore = "takes long without optimisation: `cargo xtask model`"]
fn e1_q1_no_two_clients_rely_on_the_lock_at_once() {
    holds(timed(3, 3));
}

#[test]
#[ignore = "takes long without optimisation: `cargo xtask model`"]
fn e1_q1_bq6_a_deadline_counted_from_the_answer_is_found() {
    fails(timed(3, 3).with(Flaw::DeadlineFromTheAnswer));
}

#[test]
fn e1_q1_bq8_a_renewal_by_one_node_is_found() {
    fails(timed(3, 3).with(Flaw::RenewedByOneNode));
}

#[test]
fn e1_q1_a_lease_without_a_margin_for_drift_is_found() {
    fails(timed(3, 3).with(Flaw::NoMarginForDrift));
}

#[test]
fn e1_q1_a_node_that_forgets_breaks_exclusion_as_documented() {
    fails(World { forget: 1, ..timed(3, 3) });
}

#[test]
#[ignore = "takes long without optimisation: `cargo xtask model`"]
fn f1_q1_tokens_are_unique_and_grow_on_5_nodes() {
    assert!(holds(World { give_up: 1, ..World::of(5, 2) }) > 100_000);
    assert!(holds(World { proposals: true, ..World::of(5, 2) }) > 1_000_000);
}

#[test]
#[ignore = "takes long without optimisation: `cargo xtask model`"]
fn f1_q1_tokens_are_unique_and_grow_over_3_acquisitions() {
    assert!(holds(World::of(3, 3)) > 1_000_000);
}

#[test]
#[ignore = "takes long without optimisation: `cargo xtask model`"]
fn e1_q1_no_two_clients_rely_on_the_lock_at_once_for_4_ticks() {
    assert!(holds(timed(3, 4)) > 1_000_000);
}
