//! The plan of a run on stderr, before its first frame.
//!
//! It must never leave out a default that changes what leaves the NIC.

use super::args::FloodArgs;
use super::plan::Setup;
use crate::console;
use crate::rig::{OrderName, Reach};
use crate::traffic::{FloodPlan, Observable, SynOptions};
use diagnose::counted;

/// Prints the plan.
pub(super) fn plan(args: &FloodArgs, setup: &Setup, plan: &FloodPlan) {
    console::log(format_args!(
        "{} to {}: {} frames, {} options, TTL {}, window {}, {} for {:?}, {}",
        args.flags.name(),
        targets(setup),
        args.flags.name(),
        options_name(args.syn_options),
        args.ttl,
        args.window,
        rate(setup),
        args.duration,
        counted(setup.workers, "worker")
    ));
    console::log(format_args!(
        "from {}; {}; SYN-ACKs are answered with: {}",
        sources(args, setup),
        tuples(args, plan),
        args.answer.name()
    ));
    if setup.reach == Reach::Elsewhere {
        console::log(
            "this link was not made by this run: the targets are those that --allow-target names",
        );
    }
}

/// The targets, in short.
pub(super) fn targets(setup: &Setup) -> String {
    let name = |&(address, port): &(std::net::IpAddr, u16)| {
        std::net::SocketAddr::new(address, port).to_string()
    };
    match setup.targets.as_slice() {
        [one] => name(one),
        [first, .., last] => format!(
            "{} targets, {} to {}",
            setup.targets.len(),
            name(first),
            name(last)
        ),
        [] => "no target".to_owned(),
    }
}

/// The rate, in words.
pub(super) fn rate(setup: &Setup) -> String {
    setup.rate_pps.map_or_else(
        || "as many frames as the NIC takes".to_owned(),
        |rate| format!("{} a second", counted(rate, "frame")),
    )
}

/// The sources, in words.
pub(super) fn sources(args: &FloodArgs, setup: &Setup) -> String {
    let names: Vec<String> = args
        .sources
        .iter()
        .map(|prefix| format!("{}/{}", prefix.address, prefix.prefix_len))
        .collect();
    let names = if names.is_empty() {
        "--ip".to_owned()
    } else {
        names.join(", ")
    };
    let seen = match &setup.observable {
        Observable::All => "replies come back",
        Observable::None => {
            "replies can't come back (the sources are neither on our link nor --routed), so silence is not reported"
        }
        Observable::Ranges(_) => "replies come back to some of them",
    };
    format!(
        "{names} ({} × {}), {seen}",
        counted(setup.pool.addresses(), "address"),
        counted(setup.pool.ports(), "port")
    )
}

fn tuples(args: &FloodArgs, plan: &FloodPlan) -> String {
    let order = match args.pool.order_name() {
        OrderName::Permuted => "permuted",
        OrderName::Sequential => "in sequence",
    };
    let bytes: u64 = plan.books.iter().map(crate::traffic::Book::bytes).sum();
    let in_flight: u64 = plan.books.iter().map(crate::traffic::Book::capacity).sum();
    format!(
        "{} {order}, shard {}, up to {in_flight} in flight in {} KiB",
        counted(plan.space.len(), "tuple"),
        args.pool.shard(),
        bytes >> 10
    )
}

/// As it stands on the command line.
pub(super) const fn options_name(options: SynOptions) -> &'static str {
    match options {
        SynOptions::Bare => "bare",
        SynOptions::Linux => "linux",
    }
}
