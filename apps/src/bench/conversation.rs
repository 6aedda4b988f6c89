//! `bench connect` and `bench request`: the client of `load` on one side of the link, the http of `serve` or the least server that can
//! answer on the other, each on its own core.
//!
//! It must never print a rate that holds a connection or reply that was not verified.

// The configuration of both stacks.
mod plan;
// The client's progress, as a benchmark counts it.
mod progress;
// Set-up, warm-up, measurement, drain.
mod course;
// The result, as text and as JSON.
mod report;

use dpdk::QueuePair;
use workload::Side;

use super::args::BenchArgs;
use super::conduct::NearSide;
use super::endpoint::{Endpoint, Ready, ReportsProgress};
use super::{memif, ring};
use crate::clock::Clock;
use crate::failure::Failure;
use crate::serve::{Services, WallClock};
use crate::stop::Stop;

use report::Report;

/// Runs on the link of `args` and prints the result.
///
/// # Errors
/// [`Failure`] when the run could not be made.
pub(super) fn run(args: &BenchArgs, stop: &Stop) -> Result<Report, Failure> {
    let near = |near: NearSide<'_>| course::run(args, stop, near);
    let (course, sides) = match (args.is_ring(), args.is_served()) {
        (true, true) => ring::run(args, endpoint, near)?,
        (true, false) => ring::run(args, least_endpoint, near)?,
        (false, _) => memif::run(args, stop, near, |_, _| Ok(()))?,
    };
    let report = Report::new(args, course, sides);
    args.output.print(&report)?;
    Ok(report)
}

/// The server of `connect`: a worker with the services of `serve`.
///
/// # Errors
/// [`Failure::Run`] when there is not enough memory.
pub(super) fn endpoint(
    queues: QueuePair,
    args: &BenchArgs,
    memory_line: &str,
    clock: Clock,
) -> Result<(Endpoint<Services>, Ready), Failure> {
    let services = plan::services(args, WallClock::new(clock.at(dpdk::cycles())))?;
    built(services, (queues, args, memory_line, clock))
}

/// The least server: of `--shape plain`, which answers a turn late as no service does, and of `request`, where what an echo that copies
/// nothing costs would be most of what is measured.
///
/// # Errors
/// As [`endpoint`].
pub(super) fn least_endpoint(
    queues: QueuePair,
    args: &BenchArgs,
    memory_line: &str,
    clock: Clock,
) -> Result<(Endpoint<Side>, Ready), Failure> {
    built(plan::least_server(args), (queues, args, memory_line, clock))
}

fn built<A: ReportsProgress>(
    app: A,
    (queues, args, memory_line, clock): (QueuePair, &BenchArgs, &str, Clock),
) -> Result<(Endpoint<A>, Ready), Failure> {
    let config = plan::server_config(args);
    let (endpoint, mut ready) = Endpoint::new(queues, app, config, memory_line, clock)?;
    ready.room = plan::room(args);
    Ok((endpoint, ready))
}
