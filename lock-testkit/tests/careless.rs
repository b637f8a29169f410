//! The test of the suite: a careless backend makes one mistake at a time, and the case that must
//! find it does.
//!
//! `LOCK_TESTKIT_MATRIX=1 cargo test -p lock-testkit --test careless -- --show-output` also runs
//! every other case on every mistake, and tells which of them find it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "careless/backend.rs"]
mod backend;
#[path = "careless/flaw.rs"]
mod flaw;

use backend::Careless;
use flaw::Flaw;
use lock_testkit::{Case, Pace, Subject, cases, check, conformance};

fn subject(flaw: Option<Flaw>) -> Subject {
    let store = Careless::new(flaw);
    let neighbour = store.behind("other:");
    Subject::new(store).neighbour(neighbour)
}

conformance!(without_a_mistake, Pace::Paused, || async { subject(None) });

/// Runs a case on a store with a flaw, and returns what it says.
fn finding(flaw: Flaw, case: Case) -> Option<String> {
    let panic = check(Pace::Paused, case, move || async move { subject(Some(flaw)) }).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(
        text.or_else(|| panic.downcast_ref().map(|text: &&str| (*text).into())).unwrap_or_default(),
    )
}

fn is_caught(flaw: Flaw, by: &str) {
    if std::env::var_os("LOCK_TESTKIT_MATRIX").is_some() {
        tell_all(flaw);
    }
    let case = cases::all().into_iter().find(|case| case.name == by).expect("a case of this name");
    let finding = finding(flaw, case).expect("the case fails");
    assert!(!finding.contains("has not ended within"), "found only by the watchdog");
}

#[allow(clippy::print_stdout, reason = "the matrix is for people")]
fn tell_all(flaw: Flaw) {
    let mut finders = cases::all();
    finders.retain(|case| finding(flaw, *case).is_some());
    println!("{flaw:?} is found by {} cases:", finders.len());
    finders.iter().for_each(|case| println!("    {}", case.name));
}

macro_rules! caught {
    ($($test:ident: $flaw:ident by $case:ident;)*) => {$(
        #[test]
        fn $test() {
            is_caught(Flaw::$flaw, stringify!($case));
        }
    )*};
}

caught! {
    acquire_looks_first_is_caught: AcquireLooksFirst by random_schedules_match_the_model;
    acquire_looks_for_the_dead_first_is_caught: AcquireLooksForTheDeadFirst by random_schedules_match_the_model;
    acquire_looks_for_tombstones_first_is_caught: AcquireLooksForTombstonesFirst by random_schedules_match_the_model;
    acquire_mints_first_is_caught: AcquireMintsFirst by random_schedules_match_the_model;
    acquire_mints_later_is_caught: AcquireMintsLater by random_schedules_match_the_model;
    acquire_sets_the_ttl_later_is_caught: AcquireSetsTheTtlLater by random_schedules_match_the_model;
    acquire_waits_is_caught: AcquireWaits by random_schedules_match_the_model;
    acquire_ignores_expiry_is_caught: AcquireIgnoresExpiry by random_schedules_match_the_model;
    refusal_is_an_error_is_caught: RefusalIsAnError by random_schedules_match_the_model;
    refusal_mints_is_caught: RefusalMints by random_schedules_match_the_model;
    refusal_writes_the_note_is_caught: RefusalWritesTheNote by random_schedules_match_the_model;
    refusal_sets_the_ttl_is_caught: RefusalSetsTheTtl by random_schedules_match_the_model;
    remaining_is_the_ttl_is_caught: RemainingIsTheTtl by random_schedules_match_the_model;
    remaining_is_in_seconds_is_caught: RemainingIsInSeconds by random_schedules_match_the_model;
    same_owner_is_refused_is_caught: SameOwnerIsRefused by random_schedules_match_the_model;
    same_owner_is_another_grant_is_caught: SameOwnerIsAnotherGrant by random_schedules_match_the_model;
    same_owner_keeps_its_ttl_is_caught: SameOwnerKeepsItsTtl by random_schedules_match_the_model;
    same_owner_adds_the_ttl_is_caught: SameOwnerAddsTheTtl by random_schedules_match_the_model;
    owner_is_the_process_is_caught: OwnerIsTheProcess by random_schedules_match_the_model;
    owner_by_first_bytes_is_caught: OwnerByFirstBytes by random_schedules_match_the_model;
    owner_by_last_bytes_is_caught: OwnerByLastBytes by random_schedules_match_the_model;
    owner_folded_is_caught: OwnerFolded by random_schedules_match_the_model;
    owner_with_note_is_caught: OwnerWithNote by random_schedules_match_the_model;
    owner_or_note_is_caught: OwnerOrNote by random_schedules_match_the_model;
    leases_never_end_is_caught: LeasesNeverEnd by random_schedules_match_the_model;
    ttl_halved_is_caught: TtlHalved by random_schedules_match_the_model;
    ttl_in_whole_seconds_is_caught: TtlInWholeSeconds by random_schedules_match_the_model;
    ttl_of_no_seconds_is_for_ever_is_caught: TtlOfNoSecondsIsForEver by random_schedules_match_the_model;
    ttl_in_thirty_two_bits_is_caught: TtlInThirtyTwoBits by random_schedules_match_the_model;
    renew_by_anyone_is_caught: RenewByAnyone by random_schedules_match_the_model;
    renew_sets_the_ttl_first_is_caught: RenewSetsTheTtlFirst by random_schedules_match_the_model;
    renew_adds_is_caught: RenewAdds by random_schedules_match_the_model;
    renew_does_nothing_is_caught: RenewDoesNothing by random_schedules_match_the_model;
    renew_only_lengthens_is_caught: RenewOnlyLengthens by random_schedules_match_the_model;
    renew_keeps_the_first_ttl_is_caught: RenewKeepsTheFirstTtl by random_schedules_match_the_model;
    renew_mints_is_caught: RenewMints by random_schedules_match_the_model;
    renew_brings_back_is_caught: RenewBringsBack by random_schedules_match_the_model;
    renew_ignores_expiry_is_caught: RenewIgnoresExpiry by random_schedules_match_the_model;
    renew_looks_then_writes_is_caught: RenewLooksThenWrites by random_schedules_match_the_model;
    renew_looks_then_sets_is_caught: RenewLooksThenSets by random_schedules_match_the_model;
    renew_deletes_and_writes_is_caught: RenewDeletesAndWrites by random_schedules_match_the_model;
    loss_is_an_error_is_caught: LossIsAnError by random_schedules_match_the_model;
    release_by_anyone_is_caught: ReleaseByAnyone by random_schedules_match_the_model;
    release_by_pattern_is_caught: ReleaseByPattern by random_schedules_match_the_model;
    release_looks_then_deletes_is_caught: ReleaseLooksThenDeletes by random_schedules_match_the_model;
    release_ignores_expiry_is_caught: ReleaseIgnoresExpiry by random_schedules_match_the_model;
    release_frees_nothing_is_caught: ReleaseFreesNothing by random_schedules_match_the_model;
    release_needs_its_handle_is_caught: ReleaseNeedsItsHandle by random_schedules_match_the_model;
    release_is_silent_is_caught: ReleaseIsSilent by random_schedules_match_the_model;
    not_held_is_an_error_is_caught: NotHeldIsAnError by random_schedules_match_the_model;
    undo_says_released_is_caught: UndoSaysReleased by random_schedules_match_the_model;
    undo_forgets_the_counter_is_caught: UndoForgetsTheCounter by random_schedules_match_the_model;
    undo_leaves_no_tombstone_is_caught: UndoLeavesNoTombstone by random_schedules_match_the_model;
    no_tombstone_while_held_is_caught: NoTombstoneWhileHeld by random_schedules_match_the_model;
    no_tombstone_after_expiry_is_caught: NoTombstoneAfterExpiry by random_schedules_match_the_model;
    one_tombstone_a_key_is_caught: OneTombstoneAKey by random_schedules_match_the_model;
    tombstone_of_one_use_is_caught: TombstoneOfOneUse by random_schedules_match_the_model;
    tombstone_is_short_is_caught: TombstoneIsShort by random_schedules_match_the_model;
    tombstone_for_every_owner_is_caught: TombstoneForEveryOwner by random_schedules_match_the_model;
    counter_ends_with_the_release_is_caught: CounterEndsWithTheRelease by random_schedules_match_the_model;
    counter_ends_with_the_lease_is_caught: CounterEndsWithTheLease by random_schedules_match_the_model;
    counter_forgotten_when_idle_is_caught: CounterForgottenWhenIdle by random_schedules_match_the_model;
    counter_of_all_keys_is_caught: CounterOfAllKeys by random_schedules_match_the_model;
    token_is_the_time_is_caught: TokenIsTheTime by random_schedules_match_the_model;
    tokens_though_undeclared_is_caught: TokensThoughUndeclared by random_schedules_match_the_model;
    keys_folded_is_caught: KeysFolded by random_schedules_match_the_model;
    keys_trimmed_in_front_is_caught: KeysTrimmedInFront by random_schedules_match_the_model;
    keys_trimmed_behind_is_caught: KeysTrimmedBehind by random_schedules_match_the_model;
    keys_cut_is_caught: KeysCut by random_schedules_match_the_model;
    keys_normalised_is_caught: KeysNormalised by random_schedules_match_the_model;
    keys_unescaped_is_caught: KeysUnescaped by random_schedules_match_the_model;
    keys_are_paths_is_caught: KeysArePaths by random_schedules_match_the_model;
    counter_beside_the_key_is_caught: CounterBesideTheKey by random_schedules_match_the_model;
    prefix_forgotten_is_caught: PrefixForgotten by random_schedules_match_the_model;
    prefix_forgotten_by_counters_is_caught: PrefixForgottenByCounters by random_schedules_match_the_model;
    prefix_forgotten_by_tombstones_is_caught: PrefixForgottenByTombstones by random_schedules_match_the_model;
    prefix_forgotten_by_renew_is_caught: PrefixForgottenByRenew by random_schedules_match_the_model;
    prefix_forgotten_by_release_is_caught: PrefixForgottenByRelease by random_schedules_match_the_model;
    prefix_forgotten_by_inspect_is_caught: PrefixForgottenByInspect by random_schedules_match_the_model;
    inspect_renews_is_caught: InspectRenews by random_schedules_match_the_model;
    inspect_deletes_is_caught: InspectDeletes by random_schedules_match_the_model;
    inspect_finds_nobody_is_caught: InspectFindsNobody by random_schedules_match_the_model;
    inspect_ignores_expiry_is_caught: InspectIgnoresExpiry by random_schedules_match_the_model;
    inspect_shows_the_asker_is_caught: InspectShowsTheAsker by random_schedules_match_the_model;
    inspect_hashes_the_note_is_caught: InspectHashesTheNote by random_schedules_match_the_model;
    inspects_though_undeclared_is_caught: InspectsThoughUndeclared by random_schedules_match_the_model;
    note_dropped_is_caught: NoteDropped by random_schedules_match_the_model;
    note_cut_is_caught: NoteCut by random_schedules_match_the_model;
    note_is_text_is_caught: NoteIsText by random_schedules_match_the_model;
    note_left_behind_is_caught: NoteLeftBehind by random_schedules_match_the_model;
    debug_shows_the_token_is_caught: DebugShowsTheToken by random_schedules_match_the_model;
    watch_ends_at_once_is_caught: WatchEndsAtOnce by random_schedules_match_the_model;
    watch_comes_into_force_later_is_caught: WatchComesIntoForceLater by random_schedules_match_the_model;
    watches_though_undeclared_is_caught: WatchesThoughUndeclared by random_schedules_match_the_model;
    no_watch_though_declared_is_caught: NoWatchThoughDeclared by random_schedules_match_the_model;
}
