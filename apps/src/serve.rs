//! `syncline serve`: a TCP endpoint on a NIC or a tap, until a signal (Ctrl-C, SIGTERM, SIGHUP) or `--duration`.
//!
//! It must never take an address or an interface that the kernel needs, and never end without saying what was counted.
//!
//! Threads: one per worker, which polls and owns everything that it writes; the control thread (this one), which asks
//! each worker for a copy of its counters once a second ([`crate::mailbox`]: the worker looks at one word that no thread
//! writes between the questions, and copies between two bursts); with `--pcap` one that writes the file, fed by a bounded
//! lock-free queue of buffers that are made at start.

// The flags.
mod args;
// The syntax of `--listen`.
mod listen;
// The plan of the endpoint: addresses, listeners, limits, queues. Everything that can be refused without touching a NIC.
mod plan;
// The services behind the open ports.
mod services;
// The time of day, as services write it.
mod wall;
// The worker's thread, and what it reports.
mod worker;
// `--pcap`: every frame into a file, without waiting for the disk.
mod capture;
// The port and its threads, from start to stop.
mod run;
// Conclusions from counters about the link, in words.
mod notes;
// A line a second.
mod watch;
// The results of the workers.
mod run_outcome;
// Services finish, workers drain.
mod ending;
// The result, as text and as JSON.
mod report;

pub(crate) use args::ServeArgs;
pub(crate) use listen::{Listen, listens};
pub(crate) use services::{Services, SiteStats};
pub(crate) use wall::WallClock;

use crate::failure::Failure;
use crate::rig::{self, Needs, namespace};

/// The needs of `args`, whatever the machine has.
///
/// # Errors
/// [`Failure::Usage`] for what another command line avoids.
pub(crate) fn needs(args: &ServeArgs) -> Result<Needs, Failure> {
    let plan = plan::Plan::of(args)?;
    Ok(Needs {
        memory_mb: rig::memory_mb(&args.link, (&plan.port.pools, 1)),
        idle: plan.idle,
        spec: plan.spec,
        targets: Vec::new(),
    })
}

/// Serves as `args` say, and prints what was counted.
///
/// # Errors
/// [`Failure`]: wrong usage, something that could not be had, or a result that is not good.
pub(crate) fn run(args: &ServeArgs) -> Result<(), Failure> {
    let stop = crate::stop::Stop::in_steps()?;
    args.output.prepare()?;
    if args.link.wants_own_namespace() {
        args.link.check(&args.link.spec()?)?;
        namespace::enter_own()?;
    }
    let plan = plan::Plan::new(args)?;
    let report = run::run(args, &plan, &stop)?;
    args.output.print(&report)?;
    report.gate()
}
