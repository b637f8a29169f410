#![doc = include_str!("../README.md")]

mod channel;
mod checks;
#[cfg(feature = "cluster")]
mod cluster;
mod config;
mod error;
mod factory;
mod follow;
mod keys;
mod link;
mod lock;
mod news;
mod origin;
mod provider;
mod redlock;
mod scripts;

pub use config::{RedisConfig, RedisOptions};
pub use factory::{RedisFactory, factory};
pub use provider::RedisProvider;
pub use redlock::RedlockConfig;
