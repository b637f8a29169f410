//! The features of the crate: which cases are in the list without `schedules`.

use lock_testkit::cases;

#[test]
fn random_schedules_are_in_the_list_if_and_only_if_they_can_run() {
    let name = "random_schedules_match_the_model";
    let listed = cases::all().iter().filter(|case| case.name == name).count();
    assert_eq!(listed, usize::from(cfg!(feature = "schedules")));
}

#[test]
#[cfg(not(feature = "schedules"))]
#[should_panic = "feature `schedules`"]
fn random_schedules_that_are_left_out_do_not_pass() {
    lock_testkit::without_schedules();
}
