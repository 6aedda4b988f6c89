//! `syncline`: one binary, one folder or file per command. Modules stand in the order in which a run needs them.
#![forbid(unsafe_code)]

// A worker's connections and queues are large blocks that are read at random.
#[cfg(feature = "dpdk")]
#[global_allocator]
static ALLOCATOR: dpdk::HugePageAllocator = dpdk::HugePageAllocator;

// The command line: every command with its flags.
mod cli;
// Flags from a file.
#[cfg(feature = "dpdk")]
mod config_file;
// Numbers with SI suffixes, rates and durations, as flags take them.
mod units;
// Parts that this command shares with other programs on a NIC: addresses, signals, clock, mailboxes, secrets.
#[cfg(feature = "dpdk")]
use syncline::addresses;
use syncline::stop;
#[cfg(feature = "dpdk")]
use syncline::{clock, mailbox, secrets};
// The end of a command: an exit code, and one line with cause and fix.
mod failure;
// stdout is results, stderr is logs.
mod console;
// A bad link, as flags ask for it and reports tell of it.
mod fault;
// Which CPUs the threads of a run get.
#[cfg(feature = "dpdk")]
mod threads;
// Where a result comes from: versions and command line.
#[cfg(feature = "dpdk")]
mod provenance;
// The parts of every run on a NIC, from the flags to polling threads.
#[cfg(feature = "dpdk")]
mod rig;
// The one traffic generator: SYNs out, replies verified.
#[cfg(feature = "dpdk")]
mod traffic;
// `syncline bench`.
#[cfg(feature = "dpdk")]
mod bench;
// `syncline serve`.
#[cfg(feature = "dpdk")]
mod serve;
// The envelope of results.
#[cfg(feature = "dpdk")]
mod report;
// `syncline load`.
#[cfg(feature = "dpdk")]
mod load;
// `syncline doctor`.
#[cfg(feature = "dpdk")]
mod doctor;
// `syncline lab`.
mod lab;
// `syncline diagnose`.
// The kernel's TCP sockets, by netlink.
mod sock_diag;

mod diagnose;
// `syncline report`.
mod page;
// `syncline import-dperf`.
mod import_dperf;
// `syncline completions` and `syncline man`.
mod packaging;
// `syncline flood`.
#[cfg(feature = "dpdk")]
mod flood;

use std::process::ExitCode;

use clap::CommandFactory as _;
#[cfg(not(feature = "dpdk"))]
use clap::Parser as _;

use cli::{Cli, Command};

fn main() -> ExitCode {
    #[cfg(feature = "dpdk")]
    let command_line = match config_file::command_line() {
        Ok(Some(command_line)) => command_line,
        Ok(None) => return ExitCode::SUCCESS,
        Err(failure) => return console::failure(&failure),
    };
    #[cfg(not(feature = "dpdk"))]
    let command_line = Cli::parse();
    let outcome = match command_line.command {
        #[cfg(feature = "dpdk")]
        Command::Bench(args) => bench::run(&args),
        #[cfg(not(feature = "dpdk"))]
        Command::Bench(left_out) => Err(left_out.failure("bench")),
        #[cfg(feature = "dpdk")]
        Command::Serve(args) => serve::run(&args),
        #[cfg(not(feature = "dpdk"))]
        Command::Serve(left_out) => Err(left_out.failure("serve")),
        #[cfg(feature = "dpdk")]
        Command::Load(args) => load::run(&args),
        #[cfg(not(feature = "dpdk"))]
        Command::Load(left_out) => Err(left_out.failure("load")),
        #[cfg(feature = "dpdk")]
        Command::Doctor(args) => doctor::run(&args),
        #[cfg(not(feature = "dpdk"))]
        Command::Doctor(left_out) => Err(left_out.failure("doctor")),
        #[cfg(feature = "dpdk")]
        Command::Keep(args) => return rig::keep(&args),
        Command::Lab(args) => lab::run(&args),
        Command::Diagnose(args) => diagnose::run(&args),
        Command::Report(args) => page::run(&args),
        Command::ImportDperf(args) => import_dperf::run(&args),
        Command::Completions(args) => packaging::completions(args, Cli::command()),
        Command::Man(args) => packaging::man(&args, Cli::command()),
        #[cfg(feature = "dpdk")]
        Command::Flood(args) => flood::run(&args),
        #[cfg(not(feature = "dpdk"))]
        Command::Flood(left_out) => Err(left_out.failure("flood")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => console::failure(&failure),
    }
}
