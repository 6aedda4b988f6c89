//! [`LocalPorts`]: which local port an active open gets, by the double-hash algorithm of RFC 6056 §3.3.4.
//!
//! It must never remember who uses a port: whether one is free the table knows, TIME-WAIT included.
//!
//! Towards one peer (address and port) the ports go through the whole range, one after the other, from a secret place on,
//! so that a tuple comes back as late as it can. Towards different peers they have nothing to do with each other: place
//! and pace are keyed functions of the peer, so a peer learns nothing about connections to others (§3.3.4; the pace is
//! shared by few because the table is large: Kol, Klein, Gilad, "Device Tracking via Linux's New TCP Source Port Selection
//! Algorithm", tracked hosts by a table of 256).

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use crate::local::addresses::LocalId;
use crate::tcp::prf::{Prf, Purpose};

/// Counters: 128 KB per worker.
const COUNTERS: usize = 1 << 16;

/// The local ports that active opens may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// A range of ports can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortRangeError {
    /// The first port comes after the last.
    Reversed,
    /// It contains port 0, which is no port (RFC 6335 §6).
    Zero,
}

impl fmt::Display for PortRangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reversed => "the first local port comes after the last; swap them",
            Self::Zero => "port 0 can't be a local port; begin at 1 or, better, at 1024",
        })
    }
}

impl core::error::Error for PortRangeError {}

impl PortRange {
    /// The ports from `first` to `last`, both included.
    ///
    /// # Errors
    /// [`PortRangeError`].
    pub const fn new(first: u16, last: u16) -> Result<Self, PortRangeError> {
        if first == 0 {
            Err(PortRangeError::Zero)
        } else if first > last {
            Err(PortRangeError::Reversed)
        } else {
            Ok(Self { first, last })
        }
    }

    /// How many ports it has: 1 to 65,535.
    #[must_use]
    pub const fn ports(self) -> u16 {
        self.last - self.first + 1
    }

    /// The first port.
    #[must_use]
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The last port.
    #[must_use]
    pub const fn last(self) -> u16 {
        self.last
    }
}

impl Default for PortRange {
    /// 32,768 to 60,999, as Linux has it.
    fn default() -> Self {
        Self {
            first: 32_768,
            last: 60_999,
        }
    }
}

/// Picks local ports.
#[derive(Clone)]
pub struct LocalPorts {
    range: PortRange,
    prf: Prf,
    /// How far the peers that share a counter have come; each starts anywhere, so that it reveals nothing.
    counters: Box<[u16]>,
}

impl fmt::Debug for LocalPorts {
    /// Without the secret and what follows from it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalPorts")
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

impl LocalPorts {
    /// Ports of `range`, under 128 secret bits. Workers may share the secret: each asks for ports of
    /// its own only.
    #[must_use]
    pub fn new(secret: &[u8; 16], range: PortRange) -> Self {
        let start = Prf::new(secret, Purpose::LocalPortStart, 0);
        let count = |index: usize| within(start.v4(index as u32, 0) as u32, range.ports());
        Self {
            range,
            prf: Prf::new(secret, Purpose::LocalPort, 0),
            counters: (0..COUNTERS).map(count).collect(),
        }
    }

    /// The range.
    #[must_use]
    pub const fn range(&self) -> PortRange {
        self.range
    }

    /// A local port for a connection from `local` to `remote` that `is_free` agrees to; it is asked for at most `tries`
    /// ports, and for none twice. `None` when it agrees to none of them: the next call goes on where this one ended.
    ///
    /// `is_free` says whether no connection has that tuple, in TIME-WAIT neither, and whether the replies will come to
    /// this worker: with n workers about n ports are asked for.
    pub fn pick(
        &mut self,
        local: LocalId,
        remote: SocketAddr,
        mut is_free: impl FnMut(u16) -> bool,
        tries: u16,
    ) -> Option<u16> {
        let ports = self.range.ports();
        let hash = self.hash(local, remote);
        let counter = &mut self.counters[(hash >> 48) as usize]; // 16 bits, and as many counters
        let offset = within(hash as u32, ports);
        for _ in 0..tries.min(ports) {
            // Both are below `ports`, so a subtraction does for a division.
            let place = u32::from(offset) + u32::from(*counter);
            let place = place.checked_sub(ports.into()).unwrap_or(place);
            *counter = if *counter + 1 == ports {
                0
            } else {
                *counter + 1
            };
            let port = self.range.first + place as u16;
            if is_free(port) {
                return Some(port);
            }
        }
        None
    }

    /// F and G of the RFC in one: the low half is the offset's, the top 16 bits choose the counter.
    fn hash(&self, local: LocalId, remote: SocketAddr) -> u64 {
        let ends = u128::from(local.0) << 16 | u128::from(remote.port());
        match remote.ip() {
            IpAddr::V4(address) => self.prf.v4(address.to_bits(), ends),
            IpAddr::V6(address) => self.prf.v6(address.to_bits(), ends),
        }
    }
}

/// A number below `count` from 32 random bits, by multiply-shift.
const fn within(bits: u32, count: u16) -> u16 {
    ((bits as u64 * count as u64) >> 32) as u16
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const SECRET: [u8; 16] = [7; 16];

    fn ports(first: u16, last: u16) -> LocalPorts {
        LocalPorts::new(&SECRET, PortRange::new(first, last).unwrap())
    }

    /// The `n`th peer.
    fn peer(n: u32) -> SocketAddr {
        let address = IpAddr::V4((0xc612_0000 + n).into());
        SocketAddr::new(address, 80)
    }

    #[test]
    fn towards_one_peer_no_port_comes_back_before_all_have_come() {
        let mut ports = ports(40_000, 40_999);
        for _ in 0..3 {
            let round: HashSet<u16> = (0..1_000)
                .map(|_| ports.pick(LocalId(0), peer(1), |_| true, 1).unwrap())
                .collect();
            assert_eq!(round.len(), 1_000);
            assert!(round.iter().all(|port| (40_000..=40_999).contains(port)));
        }
    }

    #[test]
    fn the_last_free_port_is_found_and_none_is_asked_for_twice() {
        for (first, last) in [(1, u16::MAX), (50_000, 50_000), (32_768, 60_999)] {
            let mut ports = ports(first, last);
            for only in [first, last, first + (last - first) / 3] {
                let picked = ports.pick(LocalId(3), peer(9), |port| port == only, u16::MAX);
                assert_eq!(picked, Some(only));
            }
            let mut asked = HashSet::new();
            let none = ports.pick(LocalId(3), peer(9), |port| !asked.insert(port), u16::MAX);
            assert_eq!((none, asked.len()), (None, usize::from(last - first) + 1));
        }
    }

    #[test]
    fn tries_are_a_bound_and_the_next_call_goes_on_behind_them() {
        let mut ports = ports(40_000, 40_099);
        let mut asked = HashSet::new();
        for call in 1..=10 {
            let mut count = 0;
            let refuse = |port| {
                count += 1;
                asked.insert(port);
                false
            };
            assert_eq!(ports.pick(LocalId(0), peer(1), refuse, 10), None);
            assert_eq!((count, asked.len()), (10, 10 * call));
        }
    }

    #[test]
    fn a_free_port_takes_one_try_when_nothing_is_in_the_way() {
        let mut ports = LocalPorts::new(&SECRET, PortRange::default());
        let mut asked = 0u32;
        for n in 0..10_000 {
            let count = |_| {
                asked += 1;
                true
            };
            assert!(ports.pick(LocalId(0), peer(n % 50), count, 16).is_some());
        }
        assert_eq!(asked, 10_000);
    }

    /// Ports towards one peer after another: what one peer sees says nothing about the next one's.
    #[test]
    fn ports_towards_different_peers_are_spread_like_random_ones() {
        let mut ports = LocalPorts::new(&SECRET, PortRange::default());
        let picked: Vec<u16> = (0..10_000)
            .map(|n| ports.pick(LocalId(0), peer(n), |_| true, 1).unwrap())
            .collect();
        let near = picked
            .windows(2)
            .filter(|pair| pair[0].abs_diff(pair[1]) <= 4)
            .count();
        // 9 of 28,232 places are that near: 3.2 are expected, and 30 never happen by chance.
        assert!(near < 30, "{near} of 9,999 ports follow the one before");
        let mut eighths = [0u32; 8];
        for port in picked {
            eighths[usize::from(port - 32_768) * 8 / 28_232] += 1;
        }
        assert!(
            eighths.iter().all(|count| (1_100..1_400).contains(count)),
            "{eighths:?}"
        );
    }

    #[test]
    fn every_part_of_the_name_and_the_secret_count() {
        let first = |secret, local, remote: SocketAddr| {
            let mut ports = LocalPorts::new(secret, PortRange::default());
            ports.pick(LocalId(local), remote, |_| true, 1)
        };
        let base = first(&SECRET, 0, peer(1));
        assert_eq!(base, first(&SECRET, 0, peer(1)), "nothing else counts");
        let mut other_port = peer(1);
        other_port.set_port(81);
        let mapped = SocketAddr::new(
            std::net::Ipv4Addr::from_bits(0xc612_0001)
                .to_ipv6_mapped()
                .into(),
            80,
        );
        for other in [
            first(&[8; 16], 0, peer(1)),
            first(&SECRET, 1, peer(1)),
            first(&SECRET, 0, peer(2)),
            first(&SECRET, 0, other_port),
            first(&SECRET, 0, mapped),
        ] {
            assert_ne!(other, base);
        }
    }

    #[test]
    fn ranges_that_make_no_sense_are_named() {
        assert_eq!(PortRange::new(0, 5), Err(PortRangeError::Zero));
        assert_eq!(PortRange::new(6, 5), Err(PortRangeError::Reversed));
        assert_eq!(PortRange::new(5, 5).unwrap().ports(), 1);
        assert_eq!(PortRange::new(1, u16::MAX).unwrap().ports(), u16::MAX);
    }
}
