//! `--nic ring`: generator or client and endpoint as two threads of this process, joined by DPDK's in-memory link.
//!
//! It must never leave a thread polling: both are joined on every way out.

use std::sync::mpsc;

use dpdk::{Eal, EalConfig, Mempool, PoolSizes, QueuePair, RingConfig};

use super::args::BenchArgs;
use super::conduct::{NearSide, Watch};
use super::endpoint::{EndpointTotals, MakeEndpoint, Progress, ReportsProgress};
use super::report::Sides;
use crate::clock::Clock;
use crate::failure::Failure;
use crate::mailbox::{Mailbox, Order, Orders};
use crate::rig;
use crate::threads::{self, join};

/// Buffers of each side: two rings at their longest useful size, the caches, and some bursts.
pub(super) const POOLS: PoolSizes = PoolSizes {
    rx_frames: 8191,
    control_frames: 8191,
    data_frames: 511,
    cache_frames: 256,
};
/// Memory for them, in MB.
pub(super) const MEMORY_MB: u64 = 256;

/// Data shared by the control thread and the endpoint's thread.
struct EndpointLine {
    orders: Orders,
    mailbox: Mailbox<Progress>,
}

impl Watch for &EndpointLine {
    fn progress(&mut self) -> Result<Option<Progress>, Failure> {
        let silent = || Failure::Run(rig::silent("the endpoint"));
        self.mailbox
            .ask()
            .map(|progress| Some(progress.with_memory()))
            .ok_or_else(silent)
    }
}

/// Makes the link and an endpoint on its far side, runs `near` on the near side, and closes everything.
///
/// # Errors
/// [`Failure`] when DPDK, a CPU or memory can't be had, or a side does not answer; or what `near` ends with.
pub(super) fn run<A: ReportsProgress, R>(
    args: &BenchArgs,
    make: MakeEndpoint<A>,
    near: impl FnOnce(NearSide<'_>) -> Result<R, Failure>,
) -> Result<(R, Sides), Failure> {
    let eal = Eal::init(&EalConfig {
        memory_mb: MEMORY_MB,
        extra_args: args.eal.clone(),
        ..EalConfig::default()
    })?;
    let cpus = threads::assign(&["generator", "endpoint"], args.cpus.as_deref(), eal.cpus())?;
    let ring = RingConfig {
        ring_frames: args.ring_frames,
        pools: POOLS,
        ..RingConfig::default()
    };
    let ((near_port, near_queues), (far_port, far_queues)) = dpdk::ring_pair(&eal, &ring)?;
    let (near_queue, far_queue) = (only(near_queues)?, only(far_queues)?);
    let link = near_port.caps().link.clone();
    let generator_pools = [near_queue.control.clone(), near_queue.data.clone()];
    let clock = Clock::start(eal.cycles_hz());
    let far_line = EndpointLine {
        orders: Orders::new(Order::Run),
        mailbox: Mailbox::new(),
    };
    let (result, ready, last, endpoint_pools) = std::thread::scope(|scope| {
        let (ready_tx, ready_rx) = mpsc::channel();
        let (far_line, eal) = (&far_line, &eal);
        let endpoint_cpu = cpus[1];
        let endpoint = scope.spawn(move || {
            let _lcore = eal.register_thread(Some(endpoint_cpu))?;
            let (endpoint, ready) = make(far_queue, args, eal.memory_line(), clock)?;
            // The receiver waits for exactly this.
            drop(ready_tx.send(ready));
            Ok(endpoint.run(&far_line.orders, &far_line.mailbox))
        });
        let Ok(ready) = ready_rx.recv() else {
            join(endpoint)?;
            return Err(Failure::Run("the endpoint ended before the run did".into()));
        };
        let result = near(NearSide {
            eal,
            queues: near_queue,
            cpu: cpus[0],
            clock,
            endpoint: Some(&ready),
            far: &mut &*far_line,
        });
        far_line.orders.give(Order::Stop);
        let (last, pools) = join(endpoint)?;
        Ok((result?, ready, last, pools))
    })?;
    // The rings are emptied when both ports are closed; only then is every buffer back.
    drop((near_port, far_port));
    let in_use = |pools: &[Mempool]| pools.iter().map(Mempool::in_use).sum();
    let sides = Sides {
        link,
        ready: Some(ready),
        stopped: Some(EndpointTotals {
            progress: last,
            mbufs_in_use: in_use(&endpoint_pools),
        }),
        generator_mbufs_in_use: in_use(&generator_pools),
        generator_memory: eal.memory_line().to_owned(),
        dpdk: eal.version(),
        cpus,
        dumps: Vec::new(),
    };
    Ok((result, sides))
}

/// The one queue pair that was asked for.
pub(super) fn only(queues: Vec<QueuePair>) -> Result<QueuePair, Failure> {
    let none = || Failure::Run("the link has no queue: that is a bug, please report it".into());
    queues.into_iter().next().ok_or_else(none)
}
