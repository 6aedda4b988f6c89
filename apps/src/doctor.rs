//! `syncline doctor`: what this machine has of what DPDK and a run need, what is missing, and the commands that change it.
//!
//! It must never change the machine or open a NIC: it reads `/proc` and `/sys`, below a root that a test may choose, and lets the
//! kernel ask for the link address of a neighbour.

// The flags, and the command to check.
mod args;
// The findings, as text and as JSON.
mod finding;
// The machine, as its files describe it.
mod machine;
// The needs of the command to check.
mod request;
// The checks, one file for each part of the machine.
mod checks;

pub(crate) use args::DoctorArgs;

use crate::console;
use crate::failure::Failure;

use finding::Report;
use machine::Machine;
use request::Request;

/// Checks the machine, and the command that `args` name, and prints what was found.
///
/// # Errors
/// [`Failure::Usage`] for a command that can't be read, [`Failure::Gate`] when something is missing.
pub(crate) fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let machine = Machine::new(&args.root);
    let request = Request::of(&args.command)?;
    let report = Report::new(request.as_ref(), checks::all(&machine, request.as_ref()));
    console::report(&report, args.json)?;
    report.gate()
}

#[cfg(test)]
mod tests;
