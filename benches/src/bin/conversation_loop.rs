//! Cycles per connection or request of two whole workers on one core: median of several runs, spread shown, optionally as
//! JSON.
//!
//! It must never print a figure of a run in which something failed.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use benches::conversation_loop::{
    Conversation, ConversationRun, ConversationSpec, Family, Party, build,
};
use benches::spread::Spread;
use clap::{Parser, ValueEnum};
use serde_json::json;

/// Cycles per connection or request of two whole workers on one core, joined in memory, no link.
#[derive(Parser)]
struct Args {
    /// The exchange.
    #[arg(value_enum)]
    scenario: Conversation,
    /// The addresses of both workers.
    #[arg(long, value_enum, default_value_t = Family::V4)]
    family: Family,
    /// All frames are in a VLAN.
    #[arg(long)]
    vlan: bool,
    /// request: established connections.
    #[arg(long, default_value_t = 1000)]
    connections: u32,
    /// Connections or requests under way at a time.
    #[arg(long, default_value_t = 256)]
    concurrency: u32,
    /// Connections or requests per run.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    exchanges: u64,
    /// Runs; the median is the result.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u64).range(1..=999))]
    runs: u64,
    /// Frames per receive call.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=64))]
    burst: u64,
    /// Whose turns callgrind collects, and whose packets are printed.
    #[arg(long, value_enum, default_value_t = Party::Server)]
    measured: Party,
    /// Workers of the server, each on a queue of its own; the link steers by Toeplitz's hash.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    workers: u16,
    /// With --measured server: which of them.
    #[arg(long, default_value_t = 0)]
    measured_worker: u16,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Connections or requests until every worker of the server knows its neighbour.
const WARM_UP_EXCHANGES: u64 = 200;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("conversation-loop: {error}\n").as_bytes(),
            );
            ExitCode::FAILURE
        }
    }
}

/// All runs, of one pair of ends.
fn converse(args: &Args) -> Result<Vec<ConversationRun>, String> {
    let mut conversation = build(&ConversationSpec {
        scenario: args.scenario,
        family: args.family,
        is_tagged: args.vlan,
        connections: args.connections,
        concurrency: args.concurrency,
        burst: args.burst as usize,
        measured: args.measured,
        workers: args.workers,
        measured_worker: args.measured_worker,
    })?;
    if args.workers > 1 {
        // The neighbour belongs to worker 0: the others ask it before their first frame leaves.
        conversation.warm_up(WARM_UP_EXCHANGES)?;
    }
    let mut runs: Vec<ConversationRun> = Vec::new();
    for _ in 0..args.runs {
        runs.push(conversation.run(args.exchanges)?);
    }
    conversation.drain()?;
    Ok(runs)
}

fn run(args: &Args) -> Result<(), String> {
    let runs = converse(args)?;
    let spread = |of: fn(&ConversationRun) -> f64| {
        Spread::new(runs.iter().map(of).collect()).ok_or("no runs")
    };
    let server = spread(|run| run.server.own as f64 / run.exchanges as f64)?;
    let client = spread(|run| run.client.own as f64 / run.exchanges as f64)?;
    let last = runs.last().ok_or("no runs")?;
    let measured = |run: &ConversationRun| match args.measured {
        Party::Server => run.server,
        Party::Client => run.client,
    };
    let packets = measured(last).frames as f64 / last.exchanges as f64;
    // By the general path: in a conversation without faults there should be none.
    let server_general: u64 = runs.iter().map(|run| run.server_general).sum();
    let client_general: u64 = runs.iter().map(|run| run.client_general).sum();
    let mean_burst = measured(last).mean_burst();
    let handed_over: u64 = runs.iter().map(|run| run.handed_over).sum();
    let name = named(&args.scenario);
    if args.json {
        println!(
            "{}",
            json!({
                "scenario": name,
                "family": named(&args.family),
                "vlan": args.vlan,
                "connections": args.connections,
                "concurrency": args.concurrency,
                "burst": args.burst,
                "exchanges": args.exchanges,
                "runs": args.runs,
                "mean_burst": mean_burst,
                "packets_per_exchange": packets,
                "packets": runs.iter().map(|run| measured(run).frames).sum::<u64>(),
                "general_segments": server_general,
                "workers": args.workers,
                "handed_over": handed_over,
                "client_general_segments": client_general,
                "cycles_per_exchange": server.median(),
                "cycles_per_exchange_min": server.min(),
                "cycles_per_exchange_max": server.max(),
                "client_cycles_per_exchange": client.median(),
                "client_cycles_per_exchange_min": client.min(),
                "client_cycles_per_exchange_max": client.max(),
            })
        );
        return Ok(());
    }
    println!(
        "{name}, {} connections, {} at a time, bursts of {}: median of {} runs of {} exchanges (smallest to largest)",
        args.connections, args.concurrency, args.burst, args.runs, args.exchanges
    );
    println!("server, cycles an exchange  {server:.1}");
    println!("client, cycles an exchange  {client:.1}");
    println!(
        "by the general path         {server_general} segments at the server, {client_general} at the client"
    );
    if args.workers > 1 {
        println!(
            "handed over                 {handed_over} frames between {} workers",
            args.workers
        );
    }
    println!("packets to that side        {packets:.2} an exchange, mean burst {mean_burst:.1}");
    Ok(())
}

/// A value as it stands on the command line.
fn named(value: &impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}
