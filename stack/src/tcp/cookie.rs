//! SYN cookies: an embryo that lives in the peer's memory (RFC 4987 §3.6), with all options kept.
//!
//! Called by: the endpoint, to answer a SYN without state and to check an ACK that meets no record. It must never keep
//! state per SYN, and never accept a number that this key didn't issue within the last two epochs.
//!
//! The ISS holds `epoch:2 | mss:3 | mac:27`. Window scale and SACK-permitted have no room there; they ride in the low
//! bits of the TSval that the peer echoes (`sack:1 | wscale:4`), so without timestamps neither is kept. The MAC covers
//! the tuple, the peer's ISN, the full epoch and all carried options: the TSval bits can't be changed on their own.
//! The TSval bits are only known when the ACK echoes them, so the MAC is computed over what the ACK says.

use siphasher::sip::SipHasher13;

use super::isn::Tuple;
use super::seq::SeqNum;
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

/// The options of a SYN that outlive it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CookieOptions {
    /// The peer's MSS: as received when a cookie is made, one of [`MSS_VALUES`] when it is opened.
    pub mss: u16,
    /// The peer's window scale, at most 14. Kept only together with timestamps.
    pub window_scale: Option<u8>,
    /// The peer permits SACK. Kept only together with timestamps.
    pub sack_permitted: bool,
    /// The peer uses timestamps.
    pub timestamps: bool,
}

/// What a SYN-ACK with a cookie carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookie {
    /// The cookie: our ISS.
    pub iss: SeqNum,
    /// Our TSval, when the peer uses timestamps.
    pub tsval: Option<u32>,
}

/// The secret behind cookies: 128 random bits, one per process start.
#[derive(Clone)]
pub struct CookieKey {
    hasher: SipHasher13,
}

impl CookieKey {
    /// A key from 16 bytes that nobody outside can know.
    #[must_use]
    pub fn new(secret: &[u8; 16]) -> Self {
        Self {
            hasher: SipHasher13::new_with_key(secret),
        }
    }

    /// The cookie for a SYN with `irs` and `options`. `ts_clock_ms` is the TSval that we would send without a cookie;
    /// the one in the cookie is at most 2^5 ms older and never newer, so that it can't seem to run backwards later.
    #[must_use]
    #[inline]
    pub fn make(
        &self,
        tuple: Tuple,
        irs: SeqNum,
        options: CookieOptions,
        now: Instant,
        ts_clock_ms: u32,
    ) -> Cookie {
        let epoch = epoch(now);
        let mss_index = mss_index(options.mss);
        let ts_bits = ts_bits(&options);
        let iss = SeqNum(
            ((epoch as u32 & 3) << EPOCH_SHIFT)
                | (mss_index << MSS_SHIFT)
                | self.mac(tuple, irs, epoch, mss_index, ts_bits),
        );
        Cookie {
            iss,
            tsval: options.timestamps.then(|| stamp(ts_clock_ms, ts_bits)),
        }
    }

    /// What the SYN said, if the ACK that came proves that we answered it: `iss` is SEG.ACK − 1, `irs` SEG.SEQ − 1,
    /// `tsecr` what the ACK echoes. `None` when the cookie is forged, for another connection, or too old.
    #[must_use]
    pub fn open(
        &self,
        tuple: Tuple,
        irs: SeqNum,
        iss: SeqNum,
        tsecr: Option<u32>,
        now: Instant,
    ) -> Option<CookieOptions> {
        let current = epoch(now);
        // The epoch in the cookie is known modulo 4; only the current and the previous one are alive.
        let age = (current as u32).wrapping_sub(iss.0 >> EPOCH_SHIFT) & 3;
        let epoch = match age {
            0 => current,
            1 => current.checked_sub(1)?,
            _ => return None,
        };
        let mss_index = (iss.0 >> MSS_SHIFT) & 7;
        let ts_bits = tsecr.map_or(NO_TIMESTAMPS, |tsecr| tsecr & TS_OPTION_MASK);
        if self.mac(tuple, irs, epoch, mss_index, ts_bits) != iss.0 & MAC_MASK {
            return None;
        }
        let wscale = ts_bits & 15;
        let with_ts = tsecr.is_some();
        Some(CookieOptions {
            mss: MSS_VALUES[mss_index as usize],
            window_scale: (with_ts && wscale < NO_WSCALE).then_some(wscale as u8),
            sack_permitted: with_ts && ts_bits & 16 != 0,
            timestamps: with_ts,
        })
    }

    #[inline]
    fn mac(&self, tuple: Tuple, irs: SeqNum, epoch: u64, mss_index: u32, ts_bits: u32) -> u32 {
        // 39 bytes: four whole words and seven that ride in SipHash's own length word.
        let mut input = [0u8; 39];
        input[..16].copy_from_slice(&tuple.remote.to_le_bytes());
        input[16..18].copy_from_slice(&tuple.local_id.to_le_bytes());
        input[18..20].copy_from_slice(&tuple.remote_port.to_le_bytes());
        input[20..22].copy_from_slice(&tuple.local_port.to_le_bytes());
        input[22] = mss_index as u8;
        input[23] = ts_bits as u8;
        input[24..28].copy_from_slice(&irs.0.to_le_bytes());
        input[28..36].copy_from_slice(&epoch.to_le_bytes());
        self.hasher.hash(&input) as u32 & MAC_MASK
    }
}

/// In place of the option bits when there are no timestamps: distinct from every value of the bits.
const NO_TIMESTAMPS: u32 = 1 << 7;

fn epoch(now: Instant) -> u64 {
    now.as_ns() / (EPOCH_S * 1_000_000_000)
}

/// Index of the largest value of [`MSS_VALUES`] that the peer allows; the smallest one when it allows none.
#[inline]
fn mss_index(mss: u16) -> u32 {
    MSS_VALUES[1..]
        .iter()
        .map(|&value| u32::from(value <= mss))
        .sum()
}

#[inline]
fn ts_bits(options: &CookieOptions) -> u32 {
    if !options.timestamps {
        return NO_TIMESTAMPS;
    }
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
