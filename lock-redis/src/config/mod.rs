//! The configuration: where the servers are, as whom to connect, and how to keep locks on them.

pub(crate) mod builder;
pub(crate) mod driver;
pub(crate) mod options;
mod set_up;
pub(crate) mod timeouts;
pub(crate) mod url;

pub use self::builder::RedisConfig;
pub use self::options::RedisOptions;
