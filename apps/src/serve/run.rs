//! The run itself: DPDK, port, threads; the line a second; then everything in the reverse order, and the result.
//!
//! It must never leave a thread polling, and once frames could have come it never ends without a report.

use diagnose::counted;
use std::sync::Arc;

use dpdk::{DpdkNic, Eal, Port, QueuePair};
use stack::config::Config;
use stack::memory::PageOptions;
use stack::nic::fault::FaultSpec;
use stack::timer::TimerWheel;
use stack::wire::MacAddr;
use stack::wire::vlan::VlanId;
use stack::worker::{RingEnd, Rings, Secrets, Steered, Worker};

use super::args::ServeArgs;
use super::capture::Capture;
use super::listen::Listen;
use super::plan::Plan;
use super::report::{Report, ReportParts};
use super::run_outcome::{RunOutcome, WorkerLine};
use super::services::Services;
use super::wall::WallClock;
use super::watch;
use super::worker::{Progress, turn};
use crate::addresses::written;
use crate::clock::Clock;
use crate::console;
use crate::failure::Failure;
use crate::fault::FaultReport;
use crate::mailbox::{Order, Orders};
use crate::rig::idle::BackOff;
use crate::rig::link::{LinkWatch, Offloads};
use crate::rig::{self, HANGS, NicReport, OpenedNic, Ready};
use crate::secrets;
use crate::stop::Stop;

/// Serves until the end of the run.
///
/// # Errors
/// [`Failure`] when something can't be had. What happens to a worker later is in the report.
pub(super) fn run(args: &ServeArgs, plan: &Plan, stop: &Stop) -> Result<Report, Failure> {
    let link = plan.spec.to_string();
    let capture = args
        .pcap
        .as_ref()
        .map(|path| Capture::start(path, &link, args.link.mtu))
        .transpose()?;
    let fault = args.fault.map(|flag| flag.spec()).transpose()?;
    stop.unless_asked()?;
    let eal = rig::start_eal(&args.link, vec![plan.spec.clone()], (&plan.port.pools, 1))?;
    let cpus = rig::cpus(&args.link, &eal, (plan.workers, plan.idle))?;
    stop.unless_asked()?;
    let OpenedNic {
        port,
        queues,
        pools,
        mac,
    } = OpenedNic::open(&eal, &plan.spec, &plan.port)?;
    dpdk::require_addresses("connections", plan.worker_bytes)?;
    rig::configure_kernel_side(&args.link, &plan.spec, (&args.link.ip, &args.link.prefix))?;
    stop.unless_asked()?;
    let mut link_watch = LinkWatch::new(&port);
    announce(args, plan, &eal, &port, (mac, &link_watch));
    let config = plan.configs.first();
    let (queues, steered) = rig::rss_probe(&args.link, config, queues, stop)?;
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
    let made = RunParts {
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
    let mut ended = run_workers(
        args,
        plan,
        (queues, steered),
        &made,
        (&mut link_watch, stop),
    )?;
    link_watch.look();
    let link_report = link_watch.report();
    let nic = NicReport::new(&port, ended.frames_taken(), link_report);
    ended.faults.extend(nic.fault());
    // Frames in its rings come back when the port is closed; only then is every buffer back.
    drop(port);
    let in_use = rig::in_use(&pools);
    Ok(finished(ended, nic, in_use, capture.map(Capture::end)))
}

/// Everything that is set up before the workers start.
struct RunParts<'a> {
    eal: &'a Eal,
    cpus: &'a [Option<usize>],
    capture: Option<&'a Capture>,
    fault: Option<&'a FaultSpec>,
    /// The report of a run whose port can't be closed.
    unfinished: &'a dyn Fn(RunOutcome) -> Report,
}

/// Prints the endpoint to stderr.
fn announce(
    args: &ServeArgs,
    plan: &Plan,
    eal: &Eal,
    port: &Port,
    (mac, link): (MacAddr, &LinkWatch<'_>),
) {
    rig::announce_namespace(&args.link, "clients");
    let list = |items: Vec<String>| {
        if items.is_empty() {
            "nothing".to_owned()
        } else {
            items.join(", ")
        }
    };
    let hosts = args.link.ip.iter().map(written);
    let prefixes = args.link.prefix.iter().map(ToString::to_string);
    let vips = args
        .vip
        .iter()
        .map(|vip| format!("{vip} (VIP, not announced)"));
    let addresses = list(hosts.chain(prefixes).chain(vips).collect());
    let open = list(plan.listens.iter().map(Listen::to_string).collect());
    let vlans: Vec<String> = args.link.vlan.iter().map(VlanId::to_string).collect();
    let vlans = match vlans.as_slice() {
        [] => String::new(),
        ids => format!(", VLAN {}", ids.join(", ")),
    };
    console::log(format_args!(
        "{}: {addresses} at {}{vlans}; open: {open}; {}, idle {}; {} with offloads: {}; {}; {}; {}; \
         each connection: {} bytes of its service and {} of its timer",
        plan.spec,
        mac,
        counted(plan.workers, "worker"),
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
    (queues, steered): (Vec<QueuePair>, Steered),
    made: &RunParts<'_>,
    link_and_stop: (&mut LinkWatch<'_>, &Stop),
) -> Result<RunOutcome, Failure> {
    let &RunParts {
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
    let configs = plan.configs.iter().map(Arc::clone);
    let parts = queues.into_iter().zip(ends).zip(configs);
    let (orders, secrets) = (&orders, &secrets);
    let bodies = parts
        .zip(cpus.iter().zip(&lines))
        .map(|(((queue, end), config), (&cpu, line))| {
            let services = Services::new(&plan.listens, wall.clone());
            let instrument = capture.map(|capture| capture.instrument(clock));
            let body = move |ready: Ready| {
                let mut nic = DpdkNic::new(queue);
                nic.set_instrument(instrument);
                nic.set_faults(fault, clock.hz());
                let is_first = nic.queue_index() == 0;
                let mut worker = build(nic, services, config, secrets, end)?;
                if is_first {
                    worker.start_steered(steered);
                }
                ready.announce();
                let back_off = BackOff::new(plan.idle);
                Ok(turn(worker, back_off, (clock, orders), line))
            };
            (cpu, body)
        })
        .collect();
    let control = || {
        link_and_stop.1.begin();
        watch::until_the_end(args, &lines, orders, (clock, &wall), link_and_stop)
    };
    let hangs = |mut watched: RunOutcome| {
        watched.faults.push(HANGS.to_owned());
        let report = unfinished(watched);
        rig::leave(&report, &args.output, report.gate())
    };
    let polled = rig::poll_all((eal, orders), bodies, control, hangs)?;
    let mut watched: RunOutcome = polled.control;
    for (worker, outcome) in polled.threads.into_iter().enumerate() {
        let outcome: Result<Progress, Failure> = outcome;
        watched.take(worker, outcome);
    }
    Ok(watched)
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
