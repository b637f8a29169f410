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
pub use factory::{RedisFactory, factory};
pub use provider::RedisProvider;
pub use redlock::RedlockConfig;
