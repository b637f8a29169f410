//! What the suite demands of a provider before it runs a case.

use lock_core::clock::SystemClock;
use lock_memory::MemoryProvider;
use lock_testkit::{Pace, Subject, cases, check};

#[test]
fn a_store_on_another_clock_is_refused_in_paused_time() {
    let store = || async { Subject::new(MemoryProvider::builder().clock(SystemClock).build()) };
    let refusal = check(Pace::Paused, cases::all().remove(0), store).unwrap_err();
    let message = refusal.downcast::<String>().unwrap();
    assert!(message.contains("`ProviderInfo::with_clock`"), "{message}");
    assert!(check(Pace::Real, cases::all().remove(0), store).is_ok());
}
