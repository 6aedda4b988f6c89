//! Situations that random worlds meet too rarely or can't judge exactly: each mechanism seen working, by its effect.
//!
//! It must never accept an end without looking at how it came: the arrows taken, the frames on the wire, the time that
//! it took.
#![forbid(unsafe_code)]

#[path = "sim/bottleneck.rs"]
mod bottleneck;
#[path = "sim_scenarios/closing.rs"]
mod closing;
#[path = "sim_scenarios/loss.rs"]
mod loss;
#[path = "sim_scenarios/numbers.rs"]
mod numbers;
#[path = "sim_scenarios/opening.rs"]
mod opening;
#[path = "sim_scenarios/outages.rs"]
mod outages;
#[path = "sim_scenarios/resources.rs"]
mod resources;
#[path = "sim/show.rs"]
mod show;
#[path = "sim_scenarios/window.rs"]
mod window;
#[path = "sim/without.rs"]
mod without;

use std::time::Duration;

use stack::conn::Kind;
use stack::sim::host::HostId;
use stack::sim::inspect::Tcp;
use stack::sim::trace::Crossing;
use stack::tcp::env::TcpCounters;

use show::Show;

const SECOND: Duration = Duration::from_secs(1);
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// TCP's counters of a host's first worker.
fn tcp(show: &Show, host: HostId) -> &TcpCounters {
    show.world
        .workers(host)
        .next()
        .expect("a worker")
        .tcp_counters()
}

/// The flags of a TCP segment.
fn flags(crossing: &Crossing) -> Option<u8> {
    Some(Tcp::of(&crossing.bytes)?.flags())
}

/// Segments of a recorded run with all these flags.
fn with_flags(show: &Show, wanted: u8) -> Vec<&Crossing> {
    let has = |c: &&Crossing| flags(c).is_some_and(|f| f & wanted == wanted);
    show.world.trace().iter().filter(has).collect()
}

fn records(show: &Show, host: HostId, kind: Kind) -> u32 {
    let worker = show.world.workers(host).next().expect("a worker");
    let records = worker.table().len(kind);
    records.v4 + records.v6
}

#[test]
fn all_of_this_without_the_fast_path() {
    without::run_all_but("all_of_this_without_the_fast_path");
}
