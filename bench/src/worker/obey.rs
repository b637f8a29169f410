//! One holder that acquires and releases when it is told to.

use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::Parent;
use crate::clock;
use crate::contender::Contender;
use crate::turn::Turn;

/// Ready; then for every `acquire` and for every `release` the turn as it is by then.
pub(super) async fn work<C: Contender>(lock: Arc<C>, parent: &mut Parent) -> Result<()> {
    parent.ready().await?;
    let mut inside = None;
    loop {
        match parent.hear().await?.as_str() {
            "acquire" => {
                let asked = clock::now();
                let guard = lock.acquire("key/0").await?;
                let entered = clock::now();
                let fencing = C::fencing(&guard);
                let (left, done) = (u64::MAX, u64::MAX);
                let turn = Turn { key: 0, who: 0, asked, entered, left, done, fencing };
                parent.say(&turn)?;
                inside = Some((guard, turn));
            }
            "release" => {
                let (guard, mut turn) = inside.take().context("nothing to release")?;
                turn.left = clock::now();
                lock.release(guard).await?;
                turn.done = clock::now();
                parent.say(&turn)?;
            }
            word => bail!("heard `{word}`"),
        }
    }
}
