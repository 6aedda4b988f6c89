//! Between `tcp`'s numbers and the few bytes that records keep of them: [`Parked`] and [`Rest`], [`TimeWait`] and
//! [`time_wait::TimeWaitTcb`].
//!
//! It must never lose what a rule of `tcp` decides by: each type says what it rounds, and in which direction.

use super::record::{ConnFlags, Parked, ShortUs, TickMs, TimeWait, WindowShifts};
use super::rounded::{AnswerTicks, RestWindows};
use crate::tcp::deadline::Deadline;
use crate::tcp::profile::ProfileId;
use crate::tcp::rest::{Rest, RestNumbers};
use crate::tcp::segment::Segment;
use crate::tcp::time_wait;
use crate::tcp::timestamps::{Timestamps, now_s, recent_is_outdated};
use crate::time::Instant;

impl Parked {
    /// Keeps a connection that came to rest. `listener` is [`super::Open::NO_LISTENER`] for one that we opened. Rounded are
    /// the times (see [`ShortUs`]) and the congestion windows.
    #[must_use]
    pub fn from_rest(rest: &Rest, listener: u16, profile: ProfileId) -> Self {
        let mut flags = ConnFlags::default();
        for (flag, is_set) in [
            (ConnFlags::TIMESTAMPS, rest.ts_recent.is_some()),
            (ConnFlags::WINDOW_SCALE, rest.window_scaling),
            (ConnFlags::SACK, rest.sack_permitted),
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
            answers: AnswerTicks::new(rest.answers, false),
            listener,
            flags,
            shifts: WindowShifts::new(rest.snd_scale, rest.rcv_scale),
            profile,
            unused: [0; 3],
        }
    }

    /// Another profile. With keepalive the connection has to wake: its timer needs a place.
    pub fn set_profile(&mut self, profile: ProfileId, keepalive: bool) {
        self.profile = profile;
        self.flags = if keepalive {
            self.flags.with(ConnFlags::KEEPALIVE)
        } else {
            self.flags.without(ConnFlags::KEEPALIVE)
        };
    }

    /// What [`crate::tcp::tcb::Tcb::wake`] takes.
    #[must_use]
    pub fn rest(&self, now: Instant) -> Rest {
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
    /// TS.Recent once that is too old to judge by (RFC 7323 §5.5). `rcv_buf` is its receive buffer in bytes.
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
