//! Header prediction against the steps of the RFC, on two connections and a wire that the input rules ([`pair`]): whatever meets
//! whatever connection, a prediction leaves it as the steps do, field by field, and what is not predicted leaves it as it was. Besides
//! all segments of the wire, and some that differ from them in one field, the input makes some up that lie near what is expected.
//!
//! Run with `RUSTC_BOOTSTRAP=1 cargo fuzz run predict`.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;
use stack::tcp::output::Unsent;
use stack::tcp::segment::{Flags, Segment, SegmentOptions, TimestampOption};
use stack::{seq, tcp, time};

#[path = "../shared/pair.rs"]
mod pair;
// The unit tests have these files too: `crate` is the stack there.
#[path = "../../stack/src/tcp/tests/predict.rs"]
mod compare;
#[path = "../../stack/src/tcp/tests/stream.rs"]
mod stream;

use pair::{Pair, Side, Witness};

/// One in so many segments that were predicted is compared with all that are near, which takes long.
const COMPARED: u32 = 16;

/// Compares prediction with the steps.
#[derive(Default)]
struct Comparison {
    predicted: u32,
}

impl Witness for Comparison {
    fn arrives(&mut self, side: &Side, segment: &Segment, now: time::Instant) {
        let Some(tcb) = &side.tcb else {
            return;
        };
        self.predicted += u32::from(compare::check_input(tcb, segment, &side.settings, now));
        if self.predicted == COMPARED {
            self.predicted = 0;
            for near in compare::near(segment) {
                compare::check_input(tcb, &near, &side.settings, now);
            }
        }
    }

    fn is_asked(&mut self, side: &Side, unsent: Unsent, now: time::Instant) {
        if let Some(tcb) = &side.tcb {
            compare::check_output(tcb, unsent.len, &side.settings, now);
        }
    }
}

/// A segment a little beside the one that this side expects, as six bytes of the input say.
fn beside(side: &Side, made_of: [u8; 6]) -> Option<Segment> {
    let tcb = side.tcb.as_ref()?;
    let [seq, ack, flags, window, len, tsval] = made_of;
    let (_, snd_nxt, rcv_nxt) = tcb.numbers();
    let signed = |byte: u8| i32::from(byte as i8) as u32;
    let recent = tcb.to_time_wait().timestamps.map_or(0, |ts| ts.recent);
    Some(Segment {
        // Half of all are where they are expected.
        seq: rcv_nxt.add(if seq & 1 == 0 { 0 } else { signed(seq) / 2 }),
        ack: snd_nxt.add(if ack & 1 == 0 { 0 } else { signed(ack) / 2 }),
        flags: Flags(flags),
        window: u16::from(window) << 7,
        payload_len: u32::from(len) * u32::from(len),
        options: SegmentOptions {
            timestamps: (tsval != 0).then(|| TimestampOption {
                tsval: recent.wrapping_add(signed(tsval)),
                tsecr: 0,
            }),
            ..SegmentOptions::default()
        },
        ..Segment::default()
    })
}

fuzz_target!(|input: &[u8]| {
    let (form, steps) = input.split_at(input.len().min(8));
    let mut pair = Pair::new(form, Comparison::default());
    for step in steps.chunks_exact(8) {
        let [what, how, made_of @ ..] = *<&[u8; 8]>::try_from(step).expect("eight bytes");
        pair.step(what, how);
        let side = &pair.sides[usize::from(what >> 6 & 1)];
        if let Some(segment) = beside(side, made_of) {
            pair.witness.arrives(side, &segment, pair.now);
        }
        pair.judge();
    }
    pair.finish();
    pair.judge_end();
});
