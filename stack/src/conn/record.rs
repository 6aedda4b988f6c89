//! The [`Kind`]s of connection, and what each must remember: [`Embryo`], [`Open`], [`Parked`], [`TimeWait`].
//!
//! They must stay plain data without padding (the slabs are zeroed memory), and must not grow by chance: sizes are
//! asserted here and in `conn/layout.rs`, because a byte costs 100 MB in 100 million connections.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::conn::rounded::{AnswerTicks, ParkedWindows};
use crate::seq::SeqNum;
use crate::tcp::profile::ProfileId;
use crate::time::Instant;
use crate::wire::ethernet::MacAddr;

/// The kind of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// SYN-RECEIVED of a passive open.
    Embryo = 0,
    /// Every other state with data to send, to receive or to wait for.
    Open = 1,
    /// Established and idle: nothing queued, nothing unacknowledged.
    Parked = 2,
    /// TIME-WAIT.
    TimeWait = 3,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Embryo, Self::Open, Self::Parked, Self::TimeWait];

    /// The kind whose number is in the lowest two bits.
    #[inline(always)]
    pub(super) const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Embryo,
            1 => Self::Open,
            2 => Self::Parked,
            _ => Self::TimeWait,
        }
    }

    /// Whether it is a connection that its application may know.
    #[inline(always)]
    pub(super) const fn is_connection(self) -> bool {
        matches!(self, Self::Open | Self::Parked)
    }
}

/// Where an open connection stands on its worker: the number of its `Tcb`, or of its place while it rests.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Slot(pub u32);

impl Slot {
    /// There are fewer open connections than that.
    const RESTS: u32 = 1 << 31;

    /// Of a connection at rest, which has no `Tcb`: the number of its place.
    #[must_use]
    #[inline]
    pub const fn at_rest(number: u32) -> Self {
        Self(number | Self::RESTS)
    }

    /// The number of the place where the connection rests; `None` of one that has a `Tcb`.
    #[must_use]
    #[inline]
    pub const fn rest_number(self) -> Option<u32> {
        if self.0 & Self::RESTS != 0 {
            Some(self.0 & !Self::RESTS)
        } else {
            None
        }
    }
}

/// The number of the state that an application keeps of a connection, open or parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StateNumber(pub u32);

/// A point in time in milliseconds modulo 2^32 (49.7 days): deadlines and ages within a record. Two of them may be
/// compared only when they are less than 24.8 days apart.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct TickMs(pub u32);

impl TickMs {
    /// The tick in which `instant` lies: for "now" and for ages.
    #[must_use]
    #[inline]
    pub const fn at(instant: Instant) -> Self {
        Self(instant.as_ms() as u32)
    }

    /// The first tick that begins at or after `instant`: a deadline kept in ticks never comes early.
    #[must_use]
    #[inline]
    pub const fn deadline(instant: Instant) -> Self {
        Self((instant.as_ns().saturating_add(999_999) / 1_000_000) as u32)
    }

    /// Whether this deadline has come at `now`.
    #[must_use]
    #[inline]
    pub const fn is_due(self, now: Self) -> bool {
        now.0.wrapping_sub(self.0).cast_signed() >= 0
    }

    /// The beginning of this tick, within 24.8 days of `now`; time zero at the earliest.
    #[must_use]
    pub const fn instant(self, now: Instant) -> Instant {
        let ahead_ms = self.0.wrapping_sub(now.as_ms() as u32).cast_signed() as i64;
        Instant::from_ms(now.as_ms().saturating_add_signed(ahead_ms))
    }

    /// Milliseconds from `earlier` to this tick, modulo 2^32.
    #[must_use]
    #[inline]
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }
}

/// The options negotiated and switched on for a connection, and the commands of its application while it is parked: a set of
/// flags in one byte.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct ConnFlags(u8);

impl ConnFlags {
    /// Both SYNs carried SACK-permitted (RFC 2018 §2).
    pub const SACK: Self = Self(1);
    /// Both SYNs carried timestamps (RFC 7323 §3.2).
    pub const TIMESTAMPS: Self = Self(1 << 1);
    /// Both SYNs carried a window scale (RFC 7323 §2.2); without it both shifts are 0.
    pub const WINDOW_SCALE: Self = Self(1 << 2);
    /// Of a parked connection: the application wants keep-alives (RFC 9293 MUST-24), whose timer needs an open record.
    pub const KEEPALIVE: Self = Self(1 << 4);
    /// Of a parked connection: a send was refused for want of an open record, and the application is to hear of one.
    pub const WANTS_ROOM: Self = Self(1 << 5);
    /// Of an embryo: its SYN-ACK went out again because its SYN came again. Of a parked connection it is one of the two below.
    pub const ANSWERED_AGAIN: Self = Self(1 << 7);
    /// Of a parked connection: two bits that hold an [`EndDue`].
    const END_SHIFT: u32 = 6;

    /// Whether all flags of `other` are set.
    #[must_use]
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags and those of `other`.
    #[must_use]
    #[inline]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These flags without those of `other`.
    #[must_use]
    #[inline]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// How the application has ended this connection while it was parked.
    #[must_use]
    pub const fn end_due(self) -> Option<EndDue> {
        match self.0 >> Self::END_SHIFT {
            0 => None,
            1 => Some(EndDue::Shutdown),
            2 => Some(EndDue::Close),
            _ => Some(EndDue::Abort),
        }
    }

    /// These flags, with the end that is due; of two the stronger one counts.
    #[must_use]
    pub const fn with_end_due(self, end: EndDue) -> Self {
        let (old, new) = (self.0 >> Self::END_SHIFT, end as u8 + 1);
        if new <= old {
            return self;
        }
        Self(self.0 & !(3 << Self::END_SHIFT) | new << Self::END_SHIFT)
    }

    /// Whether the application has asked something that takes an open record, or a reset.
    #[must_use]
    #[inline]
    pub const fn is_work_due(self) -> bool {
        self.0 >= 1 << Self::END_SHIFT || self.has(Self::WANTS_ROOM) || self.has(Self::KEEPALIVE)
    }
}

/// How an application ends a connection, from weak to strong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EndDue {
    /// It sends no more (RFC 9293 MAY-1).
    Shutdown,
    /// It neither sends nor reads any more (§3.10.4).
    Close,
    /// A reset (§3.10.5).
    Abort,
}

/// The two window shifts of a connection (RFC 7323 §2.2), 0–14 each, in one byte.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct WindowShifts(u8);

impl WindowShifts {
    /// Largest shift that may be used; a larger one received counts as this (RFC 7323 §2.3).
    pub const MAX: u8 = 14;

    /// `send` applies to windows that the peer announces, `receive` to those that we announce. Both are cut to
    /// [`WindowShifts::MAX`].
    #[must_use]
    pub const fn new(send: u8, receive: u8) -> Self {
        let send = if send > Self::MAX { Self::MAX } else { send };
        let receive = if receive > Self::MAX {
            Self::MAX
        } else {
            receive
        };
        Self(receive << 4 | send)
    }

    /// Shift of the windows that the peer announces (Snd.Wind.Shift).
    #[must_use]
    #[inline]
    pub const fn send(self) -> u8 {
        self.0 & 15
    }

    /// Shift of the windows that we announce (Rcv.Wind.Shift).
    #[must_use]
    #[inline]
    pub const fn receive(self) -> u8 {
        self.0 >> 4
    }
}

/// A duration in microseconds as 11 bits of mantissa and 5 bits of exponent: 0 to 2^42 µs, exact below 4096 µs and
/// within 0.05 % above. What a parked connection keeps of its round-trip times.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct ShortUs(u16);

impl ShortUs {
    /// Rounds down to what can be stored.
    #[must_use]
    pub const fn from_us(us: u32) -> Self {
        let bits = 32 - us.leading_zeros();
        if bits <= 12 {
            // Exponents 0 and 1 share a scale, as the denormals of a float do.
            return Self(us as u16);
        }
        let shift = bits - 12;
        Self(((shift + 1) << 11) as u16 | (us >> shift) as u16 & 0x7ff)
    }

    /// The duration in microseconds; saturates at `u32::MAX`.
    #[must_use]
    pub const fn as_us(self) -> u32 {
        let (exponent, mantissa) = ((self.0 >> 11) as u32, (self.0 & 0x7ff) as u64);
        let us = if exponent == 0 {
            mantissa
        } else {
            (mantissa | 0x800) << (exponent - 1)
        };
        if us > u32::MAX as u64 {
            u32::MAX
        } else {
            us as u32
        }
    }
}

/// SYN-RECEIVED of a passive open: what a SYN-ACK can be sent again from, and the final ACK be checked against.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Embryo {
    /// IRS: the peer's initial sequence number; RCV.NXT is one more.
    pub irs: SeqNum,
    /// ISS: ours; SND.NXT is one more.
    pub iss: SeqNum,
    /// TS.Recent (RFC 7323 §4.3), in the peer's ticks; meaningless without the flag.
    pub ts_recent: u32,
    /// The peer's MSS option, in bytes; 536 or 1220 when it sent none (RFC 9293 MUST-15).
    pub peer_mss: u16,
    /// The window of the peer's SYN, in bytes; never scaled (RFC 7323 §2.2).
    pub peer_window: u16,
    /// The options that both sides agreed on.
    pub flags: ConnFlags,
    /// Window shifts, both 0 unless agreed on.
    pub shifts: WindowShifts,
    /// The listener, by its number in the worker.
    pub listener: u16,
    /// How often it answers what it can't accept.
    pub answers: AnswerTicks,
    /// Where the SYN came from, and its SYN-ACK goes again.
    pub mac: MacAddr,
    /// That of its listener.
    pub profile: ProfileId,
    pub(crate) unused: u8,
    /// The offset that is added to our clock for TSval ([`crate::tcp::isn::IsnKey::timestamp_offset_ms`]).
    pub timestamp_offset: u32,
}

/// An open connection. Its `Tcb` and its queues stand outside of the table, in a slot.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Open {
    /// Where its `Tcb` and its queues stand.
    pub slot: Slot,
    /// The listener that it came from, by its number in the worker; [`Open::NO_LISTENER`] for an active open.
    pub listener: u16,
    pub(super) unused: u16,
}

impl Open {
    /// [`Open::listener`] of a connection that we opened.
    pub const NO_LISTENER: u16 = u16::MAX;

    /// The record of a connection in this slot that came from this listener, or that we opened ([`Open::NO_LISTENER`]).
    #[must_use]
    #[inline]
    pub const fn new(slot: Slot, listener: u16) -> Self {
        Self {
            slot,
            listener,
            unused: 0,
        }
    }
}

/// A parked connection: established, nothing queued, nothing unacknowledged, so SND.UNA = SND.NXT, no RTO runs, and
/// cwnd is cut as after an idle period (RFC 5681 §4.1). The window update state needs no place either: restored
/// as SND.WL1 = RCV.NXT and SND.WL2 = SND.NXT it accepts what is new and nothing older.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Parked {
    /// SND.NXT, equal to SND.UNA.
    pub snd_nxt: SeqNum,
    /// RCV.NXT.
    pub rcv_nxt: SeqNum,
    /// RCV.WND, in bytes from `rcv_nxt`: what was announced and mustn't shrink (SHLD-14).
    pub rcv_wnd: u32,
    /// TS.Recent, in the peer's ticks.
    pub ts_recent: u32,
    /// When the last segment came, in whole seconds: age of `ts_recent` (RFC 7323 §5.5), idle time. Milliseconds would
    /// wrap after 49 days, and a connection may be parked longer.
    pub heard_s: u32,
    /// SND.WND as it was announced, not scaled: with the shift it is the window exactly.
    pub peer_window: u16,
    /// Effective send MSS, in bytes: options are subtracted.
    pub mss: u16,
    /// SRTT (RFC 6298 §2).
    pub srtt: ShortUs,
    /// RTTVAR.
    pub rttvar: ShortUs,
    /// RTO, with its backoff.
    pub rto: ShortUs,
    /// cwnd, as far as a restart uses it, and ssthresh.
    pub windows: ParkedWindows,
    /// How often it answers what it can't accept.
    pub answers: AnswerTicks,
    /// The listener that it came from, by its number in the worker; [`Open::NO_LISTENER`] for an active open.
    pub listener: u16,
    /// The options that were agreed on and switched on.
    pub flags: ConnFlags,
    /// Window shifts, both 0 unless agreed on.
    pub shifts: WindowShifts,
    /// The profile that its application has chosen.
    pub profile: ProfileId,
    /// Fills the record up to a multiple of its alignment.
    pub unused: [u8; 3],
}

/// TIME-WAIT: enough to acknowledge a retransmitted FIN, to tell an old segment from a new connection (RFC 6191,
/// RFC 9293 MAY-2), and to end after 2MSL.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct TimeWait {
    /// SND.NXT: the sequence number of every ACK from here on.
    pub snd_nxt: SeqNum,
    /// RCV.NXT: the acknowledgment number of those.
    pub rcv_nxt: SeqNum,
    /// TS.Recent, in the peer's ticks; meaningless without timestamps.
    pub ts_recent: u32,
    /// The window to announce, as it goes into the header.
    pub window: u16,
    /// The profile that its application had chosen.
    pub profile: ProfileId,
    /// Fills the record up to a multiple of its alignment.
    pub(super) unused: u8,
    /// How often it answers, and whether timestamps were negotiated ([`TimeWait::has_timestamps`]).
    pub(super) answers: AnswerTicks,
}

const _: () = {
    assert!(size_of::<Embryo>() == 36);
    assert!(size_of::<Open>() == 8);
    assert!(size_of::<Parked>() == 44);
    assert!(size_of::<TimeWait>() == 20);
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_short_duration_is_exact_when_small_and_close_when_large(us: u32) {
            let short = ShortUs::from_us(us).as_us();
            prop_assert!(short <= us && us - short <= us / 2048);
            prop_assert!(us >= 4096 || short == us);
        }

        #[test]
        fn short_durations_keep_their_order(a: u32, b: u32) {
            let (a, b) = (a.min(b), a.max(b));
            prop_assert!(ShortUs::from_us(a).as_us() <= ShortUs::from_us(b).as_us());
        }

        #[test]
        fn deadlines_hold_across_the_wrap(deadline: u32, wait in 0u32..0x7fff_ffff) {
            let deadline = TickMs(deadline);
            prop_assert!(deadline.is_due(TickMs(deadline.0.wrapping_add(wait))));
            prop_assert!(!deadline.is_due(TickMs(deadline.0.wrapping_sub(wait + 1))));
        }
    }

    #[test]
    fn shifts_are_cut_to_what_the_rfc_allows() {
        let shifts = WindowShifts::new(7, 200);
        assert_eq!((shifts.send(), shifts.receive()), (7, 14));
        assert_eq!(WindowShifts::new(15, 0).send(), 14);
    }

    #[test]
    fn flags_are_a_set() {
        let flags = ConnFlags::SACK.with(ConnFlags::TIMESTAMPS);
        assert!(flags.has(ConnFlags::SACK));
        assert!(!flags.has(ConnFlags::SACK.with(ConnFlags::KEEPALIVE)));
        assert_eq!(flags.without(ConnFlags::SACK), ConnFlags::TIMESTAMPS);
    }

    #[test]
    fn the_stronger_end_counts_and_leaves_the_other_flags_alone() {
        let all = [EndDue::Shutdown, EndDue::Close, EndDue::Abort];
        let flags = ConnFlags::SACK.with(ConnFlags::TIMESTAMPS);
        assert!(flags.end_due().is_none() && !flags.is_work_due());
        for (i, first) in all.into_iter().enumerate() {
            for (j, second) in all.into_iter().enumerate() {
                let both = flags.with_end_due(first).with_end_due(second);
                assert_eq!(both.end_due(), Some(all[i.max(j)]));
                assert!(both.has(flags) && both.is_work_due());
                assert!(!both.has(ConnFlags::WANTS_ROOM) && !both.has(ConnFlags::KEEPALIVE));
            }
        }
        for wish in [ConnFlags::WANTS_ROOM, ConnFlags::KEEPALIVE] {
            assert!(flags.with(wish).is_work_due());
        }
    }

    #[test]
    fn a_deadline_is_rounded_up_and_the_present_down() {
        let instant = Instant::from_ns(1_000_001);
        assert_eq!(
            (TickMs::at(instant), TickMs::deadline(instant)),
            (TickMs(1), TickMs(2))
        );
        assert_eq!(TickMs(1).since(TickMs(u32::MAX)), 2);
    }

    #[test]
    fn a_tick_is_found_again_around_the_present() {
        for now_ms in [5_000, (1 << 32) - 1, 1 << 32, (7 << 32) + 3] {
            for offset in [-4_000i64, -1, 0, 1, 60_000, 2_000_000_000] {
                let at = Instant::from_ms(now_ms + 2_000_000_000).as_ms();
                let (now, at) = (Instant::from_ms(at), at.saturating_add_signed(offset));
                let tick = TickMs::at(Instant::from_ms(at));
                assert_eq!(tick.instant(now), Instant::from_ms(at));
            }
        }
        assert_eq!(TickMs(u32::MAX).instant(Instant::ZERO), Instant::ZERO);
    }
}
