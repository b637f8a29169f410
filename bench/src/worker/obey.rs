//! One holder that acquires and releases on the request of its parent.

use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::Parent;
use crate::clock;
use crate::contender::Contender;
use crate::turn::Turn;

/// Ready; then, after each `acquire` and each `release`, the turn so far.
pub(super) async fn work<C: Contender>(lock: Arc<C>, parent: &mut Parent) -> Result<()> {
    parent.ready().await?;
    let mut inside = None;
    loop {
        match parent.receive().await?.as_str() {
            "acquire" => {
                let asked = clock::now();
                let guard = lock.acquire("key/0").await?;
                let entered = clock::now();
                let fencing = C::fencing(&guard);
                let (left, done) = (u64::MAX, u64::MAX);
                let turn = Turn { key: 0, who: 0, asked, entered, left, done, fencing };
                parent.send(&turn)?;
                inside = Some((guard, turn));
            }
            "release" => {
                let (guard, mut turn) = inside.take().context("`release` came before `acquire`")?;
                turn.left = clock::now();
                lock.release(guard).await?;
                turn.done = clock::now();
                parent.send(&turn)?;
            }
            word => bail!("received `{word}` instead of `acquire` or `release`"),
        }
    }
}
