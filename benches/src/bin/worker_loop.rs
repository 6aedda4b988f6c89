//! Cycles per packet of the whole worker on the one-core loop: median of several runs, spread shown, optionally as JSON.
//!
//! It must never print a figure of a run whose replies were wrong.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::process::ExitCode;

use benches::bound::{Bound, Run, Summary};
use benches::spread::Spread;
use benches::worker_loop::{LoopSpec, Scenario, build, check};
use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use stack::worker::Cycles;

/// Cycles per packet of the whole worker on one core, frames in memory, no link.
#[derive(Parser)]
struct Args {
    /// The port that the SYNs meet.
    #[arg(value_enum)]
    scenario: Scenario,
    /// Established connections in the table before the first packet.
    #[arg(long, default_value_t = 0)]
    connections: u32,
    /// Packets per run.
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    packets: u64,
    /// Runs; the median is the result.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u64).range(1..=999))]
    runs: u64,
    /// Frames per receive call.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=64))]
    burst: u64,
    /// In each run, measure the empty table and the bare lookups as well, and print the ratio to their sum.
    #[arg(long)]
    bound: bool,
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

/// The output: the same figures as text and as JSON.
struct Report {
    text: String,
    json: Value,
}

fn run(args: &Args) -> Result<(), String> {
    let spec = LoopSpec {
        scenario: args.scenario,
        connections: args.connections,
        burst: args.burst as usize,
        packets: args.packets.saturating_mul(args.runs),
    };
    let report = if args.bound {
        bound(args, &spec)?
    } else {
        alone(args, &spec)?
    };
    if args.json {
        println!("{}", report.json);
    } else {
        print!("{}", report.text);
    }
    Ok(())
}

/// The worker alone, and where its cycles went.
fn alone(args: &Args, spec: &LoopSpec) -> Result<Report, String> {
    let mut worker_loop = build(spec).map_err(|error| error.to_string())?;
    let runs: Vec<Cycles> = (0..args.runs)
        .map(|_| worker_loop.run(args.packets))
        .collect();
    check(worker_loop.into_nic().counts())?;
    let own = Spread::new(runs.iter().map(Cycles::own_per_frame).collect()).ok_or("no runs")?;
    let last = *runs.last().ok_or("no runs")?;
    let stages = [
        ("classify", last.stages.classify),
        ("look_up", last.stages.look_up),
        ("process", last.stages.process),
        ("timers", last.stages.timers),
    ]
    .map(|(name, cycles)| (name, cycles as f64 / last.stages.frames.max(1) as f64));
    let mut report = heading(args);
    line(&mut report, "cycles_per_packet", &own, 1);
    report.json["mean_burst"] = json!(last.mean_burst());
    let mut by_stage = serde_json::Map::new();
    for (name, cycles) in stages {
        // Writing into a String can't fail.
        let _ = writeln!(report.text, "  {name:<18} {cycles:.1}");
        by_stage.insert(name.into(), json!(cycles));
    }
    report.json["stages"] = Value::Object(by_stage);
    Ok(report)
}

/// The worker beside the least that it could cost.
fn bound(args: &Args, spec: &LoopSpec) -> Result<Report, String> {
    let mut both = Bound::new(spec).map_err(|error| error.to_string())?;
    let runs: Vec<Run> = (0..args.runs).map(|_| both.run(args.packets)).collect();
    for counts in both.into_counts() {
        check(counts)?;
    }
    let summary = Summary::new(&runs).ok_or("no runs")?;
    let mut report = heading(args);
    line(&mut report, "cycles_per_packet", &summary.full, 1);
    line(&mut report, "empty_cycles_per_packet", &summary.empty, 1);
    line(&mut report, "bare_cycles_per_lookup", &summary.bare, 1);
    line(&mut report, "ratio", &summary.ratio, 3);
    Ok(report)
}

/// The measured figures.
fn heading(args: &Args) -> Report {
    let name = args.scenario.to_possible_value();
    let name = name
        .as_ref()
        .map_or("", clap::builder::PossibleValue::get_name);
    let text = format!(
        "{name}, {} connections, bursts of {}: median of {} runs of {} packets (smallest to largest)\n",
        args.connections, args.burst, args.runs, args.packets
    );
    let json = json!({
        "scenario": name,
        "connections": args.connections,
        "burst": args.burst,
        "packets": args.packets,
        "runs": args.runs,
    });
    Report { text, json }
}

/// One figure with its spread, into both.
fn line(report: &mut Report, name: &str, spread: &Spread, digits: usize) {
    // Writing into a String can't fail.
    let _ = writeln!(report.text, "{name:<24} {spread:.digits$}");
    report.json[name] = json!(spread.median());
    report.json[format!("{name}_min")] = json!(spread.min());
    report.json[format!("{name}_max")] = json!(spread.max());
}
