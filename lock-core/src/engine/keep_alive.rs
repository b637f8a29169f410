use std::sync::Arc;
use std::time::Duration;

use super::Hold;

/// The shortest pause before a failed renewal is tried again.
const SHORTEST_RETRY: Duration = Duration::from_millis(10);

/// Renews a hold until it is over; ends by itself with it.
///
/// The interval varies by a tenth either way, so that thousands of locks taken together are not
/// renewed together. `every` is a third of the present ttl when the caller did not choose.
pub(crate) async fn keep_alive(hold: Arc<Hold>, every: Option<Duration>) {
    // Seeded by the owner, so that a test that knows its tokens gets the same intervals again.
    let mut rng = fastrand::Rng::with_seed(hold.lock.claim().owner().fingerprint().get());
    let mut failed = false;
    while hold.over().is_none() {
        let ttl = hold.ttl();
        let pause = match (failed, every) {
            (true, _) => (ttl.get() / 20).max(SHORTEST_RETRY),
            (false, Some(every)) => every,
            (false, None) => ttl.get() / 3,
        };
        let next = hold.engine.clock.now().after(pause.mul_f64(0.9 + 0.2 * rng.f64()));
        tokio::select! {
            biased;
            _ = hold.ended() => return,
            () = hold.engine.clock.sleep_until(next) => {}
        }
        failed = hold.renew(hold.ttl()).await.is_err();
    }
}
