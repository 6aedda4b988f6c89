//! [`Flow`]: a random source address and port, and [`Flows`]: where they come from and which numbers they carry.
//!
//! It must never remember a flow: what it sent is recomputed from the tuple, so that any number of them can be in
//! flight.

use std::net::{Ipv4Addr, Ipv6Addr};

/// First source address: 198.18.0.0/15 (RFC 2544) without its first and last 256, where networks, broadcasts and the
/// endpoint live.
const V4_BASE: u32 = Ipv4Addr::new(198, 18, 1, 0).to_bits();
/// Number of source addresses.
const V4_ADDRESSES: u32 = (1 << 17) - 2 * 256;
/// The upper half of the IPv6 source addresses, 2001:2:0:1::/64 (RFC 5180); the endpoint lives in 2001:2:0:0::/64.
const V6_PREFIX: u64 = (Ipv6Addr::new(0x2001, 2, 0, 1, 0, 0, 0, 0).to_bits() >> 64) as u64;
/// Ports below are left to others (`bench` fills the table with flows from them).
pub(crate) const FIRST_PORT: u16 = 1024;
const PORTS: u32 = 65_536 - FIRST_PORT as u32;

/// A remote end, seen from the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flow {
    /// IPv4: the address in the low half. IPv6: the lower half of the address.
    pub(crate) address: u64,
    /// Source port.
    pub(crate) port: u16,
}

/// The numbers that a SYN of a flow carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// Initial sequence number.
    pub(crate) isn: u32,
    /// TSval of the timestamps option (RFC 7323 §3.2).
    pub(crate) tsval: u32,
}

/// An endless supply of random flows, and the key behind their numbers.
#[derive(Debug, Clone)]
pub(crate) struct Flows {
    state: u64,
    key: [u64; 2],
}

impl Flows {
    /// Flows and numbers that follow from `seed` alone.
    pub(crate) fn new(seed: [u64; 3]) -> Self {
        Self {
            state: seed[0],
            key: [seed[1], seed[2] | 1],
        }
    }

    /// The next random flow.
    #[inline]
    pub(crate) fn next(&mut self, v6: bool) -> Flow {
        let random = self.random();
        let port = FIRST_PORT + ((u64::from(random as u16) * u64::from(PORTS)) >> 16) as u16;
        let address = if v6 {
            self.random()
        } else {
            // Multiply-shift: a number below V4_ADDRESSES without a division.
            u64::from(V4_BASE) + (((random >> 32) * u64::from(V4_ADDRESSES)) >> 32)
        };
        Flow { address, port }
    }

    /// The numbers of a flow: a keyed function of its tuple.
    #[inline]
    pub(crate) fn numbers(&self, flow: Flow) -> Numbers {
        let word = flow.address.rotate_left(16) ^ u64::from(flow.port);
        let mixed = folded_multiply(word ^ self.key[0], self.key[1]);
        let mixed = folded_multiply(mixed ^ self.key[1], 0x9e37_79b9_7f4a_7c15);
        Numbers {
            isn: (mixed >> 32) as u32,
            tsval: mixed as u32,
        }
    }

    /// Whether such a flow can come from here.
    #[inline]
    pub(crate) fn may_be_ours(flow: Flow, v6: bool) -> bool {
        let v4_is_ours = || {
            let offset = flow.address.wrapping_sub(V4_BASE.into());
            offset < u64::from(V4_ADDRESSES)
        };
        flow.port >= FIRST_PORT && (v6 || v4_is_ours())
    }

    /// The upper half of all IPv6 source addresses.
    pub(crate) const fn v6_prefix() -> u64 {
        V6_PREFIX
    }

    /// wyrand: one multiplication, and the next state does not wait for it.
    #[inline]
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0xa076_1d64_78bd_642f);
        folded_multiply(self.state, self.state ^ 0xe703_7ed1_a0b4_28db)
    }
}

#[inline]
fn folded_multiply(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_stay_inside_their_networks_and_reach_all_of_them() {
        let mut flows = Flows::new([1, 2, 3]);
        let (mut lowest, mut highest, mut ports) = (u64::MAX, 0, [u16::MAX, 0]);
        for _ in 0..1_000_000 {
            let flow = flows.next(false);
            assert!(Flows::may_be_ours(flow, false));
            lowest = lowest.min(flow.address);
            highest = highest.max(flow.address);
            ports = [ports[0].min(flow.port), ports[1].max(flow.port)];
        }
        let address = |bits: u64| Ipv4Addr::from_bits(bits as u32);
        assert_eq!(address(lowest), Ipv4Addr::new(198, 18, 1, 0));
        assert_eq!(address(highest), Ipv4Addr::new(198, 19, 254, 255));
        assert_eq!(ports, [1024, 65_535]);
        let stranger = Flow {
            address: u64::from(V4_BASE) - 1,
            port: 5000,
        };
        assert!(!Flows::may_be_ours(stranger, false));
        assert!(!Flows::may_be_ours(
            Flow {
                address: u64::from(V4_BASE),
                port: 1023
            },
            false
        ));
    }

    #[test]
    fn numbers_depend_on_every_bit_of_the_tuple_and_on_the_key() {
        let (flows, others) = (Flows::new([1, 2, 3]), Flows::new([1, 5, 3]));
        let flow = Flow {
            address: 0xc612_0101,
            port: 2000,
        };
        let numbers = flows.numbers(flow);
        assert_eq!(numbers, flows.numbers(flow));
        assert_ne!(numbers, others.numbers(flow));
        for bit in 0..64 {
            let other = Flow {
                address: flow.address ^ 1 << bit,
                ..flow
            };
            assert_ne!(numbers.isn, flows.numbers(other).isn, "address bit {bit}");
        }
        for bit in 0..16 {
            let other = Flow {
                port: flow.port ^ 1 << bit,
                ..flow
            };
            assert_ne!(numbers.isn, flows.numbers(other).isn, "port bit {bit}");
        }
    }
}
