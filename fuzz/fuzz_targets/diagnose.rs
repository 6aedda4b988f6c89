//! Any bytes as a capture: reading, dissecting, following and judging. Nothing may panic, and no limit may be passed.
//!
//! Run with `RUSTC_BOOTSTRAP=1 cargo fuzz run diagnose`; see `cargo fuzz --help`. Any capture is a seed.
#![no_main]
#![forbid(unsafe_code)]

use std::ops::ControlFlow;

use diagnose::analysis::{Analysis, Ladders, Limits};
use diagnose::capture;
use diagnose::evidence::evidence;
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    connections: 32,
    ladders: Ladders::Each(32),
    rows: 3,
};

fuzz_target!(|file: &[u8]| {
    let mut analysis = Analysis::new(LIMITS);
    let mut frames = 0;
    let _ = capture::read(file, |frame| {
        analysis.take(&frame);
        frames += 1;
        ControlFlow::Continue(())
    });
    let counts = analysis.frames();
    assert_eq!(counts.all, frames);
    let by_kind = [
        counts.tcp,
        counts.neighbor,
        counts.icmp,
        counts.fragments,
        counts.other,
        counts.unreadable,
    ];
    assert_eq!(by_kind.iter().sum::<u64>(), frames);
    let judged = analysis.judged();
    assert!(judged.len() <= LIMITS.connections);
    for judged in judged {
        assert!(
            !evidence(judged.connection, &judged.verdict, analysis.surroundings())
                .contains(&String::new())
        );
    }
});
