//! `bench connect` and `bench request`: a stack with an app on both sides of the link, each on its own core.
//!
//! It must never print a rate that holds a connection or reply that was not verified.

// The configuration of both stacks.
mod plan;
// The client's thread.
mod client;
// Set-up, warm-up, measurement, drain.
mod course;
// The result, as text and as JSON.
mod report;

use dpdk::QueuePair;
use workload::Side;

use super::args::BenchArgs;
use super::conduct::NearSide;
use super::endpoint::{Endpoint, Ready};
use super::{memif, ring};
use crate::clock::Clock;
use crate::failure::Failure;
use crate::stop::Stop;

use report::Report;

/// Runs on the link of `args` and prints the result.
///
/// # Errors
/// [`Failure`] when the run could not be made.
pub(super) fn run(args: &BenchArgs, stop: &Stop) -> Result<Report, Failure> {
    let near = |near: NearSide<'_>| course::run(args, stop, near);
    let (course, sides) = if args.is_ring() {
        ring::run(args, endpoint, near)?
    } else {
        memif::run(args, stop, near, |_, _| Ok(()))?
    };
    let report = Report::new(args, course, sides);
    args.output.print(&report)?;
    Ok(report)
}

/// The server: a worker with the app of the mode.
///
/// # Errors
/// [`Failure::Run`] when there is not enough memory.
pub(super) fn endpoint(
    queues: QueuePair,
    args: &BenchArgs,
    memory_line: &str,
    clock: Clock,
) -> Result<(Endpoint<Side>, Ready), Failure> {
    let (endpoint, mut ready) = Endpoint::new(
        queues,
        plan::server_app(args),
        plan::server_config(args),
        memory_line,
        clock,
    )?;
    ready.room = plan::room(args);
    Ok((endpoint, ready))
}
