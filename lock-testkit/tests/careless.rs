//! The test of the suite: a careless backend makes one mistake at a time, and the case that must
//! find it does.
//!
//! `LOCK_TESTKIT_MATRIX=1 cargo test -p lock-testkit --test careless -- --show-output` also runs
//! every other case on every mistake, and lists those that find it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "careless/acquire.rs"]
mod acquire;
#[path = "careless/backend.rs"]
mod backend;
#[path = "careless/flaw.rs"]
mod flaw;
#[path = "careless/inspect.rs"]
mod inspect;
#[path = "careless/queue.rs"]
mod queue;
#[path = "careless/release.rs"]
mod release;
#[path = "careless/renew.rs"]
mod renew;
#[path = "careless/verbs.rs"]
mod verbs;

use backend::Careless;
use flaw::Flaw;
use lock_core::Capability;
use lock_testkit::{Case, Pace, Subject, cases, check, conformance};

fn subject(flaw: Option<Flaw>) -> Subject {
    let store = Careless::new(flaw);
    let neighbour = store.behind("other:");
    Subject::new(store).neighbour(neighbour).expects(Capability::ALL.iter().copied())
}

conformance!(without_a_mistake, Pace::Paused, || async { subject(None) });

/// Runs a case on a store with a flaw, and returns what it says.
fn finding(flaw: Flaw, case: Case) -> Option<String> {
    let panic = check(Pace::Paused, case, move || async move { subject(Some(flaw)) }).err()?;
    match panic.downcast::<String>() {
        Ok(text) => Some(*text),
        Err(panic) => Some(panic.downcast::<&str>().map_or_else(|_| "?".into(), |s| (*s).into())),
    }
}

fn is_caught(flaw: Flaw, by: &str) {
    let case = cases::all().into_iter().find(|case| case.name == by).expect("a case of this name");
    let finding = finding(flaw, case).expect("the case fails");
    assert!(!finding.contains("has not ended within"), "found only by the watchdog");
    if std::env::var_os("LOCK_TESTKIT_MATRIX").is_some() {
        list_finders(flaw);
    }
}

#[allow(clippy::print_stdout, reason = "the matrix is for people")]
fn list_finders(flaw: Flaw) {
    let all = cases::all();
    let finders: Vec<_> = all.iter().filter(|case| finding(flaw, **case).is_some()).collect();
    println!("{flaw:?} is found by {} of {} cases:", finders.len(), all.len());
    finders.iter().for_each(|case| println!("    {}", case.name));
}

/// One line per test: its name, the flaw, and the case that must find it.
macro_rules! caught {
    ($($test:ident: $flaw:ident by $case:ident;)*) => {$(
        #[test]
        fn $test() {
            is_caught(Flaw::$flaw, stringify!($case));
        }
    )*};
}

caught! {
    check_and_set_in_two_steps_is_caught: AcquireLooksFirst
        by e1_bl35_one_of_64_racing_owners_is_granted;
    two_successors_of_one_dead_lease_are_caught: AcquireLooksForTheDeadFirst
        by e1_bl35_one_of_64_racing_owners_takes_over_an_expired_lease;
    a_tombstone_that_is_checked_too_early_is_caught: AcquireLooksForTombstonesFirst
        by u1_bl18_an_undo_that_races_its_acquisition_frees_the_key;
    a_token_minted_before_its_grant_is_caught: AcquireMintsFirst
        by f1_tokens_of_racing_owners_grow_in_the_order_of_their_holds;
    a_token_minted_after_its_grant_is_caught: AcquireMintsLater
        by e2_bl17_a_request_that_is_sent_many_times_at_once_is_one_grant;
    a_lease_that_gets_its_end_in_a_second_step_is_caught: AcquireSetsTheTtlLater
        by t1_bl1_a_dropped_request_leaves_no_lock_without_expiry;
    an_attempt_that_waits_is_caught: AcquireWaits by e1_one_of_two_owners_is_granted;
    an_old_token_for_a_new_grant_is_caught: AcquireIgnoresExpiry
        by f1_bf1_tokens_grow_over_grants_releases_and_expiries;
    contention_as_an_error_is_caught: RefusalIsAnError by e1_one_of_two_owners_is_granted;
    a_refused_attempt_that_mints_is_caught: RefusalMints
        by f1_a_failed_attempt_mints_nothing_for_the_holder;
    a_refused_attempt_that_writes_its_note_is_caught: RefusalWritesTheNote
        by e1_a_refused_attempt_changes_nothing;
    a_refused_attempt_that_sets_the_ttl_is_caught: RefusalSetsTheTtl
        by e1_a_refused_attempt_changes_nothing;
    a_whole_ttl_reported_as_remaining_is_caught: RemainingIsTheTtl
        by t1_the_remaining_time_that_is_reported_is_what_is_left;
    remaining_time_in_the_wrong_unit_is_caught: RemainingIsInSeconds
        by t1_the_remaining_time_that_is_reported_is_what_is_left;
    same_owner_refused_is_caught: SameOwnerIsRefused
        by e2_the_same_owner_is_granted_again_with_the_same_token;
    same_owner_with_another_token_is_caught: SameOwnerIsAnotherGrant
        by e2_the_same_owner_is_granted_again_with_the_same_token;
    same_owner_with_its_old_ttl_is_caught: SameOwnerKeepsItsTtl
        by e2_granting_again_gives_the_whole_ttl_and_cuts_nothing;
    same_owner_with_both_ttls_is_caught: SameOwnerAddsTheTtl
        by e2_granting_again_gives_the_whole_ttl_and_cuts_nothing;
    same_owner_cut_short_is_caught: SameOwnerIsCutShort
        by e2_granting_again_gives_the_whole_ttl_and_cuts_nothing;

    one_owner_for_a_whole_process_is_caught: OwnerIsTheProcess by e1_one_of_two_owners_is_granted;
    owners_compared_by_their_first_bytes_are_caught: OwnerByFirstBytes
        by e3_bl4_owners_that_look_alike_are_strangers;
    owners_compared_by_their_last_bytes_are_caught: OwnerByLastBytes
        by e3_bl4_owners_that_look_alike_are_strangers;
    owners_compared_without_case_are_caught: OwnerFolded
        by e3_bl4_owners_that_look_alike_are_strangers;
    metadata_that_is_part_of_the_owner_is_caught: OwnerWithNote
        by e3_bl4_metadata_cannot_pass_for_an_owner;
    metadata_taken_for_an_owner_is_caught: OwnerOrNote by e3_bl4_metadata_cannot_pass_for_an_owner;

    leases_that_never_end_are_caught: LeasesNeverEnd by t1_an_expired_key_is_granted_to_others;
    leases_of_half_the_ttl_are_caught: TtlHalved by t1_bl11_a_lease_never_ends_early;
    ttls_rounded_down_to_seconds_are_caught: TtlInWholeSeconds by t1_bl11_a_lease_never_ends_early;
    a_short_ttl_that_becomes_for_ever_is_caught: TtlOfNoSecondsIsForEver
        by t1_bl10_a_submillisecond_ttl_is_rounded_up;
    a_long_ttl_that_overflows_is_caught: TtlInThirtyTwoBits by t1_the_longest_ttl_is_kept;

    renew_without_owner_check_is_caught: RenewByAnyone
        by e3_bl2_a_stranger_can_neither_renew_nor_release;
    renew_that_checks_the_owner_too_late_is_caught: RenewSetsTheTtlFirst
        by e3_bl2_a_stranger_can_neither_renew_nor_release;
    renew_that_adds_is_caught: RenewAdds by t2_bl8_renewing_often_never_adds_up;
    renew_that_does_nothing_is_caught: RenewDoesNothing
        by t2_bl6_renewing_sets_the_remaining_time_longer_or_shorter;
    renew_that_cannot_shorten_is_caught: RenewOnlyLengthens
        by t2_bl6_renewing_sets_the_remaining_time_longer_or_shorter;
    renew_that_ignores_its_ttl_is_caught: RenewKeepsTheFirstTtl
        by t2_bl6_renewing_sets_the_remaining_time_longer_or_shorter;
    renew_that_changes_the_token_is_caught: RenewMints
        by f1_bf2_renewing_and_repeating_keep_the_token;
    renew_that_brings_a_lease_back_is_caught: RenewBringsBack
        by t2_bl9_renewing_never_brings_back_an_ended_lease;
    renew_of_an_expired_lease_is_caught: RenewIgnoresExpiry
        by t2_bl9_renewing_never_brings_back_an_ended_lease;
    a_late_renewal_that_takes_the_key_back_is_caught: RenewLooksThenWrites
        by t2_bw5_a_renewal_that_races_the_release_changes_nothing_after_it;
    a_late_renewal_that_renews_the_next_holder_is_caught: RenewLooksThenSets
        by t2_bw5_a_renewal_that_races_the_release_changes_nothing_after_it;
    renew_that_frees_the_key_for_a_moment_is_caught: RenewDeletesAndWrites
        by t2_a_key_is_never_free_while_its_lease_is_renewed;
    renew_that_needs_the_handle_of_the_grant_is_caught: RenewNeedsItsHandle
        by e2_locks_of_one_claim_are_interchangeable;
    loss_as_an_error_is_caught: LossIsAnError by e3_bl2_a_stranger_can_neither_renew_nor_release;

    release_without_owner_check_is_caught: ReleaseByAnyone
        by e3_bl2_a_stranger_can_neither_renew_nor_release;
    release_by_pattern_is_caught: ReleaseByPattern by k1_bl30_awkward_keys_are_all_different;
    compare_and_delete_in_two_steps_is_caught: ReleaseLooksThenDeletes
        by e3_bl14_a_release_that_is_sent_many_times_at_once_frees_the_key_once;
    release_of_an_expired_lease_is_caught: ReleaseIgnoresExpiry
        by e3_bl12_a_release_after_expiry_says_not_held;
    release_that_frees_nothing_is_caught: ReleaseFreesNothing
        by e1_a_released_key_is_granted_to_others;
    release_that_needs_the_handle_of_the_grant_is_caught: ReleaseNeedsItsHandle
        by u1_undoing_a_grant_frees_the_key;
    release_without_signal_is_caught: ReleaseIsSilent by n1_a_release_wakes_a_waiter_that_listens;
    a_signal_before_the_release_is_caught: ReleaseSignalsFirst
        by n1_bp2_a_waiter_that_tries_at_every_signal_is_served;
    not_held_as_an_error_is_caught: NotHeldIsAnError
        by e3_bl39_releasing_what_was_never_acquired_says_not_held;

    undo_that_says_released_is_caught: UndoSaysReleased
        by e3_bl39_releasing_what_was_never_acquired_says_not_held;
    undo_that_resets_the_fencing_counter_is_caught: UndoForgetsTheCounter
        by f1_bf1_tokens_grow_over_grants_releases_and_expiries;
    undo_without_tombstone_is_caught: UndoLeavesNoTombstone by u1_an_undone_owner_can_never_acquire;
    undo_without_tombstone_while_another_holds_is_caught: NoTombstoneWhileHeld
        by u1_an_undo_touches_no_other_owner;
    undo_without_tombstone_after_expiry_is_caught: NoTombstoneAfterExpiry
        by e3_bl12_a_release_after_expiry_says_not_held;
    a_tombstone_that_replaces_another_is_caught: OneTombstoneAKey
        by u1_an_undo_touches_no_other_owner;
    a_tombstone_that_is_used_up_is_caught: TombstoneOfOneUse
        by u1_an_undone_owner_can_never_acquire;
    a_tombstone_of_seconds_is_caught: TombstoneIsShort by u1_an_undone_owner_can_never_acquire;
    a_tombstone_for_every_owner_is_caught: TombstoneForEveryOwner
        by u1_an_undone_owner_can_never_acquire;

    tokens_that_fall_after_a_release_are_caught: CounterEndsWithTheRelease
        by f1_bf1_tokens_grow_over_grants_releases_and_expiries;
    tokens_that_fall_after_an_expiry_are_caught: CounterEndsWithTheLease
        by f1_bf1_tokens_grow_over_grants_releases_and_expiries;
    tokens_that_fall_after_idle_time_are_caught: CounterForgottenWhenIdle
        by f1_bf1_tokens_grow_over_grants_releases_and_expiries;
    a_token_read_back_from_a_shared_counter_is_caught: CounterOfAllKeys
        by f1_bf2_renewing_and_repeating_keep_the_token;
    two_tokens_of_one_millisecond_are_caught: TokenIsTheTime
        by f1_bf1_tokens_grow_over_grants_releases_and_expiries;
    a_token_although_undeclared_is_caught: TokensThoughUndeclared
        by f1_bf4_without_fencing_there_is_no_token;

    keys_in_lower_case_are_caught: KeysFolded by k1_bl30_awkward_keys_are_all_different;
    keys_trimmed_in_front_are_caught: KeysTrimmedInFront by k1_bl30_awkward_keys_are_all_different;
    keys_trimmed_behind_are_caught: KeysTrimmedBehind by k1_bl30_awkward_keys_are_all_different;
    keys_cut_short_are_caught: KeysCut by k1_the_longest_key_works;
    keys_normalised_are_caught: KeysNormalised by k1_bl30_awkward_keys_are_all_different;
    keys_unescaped_are_caught: KeysUnescaped by k1_bl30_awkward_keys_are_all_different;
    keys_taken_for_paths_are_caught: KeysArePaths by k1_bl30_awkward_keys_are_all_different;
    bookkeeping_at_a_users_key_is_caught: CounterBesideTheKey
        by k1_bl30_awkward_keys_are_all_different;
    a_prefix_ignored_by_everything_is_caught: PrefixForgotten by k1_bl31_two_prefixes_share_nothing;
    a_prefix_ignored_by_tokens_is_caught: PrefixForgottenByCounters
        by k1_bl31_two_prefixes_share_nothing;
    a_prefix_ignored_by_tombstones_is_caught: PrefixForgottenByTombstones
        by k1_bl31_two_prefixes_share_nothing;
    a_prefix_ignored_by_renew_is_caught: PrefixForgottenByRenew by k1_bl31_two_prefixes_share_nothing;
    a_prefix_ignored_by_release_is_caught: PrefixForgottenByRelease
        by k1_bl31_two_prefixes_share_nothing;
    a_prefix_ignored_by_inspect_is_caught: PrefixForgottenByInspect
        by k1_bl31_two_prefixes_share_nothing;

    inspect_that_renews_is_caught: InspectRenews by i1_inspecting_does_not_keep_a_lease_alive;
    inspect_that_deletes_is_caught: InspectDeletes
        by i1_inspecting_reports_the_holder_and_changes_nothing;
    inspect_that_finds_nobody_is_caught: InspectFindsNobody
        by i1_inspecting_reports_the_holder_and_changes_nothing;
    inspect_of_an_expired_lease_is_caught: InspectIgnoresExpiry
        by i1_inspecting_does_not_keep_a_lease_alive;
    inspect_of_the_wrong_owner_is_caught: InspectShowsTheAsker
        by i1_inspecting_reports_the_holder_and_changes_nothing;
    inspect_that_mixes_two_holders_is_caught: InspectReadsTwice
        by i1_what_is_reported_together_is_of_one_holder;
    a_fingerprint_of_the_whole_row_is_caught: InspectHashesTheNote
        by i1_bl5_metadata_comes_back_byte_for_byte;
    an_inspect_that_counts_no_waiter_is_caught: InspectCountsNobody
        by i1_inspecting_counts_the_claims_that_wait;
    an_inspect_that_counts_waiters_that_left_is_caught: InspectCountsTheLeft
        by i1_inspecting_counts_the_claims_that_wait;
    an_inspect_that_is_not_returned_is_caught: InspectIsForgotten
        by bl38_capabilities_are_the_expected_ones;
    metadata_dropped_is_caught: NoteDropped by i1_bl5_metadata_comes_back_byte_for_byte;
    metadata_cut_short_is_caught: NoteCut by i1_bl5_metadata_comes_back_byte_for_byte;
    metadata_that_must_be_text_is_caught: NoteIsText by i1_bl5_metadata_comes_back_byte_for_byte;
    metadata_of_an_earlier_holder_is_caught: NoteLeftBehind
        by i1_bl5_metadata_comes_back_byte_for_byte;
    an_owner_token_in_debug_output_is_caught: DebugShowsTheToken
        by i1_the_owner_token_is_never_shown;

    hints_that_are_not_returned_are_caught: HintsAreForgotten
        by bl38_capabilities_are_the_expected_ones;
    a_subscription_that_ends_at_once_is_caught: SubscriptionEndsAtOnce
        by n1_a_release_wakes_a_waiter_that_listens;
    a_waiter_that_is_registered_too_late_is_caught: ListeningComesIntoForceLater
        by n1_a_release_wakes_a_waiter_that_listens;
    a_waiter_that_is_never_registered_is_caught: ListeningIsForgotten
        by n1_a_release_wakes_a_waiter_that_listens;
    subscriptions_that_use_up_the_connections_are_caught: SubscriptionsUseUpThePool
        by n1_bp4_many_open_subscriptions_leave_the_backend_usable;

    a_queue_served_from_its_end_is_caught: QueueIsAStack
        by f1_m3_the_queue_is_served_in_the_order_of_arrival;
    a_silent_grant_is_caught: QueueTellsNobody by f1_m3_a_release_grants_the_head_of_the_queue;
    a_grant_without_a_fresh_token_is_caught: QueueMintsNothing
        by f1_m3_a_release_grants_the_head_of_the_queue;
    a_grant_for_the_whole_ttl_is_caught: QueueGrantsForTheWholeTtl
        by bp5_a_dead_waiter_costs_one_confirmation_window_at_most;
    a_window_longer_than_the_ttl_is_caught: QueueGrantsForTheWholeWindow
        by t1_a_queue_grants_a_short_claim_for_no_longer_than_its_ttl;
    one_queue_for_all_keys_is_caught: OneQueueForAllKeys by m3_every_key_has_its_own_queue;
    a_queue_that_is_not_returned_is_caught: QueueIsForgotten
        by bl38_capabilities_are_the_expected_ones;
    a_queue_for_some_claims_only_is_caught: QueueComesAndGoes by bl38_capabilities_never_change;
    a_place_for_a_subscription_is_caught: SubscribingTakesAPlace
        by bp5_only_an_attempt_that_queues_and_listens_takes_a_place;
    a_place_that_belongs_to_a_handle_is_caught: PlaceNeedsItsHandle
        by e2_a_place_in_the_queue_belongs_to_the_owner;
    a_dead_waiter_that_stays_at_the_head_is_caught: TheDeadStayAtTheHead
        by bp5_a_dead_waiter_costs_one_confirmation_window_at_most;
    a_release_past_the_queue_is_caught: ReleaseForgetsTheQueue
        by f1_m3_the_queue_is_served_in_the_order_of_arrival;
    an_expiry_past_the_queue_is_caught: ExpiryForgetsTheQueue
        by t1_m3_an_expiry_grants_the_head_of_the_queue;
    an_undone_waiter_in_line_is_caught: UndoStaysInLine
        by u1_bp5_an_undone_waiter_has_left_the_queue;
    a_place_lost_by_asking_again_is_caught: AskingAgainLosesThePlace
        by f1_m3_the_queue_is_served_in_the_order_of_arrival;
    a_place_for_everybody_who_asks_is_caught: AskingTakesAPlace
        by bp5_only_an_attempt_that_queues_and_listens_takes_a_place;
    a_confirmed_grant_that_stays_short_is_caught: ConfirmingKeepsTheWindow
        by t1_e2_a_confirmed_grant_has_its_whole_ttl_and_its_metadata;

    a_handover_in_two_steps_is_caught: HandOverInTwoSteps
        by e1_a_key_is_never_free_during_a_handover;
    a_handover_by_a_stranger_is_caught: HandOverByAnyone
        by e3_u1_a_stranger_can_hand_nothing_over;
    a_handover_to_an_undone_owner_is_caught: HandOverToTheUndone
        by u1_a_key_is_not_handed_over_to_an_undone_owner;
    a_refused_handover_without_tombstone_is_caught: HandOverUndoesNobody
        by e3_u1_a_stranger_can_hand_nothing_over;
    a_handover_of_an_ended_lease_is_caught: HandOverIgnoresExpiry
        by t1_e3_an_ended_lease_is_not_handed_over;
    a_handover_that_is_not_idempotent_is_caught: HandOverIsNotRepeated
        by e2_f1_a_repeated_handover_is_one_grant;
    a_handover_that_cuts_its_successor_short_is_caught: HandOverAgainCutsShort
        by e2_a_late_handover_cuts_no_lease_short;
    a_handover_with_the_old_token_is_caught: HandOverMintsNothing
        by e1_f1_a_handover_gives_the_next_owner_its_whole_claim;
    a_handover_of_the_rest_of_a_lease_is_caught: HandOverKeepsTheEnd
        by e1_f1_a_handover_gives_the_next_owner_its_whole_claim;
    a_handover_without_its_note_is_caught: HandOverForgetsTheNote
        by e1_f1_a_handover_gives_the_next_owner_its_whole_claim;
    a_handover_to_one_who_still_queues_is_caught: HandOverKeepsThePlace
        by m3_a_handover_passes_over_the_queue_and_reports_that_others_wait;
    a_handover_that_hides_the_others_is_caught: HandOverNamesNoOthers
        by m3_a_handover_passes_over_the_queue_and_reports_that_others_wait;
    a_handover_that_is_not_returned_is_caught: HandOverIsForgotten
        by bl38_capabilities_are_the_expected_ones;

    a_floor_that_is_ignored_is_caught: FloorIsIgnored
        by f1_q1_a_grant_heeds_the_floor_of_its_claim;
    a_floor_for_a_repeated_grant_is_caught: FloorIsForEveryGrant
        by f1_q1_a_grant_heeds_the_floor_of_its_claim;
    a_token_raised_by_a_stranger_is_caught: RaiseByAnyone by e3_q1_only_a_holder_can_raise;
    a_token_raised_after_expiry_is_caught: RaiseIgnoresExpiry by e3_q1_only_a_holder_can_raise;
    a_raise_that_is_forgotten_is_caught: RaiseIsForgotten by f1_q1_a_holder_raises_its_token;
    a_raise_that_lowers_is_caught: RaiseLowers by t2_q1_raising_changes_nothing_else;
    a_raise_that_renews_is_caught: RaiseRenews by t2_q1_raising_changes_nothing_else;
    a_raise_without_a_limit_is_caught: RaiseIsUnbounded
        by f1_q1_no_token_is_raised_beyond_the_largest;
    a_floor_that_is_not_returned_is_caught: FloorIsForgotten
        by bl38_capabilities_are_the_expected_ones;
}
