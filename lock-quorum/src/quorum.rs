//! The provider: a majority of independent nodes keeps a lock (law Q1).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lock_core::backend::{Claim, Inspect, ProviderInfo};
use lock_core::{Error, ErrorKind, Lock, LockKey, LockProvider, Occupancy, Result};

use crate::inspect::inspect;
use crate::lock::QuorumLock;
use crate::node::Node;
use crate::shared::Shared;

/// Keeps locks on a majority of independent nodes, after Redlock, with fencing tokens.
///
/// The [crate's page](crate) lists what it guarantees, and what its nodes must be.
///
/// Fencing needs nodes with [`FencingFloor`](lock_core::backend::FencingFloor). The order of tokens
/// rests on no clock as long as nodes remember; see the project's `DESIGN.md` for the protocol and
/// its check.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use lock_core::LockClient;
/// use lock_memory::MemoryProvider;
/// use lock_quorum::Quorum;
///
/// let nodes = [MemoryProvider::new(), MemoryProvider::new(), MemoryProvider::new()];
/// let locks = LockClient::new(Quorum::new(nodes)?);
/// let guard = locks.lock("report").acquire().await?;
/// assert!(guard.fencing_token().is_some());
/// # Ok::<(), lock_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Quorum {
    shared: Arc<Shared>,
}

impl Quorum {
    /// The time limit of one node, unless [configured](Quorum::node_timeout): 200 ms.
    pub const DEFAULT_NODE_TIMEOUT: Duration = Duration::from_millis(200);

    /// Makes a quorum of nodes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misconfigured`] for no nodes, for more than 255 nodes, and for two nodes on one
    /// store.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_memory::MemoryProvider;
    /// use lock_quorum::Quorum;
    ///
    /// let nodes: Vec<_> = (0..5).map(|_| MemoryProvider::new()).collect();
    /// let same = [nodes[0].clone(), nodes[0].clone(), nodes[1].clone()];
    /// assert!(Quorum::new(nodes).is_ok());
    /// assert!(Quorum::new(same).unwrap_err().is_misconfigured());
    /// ```
    pub fn new<P: LockProvider>(nodes: impl IntoIterator<Item = P>) -> Result<Self> {
        let nodes = nodes.into_iter().map(|node| Node::new(Arc::new(node))).collect();
        Ok(Self { shared: Arc::new(Shared::new(nodes, Self::DEFAULT_NODE_TIMEOUT)?) })
    }

    /// Sets how long one node may take to answer before the others decide without it.
    ///
    /// A node that took longer is not waited for until it has answered again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misconfigured`] for zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_memory::MemoryProvider;
    /// use lock_quorum::Quorum;
    /// use std::time::Duration;
    ///
    /// let nodes = [MemoryProvider::new(), MemoryProvider::new(), MemoryProvider::new()];
    /// let quorum = Quorum::new(nodes)?.node_timeout(Duration::from_millis(50))?;
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn node_timeout(self, limit: Duration) -> Result<Self> {
        if limit.is_zero() {
            let message = "the time limit of a node is zero; it must be longer";
            return Err(Error::new(ErrorKind::Misconfigured, message));
        }
        let nodes = self.shared.nodes.iter().map(Node::again).collect();
        Ok(Self { shared: Arc::new(Shared::new(nodes, limit)?) })
    }
}

#[deny(clippy::missing_trait_methods)]
impl LockProvider for Quorum {
    fn info(&self) -> &ProviderInfo {
        &self.shared.info
    }

    fn lock(&self, claim: Claim) -> Arc<dyn Lock> {
        Arc::new(QuorumLock::new(Arc::clone(&self.shared), claim))
    }

    fn as_inspect(&self) -> Option<&dyn Inspect> {
        self.shared.inspects().then_some(self as _)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Inspect for Quorum {
    /// Asks all nodes, and reports the owner that holds the key at a majority of them.
    ///
    /// While the nodes have not agreed on the fencing token of that owner, they are asked again. A
    /// token without agreement is not reported.
    async fn inspect(&self, key: &LockKey) -> Result<Occupancy> {
        inspect(&self.shared, key).await
    }
}

impl fmt::Debug for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.shared.nodes.iter().map(|node| &node.provider);
        f.debug_list().entries(nodes).finish()
    }
}
