//! `syncline flood`: bare segments from pools of addresses, and an outcome for each of them.
//!
//! It must never send to a stranger: elsewhere than on links of its own it needs leave by name.

// The flags.
mod args;
// The plan that follows from the flags.
mod plan;
// The plan on stderr, before the first frame.
mod announce;
// Which part of the run all threads are in.
mod phase;
// One port for the flood and its probe.
mod door;
// Legitimate connections beside the flood.
mod probe;
// The control thread's view of them.
mod probe_watch;
// The port and its threads, from start to stop.
mod run;
// The thread of one worker.
mod worker;
// A line a second, and the end.
mod watch;
// The limit of a run.
mod limit;
// The result, as text and as JSON.
mod report;

pub(crate) use args::FloodArgs;

use crate::failure::Failure;
use crate::rig::{self, Needs};

/// The needs of `args`, whatever the machine has.
///
/// # Errors
/// [`Failure::Usage`] for what another command line avoids.
pub(crate) fn needs(args: &FloodArgs) -> Result<Needs, Failure> {
    let setup = plan::Setup::new(args)?;
    args.link.check(&setup.spec)?;
    Ok(Needs {
        memory_mb: rig::memory_mb(&args.link, (&setup.port.pools, 1)),
        idle: setup.idle,
        targets: setup.targets.iter().map(|target| target.0).collect(),
        spec: setup.spec,
    })
}

/// Floods as `args` say, and prints what came back.
///
/// # Errors
/// [`Failure`]: wrong usage, something that could not be had, a gate that did not hold, or a signal.
pub(crate) fn run(args: &FloodArgs) -> Result<(), Failure> {
    let stop = crate::stop::Stop::on_signals()?;
    args.output.prepare()?;
    let spec = args.link.spec()?;
    if args.link.wants_own_namespace() {
        args.link.check(&spec)?;
        rig::namespace::enter_own()?;
    }
    let setup = plan::Setup::new(args)?;
    rig::check_flags(&args.link, &setup.spec)?;
    let report = run::run(args, &setup, &stop)?;
    args.output.print(&report)?;
    report.gate()
}
