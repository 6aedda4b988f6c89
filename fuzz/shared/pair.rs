//! [`Pair`]: two connections and a wire that the input rules. It says which segment arrives next, which is lost, which comes twice,
//! when time passes, what the applications write and read.
//!
//! It must never decide by anything but the input: a crash is to repeat.

use core::time::Duration;

use stack::seq::SeqNum;
use stack::tcp::env::{Env, TcpCounters};
use stack::tcp::output::Unsent;
use stack::tcp::profile::Profile;
use stack::tcp::segment::Segment;
use stack::tcp::settings::Settings;
use stack::tcp::state::State;
use stack::tcp::tcb::{OpenParams, Tcb};
use stack::tcp::verdict::Events;
use stack::time::Instant;

use crate::stream::{Stream, byte};

/// No side gives up while the input plays with the other.
const NEVER: Duration = Duration::from_secs(10_000_000);

/// Segments on the wire, at most: the first give way.
const WIRE: usize = 64;

/// The observer of a connection before each event.
pub(crate) trait Witness {
    /// `segment` is about to arrive.
    fn arrives(&mut self, side: &Side, segment: &Segment, now: Instant);
    /// It is about to be asked for its next segment.
    fn is_asked(&mut self, side: &Side, unsent: Unsent, now: Instant);
}

/// Looks away.
impl Witness for () {
    fn arrives(&mut self, _: &Side, _: &Segment, _: Instant) {}
    fn is_asked(&mut self, _: &Side, _: Unsent, _: Instant) {}
}

pub(crate) struct Side {
    pub(crate) stream: Stream,
    pub(crate) tcb: Option<Tcb>,
    params: OpenParams,
    pub(crate) settings: Settings,
    counters: TcpCounters,
    pub(crate) written: u64,
    has_shut: bool,
    peer_closed: bool,
}

impl Side {
    fn new(index: usize, form: &[u8]) -> Self {
        let [iss, mss, buf, bits] = [0, 1, 2, 3].map(|at| form.get(at).copied().unwrap_or(0));
        let has = |bit: u8| bits & bit != 0;
        let local_mss = [100, 536, 1460][usize::from(mss) % 3];
        let settings = Settings {
            r2_syn: NEVER,
            timestamps: has(1),
            window_scaling: has(2),
            profile: Profile {
                ack_delay: Duration::from_millis(if has(4) { 0 } else { 40 }),
                nagle: has(8),
                r2: NEVER,
                ..Profile::default()
            },
            ..Settings::default()
        };
        let params = OpenParams {
            iss: SeqNum(u32::from(iss).wrapping_mul(50).wrapping_sub(3_000)),
            timestamp_offset: u32::from(iss).wrapping_sub(100),
            local_mss,
            path_mss: local_mss,
            default_peer_mss: 536,
            rcv_buf: [300, 3_000, 30_000, 300_000][usize::from(buf) % 4],
        };
        Self {
            stream: Stream::new(index),
            tcb: None,
            params,
            settings,
            counters: TcpCounters::default(),
            written: 0,
            has_shut: false,
            peer_closed: false,
        }
    }

    fn with<T>(
        &mut self,
        now: Instant,
        call: impl FnOnce(&mut Tcb, &mut Env<'_>) -> T,
    ) -> Option<T> {
        let env = &mut Env {
            now,
            settings: &self.settings,
            counters: &mut self.counters,
        };
        let tcb = self.tcb.as_mut()?;
        let result = call(tcb, env);
        assert_eq!(tcb.check_invariants(), Ok(()));
        Some(result)
    }

    fn is_over(&self) -> bool {
        let ends = |tcb: &Tcb| tcb.is_finished() || tcb.state() == State::TimeWait;
        self.tcb.as_ref().is_some_and(ends)
    }

    fn note(&mut self, events: Events) {
        self.peer_closed |= events.has(Events::PEER_CLOSED);
    }
}

struct Packet {
    to: usize,
    segment: Segment,
    text: Vec<u8>,
}

pub(crate) struct Pair<W> {
    pub(crate) now: Instant,
    pub(crate) sides: [Side; 2],
    wire: Vec<Packet>,
    pub(crate) witness: W,
}

impl<W: Witness> Pair<W> {
    pub(crate) fn new(form: &[u8], witness: W) -> Self {
        let (first, second) = form.split_at(form.len() / 2);
        let mut pair = Self {
            now: Instant::from_ms((1 << 32) - 5_000),
            sides: [Side::new(0, first), Side::new(1, second)],
            wire: Vec::new(),
            witness,
        };
        let side = &mut pair.sides[0];
        let env = &mut Env {
            now: pair.now,
            settings: &side.settings,
            counters: &mut side.counters,
        };
        side.tcb = Some(Tcb::connect(side.params, env));
        pair.output(0);
        pair
    }

    fn output(&mut self, index: usize) {
        let now = self.now;
        for _ in 0..10_000 {
            let side = &mut self.sides[index];
            let unsent = Unsent {
                len: (side.written - side.stream.sent) as u32,
            };
            self.witness.is_asked(side, unsent, now);
            let Some(Some(plan)) = side.with(now, |tcb, env| tcb.poll_output(unsent, env)) else {
                return;
            };
            let text = side.stream.bytes_of(&plan);
            if self.wire.len() == WIRE {
                self.wire.remove(0);
            }
            self.wire.push(Packet {
                to: 1 - index,
                segment: plan.as_segment(),
                text,
            });
        }
        panic!("output without end");
    }

    fn arrive(&mut self, to: usize, segment: Segment, text: &[u8]) {
        let now = self.now;
        let side = &mut self.sides[to];
        self.witness.arrives(side, &segment, now);
        if side.tcb.is_none() {
            if segment.flags.syn() && !segment.flags.ack() {
                side.stream.irs = segment.seq;
                let env = &mut Env {
                    now,
                    settings: &side.settings,
                    counters: &mut side.counters,
                };
                side.tcb = Some(Tcb::accept(side.params, &segment, env));
            }
        } else {
            let opens = side.with(now, |tcb, _| tcb.state() == State::SynSent);
            if opens == Some(true) && segment.flags.syn() {
                side.stream.irs = segment.seq;
            }
            if let Some(verdict) = side.with(now, |tcb, env| tcb.on_segment(segment, env)) {
                side.stream.take(verdict.payload, text);
                side.stream.acked += u64::from(verdict.acked_len);
                side.note(verdict.events);
            }
        }
        self.output(to);
    }

    /// Lets time pass until something is due, at most for so long.
    fn wait(&mut self, most: Duration) {
        let latest = self.now + most;
        let due = |side: &Side| side.tcb.as_ref().and_then(Tcb::deadline);
        let next = self.sides.iter().filter_map(due).min();
        self.now = next.unwrap_or(latest).min(latest).max(self.now);
        for index in [0, 1] {
            if let Some(events) = self.sides[index].with(self.now, Tcb::on_timer) {
                self.sides[index].note(events);
            }
            self.output(index);
        }
    }

    fn write(&mut self, index: usize, len: u64) {
        let side = &mut self.sides[index];
        if !side.has_shut {
            side.written += len;
        }
        self.output(index);
    }

    fn read(&mut self, index: usize, part: u32) {
        let side = &mut self.sides[index];
        let len = side.stream.unread / part.max(1);
        side.stream.unread -= len;
        side.with(self.now, |tcb, _| tcb.on_read(len));
        self.output(index);
    }

    /// A close in SYN-SENT would withdraw the open.
    fn shut(&mut self, index: usize) {
        let (now, side) = (self.now, &mut self.sides[index]);
        let is_open = side.with(now, |tcb, _| tcb.state() != State::SynSent);
        if is_open == Some(true) && !side.has_shut {
            side.has_shut = true;
            side.with(now, Tcb::shutdown);
        }
        self.output(index);
    }

    /// The meaning of two bytes of the input.
    pub(crate) fn step(&mut self, what: u8, how: u8) {
        let (index, at) = (usize::from(what >> 7), usize::from(how));
        let picked = match self.wire.len() {
            0 => None,
            len => Some(at % len),
        };
        match (what & 7, picked) {
            (0 | 1, Some(at)) => {
                let packet = self.wire.remove(at);
                self.arrive(packet.to, packet.segment, &packet.text);
            }
            (2, Some(at)) => {
                let (to, segment) = (self.wire[at].to, self.wire[at].segment);
                let text = self.wire[at].text.clone();
                self.arrive(to, segment, &text);
            }
            (3, Some(at)) => drop(self.wire.remove(at)),
            (4, _) => self.wait(Duration::from_millis(1 << (how % 18))),
            (5, _) => self.write(index, u64::from(how) * 16),
            (6, _) => self.read(index, u32::from(how % 4)),
            (7, _) if how == 0xff => self.shut(index),
            _ => {}
        }
    }

    /// Nothing is lost any more, and both applications come to their end.
    pub(crate) fn finish(&mut self) {
        for _ in 0..200_000 {
            if self.sides.iter().all(Side::is_over) {
                return;
            }
            if self.wire.is_empty() {
                self.wait(Duration::from_secs(200));
            } else {
                let packet = self.wire.remove(0);
                self.arrive(packet.to, packet.segment, &packet.text);
            }
            for index in [0, 1] {
                self.read(index, 1);
                self.shut(index);
            }
        }
        panic!("it doesn't end");
    }

    /// Each side has read a prefix of what the other has written.
    pub(crate) fn judge(&self) {
        for side in &self.sides {
            let prefix =
                (0..side.stream.read.len() as u64).map(|place| byte(1 - side.stream.index, place));
            assert!(side.stream.read.len() as u64 <= self.sides[1 - side.stream.index].written);
            assert!(prefix.eq(side.stream.read.iter().copied()), "another byte");
        }
    }

    /// Each side has read all that the other has written.
    pub(crate) fn judge_end(&self) {
        for side in &self.sides {
            let peer = &self.sides[1 - side.stream.index];
            let all = (0..peer.written).map(|place| byte(peer.stream.index, place));
            assert!(all.eq(side.stream.read.iter().copied()), "all bytes arrive");
        }
    }
}
