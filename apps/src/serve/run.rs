//! The run itself: DPDK, port, threads; the line a second; then everything in the reverse order, and the result.
//!
//! It must never leave a thread polling, and once frames could have come it never ends without a report.

use std::sync::{Arc, mpsc};
use std::thread::ScopedJoinHandle;

use dpdk::{DpdkNic, Eal, EalConfig, Hugepages, Mempool, NicSpec, Port, QueuePair};
use stack::config::Config;
use stack::memory::PageOptions;
use stack::nic::fault::FaultSpec;
use stack::timer::TimerWheel;
use stack::wire::MacAddr;
use stack::wire::vlan::VlanId;
use stack::worker::{RingEnd, Rings, Secrets, Worker};

use super::args::ServeArgs;
use super::capture::Capture;
use super::hang;
use super::idle::{BackOff, Idle};
use super::kernel::{self, KernelSide};
use super::link::{LinkWatch, Offloads};
use super::listen::Listen;
use super::plan::Plan;
use super::report::{NicReport, Report, ReportParts};
use super::run_outcome::{RunOutcome, WorkerLine};
use super::services::Services;
use super::wall::WallClock;
use super::watch;
use super::worker::{Progress, turn_until_told};
use crate::addresses::written;
use crate::clock::Clock;
use crate::console;
use crate::failure::Failure;
use crate::fault::FaultReport;
use crate::mailbox::{Order, Orders};
use crate::stop::Stop;
use crate::threads::{self, join};
use crate::{namespace, secrets};

/// Serves until the end of the run.
///
/// # Errors
/// [`Failure`] when something can't be had. What happens to a worker later is in the report.
pub(super) fn run(args: &ServeArgs, plan: &Plan, stop: &Stop) -> Result<Report, Failure> {
    let link = plan.spec.to_string();
    let capture = args
        .pcap
        .as_ref()
        .map(|path| Capture::start(path, &link, args.mtu))
        .transpose()?;
    let fault = args.fault.map(|flag| flag.spec()).transpose()?;
    stop.unless_asked()?;
    let eal = Eal::init(&EalConfig {
        memory_mb: plan.memory_mb,
        hugepages: args
            .hugepages
            .map_or(Hugepages::Auto, |mb| Hugepages::Require { mb }),
        nics: vec![plan.spec.clone()],
        extra_args: args.eal.clone(),
    })?;
    let cpus = cpus(args, plan, &eal)?;
    stop.unless_asked()?;
    let (port, queues) = eal.open(&plan.spec)?.init(&plan.port)?;
    let mac = queues.first().map(|queue| queue.mac).unwrap_or_default();
    let pools = pools(&port, &queues);
    dpdk::require_addresses("connections", plan.worker_bytes)?;
    configure_kernel_side(args, plan)?;
    stop.unless_asked()?;
    let mut link_watch = LinkWatch::new(&port);
    announce(args, plan, &eal, &port, (mac, &link_watch));
    let finished = |watched: RunOutcome, nic, mbufs_in_use, pcap| {
        Report::new(ReportParts {
            link: link.clone(),
            mac,
            memory: eal.memory_line().to_owned(),
            dpdk: eal.version(),
            fault: fault.map(|spec| {
                let queues = watched.workers.iter().filter_map(|worker| worker.faults);
                FaultReport::new(&spec, queues)
            }),
            listens: &plan.listens,
            watched,
            cpus: cpus.clone(),
            nic,
            mbufs_in_use,
            pcap,
        })
    };
    let made = OpenedNic {
        eal: &eal,
        cpus: &cpus,
        capture: capture.as_ref(),
        fault: fault.as_ref(),
        unfinished: &|watched| {
            let pcap = capture.as_ref().map(Capture::so_far);
            let nic = NicReport::new(&port, None, LinkWatch::new(&port).report());
            finished(watched, nic, 0, pcap)
        },
    };
    let mut ended = run_workers(args, plan, queues, &made, (&mut link_watch, stop))?;
    link_watch.look();
    let link_report = link_watch.report();
    let nic = NicReport::new(&port, ended.frames_taken(), link_report);
    ended.faults.extend(nic.fault());
    // What lies in its rings comes back when the port is closed; only then is every buffer back.
    drop(port);
    let in_use = pools.iter().map(Mempool::in_use).sum();
    Ok(finished(ended, nic, in_use, capture.map(Capture::end)))
}

/// What is there before the workers start.
struct OpenedNic<'a> {
    eal: &'a Eal,
    cpus: &'a [Option<usize>],
    capture: Option<&'a Capture>,
    fault: Option<&'a FaultSpec>,
    /// The report of a run whose port can't be closed.
    unfinished: &'a dyn Fn(RunOutcome) -> Report,
}

/// The CPU of each worker, or `None` where the kernel is to choose.
fn cpus(args: &ServeArgs, plan: &Plan, eal: &Eal) -> Result<Vec<Option<usize>>, Failure> {
    // A worker that sleeps shares its CPU with the kernel that feeds it.
    if args.cpus.is_none() && plan.idle == Idle::Sleep {
        return Ok(vec![None; plan.workers.into()]);
    }
    let names: Vec<String> = (0..plan.workers).map(|n| format!("worker{n}")).collect();
    let roles: Vec<&str> = names.iter().map(String::as_str).collect();
    let cpus = threads::assign(&roles, args.cpus.as_deref(), eal.cpus())?;
    Ok(cpus.into_iter().map(Some).collect())
}

/// All pools of the port; the queues share them.
fn pools(port: &Port, queues: &[QueuePair]) -> Vec<Mempool> {
    let of_queues = queues
        .first()
        .map(|queue| [queue.control.clone(), queue.data.clone()]);
    let rx = port.rx_pool().cloned();
    of_queues.into_iter().flatten().chain(rx).collect()
}

fn configure_kernel_side(args: &ServeArgs, plan: &Plan) -> Result<(), Failure> {
    let NicSpec::Tap { name, .. } = &plan.spec else {
        return Ok(());
    };
    if args.unshare {
        kernel::bring_loopback_up()?;
    }
    let side = KernelSide {
        tap: name,
        // The same in all workers' configurations.
        vlan: plan
            .configs
            .first()
            .map(|config| config.locals.vlans().first())
            .unwrap_or_default(),
        ours: &args.ip,
        prefixes: &args.prefix,
    };
    if !args.tap_up.is_empty() {
        return side.bring_up(&args.tap_up);
    }
    console::log(
        "the kernel's side of the tap is still down; set it up with (or give --tap-up ADDR/LEN):",
    );
    for command in side.commands(&args.gateway) {
        console::log(format_args!("  {command}"));
    }
    Ok(())
}

/// What is there now, on stderr.
fn announce(
    args: &ServeArgs,
    plan: &Plan,
    eal: &Eal,
    port: &Port,
    (mac, link): ([u8; 6], &LinkWatch<'_>),
) {
    if args.unshare {
        let user = if namespace::is_user_namespace() {
            "--user --preserve-credentials "
        } else {
            ""
        };
        console::log(format_args!(
            "in a network namespace of its own; clients run there by: nsenter --target {} {user}--net COMMAND",
            std::process::id()
        ));
    }
    let list = |items: Vec<String>| {
        if items.is_empty() {
            "nothing".to_owned()
        } else {
            items.join(", ")
        }
    };
    let hosts = args.ip.iter().map(written);
    let prefixes = args.prefix.iter().map(ToString::to_string);
    let addresses = list(hosts.chain(prefixes).collect());
    let open = list(plan.listens.iter().map(Listen::to_string).collect());
    let vlans: Vec<String> = args.vlan.iter().map(VlanId::to_string).collect();
    let vlans = match vlans.as_slice() {
        [] => String::new(),
        ids => format!(", VLAN {}", ids.join(", ")),
    };
    console::log(format_args!(
        "{}: {addresses} at {}{vlans}; open: {open}; {} worker(s), idle {}; {} with offloads: {}; {}; {}; {}; \
         each connection: {} bytes of its service and {} of its timer",
        plan.spec,
        MacAddr(mac),
        plan.workers,
        plan.idle.name(),
        port.driver(),
        Offloads::from(port.caps()),
        link.text(),
        eal.version(),
        eal.memory_line(),
        Services::STATE_BYTES,
        TimerWheel::TIMER_BYTES
    ));
}

/// One thread for each queue, watched until the end. What each came to.
fn run_workers(
    args: &ServeArgs,
    plan: &Plan,
    queues: Vec<QueuePair>,
    made: &OpenedNic<'_>,
    link_and_stop: (&mut LinkWatch<'_>, &Stop),
) -> Result<RunOutcome, Failure> {
    let &OpenedNic {
        eal,
        cpus,
        capture,
        fault,
        unfinished,
    } = made;
    let clock = Clock::start(eal.cycles_hz());
    let wall = WallClock::new(clock.at(dpdk::cycles()));
    let secrets = secrets::fresh()?;
    let ends = Rings::new(plan.workers, plan.handoff_frames()).into_ends();
    let orders = Orders::new(Order::Run);
    let lines: Vec<WorkerLine> = queues.iter().map(|_| WorkerLine::new()).collect();
    std::thread::scope(|scope| {
        let (ready_tx, ready_rx) = mpsc::channel();
        let mut threads = Vec::with_capacity(lines.len());
        let configs = plan.configs.iter().map(Arc::clone);
        let queues = queues.into_iter().zip(ends).zip(configs);
        for (((queue, end), config), (&cpu, line)) in queues.zip(cpus.iter().zip(&lines)) {
            let (ready, orders) = (ready_tx.clone(), &orders);
            let services = Services::new(&plan.listens, wall.clone());
            let instrument = capture.map(|capture| capture.instrument(clock));
            let body = move || {
                let _lcore = eal.register_thread(cpu)?;
                let mut nic = DpdkNic::new(queue);
                nic.set_instrument(instrument);
                nic.set_faults(fault, clock.hz());
                let worker = build(nic, services, config, &secrets, end)?;
                // The receiver waits for exactly this; and it hears of another worker's failure only when nobody else can
                // send any more.
                let _ = ready.send(());
                drop(ready);
                Ok(turn_until_told(
                    worker,
                    BackOff::new(plan.idle),
                    clock,
                    orders,
                    &line.mailbox,
                ))
            };
            let name = format!("worker{}", threads.len());
            let spawned = std::thread::Builder::new()
                .name(name)
                .spawn_scoped(scope, body);
            match spawned {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    orders.give(Order::Stop);
                    return Err(Failure::Run(format!("no thread for a worker: {error}")));
                }
            }
        }
        drop(ready_tx);
        let ready = ready_rx.iter().take(lines.len()).count();
        if ready < lines.len() {
            orders.give(Order::Stop);
            return why_not_ready(threads);
        }
        link_and_stop.1.begin();
        let watched = watch::until_the_end(args, &lines, &orders, (clock, &wall), link_and_stop);
        orders.give(Order::Stop);
        Ok(ended(watched, threads, unfinished, args.json))
    })
}

/// What the workers came to, which were told to stop.
fn ended(
    mut watched: RunOutcome,
    threads: Vec<ScopedJoinHandle<'_, Result<Progress, Failure>>>,
    unfinished: &dyn Fn(RunOutcome) -> Report,
    json: bool,
) -> RunOutcome {
    if !watched.all_end(&threads) {
        // The scope around them would wait for it for ever.
        hang::leave(&unfinished(watched), json);
    }
    for (worker, thread) in threads.into_iter().enumerate() {
        watched.take(worker, join(thread));
    }
    watched
}

fn build(
    nic: DpdkNic,
    services: Services,
    config: Arc<Config>,
    secrets: &Secrets,
    end: RingEnd<dpdk::Mbuf>,
) -> Result<Worker<DpdkNic, Services>, Failure> {
    Worker::with_app(nic, services, config, secrets, end, PageOptions::default()).map_err(|error| {
        Failure::Run(format!(
            "a worker's table does not fit into memory: {error}; lower --max-connections or --backlog"
        ))
    })
}

/// The first error of a thread; one of them has ended before it was told to.
fn why_not_ready<T>(
    threads: Vec<ScopedJoinHandle<'_, Result<Progress, Failure>>>,
) -> Result<T, Failure> {
    let mut outcomes = threads.into_iter().map(join);
    let failure = outcomes.find_map(Result::err);
    outcomes.for_each(drop);
    Err(failure.unwrap_or_else(|| Failure::Run("a worker ended before it was told to".into())))
}
