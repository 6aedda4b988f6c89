//! `syncline load`: connections and requests to any target, at a given rate or as fast as replies come, with honest times and an
//! account of every operation.
//!
//! It must never call a run good whose figures are about the generator, and never end without its result.

// The flags.
mod args;
// Failed connections as a capture.
mod failures;
// The instruments that see the frames of a worker.
mod instruments;
// Clients and servers at both sides of a device.
mod arms;
// The gates.
mod gate;
// The tests of RFC 9411.
mod profile;
// How profiles change the flags.
mod profile_flags;
// A second of the run.
mod second;
// One trial of several.
mod trial;
// Which rate is tried next.
mod search;
// The rate over time.
mod rate;
// Targets as users write them.
mod target;
// The plan of the run: requests, tables, pools. Everything that can be refused without touching a NIC.
mod plan;
// Threads, and what they say.
mod worker;
// Our own server at the other end of an in-memory link.
mod own_server;
// Phases, and a line a second.
mod watch;
// The port and its threads, from start to stop.
mod run;
// The limit of a run.
mod limit;
// The result, as text and as JSON.
mod report;

pub(crate) use args::LoadArgs;
pub(crate) use worker::{LoadLine, LoadPhase, LoadPhases, LoadProgress, LoadTotals, LoadWorker};

use std::net::SocketAddr;

use crate::failure::Failure;
use crate::rig::{self, Needs, namespace};
use crate::stop::Stop;

/// The needs of `args`, whatever the machine has.
///
/// # Errors
/// [`Failure::Usage`] for what another command line avoids, [`Failure::Run`] when a file can't be read.
pub(crate) fn needs(args: &LoadArgs) -> Result<Needs, Failure> {
    let applied = effective(args)?;
    let args = applied.as_ref().unwrap_or(args);
    let plan = plan::RunPlan::of(args)?;
    let ports = if plan.server.is_some() { 2 } else { 1 };
    let targets = plan.plans.first().map_or(&[][..], |first| &first.targets);
    Ok(Needs {
        memory_mb: rig::memory_mb(&args.link, (&plan.port.pools, ports)),
        idle: plan.idle,
        targets: targets.iter().map(SocketAddr::ip).collect(),
        spec: plan.spec,
    })
}

/// The flags as a profile changes them; `None` without one.
fn effective(args: &LoadArgs) -> Result<Option<LoadArgs>, Failure> {
    let profile = args.profile;
    profile.map(|profile| profile.apply(args)).transpose()
}

/// Loads as `args` say, and prints what came of it.
///
/// # Errors
/// [`Failure`]: wrong usage, something that could not be had, or a result that is not good.
pub(crate) fn run(args: &LoadArgs) -> Result<(), Failure> {
    let stop = Stop::in_steps()?;
    args.output.prepare()?;
    if args.link.wants_own_namespace() {
        args.link.check(&args.link.spec()?)?;
        namespace::enter_own()?;
    }
    let applied = effective(args)?;
    let args = applied.as_ref().unwrap_or(args);
    let plan = plan::RunPlan::new(args)?;
    let report = run::run(args, &plan, &stop)?;
    args.output.print(&report)?;
    report.gate()
}
