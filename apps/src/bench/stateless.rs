//! `bench rst` and `bench syn`: a generator of SYNs on the near side, its replies verified.
//!
//! It must never print a result twice.

use std::net::IpAddr;
use std::thread::{Scope, ScopedJoinHandle};

use dpdk::{DpdkNic, Eal, QueuePair};
use stack::nic::Nic as _;

use super::args::{BenchArgs, Peer};
use super::conduct::{self, GeneratorLine, NearSide, StatelessRun};
use super::endpoint;
use super::report::{Report, Sides};
use super::{memif, plan, ring};
use crate::clock::Clock;
use crate::failure::Failure;
use crate::mailbox;
use crate::secrets;
use crate::stop::Stop;
use crate::threads::join;
use crate::traffic::{Expect, Generator, Rate, StrictExchange, StrictPlan, Target};

/// Name on the link of a peer that was started separately; memif delivers everything to every peer.
const EXTERNAL_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];

/// Runs on the link of `args` and prints the result.
///
/// # Errors
/// [`Failure`] when the run could not be made.
pub(super) fn run(args: &BenchArgs, stop: &Stop) -> Result<Report, Failure> {
    let near = |near: NearSide<'_>| generate(args, stop, near);
    let report = |(course, dumps): &(StatelessRun, Vec<String>), sides: &Sides| {
        let sides = Sides {
            dumps: dumps.clone(),
            ..sides.clone()
        };
        Report::new(args, course, sides)
    };
    let (result, sides) = if args.is_ring() {
        ring::run(args, endpoint::without_app, near)?
    } else {
        memif::run(args, stop, near, |result, sides| {
            if args.peer == Peer::External {
                report(result, sides).print(&args.output)?;
            }
            Ok(())
        })?
    };
    let report = report(&result, &sides);
    if args.peer == Peer::Endpoint {
        report.print(&args.output)?;
    }
    Ok(report)
}

/// The near side: starts the generator, conducts the run, stops it.
fn generate(
    args: &BenchArgs,
    stop: &Stop,
    near: NearSide<'_>,
) -> Result<(StatelessRun, Vec<String>), Failure> {
    let line = GeneratorLine::new();
    let mac = near.endpoint.map_or(EXTERNAL_MAC, |ready| ready.mac);
    std::thread::scope(|scope| {
        let to = (near.queues, mac);
        let generator = spawn_generator(scope, args, near.eal, near.cpu, to, (&line, near.clock));
        let course = conduct::conduct(args, &line, near.far, near.clock, stop);
        line.orders.give(mailbox::Order::Stop);
        // Why a thread broke off explains why the other side got no answer.
        let dumps = join(generator)?;
        Ok((course?, dumps))
    })
}

/// The generator on its CPU, draining until it is to run.
fn spawn_generator<'scope>(
    scope: &'scope Scope<'scope, '_>,
    args: &'scope BenchArgs,
    eal: &'scope Eal,
    cpu: usize,
    (queues, endpoint_mac): (QueuePair, [u8; 6]),
    (line, clock): (&'scope GeneratorLine, Clock),
) -> ScopedJoinHandle<'scope, Result<Vec<String>, Failure>> {
    scope.spawn(move || {
        let _lcore = eal.register_thread(Some(cpu))?;
        let generator = generator(args, DpdkNic::new(queues), endpoint_mac, clock)?;
        Ok(conduct::generate(generator, line))
    })
}

/// A generator for this run on `nic`.
///
/// # Errors
/// [`Failure::Run`] without randomness.
fn generator(
    args: &BenchArgs,
    nic: DpdkNic,
    endpoint_mac: [u8; 6],
    clock: Clock,
) -> Result<Generator<DpdkNic, StrictExchange>, Failure> {
    let (address, port): (IpAddr, u16) = plan::target(args);
    let plan = StrictPlan {
        target: Target {
            mac: endpoint_mac,
            address,
            port,
        },
        source_mac: nic.mac(),
        options: args.syn_options(),
        expect: args.expected(),
        retire: args.is_stateful(),
        window: (args.expected() != Expect::Sink).then(|| args.syn_window()),
        hz: clock.hz(),
        seed: secrets::seed()?,
    };
    let exchange = StrictExchange::new(&plan).map_err(|error| Failure::Run(error.to_string()))?;
    let rate = Rate::new(args.rate, clock.hz(), 1);
    Ok(Generator::new(nic, exchange, rate))
}
