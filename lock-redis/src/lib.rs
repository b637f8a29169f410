#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// Each of these imports only from those before it: error, keys, config, net, wait, verbs, provider,
// redlock, factory.
mod config;
mod error;
mod factory;
mod keys;
mod net;
mod provider;
mod redlock;
mod verbs;
mod wait;

pub use config::{RedisConfig, RedisOptions};
/// The pool that [`RedisProvider::with_pool`] takes, in the version of this crate.
#[cfg(feature = "deadpool")]
pub use deadpool_redis;
pub use factory::{RedisFactory, factory};
pub use provider::RedisProvider;
/// The driver whose client [`RedisProvider::with_client`] takes, in the version of this crate.
pub use redis;
pub use redlock::RedlockConfig;
