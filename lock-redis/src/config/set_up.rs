//! The servers that a configuration names.

use std::fmt;
use std::path::PathBuf;

/// The servers that a configuration names.
#[derive(Clone, Debug)]
pub(super) enum SetUp {
    Tcp {
        host: String,
        port: u16,
    },
    Unix {
        path: PathBuf,
    },
    Sentinel(Sentinels),
    Cluster {
        #[cfg_attr(not(feature = "cluster"), expect(dead_code, reason = "only a cluster does"))]
        nodes: Vec<(String, u16)>,
    },
}

/// The sentinels that are asked for the master.
#[derive(Clone)]
pub(super) struct Sentinels {
    pub(super) service: String,
    pub(super) hosts: Vec<(String, u16)>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

impl fmt::Debug for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sentinels")
            .field("service", &self.service)
            .field("hosts", &self.hosts)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .finish()
    }
}
