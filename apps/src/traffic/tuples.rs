//! [`TupleSpace`]: sources × targets as one index space, and the [`Numbers`] that belong to each tuple.
//!
//! It must never remember a tuple: what was sent is recomputed from the index, so that any number of them can be in flight.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use workload::pools::{self, Divisor, Source, SourcePool};

/// One address and port that frames go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    /// The link-layer address behind which it is: its own, or the gateway's.
    pub(crate) mac: [u8; 6],
    /// Its address.
    pub(crate) address: IpAddr,
    /// Its port.
    pub(crate) port: u16,
}

/// Source and target of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tuple {
    /// Its number in the space.
    pub(crate) index: u64,
    /// Where it comes from.
    pub(crate) source: Source,
    /// Which of the targets it goes to.
    pub(crate) target: usize,
}

/// The numbers that a frame of a tuple carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// Sequence number.
    pub(crate) seq: u32,
    /// Acknowledgment number, where the frame has ACK set.
    pub(crate) ack: u32,
    /// TSval of the timestamps option (RFC 7323 §3.2).
    pub(crate) tsval: u32,
    /// Identification of an IPv4 packet.
    pub(crate) ident: u16,
}

/// Which way a received address and port are not those of a tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoTuple {
    /// The remote address is no target's, or the local one not in the pool.
    Address,
    /// The addresses are right and a port is not.
    Port,
}

/// Up to so many targets are compared one by one.
const COMPARED_TARGETS: usize = 8;

/// All tuples of a run: every source with every target, numbered. Targets change fastest.
#[derive(Debug, Clone)]
pub(crate) struct TupleSpace {
    pool: SourcePool,
    targets: Vec<Target>,
    target_count: Divisor,
    /// For more than [`COMPARED_TARGETS`]: their numbers by address and port, and their addresses.
    by_end: HashMap<(u128, u16), usize>,
    addresses: HashSet<u128>,
    /// The secret from which sequence numbers follow.
    keys: [u32; 3],
}

impl TupleSpace {
    /// Every source of `pool` with every one of `targets` (at least one, of the pool's family); numbers follow from `key`.
    pub(crate) fn new(pool: SourcePool, targets: Vec<Target>, key: [u64; 2]) -> Self {
        let (mut by_end, mut addresses) = (HashMap::new(), HashSet::new());
        if targets.len() > COMPARED_TARGETS {
            for (i, target) in targets.iter().enumerate() {
                let address = pools::bits(target.address);
                by_end.insert((address, target.port), i);
                addresses.insert(address);
            }
        }
        Self {
            target_count: Divisor::new(targets.len() as u64),
            by_end,
            addresses,
            pool,
            targets,
            keys: [key[0] as u32, (key[0] >> 32) as u32, key[1] as u32],
        }
    }

    /// How many tuples there are.
    pub(crate) fn len(&self) -> u64 {
        self.pool.len().saturating_mul(self.target_count.get())
    }

    /// Whether all addresses are of IPv6.
    pub(crate) fn is_ipv6(&self) -> bool {
        self.pool.is_ipv6()
    }

    /// Where frames go.
    pub(crate) fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The tuple with this number, which is below the length.
    #[inline]
    pub(crate) fn get(&self, index: u64) -> Tuple {
        let (source, target) = match self.targets[..] {
            [_] => (index, 0),
            _ => self.target_count.div_rem(index),
        };
        Tuple {
            index,
            source: self.pool.get(source),
            target: target as usize,
        }
    }

    /// The tuple of a received frame: `local` is its destination, `remote` its source.
    ///
    /// # Errors
    /// [`NoTuple`].
    #[inline]
    pub(crate) fn find(&self, local: Source, remote: Source) -> Result<Tuple, NoTuple> {
        let target = self.target(remote)?;
        let Some(source) = self.pool.index_of(local) else {
            let is_ours = self.pool.address_index(local.address).is_some();
            return Err(if is_ours {
                NoTuple::Port
            } else {
                NoTuple::Address
            });
        };
        Ok(Tuple {
            index: source * self.target_count.get() + target as u64,
            source: local,
            target,
        })
    }

    #[inline]
    fn target(&self, remote: Source) -> Result<usize, NoTuple> {
        if self.targets.len() > COMPARED_TARGETS {
            let found = self.by_end.get(&(remote.address, remote.port)).copied();
            return found.ok_or(if self.addresses.contains(&remote.address) {
                NoTuple::Port
            } else {
                NoTuple::Address
            });
        }
        let mut error = NoTuple::Address;
        for (i, target) in self.targets.iter().enumerate() {
            if pools::bits(target.address) == remote.address {
                if target.port == remote.port {
                    return Ok(i);
                }
                error = NoTuple::Port;
            }
        }
        Err(error)
    }

    /// The numbers of a tuple: a keyed function of its index, moved on by `time`, so that two frames of one tuple that were
    /// made at different times have different ones.
    #[inline]
    pub(crate) fn numbers(&self, index: u64, time: u32) -> Numbers {
        self.numbers_of(index as u32, (index >> 32) as u32, time)
    }

    /// The same by the halves of the index: in 32 bits, so that the compiler does those of several tuples in one vector.
    #[inline(always)]
    pub(super) fn numbers_of(&self, low: u32, high: u32, time: u32) -> Numbers {
        let high = high.wrapping_mul(GOLDEN);
        let first = mixed(mixed(low ^ self.keys[0]) ^ high ^ self.keys[1]);
        let second = mixed(first ^ self.keys[2]);
        Numbers {
            seq: first.wrapping_add(time),
            ack: second.wrapping_add(time),
            // A clock of a millisecond, nearly, when `time` is in microseconds.
            tsval: second.rotate_left(7).wrapping_add(time >> 10),
            ident: (second >> 16) as u16,
        }
    }

    /// The sources of many tuples of one target and of IPv4 at a time: addresses and ports.
    #[inline]
    pub(super) fn sources<const N: usize>(
        &self,
        indices: &[u64; N],
        addresses: &mut [u32; N],
        ports: &mut [u16; N],
    ) {
        self.pool.get_ipv4_run(indices, addresses, ports);
    }
}

/// The golden ratio in 32 bits: an odd number without a pattern.
const GOLDEN: u32 = 0x9e37_79b1;

/// A permutation of 32 bits in which each bit of `word` changes every bit of the result in about half of all cases: `lowbias32` of
/// C. Wellons, "Prospecting for Hash Functions" (2018).
#[inline(always)]
const fn mixed(mut word: u32) -> u32 {
    word = (word ^ word >> 16).wrapping_mul(0x7feb_352d);
    word = (word ^ word >> 15).wrapping_mul(0x846c_a68b);
    word ^ word >> 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use workload::pools::PortRange;

    fn space(key: u64) -> TupleSpace {
        space_to(key, &[80, 443])
    }

    fn space_to(key: u64, ports: &[u16]) -> TupleSpace {
        let prefix = ("198.18.64.0".parse().expect("an address"), 26);
        let source_ports = PortRange {
            first: 1024,
            last: 1123,
        };
        let pool = SourcePool::new(&[prefix], &[source_ports]).expect("a pool");
        let targets = ["198.18.0.2", "198.18.0.3"]
            .into_iter()
            .flat_map(|address| {
                ports.iter().map(|&port| Target {
                    mac: [2; 6],
                    address: address.parse().expect("an address"),
                    port,
                })
            });
        TupleSpace::new(pool, targets.collect(), [key, 3])
    }

    #[test]
    fn every_source_meets_every_target_and_is_found_again() {
        every_tuple_is_found(&space(1), 4);
        every_tuple_is_found(&space_to(1, &[80, 443, 7, 9, 22]), 10);
    }

    fn every_tuple_is_found(space: &TupleSpace, targets: u64) {
        assert_eq!(space.len(), 64 * 100 * targets);
        let mut seen = HashSet::new();
        for index in 0..space.len() {
            let tuple = space.get(index);
            let target = space.targets()[tuple.target];
            let remote = Source {
                address: pools::bits(target.address),
                port: target.port,
            };
            assert!(seen.insert((tuple.source, tuple.target)));
            assert_eq!(space.find(tuple.source, remote), Ok(tuple));
        }
    }

    #[test]
    fn strangers_are_told_from_wrong_ports() {
        strangers(&space(1));
        strangers(&space_to(1, &[80, 443, 7, 9, 22]));
    }

    fn strangers(space: &TupleSpace) {
        let end = |address: &str, port| Source {
            address: pools::bits(address.parse().expect("an address")),
            port,
        };
        let (ours, theirs) = (end("198.18.64.5", 1024), end("198.18.0.2", 80));
        assert!(space.find(ours, theirs).is_ok());
        for (ours, theirs, error) in [
            (ours, end("198.18.0.4", 80), NoTuple::Address),
            (ours, end("198.18.0.2", 81), NoTuple::Port),
            (end("198.18.64.5", 1023), theirs, NoTuple::Port),
            (end("198.18.64.64", 1024), theirs, NoTuple::Address),
        ] {
            assert_eq!(space.find(ours, theirs), Err(error));
        }
    }

    #[test]
    fn numbers_depend_on_every_bit_of_the_index_on_the_time_and_on_the_key() {
        let (space, other) = (space(1), space(5));
        let numbers = space.numbers(77, 9);
        assert_eq!(numbers, space.numbers(77, 9));
        assert_ne!(numbers, other.numbers(77, 9));
        assert_eq!(space.numbers(77, 10).seq, numbers.seq.wrapping_add(1));
        assert_eq!(space.numbers(77, 10).ack, numbers.ack.wrapping_add(1));
        for bit in 0..63 {
            assert_ne!(
                numbers.seq,
                space.numbers(77 ^ 1 << bit, 9).seq,
                "bit {bit}"
            );
        }
    }
}
