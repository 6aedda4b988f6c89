//! SYNs of many flows, patched from one template: what the one-core loop receives.
//!
//! It must never allocate per packet: it runs inside the loop that is measured.

use std::net::Ipv4Addr;

use stack::wire::checksum;

/// The address that the SYNs are sent to.
pub const LOCAL: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

/// Byte offsets in the frames that are patched per packet.
const SRC_IP: usize = 26;
const IP_CHECKSUM: usize = 24;
const SRC_PORT: usize = 34;
const SEQ: usize = 38;
const TCP_CHECKSUM: usize = 50;

/// Flow `n` of a stream of distinct pseudo-random flows: source address in 198.19/16 and port (a bijection of 32 bits).
#[must_use]
pub fn flow(n: u64) -> (Ipv4Addr, u16) {
    let x = (n as u32).wrapping_mul(0x9e37_79b1);
    let x = (x ^ (x >> 15)).wrapping_mul(0x85eb_ca77);
    let x = x ^ (x >> 13);
    (
        Ipv4Addr::new(198, 19, (x >> 24) as u8, (x >> 16) as u8),
        x as u16,
    )
}

/// Writes the n-th SYN of a stream into a buffer.
pub struct SynWriter {
    template: Vec<u8>,
}

impl SynWriter {
    /// SYNs patched from `template`: an Ethernet frame that holds an IPv4 SYN without IP options.
    #[must_use]
    pub const fn new(template: Vec<u8>) -> Self {
        Self { template }
    }

    /// Copies the template and patches flow, sequence number and both checksums; says how long the frame is.
    pub fn write(&self, n: u64, buffer: &mut [u8; 2048]) -> usize {
        let frame = &mut buffer[..self.template.len()];
        frame.copy_from_slice(&self.template);
        let (address, port) = flow(n);
        frame[SRC_IP..SRC_IP + 4].copy_from_slice(&address.octets());
        frame[SRC_PORT..SRC_PORT + 2].copy_from_slice(&port.to_be_bytes());
        frame[SEQ..SEQ + 4].copy_from_slice(&(n as u32).to_be_bytes());
        frame[IP_CHECKSUM..IP_CHECKSUM + 2].fill(0);
        let ip = checksum::sum(&frame[14..34]).finish();
        frame[IP_CHECKSUM..IP_CHECKSUM + 2].copy_from_slice(&ip.to_bytes());
        frame[TCP_CHECKSUM..TCP_CHECKSUM + 2].fill(0);
        let end = 14 + usize::from(u16::from_be_bytes([frame[16], frame[17]]));
        let segment = &frame[34..end];
        let sum = checksum::pseudo_v4(address.octets(), LOCAL.octets(), 6, segment.len() as u16)
            + checksum::sum(segment);
        frame[TCP_CHECKSUM..TCP_CHECKSUM + 2].copy_from_slice(&sum.finish().to_bytes());
        frame.len()
    }
}
