//! The segment language: `syn().mss(1460)`, `data(100).seq(1).ack(1)`, `rst().seq(1)`. One language for unit tests,
//! simulated worlds, lab scenarios and packet ladders.
//!
//! Numbers are relative to the initial sequence numbers of the two sides ([`Base`]), as tcpdump prints them. It must
//! never be used per packet: it is for people.

use core::fmt;

use crate::seq::SeqNum;
use crate::tcp::segment::{Flags, Segment, SegmentOptions, TimestampOption};

/// The base of the relative numbers of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Base {
    /// The initial sequence number of the side that sends the segment.
    pub sender_iss: SeqNum,
    /// The initial sequence number of the other side.
    pub receiver_iss: SeqNum,
}

impl Base {
    /// The base of the segments that go the other way.
    #[must_use]
    pub const fn reverse(self) -> Self {
        Self {
            sender_iss: self.receiver_iss,
            receiver_iss: self.sender_iss,
        }
    }
}

/// A segment as written down. A field that isn't given is filled in when it is sent, and not compared when it is expected;
/// flags and payload length always count, except PSH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spec {
    /// Control bits; PSH is compared only if `push` says so.
    pub flags: Flags,
    /// Whether PSH is to be set.
    pub push: Option<bool>,
    /// Sequence number, relative to the sender's ISS.
    pub seq: Option<u32>,
    /// Acknowledgment number, relative to the receiver's ISS.
    pub ack: Option<u32>,
    /// Window field.
    pub window: Option<u16>,
    /// Bytes of payload.
    pub payload_len: u32,
    /// Urgent pointer.
    pub urgent: Option<u16>,
    /// MSS option.
    pub mss: Option<u16>,
    /// Window scale option.
    pub window_scale: Option<u8>,
    /// SACK-permitted option.
    pub sack_permitted: Option<bool>,
    /// Timestamps option: value and echo.
    pub timestamps: Option<(u32, u32)>,
}

/// A segment with just these bits.
#[must_use]
pub const fn segment(flags: Flags) -> Spec {
    Spec {
        flags,
        push: None,
        seq: None,
        ack: None,
        window: None,
        payload_len: 0,
        urgent: None,
        mss: None,
        window_scale: None,
        sack_permitted: None,
        timestamps: None,
    }
}

/// `SYN`
#[must_use]
pub const fn syn() -> Spec {
    segment(Flags::SYN)
}

/// `SYN,ACK`
#[must_use]
pub const fn syn_ack() -> Spec {
    segment(Flags::SYN_ACK)
}

/// `ACK` without payload
#[must_use]
pub const fn ack() -> Spec {
    segment(Flags::ACK)
}

/// `FIN,ACK` without payload
#[must_use]
pub const fn fin() -> Spec {
    segment(Flags::FIN.with(Flags::ACK))
}

/// `RST`; with [`Spec::ack`], `RST,ACK`
#[must_use]
pub const fn rst() -> Spec {
    segment(Flags::RST)
}

/// `ACK` with `len` bytes of payload
#[must_use]
pub const fn data(len: u32) -> Spec {
    let mut spec = ack();
    spec.payload_len = len;
    spec
}

impl Spec {
    /// With this relative sequence number.
    #[must_use]
    pub const fn seq(mut self, seq: u32) -> Self {
        self.seq = Some(seq);
        self
    }

    /// With the ACK bit and this relative acknowledgment number.
    #[must_use]
    pub const fn ack(mut self, ack: u32) -> Self {
        self.flags = self.flags.with(Flags::ACK);
        self.ack = Some(ack);
        self
    }

    /// With this window field.
    #[must_use]
    pub const fn win(mut self, window: u16) -> Self {
        self.window = Some(window);
        self
    }

    /// With these control bits besides.
    #[must_use]
    pub const fn with(mut self, flags: Flags) -> Self {
        self.flags = self.flags.with(flags);
        self
    }

    /// With (or expressly without) PSH.
    #[must_use]
    pub const fn push(mut self, push: bool) -> Self {
        self.push = Some(push);
        self
    }

    /// With this many bytes of payload.
    #[must_use]
    pub const fn len(mut self, len: u32) -> Self {
        self.payload_len = len;
        self
    }

    /// With URG and this pointer.
    #[must_use]
    pub const fn urgent(mut self, pointer: u16) -> Self {
        self.flags = self.flags.with(Flags::URG);
        self.urgent = Some(pointer);
        self
    }

    /// With the MSS option.
    #[must_use]
    pub const fn mss(mut self, mss: u16) -> Self {
        self.mss = Some(mss);
        self
    }

    /// With the window scale option.
    #[must_use]
    pub const fn wscale(mut self, shift: u8) -> Self {
        self.window_scale = Some(shift);
        self
    }

    /// With SACK-permitted.
    #[must_use]
    pub const fn sack_ok(mut self) -> Self {
        self.sack_permitted = Some(true);
        self
    }

    /// With the timestamps option.
    #[must_use]
    pub const fn ts(mut self, tsval: u32, tsecr: u32) -> Self {
        self.timestamps = Some((tsval, tsecr));
        self
    }

    /// The segment itself; what isn't said is zero.
    #[must_use]
    pub fn to_segment(&self, base: Base) -> Segment {
        let push = if self.push == Some(true) {
            Flags::PSH
        } else {
            Flags::NONE
        };
        Segment {
            seq: base.sender_iss.add(self.seq.unwrap_or(0)),
            ack: self.ack.map_or(SeqNum(0), |ack| base.receiver_iss.add(ack)),
            flags: self.flags.with(push),
            window: self.window.unwrap_or(0),
            urgent: self.urgent.unwrap_or(0),
            payload_len: self.payload_len,
            options: SegmentOptions {
                timestamps: self
                    .timestamps
                    .map(|(tsval, tsecr)| TimestampOption { tsval, tsecr }),
                mss: self.mss,
                window_scale: self.window_scale,
                sack_permitted: self.sack_permitted.unwrap_or(false),
            },
            is_stripped: false,
        }
    }

    /// A segment, written down in full.
    #[must_use]
    pub fn of(seg: &Segment, base: Base) -> Self {
        let options = &seg.options;
        Self {
            flags: seg.flags.without(Flags::PSH),
            push: Some(seg.flags.contains(Flags::PSH)),
            seq: Some(seg.seq.since(base.sender_iss)),
            ack: seg.flags.ack().then(|| seg.ack.since(base.receiver_iss)),
            window: Some(seg.window),
            payload_len: seg.payload_len,
            urgent: seg.flags.contains(Flags::URG).then_some(seg.urgent),
            mss: options.mss,
            window_scale: options.window_scale,
            sack_permitted: Some(options.sack_permitted),
            timestamps: options.timestamps.map(|ts| (ts.tsval, ts.tsecr)),
        }
    }

    /// Whether a segment is what this says.
    #[must_use]
    pub fn matches(&self, seg: &Segment, base: Base) -> bool {
        fn agrees<T: PartialEq + Copy>(said: Option<T>, seen: Option<T>) -> bool {
            said.is_none() || said == seen
        }
        let seen = Self::of(seg, base);
        self.flags.without(Flags::PSH) == seen.flags
            && self.payload_len == seen.payload_len
            && agrees(self.push, seen.push)
            && agrees(self.seq, seen.seq)
            && agrees(self.ack, seen.ack)
            && agrees(self.window, seen.window)
            && agrees(self.urgent, seen.urgent)
            && agrees(self.mss, seen.mss)
            && agrees(self.window_scale, seen.window_scale)
            && agrees(self.sack_permitted, seen.sack_permitted)
            && agrees(self.timestamps, seen.timestamps)
    }
}

impl fmt::Display for Spec {
    /// `SYN,ACK seq 0 ack 1 win 65535 len 0 <mss 1460,ws 7,sackOK,ts 5/9>`, as far as it is said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let push = if self.push == Some(true) {
            Flags::PSH
        } else {
            Flags::NONE
        };
        write!(f, "{}", self.flags.with(push))?;
        if let Some(seq) = self.seq {
            write!(f, " seq {seq}")?;
        }
        if let Some(ack) = self.ack {
            write!(f, " ack {ack}")?;
        }
        if let Some(window) = self.window {
            write!(f, " win {window}")?;
        }
        write!(f, " len {}", self.payload_len)?;
        if let Some(urgent) = self.urgent {
            write!(f, " urg {urgent}")?;
        }
        let mut open = " <";
        if let Some(mss) = self.mss {
            write!(f, "{open}mss {mss}")?;
            open = ",";
        }
        if let Some(shift) = self.window_scale {
            write!(f, "{open}ws {shift}")?;
            open = ",";
        }
        if self.sack_permitted == Some(true) {
            write!(f, "{open}sackOK")?;
            open = ",";
        }
        if let Some((tsval, tsecr)) = self.timestamps {
            write!(f, "{open}ts {tsval}/{tsecr}")?;
            open = ",";
        }
        if open == "," {
            f.write_str(">")
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Base = Base {
        sender_iss: SeqNum(u32::MAX),
        receiver_iss: SeqNum(100),
    };

    #[test]
    fn what_is_written_is_what_is_read() {
        let spec = syn()
            .ack(1)
            .seq(0)
            .win(5)
            .mss(1460)
            .wscale(7)
            .sack_ok()
            .ts(5, 9);
        let seg = spec.to_segment(BASE);
        assert_eq!(
            (seg.seq, seg.ack, seg.flags),
            (SeqNum(u32::MAX), SeqNum(101), Flags::SYN_ACK)
        );
        assert!(spec.matches(&seg, BASE) && syn_ack().matches(&seg, BASE));
        assert_eq!(
            Spec::of(&seg, BASE).to_string(),
            "SYN,ACK seq 0 ack 1 win 5 len 0 <mss 1460,ws 7,sackOK,ts 5/9>"
        );
        assert_eq!(rst().to_string(), "RST len 0");
    }

    #[test]
    fn each_thing_said_counts() {
        let seg = data(10).seq(1).ack(1).win(7).to_segment(BASE);
        assert!(data(10).matches(&seg, BASE) && data(10).push(false).matches(&seg, BASE));
        for wrong in [
            data(9),
            ack(),
            fin().len(10),
            data(10).seq(2),
            data(10).ack(2),
            data(10).win(8),
            data(10).push(true),
            data(10).mss(1),
            data(10).ts(0, 0),
            data(10).urgent(0),
        ] {
            assert!(!wrong.matches(&seg, BASE), "{wrong}");
        }
    }
}
