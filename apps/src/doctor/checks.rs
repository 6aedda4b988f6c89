//! The checks of `syncline doctor`, in the order in which a run meets what they look at.
//!
//! A check must never fail: what it can't read it leaves out or says.

mod ask;
mod cpus;
mod kernel;
mod memory;
mod nics;
mod plugins;
mod wires;

use super::finding::Finding;
use super::machine::Machine;
use super::request::Request;

/// A check: adds what it finds.
type Check = fn(&Machine, Option<&Request>, &mut Vec<Finding>);

/// Every finding about the machine, and about what the command needs of it.
pub(super) fn all(machine: &Machine, request: Option<&Request>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for check in [
        cpus::check,
        memory::check,
        plugins::check,
        nics::check,
        wires::check,
        kernel::check,
    ] as [Check; 6]
    {
        check(machine, request, &mut findings);
    }
    findings
}
