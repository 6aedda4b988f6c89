//! [`Negotiated`]: what two SYNs agreed on. A connection goes by it from its handshake to its end, in whatever record it is
//! kept: embryo, cookie, open, parked.
//!
//! It must never hold a value that moves while the connection lives, such as TS.Recent.

use crate::tcp::segment::SegmentOptions;

/// Bytes that the timestamps option takes in each segment, padding included.
const TIMESTAMPS_LEN: u16 = 12;

/// The options that two SYNs agreed on.
///
/// The order of the fields is worth 6 instructions of each cookie (`scripts/bench-instructions`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Negotiated {
    /// The largest segment that the peer takes, in bytes of options and payload: its MSS option, or the default of the family
    /// (RFC 9293 §3.7.1).
    pub peer_mss: u16,
    /// Snd.Wind.Shift, 0 to 14, if both SYNs carried a window scale; without it no window is scaled, ours neither
    /// (RFC 7323 §2.2).
    pub window_scale: Option<u8>,
    /// Whether both SYNs permitted SACK (RFC 2018 §2).
    pub sack_permitted: bool,
    /// Whether both SYNs carried timestamps (RFC 7323 §3.2).
    pub timestamps: bool,
}

impl Negotiated {
    /// The options that a SYN with the options `offer` agrees on with one that carries all of them. `default_mss` is the MSS of a peer that
    /// says none.
    #[must_use]
    #[inline(always)]
    pub fn new(offer: &SegmentOptions, default_mss: u16) -> Self {
        Self {
            peer_mss: offer.mss.unwrap_or(default_mss),
            window_scale: offer.window_scale,
            timestamps: offer.timestamps.is_some(),
            sack_permitted: offer.sack_permitted,
        }
    }

    /// Bytes that options take in each segment.
    #[must_use]
    #[inline]
    pub const fn options_len(&self) -> u16 {
        if self.timestamps { TIMESTAMPS_LEN } else { 0 }
    }

    /// Payload bytes of the largest segment that the peer takes.
    #[must_use]
    #[inline]
    pub const fn full_mss(&self) -> u16 {
        self.peer_mss.saturating_sub(self.options_len())
    }
}
