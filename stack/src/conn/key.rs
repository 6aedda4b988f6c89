//! [`FlowKey`], [`FlowHash`], [`FlowHasher`]: what names a connection, and the keyed hash that finds it.
//!
//! It must never hash without a secret: the peer chooses the tuple, and who could predict buckets could fill one.

use core::hash::Hasher as _;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

use crate::local::addresses::LocalId;

/// Bit of the third word that says IPv6. With it an IPv4-mapped IPv6 address and the IPv4 address stay two keys.
const V6_BIT: u64 = 1 << 48;

/// The 4-tuple of a connection, seen from our side, both families in one shape: three words, compared at once.
///
/// Words 0 and 1 are the remote address (IPv4: word 0 is zero), word 2 is family, local address id, remote port and
/// local port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey {
    words: [u64; 3],
}

impl FlowKey {
    /// The key of an IPv4 flow. Ports are in host order.
    #[must_use]
    #[inline]
    pub const fn v4(local: LocalId, local_port: u16, remote: Ipv4Addr, remote_port: u16) -> Self {
        Self {
            words: [
                0,
                remote.to_bits() as u64,
                ends(local, local_port, remote_port),
            ],
        }
    }

    /// The key of a received IPv4 segment with the sender's port in the upper half of `ports` and ours in the lower, as in its
    /// header.
    #[must_use]
    #[inline]
    pub const fn received_v4(local: LocalId, src: Ipv4Addr, ports: u32) -> Self {
        let ends = (local.0 as u64) << 32 | ports as u64;
        Self {
            words: [0, src.to_bits() as u64, ends],
        }
    }

    /// The same of a received IPv6 segment.
    #[must_use]
    #[inline]
    pub const fn received_v6(local: LocalId, src: Ipv6Addr, ports: u32) -> Self {
        let src = src.to_bits();
        let ends = (local.0 as u64) << 32 | ports as u64 | V6_BIT;
        Self {
            words: [(src >> 64) as u64, src as u64, ends],
        }
    }

    /// The key of an IPv6 flow. Ports are in host order.
    #[must_use]
    #[inline]
    pub const fn v6(local: LocalId, local_port: u16, remote: Ipv6Addr, remote_port: u16) -> Self {
        let remote = remote.to_bits();
        let ends = ends(local, local_port, remote_port) | V6_BIT;
        Self {
            words: [(remote >> 64) as u64, remote as u64, ends],
        }
    }

    /// The key of a flow of either family. Ports are in host order.
    #[must_use]
    pub const fn new(local: LocalId, local_port: u16, remote: IpAddr, remote_port: u16) -> Self {
        match remote {
            IpAddr::V4(remote) => Self::v4(local, local_port, remote, remote_port),
            IpAddr::V6(remote) => Self::v6(local, local_port, remote, remote_port),
        }
    }

    /// The same flow from another port of ours, for a key whose local port is 0.
    #[must_use]
    #[inline(always)]
    pub const fn from_port(&self, local_port: u16) -> Self {
        let [high, low, rest] = self.words;
        Self {
            words: [high, low, rest | local_port as u64],
        }
    }

    /// Whether it is an IPv6 flow.
    #[must_use]
    #[inline]
    pub const fn is_v6(&self) -> bool {
        self.words[2] & V6_BIT != 0
    }

    /// The same key, if it is that of an IPv4 flow: what follows from that is known when compiling.
    #[must_use]
    #[inline(always)]
    pub const fn as_v4(&self) -> Option<Self> {
        if self.is_v6() {
            return None;
        }
        Some(self.of_v4())
    }

    /// The same for one that is known to be an IPv4 flow's.
    #[must_use]
    #[inline(always)]
    pub const fn of_v4(&self) -> Self {
        Self {
            words: [0, self.words[1], self.words[2] & (V6_BIT - 1)],
        }
    }

    /// Our address, interned.
    #[must_use]
    #[inline]
    pub const fn local(&self) -> LocalId {
        LocalId((self.words[2] >> 32) as u16)
    }

    /// Our port, host order.
    #[must_use]
    #[inline]
    pub const fn local_port(&self) -> u16 {
        self.words[2] as u16
    }

    /// The peer's address.
    #[must_use]
    pub const fn remote(&self) -> IpAddr {
        if self.is_v6() {
            IpAddr::V6(Ipv6Addr::from_bits(self.remote_v6()))
        } else {
            IpAddr::V4(Ipv4Addr::from_bits(self.remote_v4()))
        }
    }

    /// The peer's port, host order.
    #[must_use]
    #[inline]
    pub const fn remote_port(&self) -> u16 {
        (self.words[2] >> 16) as u16
    }

    /// The peer's IPv4 address as a number; meaningless for IPv6.
    #[must_use]
    #[inline]
    pub const fn remote_v4(&self) -> u32 {
        self.words[1] as u32
    }

    /// The peer's IPv6 address as a number; meaningless for IPv4.
    #[must_use]
    #[inline]
    pub const fn remote_v6(&self) -> u128 {
        (self.words[0] as u128) << 64 | self.words[1] as u128
    }

    /// Interned local address in bits 32 to 47, remote port in 16 to 31, local port in 0 to 15: all of the key but the
    /// remote address, as one number.
    #[must_use]
    #[inline]
    pub const fn ends(&self) -> u64 {
        self.words[2] & !V6_BIT
    }

    /// Remote port in the high half, local port in the low half: as the records keep them.
    #[inline]
    pub(super) const fn ports(&self) -> u32 {
        self.words[2] as u32
    }
}

/// The third word of a key, without the family.
#[inline]
const fn ends(local: LocalId, local_port: u16, remote_port: u16) -> u64 {
    (local.0 as u64) << 32 | (remote_port as u64) << 16 | local_port as u64
}

/// The keyed hash of a [`FlowKey`], divided into fields that never share a bit.
///
/// Bits 0–31 choose the bucket, 32–47 are the tag, 48–50 the overflow class, 51–63 the owning worker. They must not
/// overlap: all keys of one worker agree in the owner's bits, so a bucket chosen by those would crowd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FlowHash(pub u64);

impl FlowHash {
    /// The home bucket among `buckets`, by multiply-shift (Lemire, "Fast random integer generation in an interval"):
    /// any number of buckets, no division.
    #[must_use]
    #[inline]
    pub const fn bucket(self, buckets: u32) -> u32 {
        (((self.0 & 0xffff_ffff) * buckets as u64) >> 32) as u32
    }

    /// The 16-bit tag kept in the bucket; never 0, which marks an empty slot.
    #[must_use]
    #[inline]
    pub const fn tag(self) -> u16 {
        let tag = (self.0 >> 32) as u16;
        tag | (tag == 0) as u16
    }

    /// The class 0–7 under which a bucket counts entries of this hash that it had no room for.
    #[must_use]
    #[inline]
    pub const fn overflow_class(self) -> u32 {
        (self.0 >> 48) as u32 & 7
    }

    /// The worker 0..`workers` that owns the flow where no RSS hash of the NIC decides it. `workers` of 0 counts as 1.
    #[must_use]
    #[inline]
    pub const fn owner(self, workers: u16) -> u16 {
        (((self.0 >> 51) * workers as u64) >> 13) as u16
    }
}

/// The keyed hash function, one per endpoint, shared by all its workers.
///
/// foldhash (quality variant): 128-bit folded multiplies whose every operand is mixed with the secret. Its authors
/// claim resistance against peers who choose keys but can't watch hashes or bucket order, which is where a remote peer
/// stands: no hash and no iteration order of ours is visible on the wire. Nothing else may be derived from it (ISN,
/// cookies and timestamp offsets need a cryptographic PRF).
#[derive(Debug, Clone)]
pub struct FlowHasher {
    seed: u64,
    shared: SharedSeed,
}

impl FlowHasher {
    /// A hasher from 128 secret bits, drawn anew at each start from the system's randomness (or from the seed of a
    /// simulated world).
    #[must_use]
    pub const fn new(secret: [u64; 2]) -> Self {
        Self {
            seed: secret[0],
            shared: SharedSeed::from_u64(secret[1]),
        }
    }

    /// The hash of a key.
    #[must_use]
    #[inline(always)]
    pub fn hash(&self, key: &FlowKey) -> FlowHash {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        // The first word of an IPv4 key is zero and says nothing; the family stands in the third.
        if key.is_v6() {
            hasher.write_u64(key.words[0]);
        }
        hasher.write_u64(key.words[1]);
        hasher.write_u64(key.words[2]);
        FlowHash(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_key_gives_back_what_went_in(local: u16, local_port: u16, v4: u32, v6: u128, port: u16) {
            for remote in [IpAddr::V4(v4.into()), IpAddr::V6(v6.into())] {
                let key = FlowKey::new(LocalId(local), local_port, remote, port);
                prop_assert_eq!(
                    (key.local(), key.local_port(), key.remote(), key.remote_port(), key.is_v6()),
                    (LocalId(local), local_port, remote, port, remote.is_ipv6())
                );
            }
            let key = FlowKey::v4(LocalId(local), local_port, v4.into(), port);
            let ports = u32::from(port) << 16 | u32::from(local_port);
            prop_assert_eq!(FlowKey::received_v4(LocalId(local), v4.into(), ports), key);
            prop_assert_eq!(key.as_v4(), Some(key));
            prop_assert_eq!(FlowKey::v6(LocalId(local), local_port, v6.into(), port).as_v4(), None);
        }

        #[test]
        fn fields_of_a_hash_stay_in_range(hash: u64, buckets in 1u32.., workers in 1u16..) {
            let hash = FlowHash(hash);
            prop_assert!(hash.bucket(buckets) < buckets);
            prop_assert!(hash.owner(workers) < workers);
            prop_assert!(hash.tag() != 0 && hash.overflow_class() < 8);
        }
    }

    #[test]
    fn a_mapped_address_is_another_key_than_the_ipv4_address() {
        let v4 = Ipv4Addr::new(198, 18, 0, 1);
        let key = FlowKey::v4(LocalId(0), 80, v4, 1);
        assert_ne!(key, FlowKey::v6(LocalId(0), 80, v4.to_ipv6_mapped(), 1));
        assert_ne!(
            key,
            FlowKey::v6(LocalId(0), 80, Ipv6Addr::from_bits(v4.to_bits().into()), 1)
        );
    }

    /// Every single-bit change of the key must flip each bit of the hash about half the time, under any secret.
    #[test]
    fn every_bit_of_the_tuple_reaches_every_field_of_the_hash() {
        let mut flips = [[0u32; 64]; 192];
        let rounds = 512u64;
        for round in 0..rounds {
            let hasher = FlowHasher::new([round.wrapping_mul(0x9e37_79b9_7f4a_7c15), !round]);
            let key = FlowKey {
                words: [0, round << 7, V6_BIT ^ 0x0001_c350_0050 ^ round],
            };
            let base = hasher.hash(&key).0;
            for (bit, row) in flips.iter_mut().enumerate() {
                let mut other = key;
                other.words[bit / 64] ^= 1 << (bit % 64);
                let changed = hasher.hash(&other).0 ^ base;
                for (position, count) in row.iter_mut().enumerate() {
                    *count += (changed >> position & 1) as u32;
                }
            }
        }
        // 512 fair flips stay within 256 ± 113 (10 sigma) in all 12,288 places; a stuck or copied bit doesn't.
        assert!(
            flips
                .iter()
                .flatten()
                .all(|&count| (143..370).contains(&count))
        );
    }

    #[test]
    fn another_secret_is_another_hash() {
        let key = FlowKey::v4(LocalId(0), 80, Ipv4Addr::new(198, 18, 0, 1), 50_000);
        let base = FlowHasher::new([1, 2]).hash(&key);
        assert_ne!(base, FlowHasher::new([3, 2]).hash(&key));
        assert_ne!(base, FlowHasher::new([1, 4]).hash(&key));
    }
}
