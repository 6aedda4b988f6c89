//! Cycles per packet of the whole worker on the one-core loop: median of several runs, spread shown, optionally as JSON.
//!
//! Called by: people, `scripts/bench-loop`, and callgrind (`--packets` fixed, one run). It must never print a figure of a
//! run whose replies were wrong.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use benches::worker_loop::{Scenario, build, check};
use clap::Parser;

/// Cycles per packet of the whole worker on one core, frames in memory, no link.
#[derive(Parser)]
struct Args {
    /// What the SYNs meet.
    #[arg(value_enum)]
    scenario: Scenario,
    /// Established connections in the table before the first packet.
    #[arg(long, default_value_t = 0)]
    connections: u32,
    /// Packets per run.
    #[arg(long, default_value_t = 2_000_000)]
    packets: u64,
    /// Runs; the median is the result.
    #[arg(long, default_value_t = 9)]
    runs: usize,
    /// Frames per receive call, 1 to 64.
    #[arg(long, default_value_t = 64)]
    burst: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("worker-loop: {error}\n").as_bytes(),
            );
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), String> {
    let mut loop_ = build(args.scenario, args.connections, args.burst.clamp(1, 64))
        .map_err(|error| error.to_string())?;
    let mut own: Vec<f64> = Vec::new();
    let mut last = None;
    for _ in 0..args.runs.max(1) {
        let measured = loop_.run(args.packets);
        own.push(measured.cycles.own_per_frame());
        last = Some(measured.cycles);
    }
    let last = last.unwrap_or_default();
    check(loop_.into_nic().counts())?;
    own.sort_by(f64::total_cmp);
    let median = own[own.len() / 2];
    let stages = last.stages;
    let per = |cycles: u64| cycles as f64 / stages.frames.max(1) as f64;
    let result = serde_json::json!({
        "scenario": format!("{:?}", args.scenario),
        "connections": args.connections,
        "packets": args.packets,
        "runs": own.len(),
        "cycles_per_packet": median,
        "cycles_per_packet_min": own[0],
        "cycles_per_packet_max": own[own.len() - 1],
        "mean_burst": last.mean_burst(),
        "stages": {
            "classify": per(stages.classify),
            "look_up": per(stages.look_up),
            "process": per(stages.process),
            "timers": per(stages.timers),
        },
    });
    if args.json {
        println!("{result}");
    } else {
        println!("{result:#}");
    }
    Ok(())
}
