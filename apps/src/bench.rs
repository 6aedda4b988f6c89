//! `syncline bench`: how fast the endpoint answers, every reply verified.
//!
//! It must never print a rate that holds an unverified reply, and never call a run good that lost track of a frame.

// The flags.
mod args;
// The endpoint of a run: addresses, port, policy, room in its table.
mod plan;
// The endpoint's thread, and what it reports.
mod endpoint;
// Warm-up, measurement, drain: the same for every link.
mod conduct;
// `rst` and `syn`: a generator on the near side.
mod stateless;
// `connect` and `request`: a stack on both sides.
mod conversation;
// `--nic ring`: two threads of one process.
mod ring;
// `--nic memif`: two processes; this one is the near side.
mod memif;
// The other process: the endpoint, ordered by its parent.
mod child;
// Its work there.
mod endpoint_process;
// The limit of a run.
mod limit;
// The result, as text and as JSON.
mod report;

pub(crate) use args::BenchArgs;
use args::Mode;

use crate::failure::Failure;

/// Runs the benchmark that `args` describe and prints its result.
///
/// # Errors
/// [`Failure`]: wrong usage, a run that could not be made, or a result that is not good.
pub(crate) fn run(args: &BenchArgs) -> Result<(), Failure> {
    if args.role == Some(args::BenchRole::Endpoint) {
        return endpoint_process::run(args);
    }
    let stop = crate::stop::Stop::on_signals()?;
    args.output.prepare()?;
    args.check()?;
    match args.mode {
        Mode::Rst | Mode::Syn => stateless::run(args, &stop)?.gate(),
        Mode::Connect | Mode::Request => conversation::run(args, &stop)?.gate(),
    }
}
