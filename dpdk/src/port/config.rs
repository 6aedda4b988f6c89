//! What a port is asked for ([`PortConfig`], [`PoolSizes`]) and what it counted ([`PortStats`]).
//!
//! Filled in by `apps`, read by `port` and `ring`. It must never touch DPDK.

use crate::{Error, mempool};

/// Frames in each pool of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSizes {
    /// Frames to receive into, shared by the port's queues. Must exceed the RX rings, the caches and two bursts per queue.
    pub rx_frames: u32,
    /// Replies.
    pub control_frames: u32,
    /// Payload that is kept until it is acknowledged.
    pub data_frames: u32,
    /// Frames that each thread may hold back in each pool, at most 512.
    pub cache_frames: u32,
}

impl Default for PoolSizes {
    /// 8191 frames in each, 256 in a cache: about 20 MB a pool.
    fn default() -> Self {
        Self {
            rx_frames: 8191,
            control_frames: 8191,
            data_frames: 8191,
            cache_frames: 256,
        }
    }
}

/// How a port is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortConfig {
    /// RX and TX queue pairs: one per worker.
    pub queues: u16,
    /// Slots of each RX ring; rounded to what the driver can do.
    pub rx_descriptors: u16,
    /// Slots of each TX ring; rounded to what the driver can do.
    pub tx_descriptors: u16,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// The pools.
    pub pools: PoolSizes,
    /// Receive frames that are addressed to others, too.
    pub promiscuous: bool,
}

impl Default for PortConfig {
    /// One queue pair, 1024 slots each way, MTU 1500.
    fn default() -> Self {
        Self {
            queues: 1,
            rx_descriptors: 1024,
            tx_descriptors: 1024,
            mtu: 1500,
            pools: PoolSizes::default(),
            promiscuous: false,
        }
    }
}

/// What a port counted since it started. Drivers leave what they can't count at 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortStats {
    /// Frames received.
    pub rx_frames: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames dropped by the NIC because nobody polled in time.
    pub rx_missed: u64,
    /// Erroneous frames received.
    pub rx_errors: u64,
    /// Frames that could not be sent.
    pub tx_errors: u64,
    /// Times that the RX pool was empty.
    pub rx_no_mbuf: u64,
}

impl PoolSizes {
    /// Memory that the three pools of a port with that MTU (bytes) take, in MB: what
    /// [`crate::EalConfig::memory_mb`] must hold for each port.
    #[must_use]
    pub fn memory_mb(&self, mtu: u16) -> u64 {
        let room = frame_bytes(mtu).saturating_add(mempool::HEADROOM_BYTES);
        [self.rx_frames, self.control_frames, self.data_frames]
            .map(|frames| mempool::bytes(frames, room, self.cache_frames).div_ceil(1 << 20))
            .iter()
            .sum()
    }
}

/// Room for one frame: the MTU, an Ethernet header with two tags and an FCS, and no less than DPDK's drivers are used to.
pub(super) fn frame_bytes(mtu: u16) -> u16 {
    const LINK_BYTES: u16 = 26;
    const USUAL_BYTES: u16 = 2048;
    mtu.saturating_add(LINK_BYTES).max(USUAL_BYTES)
}

impl PortConfig {
    /// Whether the RX pool can fill the rings and still feed the workers.
    pub(super) fn check_rx_pool(&self) -> Result<(), Error> {
        let per_queue = u32::from(self.rx_descriptors)
            + self.pools.cache_frames
            + 2 * stack::nic::BURST_FRAMES as u32;
        if self.pools.rx_frames < per_queue * u32::from(self.queues) {
            return Err(Error::Config {
                what: "the RX pool (frames)",
                value: self.pools.rx_frames.into(),
                allowed: "more than RX descriptors + cache + two bursts, for each queue",
            });
        }
        Ok(())
    }
}
