//! Between `tcp`'s numbers and the few bytes that records keep of them: [`Embryo`] and [`AnsweredSyn`], [`Parked`] and [`ParkedTcb`],
//! [`TimeWait`] and [`time_wait::TimeWaitTcb`].
//!
//! It must never lose what a rule of `tcp` decides by: each type says what it rounds, and in which direction.

use super::record::{ConnFlags, Embryo, Parked, ShortUs, TickMs, TimeWait, WindowShifts};
use super::rounded::{AnswerTicks, ParkedWindows};
use crate::tcp::deadline::Deadline;
use crate::tcp::handshake::AnsweredSyn;
use crate::tcp::negotiated::Negotiated;
use crate::tcp::parked::{ParkedNumbers, ParkedTcb};
use crate::tcp::profile::ProfileId;
use crate::tcp::segment::Segment;
use crate::tcp::time_wait;
use crate::tcp::timestamps::{TimestampState, now_s, recent_is_outdated};
use crate::time::Instant;

impl ConnFlags {
    /// The flags of what was negotiated.
    #[must_use]
    #[inline(always)]
    pub fn of(negotiated: &Negotiated) -> Self {
        let mut flags = Self::default();
        if negotiated.timestamps {
            flags = flags.with(Self::TIMESTAMPS);
        }
        if negotiated.sack_permitted {
            flags = flags.with(Self::SACK);
        }
        if negotiated.window_scale.is_some() {
            flags = flags.with(Self::WINDOW_SCALE);
        }
        flags
    }

    /// The negotiated options, from these flags and the other fields of a record.
    #[inline]
    fn negotiated(self, peer_mss: u16, shifts: WindowShifts) -> Negotiated {
        Negotiated {
            peer_mss,
            window_scale: self.has(Self::WINDOW_SCALE).then(|| shifts.send()),
            timestamps: self.has(Self::TIMESTAMPS),
            sack_permitted: self.has(Self::SACK),
        }
    }
}

impl Embryo {
    /// The negotiated options.
    #[must_use]
    #[inline]
    pub fn negotiated(&self) -> Negotiated {
        self.flags.negotiated(self.peer_mss, self.shifts)
    }

    /// The argument of [`crate::tcp::tcb::Tcb::open_answered`].
    #[must_use]
    #[inline]
    pub fn syn(&self) -> AnsweredSyn {
        AnsweredSyn {
            irs: self.irs,
            window: self.peer_window,
            ts_recent: self.ts_recent,
            negotiated: self.negotiated(),
        }
    }
}

impl Parked {
    /// Keeps a connection that parks. `listener` is [`super::Open::NO_LISTENER`] for one that we opened. Rounded are
    /// the times (see [`ShortUs`]) and the congestion windows.
    #[must_use]
    pub fn from_tcb(tcb: &ParkedTcb, listener: u16, profile: ProfileId) -> Self {
        let mss = tcb.negotiated.full_mss();
        Self {
            snd_nxt: tcb.snd_nxt,
            rcv_nxt: tcb.rcv_nxt,
            rcv_wnd: tcb.rcv_wnd,
            ts_recent: tcb.ts_recent,
            heard_s: tcb.heard_s,
            peer_window: tcb.peer_window,
            mss,
            srtt: ShortUs::from_us(tcb.srtt_us),
            rttvar: ShortUs::from_us(tcb.rttvar_us),
            rto: ShortUs::from_us(tcb.rto_us),
            windows: ParkedWindows::new(tcb.cwnd, tcb.ssthresh, mss),
            answers: AnswerTicks::new(tcb.answers, false),
            listener,
            flags: ConnFlags::of(&tcb.negotiated),
            shifts: WindowShifts::new(tcb.negotiated.window_scale.unwrap_or(0), tcb.rcv_scale),
            profile,
            unused: [0; 3],
        }
    }

    /// The negotiated options. The MSS of the peer is cut to what our link carries.
    #[must_use]
    pub fn negotiated(&self) -> Negotiated {
        let negotiated = self.flags.negotiated(0, self.shifts);
        Negotiated {
            peer_mss: self.mss.saturating_add(negotiated.options_len()),
            ..negotiated
        }
    }

    /// Another profile. With keepalive the connection has to be unparked: its timer needs a place.
    pub fn set_profile(&mut self, profile: ProfileId, keepalive: bool) {
        self.profile = profile;
        self.flags = if keepalive {
            self.flags.with(ConnFlags::KEEPALIVE)
        } else {
            self.flags.without(ConnFlags::KEEPALIVE)
        };
    }

    /// The argument of [`crate::tcp::tcb::Tcb::unpark`].
    #[must_use]
    pub fn tcb(&self, now: Instant) -> ParkedTcb {
        ParkedTcb {
            snd_nxt: self.snd_nxt,
            rcv_nxt: self.rcv_nxt,
            rcv_wnd: self.rcv_wnd,
            peer_window: self.peer_window,
            negotiated: self.negotiated(),
            rcv_scale: self.shifts.receive(),
            ts_recent: self.ts_recent,
            heard_s: self.heard_s,
            srtt_us: self.srtt.as_us(),
            rttvar_us: self.rttvar.as_us(),
            rto_us: self.rto.as_us(),
            cwnd: self.windows.cwnd(self.mss),
            ssthresh: self.windows.ssthresh(self.mss),
            answers: self.answers.limits(now),
        }
    }

    /// Takes what a segment says for which the step is [`crate::tcp::parked::ParkedStep::Ack`]: that the peer lives; its window,
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

    /// The input of [`crate::tcp::parked::parked_step`]: a segment that doesn't unpark the connection needs no more. Without
    /// TS.Recent once that is too old to judge by (RFC 7323 §5.5). `rcv_buf` is its receive buffer in bytes.
    #[must_use]
    #[inline]
    pub fn numbers(&self, rcv_buf: u32, now: Instant) -> ParkedNumbers {
        let judges =
            self.flags.has(ConnFlags::TIMESTAMPS) && !recent_is_outdated(self.heard_s, now);
        ParkedNumbers {
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
    pub fn from_tcp(record: &time_wait::TimeWaitTcb, profile: ProfileId) -> Self {
        Self {
            snd_nxt: record.snd_nxt,
            rcv_nxt: record.rcv_nxt,
            ts_recent: record.timestamps.map_or(0, |ts| ts.recent),
            window: record.rcv_wnd,
            profile,
            unused: 0,
            answers: AnswerTicks::new(record.answers, record.timestamps.is_some()),
        }
    }

    /// The record that judges segments. `deadline` is what [`super::ConnTable::deadline`] says, `timestamp_offset` what
    /// [`crate::tcp::isn::IsnKey::timestamp_offset_ms`] gives again for the flow (any value where there are no timestamps),
    /// `rcv_buf` its receive buffer in bytes.
    #[must_use]
    pub fn to_tcp(
        &self,
        deadline: TickMs,
        timestamp_offset: u32,
        rcv_buf: u32,
        now: Instant,
    ) -> time_wait::TimeWaitTcb {
        time_wait::TimeWaitTcb {
            snd_nxt: self.snd_nxt,
            rcv_nxt: self.rcv_nxt,
            timestamps: self.has_timestamps().then_some(TimestampState {
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
