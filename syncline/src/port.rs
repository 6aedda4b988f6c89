//! [`OpenedNic`]: a port with its queues and all its pools, and [`pool_sizes`].
//!
//! It must never forget a pool: a buffer that is not back at the end is a leak.

use dpdk::{Eal, Mempool, NicSpec, PoolSizes, Port, PortConfig, QueuePair, RingConfig, ring_pair};
use stack::config::MacAddr;

use crate::Error;

/// Frames in the pools of each worker beside those that connections hold: its rings, caches, and some bursts.
const FRAMES_PER_WORKER: u32 = 4096;
/// Memory beside the pools: rings, descriptors, what drivers take; in MB.
pub const OTHER_MEMORY_MB: u64 = 64;

/// A port that is open, with its queues.
#[derive(Debug)]
pub struct OpenedNic {
    /// The port. Its rings hold buffers until it is dropped.
    pub port: Port,
    /// One for each worker.
    pub queues: Vec<QueuePair>,
    /// All pools of the port; the queues share them.
    pub pools: Vec<Mempool>,
    /// Its link-layer address.
    pub mac: MacAddr,
}

impl OpenedNic {
    /// Opens the port of `spec`.
    ///
    /// # Errors
    /// [`Error::Dpdk`] when DPDK can't.
    pub fn open(eal: &Eal, spec: &NicSpec, config: &PortConfig) -> Result<Self, Error> {
        let (port, queues) = eal.open(spec)?.init(config)?;
        Ok(Self::new(port, queues))
    }

    /// Opens both ends of an in-memory link.
    ///
    /// # Errors
    /// [`Error::Dpdk`] when DPDK can't.
    pub fn ring_pair(eal: &Eal, config: &RingConfig) -> Result<(Self, Self), Error> {
        let (near, far) = ring_pair(eal, config)?;
        Ok((Self::new(near.0, near.1), Self::new(far.0, far.1)))
    }

    fn new(port: Port, queues: Vec<QueuePair>) -> Self {
        let of_queues = queues
            .first()
            .map(|queue| [queue.control.clone(), queue.data.clone()]);
        let rx = port.rx_pool().cloned();
        let mac = queues.first().map(|queue| queue.mac).unwrap_or_default();
        Self {
            pools: of_queues.into_iter().flatten().chain(rx).collect(),
            port,
            queues,
            mac: MacAddr(mac),
        }
    }
}

/// Buffers that are in use. After the ports have been dropped all of them are leaks.
#[must_use]
pub fn in_use(pools: &[Mempool]) -> u32 {
    pools.iter().map(Mempool::in_use).sum()
}

/// Pools for `workers` workers whose connections hold up to `kept` frames each, and which register `registered` frames of
/// bytes each. What connections hold may be received frames to the last one, and what they send may be that too.
#[must_use]
pub fn pool_sizes(workers: u16, kept: u32, registered: u32) -> PoolSizes {
    let frames = |per_worker: u32| {
        // A mempool is at its best with a power of two minus one.
        let all = per_worker.saturating_mul(workers.into());
        all.checked_next_power_of_two().unwrap_or(1 << 31) - 1
    };
    let held = FRAMES_PER_WORKER.saturating_add(kept);
    PoolSizes {
        rx_frames: frames(held),
        control_frames: frames(FRAMES_PER_WORKER),
        data_frames: frames(held.saturating_add(registered)),
        cache_frames: 256,
    }
}
