//! [`Connection`]: what is kept of one connection while the capture passes, and how each segment changes it.
//!
//! It must never judge: it holds facts, `verdict` draws the conclusions. Numbers are those of the wire, so nothing here may
//! panic on any of them.

use stack::seq::SeqNum;
use stack::tcp::segment::Segment;

use crate::dissect::{Checksum, Endpoint, IcmpError, IcmpKind, TcpFrame};
use crate::machines::Machines;
use crate::progress::on_the_wire;
use crate::reset::{self, Fit, Reset};
use crate::rows::{Mark, Row, RowEvent, Rows};
use crate::side::{End, Side};

/// The same segment within this time was captured twice, not sent twice.
const DOUBLE_NS: u64 = 1_000_000;

/// The segment before, by one sender.
#[derive(Debug, Clone, Copy, PartialEq)]
struct LastSegment {
    at_ns: u64,
    segment: Segment,
    ident: u16,
}

/// A connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Connection {
    /// Its number: connections are numbered in the order in which they begin in the capture, from 1.
    pub number: u64,
    /// The VLAN, 0 without one.
    pub vlan: u16,
    /// Client and server.
    pub ends: [Endpoint; 2],
    /// When it began in the capture, in ns since 1970.
    pub first_ns: u64,
    /// Its last segment.
    pub last_ns: u64,
    /// The segments of each end.
    pub sides: [Side; 2],
    /// Both state machines.
    pub machines: Machines,
    /// The first reset that counts.
    pub(crate) reset: Option<Reset>,
    /// Resets, all of them.
    pub(crate) resets: u32,
    /// Resets with a number outside of the window.
    pub(crate) resets_outside: u32,
    /// Segments without RST that the receiver of the reset sent long after it.
    pub(crate) frames_after_reset: u32,
    /// A SYN in the open connection: by whom.
    pub(crate) late_syn: Option<End>,
    /// The first ICMP error about it.
    pub(crate) icmp: Option<IcmpError>,
    /// Packets reported as too big: the MTU.
    pub(crate) mtu_reported: Option<u32>,
    /// When the third step of the handshake was seen.
    pub(crate) established_ns: Option<u64>,
    /// It began with a SYN or SYN-ACK.
    pub(crate) saw_handshake: bool,
    /// Frames that the capture holds twice.
    pub doubles: u64,
    /// The lines of its ladder.
    pub rows: Rows,
    last: [Option<LastSegment>; 2],
}

impl Connection {
    /// A connection that begins with this frame.
    #[must_use]
    pub(crate) fn beginning_with(number: u64, at_ns: u64, frame: &TcpFrame, rows: Rows) -> Self {
        let (src, dst) = (frame.src, frame.dst);
        let flags = frame.segment.flags;
        let src_is_client = match (flags.syn(), flags.ack()) {
            (true, false) => true,
            (true, true) => false,
            // An answer to a SYN that wasn't captured.
            _ if flags.rst() && flags.ack() && frame.segment.seq == SeqNum(0) => false,
            _ => src.port > dst.port,
        };
        let starts = flags.syn() || flags.rst();
        Self {
            number,
            vlan: frame.vlan,
            ends: if src_is_client {
                [src, dst]
            } else {
                [dst, src]
            },
            first_ns: at_ns,
            last_ns: at_ns,
            sides: [Side::default(), Side::default()],
            machines: if starts {
                Machines::default()
            } else {
                Machines::in_the_middle()
            },
            reset: None,
            resets: 0,
            resets_outside: 0,
            frames_after_reset: 0,
            late_syn: None,
            icmp: None,
            mtu_reported: None,
            established_ns: None,
            saw_handshake: flags.syn(),
            doubles: 0,
            rows,
            last: [None; 2],
        }
    }

    /// The end that has this address and port.
    #[must_use]
    pub(crate) fn end_of(&self, endpoint: Endpoint) -> End {
        if endpoint == self.ends[0] {
            End::Client
        } else {
            End::Server
        }
    }

    /// The segments that an end sent.
    #[must_use]
    pub(crate) const fn side(&self, end: End) -> &Side {
        &self.sides[end as usize]
    }

    /// Segments of both ends.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.sides[0].frames + self.sides[1].frames
    }

    /// Whether it is over: reset, or closed from both ends.
    #[must_use]
    pub(crate) fn is_over(&self) -> bool {
        self.reset.is_some() || self.sides.iter().all(|side| side.fin_acked_ns.is_some())
    }

    /// Whether this SYN begins another connection between the same ports.
    #[must_use]
    pub(crate) fn is_succeeded_by(&self, frame: &TcpFrame) -> bool {
        let segment = &frame.segment;
        if !segment.flags.syn() {
            return false;
        }
        let from = self.end_of(frame.src);
        let is_other = self.side(from).iss.is_some_and(|iss| iss != segment.seq);
        if segment.flags.ack() {
            // The answer to a SYN that came into the old connection.
            return is_other && self.late_syn == Some(from.other());
        }
        is_other && self.is_over()
    }

    /// Takes a segment.
    pub(crate) fn take(&mut self, at_ns: u64, frame: &TcpFrame) {
        let from = self.end_of(frame.src);
        if self.is_double(at_ns, from, frame) {
            self.doubles += 1;
            return;
        }
        self.last_ns = self.last_ns.max(at_ns);
        self.count(at_ns, from, frame);
        let segment = frame.segment;
        let mark = if self.is_corrupted(from, frame.checksum) {
            Mark::Corrupted
        } else if segment.flags.rst() {
            self.take_reset(at_ns, from, frame);
            Mark::Plain
        } else {
            self.take_plain(at_ns, from, frame)
        };
        self.last[from as usize] = Some(LastSegment {
            at_ns,
            segment,
            ident: frame.ident,
        });
        if self.rows.are_kept() {
            self.push_row(
                at_ns,
                from,
                RowEvent::Segment {
                    segment,
                    mark,
                    iss: self.bases(),
                },
            );
        }
    }

    /// Takes an ICMP error about a segment of this connection.
    pub(crate) fn take_icmp(&mut self, at_ns: u64, error: &IcmpError) {
        if let IcmpKind::TooBig(mtu) = error.kind {
            self.mtu_reported.get_or_insert(mtu);
        } else {
            self.icmp.get_or_insert(*error);
        }
        // Whatever router reports it, it stands for the end that can't be reached.
        let from = if error.receiver == self.ends[0].ip {
            End::Server
        } else {
            End::Client
        };
        if self.rows.are_kept() {
            self.push_row(at_ns, from, RowEvent::Icmp(*error));
        }
    }

    /// Adds a line to the ladder.
    pub(crate) fn push_row(&mut self, at_ns: u64, from: End, what: RowEvent) {
        let states = End::BOTH.map(|end| self.machines.state(end));
        self.rows.push(Row {
            at_ns,
            from,
            what,
            states,
        });
    }

    /// The initial sequence numbers; what is unknown is 0.
    fn bases(&self) -> [SeqNum; 2] {
        End::BOTH.map(|end| self.side(end).iss.unwrap_or_default())
    }

    /// The same segment again within a moment: `-i any` and mirrored ports show frames twice.
    fn is_double(&self, at_ns: u64, from: End, frame: &TcpFrame) -> bool {
        self.last[from as usize].is_some_and(|last| {
            last.segment == frame.segment
                && last.ident == frame.ident
                && at_ns.saturating_sub(last.at_ns) < DOUBLE_NS
                // Duplicate ACKs over IPv6 look the same; they have no number that another one has.
                && (frame.ident != 0 || !frame.segment.is_empty())
        })
    }

    fn count(&mut self, at_ns: u64, from: End, frame: &TcpFrame) {
        let segment = &frame.segment;
        let other = &mut self.sides[from.other() as usize];
        other.keepalives_unanswered = 0;
        if let Some(stall) = &mut other.stall {
            stall.peer_frames_since += 1;
        }
        let mss = u32::from(other.mss.unwrap_or(u16::MAX));
        let side = &mut self.sides[from as usize];
        side.frames += 1;
        side.last_ns = at_ns;
        if segment.payload_len > mss {
            side.oversized += 1;
        }
        match frame.checksum {
            Checksum::Right => side.checksums.right += 1,
            Checksum::Wrong => side.checksums.wrong += 1,
            Checksum::Offloaded => side.checksums.offloaded += 1,
            Checksum::Unknown => {}
        }
        if !segment.flags.rst() {
            let (least, most) = side.hops.unwrap_or((frame.hops, frame.hops));
            side.hops = Some((least.min(frame.hops), most.max(frame.hops)));
        }
    }

    /// Once most checksums of a sender were right, a wrong one is damage.
    fn is_corrupted(&self, from: End, checksum: Checksum) -> bool {
        checksum == Checksum::Wrong && self.side(from).checksums.corrupted() > 0
    }

    fn take_plain(&mut self, at_ns: u64, from: End, frame: &TcpFrame) -> Mark {
        let segment = &frame.segment;
        if let Some(reset) = self.reset
            && reset.from != from
            && at_ns.saturating_sub(reset.at_ns) > 200_000_000
        {
            self.frames_after_reset += 1;
        }
        if segment.flags.syn() {
            return self.take_syn(at_ns, from, segment);
        }
        let is_window_probe = self.is_probe(from, segment);
        let mark = self.take_text(at_ns, from, segment, is_window_probe);
        let ack_mark = if segment.flags.ack() {
            self.take_ack(at_ns, from, frame)
        } else {
            Mark::Plain
        };
        self.take_window(at_ns, from, segment, mark);
        self.machines.take(from, segment);
        if segment.flags.ack() {
            self.note_handshake_end(at_ns, from, segment.ack);
        }
        if mark == Mark::Plain { ack_mark } else { mark }
    }

    fn take_syn(&mut self, at_ns: u64, from: End, segment: &Segment) -> Mark {
        let other = from.other();
        let is_open = self.established_ns.is_some() || !self.saw_handshake;
        let side = &mut self.sides[from as usize];
        if is_open && side.iss != Some(segment.seq) && !segment.flags.ack() {
            // Another connection between the same ports, while this one is open.
            self.late_syn = Some(from);
            return Mark::Plain;
        }
        let is_again = side.syn.count > 0 && side.iss == Some(segment.seq);
        if side.syn.count == 0 {
            side.syn.first_ns = at_ns;
        } else if segment.flags.ack() && self.sides[other as usize].acked.is_some() {
            let side = &mut self.sides[from as usize];
            side.syn.again_after_ack += 1;
            side.syn.again_after_ack_ns = at_ns;
        }
        let side = &mut self.sides[from as usize];
        side.syn.count += 1;
        side.syn.last_ns = at_ns;
        side.syn.with_ack |= segment.flags.ack();
        side.iss = Some(segment.seq);
        let end = segment.end();
        if side.next.is_none_or(|next| next.before(end)) {
            side.next = Some(end);
        }
        if segment.payload_len > 0 && !is_again {
            side.new_bytes += u64::from(segment.payload_len);
            side.data_frames += 1;
        }
        side.mss = segment.options.mss;
        side.window_scale = segment.options.window_scale;
        side.window = segment.window;
        if segment.flags.ack() {
            side.acked = Some(segment.ack);
            let peer = &mut self.sides[other as usize];
            peer.iss.get_or_insert(segment.ack.sub(1));
            peer.next.get_or_insert(segment.ack);
        }
        self.machines.take(from, segment);
        if is_again { Mark::Again } else { Mark::Plain }
    }

    /// One number below the next, with at most a byte: it asks, and says nothing new.
    fn is_probe(&self, from: End, segment: &Segment) -> bool {
        segment.payload_len <= 1
            && !segment.flags.fin()
            && self.side(from).next == Some(segment.seq.add(1))
    }

    /// Numbers that the segment takes.
    fn take_text(&mut self, at_ns: u64, from: End, segment: &Segment, is_probe: bool) -> Mark {
        let peer_window_is_closed = self.side(from.other()).closed_window.since_ns.is_some();
        let peer_fin = self.side(from.other()).fin_ns;
        let (mss, peer_acked) = (self.side(from.other()).mss, self.side(from.other()).acked);
        let side = &mut self.sides[from as usize];
        if is_probe {
            return if peer_window_is_closed {
                self.sides[from.other() as usize].closed_window.probes += 1;
                Mark::WindowProbe
            } else {
                side.keepalives += 1;
                side.keepalives_unanswered += 1;
                Mark::Keepalive
            };
        }
        side.iss.get_or_insert(segment.seq.sub(1));
        let next = *side.next.get_or_insert(segment.seq);
        if segment.is_empty() {
            if next.before(segment.seq) {
                side.next = Some(segment.seq);
            }
            return Mark::Plain;
        }
        let mut mark = Mark::Plain;
        let end = segment.end();
        let len = on_the_wire(segment.payload_len, mss);
        if segment.seq.before(next) {
            mark = side.take_again(at_ns, segment, len);
        } else if next.before(segment.seq) {
            side.hole = Some((next, segment.seq, at_ns));
            side.acked_unseen += u32::from(peer_acked.is_some_and(|acked| next.before(acked)));
        }
        if peer_acked.is_none_or(|acked| acked.before(end)) {
            side.outstanding_since_ns.get_or_insert(at_ns);
        }
        if next.before(end) {
            let new = end.since(if segment.seq.before(next) {
                next
            } else {
                segment.seq
            });
            side.take_new(at_ns, end, len, new, segment);
            if segment.payload_len > 0 && peer_fin.is_some() {
                side.data_after_fin_ns.get_or_insert(at_ns);
            }
        }
        if segment.payload_len > 0 {
            side.data_frames += 1;
            side.last_data_ns = Some(at_ns);
            self.sides[from.other() as usize].bytes_unanswered = 0;
        }
        mark
    }

    /// The number that it acknowledges.
    fn take_ack(&mut self, at_ns: u64, from: End, frame: &TcpFrame) -> Mark {
        let segment = &frame.segment;
        let last_window = self.side(from).window;
        let before = self.side(from).acked;
        let is_new = before.is_none_or(|before| before.before(segment.ack));
        let peer = &mut self.sides[from.other() as usize];
        peer.iss.get_or_insert(segment.ack.sub(1));
        // An ACK may be captured before what it acknowledges: on two CPUs, or at the sender.
        if peer.frames == 0 || peer.next.is_none() {
            peer.next = Some(segment.ack);
        }
        if is_new {
            peer.acknowledged(at_ns, segment.ack);
        }
        if let Some((start, end)) = frame.sack
            && segment.ack.before(start)
            && start.before(end)
        {
            peer.sacked_len = peer.sacked_len.max(end.since(start));
        }
        if is_new {
            if self
                .machines
                .after_fin(from.other())
                .is_some_and(|fin| !segment.ack.before(fin))
            {
                let peer = &mut self.sides[from.other() as usize];
                peer.fin_acked_ns.get_or_insert(at_ns);
            }
            self.sides[from as usize].acked = Some(segment.ack);
            Mark::Plain
        } else if !segment.is_empty() || before != Some(segment.ack) {
            Mark::Plain
        } else if segment.window != last_window {
            Mark::WindowUpdate
        } else {
            Mark::DuplicateAck
        }
    }

    /// The window that it offers.
    fn take_window(&mut self, at_ns: u64, from: End, segment: &Segment, mark: Mark) {
        let side = &mut self.sides[from as usize];
        side.window = segment.window;
        let closed = &mut side.closed_window;
        if segment.window > 0 || !segment.flags.ack() {
            if let Some(since) = closed.since_ns.take() {
                closed.longest_ns = closed.longest_ns.max(at_ns.saturating_sub(since));
            }
            return;
        }
        if closed.since_ns.is_none() {
            closed.since_ns = Some(at_ns);
            closed.count += 1;
        } else if mark == Mark::Plain {
            closed.answered_probes += 1;
        }
        closed.last_word_ns = at_ns;
    }

    /// The third step: the client's first ACK of the server's SYN. Where only one direction was captured, any plain segment of an
    /// end that sent a SYN shows that it is open.
    fn note_handshake_end(&mut self, at_ns: u64, from: End, ack: SeqNum) {
        let (own, peer) = (self.side(from), self.side(from.other()));
        let covers = peer.syn.count > 0 && peer.iss.is_some_and(|iss| iss.before(ack));
        let is_alone = peer.frames == 0 && own.syn.count > 0;
        if (covers || is_alone) && self.saw_handshake {
            self.established_ns.get_or_insert(at_ns);
        }
    }

    fn take_reset(&mut self, at_ns: u64, from: End, frame: &TcpFrame) {
        self.resets += 1;
        let (own, peer) = (self.side(from), self.side(from.other()));
        let fit = reset::fit(own, peer, &frame.segment);
        if fit == Fit::Outside {
            self.resets_outside += 1;
            return;
        }
        let last = self.last[from.other() as usize].map(|last| last.segment);
        let (own, peer) = (self.side(from), self.side(from.other()));
        let reset = Reset {
            from,
            at_ns,
            with_ack: frame.segment.flags.ack(),
            hops: frame.hops,
            fit,
            cause: reset::cause(own, peer, last, &frame.segment),
            bytes_unanswered: self.side(from.other()).bytes_unanswered,
        };
        if self.reset.is_none() {
            self.reset = Some(reset);
            self.machines.take(from, &frame.segment);
        }
    }
}
