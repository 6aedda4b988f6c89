//! Two connections and a wire that the input rules: it says which segment arrives next, which is lost, which comes twice, when
//! time passes, what the applications write and read. Whatever it says: no panic, every invariant holds, each side reads a prefix
//! of what the other has written, and once the wire is kind to them all of it, to the end.
//!
//! Run with `RUSTC_BOOTSTRAP=1 cargo fuzz run tcb_pair`.
#![no_main]
#![forbid(unsafe_code)]

use core::time::Duration;

use libfuzzer_sys::fuzz_target;
use stack::seq::{self, SeqNum};
use stack::tcp;
use stack::tcp::env::{Env, TcpCounters};
use stack::tcp::output::Unsent;
use stack::tcp::profile::Profile;
use stack::tcp::segment::Segment;
use stack::tcp::settings::Settings;
use stack::tcp::state::State;
use stack::tcp::tcb::{OpenParams, Tcb};
use stack::tcp::verdict::Events;
use stack::time::Instant;

// The unit tests have this file too: `crate` is the stack there.
#[path = "../../stack/src/tcp/tests/stream.rs"]
mod stream;

use stream::{Stream, byte};

/// No side gives up while the input plays with the other.
const NEVER: Duration = Duration::from_secs(10_000_000);

/// Segments on the wire, at most: the first give way.
const WIRE: usize = 64;

struct Side {
    stream: Stream,
    tcb: Option<Tcb>,
    params: OpenParams,
    settings: Settings,
    counters: TcpCounters,
    written: u64,
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

struct Pair {
    now: Instant,
    sides: [Side; 2],
    wire: Vec<Packet>,
}

impl Pair {
    fn new(form: &[u8]) -> Self {
        let (first, second) = form.split_at(form.len() / 2);
        let mut pair = Self {
            now: Instant::from_ms((1 << 32) - 5_000),
            sides: [Side::new(0, first), Side::new(1, second)],
            wire: Vec::new(),
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

    fn step(&mut self, what: u8, how: u8) {
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
    fn finish(&mut self) {
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
}

fuzz_target!(|input: &[u8]| {
    let (form, steps) = input.split_at(input.len().min(8));
    let mut pair = Pair::new(form);
    for step in steps.chunks_exact(2) {
        pair.step(step[0], step[1]);
        for side in &pair.sides {
            let prefix =
                (0..side.stream.read.len() as u64).map(|place| byte(1 - side.stream.index, place));
            assert!(side.stream.read.len() as u64 <= pair.sides[1 - side.stream.index].written);
            assert!(prefix.eq(side.stream.read.iter().copied()), "another byte");
        }
    }
    pair.finish();
    for side in &pair.sides {
        let peer = &pair.sides[1 - side.stream.index];
        let all = (0..peer.written).map(|place| byte(peer.stream.index, place));
        assert!(all.eq(side.stream.read.iter().copied()), "all bytes arrive");
    }
});
