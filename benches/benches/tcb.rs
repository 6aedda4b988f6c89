//! The cost of TCP itself: two connections that hand each other their segments as numbers, no frames, everything in cache.
//!
//! `request` is a 1-byte request and its 1-byte reply, with the ACKs that they cause; `bulk` is a full segment and its
//! share of the ACKs. Both count segments judged and made. Run alone on the machine:
//!
//! ```text
//! cargo bench -p syncline-benches --bench tcb
//! ```
#![forbid(unsafe_code)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stack::seq::SeqNum;
use stack::tcp::env::{Env, TcpCounters};
use stack::tcp::output::Unsent;
use stack::tcp::settings::Settings;
use stack::tcp::tcb::{OpenParams, Tcb};
use stack::tcp::verdict::{Payload, Verdict};
use stack::time::Instant;

/// One end: a connection and what its application has queued.
struct End {
    tcb: Tcb,
    unsent: u32,
}

struct Pair {
    settings: Settings,
    counters: TcpCounters,
    now_ns: u64,
    ends: [End; 2],
    segments: u64,
}

impl Pair {
    fn established() -> Self {
        let (settings, mut counters) = (Settings::default(), TcpCounters::default());
        let env = &mut Env {
            now: Instant::ZERO,
            settings: &settings,
            counters: &mut counters,
        };
        let params = |iss| OpenParams {
            iss: SeqNum(iss),
            timestamp_offset: iss,
            local_mss: 1460,
            path_mss: 1460,
            default_peer_mss: 536,
            rcv_buf: 1 << 20,
        };
        let mut client = Tcb::connect(params(1), env);
        let syn = client.poll_output(Unsent::default(), env).expect("a SYN");
        let server = Tcb::accept(params(2), &syn.as_segment(), env);
        let end = |tcb| End { tcb, unsent: 0 };
        let ends = [end(client), end(server)];
        let mut pair = Self {
            settings,
            counters,
            now_ns: 0,
            ends,
            segments: 0,
        };
        pair.exchange(1);
        pair
    }

    /// Lets both ends speak, beginning with `from`, until neither has anything to say.
    fn exchange(&mut self, from: usize) {
        let mut speaker = from;
        let mut silent = 0;
        while silent < 2 {
            silent = if self.speak(speaker) { 0 } else { silent + 1 };
            speaker = 1 - speaker;
        }
    }

    /// One burst from one end to the other; says whether there was any.
    fn speak(&mut self, from: usize) -> bool {
        self.now_ns += 1_000;
        let env = &mut Env {
            now: Instant::from_ns(self.now_ns),
            settings: &self.settings,
            counters: &mut self.counters,
        };
        let [a, b] = &mut self.ends;
        let (sender, receiver) = if from == 0 { (a, b) } else { (b, a) };
        let before = self.segments;
        while let Some(plan) = sender.tcb.poll_output(Unsent { len: sender.unsent }, env) {
            sender.unsent -= plan.payload_len;
            self.segments += 1;
            let Verdict { payload, .. } = receiver.tcb.on_segment(plan.as_segment(), env);
            if let Payload::InOrder { len, .. } = payload {
                receiver.tcb.on_read(len);
            }
        }
        self.segments != before
    }

    fn request(&mut self) {
        self.ends[0].unsent += 1;
        self.speak(0);
        self.ends[1].unsent += 1;
        self.speak(1);
    }

    fn bulk(&mut self, segments: u32) {
        self.ends[0].unsent += segments * self.ends[0].tcb.mss();
        self.exchange(0);
    }
}

fn tcb(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tcb");
    let mut pair = Pair::established();
    pair.request();
    let before = pair.segments;
    pair.request();
    group.throughput(Throughput::Elements(pair.segments - before));
    group.bench_function("request", |bencher| bencher.iter(|| pair.request()));
    let mut pair = Pair::established();
    pair.bulk(10_000); // the windows open
    let before = pair.segments;
    pair.bulk(64);
    group.throughput(Throughput::Elements(pair.segments - before));
    group.bench_function("bulk", |bencher| bencher.iter(|| pair.bulk(64)));
    group.finish();
}

criterion_group!(benches, tcb);
criterion_main!(benches);
