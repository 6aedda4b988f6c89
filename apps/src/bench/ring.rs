//! `--nic ring`: generator and endpoint as two threads of this process, joined by DPDK's in-memory link.
//!
//! Called by: `bench`. It must never leave a thread polling: both are joined on every way out.

use std::sync::mpsc;
use std::thread::{Scope, ScopedJoinHandle};

use dpdk::{DpdkNic, Eal, EalConfig, Mempool, PoolSizes, QueuePair, RingConfig};

use super::args::Args;
use super::conduct::{self, Course, Line, Watch};
use super::endpoint::{Endpoint, Progress, Ready, Stopped};
use super::memif::generator;
use super::report::{Report, Sides};
use crate::clock::Clock;
use crate::failure::Failure;
use crate::mailbox::{Mailbox, Order, Orders};
use crate::stop::Stop;
use crate::threads;

/// Buffers of each side: two rings at their longest useful size, the caches, and some bursts.
pub(super) const POOLS: PoolSizes = PoolSizes {
    rx_frames: 8191,
    control_frames: 8191,
    data_frames: 511,
    cache_frames: 256,
};
/// Memory for them, in MB.
pub(super) const MEMORY_MB: u64 = 256;

/// What the control thread and the endpoint's thread share.
struct EndpointLine {
    orders: Orders,
    mailbox: Mailbox<Progress>,
}

impl Watch for &EndpointLine {
    fn progress(&mut self) -> Result<Option<Progress>, Failure> {
        let silent = || Failure::Run("the endpoint does not answer; is its CPU taken?".into());
        self.mailbox.ask().map(Some).ok_or_else(silent)
    }
}

/// What comes out of the two threads.
struct Ended {
    course: Course,
    ready: Ready,
    dumps: Vec<String>,
    last: Progress,
    endpoint_pools: [Mempool; 2],
}

/// Runs on the in-memory link and prints the result.
///
/// # Errors
/// [`Failure`] when DPDK, a CPU or memory can't be had, or a side does not answer.
pub(super) fn run(args: &Args, stop: &Stop) -> Result<Report, Failure> {
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
    let ((near, near_queues), (far, far_queues)) = dpdk::ring_pair(&eal, &ring)?;
    let (near_queue, far_queue) = (only(near_queues)?, only(far_queues)?);
    let link = near.caps().link.clone();
    let generator_pools = [near_queue.control.clone(), near_queue.data.clone()];
    let ended = run_threads(args, stop, &eal, [cpus[0], cpus[1]], near_queue, far_queue)?;
    // The rings are emptied when both ports are closed; only then is every buffer back.
    drop((near, far));
    let in_use = |pools: &[Mempool]| pools.iter().map(Mempool::in_use).sum();
    let stopped = Stopped {
        progress: ended.last,
        mbufs_in_use: in_use(&ended.endpoint_pools),
    };
    let report = Report::new(
        args,
        &ended.course,
        Sides {
            link,
            ready: Some(ended.ready),
            stopped: Some(stopped),
            generator_mbufs_in_use: in_use(&generator_pools),
            generator_memory: eal.memory_line().to_owned(),
            dpdk: eal.version(),
            cpus,
            dumps: ended.dumps,
        },
    );
    report.print(args.json)?;
    Ok(report)
}

/// The one queue pair that was asked for.
pub(super) fn only(queues: Vec<QueuePair>) -> Result<QueuePair, Failure> {
    let none = || Failure::Run("the link has no queue; that is a bug, please report it".into());
    queues.into_iter().next().ok_or_else(none)
}

/// Starts both threads, conducts the run, and stops them: the generator first.
fn run_threads(
    args: &Args,
    stop: &Stop,
    eal: &Eal,
    [generator_cpu, endpoint_cpu]: [usize; 2],
    near: QueuePair,
    far: QueuePair,
) -> Result<Ended, Failure> {
    let clock = Clock::start(eal.cycles_hz());
    let line = Line::new();
    let far_line = EndpointLine {
        orders: Orders::new(Order::Run),
        mailbox: Mailbox::new(),
    };
    std::thread::scope(|scope| {
        let (ready_tx, ready_rx) = mpsc::channel();
        let far_line = &far_line;
        let endpoint = scope.spawn(move || {
            let _lcore = eal.register_thread(Some(endpoint_cpu))?;
            let (endpoint, ready) = Endpoint::new(far, args, eal.memory_line(), clock)?;
            // The receiver waits for exactly this.
            drop(ready_tx.send(ready));
            Ok(endpoint.run(&far_line.orders, &far_line.mailbox))
        });
        let Ok(ready) = ready_rx.recv() else {
            join(endpoint)?;
            return Err(Failure::Run(
                "the endpoint ended before it was told to".into(),
            ));
        };
        let mac = ready.mac;
        let generator =
            spawn_generator(scope, args, eal, generator_cpu, (near, mac), (&line, clock));
        let course = conduct::conduct(args, &line, &mut &*far_line, clock, stop);
        line.orders.give(Order::Stop);
        let dumps = join(generator);
        far_line.orders.give(Order::Stop);
        let (last, endpoint_pools) = join(endpoint)?;
        // Why a thread broke off explains why the other side got no answer.
        let dumps = dumps?;
        Ok(Ended {
            course: course?,
            ready,
            dumps,
            last,
            endpoint_pools,
        })
    })
}

/// The generator on its CPU, draining until it is told to run.
pub(super) fn spawn_generator<'scope>(
    scope: &'scope Scope<'scope, '_>,
    args: &'scope Args,
    eal: &'scope Eal,
    cpu: usize,
    (queues, endpoint_mac): (QueuePair, [u8; 6]),
    (line, clock): (&'scope Line, Clock),
) -> ScopedJoinHandle<'scope, Result<Vec<String>, Failure>> {
    scope.spawn(move || {
        let _lcore = eal.register_thread(Some(cpu))?;
        let generator = generator(args, DpdkNic::new(queues), endpoint_mac, clock)?;
        Ok(conduct::generate(generator, line))
    })
}

/// What a thread came to. A thread that panicked is a bug, and says so.
pub(super) fn join<T>(thread: ScopedJoinHandle<'_, Result<T, Failure>>) -> Result<T, Failure> {
    let panicked = |_| Failure::Run("a thread panicked; that is a bug, please report it".into());
    thread.join().map_err(panicked)?
}
