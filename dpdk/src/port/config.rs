//! The configuration of a port ([`PortConfig`], [`PoolSizes`]) and its counters ([`PortStats`]).
//!
//! Filled in by `apps`, read by `port` and `ring`. It must never call DPDK.

use dpdk_sys as sys;

use nic::rss::KEY_BYTES;

use crate::offloads::{OffloadFault, Offloads};
use crate::{Error, mempool};

/// The key of a port that was given none: the example of Microsoft's specification, which many drivers have as theirs.
const DEFAULT_RSS_KEY: [u8; KEY_BYTES] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
    0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
    0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortConfig {
    /// RX and TX queue pairs: one per worker.
    pub queues: u16,
    /// Slots of each RX ring; rounded to what the driver can do.
    pub rx_descriptors: u16,
    /// Slots of each TX ring; rounded to what the driver can do.
    pub tx_descriptors: u16,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// Bytes that a receive buffer holds; a longer frame comes in several, where the driver can. `None`: enough for every frame.
    pub rx_buffer: Option<u16>,
    /// The pools.
    pub pools: PoolSizes,
    /// Receive frames that are addressed to others, too.
    pub promiscuous: bool,
    /// The VLANs to receive, 0 (untagged frames) among them or not; `None` for all. Only some devices ask: most pass every
    /// VLAN.
    pub vlans: Option<Vec<u16>>,
    /// Work that is left to the NIC.
    pub offloads: Offloads,
    /// The key of the NIC's hash, where it takes one: a secret, or peers choose their queue.
    pub rss_key: [u8; KEY_BYTES],
    /// The other end of a software link chooses the queue of each flow by the hash of `rss_key`, as a NIC would
    /// ([`nic::rss::Steering::even`]).
    pub peer_steers: bool,
    /// Requests to the NIC that are wrong on purpose.
    pub fault: Option<OffloadFault>,
}

impl Default for PortConfig {
    /// One queue pair, 1024 slots each way, MTU 1500, every offload.
    fn default() -> Self {
        Self {
            queues: 1,
            rx_descriptors: 1024,
            tx_descriptors: 1024,
            mtu: 1500,
            rx_buffer: None,
            pools: PoolSizes::default(),
            promiscuous: false,
            vlans: None,
            offloads: Offloads::ALL,
            rss_key: DEFAULT_RSS_KEY,
            peer_steers: false,
            fault: None,
        }
    }
}

/// The counters of a port since it started. Drivers leave what they can't count at 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PortStats {
    /// Frames received.
    pub rx_frames: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames dropped by the NIC because the queue was not polled in time.
    pub rx_missed: u64,
    /// Erroneous frames received.
    pub rx_errors: u64,
    /// Frames that could not be sent.
    pub tx_errors: u64,
    /// Times that the RX pool was empty.
    pub rx_no_mbuf: u64,
}

impl PoolSizes {
    /// Memory that the three pools of a port with that MTU and these receive buffers (bytes) take, in MB: what
    /// [`crate::EalConfig::memory_mb`] must hold for each port.
    #[must_use]
    pub fn memory_mb(&self, mtu: u16, rx_buffer: Option<u16>) -> u64 {
        let whole = frame_bytes(mtu);
        let pools = [
            (self.rx_frames, rx_buffer.unwrap_or(whole)),
            (self.control_frames, whole),
            (self.data_frames, whole),
        ];
        pools
            .map(|(frames, frame_bytes)| {
                let room = frame_bytes.saturating_add(mempool::HEADROOM_BYTES);
                mempool::bytes(frames, room, self.cache_frames).div_ceil(1 << 20)
            })
            .iter()
            .sum()
    }
}

/// Room for one frame: the MTU, what drivers want beside it, and no less than they are used to.
///
/// An Ethernet header with two tags and an FCS are 26 bytes, but net_virtio counts its own header of 12 bytes in
/// (virtio/virtio_ethdev.c, `virtio_dev_configure`), and others round up. 64 were enough for every driver that was tried.
pub(super) fn frame_bytes(mtu: u16) -> u16 {
    const USUAL_BYTES: u16 = 2048;
    longest_frame_bytes(mtu).max(USUAL_BYTES)
}

/// The MTU and what drivers want beside it.
pub(crate) fn longest_frame_bytes(mtu: u16) -> u16 {
    const BESIDE_MTU_BYTES: u16 = 64;
    mtu.saturating_add(BESIDE_MTU_BYTES)
}

/// The least and the largest MTU of a device, by the rule of `rte_eth_dev_configure` (lib/ethdev/rte_ethdev.c,
/// `eth_dev_validate_mtu`).
pub(crate) fn mtu_range(info: &sys::rte_eth_dev_info) -> (u16, u16) {
    /// Ethernet header and FCS, for drivers that don't say.
    const LINK_BYTES: u32 = 18;
    let beside = if info.max_mtu != u16::MAX && info.max_rx_pktlen > u32::from(info.max_mtu) {
        info.max_rx_pktlen - u32::from(info.max_mtu)
    } else {
        LINK_BYTES
    };
    let by_frame = info.max_rx_pktlen.saturating_sub(beside);
    let max = by_frame.min(u32::from(info.max_mtu));
    (info.min_mtu, u16::try_from(max).unwrap_or(u16::MAX))
}

impl PortConfig {
    /// Bytes that a receive buffer holds.
    pub(crate) fn rx_buffer_bytes(&self) -> u16 {
        self.rx_buffer.unwrap_or(frame_bytes(self.mtu))
    }

    /// Whether a frame may be longer than a receive buffer.
    pub(crate) fn needs_scatter(&self) -> bool {
        self.rx_buffer_bytes() < longest_frame_bytes(self.mtu)
    }

    /// Whether the RX pool can fill the rings and still feed the workers.
    pub(super) fn check_rx_pool(&self) -> Result<(), Error> {
        let per_queue =
            u32::from(self.rx_descriptors) + self.pools.cache_frames + 2 * nic::BURST_FRAMES as u32;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_have_room_for_what_drivers_want_beside_the_mtu() {
        /// Ethernet header, a tag, and virtio's own header.
        const VIRTIO_BYTES: u16 = 14 + 4 + 12;
        assert_eq!(frame_bytes(1500), 2048, "what everybody uses, as before");
        for mtu in [576, 1500, 2018, 2019, 2048, 9000] {
            assert!(frame_bytes(mtu) >= mtu + VIRTIO_BYTES, "{mtu}");
        }
        assert_eq!(frame_bytes(u16::MAX), u16::MAX);
    }

    #[test]
    fn the_memory_estimate_follows_the_buffers() {
        let pools = PoolSizes::default();
        let room = |mtu| u64::from(frame_bytes(mtu) + mempool::HEADROOM_BYTES);
        let frames = u64::from(pools.rx_frames + pools.control_frames + pools.data_frames);
        for mtu in [1500, 2019, 9000] {
            let buffers_mb = (frames * room(mtu)) >> 20;
            assert!(pools.memory_mb(mtu, None) > buffers_mb, "{mtu}");
            assert!(pools.memory_mb(mtu, None) < buffers_mb * 3 / 2, "{mtu}");
        }
        let saved_mb = pools.memory_mb(9000, None) - pools.memory_mb(9000, Some(2048));
        assert!(
            (50..60).contains(&saved_mb),
            "8191 buffers of 7016 bytes: {saved_mb}"
        );
    }

    #[test]
    fn only_frames_that_may_be_longer_than_a_buffer_need_several() {
        let needs = |mtu, rx_buffer| {
            let config = PortConfig {
                mtu,
                rx_buffer,
                ..PortConfig::default()
            };
            config.needs_scatter()
        };
        assert!(!needs(1500, None) && !needs(9000, None));
        assert!(!needs(1500, Some(1564)) && needs(1500, Some(1563)));
        assert!(needs(9000, Some(2048)));
    }

    #[test]
    fn the_mtu_of_a_device_is_what_dpdk_would_take() {
        // SAFETY: integers and nullable pointers, for which zero is valid.
        let mut info: sys::rte_eth_dev_info = unsafe { core::mem::zeroed() };
        (info.min_mtu, info.max_mtu) = (68, u16::MAX);
        info.max_rx_pktlen = 1522;
        assert_eq!(mtu_range(&info), (68, 1504), "net_tap");
        info.max_rx_pktlen = u32::MAX;
        assert_eq!(mtu_range(&info), (68, u16::MAX), "net_null");
        (info.max_mtu, info.max_rx_pktlen) = (9190, 16384);
        assert_eq!(mtu_range(&info), (68, 9190), "net_vmxnet3");
    }
}
