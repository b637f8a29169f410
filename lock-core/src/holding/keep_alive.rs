//! The task that renews a held lock.

use std::sync::Arc;
use std::time::Duration;

use super::hold::Hold;

/// The shortest pause between two renewals. Without it, pauses of half the time that is left would
/// become ever shorter.
const SHORTEST: Duration = Duration::from_millis(1);

/// Renews a hold until it is over.
///
/// * The interval is the one that was set, or else a third of the present ttl.
/// * Each interval varies by up to a tenth. If none was set, the first one is also shorter by up to
///   a half. So thousands of locks that were acquired together are not renewed together.
/// * After a failure, it is a twentieth of the ttl.
/// * It never takes more than half of the time until the hold must stop, so that there is time for
///   a retry.
/// * A lease that lasts beyond the longest time to hold is not renewed.
pub(crate) async fn keep_alive(hold: Arc<Hold>) {
    // The seed is the owner, so that a test that knows its tokens gets the same intervals again.
    let mut rng = fastrand::Rng::with_seed(hold.bound.owner().as_u64());
    let every = hold.renewals().every;
    let (mut failed, mut early) = (false, if every.is_none() { 0.5 * rng.f64() } else { 0.0 });
    while hold.over().is_none() {
        let ttl = hold.ttl().as_duration();
        let pause = match (failed, every) {
            (true, _) => ttl / 20,
            (false, Some(every)) => every,
            (false, None) => ttl / 3,
        };
        let varied = 0.9 + 0.2 * rng.f64() - std::mem::take(&mut early);
        wait(&hold, pause.mul_f64(varied)).await;
        // It is boxed to keep this task small: ten thousand locks sleep above, and few renew.
        failed = Box::pin(hold.renew(None)).await.is_err();
    }
}

/// Waits for the pause, or for half of the time that is left if that is shorter.
///
/// It returns at once when the hold is over. A renewal by the caller restarts the wait, because it
/// has changed the time that is left.
async fn wait(hold: &Hold, pause: Duration) {
    let clock = &hold.engine.clock;
    let mut plan = None;
    loop {
        // Listening begins before looking, so that no change in between is missed.
        let changed = hold.changed();
        if hold.over().is_some() {
            return;
        }
        let deadline = hold.deadline();
        let wake = match plan {
            Some((planned, wake)) if planned == deadline => wake,
            _ if hold.lasts_to_its_limit() => hold.stop_at(),
            _ => {
                let began = clock.now();
                began.after(pause.min(hold.stop_at().since(began) / 2).max(SHORTEST))
            }
        };
        plan = Some((deadline, wake));
        tokio::select! {
            biased;
            () = changed => {}
            () = clock.sleep_until(wake) => return,
        }
    }
}
