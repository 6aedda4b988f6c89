//! SYN cookies: an embryo that lives in the peer's memory (RFC 4987 §3.6), with all options kept.
//!
//! It must never keep state per SYN, and never accept a number that this key didn't issue within the last two epochs.
//!
//! The ISS holds `epoch:2 | mss:3 | mac:27`. Window scale and SACK-permitted have no room there; the low bits of the TSval that
//! the peer echoes carry them (`sack:1 | wscale:4`), so without timestamps neither is kept. The MAC covers the tuple, the
//! peer's ISN and the MSS, under a key of its epoch, and says whether timestamps were offered. It doesn't cover what TSval
//! carries: an ACK that lost its timestamps on the way must open too, without options, as with Linux. Only the peer itself
//! can change those bits, and it may offer what it likes anyway.

use super::isn::Tuple;
use super::negotiated::Negotiated;
use super::prf::{Prf, Purpose};
use crate::seq::SeqNum;
use crate::time::Instant;

/// The MSS values that a cookie can carry. The largest one that the peer allows is taken, so at worst a segment is
/// smaller than it could be; the common ones of the internet stand exactly (1460, PPPoE, tunnels, jumbo).
pub const MSS_VALUES: [u16; 8] = [64, 536, 1200, 1360, 1400, 1440, 1460, 8940];

/// Length of an epoch in seconds. A cookie is valid in its own epoch and the next: between one and two of these.
pub const EPOCH_S: u64 = 64;

const MAC_BITS: u32 = 27;
const MAC_MASK: u32 = (1 << MAC_BITS) - 1;
const MSS_SHIFT: u32 = MAC_BITS;
const EPOCH_SHIFT: u32 = MAC_BITS + 3;

/// Bits of the TSval that carry options: `sack:1 | wscale:4`.
const TS_OPTION_BITS: u32 = 5;
const TS_OPTION_MASK: u32 = (1 << TS_OPTION_BITS) - 1;
/// In the window-scale bits: the peer sent no window scale (its largest real value is 14, RFC 7323 §2.3).
const NO_WSCALE: u32 = 15;

/// The contents of a SYN-ACK with a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookie {
    /// The cookie: our ISS.
    pub iss: SeqNum,
    /// Our TSval, when the peer uses timestamps.
    pub tsval: Option<u32>,
}

/// The secret behind cookies: 128 random bits, one per process start, and the keys of the epochs that are alive.
#[derive(Clone)]
pub struct CookieKey {
    secret: [u8; 16],
    epoch: u64,
    current: Prf,
    /// Of the epoch before; the same as `current` in epoch 0, which has none before it.
    previous: Prf,
}

impl CookieKey {
    /// A key from 16 secret bytes.
    #[must_use]
    pub fn new(secret: &[u8; 16]) -> Self {
        let first = Prf::new(secret, Purpose::Cookie, 0);
        Self {
            secret: *secret,
            epoch: 0,
            current: first.clone(),
            previous: first,
        }
    }

    /// The cookie for a SYN with `irs` and these options. `ts_clock_ms` is the TSval that we would send without a cookie;
    /// the one in the cookie is at most 2^5 ms older and never newer, so that it can't seem to run backwards later.
    #[must_use]
    #[inline(always)]
    pub fn make(
        &mut self,
        tuple: Tuple,
        irs: SeqNum,
        options: Negotiated,
        now: Instant,
        ts_clock_ms: u32,
    ) -> Cookie {
        self.enter_epoch(epoch(now));
        let mss_index = mss_index(options.peer_mss);
        let with_timestamps = u32::from(options.timestamps) * TIMESTAMPS;
        let iss = SeqNum(
            ((self.epoch as u32 & 3) << EPOCH_SHIFT)
                | (mss_index << MSS_SHIFT)
                | (mac(&self.current, tuple, irs, mss_index) ^ with_timestamps),
        );
        Cookie {
            iss,
            tsval: options
                .timestamps
                .then(|| stamp(ts_clock_ms, ts_bits(&options))),
        }
    }

    /// The negotiated options, the MSS as one of [`MSS_VALUES`], if the ACK that came proves that we answered it: `iss` is SEG.ACK − 1, `irs` SEG.SEQ − 1,
    /// `tsecr` what the ACK echoes. `None` when the cookie is forged, for another connection, or too old. Timestamps that the
    /// SYN didn't offer don't count; without those that it did, no option is known any more.
    #[must_use]
    pub fn open(
        &mut self,
        tuple: Tuple,
        irs: SeqNum,
        iss: SeqNum,
        tsecr: Option<u32>,
        now: Instant,
    ) -> Option<Negotiated> {
        self.enter_epoch(epoch(now));
        // The epoch in the cookie is known modulo 4; only the current and the previous one are alive.
        let prf = match (self.epoch as u32).wrapping_sub(iss.0 >> EPOCH_SHIFT) & 3 {
            0 => &self.current,
            1 if self.epoch > 0 => &self.previous,
            _ => return None,
        };
        let mss_index = (iss.0 >> MSS_SHIFT) & 7;
        let offered = match mac(prf, tuple, irs, mss_index) ^ iss.0 & MAC_MASK {
            0 => false,
            //~ A final ACK that lost its timestamps opens: -> `TIMESTAMPS if tsecr.is_some() => true,`;
            //~   a_final_ack_that_lost_its_timestamps_opens_without_options
            TIMESTAMPS => true,
            _ => return None,
        };
        //~ Timestamps that were not offered tell nothing: `.filter(|_| offered)`
        //~   -> `.filter(|_| { let _ = offered; true })`; timestamps_that_were_not_offered_tell_nothing
        let ts_bits = tsecr
            .filter(|_| offered)
            .map(|tsecr| tsecr & TS_OPTION_MASK);
        let wscale = ts_bits.map_or(NO_WSCALE, |bits| bits & 15);
        Some(Negotiated {
            peer_mss: MSS_VALUES[mss_index as usize],
            window_scale: (wscale < NO_WSCALE).then_some(wscale as u8),
            sack_permitted: ts_bits.is_some_and(|bits| bits & 16 != 0),
            timestamps: ts_bits.is_some(),
        })
    }

    /// Makes the keys of `epoch` and the one before, when they aren't at hand.
    #[inline]
    fn enter_epoch(&mut self, epoch: u64) {
        if self.epoch != epoch {
            self.change_epoch(epoch);
        }
    }

    #[cold]
    fn change_epoch(&mut self, epoch: u64) {
        let key_of = |epoch| Prf::new(&self.secret, Purpose::Cookie, epoch);
        (self.current, self.previous) = (key_of(epoch), key_of(epoch.saturating_sub(1)));
        self.epoch = epoch;
    }
}

#[inline]
fn mac(prf: &Prf, tuple: Tuple, irs: SeqNum, mss_index: u32) -> u32 {
    let more = u64::from(irs.0) << 16 | u64::from(mss_index) << 8;
    tuple.hash(prf, more) as u32 & MAC_MASK
}

/// Turned over in the MAC when the SYN offered timestamps. The top bit: an ACK of one number more or less must not pass.
const TIMESTAMPS: u32 = 1 << (MAC_BITS - 1);

fn epoch(now: Instant) -> u64 {
    now.as_ns() / (EPOCH_S * 1_000_000_000)
}

/// Index of the largest value of [`MSS_VALUES`] that the peer allows; the smallest one when it allows none.
#[inline(always)]
fn mss_index(mss: u16) -> u32 {
    // Nearly every SYN says this one.
    const ETHERNET: usize = 6;
    if mss == MSS_VALUES[ETHERNET] {
        return ETHERNET as u32;
    }
    rare_mss_index(mss)
}

#[inline(never)]
fn rare_mss_index(mss: u16) -> u32 {
    let mut index = 0;
    for &value in &MSS_VALUES[1..] {
        index += u32::from(value <= mss);
    }
    index
}

#[inline]
fn ts_bits(options: &Negotiated) -> u32 {
    let wscale = options
        .window_scale
        .map_or(NO_WSCALE, |shift| u32::from(shift.min(14)));
    wscale | (u32::from(options.sack_permitted) << 4)
}

/// The latest clock value not after `clock` whose low bits are `bits`.
#[inline]
fn stamp(clock: u32, bits: u32) -> u32 {
    let stamped = (clock & !TS_OPTION_MASK) | bits;
    if stamped.wrapping_sub(clock) as i32 > 0 {
        stamped.wrapping_sub(1 << TS_OPTION_BITS)
    } else {
        stamped
    }
}

#[cfg(test)]
mod tests;
