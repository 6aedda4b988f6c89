//! [`Offloads`]: what a port may leave to its NIC; [`OffloadFault`]: requests that are wrong on purpose.
//!
//! It must never call DPDK. An offload that a driver lacks is done in software, whatever stands here.

/// Work that a port may leave to its NIC, where the driver can do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offloads {
    /// Verdicts on received checksums.
    pub rx_checksum: bool,
    /// Checksums of sent packets.
    pub tx_checksum: bool,
    /// Frames in several buffers: payload is sent from where it lies.
    pub tx_multi_seg: bool,
    /// Cutting of large TCP segments; only with checksums and several buffers.
    pub tso: bool,
    /// Received frames that are longer than a buffer, in several.
    pub rx_scatter: bool,
    /// Putting received TCP segments together (LRO); only with their checksums.
    pub lro: bool,
    /// VLAN tags of received frames, taken out.
    pub vlan_strip: bool,
    /// VLAN tags of sent frames, put in.
    pub vlan_insert: bool,
    /// Spreading of received frames over the queues by their hash.
    pub rss: bool,
}

impl Offloads {
    /// Everything that the driver has.
    pub const ALL: Self = Self {
        rx_checksum: true,
        tx_checksum: true,
        tx_multi_seg: true,
        tso: true,
        rx_scatter: true,
        lro: true,
        vlan_strip: true,
        vlan_insert: true,
        rss: true,
    };
}

impl Default for Offloads {
    fn default() -> Self {
        Self::ALL
    }
}

/// A request to the NIC that is wrong on purpose, so that a test can show that it would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OffloadFault {
    /// The sum of the pseudo-header in front of a TCP checksum offload is off by one.
    PseudoHeader,
    /// The IP header is said to be one word longer than it is.
    HeaderLength,
    /// The VLAN tags that the NIC is to put in name another VLAN.
    VlanTag,
    /// The indirection table of the NIC is reversed after it was read.
    IndirectionTable,
}
