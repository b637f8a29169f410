use std::sync::Arc;

use super::{Hold, Over};
use crate::client::Fairness;
use crate::engine::Engine;
use crate::engine::line::Handed;
use crate::error::{Operation, Result};
use crate::observe::EventKind;
use crate::provider::{Capability, Handover, Release};

impl Hold {
    /// Lets the request under way come to its end, so that nothing is left to land, and ends the hold.
    pub(crate) async fn settle_and_end(&self) {
        let _alone = self.alone().await;
        self.leave_to_its_ttl();
    }

    /// Ends the hold, but not the lease.
    pub(crate) fn leave_to_its_ttl(&self) {
        self.end(Over::Done);
        self.engine.lines.freed(self.lock.claim().key(), false);
    }

    /// Releases once. The hold is over from the first call on, whatever the backend answers.
    pub(crate) async fn release(&self) -> Result<Release> {
        self.end(Over::Done);
        let key = self.lock.claim().key();
        let alone = self.alone().await;
        let explain = |error| self.engine.explain(error, Operation::Release, key);
        let (released, stray) = {
            let state = self.state();
            (state.released, state.stray)
        };
        let outcome = match released {
            Some(outcome) => outcome,
            None => {
                let answer = self.let_go().await.map_err(explain)?;
                *self.state().released.get_or_insert(answer)
            }
        };
        if stray || alone.is_err() {
            self.engine.release_for_good(&*self.lock).await.map_err(explain)?;
        }
        let held = self.now().since(self.since);
        self.engine.report(key, EventKind::Released { outcome, held });
        Ok(outcome)
    }

    /// Sends the release: to the backend alone, or together with the acquisition of whoever is next
    /// in this client.
    async fn let_go(&self) -> Result<Release> {
        let Engine { lines, request_timeout: limit, .. } = &*self.engine;
        let key = self.lock.claim().key();
        // A release that must also stop stray copies takes several requests; and after so many
        // hand-overs it is another client's turn.
        let (stray, turn) = {
            let state = self.state();
            (state.stray, state.turn)
        };
        if !stray
            && turn < Fairness::TURN
            && self.engine.provider.info().capabilities().has(Capability::Handover)
            && let Some(successor) = lines.successor(key)
        {
            let sent = self.now();
            let request = (*self.lock).hand_over(successor.claim());
            match self.engine.call(*limit, request).await? {
                Some(Handover::Granted { fencing, others }) => {
                    let turn = if others { turn + 1 } else { 0 };
                    successor.grant(Handed { fencing, turn, sent });
                    return Ok(Release::Released);
                }
                Some(refused @ (Handover::Refused | Handover::NotHeld)) => {
                    successor.refuse();
                    lines.freed(key, false);
                    let held = refused == Handover::Refused;
                    return Ok(if held { Release::Released } else { Release::NotHeld });
                }
                None => successor.refuse(),
            }
        }
        let outcome = self.engine.call(*limit, (*self.lock).release()).await?;
        lines.freed(key, outcome == Release::Released);
        Ok(outcome)
    }

    /// Releases on the runtime of the acquisition: a dropped guard cannot wait.
    pub(crate) fn release_in_background(self: &Arc<Self>) {
        self.end(Over::Done);
        let hold = Arc::clone(self);
        // On a runtime that has shut down the task is dropped, and the ttl frees the key.
        self.runtime.spawn(async move {
            let give_up = hold.state().belief.latest_end();
            let key = hold.lock.claim().key().clone();
            let retried = hold.engine.retry_until(give_up, || hold.release()).await;
            if let Err(cause) = retried {
                hold.engine.report(&key, EventKind::ReleaseFailed { cause });
            }
        });
    }
}
