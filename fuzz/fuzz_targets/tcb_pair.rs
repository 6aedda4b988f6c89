//! Two connections and a wire that the input rules ([`pair`]). Whatever it says: no panic, every invariant holds, each side reads a
//! prefix of what the other has written, and once the wire is kind to them all of it, to the end.
//!
//! Run with `RUSTC_BOOTSTRAP=1 cargo fuzz run tcb_pair`.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;
use stack::{seq, tcp};

#[path = "../shared/pair.rs"]
mod pair;
// The unit tests have this file too: `crate` is the stack there.
#[path = "../../stack/src/tcp/tests/stream.rs"]
mod stream;

use pair::Pair;

fuzz_target!(|input: &[u8]| {
    let (form, steps) = input.split_at(input.len().min(8));
    let mut pair = Pair::new(form, ());
    for step in steps.chunks_exact(2) {
        pair.step(step[0], step[1]);
        pair.judge();
    }
    pair.finish();
    pair.judge_end();
});
