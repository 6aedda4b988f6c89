//! The endpoint of a memif run, in its own process.
//!
//! `bench` runs it in its hidden role. It must never outlive its parent: it ends when its stdin does.

use std::sync::mpsc;

use dpdk::{Eal, EalConfig, Mempool, NicSpec, PortConfig};

use super::args::{BenchArgs, Mode};
use super::child::{EndpointMessage, ORDER_PROGRESS};
use super::conversation;
use super::endpoint::{self, EndpointTotals, MakeEndpoint, Progress, ReportsProgress};
use super::ring::{MEMORY_MB, POOLS, only};
use crate::clock::Clock;
use crate::console;
use crate::failure::Failure;
use crate::mailbox::{Mailbox, Order, Orders};
use crate::rig;
use crate::stop::Stop;
use crate::threads::join;

/// The child's life: opens the server's side of the link, turns the endpoint, answers its parent, stops.
///
/// # Errors
/// [`Failure`] when it can't even report to its parent; otherwise it reports, and ends well.
pub(super) fn run(args: &BenchArgs) -> Result<(), Failure> {
    // A Ctrl-C on the terminal reaches both processes; when to stop is the parent's to say.
    Stop::leave_to_parent()?;
    let outcome = match args.mode {
        Mode::Rst | Mode::Syn => serve(args, endpoint::without_app),
        Mode::Connect | Mode::Request if args.is_served() => serve(args, conversation::endpoint),
        Mode::Connect | Mode::Request => serve(args, conversation::least_endpoint),
    };
    match outcome {
        Ok(()) => Ok(()),
        Err(failure) => tell(&EndpointMessage::Failed {
            usage: matches!(failure, Failure::Usage(_)),
            cause: failure.to_string(),
        }),
    }
}

fn serve<A: ReportsProgress>(args: &BenchArgs, make: MakeEndpoint<A>) -> Result<(), Failure> {
    let eal = Eal::init(&EalConfig {
        memory_mb: MEMORY_MB,
        extra_args: args.eal.clone(),
        ..EalConfig::default()
    })?;
    let spec: NicSpec = args.nic.parse()?;
    let (port, queues) = eal.open(&spec)?.init(&PortConfig {
        pools: POOLS,
        ..PortConfig::default()
    })?;
    let queue = only(queues)?;
    let rx_pool = port.rx_pool().cloned();
    let cpu = args.cpus.as_ref().and_then(|cpus| cpus.get(1).copied());
    let clock = Clock::start(eal.cycles_hz());
    let (orders, mailbox) = (Orders::new(Order::Run), Mailbox::new());
    let (last, pools) = std::thread::scope(|scope| {
        let (orders, mailbox, eal) = (&orders, &mailbox, &eal);
        let (ready_tx, ready_rx) = mpsc::channel();
        let endpoint = scope.spawn(move || {
            let _lcore = eal.register_thread(cpu)?;
            let (endpoint, ready) = make(queue, args, eal.memory_line(), clock)?;
            // The receiver waits for exactly this.
            drop(ready_tx.send(ready));
            Ok(endpoint.run(orders, mailbox))
        });
        let obeyed = match ready_rx.recv() {
            Ok(ready) => tell(&EndpointMessage::Ready(ready)).and_then(|()| obey(mailbox)),
            // The thread's own error says more.
            Err(_) => Ok(()),
        };
        orders.give(Order::Stop);
        let ended = join(endpoint)?;
        obeyed.map(|()| ended)
    })?;
    drop(port);
    let in_use = pools.iter().chain(&rx_pool).map(Mempool::in_use).sum();
    tell(&EndpointMessage::Stopped(EndpointTotals {
        progress: last,
        mbufs_in_use: in_use,
    }))
}

/// Answers orders until it is to stop, or until the parent is gone.
fn obey(mailbox: &Mailbox<Progress>) -> Result<(), Failure> {
    for line in std::io::stdin().lines() {
        match line.as_deref() {
            Ok(ORDER_PROGRESS) => {
                let silent = || Failure::Run(rig::silent("the endpoint's thread"));
                tell(&EndpointMessage::Progress(
                    mailbox.ask().ok_or_else(silent)?.with_memory(),
                ))?;
            }
            _ => break,
        }
    }
    Ok(())
}

fn tell(told: &EndpointMessage) -> Result<(), Failure> {
    let line = serde_json::to_string(told).map_err(|error| Failure::Run(error.to_string()))?;
    console::result(line)
}
