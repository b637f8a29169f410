//! What the operator says: where Redis is, who we are there, and how locks are kept on it.

pub(crate) mod builder;
pub(crate) mod driver;
pub(crate) mod options;
pub(crate) mod timeouts;
pub(crate) mod url;

pub use self::builder::RedisConfig;
pub use self::options::RedisOptions;
