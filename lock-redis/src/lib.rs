#![doc = include_str!("../README.md")]

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
