//! Initial sequence numbers and timestamp offsets as keyed functions of the connection (RFC 6528 §3, RFC 7323 §5.4).
//!
//! Called by: whoever opens a connection (embryos now, active opens too). It must never keep state per connection: what
//! it returns can be computed again from the tuple, else cookies and the reuse of a tuple break.

use siphasher::sip::SipHasher24;

use super::seq::SeqNum;
use crate::time::Instant;

/// A tuple as bytes: remote address (16, IPv4 mapped), local address id (2), remote port (2), local port (2), and the
/// purpose (1), so that one secret serves several functions without their outputs being related.
const INPUT_LEN: usize = 23;

/// What [`IsnKey`] is asked for; part of the hash input.
#[derive(Clone, Copy)]
enum Purpose {
    Iss = 1,
    TimestampOffset = 2,
}

/// The secret behind initial sequence numbers and timestamp offsets: 128 random bits, one per process start.
#[derive(Clone)]
pub struct IsnKey {
    hasher: SipHasher24,
}

/// The parts of a connection's name that the keyed functions hash. All words in host order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuple {
    /// Remote address, IPv4 as `::ffff:a.b.c.d`.
    pub remote: u128,
    /// Interned local address.
    pub local_id: u16,
    /// Remote port.
    pub remote_port: u16,
    /// Local port.
    pub local_port: u16,
}

impl IsnKey {
    /// A key from 16 bytes that nobody outside can know (RFC 6528 §3: at least 128 bits).
    #[must_use]
    pub fn new(secret: &[u8; 16]) -> Self {
        Self {
            hasher: SipHasher24::new_with_key(secret),
        }
    }

    /// `ISS = M + F(tuple, secret)` with M a 4 µs clock (RFC 6528 §3, RFC 9293 MUST-8, SHLD-1).
    #[must_use]
    pub fn iss(&self, tuple: Tuple, now: Instant) -> SeqNum {
        let clock_4us = (now.as_ns() / 4_000) as u32;
        SeqNum((self.hash(tuple, Purpose::Iss) as u32).wrapping_add(clock_4us))
    }

    /// What is added to the millisecond clock to get the TSval of this connection (RFC 7323 §5.4).
    #[must_use]
    pub fn timestamp_offset_ms(&self, tuple: Tuple) -> u32 {
        self.hash(tuple, Purpose::TimestampOffset) as u32
    }

    fn hash(&self, tuple: Tuple, purpose: Purpose) -> u64 {
        let mut input = [0u8; INPUT_LEN];
        input[..16].copy_from_slice(&tuple.remote.to_le_bytes());
        input[16..18].copy_from_slice(&tuple.local_id.to_le_bytes());
        input[18..20].copy_from_slice(&tuple.remote_port.to_le_bytes());
        input[20..22].copy_from_slice(&tuple.local_port.to_le_bytes());
        input[22] = purpose as u8;
        self.hasher.hash(&input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Tuple = Tuple {
        remote: 0xffff_c612_0001,
        local_id: 0,
        remote_port: 40_000,
        local_port: 80,
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
        for other in [
            Tuple {
                remote: T.remote + 1,
                ..T
            },
            Tuple { local_id: 1, ..T },
            Tuple {
                remote_port: 1,
                ..T
            },
            Tuple {
                local_port: 81,
                ..T
            },
        ] {
            assert_ne!(key.iss(other, Instant::ZERO), base);
        }
        assert_ne!(IsnKey::new(&[8; 16]).iss(T, Instant::ZERO), base);
        assert_ne!(key.timestamp_offset_ms(T), base.0);
    }
}
