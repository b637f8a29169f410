//! The Lua scripts: one file per verb, and three files that scripts share.
//!
//! Each script is idempotent for one owner token, because drivers and proxies may repeat a command.
//! Scripts that are run by `EVALSHA` cannot import each other, and server-side functions would have
//! to be installed. So the text that scripts share is put in front of each of them.

use std::time::Duration;

use lock_core::backend::{Release, Signal};

use crate::net::call::Script;

/// How long a key is passed on until a break is due. A foreign locker would otherwise never find
/// the key free, and never be seen.
const UNBROKEN: Duration = Duration::from_secs(2);

/// How long a break lasts, in which the key is free for all but our waiters.
const BREAK: Duration = Duration::from_millis(25);

/// The scripts of one provider.
pub(crate) struct Scripts {
    pub(crate) acquire: Script,
    pub(crate) renew: Script,
    pub(crate) settle: Script,
    pub(crate) raise: Script,
    pub(crate) release: Script,
    pub(crate) hand_over: Script,
    pub(crate) inspect: Script,
}

impl Scripts {
    /// Makes the scripts. They keep a key's last fencing token for `fencing_ttl` after its lease.
    pub(crate) fn new(fencing_ttl: Duration) -> Self {
        // Numbers in the text cost nothing. A local that a closure uses is allocated in each call.
        let constants = [
            ("FENCE_OUTLIVES", fencing_ttl),
            ("TOMBSTONE", Release::TOMBSTONE),
            ("CONFIRM_WINDOW", Signal::CONFIRM_WINDOW),
            ("UNBROKEN", UNBROKEN),
            ("BREAK", BREAK),
        ];
        let script = |parts: &[&str]| {
            let text = constants.iter().fold(parts.join("\n"), |text, (name, time)| {
                text.replace(name, &time.as_millis().to_string())
            });
            Script::new(text)
        };
        Self {
            acquire: script(&[FENCE, MARK, QUEUE, include_str!("scripts/acquire.lua")]),
            renew: script(&[include_str!("scripts/renew.lua")]),
            settle: script(&[FENCE, MARK, include_str!("scripts/settle.lua")]),
            raise: script(&[FENCE, include_str!("scripts/raise.lua")]),
            release: script(&[FENCE, QUEUE, include_str!("scripts/release.lua")]),
            hand_over: script(&[FENCE, QUEUE, include_str!("scripts/hand_over.lua")]),
            inspect: script(&[include_str!("scripts/inspect.lua")]),
        }
    }
}

const FENCE: &str = include_str!("scripts/fence.lua");
const MARK: &str = include_str!("scripts/mark.lua");
const QUEUE: &str = include_str!("scripts/queue.lua");
