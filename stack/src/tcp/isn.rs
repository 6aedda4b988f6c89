//! Initial sequence numbers and timestamp offsets as keyed functions of the connection (RFC 6528 §3, RFC 7323 §5.4).
//!
//! It must never keep state per connection: what it returns can be computed again from the tuple, else cookies and the
//! reuse of a tuple break.

use core::hash::Hasher as _;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

use super::prf::{Prf, Purpose};
use crate::seq::SeqNum;
use crate::time::Instant;

/// The secrets behind initial sequence numbers and timestamp offsets, from 128 random bits, one per process start.
#[derive(Clone)]
pub struct IsnKey {
    iss: Prf,
    timestamp_offset: TimestampHasher,
}

/// The remote address of a connection, by family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remote {
    /// IPv4.
    V4(u32),
    /// IPv6.
    V6(u128),
}

/// The parts of a connection's name that the keyed functions hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuple {
    /// Remote address.
    pub remote: Remote,
    /// Interned local address in bits 32 to 47, remote port in 16 to 31, local port in 0 to 15; no other bit is set.
    pub ends: u64,
}

/// The bits of [`Tuple::ends`] that are the ports.
const PORTS: u64 = 0xffff_ffff;

impl Tuple {
    /// The keyed function of the tuple and six bytes more (`more` below 2^48).
    #[inline(always)]
    pub(super) fn hash(&self, prf: &Prf, more: u64) -> u64 {
        let rest = u128::from(more) << 48 | u128::from(self.ends);
        match self.remote {
            Remote::V4(remote) => prf.v4(remote, rest),
            Remote::V6(remote) => prf.v6(remote, rest),
        }
    }
}

/// The hash behind timestamp offsets. Not the cryptographic function of the others, and under a key that serves nothing
/// else: who learns an offset learns for how long we have been up, which is all that RFC 7323 §5.4 hides.
#[derive(Clone)]
struct TimestampHasher {
    seed: u64,
    shared: SharedSeed,
}

impl TimestampHasher {
    fn new(secret: &[u8; 16]) -> Self {
        let derive = Prf::new(secret, Purpose::TimestampOffset, 0);
        let shared = SharedSeed::from_u64(derive.v4(1, 0));
        Self {
            seed: derive.v4(0, 0),
            shared,
        }
    }

    #[inline(always)]
    fn hash(&self, tuple: Tuple) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        match tuple.remote {
            Remote::V4(remote) => hasher.write_u64(remote.into()),
            Remote::V6(remote) => {
                hasher.write_u64((remote >> 64) as u64);
                hasher.write_u64(remote as u64);
            }
        }
        hasher.write_u64(tuple.ends & !PORTS);
        hasher.finish()
    }
}

impl IsnKey {
    /// A key from 16 secret bytes (RFC 6528 §3: at least 128 bits).
    #[must_use]
    pub fn new(secret: &[u8; 16]) -> Self {
        Self {
            iss: Prf::new(secret, Purpose::Iss, 0),
            timestamp_offset: TimestampHasher::new(secret),
        }
    }

    /// `ISS = M + F(tuple, secret)` with M a 4 µs clock (RFC 6528 §3, RFC 9293 MUST-8, SHLD-1).
    #[must_use]
    #[inline(always)]
    pub fn iss(&self, tuple: Tuple, now: Instant) -> SeqNum {
        let clock_4us = (now.as_ns() / 4_000) as u32;
        SeqNum((tuple.hash(&self.iss, 0) as u32).wrapping_add(clock_4us))
    }

    /// The offset to the millisecond clock that gives the TSval of connections with this pair of addresses (RFC 7323 §5.4).
    /// The ports don't count, as in Linux: TSvals to one peer then rise from one connection to the next, which is what
    /// PAWS and the reuse of a tuple in TIME-WAIT (RFC 6191) want.
    #[must_use]
    #[inline(always)]
    pub fn timestamp_offset_ms(&self, tuple: Tuple) -> u32 {
        self.timestamp_offset.hash(tuple) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Tuple = Tuple {
        remote: Remote::V4(0xc612_0001),
        ends: 1 << 32 | 40_000 << 16 | 80,
    };

    #[test]
    fn the_clock_part_advances_by_one_every_4_us_and_wraps() {
        let key = IsnKey::new(&[7; 16]);
        let at = |ns| key.iss(T, Instant::from_ns(ns));
        assert_eq!(at(4_000).since(at(0)), 1);
        assert_eq!(at(1_000_000_000).since(at(0)), 250_000);
        assert_eq!(at(4_000 << 32), at(0));
    }

    #[test]
    fn every_part_of_the_tuple_the_secret_and_the_purpose_count() {
        let key = IsnKey::new(&[7; 16]);
        let base = key.iss(T, Instant::ZERO);
        for remote in [Remote::V4(1), Remote::V6(0xc612_0001)] {
            assert_ne!(key.iss(Tuple { remote, ..T }, Instant::ZERO), base);
        }
        for bit in 0..48 {
            let other = Tuple {
                ends: T.ends ^ 1 << bit,
                ..T
            };
            assert_ne!(key.iss(other, Instant::ZERO), base, "bit {bit}");
        }
        assert_ne!(IsnKey::new(&[8; 16]).iss(T, Instant::ZERO), base);
        assert_ne!(key.timestamp_offset_ms(T), base.0);
    }

    #[test]
    fn timestamp_offsets_are_those_of_the_hosts() {
        let key = IsnKey::new(&[7; 16]);
        let offset = |tuple| key.timestamp_offset_ms(tuple);
        assert_eq!(
            offset(T),
            offset(Tuple {
                ends: T.ends ^ 0x1_0001,
                ..T
            })
        );
        assert_ne!(
            offset(T),
            offset(Tuple {
                ends: T.ends ^ 1 << 32,
                ..T
            })
        );
        assert_ne!(
            offset(T),
            offset(Tuple {
                remote: Remote::V4(1),
                ..T
            })
        );
    }
}
