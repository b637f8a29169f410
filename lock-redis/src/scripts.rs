//! The Lua side: one file a verb, and one for what grants have in common. Each script is idempotent
//! for one owner token, because drivers and proxies may send a command more than once.

use std::sync::LazyLock;

use redis::Script;

macro_rules! script {
    ($($file:literal),*) => {
        LazyLock::new(|| Script::new(concat!($(include_str!(concat!("scripts/", $file)), "\n"),*)))
    };
}

pub(crate) static ACQUIRE: LazyLock<Script> = script!("grant.lua", "acquire.lua");
pub(crate) static RENEW: LazyLock<Script> = script!("renew.lua");
pub(crate) static RELEASE: LazyLock<Script> = script!("grant.lua", "release.lua");
pub(crate) static HAND_OVER: LazyLock<Script> = script!("grant.lua", "hand_over.lua");
pub(crate) static INSPECT: LazyLock<Script> = script!("inspect.lua");
