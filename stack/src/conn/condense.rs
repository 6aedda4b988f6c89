//! Between `tcp`'s numbers and the few bytes that records keep of them: [`Parked`] and [`Rest`], [`TimeWait`] and
//! [`time_wait::TimeWait`]; with [`AnswerTicks`] and [`RestWindows`], which exist for that alone.
//!
//! Called by: whoever parks, wakes and lingers connections. It must never lose what a rule of `tcp` decides by: each
//! type says what it rounds, and in which direction.

use core::time::Duration;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::record::{ConnFlags, Parked, ShortUs, TickMs, TimeWait, WindowShifts};
use crate::tcp::answer_limits::AnswerLimits;
use crate::tcp::deadline::Deadline;
use crate::tcp::rest::{Rest, RestNumbers};
use crate::tcp::segment::Segment;
use crate::tcp::settings::ConnectionOptions;
use crate::tcp::time_wait;
use crate::tcp::timestamps::{Timestamps, now_s, recent_is_outdated};
use crate::time::Instant;

/// The two budgets of [`AnswerLimits`], each as a time in steps of 4 ms, rounded up, modulo 131 s; and one bit that is the
/// owner's.
///
/// A time that is over may look like one ahead again, once in 131 s: an answer is then held back for as long as a full
/// budget would be ([`AnswerLimits::admit`]), 0.5 s by default.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct AnswerTicks {
    /// With [`AnswerTicks::FLAG`].
    challenge: u16,
    old: u16,
}

impl AnswerTicks {
    const STEP_MS: u64 = 4;
    /// Steps are counted modulo this, from 1: 0 means that nothing was answered.
    const STEPS: u64 = 0x7fff;
    /// The owner's bit.
    const FLAG: u16 = 0x8000;
    /// A limit is never further ahead than this, so what looks so is over: 65 s.
    const AHEAD_MAX: u64 = 0x3fff;

    /// Keeps the limits; `flag` is kept beside them.
    #[must_use]
    pub fn new(limits: AnswerLimits, flag: bool) -> Self {
        Self {
            challenge: Self::tick(limits.challenge) | if flag { Self::FLAG } else { 0 },
            old: Self::tick(limits.old),
        }
    }

    /// The bit that was kept beside the limits.
    #[must_use]
    #[inline]
    pub const fn flag(self) -> bool {
        self.challenge & Self::FLAG != 0
    }

    /// The limits as they stand at `now`.
    #[must_use]
    pub fn limits(self, now: Instant) -> AnswerLimits {
        AnswerLimits {
            challenge: Self::instant(self.challenge & !Self::FLAG, now),
            old: Self::instant(self.old, now),
        }
    }

    fn tick(paid: Instant) -> u16 {
        if paid == Instant::ZERO {
            return 0;
        }
        let steps = paid.as_ns().div_ceil(Self::STEP_MS * 1_000_000);
        (steps % Self::STEPS) as u16 + 1
    }

    fn instant(tick: u16, now: Instant) -> Instant {
        let Some(steps) = u64::from(tick).checked_sub(1) else {
            return Instant::ZERO;
        };
        let now_steps = now.as_ms() / Self::STEP_MS;
        let ahead = (steps + Self::STEPS - now_steps % Self::STEPS) % Self::STEPS;
        if ahead == 0 || ahead > Self::AHEAD_MAX {
            return Instant::ZERO;
        }
        Instant::from_ms((now_steps + ahead) * Self::STEP_MS)
    }
}

/// cwnd and ssthresh of a connection at rest, in segments of its MSS: 4 bits and 12 bits.
///
/// cwnd is rounded down to 1 to 15 segments, and no restart window is larger (RFC 5681 §4.1, RFC 6928). ssthresh is
/// rounded down to 2 to 4,094 segments; what is above counts as not yet set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct RestWindows(u16);

impl RestWindows {
    /// Of a connection that never lost anything: the initial window, and no ssthresh.
    pub const FRESH: Self = Self(u16::MAX);
    const CWND_MAX: u32 = 15;
    const NO_SSTHRESH: u32 = 0xfff;

    /// `cwnd` and `ssthresh` in bytes; an MSS of 0 counts as 1.
    #[must_use]
    pub fn new(cwnd: u32, ssthresh: u32, mss: u16) -> Self {
        let mss = u32::from(mss).max(1);
        let cwnd = (cwnd / mss).clamp(1, Self::CWND_MAX);
        let ssthresh = (ssthresh / mss).clamp(2, Self::NO_SSTHRESH);
        Self((ssthresh << 4 | cwnd) as u16)
    }

    /// cwnd in bytes: at most 15 segments.
    #[must_use]
    pub fn cwnd(self, mss: u16) -> u32 {
        u32::from(self.0 & 15) * u32::from(mss)
    }

    /// ssthresh in bytes; `u32::MAX` when it was never set.
    #[must_use]
    pub fn ssthresh(self, mss: u16) -> u32 {
        match u32::from(self.0 >> 4) {
            Self::NO_SSTHRESH => u32::MAX,
            segments => segments * u32::from(mss),
        }
    }
}

impl Default for RestWindows {
    fn default() -> Self {
        Self::FRESH
    }
}

/// A duration as a record keeps it: in seconds, rounded up, 1 to 65,535.
fn whole_seconds(duration: Duration) -> u16 {
    let seconds = duration.as_millis().div_ceil(1_000).max(1);
    u16::try_from(seconds).unwrap_or(u16::MAX)
}

impl Parked {
    /// Keeps a connection that came to rest. `listener` is [`super::Open::NO_LISTENER`] for one that we opened. Rounded are
    /// the times (see [`ShortUs`]), the congestion windows, and R2, which is kept in whole seconds, rounded up, 65,535 at
    /// most.
    #[must_use]
    pub fn from_rest(rest: &Rest, listener: u16) -> Self {
        let mut flags = ConnFlags::default();
        for (flag, is_set) in [
            (ConnFlags::TIMESTAMPS, rest.ts_recent.is_some()),
            (ConnFlags::WINDOW_SCALE, rest.window_scaling),
            (ConnFlags::SACK, rest.sack_permitted),
            (ConnFlags::NO_DELAY, !rest.options.nagle),
        ] {
            if is_set {
                flags = flags.with(flag);
            }
        }
        Self {
            snd_nxt: rest.snd_nxt,
            rcv_nxt: rest.rcv_nxt,
            rcv_wnd: rest.rcv_wnd,
            ts_recent: rest.ts_recent.unwrap_or(0),
            heard_s: rest.heard_s,
            peer_window: rest.peer_window,
            mss: rest.mss,
            srtt: ShortUs::from_us(rest.srtt_us),
            rttvar: ShortUs::from_us(rest.rttvar_us),
            rto: ShortUs::from_us(rest.rto_us),
            windows: RestWindows::new(rest.cwnd, rest.ssthresh, rest.mss),
            r2_s: whole_seconds(rest.options.r2),
            answers: AnswerTicks::new(rest.answers, false),
            unused: 0,
            listener,
            flags,
            shifts: WindowShifts::new(rest.snd_scale, rest.rcv_scale),
        }
    }

    /// Other choices of the application, as [`crate::tcp::tcb::Tcb::set_options`] takes them. With keepalive it has to wake:
    /// its timer needs a place.
    pub fn set_options(&mut self, options: ConnectionOptions) {
        self.r2_s = whole_seconds(options.r2);
        for (flag, is_set) in [
            (ConnFlags::NO_DELAY, !options.nagle),
            (ConnFlags::KEEPALIVE, options.keepalive),
        ] {
            self.flags = if is_set {
                self.flags.with(flag)
            } else {
                self.flags.without(flag)
            };
        }
    }

    /// What [`crate::tcp::tcb::Tcb::wake`] takes.
    #[must_use]
    pub fn rest(&self, now: Instant) -> Rest {
        let defaults = ConnectionOptions::default();
        let r2 = match self.r2_s {
            0 => defaults.r2,
            seconds => Duration::from_secs(seconds.into()),
        };
        Rest {
            snd_nxt: self.snd_nxt,
            rcv_nxt: self.rcv_nxt,
            rcv_wnd: self.rcv_wnd,
            peer_window: self.peer_window,
            mss: self.mss,
            snd_scale: self.shifts.send(),
            rcv_scale: self.shifts.receive(),
            window_scaling: self.flags.has(ConnFlags::WINDOW_SCALE),
            sack_permitted: self.flags.has(ConnFlags::SACK),
            ts_recent: self
                .flags
                .has(ConnFlags::TIMESTAMPS)
                .then_some(self.ts_recent),
            heard_s: self.heard_s,
            srtt_us: self.srtt.as_us(),
            rttvar_us: self.rttvar.as_us(),
            rto_us: self.rto.as_us(),
            cwnd: self.windows.cwnd(self.mss),
            ssthresh: self.windows.ssthresh(self.mss),
            options: ConnectionOptions {
                nagle: !self.flags.has(ConnFlags::NO_DELAY),
                keepalive: self.flags.has(ConnFlags::KEEPALIVE),
                r2,
            },
            answers: self.answers.limits(now),
        }
    }

    /// Takes what a segment says for which the step is [`crate::tcp::rest::RestStep::Ack`]: that the peer lives; its window,
    /// unless the segment is older than what set it (RFC 9293 §3.10.7.4, fifth step); its timestamp (RFC 7323 §4.3).
    #[inline]
    pub fn on_ack(&mut self, segment: &Segment, now: Instant) {
        self.heard_s = now_s(now);
        if segment.ack == self.snd_nxt && !segment.seq.before(self.rcv_nxt) {
            self.peer_window = segment.window;
        }
        if let Some(tsval) = segment.tsval()
            && self.flags.has(ConnFlags::TIMESTAMPS)
            && !segment.seq.after(self.rcv_nxt)
        {
            self.ts_recent = tsval;
        }
    }

    /// What [`crate::tcp::rest::rest_step`] takes: a segment that doesn't wake the connection needs no more. Without
    /// TS.Recent once that is too old to judge by (RFC 7323 §5.5). `rcv_buf` is the receive buffer of every connection, in
    /// bytes.
    #[must_use]
    #[inline]
    pub fn numbers(&self, rcv_buf: u32, now: Instant) -> RestNumbers {
        let judges =
            self.flags.has(ConnFlags::TIMESTAMPS) && !recent_is_outdated(self.heard_s, now);
        RestNumbers {
            snd_nxt: self.snd_nxt,
            rcv_nxt: self.rcv_nxt,
            rcv_wnd: self.rcv_wnd,
            rcv_wnd_max: rcv_buf.max(self.rcv_wnd),
            max_snd_wnd: u32::from(self.peer_window) << self.shifts.send(),
            ts_recent: judges.then_some(self.ts_recent),
        }
    }
}

impl TimeWait {
    /// Keeps a connection in TIME-WAIT; its deadline is the table's to keep. Rounded is only when it may answer again.
    #[must_use]
    pub fn from_tcp(record: &time_wait::TimeWait) -> Self {
        Self {
            snd_nxt: record.snd_nxt,
            rcv_nxt: record.rcv_nxt,
            ts_recent: record.timestamps.map_or(0, |ts| ts.recent),
            window: record.rcv_wnd,
            unused: 0,
            answers: AnswerTicks::new(record.answers, record.timestamps.is_some()),
        }
    }

    /// The record that judges segments. `deadline` is what [`super::ConnTable::deadline`] says, `timestamp_offset` what
    /// [`crate::tcp::isn::IsnKey::timestamp_offset_ms`] gives again for the flow (any value where there are no timestamps),
    /// `rcv_buf` the receive buffer of every connection, in bytes.
    #[must_use]
    pub fn to_tcp(
        &self,
        deadline: TickMs,
        timestamp_offset: u32,
        rcv_buf: u32,
        now: Instant,
    ) -> time_wait::TimeWait {
        time_wait::TimeWait {
            snd_nxt: self.snd_nxt,
            rcv_nxt: self.rcv_nxt,
            timestamps: self.has_timestamps().then_some(Timestamps {
                recent: self.ts_recent,
                offset: timestamp_offset,
                last_ack_sent: self.rcv_nxt,
            }),
            deadline: Deadline::at(deadline.instant(now)),
            rcv_wnd: self.window,
            window_max: rcv_buf,
            answers: self.answers.limits(now),
        }
    }

    /// Whether timestamps were negotiated.
    #[must_use]
    #[inline]
    pub const fn has_timestamps(&self) -> bool {
        self.answers.flag()
    }
}

#[cfg(test)]
mod tests;
