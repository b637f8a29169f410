//! The cases, one file per law family. Each is a public async function over a [`Subject`], named
//! after the law (`e1`, `g2` …) and the known bug (`bl21`, `bw5` …) that it shows; the project's
//! `LAWS.md` lists them.

pub mod exclusion;
pub mod expiry;
pub mod fencing;
pub mod floor;
pub mod guard;
pub mod handover;
pub mod hints;
pub mod inspect;
pub mod keys;
pub mod loss;
pub mod owner;
pub mod queue;
pub mod release;
#[cfg(feature = "schedules")]
pub mod schedules;
pub mod turns;
pub mod undo;
pub mod waiting;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use lock_core::backend::{Attempt, Release, Renewal};
use lock_core::clock::Clock;
use lock_core::{FencingToken, Lock, LockKey};
use tokio::task::JoinHandle;

use crate::handle::Handle;
use crate::{Case, Subject};

/// The only list of cases. Everything that runs all of them reads it.
#[doc(hidden)]
#[macro_export]
macro_rules! __cases {
    ($callback:ident $($arguments:tt)*) => {
        $crate::__with_schedules! { $callback $($arguments)*
            exclusion {
                e1_one_of_two_owners_is_granted,
                e1_bl35_one_of_64_racing_owners_is_granted,
                e1_bl35_one_of_64_racing_owners_takes_over_an_expired_lease,
                e1_a_released_key_is_granted_to_others,
                e1_keys_are_independent,
                e1_a_refused_attempt_changes_nothing,
                e1_f1_holds_of_16_workers_never_overlap_and_their_tokens_grow,
                e2_the_same_owner_is_granted_again_with_the_same_token,
                e2_granting_again_gives_the_whole_ttl_and_cuts_nothing,
                e2_bl17_a_request_that_is_sent_many_times_at_once_is_one_grant,
                e3_bl4_metadata_cannot_pass_for_an_owner,
            }
            owner {
                e2_locks_of_one_claim_are_interchangeable,
                e3_bl2_a_stranger_can_neither_renew_nor_release,
                e3_bl4_owners_that_look_alike_are_strangers,
                e3_bl14_a_release_that_is_sent_many_times_at_once_frees_the_key_once,
                e4_bl3_a_stale_owner_cannot_touch_its_successor,
                e3_bl12_a_release_after_expiry_says_not_held,
                e3_bl13_a_second_release_touches_nobody,
                e3_bl39_releasing_what_was_never_acquired_says_not_held,
                e4_every_acquisition_of_a_client_has_its_own_owner_token,
            }
            expiry {
                t1_bl11_a_lease_never_ends_early,
                t1_an_expired_key_is_granted_to_others,
                t1_bl1_a_dropped_request_leaves_no_lock_without_expiry,
                t1_the_remaining_time_that_is_reported_is_what_is_left,
                t1_bl10_a_submillisecond_ttl_is_rounded_up,
                t1_the_longest_ttl_is_kept,
                t1_bl10_ttls_out_of_range_are_refused_before_any_request,
                t2_bl7_renewing_a_live_lease_succeeds,
                t2_bl6_renewing_sets_the_remaining_time_longer_or_shorter,
                t2_bl8_renewing_often_never_adds_up,
                t2_bl9_renewing_never_brings_back_an_ended_lease,
                t2_bw5_a_renewal_that_races_the_release_changes_nothing_after_it,
                t2_a_key_is_never_free_while_its_lease_is_renewed,
            }
            fencing {
                f1_bf1_tokens_grow_over_grants_releases_and_expiries,
                f1_tokens_of_racing_owners_grow_in_the_order_of_their_holds,
                f1_bf2_renewing_and_repeating_keep_the_token,
                f1_a_failed_attempt_mints_nothing_for_the_holder,
                f1_bf4_without_fencing_there_is_no_token,
            }
            floor {
                f1_q1_a_grant_heeds_the_floor_of_its_claim,
                f1_q1_a_holder_raises_its_token,
                f1_q1_no_token_is_raised_beyond_the_largest,
                t2_q1_raising_changes_nothing_else,
                e3_q1_only_a_holder_can_raise,
            }
            undo {
                u1_an_undone_owner_can_never_acquire,
                u1_undoing_a_grant_frees_the_key,
                u1_bl18_an_undo_that_races_its_acquisition_frees_the_key,
                u1_an_undo_touches_no_other_owner,
                u1_bl14_a_release_that_is_repeated_spares_the_next_holder,
            }
            keys {
                k1_bl30_awkward_keys_are_all_different,
                k1_the_longest_key_works,
                k1_bl30_bad_keys_are_refused_before_any_request,
                k1_bl31_two_prefixes_share_nothing,
            }
            inspect {
                i1_a_free_key_has_no_holder,
                i1_inspecting_reports_the_holder_and_changes_nothing,
                i1_inspecting_does_not_keep_a_lease_alive,
                i1_what_is_reported_together_is_of_one_holder,
                i1_bl5_metadata_comes_back_byte_for_byte,
                i1_the_owner_token_is_never_shown,
                i1_inspecting_counts_the_claims_that_wait,
                w3_bl38_inspect_is_refused_where_it_is_missing,
                w3_bl38_metadata_is_refused_where_it_is_missing,
                w3_bl38_a_missing_capability_is_named_at_start_up,
                bl38_capabilities_are_the_expected_ones,
                bl38_capabilities_never_change,
            }
            hints {
                n1_a_release_wakes_a_waiter_that_listens,
                n1_bp2_a_waiter_that_tries_at_every_signal_is_served,
                n1_bp4_many_open_subscriptions_leave_the_backend_usable,
                n1_bp4_a_dropped_subscription_leaves_the_key_usable,
                n1_bp1_a_waiter_without_any_hint_is_served,
                n1_bp2_a_release_between_an_attempt_and_the_subscription_is_not_missed,
                n1_bp3_a_subscription_that_ends_at_once_does_not_spin,
            }
            waiting {
                w1_bl20_a_waiter_gets_a_key_that_is_released_in_time,
                w1_bl21_a_last_attempt_is_made_at_the_deadline,
                w1_bl22_a_wait_does_not_overshoot,
                w1_a_wait_for_a_frozen_backend_ends_soon_after_its_deadline,
                w1_a_slow_backend_answers_the_last_attempt,
                t1_bl23_waiting_does_not_shorten_the_lease,
                w1_an_expired_holder_is_succeeded_at_once,
                w3_a_last_attempt_without_an_answer_is_reported_as_that,
                w3_bl41_each_way_to_give_up_has_its_own_kind,
                w3_bl40_a_dead_backend_is_unavailable_not_contended,
                w3_bl19_a_refusing_backend_ends_the_wait_at_once,
                w3_a_passing_failure_is_survived,
                w2_bl42_200_waiters_do_not_flood_the_backend,
                w2_every_waiter_in_line_is_served_or_gives_up_as_it_wished,
                w3_a_dead_backend_is_reported_to_everybody_in_line,
            }
            guard {
                bl5_a_guard_reports_what_it_was_asked_for,
                g1_a_held_lock_is_let_go_before_another_can_have_it,
                g1_a_slow_answer_does_not_lengthen_a_lease,
                g1_a_grant_that_comes_too_late_is_no_grant,
                t2_bl6_a_guard_renews_by_hand,
                g1_a_shorter_renewal_that_is_lost_is_believed,
                a_detached_lock_is_resumed_elsewhere,
                resuming_a_lost_lock_takes_nothing,
                a_forgotten_lock_stays_until_its_ttl,
                w3_bw14_run_returns_the_result_and_frees_the_key,
                g5_bw14_a_panic_in_run_reaches_the_caller_and_frees_the_key,
                g2_bw14_run_drops_the_work_when_the_lock_is_lost,
                g4_bw14_work_that_outlives_its_lease_has_no_result,
                g2_bw12_max_hold_ends_a_hold_that_is_renewed,
                g1_bw13_tiny_ttls_are_refused_or_work,
            }
            loss {
                g2_a_lease_that_is_not_renewed_is_reported_lost_in_time,
                g2_bw9_a_late_subscriber_learns_of_the_loss,
                g2_bw7_a_release_is_no_loss,
                g2_bw8_a_stolen_lock_is_lost_at_the_next_renewal,
                g2_bw6_a_lock_that_was_taken_again_in_between_is_lost,
                g2_the_cancellation_token_fires_on_loss_alone,
                g3_bw1_renewals_that_fail_for_a_while_are_survived,
                g2_bw2_an_unreachable_backend_is_a_loss_at_the_margin,
                g3_bw3_one_lost_answer_is_no_loss,
                g3_bw4_a_panicking_renewal_is_a_failure_not_the_end,
                bw16_a_lock_has_one_renewal_task,
            }
            release {
                g4_bl15_a_failed_release_hands_the_guard_back,
                g4_bl16_a_cancelled_release_goes_on,
                g4_bw5_nothing_is_sent_after_a_release,
                g4_bl14_a_release_whose_answer_is_lost_can_be_repeated,
                g4_releasing_a_lock_whose_lease_has_ended_says_lost,
                g4_releasing_a_lock_whose_loss_was_noticed_says_lost,
                g4_a_release_after_the_deadline_is_not_excused_by_a_lost_answer,
                g4_releasing_what_another_has_released_says_lost,
                g4_run_has_no_result_when_the_release_finds_a_loss,
                g5_bw10_a_dropped_guard_frees_the_key,
                g5_a_guard_dropped_off_the_runtime_frees_the_key,
                u1_bl17_an_acquisition_whose_answer_is_lost_is_repeated,
                u1_bl17_an_acquisition_that_gives_up_after_a_lost_answer_is_undone,
                u1_bl18_a_late_request_of_a_cancelled_acquisition_takes_nothing,
                u1_bl18_a_late_copy_of_a_finished_acquisition_takes_nothing,
                u1_an_owner_token_that_was_undone_is_refused,
                g5_bl18_an_acquisition_dropped_at_any_point_frees_the_key,
            }
            queue {
                f1_m3_a_release_grants_the_head_of_the_queue,
                f1_m3_the_queue_is_served_in_the_order_of_arrival,
                t1_m3_an_expiry_grants_the_head_of_the_queue,
                t1_m3_the_head_of_the_queue_can_take_an_expired_key,
                bp5_a_dead_waiter_costs_one_confirmation_window_at_most,
                t1_a_queue_grants_a_short_claim_for_no_longer_than_its_ttl,
                t1_e2_a_confirmed_grant_has_its_whole_ttl_and_its_metadata,
                u1_bp5_an_undone_waiter_has_left_the_queue,
                u1_bp5_an_undone_grant_goes_to_the_next_in_the_queue,
                bp5_only_an_attempt_that_queues_and_listens_takes_a_place,
                m3_every_key_has_its_own_queue,
                e2_a_place_in_the_queue_belongs_to_the_owner,
            }
            turns {
                w3_a_waiter_that_may_not_queue_polls,
                m3_fifo_serves_all_clients_in_the_order_of_arrival,
                m3_turns_serve_each_client_in_the_order_of_arrival,
                m3_a_busy_client_lets_others_have_their_turn,
                g5_bp5_a_cancelled_waiter_at_the_head_is_passed_over,
                n1_bp5_a_client_that_hears_nothing_is_passed_over_and_served_later,
            }
            handover {
                e1_f1_a_handover_gives_the_next_owner_its_whole_claim,
                e3_u1_a_stranger_can_hand_nothing_over,
                t1_e3_an_ended_lease_is_not_handed_over,
                e3_e4_a_late_handover_touches_no_successor,
                u1_a_key_is_not_handed_over_to_an_undone_owner,
                e2_f1_a_repeated_handover_is_one_grant,
                e2_a_late_handover_cuts_no_lease_short,
                e1_a_key_is_never_free_during_a_handover,
                m3_a_handover_passes_over_the_queue_and_reports_that_others_wait,
                w2_a_release_serves_the_next_waiter_in_one_request,
                u1_g4_a_handover_that_goes_wrong_serves_the_waiter_all_the_same,
                w3_a_release_that_may_not_hand_over_is_a_plain_one,
                u1_g5_a_waiter_cancelled_during_a_handover_leaves_the_key_free,
            }
        }
    };
}

/// Returns every case of the suite. The case of random schedules needs the feature `schedules`.
pub fn all() -> Vec<Case> {
    crate::__cases! { __list }
}

#[doc(hidden)]
pub fn case(
    name: &'static str,
    body: for<'a> fn(&'a Subject) -> Pin<Box<dyn Future<Output = ()> + 'a>>,
) -> Case {
    Case { name, body }
}

/// Asserts a grant.
async fn grant(lock: &dyn Lock) -> Option<FencingToken> {
    match lock.try_acquire().await.unwrap() {
        Attempt::Granted(grant) => grant.fencing,
        other => panic!("expected a grant to {lock:?}, got {other:?}"),
    }
}

/// Asserts that another owner holds the key.
async fn held(lock: &dyn Lock) -> Option<Duration> {
    match lock.try_acquire().await.unwrap() {
        Attempt::Held(busy) => busy.remaining,
        other => panic!("expected that another holds the key, got {other:?}"),
    }
}

/// Asserts that another owner holds the key, and takes a place in its queue.
async fn queued(lock: &Handle) {
    match lock.queue().try_acquire_or_enqueue().await.unwrap() {
        Attempt::Held(_) => {}
        other => panic!("expected that another holds the key, got {other:?}"),
    }
}

/// Asserts that another owner holds the key, and waits for its release.
async fn listening(lock: &Handle) {
    match lock.hints().try_acquire_or_listen().await.unwrap() {
        Attempt::Held(_) => {}
        other => panic!("expected that another holds the key, got {other:?}"),
    }
}

async fn released(lock: &dyn Lock) {
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

async fn is_renewed(lock: &Handle) -> bool {
    let ttl = lock.claim().ttl();
    matches!(lock.renew(ttl).await.unwrap(), Renewal::Renewed(_))
}

/// Acquires the key for a fresh owner while tasks run that free it. Fails if it is refused after
/// one of the tasks is done.
async fn succeed<T>(subject: &Subject, key: &LockKey, frees: &[JoinHandle<T>]) -> Handle {
    let lock = subject.lock(key, subject.units(30));
    loop {
        let free = frees.iter().any(JoinHandle::is_finished);
        match lock.try_acquire().await.unwrap() {
            Attempt::Granted(_) => return lock,
            answer => assert!(!free, "the key was freed, but {answer:?}"),
        }
        tokio::task::yield_now().await;
    }
}

/// Polls a future `times` times, each time when it is woken, and then drops it.
async fn polled<T>(times: usize, future: impl Future<Output = T>) {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending if left == 0 => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
}

impl Subject {
    /// Waits until a fresh owner is granted the key, and returns the moment of the answer.
    async fn until_free(&self, key: &LockKey, limit: Duration) -> lock_core::clock::Moment {
        let clock = self.clock();
        let give_up = clock.now().after(limit);
        loop {
            let probe = self.lock(key, self.long());
            let answer = probe.try_acquire().await.unwrap();
            let now = clock.now();
            if let Attempt::Granted(_) = answer {
                released(&*probe).await;
                return now;
            }
            assert!(now < give_up, "`{key}` is still not free after {limit:?}");
            self.pass(Duration::from_millis(5)).await;
        }
    }

    /// Waits until a condition holds; fails when it takes too long.
    async fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let clock = self.clock();
        let give_up = clock.now().after(self.units(20));
        while !condition() {
            assert!(clock.now() < give_up, "still not so: {what}");
            self.pass(Duration::from_millis(5)).await;
        }
    }
}

/// How far `now` is past `since`.
fn elapsed(clock: &dyn Clock, since: lock_core::clock::Moment) -> Duration {
    clock.now().since(since)
}
