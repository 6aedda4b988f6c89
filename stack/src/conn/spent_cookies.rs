//! [`SpentCookies`]: SYN cookies that have opened a connection. A cookie is valid for a minute or two, and the connection may
//! have ended long before: a late copy of its final ACK, or of its first data, would open it again and hand the same bytes to
//! the application once more.
//!
//! It must never take one cookie for another, and never grow: where it is full, the oldest is forgotten first.

use super::key::FlowHash;
use crate::memory::{MemoryError, PageOptions, Pages, paged};
use crate::seq::SeqNum;

/// Cookies in one line of memory, the latest first.
const LINE: usize = 8;

/// One line of fingerprints; 0 is none.
#[derive(
    Debug,
    Clone,
    Copy,
    zerocopy::FromBytes,
    zerocopy::IntoBytes,
    zerocopy::Immutable,
    zerocopy::KnownLayout,
)]
#[repr(C, align(64))]
struct Line([u64; LINE]);

const _: () = assert!(size_of::<Line>() == 64);

paged!(Line);

/// The cookies of one worker, as fingerprints of 64 bits. They need no expiry: what the key of an epoch issued isn't valid
/// later, and in between no other SYN gets the same cookie.
#[derive(Debug)]
pub struct SpentCookies {
    lines: Pages<Line>,
    count: u32,
}

impl SpentCookies {
    /// Room for about `capacity` cookies, at least 8; 8 bytes each.
    ///
    /// # Errors
    /// [`MemoryError`] when the system hasn't got that much.
    pub fn new(capacity: u32, options: PageOptions) -> Result<Self, MemoryError> {
        let count = capacity.div_ceil(LINE as u32).max(1);
        Ok(Self {
            lines: Pages::zeroed(count as usize, options)?,
            count,
        })
    }

    /// Whether this cookie of this flow has opened a connection.
    #[must_use]
    pub fn is_spent(&self, flow: FlowHash, iss: SeqNum) -> bool {
        let fingerprint = fingerprint(flow, iss);
        let line = self.lines.get(flow.bucket(self.count) as usize);
        line.0.contains(&fingerprint)
    }

    /// It has.
    pub fn spend(&mut self, flow: FlowHash, iss: SeqNum) {
        let line = self.lines.get_mut(flow.bucket(self.count) as usize);
        //~ The oldest spent cookie is forgotten first; the_oldest_is_forgotten_first
        line.0.rotate_right(1);
        line.0[0] = fingerprint(flow, iss);
    }
}

/// The hash is keyed, so no peer can bring two flows to the same one.
fn fingerprint(flow: FlowHash, iss: SeqNum) -> u64 {
    let mixed = flow.0 ^ u64::from(iss.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(n: u64) -> FlowHash {
        FlowHash(n.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ n >> 3)
    }

    #[test]
    fn what_was_spent_is_known_and_nothing_else() {
        let mut cookies = SpentCookies::new(4_096, PageOptions::default()).expect("memory");
        for n in 0..1_000 {
            assert!(!cookies.is_spent(flow(n), SeqNum(7)));
            cookies.spend(flow(n), SeqNum(7));
            assert!(cookies.is_spent(flow(n), SeqNum(7)));
            assert!(!cookies.is_spent(flow(n), SeqNum(8)));
        }
        let known = (0..1_000).filter(|&n| cookies.is_spent(flow(n), SeqNum(7)));
        assert!(known.count() > 990, "a quarter full");
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut cookies = SpentCookies::new(1, PageOptions::default()).expect("memory");
        for n in 0..20 {
            cookies.spend(flow(n), SeqNum(n as u32));
        }
        for n in 0..20 {
            assert_eq!(cookies.is_spent(flow(n), SeqNum(n as u32)), n >= 12, "{n}");
        }
    }
}
