//! The verdict on each connection in a capture: `cargo run -p syncline-diagnose --example verdicts -- capture.pcap`.
#![forbid(unsafe_code)]
use std::error::Error;
use std::ops::ControlFlow;

use diagnose::{Analysis, Limits, capture};

fn main() -> Result<(), Box<dyn Error>> {
    let Some(path) = std::env::args().nth(1) else {
        return Err("which capture? give a pcap or pcapng file".into());
    };
    let mut analysis = Analysis::new(Limits::default());
    let summary = capture::read(std::fs::File::open(path)?, |frame| {
        analysis.take(&frame);
        ControlFlow::Continue(())
    })?;
    for judged in analysis.judged() {
        let verdict = judged.verdict;
        println!(
            "{}: {}",
            judged.connection.number,
            verdict.situation.title()
        );
    }
    if summary.damage.is_some() {
        println!("the file is damaged: what follows the last frame could not be read");
    }
    Ok(())
}
